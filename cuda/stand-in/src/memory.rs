//! The device's memory: the allocations, and the point from which each stream may use them.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;

use cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;

use crate::refusal::{Refusal, invalid, limit};
use crate::streams::{Clock, Point};

/// A block of bytes with a margin on both sides. All of it starts as 0xFF, which is NaN at every width.
#[derive(Debug)]
pub(crate) struct Block {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a block owns its bytes.
unsafe impl Send for Block {}

impl Block {
    /// The alignment that the driver guarantees for an address, and the smallest margin.
    const ALIGNMENT: usize = 256;
    const UNTOUCHED: u8 = 0xff;

    fn layout(bytes: usize) -> Option<Layout> {
        let size = bytes.checked_next_multiple_of(Self::ALIGNMENT)?.checked_add(2 * Self::ALIGNMENT)?;
        Layout::from_size_align(size, Self::ALIGNMENT).ok()
    }

    pub(crate) fn new(bytes: usize) -> Option<Self> {
        let layout = Self::layout(bytes)?;
        // SAFETY: the layout is not empty, since it includes the margins, and exactly the allocated bytes are written.
        let base = unsafe {
            let base = NonNull::new(alloc(layout))?;
            base.write_bytes(Self::UNTOUCHED, layout.size());
            base
        };
        Some(Self { base, bytes })
    }

    pub(crate) fn address(&self) -> u64 {
        self.base.as_ptr() as u64 + Self::ALIGNMENT as u64
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns an error if a margin was written to.
    pub(crate) fn check(&self) -> Result<(), String> {
        let size = Self::layout(self.bytes).map_or(0, |layout| layout.size());
        // SAFETY: these are the block's bytes, all of which were initialised when it was allocated.
        let all = unsafe { std::slice::from_raw_parts(self.base.as_ptr(), size) };
        let (before, rest) = all.split_at(Self::ALIGNMENT);
        let is_written = |margin: &[u8]| margin.iter().any(|byte| *byte != Self::UNTOUCHED);
        let side = match (is_written(before), is_written(&rest[self.bytes..])) {
            (true, _) => "before",
            (_, true) => "past",
            _ => return Ok(()),
        };
        Err(format!("something wrote {side} an allocation of {} bytes", self.bytes))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let layout = Self::layout(self.bytes).expect("it was allocated with this layout");
        // SAFETY: the block was allocated with this layout.
        unsafe { dealloc(self.base.as_ptr(), layout) }
    }
}

struct Allocation {
    block: Block,
    /// The operation that allocated it.
    since: Point,
    /// The last use on each stream.
    uses: Clock,
}

/// The live allocations, as of the calls made so far. Memory that a pending operation frees is no longer among them.
pub(crate) struct Memory {
    live: BTreeMap<u64, Allocation>,
    total: usize,
    used: usize,
    /// Bytes of the device that the pool holds, whether they are in use or freed and kept.
    reserved: usize,
    /// Bytes that the pool keeps when it trims.
    pub(crate) threshold: u64,
}

impl Memory {
    pub(crate) fn new(total: usize) -> Self {
        Self { live: BTreeMap::new(), total, used: 0, reserved: 0, threshold: 0 }
    }

    /// Allocates memory for operations that come after `since`.
    pub(crate) fn allocate(&mut self, bytes: usize, since: Point) -> Result<u64, Refusal> {
        if bytes == 0 {
            return Err(invalid("an allocation of 0 bytes"));
        }
        let out_of_memory = || limit(CUDA_ERROR_OUT_OF_MEMORY);
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.total).ok_or_else(out_of_memory)?;
        let block = Block::new(bytes).ok_or_else(out_of_memory)?;
        (self.used, self.reserved) = (used, used.max(self.reserved));
        let address = block.address();
        self.live.insert(address, Allocation { block, since, uses: Clock::default() });
        Ok(address)
    }

    /// Removes an allocation from the live ones. The operation `at` frees it, and `before` holds all that comes before.
    pub(crate) fn free(&mut self, address: u64, at: Point, before: &Clock) -> Result<Block, Refusal> {
        self.check_order(address, 1, before)?;
        let Some(allocation) = self.live.get(&address) else {
            return Err(invalid(format!(
                "{address:#x} is freed, which lies inside an allocation and is not its start"
            )));
        };
        let unordered = allocation.uses.points().find(|point| point.stream != at.stream && !before.includes(*point));
        if let Some(point) = unordered {
            return Err(invalid(format!(
                "memory is freed on stream {:#x}, which does not wait for its use on stream {:#x}",
                at.stream, point.stream
            )));
        }
        let block = self.live.remove(&address).expect("it was just found").block;
        self.used -= block.bytes;
        Ok(block)
    }

    /// Checks that an operation may use these bytes, and remembers the use.
    pub(crate) fn touch(&mut self, address: u64, bytes: usize, at: Point, before: &Clock) -> Result<(), Refusal> {
        let start = self.check_order(address, bytes, before)?;
        self.live.get_mut(&start).expect("it was just found").uses.add(at);
        Ok(())
    }

    /// Returns the start of the allocation that holds all these bytes. Fails if there is none, or if its allocation is
    /// not among the operations `before` the use.
    fn check_order(&self, address: u64, bytes: usize, before: &Clock) -> Result<u64, Refusal> {
        let holds = |start: u64, allocation: &Allocation| {
            let offset = (address - start) as usize;
            offset < allocation.block.bytes && bytes <= allocation.block.bytes - offset
        };
        match self.live.range(..=address).next_back() {
            Some((&start, allocation)) if holds(start, allocation) => {
                let since = allocation.since;
                if !before.includes(since) {
                    return Err(invalid(format!(
                        "memory of stream {:#x} is used on one that does not wait for its allocation",
                        since.stream
                    )));
                }
                Ok(start)
            }
            Some((&start, allocation)) if address < start + allocation.block.bytes as u64 => Err(invalid(format!(
                "{bytes} bytes from byte {} of an allocation of {} bytes",
                address - start,
                allocation.block.bytes
            ))),
            _ => Err(invalid(format!("{bytes} bytes at {address:#x}, which lies in no live allocation"))),
        }
    }

    /// Returns unused memory above the threshold to the device, as pools do when the host waits.
    pub(crate) fn trim(&mut self) {
        let kept = usize::try_from(self.threshold).unwrap_or(usize::MAX);
        self.reserved = self.reserved.min(kept).max(self.used);
    }

    /// Returns the bytes that are outside the pool, and the device's total.
    pub(crate) fn info(&self) -> (usize, usize) {
        (self.total - self.reserved, self.total)
    }

    /// Returns the bytes that the pool holds, and those of them that are in use.
    pub(crate) fn pool(&self) -> (usize, usize) {
        (self.reserved, self.used)
    }

    /// Returns the number of live allocations and their bytes.
    pub(crate) fn live(&self) -> (usize, usize) {
        (self.live.len(), self.used)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.total);
    }
}
