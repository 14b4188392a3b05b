//! Tests of the checks, each with a planted mistake that must not go unnoticed.

use std::sync::Arc;

use cudarc::driver::sys::CUresult::{
    self, CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_FAILED,
    CUDA_ERROR_NOT_FOUND, CUDA_ERROR_NOT_READY, CUDA_ERROR_OUT_OF_MEMORY,
};

use crate::driver::Driver;
use crate::limits::Limits;
use crate::modules::{Kernels, Launch};
use crate::ptx;
use crate::refusal::Refusal;
use crate::streams::StreamId;

/// Returns a driver with a context, and a stream of it.
fn driver() -> (Driver, StreamId) {
    let mut driver = Driver::new(Limits { memory: 1 << 20, ..Limits::default() });
    driver.retained += 1;
    let stream = driver.create_stream();
    (driver, stream)
}

/// Returns the code and the finding of a call that must fail.
#[track_caller]
fn refused<T>(outcome: Result<T, Refusal>) -> (CUresult, String) {
    match outcome {
        Ok(_) => panic!("it was not noticed"),
        Err(Refusal { code, finding }) => (code, finding.unwrap_or_default()),
    }
}

#[track_caller]
fn assert_found<T>(outcome: Result<T, Refusal>, code: CUresult, text: &str) {
    let (got, finding) = refused(outcome);
    assert!(got == code && !text.is_empty() && finding.contains(text), "{got:?}: {finding}");
}

/// Reads the number at an address.
fn peek(address: u64) -> f32 {
    // SAFETY: the tests pass addresses of live allocations.
    unsafe { (address as *const f32).read() }
}

/// Appends work to the stream that writes a number at an address.
fn poke(driver: &mut Driver, stream: StreamId, address: u64, value: f32) -> Result<(), Refusal> {
    driver.enqueue(stream, &[(address, 4)], move || {
        // SAFETY: `enqueue` has checked that the address is allocated.
        unsafe { (address as *mut f32).write(value) };
        Ok(())
    })
}

#[test]
fn nothing_runs_before_something_waits() {
    let (mut driver, stream) = driver();
    let address = driver.allocate(stream, 4).unwrap();
    assert!(peek(address).is_nan(), "new memory is NaN");
    poke(&mut driver, stream, address, 7.0).unwrap();
    assert!(peek(address).is_nan());
    driver.synchronize_stream(stream).unwrap();
    assert_eq!(peek(address), 7.0);
}

#[test]
fn an_event_is_waited_for_and_no_more() {
    let (mut driver, stream) = driver();
    let address = driver.allocate(stream, 8).unwrap();
    let event = driver.create_event();
    poke(&mut driver, stream, address, 1.0).unwrap();
    driver.record(event, stream).unwrap();
    poke(&mut driver, stream, address + 4, 2.0).unwrap();
    assert_eq!(refused(driver.query_event(event)), (CUDA_ERROR_NOT_READY, String::new()));
    driver.synchronize_event(event).unwrap();
    driver.query_event(event).unwrap();
    assert!(peek(address) == 1.0 && peek(address + 4).is_nan());
}

#[test]
fn memory_is_used_where_it_is() {
    let (mut driver, stream) = driver();
    let address = driver.allocate(stream, 100).unwrap();
    let mut use_of = |at, bytes| driver.enqueue(stream, &[(at, bytes)], || Ok(()));
    use_of(address, 100).unwrap();
    use_of(address + 99, 1).unwrap();
    assert_found(use_of(address, 101), CUDA_ERROR_INVALID_VALUE, "101 bytes from byte 0 of an allocation of 100");
    assert_found(use_of(address + 96, 8), CUDA_ERROR_INVALID_VALUE, "8 bytes from byte 96");
    assert_found(use_of(address + 100, 1), CUDA_ERROR_INVALID_VALUE, "in no live allocation");
    assert_found(use_of(16, 1), CUDA_ERROR_INVALID_VALUE, "in no live allocation");
    driver.free(stream, address).unwrap();
    assert_found(poke(&mut driver, stream, address, 0.0), CUDA_ERROR_INVALID_VALUE, "in no live allocation");
}

#[test]
fn memory_is_freed_once_and_whole() {
    let (mut driver, stream) = driver();
    let address = driver.allocate(stream, 100).unwrap();
    assert_found(driver.free(stream, address + 16), CUDA_ERROR_INVALID_VALUE, "inside an allocation");
    driver.free(stream, address).unwrap();
    assert_found(driver.free(stream, address), CUDA_ERROR_INVALID_VALUE, "in no live allocation");
}

#[test]
fn a_write_beside_an_allocation_is_found_when_it_is_freed() {
    for (offset, side) in [(100, "past"), (-1, "before")] {
        let (mut driver, stream) = driver();
        let address = driver.allocate(stream, 100).unwrap();
        let outside = address.wrapping_add_signed(offset);
        let write = move || {
            // SAFETY: the margins belong to the allocation.
            unsafe { (outside as *mut u8).write(0) };
            Ok(())
        };
        driver.enqueue(stream, &[], write).unwrap();
        driver.free(stream, address).unwrap();
        assert_found(driver.synchronize(), CUDA_ERROR_LAUNCH_FAILED, side);
    }
}

#[test]
fn streams_wait_for_each_others_memory() {
    let (mut driver, one) = driver();
    let (two, event) = (driver.create_stream(), driver.create_event());
    let address = driver.allocate(one, 4).unwrap();
    assert_found(poke(&mut driver, two, address, 1.0), CUDA_ERROR_INVALID_VALUE, "does not wait for its allocation");
    driver.record(event, one).unwrap();
    driver.wait(two, event).unwrap();
    poke(&mut driver, two, address, 1.0).unwrap();
    // Freeing it on the first stream needs an event of the second.
    assert_found(driver.free(one, address), CUDA_ERROR_INVALID_VALUE, "does not wait for its use");
    driver.record(event, two).unwrap();
    driver.wait(one, event).unwrap();
    driver.free(one, address).unwrap();
}

#[test]
fn what_another_stream_was_asked_for_runs_first() {
    let (mut driver, one) = driver();
    let (two, event) = (driver.create_stream(), driver.create_event());
    let address = driver.allocate(one, 4).unwrap();
    poke(&mut driver, one, address, 1.0).unwrap();
    driver.record(event, one).unwrap();
    driver.wait(two, event).unwrap();
    poke(&mut driver, two, address, 2.0).unwrap();
    driver.synchronize_stream(two).unwrap();
    assert_eq!(peek(address), 2.0);
}

#[test]
fn memory_has_an_end_and_the_pool_keeps_what_is_freed() {
    let (mut driver, stream) = driver();
    let half = driver.allocate(stream, 1 << 19).unwrap();
    assert_eq!(refused(driver.allocate(stream, (1 << 19) + 1)), (CUDA_ERROR_OUT_OF_MEMORY, String::new()));
    driver.memory.threshold = u64::MAX;
    driver.free(stream, half).unwrap();
    driver.synchronize().unwrap();
    assert_eq!((driver.memory.info().0, driver.memory.pool()), (1 << 19, (1 << 19, 0)));
    driver.memory.threshold = 0;
    driver.synchronize().unwrap();
    assert_eq!(driver.memory.info().0, 1 << 20);
    assert_found(driver.allocate(stream, 0), CUDA_ERROR_INVALID_VALUE, "0 bytes");
}

#[test]
fn pinned_memory_stays_until_it_was_read() {
    let (mut driver, stream) = driver();
    let from = driver.pinned.allocate(100).unwrap() as u64;
    assert!(driver.pinned.holds(from, 100) && driver.pinned.holds(from + 99, 1));
    assert!(!driver.pinned.holds(from, 101) && !driver.pinned.holds(from - 1, 1) && !driver.pinned.holds(16, 1));
    driver.read_pinned(from + 8, stream).unwrap();
    driver.enqueue(stream, &[], || Ok(())).unwrap();
    assert_found(driver.free_pinned(from), CUDA_ERROR_INVALID_VALUE, "before the host has waited");
    driver.synchronize_stream(stream).unwrap();
    assert_found(driver.free_pinned(from + 8), CUDA_ERROR_INVALID_VALUE, "no live pinned allocation starts");
    driver.free_pinned(from).unwrap();
    assert_found(driver.free_pinned(from), CUDA_ERROR_INVALID_VALUE, "no live pinned allocation starts");
}

#[test]
fn what_is_left_is_told() {
    let (mut driver, stream) = driver();
    driver.allocate(stream, 100).unwrap();
    driver.create_event();
    let left = "1 allocations (100 bytes), 1 streams, 1 events left";
    assert_found(driver.release(), CUDA_ERROR_INVALID_HANDLE, left);
    driver.retained += 1;
    driver.release().unwrap();
    assert_found(driver.release(), CUDA_ERROR_INVALID_HANDLE, "more often than retained");
}

/// The kernels of [`ptx::TEXT`] in Rust: `first` writes its number through its pointer, and `second` fails.
struct Written;

impl Kernels for Written {
    fn run(&self, kernel: &str, launch: &Launch) -> Result<(), String> {
        if kernel == "second" {
            return Err("a barrier that not all threads reach".to_owned());
        }
        let [pointer, _, value] = launch.arguments[..] else { panic!("the kernel has three parameters") };
        let [a, b, c, d, ..] = value;
        // SAFETY: the tests pass addresses of live allocations.
        unsafe { (u64::from_ne_bytes(pointer) as *mut f32).write(f32::from_ne_bytes([a, b, c, d])) };
        Ok(())
    }
}

/// Returns a driver, a stream and a module. Its kernel `first` takes up to 128 threads and has 48 bytes of shared
/// memory.
fn with_kernels() -> (Driver, StreamId, u64) {
    let (mut driver, stream) = driver();
    let entries = ptx::parse(ptx::TEXT, &driver.limits, false).unwrap();
    let module = driver.load(entries, Arc::new(Written));
    (driver, stream, module)
}

fn launch(address: u64) -> Launch {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&5.0_f32.to_ne_bytes());
    let arguments = vec![address.to_ne_bytes(), [0; 8], value];
    Launch { grid: [1, 1, 1], block: [128, 1, 1], shared: 0, arguments }
}

#[test]
fn kernels_are_found_and_run_in_order() {
    let (mut driver, stream, module) = with_kernels();
    assert_eq!(refused(driver.find(module, "third")), (CUDA_ERROR_NOT_FOUND, String::new()));
    assert_found(driver.find(module + 1, "first"), CUDA_ERROR_INVALID_HANDLE, "not a live module");
    let first = driver.find(module, "first").unwrap();
    let address = driver.allocate(stream, 4).unwrap();
    driver.launch(first, stream, launch(address)).unwrap();
    assert!(peek(address).is_nan());
    driver.synchronize().unwrap();
    assert_eq!(peek(address), 5.0);
    driver.unload(module).unwrap();
    assert_found(driver.launch(first, stream, launch(address)), CUDA_ERROR_INVALID_HANDLE, "not a live kernel");
}

#[test]
fn a_kernels_pointers_are_checked() {
    let (mut driver, stream, module) = with_kernels();
    let first = driver.find(module, "first").unwrap();
    assert_found(driver.launch(first, stream, launch(0x1234)), CUDA_ERROR_INVALID_VALUE, "first: 1 bytes at 0x1234");
}

#[test]
fn a_launch_keeps_to_the_devices_limits() {
    let (mut driver, stream, module) = with_kernels();
    let first = driver.find(module, "first").unwrap();
    let address = driver.allocate(stream, 4).unwrap();
    let usual = launch(address);
    let wrong = [
        Launch { grid: [0, 1, 1], ..usual.clone() },
        Launch { grid: [1 << 31, 1, 1], ..usual.clone() },
        Launch { grid: [1, 65_536, 1], ..usual.clone() },
        Launch { block: [1, 0, 1], ..usual.clone() },
        // More threads than the kernel's own bound.
        Launch { block: [129, 1, 1], ..usual.clone() },
        // More than 48 KiB together with the kernel's own 48 bytes.
        Launch { shared: (48 << 10) - 47, ..usual.clone() },
    ];
    for wrong in wrong {
        assert_eq!(refused(driver.launch(first, stream, wrong)).0, CUDA_ERROR_INVALID_VALUE);
    }
    driver.launch(first, stream, Launch { shared: (48 << 10) - 48, ..usual.clone() }).unwrap();
    let limits = driver.limits;
    let function = driver.function(first).unwrap();
    assert_eq!(refused(function.allow((227 << 10) - 47, &limits)).0, CUDA_ERROR_INVALID_VALUE);
    assert_eq!(refused(function.allow(-1, &limits)).0, CUDA_ERROR_INVALID_VALUE);
    function.allow(100 << 10, &limits).unwrap();
    driver.launch(first, stream, Launch { shared: 100 << 10, ..usual }).unwrap();
}

#[test]
fn a_kernel_that_fails_takes_the_context_with_it() {
    let (mut driver, stream, module) = with_kernels();
    let second = driver.find(module, "second").unwrap();
    let once = Launch { grid: [1; 3], block: [1; 3], ..Launch::default() };
    driver.launch(second, stream, once).unwrap();
    assert_found(driver.synchronize(), CUDA_ERROR_LAUNCH_FAILED, "not all threads reach");
    assert!(driver.lost);
}

#[test]
fn a_thread_needs_a_context() {
    let mut address = 0;
    let outcome = crate::api::in_context("a call", |driver| {
        address = driver.allocate(0, 4)?;
        Ok(())
    });
    assert_ne!(outcome, CUresult::CUDA_SUCCESS);
    assert_eq!(crate::api::initialize(0), CUresult::CUDA_SUCCESS);
    let outcome = std::thread::spawn(|| crate::api::in_context("a call", |_| Ok(()))).join().unwrap();
    assert_eq!((outcome, address), (CUDA_ERROR_INVALID_CONTEXT, 0));
}
