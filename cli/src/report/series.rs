//! A named series of values over the training steps, with smoothing and thinning for the eye.

/// Longest path drawn raw; more points than this cannot be told apart on the page.
const MOST_POINTS: usize = 600;
const MOST_BAND_POINTS: usize = 120;
/// Shortest series worth smoothing.
const SMOOTH_FROM: usize = 30;

/// A value at a step, with the band around it if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// Lower and upper end, finite.
    pub(crate) band: Option<(f64, f64)>,
}

impl Point {
    /// Every value that the axis has to reach.
    pub(crate) fn extent(&self) -> [f64; 3] {
        let (low, high) = self.band.unwrap_or((self.y, self.y));
        [self.y, low, high]
    }
}

/// Values over the steps.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) label: String,
    /// Class of the style sheet that gives colour and dashes: `accent`, `second`, or `c0` … `c7`.
    pub(crate) ink: &'static str,
    /// In the order of the steps.
    pub(crate) points: Vec<Point>,
    /// Whether a long series gets a smoothed line.
    pub(crate) smooth: bool,
}

impl Series {
    /// The point at exactly this step.
    pub(crate) fn at(&self, step: f64) -> Option<&Point> {
        let index = self.points.binary_search_by(|point| point.x.total_cmp(&step)).ok()?;
        self.points.get(index)
    }

    /// The last point with a finite value.
    pub(crate) fn last_finite(&self) -> Option<&Point> {
        self.points.iter().rev().find(|point| point.y.is_finite())
    }

    pub(crate) fn has_band(&self) -> bool {
        self.points.iter().any(|point| point.band.is_some())
    }

    /// Number of neighbours on either side that the trend line is fitted to.
    pub(crate) fn reach(&self) -> usize {
        if self.smooth && self.points.len() >= SMOOTH_FROM { (self.points.len() / 40).max(2) } else { 0 }
    }

    /// The trend: at each point a straight line fitted to its neighbours, so that the ends do not bend. `None` where the
    /// series is too short. A value that is not finite is left out of the fit and stays a gap.
    pub(crate) fn trend(&self) -> Option<Vec<Point>> {
        let reach = self.reach();
        if reach == 0 {
            return None;
        }
        let trend = |index: usize| {
            let here = self.points[index];
            let window = &self.points[index.saturating_sub(reach)..(index + reach + 1).min(self.points.len())];
            let finite = || window.iter().filter(|point| point.y.is_finite());
            let count = finite().count() as f64;
            let (mean_x, mean_y) = (
                finite().map(|point| point.x).sum::<f64>() / count,
                finite().map(|point| point.y).sum::<f64>() / count,
            );
            let along: f64 = finite().map(|point| (point.x - mean_x).powi(2)).sum();
            let both: f64 = finite().map(|point| (point.x - mean_x) * (point.y - mean_y)).sum();
            let slope = if along > 0.0 { both / along } else { 0.0 };
            // Never beyond the data: a fraction stays one, and what is positive has a logarithm.
            let (low, high) = finite().fold((mean_y, mean_y), |(low, high), p| (low.min(p.y), high.max(p.y)));
            let fit = (mean_y + slope * (here.x - mean_x)).clamp(low, high);
            if here.y.is_finite() { fit } else { f64::NAN }
        };
        Some((0..self.points.len()).map(|i| Point { y: trend(i), band: None, ..self.points[i] }).collect())
    }

    /// The trend at about 240 points, and at every gap.
    pub(crate) fn smoothed(&self) -> Option<Vec<Point>> {
        let trend = self.trend()?;
        let (every, last) = (trend.len().div_ceil(240).max(1), trend.len() - 1);
        let kept = trend.into_iter().enumerate();
        Some(kept.filter(|(i, p)| i.is_multiple_of(every) || *i == last || !p.y.is_finite()).map(|(_, p)| p).collect())
    }

    /// At most about [`MOST_POINTS`] points: of each bucket the lowest, the highest and any gap.
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

    /// At most about [`MOST_BAND_POINTS`] points; each spans the bands of its bucket, so that no extreme is hidden.
    pub(crate) fn band_points(&self) -> Vec<Point> {
        let size = self.points.len().div_ceil(MOST_BAND_POINTS).max(1);
        let join = |bucket: &[Point]| {
            let bands = bucket.iter().filter_map(|point| point.band);
            let band = bands.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
            Point { band, ..bucket[bucket.len() / 2] }
        };
        let mut points: Vec<Point> = self.points.chunks(size).map(join).collect();
        // The band reaches as far as the line.
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
        Series {
            label: "a".into(),
            ink: "accent",
            points: values.iter().enumerate().map(point).collect(),
            smooth: true,
        }
    }

    #[test]
    fn smoothing_keeps_a_line_and_a_gap() {
        let mut values: Vec<f64> = (0..100).map(f64::from).collect();
        values[50] = f64::NAN;
        let smoothed = series(&values).smoothed().unwrap();
        for (i, point) in smoothed.iter().enumerate().filter(|(i, _)| *i != 50) {
            assert!((point.y - i as f64).abs() < 1e-9, "a straight line stays one up to its ends");
        }
        assert!(smoothed[50].y.is_nan() && smoothed[49].y.is_finite());
        assert!(series(&values[..10]).smoothed().is_none());
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
        assert!(series.smoothed().unwrap().iter().any(|point| point.y.is_nan()));
    }
}
