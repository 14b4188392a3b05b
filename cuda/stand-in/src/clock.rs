//! What comes before what: for each stream, how many of its operations.

use std::collections::BTreeMap;

/// A stream, as the driver's callers name it.
pub(crate) type StreamId = u64;

/// An operation of a stream: the number of operations up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) stream: StreamId,
    pub(crate) count: u64,
}

/// A vector clock.
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
