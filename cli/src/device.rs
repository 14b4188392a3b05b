//! The devices that a model can run on: the CPU, a GPU, or an emulated GPU.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use flowrl_core::backend::CpuBackend;
#[cfg(feature = "cuda")]
use flowrl_cuda::{CudaBackend, EmulatorOptions, Precision as Stored};
use flowrl_lm::backend::{CACHE, LOGITS, TransformerBackend};
use serde::{Deserialize, Serialize};

/// The name of a device: `cpu`, `cuda`, `cuda:N` or `emulated`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceName {
    /// The processors of this machine.
    #[default]
    Cpu,
    /// The GPU with this number.
    Cuda(usize),
    /// The GPU's kernels, compiled for the CPU and checked as they run. This is slow.
    Emulated,
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "emulated" => Ok(Self::Emulated),
            _ => name.strip_prefix("cuda:").and_then(|number| number.parse().ok()).map(Self::Cuda).ok_or_else(|| {
                format!("unknown device `{name}`: expected cpu, cuda, cuda:N (the GPU with that number) or emulated")
            }),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Emulated => f.write_str("emulated"),
        }
    }
}

impl DeviceName {
    /// Returns the name of the GPU and the versions of its driver and libraries. The map is empty for other devices.
    pub fn software(self) -> BTreeMap<String, String> {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(number) => flowrl_cuda::software(number),
            _ => BTreeMap::new(),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

/// The number format in which a device stores activations, and weights for matrix products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// bf16 on a GPU, f32 elsewhere.
    #[default]
    Auto,
    /// bfloat16, with sums, weight gradients and the optimiser in f32.
    Bf16,
    /// Like bf16, but with logits in f32.
    Bf16F32Logits,
    /// Single precision throughout.
    F32,
}

impl Precision {
    /// Returns whether `device` stores activations, and weights for matrix products, as bf16.
    pub const fn is_bf16(self, device: DeviceName) -> bool {
        match self {
            Self::Auto => matches!(device, DeviceName::Cuda(_)),
            Self::Bf16 | Self::Bf16F32Logits => true,
            Self::F32 => false,
        }
    }
}

/// Flags of the commands that run a model without a configuration.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct DeviceArgs {
    /// Device: cpu, cuda, cuda:N or emulated
    #[arg(long, value_name = "NAME", default_value_t = DeviceName::Cpu)]
    device: DeviceName,
    /// Number format of activations and weights on the device
    #[arg(long, value_enum, default_value_t = Precision::Auto)]
    precision: Precision,
    /// CPU threads; 0 means one per processor
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl DeviceArgs {
    /// Opens the device that the flags name.
    pub fn open(&self) -> Result<Device> {
        open(self.device, self.precision, self.threads)
    }
}

/// An open device.
#[derive(Debug)]
pub enum Device {
    /// The CPU.
    Cpu(CpuBackend<f32>),
    /// A GPU or its emulator.
    #[cfg(feature = "cuda")]
    Cuda(CudaBackend),
}

/// The error message of a build without the feature `cuda`.
#[cfg(not(feature = "cuda"))]
pub(crate) const WITHOUT_CUDA: &str = concat!(
    "this build is for CPUs and cannot load libraries, neither CUDA's nor the emulator's; flowrl-cli-",
    env!("CARGO_PKG_VERSION"),
    "-x86_64-unknown-linux-gnu.tar.gz can, and so can a build with the feature `cuda`, which is on by default"
);

/// Opens a device.
pub fn open(name: DeviceName, precision: Precision, threads: usize) -> Result<Device> {
    if let DeviceName::Cpu = name {
        if precision.is_bf16(name) {
            bail!(
                "the CPU computes in f32: leave train.precision (--precision) at auto, or choose another device with --device"
            );
        }
        return Ok(Device::Cpu(CpuBackend::new(threads)));
    }
    #[cfg(feature = "cuda")]
    {
        let stored = if precision.is_bf16(name) { Stored::Bf16 } else { Stored::F32 };
        let device = match name {
            DeviceName::Cuda(number) => CudaBackend::new(number, stored)?,
            _ => CudaBackend::emulated(EmulatorOptions { threads, ..EmulatorOptions::default() }, stored),
        };
        Ok(Device::Cuda(if precision == Precision::Bf16F32Logits { device.with_f32_logits() } else { device }))
    }
    #[cfg(not(feature = "cuda"))]
    bail!("--device {name}: {WITHOUT_CUDA}")
}

/// The limits of a device that determine how much memory a run takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Elements of logits held at once.
    pub logits: usize,
    /// Elements of keys and values cached at once.
    pub cache: usize,
    /// Free memory in bytes, if the device reports it.
    pub memory: Option<usize>,
}

impl Default for Limits {
    /// Returns the limits of a device that reports none.
    fn default() -> Self {
        Self { logits: LOGITS, cache: CACHE, memory: None }
    }
}

/// Opens a device and returns its limits.
pub fn limits(name: DeviceName, precision: Precision) -> Result<Limits> {
    fn of(device: &impl TransformerBackend, memory: Option<usize>) -> Limits {
        Limits { logits: device.logits_limit(), cache: device.cache_limit(), memory }
    }
    Ok(match open(name, precision, 1)? {
        Device::Cpu(device) => of(&device, None),
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => of(&device, device.memory()),
    })
}

/// Evaluates `$work`, an expression of type `Result<_>`, with an open device of either type. On the CPU, the work runs
/// inside the device's thread pool.
#[macro_export]
macro_rules! on_device {
    ($open:expr, |$device:ident| $work:expr) => {
        match $open {
            $crate::device::Device::Cpu($device) => {
                let pool = $device.pool().clone();
                pool.enter(|| -> anyhow::Result<_> { $work })
            }
            #[cfg(feature = "cuda")]
            $crate::device::Device::Cuda($device) => (|| -> anyhow::Result<_> { $work })(),
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were() {
        for name in ["cpu", "cuda", "cuda:3", "emulated"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        for name in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(name.parse::<DeviceName>().unwrap_err().contains("expected cpu, cuda"), "{name}");
        }
    }

    #[test]
    fn the_cpu_refuses_bf16() {
        for precision in [Precision::Bf16, Precision::Bf16F32Logits] {
            let error = open(DeviceName::Cpu, precision, 1).unwrap_err().to_string();
            assert!(error.contains("train.precision"), "{error}");
        }
    }
}
