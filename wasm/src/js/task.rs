//! Bindings of tasks and targets.

use std::rc::Rc;

use flowrl_core::{Real, exact};
use flowrl_lab::{
    Environment, Hypergrid, HypergridReward, Landscape, LandscapeOptions, LandscapePreset, Strings, StringsOptions,
    Target,
};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use crate::error::Error;
use crate::gradient::log_weights;
use crate::lane::Shared;

/// Smallest weight of an answer under the reference, relative to the largest. An answer that the reference excluded
/// could not be in the target.
const LEAST_SHARE: f64 = 1e-6;

/// A square of answers with rewards r and a reference policy π_ref. An answer is two tokens, its row and its column:
/// answer i has row ⌊i / side⌋ and column i mod side.
#[wasm_bindgen(js_name = Landscape)]
#[derive(Clone, Debug)]
pub struct JsLandscape {
    pub(crate) inner: Rc<Landscape>,
}

#[wasm_bindgen(js_class = Landscape)]
impl JsLandscape {
    /// Creates a ready-made landscape. `seed` determines its random parts.
    ///
    /// # Errors
    /// Throws if the name is unknown, or if the side is below 8 or too large.
    pub fn preset(
        #[wasm_bindgen(unchecked_param_type = "PresetName")] name: &str,
        side: usize,
        seed: u32,
    ) -> Result<Self, JsError> {
        let preset: LandscapePreset = name.parse().map_err(|_| Error::name("name", name, LandscapePreset::NAMES))?;
        let options = LandscapeOptions { preset, side, seed: u64::from(seed) };
        Ok(Self { inner: Rc::new(Landscape::preset(options).map_err(Error::from)?) })
    }

    /// Creates a landscape from rewards and weights of the reference, side·side each. The weights are normalised, after
    /// raising each to at least a millionth of the largest.
    ///
    /// # Errors
    /// Throws if a list has another length, if a number is not finite, if a weight is negative, or if no weight is
    /// above 0.
    pub fn of(side: usize, rewards: &[f64], reference: &[f64]) -> Result<Self, JsError> {
        Ok(Self { inner: Rc::new(landscape(side, rewards, reference)?) })
    }

    /// Number of rows and of columns.
    #[wasm_bindgen(getter)]
    pub fn side(&self) -> usize {
        self.inner.side()
    }

    /// Number of answers, side·side.
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> usize {
        self.inner.objects()
    }

    /// Returns a copy of the rewards r of all answers.
    pub fn rewards(&self) -> Vec<f64> {
        self.inner.rewards().to_vec()
    }

    /// Returns a copy of the probabilities π_ref of all answers.
    pub fn reference(&self) -> Vec<f64> {
        reference(&*self.inner)
    }

    /// Returns the answers that count as modes in ascending order: the tops of hills that reach at least half-way up.
    pub fn peaks(&self) -> Vec<u32> {
        self.inner.peaks().iter().map(|&peak| peak as u32).collect()
    }

    /// Computes the target π_ref·exp(βr)/Z.
    ///
    /// # Errors
    /// Throws if β is not finite.
    pub fn target(&self, beta: f64) -> Result<JsTarget, JsError> {
        JsTarget::new(Target::plain(&*self.inner as &dyn Environment, beta), Some(&self.inner))
    }

    /// Computes the distribution that the length-normalised loss converges to: π_ref·exp(|y|(βr − c)), here with |y| =
    /// 2.
    ///
    /// # Errors
    /// Throws if β is not finite.
    #[wasm_bindgen(js_name = normalisedTarget)]
    pub fn normalised_target(&self, beta: f64) -> Result<JsTarget, JsError> {
        JsTarget::new(Target::length_normalised(&*self.inner as &dyn Environment, beta), Some(&self.inner))
    }
}

pub(crate) fn landscape(side: usize, rewards: &[f64], weights: &[f64]) -> Result<Landscape, Error> {
    let answers = side.saturating_mul(side);
    let mut log_probs = log_weights("reference", weights, answers, LEAST_SHARE)?;
    let total = exact::log_sum_exp(&log_probs);
    log_probs.iter_mut().for_each(|l| *l -= total);
    Ok(Landscape::new(side, rewards, &log_probs)?)
}

fn rewards(environment: &dyn Environment) -> Vec<f64> {
    (0..environment.objects()).map(|x| environment.reward(x)).collect()
}

fn reference(environment: &dyn Environment) -> Vec<f64> {
    let mut log_probs = vec![0.0; environment.objects()];
    match flowrl_lab::reference(environment, &mut log_probs) {
        Ok(()) => log_probs.iter().map(|&l| Real::exp(l)).collect(),
        // There is no reference only if the graph is not a tree.
        Err(_) => log_probs,
    }
}

/// A distribution over the answers that is known exactly.
#[wasm_bindgen(js_name = Target)]
#[derive(Clone, Debug)]
pub struct JsTarget {
    probabilities: Vec<f64>,
    shares: Vec<f64>,
    /// log Z, or the constant c of a length-normalised target.
    #[wasm_bindgen(readonly, js_name = logZ)]
    pub log_z: f64,
    /// Entropy H in nats.
    #[wasm_bindgen(readonly)]
    pub entropy: f64,
    /// Expected reward E\[r\].
    #[wasm_bindgen(readonly, js_name = expectedReward)]
    pub expected_reward: f64,
    /// Expected number of tokens of an answer.
    #[wasm_bindgen(readonly, js_name = expectedLength)]
    pub expected_length: f64,
}

#[wasm_bindgen(js_class = Target)]
impl JsTarget {
    fn new(target: Result<Target, exact::Error>, landscape: Option<&Landscape>) -> Result<Self, JsError> {
        let target = target.map_err(Error::from)?;
        let own = target.measure(&target.log_probs).map_err(Error::from)?;
        let probabilities: Vec<f64> = target.log_probs.iter().map(|&l| Real::exp(l)).collect();
        let mut shares = vec![0.0; landscape.map_or(0, |landscape| landscape.peaks().len())];
        for (p, hill) in probabilities.iter().zip(landscape.iter().flat_map(|landscape| landscape.hills())) {
            hill.iter().for_each(|&hill| shares[hill] += p);
        }
        Ok(Self {
            probabilities,
            shares,
            log_z: target.log_z,
            entropy: own.entropy,
            expected_reward: own.expected_reward,
            expected_length: own.expected_length,
        })
    }

    /// Returns a copy of the probabilities of all answers.
    pub fn probabilities(&self) -> Vec<f64> {
        self.probabilities.clone()
    }

    /// Returns the probability of each peak's hill on a landscape, in the order of the peaks. The list is empty for
    /// other tasks.
    #[wasm_bindgen(js_name = peakShares)]
    pub fn peak_shares(&self) -> Vec<f64> {
        self.shares.clone()
    }

    /// exp(H), the number of equally likely answers with the same entropy.
    #[wasm_bindgen(getter)]
    pub fn effective(&self) -> f64 {
        Real::exp(self.entropy)
    }
}

/// Strings of at most `length` symbols, each ended by an end token. This is a language model small enough to be shown
/// completely. Node 0 is the empty string, and the children of node n are n·symbols + 1 and the following nodes. An
/// answer has the number of the node at which it ends.
#[wasm_bindgen(js_name = Tree)]
#[derive(Clone, Debug)]
pub struct JsTree {
    pub(crate) inner: Rc<Strings>,
    pub(crate) options: StringsOptions,
}

#[wasm_bindgen(js_class = Tree)]
impl JsTree {
    /// Creates a tree with a random reference and random best answers, which the seed determines.
    ///
    /// # Errors
    /// Throws if a number is out of range.
    #[wasm_bindgen(constructor)]
    pub fn new(length: usize, symbols: usize, modes: usize, seed: u32) -> Result<Self, JsError> {
        let options = StringsOptions { length, symbols, modes, seed: u64::from(seed) };
        Ok(Self { inner: Rc::new(Strings::new(options).map_err(Error::from)?), options })
    }

    /// Largest number of symbols in a string.
    #[wasm_bindgen(getter)]
    pub fn length(&self) -> usize {
        self.options.length
    }

    /// Number of symbols in the alphabet.
    #[wasm_bindgen(getter)]
    pub fn symbols(&self) -> usize {
        self.options.symbols
    }

    /// Number of nodes, which is also the number of answers.
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> usize {
        self.inner.objects()
    }

    /// Returns the string of a node, with letters for its symbols.
    pub fn text(&self, node: usize) -> String {
        self.inner.letters(node.min(self.inner.objects() - 1))
    }

    /// Returns the rewards r of all answers.
    pub fn rewards(&self) -> Vec<f64> {
        rewards(&*self.inner)
    }

    /// Returns the probabilities π_ref of all answers.
    pub fn reference(&self) -> Vec<f64> {
        reference(&*self.inner)
    }

    /// Returns the best answers.
    pub fn modes(&self) -> Vec<u32> {
        self.inner.modes().iter().map(|&mode| mode as u32).collect()
    }

    /// Computes the probability that a policy passes through each node, from its probabilities of the answers.
    ///
    /// # Errors
    /// Throws if there is not one probability for each answer.
    pub fn flow(&self, probabilities: &[f64]) -> Result<Vec<f64>, JsError> {
        let wanted = self.inner.objects();
        exact::check_len("probabilities", probabilities.len(), wanted).map_err(Error::from)?;
        let mut flow = probabilities.to_vec();
        for node in (1..wanted).rev() {
            flow[(node - 1) / self.options.symbols] += flow[node];
        }
        Ok(flow)
    }

    /// Computes the target π_ref·exp(βr)/Z.
    ///
    /// # Errors
    /// Throws if β is not finite.
    pub fn target(&self, beta: f64) -> Result<JsTarget, JsError> {
        JsTarget::new(Target::plain(&*self.inner as &dyn Environment, beta), None)
    }

    /// Computes the distribution that the length-normalised loss converges to: π_ref·exp(|y|(βr − c)).
    ///
    /// # Errors
    /// Throws if β is not finite.
    #[wasm_bindgen(js_name = normalisedTarget)]
    pub fn normalised_target(&self, beta: f64) -> Result<JsTarget, JsError> {
        JsTarget::new(Target::length_normalised(&*self.inner as &dyn Environment, beta), None)
    }
}

/// The grid of the GFlowNet benchmark in two dimensions. A trajectory starts in a corner, takes steps to the right and
/// down, and stops. Rewards are ln R, so β = 1 gives the usual target R/Z. Object i is in row ⌊i / side⌋.
#[wasm_bindgen(js_name = Hypergrid)]
#[derive(Clone, Debug)]
pub struct JsHypergrid {
    pub(crate) inner: Rc<Hypergrid>,
    reward: String,
}

#[wasm_bindgen(js_class = Hypergrid)]
impl JsHypergrid {
    /// Creates a grid of side·side points.
    ///
    /// # Errors
    /// Throws if the name is unknown or the side is out of range.
    #[wasm_bindgen(constructor)]
    pub fn new(
        side: usize,
        #[wasm_bindgen(unchecked_param_type = "HypergridReward")] reward: &str,
    ) -> Result<Self, JsError> {
        let families = HypergridReward::FAMILIES;
        let found = families.into_iter().find(|(name, _)| *name == reward);
        let (_, family) = found.ok_or_else(|| Error::name("reward", reward, &families.map(|(name, _)| name)))?;
        let inner = Rc::new(Hypergrid::new(side, 2, family).map_err(Error::from)?);
        Ok(Self { inner, reward: reward.to_owned() })
    }

    /// Number of rows and of columns.
    #[wasm_bindgen(getter)]
    pub fn side(&self) -> usize {
        self.inner.side()
    }

    /// Returns ln R of all points.
    pub fn rewards(&self) -> Vec<f64> {
        rewards(&*self.inner)
    }

    /// Returns the points with the highest reward.
    pub fn peaks(&self) -> Vec<u32> {
        (0..self.inner.objects()).filter(|&x| self.inner.is_mode(x)).map(|x| x as u32).collect()
    }

    /// Computes the target exp(βr)/Z.
    ///
    /// # Errors
    /// Throws if β is not finite.
    pub fn target(&self, beta: f64) -> Result<JsTarget, JsError> {
        JsTarget::new(Target::plain(&*self.inner as &dyn Environment, beta), None)
    }
}

/// A task for a race, which can also be described in a configuration file.
pub(crate) trait Task {
    fn shared(&self) -> Shared;
    /// Returns the content of `[task]`.
    fn section(&self) -> String;
}

impl Task for JsLandscape {
    fn shared(&self) -> Shared {
        self.inner.clone()
    }

    fn section(&self) -> String {
        let list = |numbers: &[f64]| {
            let shown: Vec<_> = numbers.iter().map(|number| format!("{number:?}")).collect();
            format!("[{}]", shown.join(", "))
        };
        let (side, rewards, weights) = (self.side(), list(self.inner.rewards()), list(&self.reference()));
        format!("kind = \"landscape\"\nside = {side}\nrewards = {rewards}\nreference_weights = {weights}")
    }
}

impl Task for JsTree {
    fn shared(&self) -> Shared {
        self.inner.clone()
    }

    fn section(&self) -> String {
        let StringsOptions { length, symbols, modes, seed } = self.options;
        format!("kind = \"tree\"\nlength = {length}\nsymbols = {symbols}\nmodes = {modes}\nseed = {seed}")
    }
}

impl Task for JsHypergrid {
    fn shared(&self) -> Shared {
        self.inner.clone()
    }

    fn section(&self) -> String {
        format!("kind = \"hypergrid\"\ndim = 2\nside = {}\nreward = \"{}\"", self.inner.side(), self.reward)
    }
}
