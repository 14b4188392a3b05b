//! All unsafe code of this crate, together with the modules below: device memory, kernel launches and matrix products.
//! Review these files for soundness.
//!
//! The exported functions are safe. `kernels!` below declares each kernel with the length of each argument, and the
//! generated function checks every buffer against these lengths before the launch. The one fact Rust cannot check is
//! that a kernel stays within its declared lengths. The emulator checks this under AddressSanitizer: see
//! `cargo xtask sanitize`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CString, c_char, c_void};
use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use cudarc::cublaslt::sys as lt;
use cudarc::driver::sys::CUfunction;
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, DriverError};
use cudarc::nvrtc;
use flowrl_core::backend::{CpuError, check_len};

use crate::backend::row_threads;
use crate::buffer::{Buffer, Index};
use crate::compile;
use crate::emulated::{self, EmulatorOptions, RawOptions};
use crate::error::Error;
use crate::libraries::Library;
use crate::notice;
use crate::objective::{MEASURES, PARTS};
use crate::product::{Matrix, Product};
use crate::tile;
use crate::unit::{Storage, Unit};

mod blas;
mod staging;

use blas::{Blas, Storages, Way};
use staging::Staging;

/// A device that runs kernels, with a table of those compiled for it so far.
pub(crate) enum Device {
    Nvidia(Nvidia),
    Emulated(Emulated),
}

/// A GPU used through one stream, so that operations run in the order of the calls.
pub(crate) struct Nvidia {
    pub(crate) stream: Arc<CudaStream>,
    modules: Mutex<HashMap<Unit, Module>>,
    blas: Blas,
    /// Pinned memory for uploads, or `None` if the driver cannot pin any.
    staging: Option<Mutex<Staging>>,
}

/// A unit loaded on a GPU, with the kernels used so far and the dynamic shared memory that each of them may have.
struct Module {
    module: Arc<CudaModule>,
    kernels: HashMap<String, (CudaFunction, u32)>,
}

/// The emulator, with the units loaded so far.
pub(crate) struct Emulated {
    pub(crate) options: EmulatorOptions,
    libraries: Mutex<HashMap<Unit, Arc<libloading::Library>>>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nvidia(gpu) => f.debug_tuple("Nvidia").field(&gpu.stream.context().ordinal()).finish(),
            Self::Emulated(emulator) => f.debug_tuple("Emulated").field(&emulator.options).finish(),
        }
    }
}

/// Device memory, aligned to at least 16 bytes.
#[derive(Debug)]
pub(crate) enum Memory {
    Nvidia(Owned),
    Emulated(Block),
}

/// GPU memory that any thread can drop. The order of the fields matters: they are dropped in this order.
#[derive(Debug)]
pub(crate) struct Owned {
    _current: Current,
    slice: CudaSlice<u8>,
}

impl Owned {
    fn new(slice: CudaSlice<u8>) -> Self {
        Self { _current: Current(Arc::clone(slice.context())), slice }
    }
}

/// On drop, makes this context current for the thread. The memory dropped after it may need that, and the bindings do
/// not ensure it.
#[derive(Debug)]
struct Current(Arc<CudaContext>);

impl Drop for Current {
    fn drop(&mut self) {
        // SAFETY: the context is alive. The bindings' own function would stop at an earlier error.
        let _ = unsafe { cudarc::driver::result::ctx::set_current(self.0.cu_ctx()) };
    }
}

/// Memory of the emulator, from the system's allocator so that AddressSanitizer knows its bounds.
#[derive(Debug)]
pub(crate) struct Block {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a block owns its bytes and lends them by the rules of references.
unsafe impl Send for Block {}
// SAFETY: as for `Send`, and shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    const ALIGNMENT: usize = 64;

    fn layout(bytes: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(bytes.max(1), Self::ALIGNMENT).expect("a length in memory fits isize")
    }

    fn zeros(bytes: usize) -> Result<Self, Error> {
        // SAFETY: the layout has at least one byte.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(Self::layout(bytes)) });
        start.map(|start| Self { start, bytes }).ok_or(Error::OutOfMemory { wanted: bytes, free: 0 })
    }

    fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` is valid for `bytes` bytes, initialised with zeros, as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with the same layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::layout(self.bytes)) }
    }
}

/// The alignment that the driver guarantees for allocations and cuBLASLt assumes.
const ALIGNMENT: u64 = 256;

fn driver(operation: &str) -> impl Fn(DriverError) -> Error {
    move |error| Error::Driver { operation: operation.to_owned(), message: format!("{error:?}") }
}

/// Lets the driver keep freed memory for the next allocation instead of returning it to the system at each
/// synchronisation. A GPU without a memory pool keeps none.
pub(crate) fn keep_freed_memory(context: &CudaContext) {
    use cudarc::driver::result::{device, mem_pool};
    use cudarc::driver::sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD as THRESHOLD;
    let mut everything = u64::MAX;
    // SAFETY: the context is alive, its device's pool lives as long, and the attribute is a 64-bit number.
    let _ = unsafe {
        device::get_default_mem_pool(context.cu_device())
            .and_then(|pool| mem_pool::set_attribute(pool, THRESHOLD, (&raw mut everything).cast()))
    };
}

/// Returns the bytes that allocations can still use: unused memory, and freed memory that the driver keeps.
fn free_memory(context: &CudaContext) -> usize {
    use cudarc::driver::result::{device, mem_pool};
    use cudarc::driver::sys::CUmemPool_attribute_enum::{
        CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT as RESERVED, CU_MEMPOOL_ATTR_USED_MEM_CURRENT as USED,
    };
    let (mut reserved, mut used) = (0_u64, 0_u64);
    // SAFETY: as in `keep_freed_memory`.
    let _ = unsafe {
        device::get_default_mem_pool(context.cu_device()).and_then(|pool| {
            mem_pool::get_attribute(pool, RESERVED, (&raw mut reserved).cast())?;
            mem_pool::get_attribute(pool, USED, (&raw mut used).cast())
        })
    };
    context.mem_get_info().map_or(0, |(free, _)| free) + reserved.saturating_sub(used) as usize
}

impl Device {
    pub(crate) fn nvidia(stream: Arc<CudaStream>) -> Result<Self, Error> {
        // SAFETY: every slice of this crate is used only on its one stream, so no events are needed for ordering.
        unsafe { stream.context().disable_event_tracking() };
        let blas = Blas::new(&stream)?;
        let staging = Staging::new(&stream).map(Mutex::new).inspect_err(|error| {
            let text = format!("the driver cannot pin host memory ({error:?}), so every upload waits for the GPU");
            notice::say("pinned memory", &text);
        });
        Ok(Self::Nvidia(Nvidia { stream, modules: Mutex::default(), blas, staging: staging.ok() }))
    }

    pub(crate) fn emulated(options: EmulatorOptions) -> Self {
        Self::Emulated(Emulated { options, libraries: Mutex::default() })
    }

    /// Allocates `bytes` zero bytes.
    pub(crate) fn zeros(&self, bytes: usize) -> Result<Memory, Error> {
        if let Self::Emulated(_) = self {
            // `alloc_zeroed` is cheaper than a separate fill.
            return Block::zeros(bytes).map(Memory::Emulated);
        }
        let mut memory = self.scratch(bytes)?;
        self.clear(&mut memory, bytes)?;
        Ok(memory)
    }

    /// Allocates `bytes` bytes that must be written before they are read. The emulator fills them with NaN.
    pub(crate) fn scratch(&self, bytes: usize) -> Result<Memory, Error> {
        match self {
            Self::Emulated(_) => {
                let mut block = Block::zeros(bytes)?;
                block.as_mut_slice().fill(0xff);
                Ok(Memory::Emulated(block))
            }
            Self::Nvidia(gpu) => {
                // SAFETY: every bit pattern is a valid byte, and unwritten bytes are never read.
                let allocated = unsafe { gpu.stream.alloc(bytes.max(16)) };
                allocated.map(|slice| Memory::Nvidia(Owned::new(slice))).map_err(|error| {
                    use cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;
                    match error.0 {
                        CUDA_ERROR_OUT_OF_MEMORY => {
                            Error::OutOfMemory { wanted: bytes, free: free_memory(gpu.stream.context()) }
                        }
                        _ => driver("allocate memory")(error),
                    }
                })
            }
        }
    }

    /// Copies `source` to `target[offset..]`, which the caller has checked to be long enough.
    pub(crate) fn write(&self, target: &mut Memory, offset: usize, source: &[u8]) -> Result<(), Error> {
        match (self, target) {
            _ if source.is_empty() => Ok(()),
            (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice: target, .. })) if gpu.owns(target) => {
                let mut target = target.slice_mut(offset..offset + source.len());
                let copied = match &gpu.staging {
                    Some(staging) => {
                        let mut staging = staging.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        staging.upload(source, &mut target)
                    }
                    // The caller may free `source` as soon as this function returns.
                    None => gpu.stream.memcpy_htod(source, &mut target).and_then(|()| gpu.stream.synchronize()),
                };
                copied.map_err(driver("copy to the device"))
            }
            (Self::Emulated(_), Memory::Emulated(target)) => {
                target.as_mut_slice()[offset..offset + source.len()].copy_from_slice(source);
                Ok(())
            }
            _ => Err(elsewhere()),
        }
    }

    /// Copies from `source[offset..]` until `target` is full.
    pub(crate) fn read(&self, source: &Memory, offset: usize, target: &mut [u8]) -> Result<(), Error> {
        match (self, source) {
            _ if target.is_empty() => Ok(()),
            (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice: source, .. })) if gpu.owns(source) => {
                let source = source.slice(offset..offset + target.len());
                let copied = gpu.stream.memcpy_dtoh(&source, target);
                copied.and_then(|()| gpu.stream.synchronize()).map_err(driver("copy from the device"))
            }
            (Self::Emulated(_), Memory::Emulated(source)) => {
                target.copy_from_slice(&source.as_slice()[offset..offset + target.len()]);
                Ok(())
            }
            _ => Err(elsewhere()),
        }
    }

    /// Copies the first `bytes` bytes.
    pub(crate) fn copy(&self, target: &mut Memory, source: &Memory, bytes: usize) -> Result<(), Error> {
        match (self, target, source) {
            _ if bytes == 0 => Ok(()),
            (
                Self::Nvidia(gpu),
                Memory::Nvidia(Owned { slice: target, .. }),
                Memory::Nvidia(Owned { slice: source, .. }),
            ) if gpu.owns(target) && gpu.owns(source) => gpu
                .stream
                .memcpy_dtod(&source.slice(..bytes), &mut target.slice_mut(..bytes))
                .map_err(driver("copy on the device")),
            (Self::Emulated(_), Memory::Emulated(target), Memory::Emulated(source)) => {
                target.as_mut_slice()[..bytes].copy_from_slice(&source.as_slice()[..bytes]);
                Ok(())
            }
            _ => Err(elsewhere()),
        }
    }

    /// Sets the first `bytes` bytes to 0.
    pub(crate) fn clear(&self, target: &mut Memory, bytes: usize) -> Result<(), Error> {
        match (self, target) {
            _ if bytes == 0 => Ok(()),
            (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice: target, .. })) if gpu.owns(target) => {
                gpu.stream.memset_zeros(&mut target.slice_mut(..bytes)).map_err(driver("clear memory"))
            }
            (Self::Emulated(_), Memory::Emulated(target)) => {
                target.as_mut_slice()[..bytes].fill(0);
                Ok(())
            }
            _ => Err(elsewhere()),
        }
    }

    /// Takes over another program's numbers without a copy. They must belong to the stream's context because addresses
    /// are not valid in another one.
    pub(crate) fn adopt(&self, slice: CudaSlice<f32>) -> Result<Memory, Error> {
        let Self::Nvidia(gpu) = self else { return Err(elsewhere()) };
        if slice.context().cu_ctx() != gpu.stream.context().cu_ctx() {
            return Err(elsewhere());
        }
        let (address, _) = slice.device_ptr(slice.stream());
        if address % ALIGNMENT != 0 {
            // The driver cannot free memory from an address inside an allocation.
            let address = slice.leak();
            return Err(Error::Driver {
                operation: "take over memory".to_owned(),
                message: format!(
                    "it starts at {address:#x}, which is not a multiple of {ALIGNMENT} as kernels and cuBLASLt require; part \
                     of an allocation cannot be taken over: copy it to a new one with `CudaStream::clone_dtod`"
                ),
            });
        }
        let bytes = slice.len() * size_of::<f32>();
        // Work already queued on the slice's own stream comes first.
        gpu.stream.join(slice.stream()).map_err(driver("wait for another stream"))?;
        // SAFETY: `leak` hands the slice's memory, which has this length, over to the new slice.
        Ok(Memory::Nvidia(Owned::new(unsafe { gpu.stream.upgrade_device_ptr(slice.leak(), bytes) })))
    }

    /// Hands memory over as a `cudarc` slice, without a copy.
    pub(crate) fn release(&self, memory: Memory, len: usize) -> Result<CudaSlice<f32>, Error> {
        let (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice, .. })) = (self, memory) else {
            return Err(elsewhere());
        };
        // SAFETY: as in `adopt`; the caller has checked that the memory holds at least `len` aligned f32 numbers.
        Ok(unsafe { gpu.stream.upgrade_device_ptr(slice.leak(), len) })
    }

    /// Returns the free bytes of a GPU's memory, or `None` for the emulator.
    pub(crate) fn memory(&self) -> Option<usize> {
        match self {
            Self::Nvidia(gpu) => gpu.stream.context().mem_get_info().ok().map(|(free, _)| free),
            Self::Emulated(_) => None,
        }
    }

    /// Waits until all queued work is done.
    pub(crate) fn synchronize(&self) -> Result<(), Error> {
        match self {
            Self::Nvidia(gpu) => gpu.stream.synchronize().map_err(driver("wait for the device")),
            Self::Emulated(_) => Ok(()),
        }
    }

    /// Runs a kernel.
    ///
    /// # Safety
    /// `arguments` must match the kernel's in number and type, and its pointers must be valid for everything the kernel
    /// reads and writes.
    unsafe fn launch(&self, unit: Unit, kernel: &str, grid: Grid, arguments: &Arguments<'_>) -> Result<(), Error> {
        let mut slots: Vec<*mut c_void> =
            arguments.slots.iter().map(|slot| std::ptr::from_ref(slot).cast_mut().cast()).collect();
        match self {
            Self::Nvidia(gpu) => {
                gpu.stream.context().bind_to_thread().map_err(driver("use the device"))?;
                let function = gpu.function(unit, kernel, grid.shared)?;
                let [x, y] = grid.blocks;
                // SAFETY: the caller vouches for the arguments, and the function and the stream belong to this context.
                unsafe {
                    cudarc::driver::result::launch_kernel(
                        function,
                        (x, y, 1),
                        (grid.threads, 1, 1),
                        grid.shared,
                        gpu.stream.cu_stream(),
                        &mut slots,
                    )
                }
                .map_err(driver(kernel))
            }
            Self::Emulated(emulator) => {
                type Entry = unsafe extern "C" fn(
                    *const RawOptions,
                    *const u32,
                    *const u32,
                    u64,
                    *const *mut c_void,
                    *mut u8,
                    u64,
                ) -> i32;
                let library = emulator.library(unit)?;
                let missing = |error: libloading::Error| Error::Driver {
                    operation: format!("find the kernel {kernel}"),
                    message: error.to_string(),
                };
                // SAFETY: the shim defines this function with this signature.
                let entry = unsafe { library.get::<Entry>(format!("emulated_{kernel}")) }.map_err(missing)?;
                let mut message = [0_u8; 4096];
                let (options, [x, y]) = (emulator.options.raw(), grid.blocks);
                let (blocks, threads) = ([x, y, 1], [grid.threads, 1, 1]);
                // SAFETY: the caller vouches for the arguments, and `message.len()` is passed as the capacity of
                // `message`.
                let failed = unsafe {
                    entry(
                        &raw const options,
                        blocks.as_ptr(),
                        threads.as_ptr(),
                        u64::from(grid.shared),
                        slots.as_ptr(),
                        message.as_mut_ptr(),
                        message.len() as u64,
                    )
                };
                if failed == 0 {
                    return Ok(());
                }
                let end = message.iter().position(|&byte| byte == 0).unwrap_or(message.len());
                let message = String::from_utf8_lossy(&message[..end]).into_owned();
                Err(Error::Driver { operation: kernel.to_owned(), message })
            }
        }
    }
}

fn elsewhere() -> Error {
    let message = "the buffer belongs to another device; use each buffer with the backend that created it";
    Error::Driver { operation: "use a buffer".to_owned(), message: message.to_owned() }
}

impl Nvidia {
    /// Returns whether `slice` belongs to this stream. Nothing would order its use with work on another stream.
    fn owns(&self, slice: &CudaSlice<u8>) -> bool {
        let of = |stream: &CudaStream| (stream.cu_stream(), stream.context().cu_ctx());
        of(slice.stream()) == of(&self.stream)
    }

    /// Returns a kernel that may use `shared` bytes of dynamic shared memory. The handle is valid as long as `self`
    /// lives.
    fn function(&self, unit: Unit, kernel: &str, shared: u32) -> Result<CUfunction, Error> {
        let mut modules = self.modules.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let module = match modules.entry(unit) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => {
                let module = compile::load(unit, self.stream.context())?;
                place.insert(Module { module, kernels: HashMap::new() })
            }
        };
        if let Some((function, _)) = module.kernels.get(kernel).filter(|(_, allowed)| *allowed >= shared) {
            return Ok(function.cu_function());
        }
        let function = module.module.load_function(kernel).map_err(driver(kernel))?;
        // A kernel must request dynamic shared memory above 48 KiB minus its static part. The limit only grows, because
        // another thread may be about to launch with the larger one.
        if shared > 0 {
            use cudarc::driver::sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as LIMIT;
            function.set_attribute(LIMIT, shared as i32).map_err(|error| Error::Driver {
                operation: kernel.to_owned(),
                message: format!(
                    "the driver refused {} KiB of shared memory ({error:?}): only data-centre GPUs have enough for heads this wide; --precision bf16 needs half",
                    shared >> 10
                ),
            })?;
        }
        let handle = function.cu_function();
        module.kernels.insert(kernel.to_owned(), (function, shared));
        Ok(handle)
    }
}

impl Emulated {
    fn library(&self, unit: Unit) -> Result<Arc<libloading::Library>, Error> {
        let mut libraries = self.libraries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(library) = libraries.get(&unit) {
            return Ok(Arc::clone(library));
        }
        let path = emulated::compile(unit, &self.options)?;
        // SAFETY: the library is compiled from this crate's own text and has no initialisers except the C++ runtime's.
        let library = unsafe { libloading::Library::new(&path) }.map_err(|error| Error::Driver {
            operation: format!("load {}", path.display()),
            message: error.to_string(),
        })?;
        Ok(Arc::clone(libraries.entry(unit).or_insert(Arc::new(library))))
    }
}

/// Blocks, threads and dynamic shared memory of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    blocks: [u32; 2],
    threads: u32,
    shared: u32,
}

impl Grid {
    /// Threads of a block in which each thread has one element.
    const FLAT: u32 = 256;

    /// Returns a grid with one thread for each of `len` elements.
    pub(crate) fn flat(len: usize) -> Self {
        Self::rows(len.div_ceil(Self::FLAT as usize), Self::FLAT)
    }

    /// Returns a grid with one block of `threads` threads for each row.
    pub(crate) fn rows(rows: usize, threads: u32) -> Self {
        Self::table(rows, 1, threads)
    }

    /// Returns a grid with one block of `threads` threads for each (row, column).
    pub(crate) fn table(rows: usize, columns: usize, threads: u32) -> Self {
        // The driver refuses launches with more blocks than that.
        let narrow = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Self { blocks: [narrow(rows), narrow(columns)], threads, shared: 0 }
    }

    /// Returns a grid with one block for each row of `columns` elements. Each thread has up to sixteen elements, or
    /// more once the block has reached 512 threads.
    pub(crate) fn wide_rows(rows: usize, columns: usize) -> Self {
        let warps = columns.div_ceil(16 * 32).clamp(1, 16);
        Self::rows(rows, 32 * warps as u32)
    }

    /// Returns a grid of 256-thread blocks that sum rows, one block for each part of the rows and `width` columns.
    pub(crate) fn sums(parts: usize, columns: usize, width: usize) -> Self {
        Self::table(parts, columns.div_ceil(width), 256)
    }

    /// Returns a grid with one block for each 32 rows and 32 columns of a product.
    pub(crate) fn products(rows: usize, columns: usize) -> Self {
        Self::table(rows.div_ceil(32), columns.div_ceil(32), 256)
    }

    /// Returns a grid for `heads` heads of each row. A head takes a power of two of lanes in a warp, up to 32, with
    /// eight of its `head_dim` elements per lane.
    pub(crate) fn heads(rows: usize, heads: usize, head_dim: usize) -> Self {
        let lanes = heads * head_dim.div_ceil(8).next_power_of_two().min(32);
        let threads = lanes.next_multiple_of(32).min(256);
        Self::table(rows, lanes.div_ceil(threads.max(1)), threads as u32)
    }

    /// Sets the dynamic shared memory to `bytes`, for a size that the kernel does not know at compile time.
    pub(crate) const fn with_shared(self, bytes: usize) -> Self {
        Self { shared: bytes as u32, ..self }
    }

    const fn is_empty(&self) -> bool {
        self.blocks[0] == 0 || self.blocks[1] == 0
    }
}

/// Arguments of a launch, eight bytes each. They borrow the buffers that they point to.
pub(crate) struct Arguments<'a> {
    device: &'a Device,
    slots: Vec<[u8; 8]>,
    /// Storage type of the arguments that are stored as activations are, once the first of them is known.
    storage: Option<Storage>,
}

/// Storage of an argument's elements: that of activations, or a fixed type.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
enum Kind {
    store,
    f32,
    f64,
    index,
}

impl<'a> Arguments<'a> {
    fn new(device: &'a Device) -> Self {
        Self { device, slots: Vec::new(), storage: None }
    }

    fn push(&mut self, bytes: &[u8]) {
        let mut slot = [0; 8];
        slot[..bytes.len()].copy_from_slice(bytes);
        self.slots.push(slot);
    }

    fn check(&mut self, name: &'static str, kind: Kind, x: &Buffer, wanted: usize) -> Result<(), Error> {
        check_len(name, x.len, wanted)?;
        let expected = match kind {
            Kind::f32 => Storage::F32,
            Kind::f64 => Storage::F64,
            _ => *self.storage.get_or_insert(x.storage),
        };
        if x.storage == expected {
            Ok(())
        } else {
            Err(Error::Storage { argument: name, got: x.storage.name(), wanted: expected.name() })
        }
    }

    fn address(&mut self, memory: &'a Memory) -> Result<(), Error> {
        let address = match (self.device, memory) {
            (Device::Nvidia(gpu), Memory::Nvidia(Owned { slice, .. })) if gpu.owns(slice) => {
                slice.device_ptr(&gpu.stream).0
            }
            (Device::Emulated(_), Memory::Emulated(block)) => block.start.as_ptr() as u64,
            _ => return Err(elsewhere()),
        };
        self.push(&address.to_ne_bytes());
        Ok(())
    }
}

/// A Rust value that can be passed as an argument of a kernel.
trait Argument<'a> {
    fn pass(self, name: &'static str, kind: Kind, wanted: usize, to: &mut Arguments<'a>) -> Result<(), Error>;
}

impl<'a> Argument<'a> for &'a Buffer {
    fn pass(self, name: &'static str, kind: Kind, wanted: usize, to: &mut Arguments<'a>) -> Result<(), Error> {
        to.check(name, kind, self, wanted)?;
        to.address(&self.memory)
    }
}

impl<'a> Argument<'a> for &'a mut Buffer {
    fn pass(self, name: &'static str, kind: Kind, wanted: usize, to: &mut Arguments<'a>) -> Result<(), Error> {
        to.check(name, kind, self, wanted)?;
        to.address(&self.memory)
    }
}

impl<'a> Argument<'a> for &'a Index {
    fn pass(self, name: &'static str, _: Kind, wanted: usize, to: &mut Arguments<'a>) -> Result<(), Error> {
        check_len(name, self.host.len(), wanted)?;
        to.address(&self.memory)
    }
}

impl<'a> Argument<'a> for &'a mut Index {
    fn pass(self, name: &'static str, kind: Kind, wanted: usize, to: &mut Arguments<'a>) -> Result<(), Error> {
        (&*self).pass(name, kind, wanted, to)
    }
}

/// `None` becomes a null pointer.
impl<'a, A: Argument<'a>> Argument<'a> for Option<A> {
    fn pass(self, name: &'static str, kind: Kind, wanted: usize, to: &mut Arguments<'a>) -> Result<(), Error> {
        match self {
            Some(argument) => argument.pass(name, kind, wanted, to),
            None => {
                to.push(&[0; 8]);
                Ok(())
            }
        }
    }
}

/// A number passed to a kernel. Sizes are `usize` in Rust and narrower in the kernel.
pub(crate) trait Scalar: Sized {
    type Given: Copy;
    fn pass(name: &'static str, given: Self::Given, to: &mut Arguments<'_>) -> Result<(), Error>;
}

macro_rules! scalars {
    ($($type:ty, $given:ty);*) => {
        $(impl Scalar for $type {
            type Given = $given;
            fn pass(name: &'static str, given: $given, to: &mut Arguments<'_>) -> Result<(), Error> {
                let broken = |_| CpuError::Rule { argument: name, index: 0, rule: "be a size that fits a kernel's argument" };
                let value = <$type>::try_from(given).map_err(broken)?;
                to.push(&value.to_ne_bytes());
                Ok(())
            }
        })*
    };
}

scalars!(u32, usize; u64, usize; f32, f32; f64, f64);

/// Declares kernels: `"file.cu" name(access kind argument[length], …; size: type, …) on grid;`.
///
/// The access is `read`, `write` (or read and write), `maybe_read` or `maybe_write` (for optional buffers), or `change`
/// (for an index). The kind is `store`, `f32`, `f64` or `index`. Lengths and grids may refer to the sizes. Arguments
/// reach the kernel in this order, pointers first. With `, variant suffix` the kernel's symbol is `name_suffix`.
macro_rules! kernels {
    ($($(#[$doc:meta])* $file:literal $name:ident(
        $($access:ident $kind:ident $argument:ident[$len:expr]),* ; $($scalar:ident: $type:ty),*
    ) on $grid:expr $(, variant $variant:expr)?;)*) => {
        $($(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(crate) fn $name<'a>(
            device: &'a Device,
            $($argument: kernels!(@type 'a $access $kind),)*
            $($scalar: <$type as Scalar>::Given,)*
        ) -> Result<(), Error> {
            let grid: Grid = $grid;
            let mut arguments = Arguments::new(device);
            $(Argument::pass($argument, stringify!($argument), Kind::$kind, $len, &mut arguments)?;)*
            $(<$type as Scalar>::pass(stringify!($scalar), $scalar, &mut arguments)?;)*
            if grid.is_empty() {
                return Ok(());
            }
            let unit = Unit { file: $file, storage: arguments.storage.unwrap_or(Storage::F32) };
            // SAFETY: the arguments are those declared; each is borrowed and checked to be as long as the kernel needs.
            unsafe { device.launch(unit, &kernels!(@symbol $name $($variant)?), grid, &arguments) }
        })*
    };
    (@symbol $name:ident) => { stringify!($name) };
    (@symbol $name:ident $variant:expr) => { format!("{}_{}", stringify!($name), $variant) };
    (@type $l:lifetime read index) => { &$l Index };
    (@type $l:lifetime read $kind:ident) => { &$l Buffer };
    (@type $l:lifetime write $kind:ident) => { &$l mut Buffer };
    (@type $l:lifetime maybe_read index) => { Option<&$l Index> };
    (@type $l:lifetime maybe_read $kind:ident) => { Option<&$l Buffer> };
    (@type $l:lifetime maybe_write $kind:ident) => { Option<&$l mut Buffer> };
    (@type $l:lifetime change index) => { &$l mut Index };
}

kernels! {
    /// Sets x[..len] = value.
    "fill.cu" fill(write store x[len]; len: u64, value: f32) on Grid::flat(len);

    /// Computes y = GELU(x).
    "gelu.cu" gelu(read store x[len], write store y[len]; len: u64) on Grid::flat(len);
    /// Replaces dy by dx.
    "gelu.cu" gelu_backward(read store x[len], write store dy[len]; len: u64) on Grid::flat(len);

    /// Adds the sum of the rows of x to `sums`.
    "column_sum.cu" column_sum(read store x[rows * columns], write f32 sums[columns]; rows: u32, columns: u32)
        on Grid::sums(1, columns, 64);
    /// Sets row p of `partial` to the sum of part p of the rows of x.
    "column_sum.cu" column_sum_parts(
        read store x[rows * columns], write f32 partial[parts * columns]; rows: u32, columns: u32, parts: u32
    ) on Grid::sums(parts, columns, 256);

    /// Computes y = (x − mean)·inv_std·γ + β.
    "layer_norm.cu" layer_norm(
        read f32 x[rows * columns], read f32 gamma[columns], read f32 beta[columns], write f32 y[rows * columns],
        write f32 mean[rows], write f32 inv_std[rows]; rows: u32, columns: u32, eps: f32
    ) on Grid::rows(rows, row_threads(columns));
    /// Replaces dy by dx.
    "layer_norm.cu" layer_norm_backward_input(
        read f32 x[rows * columns], read f32 gamma[columns], read f32 mean[rows], read f32 inv_std[rows],
        write f32 dy[rows * columns]; rows: u32, columns: u32
    ) on Grid::rows(rows, row_threads(columns));
    /// Adds to dγ and dβ.
    "layer_norm.cu" layer_norm_backward_weight(
        read f32 x[rows * columns], read f32 mean[rows], read f32 inv_std[rows], read f32 dy[rows * columns],
        write f32 d_gamma[columns], write f32 d_beta[columns]; rows: u32, columns: u32
    ) on Grid::rows(columns.div_ceil(32), 256);

    /// Sets each row of y to `bias`.
    "product.cu" put_bias(read store bias[columns], write store y[rows * columns]; rows: u32, columns: u32)
        on Grid::wide_rows(rows, columns);
    /// Computes c = op(a)·op(b) (+ bias) (+ c), as [`Product`] describes it.
    "product.cu" multiply(
        read store a[rows * inner], read store b[inner * columns], maybe_read store bias[rows], write store c[rows * columns];
        rows: u32, inner: u32, columns: u32, a_transposed: u32, b_transposed: u32, accumulate: u32
    ) on Grid::products(rows, columns);
    /// As [`multiply`], but with an f32 result for any storage type of a and b.
    "product.cu" multiply_to_f32(
        read store a[rows * inner], read store b[inner * columns], maybe_read f32 bias[rows], write f32 c[rows * columns];
        rows: u32, inner: u32, columns: u32, a_transposed: u32, b_transposed: u32, accumulate: u32
    ) on Grid::products(rows, columns);

    /// Multiplies each element by 0 or `keep`.
    "dropout.cu" dropout(
        write f32 x[rows * columns]; rows: u32, columns: u32, rate: f64, keep: f32, key_low: u32, key_high: u32, purpose: u32,
        step: u32, first_row: u32
    ) on Grid::flat(rows * columns);

    /// Computes log p, log Σ exp and the entropy of each row.
    "log_prob.cu" log_prob(
        read store logits[rows * vocab], read index targets[rows], write f32 log_prob[rows], write f32 log_sum_exp[rows],
        write f32 entropy[rows]; rows: u32, vocab: u32, scale: f32
    ) on Grid::rows(rows, row_threads(vocab).min(256));
    /// Replaces logits by the gradient of d_log_prob·log p + d_entropy·entropy.
    "log_prob.cu" log_prob_backward(
        write store logits[rows * vocab], read index targets[rows], read f32 log_sum_exp[rows], read f32 d_log_prob[rows],
        maybe_read f32 entropy[rows], maybe_read f32 d_entropy[rows]; rows: u32, vocab: u32, scale: f32
    ) on Grid::rows(rows, row_threads(vocab).min(256));
    /// As [`log_prob_backward`], but keeps the logits, which are f32, and writes the gradient to `d_logits`.
    "log_prob.cu" log_prob_gradient(
        read f32 logits[rows * vocab], read index targets[rows], read f32 log_sum_exp[rows], read f32 d_log_prob[rows],
        maybe_read f32 entropy[rows], maybe_read f32 d_entropy[rows],
        write store d_logits[rows * vocab]; rows: u32, vocab: u32, scale: f32
    ) on Grid::rows(rows, row_threads(vocab).min(256));
    /// Draws a token from each row and computes its (log p, entropy, excluded mass). `places` are (sequence, token).
    "sample.cu" sample(
        read store logits[rows * vocab], maybe_read index excluded[vocab.div_ceil(32)], read index places[2 * rows],
        change index tokens[rows], write f32 values[3 * rows]; rows: u32, vocab: u32, scale: f32, greedy: u32, top_k: u32, top_p: f64, key_low: u32, key_high: u32, purpose: u32,
        step: u32
    ) on Grid::rows(rows, row_threads(vocab).min(512));

    /// Takes one AdamW step. `copy` receives p in the storage type of products.
    "adamw.cu" adamw(
        write f32 p[len], maybe_write store copy[len], read f32 g[len], write f32 m[len], write f32 v[len]; len: u64, b1: f32,
        b2: f32, keep: f32, rate: f32, root: f32, eps: f32, grad_scale: f32
    ) on Grid::flat(len);
    /// Computes the sum of squares of each part of x.
    "sum_squares.cu" sum_squares(read store x[len], write f64 partial[parts]; len: u64, parts: u32, part: u32)
        on Grid::rows(parts, 256);

    /// Computes (u, log w, (L − L_old)/divisor) of each sequence, for `trajectory_balance`.
    "trajectory_balance.cu" trajectory_sums(
        read f32 log_probs[tokens], maybe_read f32 ref_log_probs[tokens], maybe_read f32 old_log_probs[tokens],
        read index offsets[sequences + 1], read f32 advantages[sequences], maybe_read index masks[sequences],
        write f32 parts[PARTS * sequences], write f64 measured[MEASURES * sequences]; sequences: u32, tokens: u32, beta: f64,
        power: f64, length: f64, importance: u32, masked: u32, mask_log_low: f64, mask_log_high: f64
    ) on Grid::rows(sequences, 256);
    /// Computes the loss and gradients of trajectory balance, after `trajectory_sums`.
    "trajectory_balance.cu" trajectory_balance(
        read f32 log_probs[tokens], maybe_read f32 old_log_probs[tokens], read index offsets[sequences + 1],
        read f32 advantages[sequences], maybe_read f32 log_z[sequences], maybe_read index masks[sequences],
        read index members[sequences], read index starts[groups + 1], read index group_of[sequences], read f32 parts[PARTS * sequences],
        write f32 d_log_probs[tokens], write f32 d_log_z[sequences], write f32 used_log_z[sequences],
        write f32 residuals[sequences], write f32 weights[sequences], write f64 measured[MEASURES * sequences]; sequences: u32,
        tokens: u32, groups: u32, total: f64, length: f64, estimator: u32, clip_low: f64, clip_high: f64, log_low: f64,
        log_high: f64, huber: f64, masked: u32, mask_log_low: f64, mask_log_high: f64, learned: u32, bound_low: f64,
        bound_high: f64, beta: f64, gap: f64
    ) on Grid::rows(sequences, 256);
    /// Computes the loss and gradients of a policy gradient.
    "policy_gradient.cu" policy_gradient(
        read f32 log_probs[tokens], maybe_read f32 ref_log_probs[tokens], maybe_read f32 old_log_probs[tokens],
        maybe_read f32 rollout_log_probs[tokens], maybe_read f32 entropies[tokens], read index offsets[sequences + 1],
        read f32 advantages[sequences], maybe_read index masks[sequences], write f32 d_log_probs[tokens],
        maybe_write f32 d_entropies[tokens], write f32 d_log_z[sequences],
        write f32 used_log_z[sequences], write f32 residuals[sequences], write f32 weights[sequences],
        write f64 measured[MEASURES * sequences]; sequences: u32, tokens: u32, ratio: u32, clip_low: f64, clip_high: f64,
        log_low: f64, log_high: f64, dual: f64, log_dual: f64, kl: f64, kl_in: u32, kl_estimator: u32, kl_max: f64,
        kl_unbiased: u32, entropy: f64, divisor: f64, by_length: u32, max_behind: f64, correction: u32, rollout_min: f64, rollout_max: f64
    ) on Grid::rows(sequences, 256);
    /// Computes PPO's value loss and its derivative.
    "policy_gradient.cu" value_loss(
        read f32 rewards[count], read f32 values[count], write f32 d_values[count], write f64 loss[1]; count: u32, sequences: f64
    ) on Grid::rows(1, 256);

    /// Copies rows `ids` of the table to `out`.
    "embed.cu" embed(
        read store table[table_rows * d], read index ids[rows], write store out[rows * d]; rows: u32, d: u32, table_rows: u32
    ) on Grid::wide_rows(rows, d);
    /// Adds rows of d_out to rows of d_table, group by group. The rows at order[starts[g] .. starts[g + 1]] go to the
    /// same table row.
    "embed.cu" scatter_add(
        read store d_out[rows * d], read index ids[rows], read index order[rows], read index starts[groups + 1],
        write f32 d_table[table_rows * d]; groups: u32, rows: u32, d: u32, table_rows: u32
    ) on Grid::sums(groups, d, 256);
    /// As [`scatter_add`], for a table that is stored as activations are.
    "embed.cu" scatter_add_store(
        read store d_out[rows * d], read index ids[rows], read index order[rows], read index starts[groups + 1],
        write store d_table[table_rows * d]; groups: u32, rows: u32, d: u32, table_rows: u32
    ) on Grid::sums(groups, d, 256);

    /// Computes y = x·inv_rms·w.
    "rms_norm.cu" rms_norm(
        read store x[rows * d], read store w[d], write store y[rows * d], write f32 inv_rms[rows]; rows: u32, d: u32, eps: f32
    ) on Grid::wide_rows(rows, d);
    /// Adds to dx.
    "rms_norm.cu" rms_norm_backward_input(
        read store dy[rows * d], read store x[rows * d], read store w[d], read f32 inv_rms[rows], write store dx[rows * d];
        rows: u32, d: u32
    ) on Grid::wide_rows(rows, d);
    /// Sets row p of `partial` to the sum of dy·x·inv_rms over part p of the rows.
    "rms_norm.cu" rms_norm_backward_weight(
        read store dy[rows * d], read store x[rows * d], read f32 inv_rms[rows], write f32 partial[parts * d]; rows: u32, d: u32,
        parts: u32
    ) on Grid::sums(parts, d, 256);

    /// Applies RMS normalisation to every query and key head, and copies the values.
    "qk_norm.cu" qk_norm(
        read store qkv[rows * (heads + 2 * kv_heads) * head_dim], read store w_q[head_dim], read store w_k[head_dim],
        write store out[rows * (heads + 2 * kv_heads) * head_dim], write f32 inv_rms[rows * (heads + kv_heads)]; rows: u32,
        heads: u32, kv_heads: u32, head_dim: u32, eps: f32
    ) on Grid::heads(rows, heads + 2 * kv_heads, head_dim);
    /// Replaces d_qkv by the gradient of the input.
    "qk_norm.cu" qk_norm_backward_input(
        read store qkv[rows * (heads + 2 * kv_heads) * head_dim], read store w_q[head_dim], read store w_k[head_dim],
        read f32 inv_rms[rows * (heads + kv_heads)], write store d_qkv[rows * (heads + 2 * kv_heads) * head_dim]; rows: u32,
        heads: u32, kv_heads: u32, head_dim: u32
    ) on Grid::heads(rows, heads + kv_heads, head_dim);
    /// Sets row p of each `partial` to the sum over part p of the rows.
    "qk_norm.cu" qk_norm_backward_weight(
        read store qkv[rows * (heads + 2 * kv_heads) * head_dim], read store d_qkv[rows * (heads + 2 * kv_heads) * head_dim],
        read f32 inv_rms[rows * (heads + kv_heads)], write f32 partial_q[parts * head_dim], write f32 partial_k[parts * head_dim];
        rows: u32, heads: u32, kv_heads: u32, head_dim: u32, parts: u32
    ) on Grid::table(parts, 2 * head_dim.div_ceil(256), 256);

    /// Rotates queries and keys by their positions. A `sign` of −1 rotates them back.
    "rope.cu" rope(
        write store qkv[rows * (heads + 2 * kv_heads) * head_dim], read index positions[rows], read f32 cos[table_rows * (head_dim / 2)],
        read f32 sin[table_rows * (head_dim / 2)]; rows: u32, heads: u32, kv_heads: u32, head_dim: u32, table_rows: u32, sign: f32
    ) on Grid::wide_rows(rows, (heads + kv_heads) * head_dim);

    /// Causal attention. `spans` are (start, len, prefix_start, prefix_len) and `tiles` are (span, first row in it).
    "attention.cu" attention(
        read store qkv[rows * (heads + 2 * kv_heads) * head_dim], read index spans[4 * count], read index tiles[2 * blocks],
        write store out[rows * heads * head_dim], write f32 log_sum_exp[rows * heads]; rows: u32, count: u32, blocks: u32,
        heads: u32, kv_heads: u32, head_dim: u32
    ) on Grid::table(blocks, heads, tile::THREADS).with_shared(tile::attention(head_dim, qkv)),
        variant tile::columns(head_dim);
    /// Computes inner = d_out·out for each of `pairs` rows and heads.
    "attention_backward.cu" attention_inner(
        read store out[pairs * head_dim], read store d_out[pairs * head_dim], write f32 inner[pairs]; pairs: u64, head_dim: u32
    ) on Grid::rows(pairs.div_ceil(8), 256);
    /// Overwrites the queries' part of d_qkv.
    "attention_backward.cu" attention_backward_query(
        read store qkv[rows * (heads + 2 * kv_heads) * head_dim], read f32 log_sum_exp[rows * heads],
        read store d_out[rows * heads * head_dim], read f32 inner[rows * heads], read index spans[4 * count],
        read index tiles[2 * blocks], write store d_qkv[rows * (heads + 2 * kv_heads) * head_dim]; rows: u32, count: u32,
        blocks: u32, heads: u32, kv_heads: u32, head_dim: u32
    ) on Grid::table(blocks, heads, tile::THREADS).with_shared(tile::query_gradient(head_dim, qkv)),
        variant tile::columns(head_dim);
    /// Overwrites the keys' and values' part of d_qkv, or writes partial sums of it. `parts` are those of
    /// [`tile::KeyParts`], and followers[starts[s] .. starts[s + 1]] are the spans with a prefix in span s.
    "attention_backward.cu" attention_backward_key_value(
        read store qkv[rows * (heads + 2 * kv_heads) * head_dim], read f32 log_sum_exp[rows * heads],
        read store d_out[rows * heads * head_dim], read f32 inner[rows * heads], read index spans[4 * count],
        read index parts[7 * blocks], read index starts[count + 1], read index followers[0],
        write store d_qkv[rows * (heads + 2 * kv_heads) * head_dim], maybe_write f32 partial[slots * kv_heads * tile::ROWS * 2 * head_dim];
        rows: u32, count: u32, blocks: u32, slots: u32, heads: u32, kv_heads: u32, head_dim: u32
    ) on Grid::table(blocks, kv_heads, tile::THREADS)
        .with_shared(tile::key_value_gradient(head_dim, qkv)), variant tile::columns(head_dim);
    /// Sums the partial sums of `attention_backward_key_value` into d_qkv.
    "attention_backward.cu" merge_gradients(
        read f32 partial[slots * kv_heads * tile::ROWS * 2 * head_dim], read index spans[4 * span_count],
        read index merges[4 * count], write store d_qkv[rows * (heads + 2 * kv_heads) * head_dim]; rows: u32, span_count: u32,
        count: u32, slots: u32, heads: u32, kv_heads: u32, head_dim: u32
    ) on Grid::table(count * 16, kv_heads, 128);

    /// Computes by_rows = a·bᵀ and product = by_rows·b.
    #[cfg(test)]
    "tile_products.cu" tile_products(
        read store a[64 * 48], read store b[32 * 48], write f32 by_rows[64 * 32], write f32 product[64 * 48];
    ) on Grid::rows(1, tile::THREADS);

    /// Copies the keys and values of each row to its slot of the cache.
    "decode_attention.cu" cache_store(
        read store qkv[rows * (heads + 2 * kv_heads) * head_dim], read index slots[rows],
        write store cache[capacity * 2 * kv_heads * head_dim]; rows: u32, heads: u32, kv_heads: u32, head_dim: u32, capacity: u32
    ) on Grid::rows(rows, 128);
    /// Attention of one query row per span over the rows of the cache. A block takes one part of the keys. `parts` are
    /// (row, first key, 0 or 1 + slot of `partial`).
    "decode_attention.cu" cached_attention(
        read store qkv[rows * (heads + 2 * kv_heads) * head_dim], read store cache[capacity * 2 * kv_heads * head_dim],
        read index spans[4 * rows], read index parts[3 * blocks], write store out[rows * heads * head_dim],
        maybe_write f32 partial[slots * heads * (2 + head_dim)]; rows: u32, blocks: u32, slots: u32, heads: u32, kv_heads: u32,
        head_dim: u32, capacity: u32
    ) on Grid::table(blocks, kv_heads * (heads / kv_heads).div_ceil(16), tile::THREADS)
        .with_shared(tile::cached(head_dim, qkv)), variant tile::columns(head_dim);
    /// Merges the parts of each row that has several. `merges` are (row, first slot, slots).
    "decode_attention.cu" merge_parts(
        read f32 partial[slots * heads * (2 + head_dim)], read index merges[3 * count], write store out[rows * heads * head_dim];
        rows: u32, count: u32, slots: u32, heads: u32, head_dim: u32
    ) on Grid::table(count, heads, 64);

    /// Computes out = silu(gate)·up.
    "swiglu.cu" swiglu(read store gate_up[rows * 2 * ff], write store out[rows * ff]; rows: u32, ff: u32)
        on Grid::table(rows, ff.div_ceil(8 * 128), 128);
    /// Computes d_gate_up from d_out.
    "swiglu.cu" swiglu_backward(
        read store gate_up[rows * 2 * ff], read store d_out[rows * ff], write store d_gate_up[rows * 2 * ff]; rows: u32, ff: u32
    ) on Grid::table(rows, ff.div_ceil(8 * 128), 128);

    /// Computes the mean of the rows of each (start, len).
    "mean_rows.cu" mean_rows(
        read store x[rows * d], read index spans[2 * count], write f32 out[count * d]; count: u32, d: u32, rows: u32
    ) on Grid::sums(count, d, 256);
    /// Adds row first + s of d_out, divided by len, to every row of dx in span s. No two spans may share a row.
    "mean_rows.cu" mean_rows_backward(
        read f32 d_out[all * d], read index spans[2 * count], write store dx[rows * d]; count: u32, d: u32, rows: u32, all: u32,
        first: u32
    ) on Grid::sums(count, d, 256);
}

/// Loads a library, searching the folders of toolkits and wheels if the loader does not find it. Returns whether it is
/// there.
pub(crate) fn load(library: Library) -> bool {
    if on_loaders_path(library) {
        return true;
    }
    library.candidates().iter().any(|path| {
        // SAFETY: loading one of NVIDIA's libraries has no precondition.
        let Ok(loaded) = (unsafe { libloading::Library::new(path) }) else { return false };
        // The library must stay loaded, so that the loader finds it when the bindings ask for its name.
        std::mem::forget(loaded);
        on_loaders_path(library)
    })
}

/// Returns whether the loader finds a library by name, and keeps it loaded so that its path can be reported.
///
/// This check comes before the bindings' first use because they panic if a library is missing. Their own check exists
/// only if they load libraries at run time, but another crate of the program may have linked them.
fn on_loaders_path(library: Library) -> bool {
    // SAFETY: loading these libraries has no precondition.
    library.names().iter().any(|name| unsafe { libloading::Library::new(name) }.map(std::mem::forget).is_ok())
}

/// Returns the highest version of CUDA that the driver fully supports, as (major, minor).
pub(crate) fn driver_version() -> Option<(i32, i32)> {
    let mut version = 0;
    if !load(Library::Driver) {
        return None;
    }
    // SAFETY: the integer is a valid destination, and the library is loaded.
    let result = unsafe { cudarc::driver::sys::cuDriverGetVersion(&raw mut version) };
    result.result().ok().map(|()| (version / 1000, version % 1000 / 10))
}

/// Returns NVRTC's version as (major, minor), or (0, 0) if it reports none. The caller has loaded the library.
pub(crate) fn nvrtc_version() -> (i32, i32) {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both integers are valid destinations.
    let _ = unsafe { cudarc::nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    (major, minor)
}

/// Returns the architectures that NVRTC compiles for, with 90 for compute capability 9.0. The caller has loaded the
/// library.
pub(crate) fn nvrtc_architectures() -> Vec<i32> {
    let mut count = 0;
    // SAFETY: the integer is a valid destination.
    let _ = unsafe { cudarc::nvrtc::sys::nvrtcGetNumSupportedArchs(&raw mut count) };
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the vector has room for the reported number of integers.
    let _ = unsafe { cudarc::nvrtc::sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) };
    known
}

/// Compiles with NVRTC. Returns the PTX, the machine code if the options ask for it, and the log, or only the log on
/// failure. The caller has loaded the library.
pub(crate) fn nvrtc(file: &str, source: &str, options: &[String]) -> Result<(String, Option<Vec<u8>>, String), String> {
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let (file, source) = (text(file)?, text(source)?);
    let said = |error: nvrtc::result::NvrtcError| format!("{error:?}");
    let program = nvrtc::result::create_program(&source, Some(&file)).map_err(said)?;
    let string = |bytes: Vec<c_char>| {
        let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).take_while(|byte| *byte != 0).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    // SAFETY: the program stays alive until it is destroyed, once, after its last use.
    unsafe {
        let compiled = nvrtc::result::compile_program(program, options);
        let log = nvrtc::result::get_program_log(program).map(string).unwrap_or_default();
        let made = compiled.and_then(|()| Ok((nvrtc::result::get_ptx(program).map(string)?, machine_code(program)?)));
        let _ = nvrtc::result::destroy_program(program);
        match made {
            Ok((ptx, cubin)) => Ok((ptx, cubin, log)),
            Err(error) => Err(format!("{log}{error:?}")),
        }
    }
}

/// Returns the machine code of a compiled program, or `None` if it was compiled to PTX alone.
///
/// # Safety
/// The program must be alive and compiled.
unsafe fn machine_code(program: nvrtc::sys::nvrtcProgram) -> Result<Option<Vec<u8>>, nvrtc::result::NvrtcError> {
    let mut bytes = 0;
    // SAFETY: the caller vouches for the program, and the size is a valid destination.
    unsafe { nvrtc::sys::nvrtcGetCUBINSize(program, &raw mut bytes) }.result()?;
    let mut cubin = vec![0_u8; bytes];
    if cubin.is_empty() {
        return Ok(None);
    }
    // SAFETY: the caller vouches for the program, and the vector has room for its machine code.
    unsafe { nvrtc::sys::nvrtcGetCUBIN(program, cubin.as_mut_ptr().cast::<c_char>()) }.result()?;
    Ok(Some(cubin))
}

/// Returns cuBLASLt's version as (major, minor, patch). The caller has loaded the library.
pub(crate) fn cublaslt_version() -> (usize, usize, usize) {
    // SAFETY: the function has no precondition.
    let version = unsafe { lt::cublasLtGetVersion() };
    (version / 10_000, version / 100 % 100, version % 100)
}

/// Facts that the driver reports about a device before anything runs on it.
pub(crate) struct DeviceFacts {
    pub(crate) name: String,
    pub(crate) capability: (i32, i32),
    pub(crate) total: usize,
}

/// Returns the driver's devices. The caller has loaded the driver's library.
pub(crate) fn devices() -> Result<Vec<DeviceFacts>, Error> {
    use cudarc::driver::result::{device, init};
    use cudarc::driver::sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let facts = |ordinal| {
        let device = device::get(ordinal)?;
        // SAFETY: the device comes from the driver.
        unsafe {
            let capability = (device::get_attribute(device, MAJOR)?, device::get_attribute(device, MINOR)?);
            Ok(DeviceFacts { name: device::get_name(device)?, capability, total: device::total_mem(device)? })
        }
    };
    let count = init().and_then(|()| device::get_count());
    count.and_then(|count| (0..count).map(facts).collect()).map_err(driver("list the devices"))
}

impl Device {
    /// Computes C = A·B (+ bias) (+ C), as `product` describes.
    pub(crate) fn multiply(
        &self,
        product: &Product,
        a: &Buffer,
        b: &Buffer,
        bias: Option<&Buffer>,
        c: &mut Buffer,
    ) -> Result<(), Error> {
        product.check(a.len, b.len, bias.map(|bias| bias.len), c.len)?;
        let mut arguments = Arguments::new(self);
        arguments.check(product.a.name, Kind::store, a, 0)?;
        arguments.check(product.b.name, Kind::store, b, 0)?;
        // A product of f32 matrices is f32, one of bf16 either type. cuBLASLt needs the bias in the type of the result.
        if a.storage == Storage::F32 {
            arguments.check(product.c, Kind::f32, c, 0)?;
        }
        if let Some(bias) = bias.filter(|bias| bias.storage != c.storage) {
            return Err(Error::Storage { argument: "bias", got: bias.storage.name(), wanted: c.storage.name() });
        }
        for memory in [Some(&a.memory), Some(&b.memory), bias.map(|bias| &bias.memory), Some(&c.memory)] {
            match memory {
                Some(memory) => arguments.address(memory)?,
                None => arguments.push(&[0; 8]),
            }
        }
        let [a_at, b_at, bias_at, c_at] = [0, 1, 2, 3].map(|i| u64::from_ne_bytes(arguments.slots[i]));
        if product.is_empty() {
            // Empty sums are zero. An accumulating product adds them, which changes nothing.
            return match product.accumulate {
                true => Ok(()),
                false => self.clear(&mut c.memory, product.rows * product.columns * c.storage.bytes()),
            };
        }
        let storages = Storages { inputs: a.storage, output: c.storage };
        match self {
            Self::Nvidia(gpu) => {
                gpu.stream.context().bind_to_thread().map_err(driver("use the device"))?;
                let addresses = [a_at, b_at, bias_at, c_at];
                let (mut way, mut refusal) = (gpu.blas.way(product, storages), None);
                loop {
                    let tried = match way {
                        Way::OwnKernel => {
                            multiply_by_own_kernel(self, product, a, b, bias, c)?;
                            Ok(())
                        }
                        Way::Library { bias_before, .. } => {
                            if let Some(bias) = bias.filter(|_| bias_before) {
                                put_bias(self, bias, c, product.columns, product.rows)?;
                            }
                            // SAFETY: the lengths are checked, the buffers are borrowed, and the context is current on
                            // this thread.
                            unsafe { gpu.blas.multiply(&gpu.stream, product, storages, way, addresses) }
                        }
                    };
                    let Err(error) = tried else {
                        if let Some(refusal) = refusal {
                            way.tell(product, storages, refusal);
                        }
                        return Ok(());
                    };
                    way = gpu.blas.next(product, storages, way, error)?;
                    refusal = Some(error.0);
                }
            }
            Self::Emulated(_) => {
                let a = widened(&a.memory, a.storage, product.a);
                let b = widened(&b.memory, b.storage, product.b);
                let mut sums = vec![0.0_f32; product.rows * product.columns];
                // SAFETY: `a` and `b` hold their whole matrices and `sums` has rows × columns elements.
                unsafe {
                    matrixmultiply::sgemm(
                        product.rows,
                        product.inner,
                        product.columns,
                        1.0,
                        a.as_ptr(),
                        product.a.row_stride(),
                        product.a.column_stride(),
                        b.as_ptr(),
                        product.b.row_stride(),
                        product.b.column_stride(),
                        0.0,
                        sums.as_mut_ptr(),
                        1,
                        product.rows as isize,
                    );
                }
                let bias = bias.map(|bias| elements(&bias.memory, bias.storage, product.rows));
                let (Memory::Emulated(block), storage) = (&mut c.memory, c.storage) else { return Err(elsewhere()) };
                let bytes = storage.bytes();
                for (i, (sum, c)) in sums.iter().zip(block.as_mut_slice().chunks_exact_mut(bytes)).enumerate() {
                    let before = if product.accumulate { storage.decode(c) } else { 0.0 };
                    let bias = bias.as_ref().map_or(0.0, |bias| bias[i % product.rows]);
                    storage.encode(before + sum + bias, c);
                }
                Ok(())
            }
        }
    }
}

/// Computes a product with a kernel of this crate, which is slow but takes every shape.
pub(crate) fn multiply_by_own_kernel(
    device: &Device,
    product: &Product,
    a: &Buffer,
    b: &Buffer,
    bias: Option<&Buffer>,
    c: &mut Buffer,
) -> Result<(), Error> {
    let Product { rows, inner, columns, .. } = *product;
    let [a_transposed, b_transposed, add] =
        [product.a.transposed, product.b.transposed, product.accumulate].map(usize::from);
    let multiply = if a.storage == c.storage { multiply } else { multiply_to_f32 };
    multiply(device, a, b, bias, c, rows, inner, columns, a_transposed, b_transposed, add)
}

/// Returns the first `len` elements of emulator memory as f32.
fn elements(memory: &Memory, storage: Storage, len: usize) -> Vec<f32> {
    let Memory::Emulated(block) = memory else { return Vec::new() };
    block.as_slice().chunks_exact(storage.bytes()).take(len).map(|bytes| storage.decode(bytes)).collect()
}

fn widened(memory: &Memory, storage: Storage, matrix: Matrix) -> Vec<f32> {
    elements(memory, storage, matrix.len())
}
