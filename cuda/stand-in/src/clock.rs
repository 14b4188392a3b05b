//! Vector clocks, which tell whether one operation comes before another.

use std::collections::BTreeMap;

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
