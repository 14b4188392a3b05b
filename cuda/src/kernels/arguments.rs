//! Checks of the arguments of a launch.

use flowrl_core::backend::{CpuError, check_len};
use flowrl_lm::backend::Heads;

use crate::buffer::{Buffer, Index};
use crate::device::Argument;
use crate::error::Result;
use crate::unit::Storage;

/// The arguments of a launch. They borrow the buffers that they point to.
#[derive(Default)]
pub(crate) struct Arguments<'a> {
    pub(super) list: Vec<Argument<'a>>,
    /// Storage type of the arguments that are stored as activations are, once the first of them is known.
    pub(super) storage: Option<Storage>,
}

impl<'a> Arguments<'a> {
    /// Adds a buffer that is stored as activations are.
    pub(super) fn store(&mut self, name: &'static str, x: Option<&'a Buffer>, wanted: usize) -> Result<()> {
        let storage = x.map_or(Storage::F32, |x| *self.storage.get_or_insert(x.storage));
        self.buffer(name, x, wanted, storage)
    }

    pub(super) fn f32(&mut self, name: &'static str, x: Option<&'a Buffer>, wanted: usize) -> Result<()> {
        self.buffer(name, x, wanted, Storage::F32)
    }

    pub(super) fn f64(&mut self, name: &'static str, x: Option<&'a Buffer>, wanted: usize) -> Result<()> {
        self.buffer(name, x, wanted, Storage::F64)
    }

    pub(super) fn index(&mut self, name: &'static str, x: Option<&'a Index>, wanted: usize) -> Result<()> {
        x.map_or(Ok(()), |x| check_len(name, x.host.len(), wanted))?;
        self.list.push(x.map_or(Argument::Null, |x| Argument::Memory(&x.memory, wanted * size_of::<u32>())));
        Ok(())
    }

    fn buffer(&mut self, name: &'static str, x: Option<&'a Buffer>, wanted: usize, storage: Storage) -> Result<()> {
        if let Some(x) = x {
            check_len(name, x.len, wanted)?;
            x.check_storage(name, storage)?;
        }
        self.list.push(x.map_or(Argument::Null, |x| Argument::Memory(&x.memory, wanted * storage.bytes())));
        Ok(())
    }
}

/// Numbers passed to a kernel. Sizes are `usize` in Rust and narrower in the kernel.
pub(crate) trait Scalar {
    type Given: Copy;
    fn push(name: &'static str, given: Self::Given, to: &mut Arguments<'_>) -> Result<()>;
}

macro_rules! scalars {
    ($($type:ty, $given:ty);*) => {
        $(impl Scalar for $type {
            type Given = $given;
            fn push(name: &'static str, given: $given, to: &mut Arguments<'_>) -> Result<()> {
                let rule = "be a size that fits a kernel's argument";
                let broken = |_| CpuError::Rule { argument: name, index: 0, rule };
                let mut slot = [0; 8];
                slot[..size_of::<$type>()].copy_from_slice(&<$type>::try_from(given).map_err(broken)?.to_ne_bytes());
                to.list.push(Argument::Number(slot));
                Ok(())
            }
        })*
    };
}

scalars!(u32, usize; u64, usize; f32, f32; f64, f64);

/// Several arguments of one type.
impl<T: Scalar, const N: usize> Scalar for [T; N] {
    type Given = [T::Given; N];
    fn push(name: &'static str, given: Self::Given, to: &mut Arguments<'_>) -> Result<()> {
        given.into_iter().try_for_each(|given| T::push(name, given, to))
    }
}

/// The three arguments `heads`, `kv_heads` and `head_dim`.
impl Scalar for Heads {
    type Given = Self;
    fn push(_: &'static str, heads: Self, to: &mut Arguments<'_>) -> Result<()> {
        u32::push("heads", heads.heads, to)?;
        u32::push("kv_heads", heads.kv_heads, to)?;
        u32::push("head_dim", heads.head_dim, to)
    }
}
