//! Pinned host memory, and the pending copies that read it.

use std::collections::BTreeMap;

use cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;

use crate::memory::Block;
use crate::refusal::{Refusal, invalid, limit};
use crate::streams::{Clock, Point};

struct Allocation {
    block: Block,
    /// The last copy on each stream that reads it.
    reads: Clock,
}

/// All pinned allocations by address.
#[derive(Default)]
pub(crate) struct Pinned(BTreeMap<u64, Allocation>);

impl Pinned {
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn allocate(&mut self, bytes: usize) -> Result<*mut u8, Refusal> {
        let block = Block::new(bytes).ok_or_else(|| limit(CUDA_ERROR_OUT_OF_MEMORY))?;
        let address = block.address();
        self.0.insert(address, Allocation { block, reads: Clock::default() });
        Ok(address as *mut u8)
    }

    fn find(&mut self, address: u64, bytes: usize) -> Option<&mut Allocation> {
        let (start, allocation) = self.0.range_mut(..=address).next_back()?;
        (address - start + bytes as u64 <= allocation.block.bytes() as u64).then_some(allocation)
    }

    /// Returns whether one pinned allocation holds all these bytes.
    pub(crate) fn holds(&mut self, address: u64, bytes: usize) -> bool {
        self.find(address, bytes).is_some()
    }

    /// Remembers that the copy `at` reads the allocation at `address`.
    pub(crate) fn read(&mut self, address: u64, at: Point) {
        if let Some(allocation) = self.find(address, 0) {
            allocation.reads.add(at);
        }
    }

    /// Frees an allocation. `before` holds the operations that the host has waited for.
    pub(crate) fn free(&mut self, address: u64, before: &Clock) -> Result<(), Refusal> {
        let Some(allocation) = self.0.get(&address) else {
            return Err(invalid(format!("{address:#x} is freed, but no live pinned allocation starts there")));
        };
        if let Some(read) = allocation.reads.points().find(|read| !before.includes(*read)) {
            return Err(invalid(format!(
                "pinned memory is freed before the host has waited for the copies of stream {:#x} from it",
                read.stream
            )));
        }
        allocation.block.check().map_err(invalid)?;
        self.0.remove(&address);
        Ok(())
    }
}
