//! The properties of the simulated device.

use std::str::FromStr;

/// The properties that the device and the driver report, and the limits that they enforce.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Compute capability, as (major, minor).
    pub(crate) capability: (i32, i32),
    /// Device memory in bytes.
    pub(crate) memory: usize,
    /// CUDA version of the driver, as (major, minor).
    pub(crate) driver: (i32, i32),
    /// Whether the GPU has memory pools, which stream-ordered allocation needs.
    pub(crate) pools: bool,
    /// Whether the driver loads machine code as well as PTX.
    pub(crate) cubins: bool,
    /// Whether the host can pin memory.
    pub(crate) pinned: bool,
    /// The products that cuBLASLt refuses.
    pub(crate) refused: Refused,
}

/// Kinds of products that cuBLASLt refuses, as some of its versions do on some GPUs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refused {
    /// A product with a bias whose result has one row.
    pub(crate) bias: bool,
    /// The products of `bias`, but refused only when they run: an algorithm is found.
    pub(crate) execution: bool,
    /// bf16 matrices with an odd leading dimension.
    pub(crate) odd: bool,
    /// Products for which the program restricts the reduction schemes.
    pub(crate) reductions: bool,
    /// Every product.
    pub(crate) everything: bool,
}

impl Refused {
    /// Parses a comma-separated list of names, for example `bias,odd`.
    fn of(names: &str) -> Self {
        let mut refused = Self::default();
        for name in names.split(',') {
            let place = match name {
                "bias" => &mut refused.bias,
                "execution" => &mut refused.execution,
                "odd" => &mut refused.odd,
                "reductions" => &mut refused.reductions,
                "everything" => &mut refused.everything,
                _ => panic!(
                    "the stand-in's environment: got `{name}`, wanted bias, execution, odd, reductions or everything"
                ),
            };
            *place = true;
        }
        refused
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capability: (9, 0),
            memory: 16 << 30,
            driver: (12, 9),
            pools: true,
            cubins: true,
            pinned: true,
            refused: Refused::default(),
        }
    }
}

impl Limits {
    /// Bytes of shared memory, static and dynamic, that a block may have unless the kernel is allowed more.
    pub(crate) const SHARED: usize = 48 << 10;
    /// Largest number of threads in a block.
    pub(crate) const THREADS: u32 = 1024;
    /// Largest number of blocks along each axis.
    pub(crate) const GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
    /// Largest number of threads in a block along each axis.
    pub(crate) const BLOCK: [u32; 3] = [1024, 1024, 64];

    pub(crate) fn from_environment() -> Self {
        let usual = Self::default();
        Self {
            capability: variable("CAPABILITY").map_or(usual.capability, version),
            memory: variable("MEMORY").map_or(usual.memory, |text| number(&text)),
            driver: variable("DRIVER").map_or(usual.driver, version),
            pools: is_on("POOLS"),
            cubins: is_on("CUBINS"),
            pinned: is_on("PINNED"),
            refused: variable("REFUSED").map_or(usual.refused, |names| Refused::of(&names)),
        }
    }

    /// Returns the bytes of shared memory that a block can request. The numbers are those of the table "Technical
    /// Specifications per Compute Capability" in the CUDA C++ Programming Guide.
    pub(crate) const fn shared(&self) -> usize {
        match self.capability {
            (7, _) => 64 << 10,
            (8, 0 | 7) => 163 << 10,
            (8 | 12, _) => 99 << 10,
            _ => 227 << 10,
        }
    }

    /// Returns the newest PTX version that the driver reads, according to the release notes of the PTX ISA.
    pub(crate) const fn ptx(&self) -> (i32, i32) {
        match self.driver {
            (12, minor @ 0..=5) => (8, minor),
            (12, 6) => (8, 5),
            (12, minor) => (8, minor - 1),
            (major, minor) => (major - 4, minor),
        }
    }
}

/// Returns the environment variable `FLOWRL_STAND_IN_{name}`. An empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(format!("FLOWRL_STAND_IN_{name}")).ok().filter(|text| !text.is_empty())
}

/// Returns false only if the variable is 0.
fn is_on(name: &str) -> bool {
    variable(name).is_none_or(|text| text != "0")
}

fn number<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("the stand-in's environment: got `{text}`, wanted a number"))
}

/// Parses a version, for example (8, 9) from "8.9".
fn version(text: String) -> (i32, i32) {
    let (major, minor) = text.split_once('.').unwrap_or((&text, "0"));
    (number(major), number(minor))
}
