//! A named series of values over the training steps, with smoothing and thinning for display.

/// Number of points from which a path is thinned: more than this cannot be told apart on the page.
const MOST_POINTS: usize = 600;
const MOST_BAND_POINTS: usize = 120;
pub(crate) const MOST_TREND_POINTS: usize = 240;
/// Length from which a series is worth smoothing.
const SMOOTH_FROM: usize = 30;

/// A value at a step, with an optional band around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// Lower and upper end of the band, both finite.
    pub(crate) band: Option<(f64, f64)>,
}

impl Point {
    /// Returns a point without a band.
    pub(crate) fn new((x, y): (f64, f64)) -> Self {
        Self { x, y, band: None }
    }

    /// Returns the mean of the finite values, with their range as its band. It is NaN if there are none.
    pub(crate) fn mean(x: f64, values: impl Iterator<Item = f64>) -> Self {
        let finite: Vec<f64> = values.filter(|y| y.is_finite()).collect();
        let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
        let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let y = finite.iter().sum::<f64>() / finite.len() as f64;
        Self { x, y, band: (finite.len() > 1).then_some((low, high)) }
    }

    /// Returns the values that the axis has to include.
    pub(crate) fn extent(&self) -> [f64; 3] {
        let (low, high) = self.band.unwrap_or((self.y, self.y));
        [self.y, low, high]
    }
}

/// A line of a chart.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) label: String,
    /// The style sheet's class for colour and dashes: `accent`, `second`, or `c0` … `c7`.
    pub(crate) ink: &'static str,
    /// The points in ascending order of their steps.
    pub(crate) points: Vec<Point>,
    /// Whether to draw a smoothed line if the series is long enough.
    pub(crate) smooth: bool,
}

impl Series {
    pub(crate) fn new(label: &str, ink: &'static str, points: Vec<Point>, smooth: bool) -> Self {
        Self { label: label.to_owned(), ink, points, smooth }
    }

    /// Returns the point at exactly this step.
    pub(crate) fn at(&self, step: f64) -> Option<&Point> {
        let index = self.points.binary_search_by(|point| point.x.total_cmp(&step)).ok()?;
        self.points.get(index)
    }

    /// Returns the last point with a finite value.
    pub(crate) fn last_finite(&self) -> Option<&Point> {
        self.points.iter().rev().find(|point| point.y.is_finite())
    }

    pub(crate) fn has_band(&self) -> bool {
        self.points.iter().any(|point| point.band.is_some())
    }

    /// Returns how many neighbours on either side the trend line is fitted to, or 0 if there is no trend.
    pub(crate) fn reach(&self) -> usize {
        if self.smooth && self.points.len() >= SMOOTH_FROM { (self.points.len() / 40).clamp(2, 150) } else { 0 }
    }

    /// Returns the trend at about `most` points, and at every gap, or `None` if the series is too short for one.
    pub(crate) fn trend(&self, most: usize) -> Option<Vec<Point>> {
        let (every, last) = (self.points.len().div_ceil(most).max(1), self.points.len().saturating_sub(1));
        let kept = (0..=last).filter(|i| i.is_multiple_of(every) || *i == last || !self.points[*i].y.is_finite());
        (self.reach() > 0).then(|| kept.map(|index| self.trend_at(index)).collect())
    }

    /// A straight line fitted to the neighbours, so that the ends do not bend. A value that is not finite is left out
    /// of the fit and stays a gap.
    fn trend_at(&self, index: usize) -> Point {
        let here = Point { band: None, ..self.points[index] };
        if !here.y.is_finite() {
            return here;
        }
        let reach = self.reach();
        let window = &self.points[index.saturating_sub(reach)..(index + reach + 1).min(self.points.len())];
        let finite = || window.iter().filter(|point| point.y.is_finite());
        let count = finite().count() as f64;
        let (sum_x, sum_y) = finite().fold((0.0, 0.0), |(x, y), point| (x + point.x, y + point.y));
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        let (along, both) = finite().fold((0.0, 0.0), |(along, both), point| {
            let dx = point.x - mean_x;
            (along + dx * dx, both + dx * (point.y - mean_y))
        });
        let slope = if along > 0.0 { both / along } else { 0.0 };
        // The trend never leaves the range of the data, so fractions stay fractions and positive values keep a
        // logarithm.
        let ends = finite().fold((here.y, here.y), |(low, high), point| (low.min(point.y), high.max(point.y)));
        Point { y: (mean_y + slope * (here.x - mean_x)).clamp(ends.0, ends.1), ..here }
    }

    /// Returns at most about [`MOST_POINTS`] points: the lowest, the highest and the first gap of each bucket.
    pub(crate) fn thinned(&self) -> Vec<Point> {
        if self.points.len() <= MOST_POINTS {
            return self.points.clone();
        }
        let mut kept = Vec::new();
        for bucket in self.points.chunks(self.points.len().div_ceil(MOST_POINTS / 2)) {
            let index = |pick: fn(f64, f64) -> bool| {
                let finite = (0..bucket.len()).filter(|i| bucket[*i].y.is_finite());
                finite.reduce(|a, b| if pick(bucket[b].y, bucket[a].y) { b } else { a })
            };
            let gap = bucket.iter().position(|point| !point.y.is_finite());
            let mut indices: Vec<usize> =
                [index(|a, b| a < b), index(|a, b| a > b), gap].into_iter().flatten().collect();
            indices.sort_unstable();
            indices.dedup();
            kept.extend(indices.into_iter().map(|i| bucket[i]));
        }
        kept
    }

    /// Returns at most about [`MOST_BAND_POINTS`] points. Each spans the bands of its bucket, so that no extreme is
    /// hidden.
    pub(crate) fn band_points(&self) -> Vec<Point> {
        let size = self.points.len().div_ceil(MOST_BAND_POINTS).max(1);
        let join = |bucket: &[Point]| {
            let bands = bucket.iter().filter_map(|point| point.band);
            let band = bands.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            Point { band, ..bucket[bucket.len() / 2] }
        };
        let mut points: Vec<Point> = self.points.chunks(size).map(join).collect();
        // Extend the band to both ends of the line.
        if let (Some(first), Some(point)) = (self.points.first(), points.first_mut()) {
            point.x = first.x;
        }
        if let (Some(last), Some(point)) = (self.points.last(), points.last_mut()) {
            point.x = last.x;
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(values: &[f64]) -> Series {
        let point = |(i, y): (usize, &f64)| Point { x: i as f64, y: *y, band: Some((*y - 1.0, *y + 1.0)) };
        Series::new("a", "accent", values.iter().enumerate().map(point).collect(), true)
    }

    #[test]
    fn smoothing_keeps_a_line_and_a_gap() {
        let mut values: Vec<f64> = (0..100).map(f64::from).collect();
        values[50] = f64::NAN;
        let smoothed = series(&values).trend(MOST_TREND_POINTS).unwrap();
        for (i, point) in smoothed.iter().enumerate().filter(|(i, _)| *i != 50) {
            assert!((point.y - i as f64).abs() < 1e-9, "a straight line stays one up to its ends");
        }
        assert!(smoothed[50].y.is_nan() && smoothed[49].y.is_finite());
        assert!(
            series(&values[..10]).trend(MOST_TREND_POINTS).is_none() && series(&[]).trend(MOST_TREND_POINTS).is_none()
        );
        assert!(series(&[f64::NAN; 50]).trend(MOST_TREND_POINTS).unwrap().iter().all(|point| point.y.is_nan()));
    }

    #[test]
    fn thinning_keeps_the_extremes_and_the_gaps() {
        let mut values: Vec<f64> = (0..10_000).map(|i| f64::from(i % 7)).collect();
        (values[1234], values[5678], values[777]) = (99.0, -99.0, f64::NAN);
        let series = series(&values);
        let thinned = series.thinned();
        assert!(thinned.len() < 1000, "{}", thinned.len());
        for wanted in [99.0, -99.0] {
            assert!(thinned.iter().any(|point| point.y == wanted));
        }
        assert!(thinned.iter().any(|point| point.y.is_nan()));
        assert!(thinned.is_sorted_by(|a, b| a.x < b.x));
        assert!(series.band_points().iter().any(|point| point.band.unwrap().1 == 100.0));
        assert!(series.trend(MOST_TREND_POINTS).unwrap().iter().any(|point| point.y.is_nan()));
    }
}
