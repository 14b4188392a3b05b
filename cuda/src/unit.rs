//! Units of compilation: a kernel file for one storage type.

use crate::constants;

/// Storage type of activations and weights. In either case, sums, statistics, weight gradients, the optimiser's moments
/// and its copy of the weights are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// bfloat16, which halves memory use and reaches the tensor cores' full speed.
    #[default]
    Bf16,
    /// f32 throughout, including matrix products; results agree with the CPU's to within rounding.
    F32,
}

impl Precision {
    pub(crate) const fn storage(self) -> Storage {
        match self {
            Self::Bf16 => Storage::Bf16,
            Self::F32 => Storage::F32,
        }
    }
}

/// The storage type of a buffer's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Storage {
    F32,
    Bf16,
    /// Double precision, for sums that the host reads.
    F64,
}

impl Storage {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
            Self::F64 => 8,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F64 => "f64",
        }
    }

    /// Decodes one number, by the number of bytes. Eight bytes give NaN, because f64 buffers are read with `read_f64`.
    pub(crate) fn decode(self, bytes: &[u8]) -> f32 {
        match *bytes {
            [a, b, c, d] => f32::from_ne_bytes([a, b, c, d]),
            [a, b] => half::bf16::from_ne_bytes([a, b]).to_f32(),
            _ => f32::NAN,
        }
    }

    /// Encodes a number, rounded to nearest.
    pub(crate) fn encode(self, x: f32, bytes: &mut [u8]) {
        match self {
            Self::F32 => bytes.copy_from_slice(&x.to_ne_bytes()),
            Self::Bf16 => bytes.copy_from_slice(&half::bf16::from_f32(x).to_ne_bytes()),
            Self::F64 => bytes.copy_from_slice(&f64::from(x).to_ne_bytes()),
        }
    }
}

/// The text placed before every kernel file.
const COMMON: &str = include_str!("../kernels/common.cuh");

/// Lists files of a folder by name, with their text.
macro_rules! files {
    ($visibility:vis $list:ident in $folder:literal: $($name:literal),* $(,)?) => {
        $visibility const $list: &[(&str, &str)] = &[$(($name, include_str!(concat!($folder, $name)))),*];
    };
}
pub(crate) use files;

files! { pub(crate) FILES in "../kernels/":
    "adamw.cu", "attention.cu", "attention_backward.cu", "column_sum.cu", "decode_attention.cu", "dropout.cu", "embed.cu",
    "fill.cu", "gelu.cu", "layer_norm.cu", "log_prob.cu", "mean_rows.cu", "policy_gradient.cu", "product.cu",
    "qk_norm.cu", "rms_norm.cu", "rope.cu", "sample.cu", "sum_squares.cu", "swiglu.cu", "trajectory_balance.cu",
}

// Headers that a kernel file includes explicitly, unlike the common text before every file.
files! { HEADERS in "../kernels/": "philox.cuh", "softmax.cuh", "spans.cuh", "tile.cuh" }

/// Kernels that only tests use.
#[cfg(any(test, feature = "stand-in"))]
const TEST_FILES: &[(&str, &str)] = &[("tile_products.cu", include_str!("../tests/kernels/tile_products.cu"))];
#[cfg(not(any(test, feature = "stand-in")))]
const TEST_FILES: &[(&str, &str)] = &[];

/// One kernel file for one storage type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Unit {
    pub(crate) file: &'static str,
    pub(crate) storage: Storage,
}

impl Unit {
    /// Iterates over all units.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        FILES.iter().flat_map(|&(file, _)| Self::of(file))
    }

    /// Iterates over all units, including those of tests.
    #[cfg(feature = "stand-in")]
    pub(crate) fn all_and_of_tests() -> impl Iterator<Item = Self> {
        Self::all().chain(TEST_FILES.iter().flat_map(|&(file, _)| Self::of(file)))
    }

    fn of(file: &'static str) -> [Self; 2] {
        [Storage::F32, Storage::Bf16].map(|storage| Self { file, storage })
    }

    /// Returns the unit's name for messages.
    pub(crate) fn name(self) -> String {
        format!("{} for {}", self.file, self.storage.name())
    }

    /// Returns the complete source: the storage type's definition, the common text and the file.
    pub(crate) fn source(self) -> String {
        let text = FILES
            .iter()
            .chain(TEST_FILES)
            .find(|(name, _)| *name == self.file)
            .expect("a kernel names a listed file")
            .1;
        // `#line` keeps the line numbers of the original files.
        let constants = constants::header();
        let headers = || HEADERS.iter().copied().chain([("constants.cuh", constants.as_str())]);
        let with_header = |(i, line): (usize, &str)| {
            headers().find(|(name, _)| line == format!("#include \"{name}\"")).map_or_else(
                || format!("{line}\n"),
                |(name, header)| format!("#line 1 \"{name}\"\n{header}\n#line {} \"{}\"\n", i + 2, self.file),
            )
        };
        let text: String = text.lines().enumerate().map(with_header).collect();
        let define = if self.storage == Storage::Bf16 { "#define STORE_BF16\n" } else { "" };
        format!("{define}#line 1 \"common.cuh\"\n{COMMON}\n#line 1 \"{}\"\n{text}", self.file)
    }

    /// Returns the names of the unit's kernels, in the order of the file.
    pub(crate) fn kernels(self) -> Vec<String> {
        let source = self.source();
        let starts = source.split("extern \"C\" __global__ void").skip(1);
        // A launch bound may stand between `void` and the name.
        let name = |rest: &str| {
            let head = rest.split('(').collect::<Vec<_>>();
            let bounded = head[0].trim() == "__launch_bounds__";
            let name = if bounded { head[1].rsplit(')').next() } else { Some(head[0]) };
            name.map(|name| name.trim().to_owned())
        };
        starts.filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_found_by_name() {
        let unit = Unit { file: "gelu.cu", storage: Storage::F32 };
        assert_eq!(unit.kernels(), ["gelu", "gelu_backward"]);
    }
}
