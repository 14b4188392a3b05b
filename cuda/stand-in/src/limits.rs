//! The device that is pretended.

use std::str::FromStr;

/// What the device and the driver say of themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) capability: (i32, i32),
    /// Bytes of memory.
    pub(crate) memory: usize,
    /// The version of CUDA that the driver is of.
    pub(crate) driver: (i32, i32),
    /// Whether memory is allocated in the order of streams.
    pub(crate) pools: bool,
    /// Whether the driver loads machine code; if not, PTX alone.
    pub(crate) cubins: bool,
    /// Whether the system has memory of the host to pin.
    pub(crate) pinned: bool,
    /// What cuBLASLt refuses.
    pub(crate) refused: Refused,
}

/// Products that cuBLASLt refuses, as versions of it do on some GPUs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refused {
    /// One row of C with a bias.
    pub(crate) bias: bool,
    /// The same, and not before it is asked to run.
    pub(crate) execution: bool,
    /// bf16 with an odd number of elements from column to column.
    pub(crate) odd: bool,
    /// A limited choice of how sums in parts are put together.
    pub(crate) reductions: bool,
    pub(crate) everything: bool,
}

impl Refused {
    /// Names as in `bias,odd`.
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
                    "the stand-in's environment: `{name}` is none of bias, execution, odd, reductions, everything"
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
    /// Dynamic shared memory of a block unless the kernel asks for more.
    pub(crate) const SHARED: usize = 48 << 10;
    pub(crate) const THREADS: u32 = 1024;
    /// Blocks in each direction.
    pub(crate) const GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];
    /// Threads of a block in each direction.
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

    /// Shared memory that a block can ask for: the table of technical specifications in the CUDA C++ Programming Guide.
    pub(crate) const fn shared(&self) -> usize {
        match self.capability {
            (7, _) => 64 << 10,
            (8, 0 | 7) => 163 << 10,
            (8 | 12, _) => 99 << 10,
            _ => 227 << 10,
        }
    }

    /// The newest PTX that the driver reads: the release notes of the PTX ISA.
    pub(crate) const fn ptx(&self) -> (i32, i32) {
        match self.driver {
            (12, minor @ 0..=5) => (8, minor),
            (12, 6) => (8, 5),
            (12, minor) => (8, minor - 1),
            (major, minor) => (major - 4, minor),
        }
    }
}

pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(format!("FLOWRL_STAND_IN_{name}")).ok().filter(|text| !text.is_empty())
}

/// Whether a variable does not switch something off.
fn is_on(name: &str) -> bool {
    variable(name).is_none_or(|text| text != "0")
}

fn number<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("the stand-in's environment: `{text}` is no number"))
}

/// (8, 9) of "8.9".
fn version(text: String) -> (i32, i32) {
    let (major, minor) = text.split_once('.').unwrap_or((&text, "0"));
    (number(major), number(minor))
}
