//! The parts of PTX that a driver reads before anything runs. The PTX ISA's manual describes them under "Directives".

use cudarc::driver::sys::CUresult::{
    CUDA_ERROR_INVALID_PTX, CUDA_ERROR_NO_BINARY_FOR_GPU, CUDA_ERROR_UNSUPPORTED_PTX_VERSION,
};

use crate::limits::Limits;
use crate::refusal::{Refusal, limit, misuse};

/// The declaration of a kernel's parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) bytes: usize,
    pub(crate) is_pointer: bool,
}

/// The declaration of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
    /// Bytes of static shared memory.
    pub(crate) shared: usize,
    /// Largest number of threads in a block, if the kernel declares one.
    pub(crate) threads: Option<u32>,
}

/// Reads the kernels of a module that is loaded as PTX or, if `is_machine_code`, as machine code made from it. Fails if
/// it is too new for the driver or the device. A driver reads PTX up to its own version, and loads machine code from any
/// compiler that is not of a newer major version than its own.
pub(crate) fn parse(text: &str, limits: &Limits, is_machine_code: bool) -> Result<Vec<Entry>, Refusal> {
    let (major, minor) = limits.ptx();
    let newest = (major, if is_machine_code { i32::MAX } else { minor });
    if !text.is_ascii() {
        return Err(misuse(CUDA_ERROR_INVALID_PTX, "PTX with a character that is not ASCII"));
    }
    let broken = |missing: &str| misuse(CUDA_ERROR_INVALID_PTX, format!("PTX without {missing}"));
    let version = directive(text, ".version ").and_then(|word| word.split_once('.'));
    let (major, minor) = version.ok_or_else(|| broken("a version"))?;
    let numbers = major.parse().ok().zip(minor.parse().ok());
    if numbers.ok_or_else(|| broken("a version"))? > newest {
        return Err(limit(CUDA_ERROR_UNSUPPORTED_PTX_VERSION));
    }
    let target = directive(text, ".target sm_").and_then(|word| word.parse::<i32>().ok());
    let (major, minor) = limits.capability;
    if target.ok_or_else(|| broken("a plain target"))? > 10 * major + minor {
        return Err(limit(CUDA_ERROR_NO_BINARY_FOR_GPU));
    }
    let head = text.split(".entry ").next().unwrap_or_default();
    let common = shared(head);
    text.split(".entry ").skip(1).map(|rest| entry(rest, common)).collect()
}

/// Returns the word after a directive.
fn directive<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
    line.split([' ', ',']).next()
}

/// Reads a kernel from the text after its `.entry`. `common` is the shared memory that the whole module declares.
fn entry(text: &str, common: usize) -> Result<Entry, Refusal> {
    let broken = || misuse(CUDA_ERROR_INVALID_PTX, "PTX with a kernel that cannot be read");
    let (head, body) = text.split_once('{').ok_or_else(broken)?;
    let (name, rest) = head.split_once('(').ok_or_else(broken)?;
    let (parameters, bounds) = rest.split_once(')').ok_or_else(broken)?;
    let parameters = parameters.split(',').filter(|text| !text.trim().is_empty()).map(parameter);
    let threads = [".maxntid ", ".reqntid "].iter().find_map(|bound| bounds.split_once(bound)).map(|(_, rest)| {
        let sizes = rest.lines().next().unwrap_or_default().split(',');
        sizes.filter_map(|size| size.trim().parse::<u32>().ok()).product()
    });
    Ok(Entry {
        name: name.trim().to_owned(),
        parameters: parameters.collect::<Option<_>>().ok_or_else(broken)?,
        shared: common + shared(body),
        threads,
    })
}

/// Reads a parameter such as `.param .u64 .ptr .align 1 name`.
fn parameter(text: &str) -> Option<Parameter> {
    let mut words = text.split_whitespace();
    let kind = words.find(|word| *word == ".param").and(words.next())?;
    // A structure by value would be `.b8 name[…]`. No kernel of FlowRL takes one, so it is an error.
    let bits: usize = kind.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    (!text.contains('[') && bits <= 64)
        .then(|| Parameter { bytes: bits / 8, is_pointer: words.any(|word| word == ".ptr") })
}

/// Returns the bytes of shared memory that a text declares, with padding for the alignment of each array.
fn shared(text: &str) -> usize {
    let pieces = text.lines().filter_map(|line| line.trim().strip_prefix(".shared "));
    pieces.fold(0, |sum: usize, piece| {
        let number =
            |start: &str, end: char| piece.split_once(start)?.1.split(end).next()?.trim().parse::<usize>().ok();
        let align = number(".align ", ' ').unwrap_or(1);
        sum.next_multiple_of(align) + number("[", ']').unwrap_or(align)
    })
}

/// A module with two kernels, for tests.
#[cfg(test)]
pub(crate) const TEXT: &str = "\
// a comment with an .entry-like word
.version 8.8
.target sm_90
.address_size 64

.visible .entry first(
\t.param .u64 .ptr .align 1 first_param_0,
\t.param .u64 first_param_1,
\t.param .f32 first_param_2
)
.maxntid 128, 1, 1
{
\t.shared .align 4 .b8 a[6];
\t.shared .align 16 .b8 b[32];
\tret;
}
.visible .entry second(
)
{
\tret;
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_read() {
        let entries = parse(TEXT, &Limits::default(), false).unwrap();
        let parameter = |bytes, is_pointer| Parameter { bytes, is_pointer };
        let first = Entry {
            name: "first".to_owned(),
            parameters: vec![parameter(8, true), parameter(8, false), parameter(4, false)],
            shared: 48,
            threads: Some(128),
        };
        assert_eq!(entries, [first, Entry { name: "second".to_owned(), ..Entry::default() }]);
    }

    #[test]
    fn what_a_driver_or_a_device_cannot_take_is_refused() {
        let code = |text: &str, limits| parse(text, &limits, false).unwrap_err().code;
        let usual = Limits::default();
        assert_eq!(code(TEXT, Limits { driver: (12, 8), ..usual }), CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        assert_eq!(code(TEXT, Limits { capability: (8, 9), ..usual }), CUDA_ERROR_NO_BINARY_FOR_GPU);
        // Machine code does not need the PTX version, only a driver of the same major version.
        assert!(parse(TEXT, &Limits { driver: (12, 0), ..usual }, true).is_ok());
        let older = parse(TEXT, &Limits { driver: (11, 8), ..usual }, true);
        assert_eq!(older.unwrap_err().code, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        assert_eq!(code(&format!("{TEXT}// é"), usual), CUDA_ERROR_INVALID_PTX);
        assert_eq!(code("", usual), CUDA_ERROR_INVALID_PTX);
    }
}
