//! Axes: the range to show and the positions of the ticks.

/// A linear or logarithmic axis over `low..=high`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) log: bool,
    pub(crate) ticks: Vec<f64>,
    /// Distance between neighbouring ticks, which determines how many decimals their labels need. It is 0 on a
    /// logarithmic axis.
    pub(crate) step: f64,
}

impl Axis {
    /// Fits an axis to the finite `values`. It ends on ticks, or at the ends of `range`, the interval of possible
    /// values. It is logarithmic if `may_log` is set and the values are positive and span more than three decades.
    pub(crate) fn fit(values: impl Iterator<Item = f64>, may_log: bool, range: (f64, f64)) -> Self {
        let (low, high) = values
            .filter(|x| shown(*x))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return Self::linear(0.0, 1.0);
        }
        let logarithmic = may_log && low > 0.0 && high > 1e3 * low;
        let axis = if logarithmic { Self::logarithmic(low, high) } else { Self::linear(low, high) };
        // Rounding may leave a value just outside the range.
        axis.within(range.0.min(low), range.1.max(high))
    }

    /// Cuts the axis to `least..=largest`, which must enclose the data.
    fn within(mut self, least: f64, largest: f64) -> Self {
        (self.low, self.high) = (self.low.max(least), self.high.min(largest));
        let slack = 1e-9 * (self.high - self.low);
        self.ticks.retain(|tick| (self.low - slack..=self.high + slack).contains(tick));
        self
    }

    /// Returns the axis of the training steps: exactly `low..=high`, or from 0 if `low` is close to it, with all ticks
    /// inside.
    pub(crate) fn steps(low: f64, high: f64) -> Self {
        let low = if (0.0..0.1 * high).contains(&low) { 0.0 } else { low };
        let high = if high > low { high } else { low + 1.0 };
        let step = nice_step((high - low) / 4.0).max(1.0);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        Self { low, high, log: false, ticks: (first..=last).map(|i| i as f64 * step).collect(), step }
    }

    /// Returns an axis with a tick at each of some ascending values. It is logarithmic if the largest is at least 20
    /// times the smallest.
    pub(crate) fn values(at: &[f64]) -> Self {
        let (low, high) = (at.first().copied().unwrap_or(0.0), at.last().copied().unwrap_or(1.0));
        let log = low > 0.0 && high >= 20.0 * low;
        let axis = Self { low, high: if high > low { high } else { low + 1.0 }, log, ticks: Vec::new(), step: 0.0 };
        // Leave out ticks whose labels would touch.
        let mut ticks: Vec<f64> = Vec::new();
        for &x in at {
            if ticks.last().is_none_or(|last| axis.place(x) - axis.place(*last) > 0.11) {
                ticks.push(x);
            }
        }
        Self { ticks, ..axis }
    }

    fn linear(low: f64, high: f64) -> Self {
        // A flat line stays in the middle; a range that nearly touches zero starts there.
        let size = low.abs().max(high.abs());
        let flat = high - low <= 1e-9 * size;
        let pad = if size == 0.0 { 1.0 } else { size * 0.5 };
        let (mut low, mut high) = if flat { (low - pad, high + pad) } else { (low, high) };
        if low > 0.0 && low < 0.4 * high {
            low = 0.0;
        }
        if high < 0.0 && high > 0.4 * low {
            high = 0.0;
        }
        let step = nice_step((high - low) / 4.0);
        let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
        let ticks: Vec<f64> = (first..=last).map(|i| i as f64 * step).collect();
        Self { low: first as f64 * step, high: last as f64 * step, log: false, ticks, step }
    }

    fn logarithmic(low: f64, high: f64) -> Self {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let every = ((last - first) as usize).div_ceil(5).max(1);
        let ticks = (first..=last).step_by(every).map(|power| 10f64.powi(power)).collect();
        Self { low: 10f64.powi(first), high: 10f64.powi(last), log: true, ticks, step: 0.0 }
    }

    /// Returns the position of `x` between the ends, from 0 to 1, or NaN if the axis cannot show it.
    pub(crate) fn place(&self, x: f64) -> f64 {
        if !shown(x) {
            f64::NAN
        } else if self.log {
            if x > 0.0 { (x / self.low).log10() / (self.high / self.low).log10() } else { f64::NAN }
        } else {
            (x - self.low) / (self.high - self.low)
        }
    }
}

/// Returns whether an axis can hold `x`: finite, and far enough below the largest float that differences do not
/// overflow.
fn shown(x: f64) -> bool {
    x.abs() <= 1e300
}

/// Returns the smallest number of the form 1, 2 or 5 times a power of ten that is at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(values: &[f64]) -> Axis {
        within(values, (f64::NEG_INFINITY, f64::INFINITY))
    }

    fn within(values: &[f64], range: (f64, f64)) -> Axis {
        Axis::fit(values.iter().copied(), true, range)
    }

    #[test]
    fn ticks_are_nice_and_enclose_the_data() {
        assert_eq!(fit(&[0.0, 1.0]).ticks.len(), 3);
        assert_eq!(fit(&[3.0, 197.0]).ticks, [0.0, 50.0, 100.0, 150.0, 200.0]);
        let axis = fit(&[0.91, 1.07, f64::NAN, f64::INFINITY]);
        assert!(axis.low <= 0.91 && axis.high >= 1.07 && axis.ticks.len() <= 6, "{axis:?}");
        assert_eq!(Axis::steps(0.0, 500.0).ticks, [0.0, 200.0, 400.0]);
    }

    #[test]
    fn flat_empty_and_extreme_data_have_an_axis() {
        for values in [&[][..], &[0.0], &[5.0, 5.0], &[-1e-6], &[1e300, -1e300], &[f64::NAN], &[f64::MAX, 1.0]] {
            let axis = fit(values);
            assert!(axis.low < axis.high && axis.ticks.len() < 20, "{values:?}: {axis:?}");
            assert!(values.iter().all(|x| !shown(*x) || (0.0..=1.0).contains(&axis.place(*x))));
            assert!(axis.place(f64::MAX).is_nan());
        }
    }

    #[test]
    fn an_axis_stays_within_the_possible_range() {
        for (values, range, low, high) in [
            (&[0.0, 0.0][..], (0.0, 1.0), 0.0, 1.0),
            (&[1.0, 1.0], (0.0, 1.0), 0.0, 1.0),
            (&[0.0], (0.0, f64::INFINITY), 0.0, 1.0),
            (&[0.62, 0.97], (0.0, 1.0), 0.6, 1.0),
            (&[0.1, 0.69], (0.0, std::f64::consts::LN_2), 0.0, std::f64::consts::LN_2),
            (&[1e-6, 1.9], (0.0, 2.0), 1e-6, 2.0),
            // A value outside the possible range is still shown.
            (&[0.0, 1.0 + 1e-9], (0.0, 1.0), 0.0, 1.0 + 1e-9),
        ] {
            let axis = within(values, range);
            assert!((axis.low - low).abs() < 1e-12 && (axis.high - high).abs() < 1e-12, "{values:?}: {axis:?}");
            assert!(axis.ticks.len() >= 2 && axis.ticks.iter().all(|tick| (0.0..=1.0).contains(&axis.place(*tick))));
        }
    }

    #[test]
    fn many_decades_are_logarithmic() {
        let axis = fit(&[1e-5, 1.0, 40.0]);
        assert!(axis.log && axis.low == 1e-5 && axis.high == 100.0);
        assert!((axis.place(1.0) - 5.0 / 7.0).abs() < 1e-12);
        assert!(axis.place(-1.0).is_nan());
    }
}
