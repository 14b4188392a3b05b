//! The set of all problems, divided into training and held-out ones.

use std::ops::RangeInclusive;

use flowrl_core::random::{Purpose, Stream};

use super::Problem;
use super::enumerate::{MAX_NUMBERS, reachable};
use crate::error::{Error, Result};

/// The parameters of a set of problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProblemSpec {
    /// How many numbers a problem has, from 2 to 4. Each entry adds the problems of that size.
    pub counts: Vec<usize>,
    /// Largest number; the smallest is 1. At most 105 with three numbers per problem, 45 with four.
    pub max_number: u32,
    /// Range of targets.
    pub targets: RangeInclusive<i64>,
    /// Seed for the order of the problems and of the numbers in them. The division into training and held-out
    /// problems does not depend on it.
    pub seed: u64,
}

impl Default for ProblemSpec {
    /// Returns problems of three numbers from 1 to 25 with targets from 1 to 100.
    fn default() -> Self {
        Self { counts: vec![3], max_number: 25, targets: 1..=100, seed: 0 }
    }
}

/// Every solvable problem of a [`ProblemSpec`]: all multisets of numbers, each with all targets it can reach.
///
/// One multiset in sixteen, chosen by a hash of the sorted numbers, is *held out* with all its targets: no
/// training problem has the same numbers in any order.
///
/// ```
/// use flowrl_lm::countdown::{ProblemSpec, Problems};
/// let problems = Problems::generate(&ProblemSpec { max_number: 9, ..ProblemSpec::default() })?;
/// assert_eq!(problems.train_len() + problems.held_out_len(), 2145);
/// assert!(!problems.train(0).solutions()?.is_empty());
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Problems {
    multisets: Vec<Vec<u32>>,
    train: Vec<Entry>,
    held_out: Vec<Entry>,
    stream: Stream,
}

/// The index of a multiset, and a target.
#[derive(Clone, Copy, Debug)]
struct Entry {
    multiset: u32,
    target: i64,
}

/// Largest number of multisets that are searched and kept in memory.
const MAX_MULTISETS: f64 = 200_000.0;

/// First coordinate of the stream, with one value for each use.
const SHUFFLE_ENTRIES: u32 = 0;
const SHUFFLE_TRAIN: u32 = 1;
const SHUFFLE_HELD_OUT: u32 = 2;

impl Problems {
    /// Finds all problems and shuffles them.
    ///
    /// # Errors
    /// Returns [`Error::Argument`] if a count is not from 2 to 4, `max_number` is 0 or gives more than 200 000
    /// multisets, or there are no training or no held-out problems.
    pub fn generate(spec: &ProblemSpec) -> Result<Self> {
        let mut counts = spec.counts.clone();
        counts.sort_unstable();
        counts.dedup();
        if counts.is_empty() || counts.iter().any(|count| !(2..=MAX_NUMBERS).contains(count)) {
            return Err(Error::argument(
                "counts",
                format!("{counts:?}"),
                format!("a list of numbers from 2 to {MAX_NUMBERS}"),
            ));
        }
        let size: f64 = counts.iter().map(|&count| multiset_count(count, spec.max_number)).sum();
        if spec.max_number == 0 || size > MAX_MULTISETS {
            let wanted = format!("at least 1, and small enough for {MAX_MULTISETS} multisets of {counts:?} numbers");
            return Err(Error::argument("max_number", spec.max_number, wanted));
        }
        let multisets: Vec<_> = counts.into_iter().flat_map(|count| multisets(count, spec.max_number)).collect();
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for (multiset, numbers) in multisets.iter().enumerate() {
            let part = if is_held_out(numbers) { &mut held_out } else { &mut train };
            let targets = reachable(numbers, spec.targets.clone())?;
            part.extend(targets.into_iter().map(|target| Entry { multiset: multiset as u32, target }));
        }
        if train.is_empty() || held_out.is_empty() {
            let got = format!("{} to train and {} held out", train.len(), held_out.len());
            return Err(Error::argument("problems", got, "some of each: raise `max_number` or widen the targets"));
        }
        let stream = Stream::new(spec.seed, Purpose::Task);
        stream.shuffle(&mut train, SHUFFLE_ENTRIES, 0);
        stream.shuffle(&mut held_out, SHUFFLE_ENTRIES, 1);
        Ok(Self { multisets, train, held_out, stream })
    }

    /// Returns the number of training problems, at least 1.
    pub fn train_len(&self) -> usize {
        self.train.len()
    }

    /// Returns the number of held-out problems, at least 1.
    pub fn held_out_len(&self) -> usize {
        self.held_out.len()
    }

    /// Returns training problem `i`, starting over after the last one.
    pub fn train(&self, i: usize) -> Problem {
        self.problem(&self.train, i, SHUFFLE_TRAIN)
    }

    /// Returns held-out problem `i`, starting over after the last one.
    pub fn held_out(&self, i: usize) -> Problem {
        self.problem(&self.held_out, i, SHUFFLE_HELD_OUT)
    }

    /// Returns the problem of an entry, its numbers in a shuffled order.
    fn problem(&self, entries: &[Entry], i: usize, purpose: u32) -> Problem {
        let i = i % entries.len();
        let entry = entries[i];
        let mut numbers = self.multisets[entry.multiset as usize].clone();
        self.stream.shuffle(&mut numbers, purpose, i as u32);
        Problem { numbers, target: entry.target }
    }
}

/// Returns the number of ascending lists of `count` numbers from 1 to `max`: C(max + count − 1, count).
fn multiset_count(count: usize, max: u32) -> f64 {
    (0..count).map(|i| (f64::from(max) + i as f64) / (i + 1) as f64).product()
}

/// Returns all ascending lists of `count` numbers from 1 to `max`, in lexicographic order.
fn multisets(count: usize, max: u32) -> Vec<Vec<u32>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let extend = |list: Vec<u32>| {
            let first = list.last().copied().unwrap_or(1);
            (first..=max).map(move |n| list.iter().copied().chain([n]).collect())
        };
        all = all.into_iter().flat_map(extend).collect();
    }
    all
}

/// Returns whether a sorted multiset belongs to the held-out sixteenth.
fn is_held_out(numbers: &[u32]) -> bool {
    // This is the finaliser of SplitMix64, which absorbs one number at a time.
    let hash = numbers.iter().fold(0_u64, |hash, &n| {
        let mut z = (hash ^ u64::from(n)).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    });
    hash.is_multiple_of(16)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn small(seed: u64) -> Problems {
        Problems::generate(&ProblemSpec { max_number: 9, seed, ..ProblemSpec::default() }).unwrap()
    }

    fn sorted(problem: &Problem) -> Vec<u32> {
        let mut numbers = problem.numbers.clone();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn no_numbers_are_in_both_parts() {
        let problems = small(0);
        let train: HashSet<_> = (0..problems.train_len()).map(|i| sorted(&problems.train(i))).collect();
        let held_out: HashSet<_> = (0..problems.held_out_len()).map(|i| sorted(&problems.held_out(i))).collect();
        assert!(train.is_disjoint(&held_out));
        assert_eq!(train.len() + held_out.len(), 165);
    }

    #[test]
    fn a_sixteenth_is_held_out() {
        let problems = Problems::generate(&ProblemSpec::default()).unwrap();
        let share = problems.held_out_len() as f64 / (problems.train_len() + problems.held_out_len()) as f64;
        assert!((0.05..0.075).contains(&share), "{share}");
        assert_eq!(problems.multisets.len(), 2925);
        assert_eq!(multiset_count(3, 25), 2925.0);
        assert!(multiset_count(3, 105) <= MAX_MULTISETS && multiset_count(4, 45) <= MAX_MULTISETS);
        assert!(multiset_count(3, 106) > MAX_MULTISETS && multiset_count(4, 46) > MAX_MULTISETS);
    }

    #[test]
    fn every_problem_is_different_and_solvable() {
        let problems = small(3);
        let all: HashSet<_> = (0..problems.train_len())
            .map(|i| problems.train(i))
            .chain((0..problems.held_out_len()).map(|i| problems.held_out(i)))
            .map(|problem| (sorted(&problem), problem.target))
            .collect();
        assert_eq!(all.len(), problems.train_len() + problems.held_out_len());
        for (numbers, target) in all.iter().take(200) {
            assert!(!Problem { numbers: numbers.clone(), target: *target }.solutions().unwrap().is_empty());
        }
    }

    #[test]
    fn the_seed_changes_the_order_and_not_the_division() {
        let (a, b) = (small(1), small(2));
        assert_eq!(a.train(5), small(1).train(5));
        assert_eq!(a.train(5), a.train(5 + a.train_len()));
        assert_ne!((a.train(0), a.train(1)), (b.train(0), b.train(1)));
        let held_out = |p: &Problems| (0..p.held_out_len()).map(|i| sorted(&p.held_out(i))).collect::<HashSet<_>>();
        assert_eq!(held_out(&a), held_out(&b));
        assert!((0..50).any(|i| !a.train(i).numbers.is_sorted()));
    }

    #[test]
    fn bad_specs_are_named() {
        let spec = ProblemSpec::default();
        for (spec, name) in [
            (ProblemSpec { counts: vec![], ..spec.clone() }, "counts"),
            (ProblemSpec { counts: vec![3, 5], ..spec.clone() }, "counts"),
            (ProblemSpec { max_number: 0, ..spec.clone() }, "max_number"),
            (ProblemSpec { counts: vec![4], max_number: 46, ..spec.clone() }, "max_number"),
            (ProblemSpec { max_number: u32::MAX, ..spec.clone() }, "max_number"),
            (ProblemSpec { max_number: 1, ..spec.clone() }, "problems"),
            (ProblemSpec { targets: 1_000_000_000..=1_000_000_001, ..spec }, "problems"),
        ] {
            let message = Problems::generate(&spec).unwrap_err().to_string();
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
    }
}
