//! Measurements of two sides in alternation. A slow phase of the machine then affects both, and each ratio compares two
//! neighbouring turns.
//!
//! `xtask` includes this file, so it needs only std.

/// The measurements of two sides, turn by turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Numbers of our side. There are none if the other side was measured alone.
    pub ours: Vec<f64>,
    /// Numbers of the other side.
    pub theirs: Vec<f64>,
}

impl Pairs {
    /// Returns the quartiles of theirs / ours over neighbouring turns, if both sides were measured.
    pub fn ratio(&self) -> Option<[f64; 3]> {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| theirs / ours).collect();
        (!ratios.is_empty()).then(|| quartiles(&ratios))
    }
}

/// Alternates two sides, each of which returns N numbers per turn. The first `warm` pairs of turns are discarded, and
/// the next `runs` are kept.
pub fn alternate<const N: usize, E>(
    warm: usize,
    runs: usize,
    mut ours: Option<impl FnMut() -> Result<[f64; N], E>>,
    mut theirs: impl FnMut() -> Result<[f64; N], E>,
) -> Result<[Pairs; N], E> {
    let mut pairs = [const { Pairs { ours: Vec::new(), theirs: Vec::new() } }; N];
    for turn in 0..warm + runs {
        let a = ours.as_mut().map(|ours| ours()).transpose()?;
        let b = theirs()?;
        for (i, pairs) in pairs.iter_mut().enumerate().filter(|_| turn >= warm) {
            pairs.ours.extend(a.map(|a| a[i]));
            pairs.theirs.push(b[i]);
        }
    }
    Ok(pairs)
}

/// Returns the quantile `q` in [0, 1] of the values, interpolated linearly between the two nearest. It is NaN if there
/// are no values.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

/// Returns the first quartile, the median and the third quartile.
pub fn quartiles(values: &[f64]) -> [f64; 3] {
    [0.25, 0.5, 0.75].map(|q| quantile(values, q))
}

/// Formats quartiles as `median [first, third]`.
pub fn show([low, median, high]: [f64; 3], digits: usize) -> String {
    format!("{median:.digits$} [{low:.digits$}, {high:.digits$}]")
}

/// Warns if the machine is busy, as far as the system reports its load: timings next to other work are wrong.
pub fn warn_if_busy() {
    let load =
        std::fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    if let Some(load) = load.filter(|&load| load > 0.5) {
        println!("warning: the machine is busy (load {load}); timings with two threads will be off\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_known_values() {
        assert_eq!(quartiles(&[5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]);
        assert_eq!(quartiles(&[1.0, 2.0]), [1.25, 1.5, 1.75]);
        assert_eq!(quartiles(&[7.0]), [7.0; 3]);
        assert!(quantile(&[], 0.5).is_nan());
        assert_eq!(show([1.0, 2.0, 3.0], 1), "2.0 [1.0, 3.0]");
    }

    #[test]
    fn ratio_is_the_median_of_neighbours() {
        let pairs = Pairs { ours: vec![1.0, 2.0, 1.0], theirs: vec![2.0, 8.0, 3.0] };
        assert_eq!(pairs.ratio(), Some([2.5, 3.0, 3.5]));
        assert_eq!(Pairs { ours: Vec::new(), ..pairs }.ratio(), None);
    }
}
