//! Streams: queues of work, which runs only when something waits for it. Vector clocks tell which of it comes before
//! which.

use std::collections::{BTreeMap, VecDeque};

use crate::refusal::{Refusal, live};

/// The handle by which callers of the driver name a stream.
pub(crate) type StreamId = u64;

/// A point in the work of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) stream: StreamId,
    /// Number of the stream's operations up to this point.
    pub(crate) count: u64,
}

/// A vector clock: for each stream, the number of its operations that have happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(BTreeMap<StreamId, u64>);

impl Clock {
    pub(crate) fn includes(&self, point: Point) -> bool {
        point.count == 0 || self.0.get(&point.stream).is_some_and(|count| *count >= point.count)
    }

    pub(crate) fn add(&mut self, point: Point) {
        let count = self.0.entry(point.stream).or_default();
        *count = point.count.max(*count);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        other.points().for_each(|point| self.add(point));
    }

    pub(crate) fn points(&self) -> impl Iterator<Item = Point> {
        self.0.iter().map(|(&stream, &count)| Point { stream, count })
    }
}

/// The default stream, which every context has.
pub(crate) const DEFAULT: StreamId = 0;

/// One operation of a stream.
pub(crate) enum Work {
    /// Waits for an operation of another stream.
    After(Point),
    /// Runs an operation. The context is lost if it fails.
    Run(Box<dyn FnOnce() -> Result<(), String> + Send>),
}

#[derive(Default)]
struct Stream {
    queue: VecDeque<Work>,
    /// Number of operations that were queued so far.
    issued: u64,
    /// Number of operations that have run.
    done: u64,
    /// All operations that come before its next one.
    clock: Clock,
}

/// The point that an event recorded: an operation and all that comes before it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) point: Point,
    clock: Clock,
}

/// The streams of the context.
pub(crate) struct Streams {
    all: BTreeMap<StreamId, Stream>,
    /// All operations that the host has waited for.
    host: Clock,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self { all: BTreeMap::from([(DEFAULT, Stream::default())]), host: Clock::default() }
    }

    pub(crate) fn create(&mut self, id: StreamId) {
        self.all.insert(id, Stream::default());
    }

    /// Returns the number of streams that the program created.
    pub(crate) fn count(&self) -> usize {
        self.all.len() - 1
    }

    /// Returns the operations that the host has waited for.
    pub(crate) const fn host(&self) -> &Clock {
        &self.host
    }

    fn get(&mut self, id: StreamId) -> Result<&mut Stream, Refusal> {
        live(self.all.get_mut(&id), "stream", id)
    }

    /// Returns the stream's next operation and all that comes before it.
    pub(crate) fn next(&mut self, id: StreamId) -> Result<(Point, Clock), Refusal> {
        let host = self.host.clone();
        let stream = self.get(id)?;
        stream.clock.merge(&host);
        let point = Point { stream: id, count: stream.issued + 1 };
        Ok((point, stream.clock.clone()))
    }

    pub(crate) fn push(&mut self, id: StreamId, work: Work) -> Result<(), Refusal> {
        let (point, _) = self.next(id)?;
        let stream = self.get(id)?;
        stream.issued = point.count;
        stream.clock.add(point);
        stream.queue.push_back(work);
        Ok(())
    }

    pub(crate) fn record(&mut self, id: StreamId) -> Result<Recorded, Refusal> {
        let (_, clock) = self.next(id)?;
        Ok(Recorded { point: Point { stream: id, count: self.get(id)?.issued }, clock })
    }

    /// Makes the later work of a stream wait for a recorded point.
    pub(crate) fn wait(&mut self, id: StreamId, recorded: &Recorded) -> Result<(), Refusal> {
        self.push(id, Work::After(recorded.point))?;
        self.get(id)?.clock.merge(&recorded.clock);
        Ok(())
    }

    /// Returns whether the recorded work has completed. Work on a destroyed stream counts as completed.
    pub(crate) fn is_done(&self, recorded: &Recorded) -> bool {
        self.all.get(&recorded.point.stream).is_none_or(|stream| stream.done >= recorded.point.count)
    }

    /// Runs the recorded work and notes that the host has waited for it.
    pub(crate) fn finish(&mut self, recorded: &Recorded) -> Result<(), String> {
        self.run(recorded.point)?;
        self.host.merge(&recorded.clock);
        Ok(())
    }

    /// Runs a stream up to a point, together with all work of other streams that it waits for. This is no wait of the
    /// host.
    pub(crate) fn run(&mut self, to: Point) -> Result<(), String> {
        while let Some(stream) = self.all.get_mut(&to.stream).filter(|stream| stream.done < to.count) {
            stream.done += 1;
            match stream.queue.pop_front() {
                Some(Work::After(point)) => self.run(point)?,
                Some(Work::Run(work)) => work()?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Runs all work of all streams and notes that the host has waited for it.
    pub(crate) fn finish_all(&mut self) -> Result<(), String> {
        let ids: Vec<StreamId> = self.all.keys().copied().collect();
        for id in ids {
            let recorded = self.record(id).expect("its name was just read");
            self.finish(&recorded)?;
        }
        Ok(())
    }

    /// Removes a stream, whose work must have run.
    pub(crate) fn remove(&mut self, id: StreamId) {
        self.all.remove(&id);
    }

    /// Drops all pending work, because the context is lost.
    pub(crate) fn abandon(&mut self) {
        self.all.values_mut().for_each(|stream| stream.queue.clear());
    }
}
