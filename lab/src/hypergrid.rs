//! The hypergrid, the benchmark of the GFlowNet papers (Bengio and others, *Flow network based generative models*,
//! 2021).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::error::{ensure, power};
use super::{Environment, Error, Outcome};

/// The terms R0, R1 and R2 of the reward of a hypergrid: R = R0 + R1·\[every coordinate outer\] + R2·\[every
/// coordinate in a band\], see [`Hypergrid`].
///
/// A file spells it `"easy"`, `"hard"`, `"torchgfn"` or `{ r0 = 0.1, r1 = 0.5, r2 = 2.0 }`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(
        rename_all = "lowercase",
        deny_unknown_fields,
        expecting = "expected \"easy\", \"hard\", \"torchgfn\" or { r0 = …, r1 = …, r2 = … }"
    )
)]
pub enum HypergridReward {
    /// (10⁻³, 0.5, 2), the default.
    #[default]
    Easy,
    /// (10⁻⁴, 1, 3): less reward between the modes.
    Hard,
    /// (0.1, 0.5, 2), the rewards behind the golden values of torchgfn.
    TorchGfn,
    /// Any other rewards.
    #[cfg_attr(feature = "serde", serde(untagged))]
    Custom {
        /// R0 > 0, the reward of every object.
        r0: f64,
        /// R1 ≥ 0, added if every coordinate is in the outer half.
        r1: f64,
        /// R2 ≥ 0, added if every coordinate is in a band.
        r2: f64,
    },
}

impl HypergridReward {
    /// The rewards that have a name, with the name that a file gives them.
    pub const FAMILIES: [(&'static str, Self); 3] =
        [("easy", Self::Easy), ("hard", Self::Hard), ("torchgfn", Self::TorchGfn)];

    /// Returns \[R0, R1, R2\].
    pub const fn levels(self) -> [f64; 3] {
        match self {
            Self::Easy => [1e-3, 0.5, 2.0],
            Self::Hard => [1e-4, 1.0, 3.0],
            Self::TorchGfn => [0.1, 0.5, 2.0],
            Self::Custom { r0, r1, r2 } => [r0, r1, r2],
        }
    }
}

/// The options of [`Hypergrid`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct HypergridOptions {
    /// Number of points in each dimension, H. Default 8.
    pub side: usize,
    /// Number of dimensions, D. Default 2.
    pub dim: usize,
    /// The rewards R0, R1 and R2. Default easy.
    pub reward: HypergridReward,
}

impl Default for HypergridOptions {
    fn default() -> Self {
        Self { side: 8, dim: 2, reward: HypergridReward::Easy }
    }
}

/// The grid {0..H−1}^D. A trajectory starts at the origin; action i < D adds 1 in dimension i, and action D stops,
/// with the current point as the object. Many trajectories give the same object, so the graph is not a tree, and
/// P_B is learned or uniform over the parents.
///
/// The state with coordinates k has the number Σ kᵢ·H^(D−1−i), as does its object. r = ln R, so β = 1 gives the
/// target R/Z.
///
/// With u = |2k − (H−1)|, a coordinate k is *outer* if 2u > H−1, and in a *band* if 6(H−1) < 10u < 8(H−1). This is
/// integer arithmetic because the edges of the bands fall on grid points for H = 6, 11, 16, 21 …, and in floating
/// point the rounding error would decide. An object is a mode if every coordinate is in a band; a grid may have
/// none (H = 6).
///
/// ```
/// use flowrl_lab::{Environment, Hypergrid, HypergridReward, Outcome};
/// let grid = Hypergrid::new(8, 2, HypergridReward::Easy)?;
/// assert_eq!(grid.step(0, 0), Some(Outcome::State(8))); // (0, 0) → (1, 0)
/// assert_eq!(grid.step(8, 2), Some(Outcome::Object(8)));
/// assert_eq!((0..grid.objects()).filter(|&x| grid.is_mode(x)).count(), 4);
/// assert_eq!(grid.reward(grid.index(&[1, 6]).expect("on the grid")), 2.501_f64.ln());
/// # Ok::<(), flowrl_lab::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Hypergrid {
    side: usize,
    /// H^(D−1−i) for each dimension i.
    strides: Vec<usize>,
    states: usize,
    /// Level of each coordinate k: 2 if it is in a band (and so outer), 1 if it is only outer, otherwise 0.
    level: Vec<usize>,
    /// ln R of an object of each level. Its level is the lowest of its coordinates' levels.
    log_rewards: [f64; 3],
}

impl Hypergrid {
    /// Creates a grid of `dim` dimensions with `side` points in each.
    ///
    /// # Errors
    /// Returns an error if `side` is below 2, `dim` is 0, there are more than [`MAX_STATES`](super::MAX_STATES)
    /// states, R0 is not above 0, R1 or R2 is below 0, or their sum is not finite.
    pub fn new(side: usize, dim: usize, reward: HypergridReward) -> Result<Self, Error> {
        ensure(side >= 2, "side", side as f64, "at least 2")?;
        ensure(dim >= 1, "dim", dim as f64, "at least 1")?;
        let states = power("states", side, dim, "`side` or `dim`")?;
        let [r0, r1, r2] = reward.levels();
        ensure(r0 > 0.0 && r0.is_finite(), "reward.r0", r0, "finite and above 0")?;
        for (option, r) in [("reward.r1", r1), ("reward.r2", r2)] {
            ensure(r >= 0.0 && (r0 + r1 + r).is_finite(), option, r, "at least 0, and the sum of all finite")?;
        }
        let n = side - 1;
        let level = |k: usize| {
            let u = (2 * k).abs_diff(n);
            let (outer, band) = (2 * u > n, 10 * u > 6 * n && 10 * u < 8 * n);
            usize::from(outer) + usize::from(band)
        };
        Ok(Self {
            side,
            strides: (0..dim as u32).rev().map(|i| side.pow(i)).collect(),
            states,
            level: (0..side).map(level).collect(),
            log_rewards: [r0, r0 + r1, r0 + r1 + r2].map(libm::log),
        })
    }

    /// Creates the grid from options, with the errors of [`Hypergrid::new`].
    pub fn from_options(options: HypergridOptions) -> Result<Self, Error> {
        Self::new(options.side, options.dim, options.reward)
    }

    /// Returns the number H of points in each dimension.
    pub const fn side(&self) -> usize {
        self.side
    }

    /// Returns the number D of dimensions.
    pub fn dim(&self) -> usize {
        self.strides.len()
    }

    /// Returns the D coordinates of a state or object.
    pub fn coordinates(&self, state: usize) -> impl Iterator<Item = usize> {
        self.strides.iter().map(move |stride| state / stride % self.side)
    }

    /// Returns the number of the state and object at these coordinates, or `None` if they are not on the grid.
    pub fn index(&self, coordinates: &[usize]) -> Option<usize> {
        let on_grid = coordinates.len() == self.dim() && coordinates.iter().all(|&k| k < self.side);
        on_grid.then(|| coordinates.iter().fold(0, |index, k| index * self.side + k))
    }

    /// Formats an object for people, as its coordinates in parentheses.
    pub fn name(&self, object: usize) -> String {
        let coordinates: Vec<String> = self.coordinates(object).map(|k| k.to_string()).collect();
        format!("({})", coordinates.join(", "))
    }

    fn level(&self, object: usize) -> usize {
        self.coordinates(object).map(|k| self.level[k]).min().unwrap_or(0)
    }
}

impl Environment for Hypergrid {
    fn states(&self) -> usize {
        self.states
    }

    fn objects(&self) -> usize {
        self.states
    }

    fn actions(&self) -> usize {
        self.dim() + 1
    }

    fn max_length(&self) -> usize {
        self.dim() * (self.side - 1) + 1
    }

    fn step(&self, state: usize, action: usize) -> Option<Outcome> {
        match self.strides.get(action) {
            Some(stride) => (state / stride % self.side + 1 < self.side).then_some(Outcome::State(state + stride)),
            None => (action == self.dim()).then_some(Outcome::Object(state)),
        }
    }

    fn reward(&self, object: usize) -> f64 {
        self.log_rewards[self.level(object)]
    }

    fn is_mode(&self, object: usize) -> bool {
        self.level(object) == 2
    }

    /// Returns the log-probability of a uniform policy over the legal actions.
    fn log_reference(&self, state: usize, _action: usize) -> f64 {
        let steps = self.coordinates(state).filter(|k| k + 1 < self.side).count();
        -libm::log((steps + 1) as f64)
    }

    fn parents(&self) -> usize {
        self.dim()
    }

    fn parent(&self, state: usize, k: usize) -> Option<(usize, usize)> {
        let stride = self.strides.get(k)?;
        let coordinate = state / stride % self.side;
        (coordinate > 0).then(|| (state - stride, k))
    }

    fn features(&self) -> usize {
        self.dim() * self.side
    }

    fn describe(&self, state: usize, ones: &mut Vec<u32>) {
        ones.extend(self.coordinates(state).enumerate().map(|(i, k)| (i * self.side + k) as u32));
    }
}
