//! A square of answers with hills of reward. An answer takes two tokens, and every distribution over the square is a
//! picture.

mod hills;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::exact::log_sum_exp;
use flowrl_core::named_enum;
use flowrl_core::random::{Purpose, Stream};

use crate::error::{check_answers, check_len, ensure, power};
use crate::{Environment, Error, Outcome};

named_enum! {
    /// Rewards of a [`Landscape`], between 0 and 1. The reference is uniform unless the description says otherwise.
    pub enum LandscapePreset ("landscape preset") {
        FourPeaks = "four-peaks": "four hills of reward 1, 0.95, 0.9 and 0.85: a maximiser keeps one",
        TwoPeaks = "two-peaks": "two equal hills",
        Needle = "needle": "one answer, drawn by the seed, has reward 1 and every other 0",
        Ring = "ring": "reward is high on a circle",
        Banana = "banana": "reward is high on a bent strip",
        BroadAndSharp = "broad-and-sharp": "a broad hill of reward 0.8 and a sharp one of reward 1",
        Plateau = "plateau": "reward 1 in two squares and 0 elsewhere, like the verdict of a verifier",
        Deceptive = "deceptive": "reward rises slowly towards one corner, and steeply at the other, where it is higher",
        Random = "random": "six hills whose places, heights and widths the seed draws",
        BlindSpot = "blind-spot": "four-peaks, and a reference that gives the highest hill a ten-thousandth of its share",
    }
}

/// The options of a preset [`Landscape`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct LandscapeOptions {
    /// The rewards. Default four peaks.
    pub preset: LandscapePreset,
    /// Number of rows and of columns of the square. Default 16.
    pub side: usize,
    /// The presets `needle` and `random` depend on this seed.
    pub seed: u64,
}

impl Default for LandscapeOptions {
    fn default() -> Self {
        Self { preset: LandscapePreset::FourPeaks, side: 16, seed: 0 }
    }
}

/// A square of answers with any rewards r and any reference π_ref. An answer takes two tokens, first its row and then
/// its column: answer i is in row i / side and column i mod side.
///
/// Its modes are its [peaks](Landscape::peaks). Length normalisation divides by 2, and so has the effect of doubling β.
///
/// ```
/// use flowrl_lab::{Environment, Landscape, LandscapeOptions, Target};
/// let landscape = Landscape::preset(LandscapeOptions::default())?;
/// assert_eq!((landscape.objects(), landscape.peaks().len()), (256, 4));
/// let (plain, normalised) = (Target::plain(&landscape, 6.0)?, Target::length_normalised(&landscape, 3.0)?);
/// assert!(plain.log_probs.iter().zip(&normalised.log_probs).all(|(a, b)| (a - b).abs() < 1e-9));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Landscape {
    side: usize,
    rewards: Vec<f64>,
    /// (side) log π_ref(row); `columns` holds (side, side) log π_ref(column | row).
    rows: Vec<f64>,
    columns: Vec<f64>,
    peaks: Vec<usize>,
    hills: Vec<Option<usize>>,
}

impl Landscape {
    /// Creates a landscape from rewards and natural log-probabilities of the reference, (side, side) each.
    ///
    /// # Errors
    /// Returns an error if the side is below 2 or too large, if a list has another length, if a value is not finite, or
    /// if the probabilities of the reference do not sum to 1 within 10⁻⁶ (a smaller difference is normalised away).
    pub fn new(side: usize, rewards: &[f64], ref_log_probs: &[f64]) -> Result<Self, Error> {
        let answers = check_side(side)?;
        let log_mass = check_answers(rewards, ref_log_probs, answers)?;
        let mut columns = ref_log_probs.to_vec();
        let mut rows = Vec::with_capacity(side);
        for row in columns.chunks_exact_mut(side) {
            let log_row = log_sum_exp(row);
            row.iter_mut().for_each(|l| *l -= log_row);
            rows.push(log_row - log_mass);
        }
        let peaks = hills::peaks(side, rewards);
        let hills = hills::hills(side, rewards, &peaks);
        Ok(Self { side, rewards: rewards.to_vec(), rows, columns, peaks, hills })
    }

    /// Creates a landscape from rewards and weights of the reference, (side, side) each. π_ref of an answer is its
    /// share of the sum of all weights.
    ///
    /// # Errors
    /// Returns an error in the cases of [`new`](Self::new), or if a weight is not above 0 and finite.
    pub fn weighted(side: usize, rewards: &[f64], reference_weights: &[f64]) -> Result<Self, Error> {
        let answers = check_side(side)?;
        check_len("rewards", rewards.len(), answers)?;
        check_len("reference_weights", reference_weights.len(), answers)?;
        if let Some(index) = reference_weights.iter().position(|&w| !(w > 0.0 && w.is_finite())) {
            return Err(Error::Weight { argument: "reference_weights", index, got: reference_weights[index] });
        }
        let mut reference: Vec<f64> = reference_weights.iter().map(|&w| libm::log(w)).collect();
        let log_sum = log_sum_exp(&reference);
        reference.iter_mut().for_each(|l| *l -= log_sum);
        Self::new(side, rewards, &reference)
    }

    /// Creates one of the presets.
    ///
    /// # Errors
    /// Returns an error if the side is below 8 or too large.
    pub fn preset(options: LandscapeOptions) -> Result<Self, Error> {
        let LandscapeOptions { preset, side, seed } = options;
        let answers = check_side(side)?;
        ensure(side >= 8, "side", side as f64, "at least 8 for a preset")?;
        let stream = Stream::new(seed, Purpose::Task);
        // Each place in the unit square is the middle of a cell.
        let place = |i: usize| {
            let at = |k: usize| (k as f64 + 0.5) / side as f64;
            [at(i / side), at(i % side)]
        };
        let draw = |reward: &dyn Fn(usize) -> f64| (0..answers).map(reward).collect::<Vec<f64>>();
        let four = [([0.25, 0.25], 1.0), ([0.25, 0.75], 0.95), ([0.75, 0.25], 0.9), ([0.75, 0.75], 0.85)];
        let four: Vec<_> = four.map(|(top, height)| Hill { top, height, width: 0.1 }).into();
        let rewards = match preset {
            LandscapePreset::FourPeaks | LandscapePreset::BlindSpot => draw(&|i| highest(&four, side, place(i))),
            LandscapePreset::TwoPeaks => {
                let hill = |top| Hill { top, height: 1.0, width: 0.1 };
                let two = [hill([0.5, 0.22]), hill([0.5, 0.78])];
                draw(&|i| highest(&two, side, place(i)))
            }
            LandscapePreset::Needle => {
                let needle = stream.below(answers as u64, 0, 0, 0) as usize;
                draw(&|i| f64::from(u8::from(i == needle)))
            }
            LandscapePreset::Ring => draw(&|i| {
                let [y, x] = place(i);
                gauss((libm::hypot(y - 0.5, x - 0.5) - 0.32) / 0.07)
            }),
            LandscapePreset::Banana => draw(&|i| {
                let [y, x] = place(i).map(|k| 2.0 * k - 1.0);
                gauss((y - 1.1 * x * x + 0.45) / 0.16) * gauss(x / 0.75)
            }),
            LandscapePreset::BroadAndSharp => {
                let broad = Hill { top: [0.35, 0.35], height: 0.8, width: 0.2 };
                let sharp = Hill { top: [0.8, 0.8], height: 1.0, width: 0.035 };
                draw(&|i| highest(&[broad, sharp], side, place(i)))
            }
            LandscapePreset::Plateau => draw(&|i| {
                let inside = |top: [f64; 2]| place(i).iter().zip(top).all(|(k, top)| (k - top).abs() < 0.125);
                f64::from(u8::from(inside([0.3125, 0.3125]) || inside([0.6875, 0.6875])))
            }),
            LandscapePreset::Deceptive => {
                let sharp = Hill { top: [0.9, 0.9], height: 1.0, width: 0.05 };
                draw(&|i| {
                    let [y, x] = place(i);
                    highest(&[sharp], side, [y, x]).max(0.7 * (1.0 - 0.5 * (y + x)))
                })
            }
            LandscapePreset::Random => {
                let hills: Vec<Hill> = (0..6)
                    .map(|h| {
                        let u = |k| stream.uniform(0, h, k);
                        let (height, width) = (0.5 + 0.5 * u(2), 0.05 + 0.08 * u(3));
                        Hill { top: [0.08 + 0.84 * u(0), 0.08 + 0.84 * u(1)], height, width }
                    })
                    .collect();
                draw(&|i| highest(&hills, side, place(i)))
            }
        };
        let mut reference = vec![-libm::log(answers as f64); answers];
        if preset == LandscapePreset::BlindSpot {
            let blind = |i: usize| {
                let [y, x] = place(i);
                y < 0.5 && x < 0.5
            };
            reference = draw(&|i| if blind(i) { libm::log(1e-4) } else { 0.0 });
            let log_mass = log_sum_exp(&reference);
            reference.iter_mut().for_each(|l| *l -= log_mass);
        }
        Self::new(side, &rewards, &reference)
    }

    /// Returns the number of rows and of columns of the square.
    pub const fn side(&self) -> usize {
        self.side
    }

    /// Formats an answer for people, as `(row, column)`.
    pub fn name(&self, answer: usize) -> String {
        format!("({}, {})", answer / self.side, answer % self.side)
    }

    /// Returns the reward r of every answer, (side, side).
    pub fn rewards(&self) -> &[f64] {
        &self.rewards
    }

    /// Returns the answers that count as modes, in ascending order: the tops of hills that reach at least half-way from
    /// the lowest reward to the highest. The top of a flat hill is the answer closest to its middle.
    pub fn peaks(&self) -> &[usize] {
        &self.peaks
    }

    /// Returns the hill of every answer, (side, side): the index in [`peaks`](Self::peaks) of the peak reached by
    /// repeated steps to the best of the eight neighbours, or `None` for an answer with less than half of that peak's
    /// reward.
    pub fn hills(&self) -> &[Option<usize>] {
        &self.hills
    }
}

#[derive(Clone, Copy)]
struct Hill {
    top: [f64; 2],
    height: f64,
    width: f64,
}

fn gauss(z: f64) -> f64 {
    libm::exp(-0.5 * z * z)
}

/// Returns the height of the highest of some hills at a place. Tops are moved to the middle of the nearest cell.
fn highest(hills: &[Hill], side: usize, place: [f64; 2]) -> f64 {
    let middle = |k: f64| (libm::floor(k * side as f64).min(side as f64 - 1.0) + 0.5) / side as f64;
    let height = |hill: &Hill| {
        let [y, x] = hill.top.map(middle);
        hill.height * gauss(libm::hypot(place[0] - y, place[1] - x) / hill.width)
    };
    hills.iter().map(height).fold(0.0, f64::max)
}

fn check_side(side: usize) -> Result<usize, Error> {
    ensure(side >= 2, "side", side as f64, "at least 2")?;
    power("objects", side, 2, "`side`")
}

impl Environment for Landscape {
    fn states(&self) -> usize {
        1 + self.side
    }

    fn objects(&self) -> usize {
        self.rewards.len()
    }

    fn actions(&self) -> usize {
        self.side
    }

    fn max_length(&self) -> usize {
        2
    }

    fn step(&self, state: usize, action: usize) -> Option<Outcome> {
        let legal = action < self.side;
        legal.then(|| match state.checked_sub(1) {
            None => Outcome::State(1 + action),
            Some(row) => Outcome::Object(row * self.side + action),
        })
    }

    fn reward(&self, object: usize) -> f64 {
        self.rewards[object]
    }

    fn is_mode(&self, object: usize) -> bool {
        self.peaks.binary_search(&object).is_ok()
    }

    fn log_reference(&self, state: usize, action: usize) -> f64 {
        match state.checked_sub(1) {
            None => self.rows[action],
            Some(row) => self.columns[row * self.side + action],
        }
    }

    /// One for the empty answer, and one per row.
    fn features(&self) -> usize {
        1 + self.side
    }

    fn describe(&self, state: usize, ones: &mut Vec<u32>) {
        ones.push(state as u32);
    }
}
