//! A finite set of answers: one state, with one action per answer.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::exact::log_sum_exp;
use flowrl_core::named_enum;
use flowrl_core::random::{Purpose, Stream};

use super::error::{check_answers, ensure, power};
use super::{Environment, Error, Outcome};

named_enum! {
    /// Rewards of a [`Bandit`], between 0 and 1. The answers lie on a line, except those of `ring`, which fill a
    /// square.
    pub enum BanditPreset ("bandit preset") {
        TwoPeaks = "two-peaks": "two equal peaks: a maximiser keeps one",
        FourPeaks = "four-peaks": "four peaks of reward 1, 0.9, 0.75 and 0.5",
        Needle = "needle": "one answer, drawn by the seed, has reward 1 and every other 0",
        Ring = "ring": "answers fill a square row by row; reward is high on a circle",
        Plateau = "plateau": "reward 1 for the middle quarter and 0 elsewhere: π* is the reference on that quarter",
        Deceptive = "deceptive": "a broad hill of reward 0.8 on the left, a narrow peak of reward 1 far on the right",
        Random = "random": "rewards drawn uniformly by the seed",
    }
}

named_enum! {
    /// The reference policy of a preset [`Bandit`].
    pub enum BanditReference ("bandit reference") {
        Uniform = "uniform": "every answer is equally likely",
        Random = "random": "logits drawn from a standard normal by the seed",
    }
}

/// The options of a preset [`Bandit`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct BanditOptions {
    /// The rewards. Default two peaks.
    pub preset: BanditPreset,
    /// Number of answers, N. Default 64.
    pub size: usize,
    /// The reference policy π_ref. Default uniform.
    pub reference: BanditReference,
    /// The needle, random rewards and a random reference depend on this seed.
    pub seed: u64,
}

impl Default for BanditOptions {
    fn default() -> Self {
        Self { preset: BanditPreset::TwoPeaks, size: 64, reference: BanditReference::Uniform, seed: 0 }
    }
}

/// Any finite set of answers with rewards r and a reference π_ref: the smallest possible task. It has one state, in
/// which action i gives object i.
///
/// ```
/// use flowrl_lab::{Bandit, BanditOptions, BanditPreset, Target};
/// let bandit = Bandit::new(&[1.0, 0.0], &[0.5_f64.ln(), 0.5_f64.ln()])?;
/// let target = Target::plain(&bandit, 1.0)?;
/// assert!((target.log_probs[0].exp() - 1.0 / (1.0 + (-1.0_f64).exp())).abs() < 1e-12);
///
/// let plateau = Bandit::preset(BanditOptions { preset: BanditPreset::Plateau, ..BanditOptions::default() })?;
/// assert_eq!(Target::plain(&plateau, 15.0)?.modes.len(), 16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Bandit {
    rewards: Vec<f64>,
    ref_log_probs: Vec<f64>,
    is_mode: Vec<bool>,
}

impl Bandit {
    /// Creates a bandit from rewards and natural log-probabilities of the reference, one of each per answer. The
    /// modes are the answers with the largest reward, unless set by [`with_modes`](Self::with_modes).
    ///
    /// # Errors
    /// Returns an error if there is no answer or more than [`MAX_STATES`](crate::MAX_STATES), if the lists differ in
    /// length, if a value is not finite, or if the probabilities of the reference do not sum to 1 within 10⁻⁶ (a smaller
    /// difference is normalised away).
    pub fn new(rewards: &[f64], ref_log_probs: &[f64]) -> Result<Self, Error> {
        let size = rewards.len();
        power("objects", size, 1, "the number of answers")?;
        let log_mass = check_answers(rewards, ref_log_probs, size.max(1))?;
        let largest = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Ok(Self {
            rewards: rewards.to_vec(),
            ref_log_probs: ref_log_probs.iter().map(|l| l - log_mass).collect(),
            is_mode: rewards.iter().map(|&r| r == largest).collect(),
        })
    }

    /// Returns the bandit with these answers as its modes.
    ///
    /// # Errors
    /// Returns an error if a mode is not below the number of answers.
    pub fn with_modes(mut self, modes: &[usize]) -> Result<Self, Error> {
        self.is_mode.fill(false);
        for &mode in modes {
            ensure(mode < self.is_mode.len(), "modes", mode as f64, "below the number of answers")?;
            self.is_mode[mode] = true;
        }
        Ok(self)
    }

    /// Creates one of the presets. Its modes are the tops of the peaks for `two-peaks`, `four-peaks` and
    /// `deceptive` (only the narrow peak), the answers within a tenth of the largest reward for `ring`, and the
    /// answers with the largest reward for the others.
    ///
    /// # Errors
    /// Returns an error if the size is below 8 or above [`MAX_STATES`](crate::MAX_STATES).
    pub fn preset(options: BanditOptions) -> Result<Self, Error> {
        let BanditOptions { preset, size, reference, seed } = options;
        power("objects", size, 1, "the number of answers")?;
        ensure(size >= 8, "size", size as f64, "at least 8")?;
        let stream = Stream::new(seed, Purpose::Task);
        let at = |share: f64| libm::round(share * (size - 1) as f64) as usize;
        let hill = |i: usize, top: usize, width: f64| {
            let z = i.abs_diff(top) as f64 / (width * size as f64);
            libm::exp(-0.5 * z * z)
        };
        let peaks = |peaks: &[(f64, f64, f64)]| {
            let height =
                |i| peaks.iter().map(|&(top, height, width)| height * hill(i, at(top), width)).fold(0.0, f64::max);
            (0..size).map(height).collect::<Vec<f64>>()
        };
        let (rewards, modes) = match preset {
            BanditPreset::TwoPeaks => (peaks(&[(0.25, 1.0, 0.04), (0.75, 1.0, 0.04)]), vec![at(0.25), at(0.75)]),
            BanditPreset::FourPeaks => {
                let tops = [0.125, 0.375, 0.625, 0.875];
                let [a, b, c, d] = tops;
                (peaks(&[(a, 1.0, 0.03), (b, 0.9, 0.03), (c, 0.75, 0.03), (d, 0.5, 0.03)]), tops.map(at).to_vec())
            }
            BanditPreset::Needle => {
                let needle = stream.below(size as u64, 0, 0, 0) as usize;
                ((0..size).map(|i| f64::from(u8::from(i == needle))).collect(), vec![needle])
            }
            BanditPreset::Ring => {
                let rewards: Vec<f64> = (0..size).map(|i| ring(i, size)).collect();
                let most = rewards.iter().copied().fold(0.0, f64::max);
                let modes = (0..size).filter(|&i| rewards[i] >= 0.9 * most).collect();
                (rewards, modes)
            }
            BanditPreset::Plateau => {
                let (low, high) = (size * 3 / 8, size * 5 / 8);
                ((0..size).map(|i| f64::from(u8::from((low..high).contains(&i)))).collect(), (low..high).collect())
            }
            BanditPreset::Deceptive => (peaks(&[(0.3, 0.8, 0.15), (0.9, 1.0, 0.01)]), vec![at(0.9)]),
            BanditPreset::Random => {
                let rewards: Vec<f64> = (0..size).map(|i| stream.uniform(0, 0, i as u32)).collect();
                let best = (0..size).fold(0, |best, i| if rewards[i] > rewards[best] { i } else { best });
                (rewards, vec![best])
            }
        };
        let mut ref_log_probs = match reference {
            BanditReference::Uniform => vec![0.0; size],
            BanditReference::Random => (0..size).map(|i| stream.normal(1, 0, i as u32)).collect(),
        };
        let log_mass = log_sum_exp(&ref_log_probs);
        ref_log_probs.iter_mut().for_each(|l| *l -= log_mass);
        Self::new(&rewards, &ref_log_probs)?.with_modes(&modes)
    }

    /// Formats an answer for people.
    pub fn name(&self, answer: usize) -> String {
        answer.to_string()
    }

    /// Returns the reward r of every answer, (N).
    pub fn rewards(&self) -> &[f64] {
        &self.rewards
    }
}

/// Returns the reward of answer `i` of `ring`: a Gaussian around a circle of radius 0.6 in the square \[−1, 1\]².
fn ring(i: usize, size: usize) -> f64 {
    let side = libm::ceil(libm::sqrt(size as f64)) as usize;
    let place = |k: usize| 2.0 * k as f64 / (side - 1) as f64 - 1.0;
    let z = (libm::hypot(place(i / side), place(i % side)) - 0.6) / 0.12;
    libm::exp(-0.5 * z * z)
}

impl Environment for Bandit {
    fn states(&self) -> usize {
        1
    }

    fn objects(&self) -> usize {
        self.rewards.len()
    }

    fn actions(&self) -> usize {
        self.rewards.len()
    }

    fn max_length(&self) -> usize {
        1
    }

    fn step(&self, _state: usize, action: usize) -> Option<Outcome> {
        (action < self.rewards.len()).then_some(Outcome::Object(action))
    }

    fn reward(&self, object: usize) -> f64 {
        self.rewards[object]
    }

    fn is_mode(&self, object: usize) -> bool {
        self.is_mode[object]
    }

    fn log_reference(&self, _state: usize, action: usize) -> f64 {
        self.ref_log_probs[action]
    }

    fn features(&self) -> usize {
        1
    }

    fn describe(&self, _state: usize, ones: &mut Vec<u32>) {
        ones.push(0);
    }
}
