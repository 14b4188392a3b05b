//! The driver's functions, as C declares them: <https://docs.nvidia.com/cuda/cuda-driver-api>.
//!
//! The stand-in checks every device address, but trusts the caller's output pointers and host memory.

use std::cell::Cell;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys::CUdevice_attribute::{
    self, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED as POOLS,
};
use cudarc::driver::sys::CUmemPool_attribute::{self, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD as THRESHOLD};
use cudarc::driver::sys::CUresult::{
    self, CUDA_ERROR_CONTEXT_IS_DESTROYED, CUDA_ERROR_INVALID_CONTEXT, CUDA_ERROR_INVALID_DEVICE,
    CUDA_ERROR_INVALID_VALUE, CUDA_ERROR_LAUNCH_FAILED, CUDA_ERROR_NOT_FOUND, CUDA_ERROR_NOT_INITIALIZED,
    CUDA_ERROR_NOT_SUPPORTED, CUDA_SUCCESS,
};

use crate::driver::Driver;
use crate::limits::Limits;
use crate::refusal::{Refusal, invalid, limit, misuse, unsupported};
use crate::report;

/// The handle of the primary context. It stays the same if the context is released and retained again.
const CONTEXT: u64 = 0x4000_0000;
/// The handle of the device's default memory pool.
const POOL: u64 = 0x4000_1000;

/// Exports functions of C. Each runs its body within `call`, `in_context` or the like, which passes the driver, its
/// first argument here, and reports findings under the function's name.
macro_rules! exports {
    ($within:ident -> $code:ty: $(
        $(#[$doc:meta])* fn $name:ident($driver:tt $(, $argument:ident: $type:ty)* $(,)?) $body:block
    )*) => {
        $($(#[$doc])*
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> $code {
            $within(stringify!($name), |$driver| $body)
        })*
    };
}
pub(crate) use exports;

static DRIVER: Mutex<Option<Driver>> = Mutex::new(None);

thread_local! {
    /// The calling thread's current context, or 0 if it has none.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

fn lock() -> MutexGuard<'static, Option<Driver>> {
    DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a call that needs no context, and reports its finding if it has one.
pub(crate) fn call(name: &str, body: impl FnOnce(&mut Driver) -> Result<(), Refusal>) -> CUresult {
    let outcome = match &mut *lock() {
        Some(driver) => body(driver),
        None => Err(misuse(CUDA_ERROR_NOT_INITIALIZED, "cuInit was not called")),
    };
    let Err(Refusal { code, finding }) = outcome else { return CUDA_SUCCESS };
    if let Some(finding) = finding {
        report::finding(name, &format!("{finding} ({code:?})"));
    }
    code
}

/// Runs a call in the calling thread's context. The call fails if that context is missing, released or lost.
pub(crate) fn in_context(name: &str, body: impl FnOnce(&mut Driver) -> Result<(), Refusal>) -> CUresult {
    call(name, |driver| {
        if CURRENT.get() == 0 {
            return Err(misuse(CUDA_ERROR_INVALID_CONTEXT, "the thread has no context"));
        }
        if driver.retained == 0 {
            return Err(misuse(CUDA_ERROR_CONTEXT_IS_DESTROYED, "the thread's context has ended"));
        }
        if driver.lost {
            return Err(limit(CUDA_ERROR_LAUNCH_FAILED));
        }
        body(driver)
    })
}

/// Writes a result to an output pointer of the caller, which must not be null.
pub(crate) fn put<T>(place: *mut T, value: T) -> Result<(), Refusal> {
    if place.is_null() {
        return Err(invalid("a null pointer for a result"));
    }
    // SAFETY: the caller of the exported function guarantees that a pointer that is not null is valid for this write.
    unsafe { place.write(value) };
    Ok(())
}

fn check_device(device: c_int) -> Result<(), Refusal> {
    if device == 0 { Ok(()) } else { Err(limit(CUDA_ERROR_INVALID_DEVICE)) }
}

fn check_pool(pool: u64) -> Result<(), Refusal> {
    if pool == POOL { Ok(()) } else { Err(invalid(format!("{pool:#x} is not a memory pool"))) }
}

unsafe extern "C" {
    safe fn atexit(handler: extern "C" fn()) -> c_int;
    safe fn _exit(status: c_int) -> !;
}

/// Makes the process fail at exit if it had findings. Anything that it leaves on the device is one.
extern "C" fn conclude() {
    const FAILED: c_int = 70;
    if let Some(left) = lock().as_ref().and_then(Driver::left) {
        report::finding("the process ends", &left);
    }
    if !report::conclude() {
        _exit(FAILED);
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(flags: c_uint) -> CUresult {
    initialize(flags)
}

pub(crate) fn initialize(flags: c_uint) -> CUresult {
    if flags != 0 {
        return CUDA_ERROR_INVALID_VALUE;
    }
    let driver = &mut *lock();
    if driver.is_none() {
        // This crate's own tests produce findings on purpose.
        if !cfg!(test) {
            atexit(conclude);
        }
        *driver = Some(Driver::new(Limits::from_environment()));
    }
    CUDA_SUCCESS
}

/// Works before `cuInit`, unlike the other functions.
#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: *mut c_int) -> CUresult {
    let (major, minor) = Limits::from_environment().driver;
    match put(version, 1000 * major + 10 * minor) {
        Ok(()) => CUDA_SUCCESS,
        Err(refusal) => refusal.code,
    }
}

/// Refuses every table of undocumented functions. NVRTC asks for the one that gives access to the driver's cache of
/// compiled programs, and does without it.
#[unsafe(no_mangle)]
extern "C" fn cuGetExportTable(_table: *mut *const c_void, _id: *const c_void) -> CUresult {
    CUDA_ERROR_NOT_FOUND
}

/// Writes the text that serves as both name and explanation of an error code.
fn describe(error: CUresult, place: *mut *const c_char) -> CUresult {
    // The caller may keep the pointer, so the text of each code lives as long as the process.
    static TEXTS: Mutex<Vec<(CUresult, CString)>> = Mutex::new(Vec::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if !texts.iter().any(|(code, _)| *code == error) {
        let text = CString::new(format!("{error:?}")).expect("names have no NUL");
        texts.push((error, text));
    }
    let text = texts.iter().find(|(code, _)| *code == error).map_or(std::ptr::null(), |(_, text)| text.as_ptr());
    put(place, text).map_or_else(|refusal| refusal.code, |()| CUDA_SUCCESS)
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorName(error: CUresult, place: *mut *const c_char) -> CUresult {
    describe(error, place)
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorString(error: CUresult, place: *mut *const c_char) -> CUresult {
    describe(error, place)
}

exports! { call -> CUresult:
    fn cuDeviceGetCount(_, count: *mut c_int) { put(count, 1) }
    fn cuDeviceGet(_, device: *mut c_int, ordinal: c_int) { check_device(ordinal).and_then(|()| put(device, ordinal)) }

    fn cuDeviceGetName(_, name: *mut c_char, len: c_int, device: c_int) {
        check_device(device)?;
        let text = b"FlowRL's stand-in (no GPU)";
        let room = usize::try_from(len).ok().filter(|len| *len > 0).ok_or_else(|| invalid("no room for a name"))?;
        let bytes = text.iter().take(room - 1).chain([&0]);
        bytes.enumerate().try_for_each(|(i, byte)| put(name.wrapping_add(i), *byte as c_char))
    }

    fn cuDeviceTotalMem_v2(driver, bytes: *mut usize, device: c_int) {
        check_device(device).and_then(|()| put(bytes, driver.limits.memory))
    }

    fn cuDeviceGetAttribute(driver, value: *mut c_int, attribute: CUdevice_attribute, device: c_int) {
        check_device(device)?;
        let answer = match attribute {
            MAJOR => driver.limits.capability.0,
            MINOR => driver.limits.capability.1,
            POOLS => driver.limits.pools.into(),
            _ => return Err(unsupported(attribute)),
        };
        put(value, answer)
    }

    fn cuDeviceGetDefaultMemPool(driver, pool: *mut u64, device: c_int) {
        check_device(device)?;
        if driver.limits.pools { put(pool, POOL) } else { Err(limit(CUDA_ERROR_NOT_SUPPORTED)) }
    }

    fn cuMemPoolSetAttribute(driver, pool: u64, attribute: CUmemPool_attribute, value: *mut c_void) {
        check_pool(pool)?;
        match attribute {
            THRESHOLD if !value.is_null() => {
                // SAFETY: the caller passes a pointer to this attribute, which is documented as a 64-bit number.
                driver.memory.threshold = unsafe { value.cast::<u64>().read_unaligned() };
                Ok(())
            }
            _ => Err(unsupported(attribute)),
        }
    }

    fn cuMemPoolGetAttribute(driver, pool: u64, attribute: CUmemPool_attribute, value: *mut c_void) {
        check_pool(pool)?;
        let (reserved, used) = driver.memory.pool();
        let answer = match attribute {
            THRESHOLD => driver.memory.threshold,
            CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT => reserved as u64,
            CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT => used as u64,
            _ => return Err(unsupported(attribute)),
        };
        put(value.cast::<u64>(), answer)
    }

    fn cuDevicePrimaryCtxRetain(driver, context: *mut u64, device: c_int) {
        check_device(device)?;
        driver.retained += 1;
        put(context, CONTEXT)
    }

    fn cuDevicePrimaryCtxRelease_v2(driver, device: c_int) { check_device(device).and_then(|()| driver.release()) }
    fn cuCtxGetCurrent(_, context: *mut u64) { put(context, CURRENT.get()) }

    fn cuCtxSetCurrent(driver, context: u64) {
        if context != 0 && (context != CONTEXT || driver.retained == 0) {
            return Err(misuse(CUDA_ERROR_INVALID_CONTEXT, format!("{context:#x} is not a live context")));
        }
        CURRENT.set(context);
        Ok(())
    }
}

exports! { in_context -> CUresult:
    fn cuCtxSynchronize(driver) { driver.synchronize() }

    fn cuStreamCreate(driver, stream: *mut u64, flags: c_uint) {
        const NON_BLOCKING: c_uint = 1;
        if flags != NON_BLOCKING {
            let why = "the stand-in only has non-blocking streams, which do not synchronise with the default stream";
            return Err(misuse(CUDA_ERROR_NOT_SUPPORTED, why));
        }
        put(stream, driver.create_stream())
    }

    fn cuStreamDestroy_v2(driver, stream: u64) { driver.destroy_stream(stream) }
    fn cuStreamSynchronize(driver, stream: u64) { driver.synchronize_stream(stream) }
    fn cuStreamWaitEvent(driver, stream: u64, event: u64, _flags: c_uint) { driver.wait(stream, event) }
    fn cuEventCreate(driver, event: *mut u64, _flags: c_uint) { put(event, driver.create_event()) }
    fn cuEventDestroy_v2(driver, event: u64) { driver.destroy_event(event) }
    fn cuEventRecord(driver, event: u64, stream: u64) { driver.record(event, stream) }
    fn cuEventSynchronize(driver, event: u64) { driver.synchronize_event(event) }
    fn cuEventQuery(driver, event: u64) { driver.query_event(event) }
}
