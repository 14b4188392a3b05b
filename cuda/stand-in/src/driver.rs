//! The driver behind the exported functions. All of its state is in one structure, so that each test can have its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use cudarc::driver::sys::CUresult::{
    CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_LAUNCH_FAILED, CUDA_ERROR_NOT_FOUND, CUDA_ERROR_NOT_READY,
};

use crate::blas::Blas;
use crate::limits::Limits;
use crate::memory::Memory;
use crate::modules::{Function, Kernels, Launch, Module};
use crate::pinned::Pinned;
use crate::ptx::Entry;
use crate::refusal::{Refusal, limit, live, misuse};
use crate::report;
use crate::streams::{Recorded, StreamId, Streams, Work};

/// The one device and its primary context.
pub(crate) struct Driver {
    pub(crate) limits: Limits,
    pub(crate) memory: Memory,
    pub(crate) pinned: Pinned,
    pub(crate) blas: Blas,
    streams: Streams,
    /// Events, each with the point that it recorded last.
    events: BTreeMap<u64, Option<Recorded>>,
    modules: BTreeMap<u64, Module>,
    functions: BTreeMap<u64, Function>,
    /// Number of times the context was retained and not yet released.
    pub(crate) retained: usize,
    /// Whether an operation failed. As on a GPU, the context then stays unusable.
    pub(crate) lost: bool,
    /// The handle given out last.
    last: u64,
}

impl Driver {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            memory: Memory::new(limits.memory),
            pinned: Pinned::default(),
            limits,
            blas: Blas::default(),
            streams: Streams::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            retained: 0,
            lost: false,
            last: 0x5000_0000,
        }
    }

    /// Returns a handle that was never used before.
    pub(crate) fn name(&mut self) -> u64 {
        self.last += 16;
        self.last
    }

    /// Releases the context. The last release destroys it with everything in it, and is a finding if the program left
    /// something behind.
    pub(crate) fn release(&mut self) -> Result<(), Refusal> {
        if self.retained == 0 {
            return Err(misuse(CUDA_ERROR_INVALID_HANDLE, "the context is released more often than retained"));
        }
        self.retained -= 1;
        if self.retained > 0 {
            return Ok(());
        }
        let finished = self.synchronize();
        let left = self.left();
        self.memory.clear();
        self.pinned = Pinned::default();
        self.streams = Streams::new();
        self.events.clear();
        self.modules.clear();
        self.functions.clear();
        self.lost = false;
        finished?;
        left.map_or(Ok(()), |left| Err(misuse(CUDA_ERROR_INVALID_HANDLE, format!("the context ends with {left}"))))
    }

    /// Describes the resources that are still live, if there are any.
    pub(crate) fn left(&self) -> Option<String> {
        let ((allocations, bytes), blas) = (self.memory.live(), &self.blas);
        let counts = [
            (allocations, format!("allocations ({bytes} bytes)")),
            (self.pinned.count(), "pieces of pinned memory".to_owned()),
            (self.streams.count(), "streams".to_owned()),
            (self.events.len(), "events".to_owned()),
            (self.modules.len(), "modules".to_owned()),
            (blas.opened.len(), "handles of cuBLASLt".to_owned()),
            (blas.layouts.len() + blas.products.len() + blas.preferences.len(), "descriptions of cuBLASLt".to_owned()),
        ];
        let left: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        (!left.is_empty()).then(|| format!("{} left", left.join(", ")))
    }

    pub(crate) fn create_stream(&mut self) -> StreamId {
        let id = self.name();
        self.streams.create(id);
        id
    }

    /// Destroys a stream after running its work to the end. This does not count as a wait of the host.
    pub(crate) fn destroy_stream(&mut self, id: StreamId) -> Result<(), Refusal> {
        if id == crate::streams::DEFAULT {
            return Err(misuse(CUDA_ERROR_INVALID_HANDLE, "the default stream is destroyed"));
        }
        let end = self.streams.record(id)?;
        let finished = self.streams.run(end.point);
        self.streams.remove(id);
        self.outcome(finished)
    }

    pub(crate) fn synchronize_stream(&mut self, id: StreamId) -> Result<(), Refusal> {
        let end = self.streams.record(id)?;
        let finished = self.streams.finish(&end);
        self.memory.trim();
        self.outcome(finished)
    }

    pub(crate) fn synchronize(&mut self) -> Result<(), Refusal> {
        let finished = self.streams.finish_all();
        self.memory.trim();
        self.outcome(finished)
    }

    /// Turns the failure of an operation into a refusal, and marks the context as lost.
    fn outcome(&mut self, finished: Result<(), String>) -> Result<(), Refusal> {
        finished.map_err(|why| {
            self.lost = true;
            self.streams.abandon();
            misuse(CUDA_ERROR_LAUNCH_FAILED, why)
        })
    }

    pub(crate) fn create_event(&mut self) -> u64 {
        let id = self.name();
        self.events.insert(id, None);
        id
    }

    fn event(&mut self, id: u64) -> Result<&mut Option<Recorded>, Refusal> {
        live(self.events.get_mut(&id), "event", id)
    }

    pub(crate) fn destroy_event(&mut self, id: u64) -> Result<(), Refusal> {
        live(self.events.remove(&id), "event", id).map(drop)
    }

    pub(crate) fn record(&mut self, event: u64, stream: StreamId) -> Result<(), Refusal> {
        let recorded = self.streams.record(stream)?;
        *self.event(event)? = Some(recorded);
        Ok(())
    }

    /// Makes a stream wait for an event. The wait has no effect if the event recorded nothing.
    pub(crate) fn wait(&mut self, stream: StreamId, event: u64) -> Result<(), Refusal> {
        match self.event(event)?.clone() {
            Some(recorded) => self.streams.wait(stream, &recorded),
            None => Ok(()),
        }
    }

    pub(crate) fn synchronize_event(&mut self, event: u64) -> Result<(), Refusal> {
        let Some(recorded) = self.event(event)?.clone() else { return Ok(()) };
        let finished = self.streams.finish(&recorded);
        self.outcome(finished)
    }

    pub(crate) fn query_event(&mut self, event: u64) -> Result<(), Refusal> {
        match self.event(event)?.clone() {
            Some(recorded) if !self.streams.is_done(&recorded) => Err(limit(CUDA_ERROR_NOT_READY)),
            _ => Ok(()),
        }
    }

    /// Allocates memory that the stream's later operations may use.
    pub(crate) fn allocate(&mut self, stream: StreamId, bytes: usize) -> Result<u64, Refusal> {
        let (point, _) = self.streams.next(stream)?;
        let address = self.memory.allocate(bytes, point)?;
        report::count(&report::ALLOCATIONS);
        self.streams.push(stream, Work::Run(Box::new(|| Ok(()))))?;
        Ok(address)
    }

    pub(crate) fn free(&mut self, stream: StreamId, address: u64) -> Result<(), Refusal> {
        let (point, before) = self.streams.next(stream)?;
        let block = self.memory.free(address, point, &before)?;
        self.streams.push(stream, Work::Run(Box::new(move || block.check())))
    }

    /// Notes that the stream's next operation reads this pinned memory.
    pub(crate) fn read_pinned(&mut self, address: u64, stream: StreamId) -> Result<(), Refusal> {
        let (point, _) = self.streams.next(stream)?;
        self.pinned.read(address, point);
        Ok(())
    }

    pub(crate) fn free_pinned(&mut self, address: u64) -> Result<(), Refusal> {
        self.pinned.free(address, self.streams.host())
    }

    /// Appends work to a stream, after checking that it may use each (address, bytes) in `uses`.
    pub(crate) fn enqueue(
        &mut self,
        stream: StreamId,
        uses: &[(u64, usize)],
        work: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<(), Refusal> {
        let (point, before) = self.streams.next(stream)?;
        uses.iter().try_for_each(|&(address, bytes)| self.memory.touch(address, bytes, point, &before))?;
        self.streams.push(stream, Work::Run(Box::new(work)))
    }

    pub(crate) fn load(&mut self, entries: Vec<Entry>, kernels: Arc<dyn Kernels>) -> u64 {
        let id = self.name();
        self.modules.insert(id, Module { entries, kernels });
        id
    }

    pub(crate) fn unload(&mut self, id: u64) -> Result<(), Refusal> {
        live(self.modules.remove(&id), "module", id)?;
        self.functions.retain(|_, function| function.module != id);
        Ok(())
    }

    /// Returns the handle of the module's kernel with this name. Repeated calls return the same handle.
    pub(crate) fn find(&mut self, module: u64, name: &str) -> Result<u64, Refusal> {
        let Module { entries, kernels } = live(self.modules.get(&module), "module", module)?;
        let entry = entries.iter().find(|entry| entry.name == name).ok_or_else(|| limit(CUDA_ERROR_NOT_FOUND))?;
        let function = Function { module, entry: entry.clone(), kernels: Arc::clone(kernels), dynamic: None };
        let known = self.functions.iter().find(|(_, known)| known.module == module && known.entry.name == name);
        if let Some((&id, _)) = known {
            return Ok(id);
        }
        let id = self.name();
        self.functions.insert(id, function);
        Ok(id)
    }

    pub(crate) fn function(&mut self, id: u64) -> Result<&mut Function, Refusal> {
        live(self.functions.get_mut(&id), "kernel", id)
    }

    pub(crate) fn launch(&mut self, function: u64, stream: StreamId, launch: Launch) -> Result<(), Refusal> {
        let function = self.function(function)?.clone();
        function.check(&launch)?;
        let parameters = function.entry.parameters.iter().zip(&launch.arguments);
        let pointers = parameters.filter(|(parameter, _)| parameter.is_pointer);
        let addresses = pointers.map(|(_, value)| u64::from_ne_bytes(*value)).filter(|address| *address != 0);
        let uses: Vec<(u64, usize)> = addresses.map(|address| (address, 1)).collect();
        report::count(&report::LAUNCHES);
        let name = function.entry.name;
        let named = |mut refusal: Refusal| {
            refusal.finding = refusal.finding.map(|text| format!("{name}: {text}"));
            refusal
        };
        let kernel = name.clone();
        self.enqueue(stream, &uses, move || function.kernels.run(&kernel, &launch)).map_err(named)
    }
}
