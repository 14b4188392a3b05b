//! Tests of the emulator that runs CUDA kernels on the CPU. Correct kernels give the same bits in every schedule, and
//! each planted fault is caught and named.
//!
//! The kernels and the program that launches them are in `tests/emulator/`. The tests build them as the crate builds
//! its units, with the system's C++ compiler, and once more with sanitizers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Schedules, numbered as in `EmulatorOptions`.
const FORWARD: u32 = 0;
const REVERSE: u32 = 1;
const RANDOM: u32 = 2;

/// Runs one case of `tests/emulator/driver.cpp`.
fn run(driver: &Path, case: &str, schedule: u32, threads: u32, seed: u64) -> Output {
    let arguments = [case.to_string(), schedule.to_string(), threads.to_string(), seed.to_string()];
    Command::new(driver).args(arguments).output().unwrap_or_else(|error| panic!("{}: {error}", driver.display()))
}

/// Returns the output of a run on both streams.
fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn compile(arguments: &[&OsStr]) {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let output = Command::new(&compiler).args(arguments).output().unwrap_or_else(|error| {
        panic!(
            "the emulator's tests need a C++ compiler, and {compiler} cannot be run ({error}): install g++ or set CXX"
        )
    });
    let message = String::from_utf8_lossy(&output.stderr);
    if ["-lasan", "-lubsan", "libasan", "libubsan", "libclang_rt"].iter().any(|library| message.contains(library)) {
        panic!(
            "the libraries of AddressSanitizer and UndefinedBehaviorSanitizer are missing: install g++ (Debian, Ubuntu), \
             libasan and libubsan (Fedora), or the compiler-rt of clang\n{message}"
        );
    }
    assert!(output.status.success(), "{compiler} {arguments:?}\n{message}");
    assert!(message.is_empty(), "{compiler} warns:\n{message}");
}

/// Builds the runtime as a shared library, and the driver with it.
fn build(name: &str, extra: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator").join(name);
    std::fs::create_dir_all(&folder).expect("a folder for what is built");
    let (emulator, tests) = (root.join("emulator"), root.join("tests").join("emulator"));
    let (library, driver) = (folder.join("libruntime.so"), folder.join("driver"));
    let mut options: Vec<&OsStr> =
        ["-std=c++17", "-O2", "-g1", "-Wall", "-Wextra", "-fPIC", "-ffp-contract=off"].map(OsStr::new).into();
    options.extend(["-fno-strict-aliasing", "-pthread"].map(OsStr::new));
    options.extend([OsStr::new("-I"), emulator.as_os_str()]);
    options.extend(extra.iter().map(OsStr::new));
    let with = |more: &[&OsStr]| compile(&[&options[..], more].concat());
    let out = OsStr::new("-o");
    with(&[emulator.join("runtime.cpp").as_os_str(), OsStr::new("-shared"), out, library.as_os_str()]);
    with(&[tests.join("driver.cpp").as_os_str(), library.as_os_str(), out, driver.as_os_str()]);
    driver
}

/// Returns the driver built with the usual options of kernels.
fn plain() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER.get_or_init(|| build("plain", &[]))
}

/// Returns the driver built with AddressSanitizer and UndefinedBehaviorSanitizer.
fn sanitized() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER
        .get_or_init(|| build("sanitized", &["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]))
}

/// Returns the driver built with portable fibers, which serve processors with registers that the runtime does not know.
fn portable() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER.get_or_init(|| build("portable", &["-DEMULATOR_UCONTEXT"]))
}

/// Cases without a fault. The program itself compares their results with the exact ones.
const CORRECT: [&str; 10] = [
    "sums_of_rows",
    "prefix_sums",
    "indices",
    "atomics",
    "dynamic_shared_memory",
    "shuffles",
    "votes",
    "launches_at_once",
    "numbers_and_bits",
    "unwritten_shared_memory",
];

/// A run of a case: its schedule, the number of operating-system threads, and the seed.
type Run = (u32, u32, u64);

/// Every schedule on one and on several threads.
const EVERY_RUN: [Run; 8] = [
    (FORWARD, 1, 0),
    (FORWARD, 2, 0),
    (REVERSE, 1, 0),
    (REVERSE, 3, 0),
    (RANDOM, 1, 1),
    (RANDOM, 1, 2),
    (RANDOM, 2, 1),
    (RANDOM, 3, 3),
];

/// A few runs, for drivers that differ only in their build.
const SOME_RUNS: [Run; 2] = [(REVERSE, 1, 0), (RANDOM, 2, 1)];

/// Runs the cases without a fault and asserts that each run gives the same bits.
fn same_bits(driver: &Path, runs: &[Run]) {
    for case in CORRECT {
        let expected = run(driver, case, FORWARD, 1, 0);
        assert!(expected.status.success(), "{case}: {}", text(&expected));
        assert!(!expected.stdout.is_empty(), "{case} printed no bits");
        for &(schedule, threads, seed) in runs {
            let output = run(driver, case, schedule, threads, seed);
            let what = format!("{case}, schedule {schedule}, {threads} threads, seed {seed}");
            assert!(output.status.success(), "{what}: {}", text(&output));
            assert_eq!(output.stdout, expected.stdout, "{what}");
        }
    }
}

#[test]
fn correct_kernels_give_the_same_bits_in_every_schedule() {
    same_bits(plain(), &EVERY_RUN);
}

#[test]
fn correct_kernels_give_the_same_bits_under_the_sanitizers() {
    same_bits(sanitized(), &SOME_RUNS);
}

#[test]
fn correct_kernels_give_the_same_bits_with_portable_fibers() {
    same_bits(portable(), &SOME_RUNS);
}

/// The faults, each with parts that its message must contain. The place of a call is a line of `faults.cu`.
const FAULTS: [(&str, &[&str]); 22] = [
    (
        "barrier_after_return",
        &["kernel barrier_after_return, block (0,0,0): divergent barrier", ": 0-39; returned: 40-63"],
    ),
    ("barriers_of_two_branches", &["block (0,0,0): divergent barrier", "in __syncthreads() at faults.cu:"]),
    (
        "shuffle_with_returned_lane",
        &["warp 1: __shfl_xor_sync(0xffffffff)", "of lanes 0-4, 6-31 waits for lane 5, which returned"],
    ),
    ("shuffle_outside_of_own_mask", &["calls __shfl_xor_sync(0x0000ffff)", "whose mask lacks its own lane"]),
    ("lanes_not_there", &["whose mask has lanes 16-31, which this block lacks in warp 1"]),
    (
        "different_operations",
        &["warp 0:", "in __ballot_sync(0xffffffff)", ": 0-7", "in __any_sync(0xffffffff)", ": 8-31"],
    ),
    ("different_masks", &["warp 0: __syncwarp(0xffffffff)", "of lanes 0-15 waits for lanes 16-31, which returned"]),
    (
        "wait_for_each_other",
        &["of lanes 0-15 waits for lanes 16-31", "in __syncthreads() at faults.cu:", ": 16-31, 48-63"],
    ),
    ("misaligned_load", &["thread (0,0,0): misaligned access at faults.cu:", "is not a multiple of 16 bytes"]),
    ("misaligned_shared", &["thread (0,0,0): misaligned access at faults.cu:", "is not a multiple of 16 bytes"]),
    ("too_many_threads", &["block (32,33,1): at most 1024 threads"]),
    ("empty_grid", &["grid (1,0,1): at least 1 each"]),
    ("too_much_dynamic_shared", &["232449 bytes of dynamic shared memory: at most 232448"]),
    ("too_much_static_shared", &["49156 bytes of static shared memory with row: at most 49152"]),
    (
        "static_and_dynamic_shared",
        &["4096 bytes of static shared memory with row and 228353 of dynamic: at most 232448"],
    ),
    ("fault_in_block", &["kernel fault_in_block, block (4,3,0): divergent barrier", ": 0-4, 6-31; returned: 5"]),
    ("write_behind_shared", &["something was written past the 400 bytes of shared array row"]),
    ("write_before_shared", &["something was written before the 400 bytes of shared array row"]),
    ("write_behind_dynamic_shared", &["something was written past the 40 bytes of dynamic shared memory"]),
    ("write_before_dynamic_shared", &["something was written before the 40 bytes of dynamic shared memory"]),
    ("stack_overflow", &["the stack of 64 KiB overflowed"]),
    ("stack_overflow_at_barrier", &["the stack of 64 KiB overflowed"]),
];

/// Runs a fault and checks its message, then a launch without a fault. This must work in the same process.
fn is_caught(driver: &Path, runs: &[Run], case: &str, message: &[&str]) {
    for &(schedule, threads, seed) in runs {
        let output = run(driver, case, schedule, threads, seed);
        let text = text(&output);
        assert!(output.status.success() && text.ends_with("alive\n"), "{case}, schedule {schedule}: {text}");
        for part in message {
            assert!(text.contains(part), "{case}, schedule {schedule}: {part:?} is not in {text:?}");
        }
    }
}

#[test]
fn faults_end_the_launch_with_a_message() {
    for (case, message) in FAULTS {
        is_caught(plain(), &EVERY_RUN, case, message);
        is_caught(portable(), &SOME_RUNS, case, message);
    }
}

/// A failed launch frees everything. If it did not, the sanitizers would report the leak.
#[test]
fn faults_end_the_launch_cleanly_under_the_sanitizers() {
    for (case, message) in FAULTS {
        // The sanitizers end the process at the access itself, and give each thread a larger stack.
        if !case.starts_with("write_be") && !case.starts_with("stack_overflow") {
            is_caught(sanitized(), &SOME_RUNS, case, message);
        }
    }
}

/// The orders are forward, reverse, and random anew after each barrier. The same seed gives the same order.
#[test]
fn threads_and_blocks_run_in_the_order_that_is_asked_for() {
    let order = |schedule, seed| {
        let output = run(plain(), "order_of_threads", schedule, 1, seed);
        assert!(output.status.success(), "schedule {schedule}, seed {seed}: {}", text(&output));
        output.stdout
    };
    order(FORWARD, 0);
    order(REVERSE, 0);
    assert_eq!(order(RANDOM, 1), order(RANDOM, 1));
    assert_ne!(order(RANDOM, 1), order(RANDOM, 2));
}

#[test]
fn faults_leave_no_memory_behind() {
    let output = run(plain(), "memory_of_many_faults", RANDOM, 2, 1);
    assert!(output.status.success(), "{}", text(&output));
}

/// The forward order hides a missing barrier. The other orders find unwritten memory, which is NaN.
#[test]
fn a_missing_barrier_shows_in_other_orders() {
    let driver = plain();
    assert!(run(driver, "missing_barrier", FORWARD, 1, 0).status.success());
    for (schedule, seed) in [(REVERSE, 0), (RANDOM, 1), (RANDOM, 2), (RANDOM, 3)] {
        let output = run(driver, "missing_barrier", schedule, 1, seed);
        assert_eq!(output.status.code(), Some(2), "schedule {schedule}: {}", text(&output));
        assert!(text(&output).contains("read before it was written"), "schedule {schedule}: {}", text(&output));
    }
}

#[test]
fn sanitizers_see_accesses_out_of_bounds_and_overflows() {
    let cases = [
        ("read_out_of_bounds", &["heap-buffer-overflow", "READ of size 4", "in read_out_of_bounds"][..]),
        ("write_behind_shared", &["use-after-poison", "WRITE of size 4", "in write_beside_shared"]),
        ("write_before_shared", &["use-after-poison", "WRITE of size 4", "in write_beside_shared"]),
        ("write_behind_dynamic_shared", &["use-after-poison", "in write_beside_dynamic_shared"]),
        ("write_before_dynamic_shared", &["use-after-poison", "in write_beside_dynamic_shared"]),
        ("offset_overflow", &["signed integer overflow: 16383 * 151936 cannot be represented in type 'int'"]),
    ];
    for (case, parts) in cases {
        let output = run(sanitized(), case, FORWARD, 1, 0);
        assert!(!output.status.success(), "{case} was not seen: {}", text(&output));
        for part in parts {
            assert!(text(&output).contains(part), "{case}: {part:?} is not in {}", text(&output));
        }
    }
}
