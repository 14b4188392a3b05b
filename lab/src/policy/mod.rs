//! Small policies on an [`Environment`]: a table or a multilayer perceptron, with forward policy, backward policy and
//! flows.

mod backward;
mod chain;
mod error;
mod memo;
mod mlp;
mod network;
mod path;
mod sample;
mod state;
mod table;

use alloc::vec::Vec;

pub use error::PolicyError;
pub use mlp::{Mlp, MlpOptions};
pub use network::{Inputs, Network};
pub use table::Table;

use super::Environment;
use super::error::ensure;
use backward::Scratch;
use flowrl_core::Real;
use flowrl_core::backend::CpuBackend;
use flowrl_core::parameter::Parameter;
use memo::{Evaluator, Memo, NONE};
use path::Path;

/// The backward policy P_B, used if a state has several parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Backward {
    /// Learned, by the network that also gives the forward policy.
    #[default]
    Learned,
    /// Uniform over the parents of a state.
    Uniform,
}

/// The quantities that a policy learns in addition to P_F.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct HeadOptions {
    /// The backward policy P_B. It has no effect on a tree, where P_B is 1.
    pub backward: Backward,
    /// Whether to learn the flow of every state, which sub-trajectory and detailed balance need.
    pub flows: bool,
}

/// The sizes of a network's outputs and of its inputs.
#[derive(Clone, Copy, Debug)]
struct Heads {
    actions: usize,
    parents: usize,
    backward: Backward,
    flows: bool,
    features: usize,
    ones: usize,
}

impl Heads {
    fn outputs(&self) -> usize {
        let parents = if self.backward == Backward::Learned { self.parents } else { 0 };
        self.actions + parents + usize::from(self.flows)
    }
}

/// A policy over the trajectories of an environment. A trajectory is a completion, and `[0]` is the only prompt.
///
/// Each state is evaluated at most once per set of weights: the rows computed while sampling serve the forward and the
/// backward pass too. Small environments are evaluated as a whole. Neither this nor the number of threads changes a bit
/// of any result.
///
/// ```
/// use flowrl_core::backend::{Backend, CpuBackend};
/// use flowrl_lab::{Hypergrid, HypergridReward, LabPolicy, HeadOptions, MlpOptions};
/// let grid = Hypergrid::new(8, 2, HypergridReward::TorchGfn)?;
/// let mlp = MlpOptions { width: 256, layers: 2 };
/// let mut policy = LabPolicy::mlp(CpuBackend::<f32>::reference(), grid, mlp, HeadOptions::default(), 7)?;
/// assert_eq!(policy.weights(), 71_429);
/// assert_eq!(policy.log_pf_table()?.len(), 64 * 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LabPolicy<T: Real, E, N> {
    backend: CpuBackend<T>,
    environment: E,
    network: N,
    heads: Heads,
    exploration: f64,
    memo: Memo<T>,
    /// The paths of the last forward pass. `log_backward` holds its log P_B, or log π_ref on a tree.
    last: Path,
    log_backward: Vec<T>,
    log_flows: Vec<T>,
    /// Gradients that [`Graph::set_gradient`] left for the next backward pass.
    d_log_backward: Option<Vec<T>>,
    d_log_flows: Option<Vec<T>>,
    /// The paths of the last call of `score`, kept for their allocation.
    scored: Path,
    scratch: Scratch<T>,
}

impl<T: Real, E: Environment> LabPolicy<T, E, Mlp<T>> {
    /// Creates a policy with a multilayer perceptron on the description of a state, with weights drawn from `seed`.
    ///
    /// # Errors
    /// Returns an error if an option is out of range or the environment breaks its contract.
    pub fn mlp(
        backend: CpuBackend<T>,
        environment: E,
        options: MlpOptions,
        heads: HeadOptions,
        seed: u64,
    ) -> Result<Self, PolicyError> {
        Self::with(backend, environment, heads, |backend, features, outputs, _| {
            Mlp::new(backend, features, outputs, options, seed)
        })
    }
}

impl<T: Real, E: Environment> LabPolicy<T, E, Table<T>> {
    /// Creates a policy with one logit per state and output, all 0.
    ///
    /// # Errors
    /// Returns an error if the environment breaks its contract.
    pub fn table(backend: CpuBackend<T>, environment: E, heads: HeadOptions) -> Result<Self, PolicyError> {
        Self::with(backend, environment, heads, |backend, _, outputs, states| Ok(Table::new(backend, states, outputs)?))
    }
}

impl<T: Real, E: Environment, N: Network<T>> LabPolicy<T, E, N> {
    /// Creates a policy with any network. The function `network` creates it from the backend, the length of a
    /// description, the number of outputs and the number of states.
    ///
    /// # Errors
    /// Returns the errors of `network`, or an error if the environment breaks its contract.
    pub fn with(
        backend: CpuBackend<T>,
        environment: E,
        options: HeadOptions,
        network: impl FnOnce(&CpuBackend<T>, usize, usize, usize) -> Result<N, PolicyError>,
    ) -> Result<Self, PolicyError> {
        let (states, actions) = (environment.states(), environment.actions());
        for (empty, rule) in [
            (states == 0 || actions == 0, "there must be at least one state and one action"),
            (states >= NONE as usize, "states must be fewer than 2^32 - 1"),
            (environment.max_length() == 0, "`max_length()` must be at least 1"),
        ] {
            if empty {
                return Err(PolicyError::Environment { state: 0, rule });
            }
        }
        let mut ones = Vec::new();
        environment.describe(0, &mut ones);
        let heads = Heads {
            actions,
            parents: environment.parents(),
            backward: options.backward,
            flows: options.flows,
            features: environment.features(),
            ones: ones.len(),
        };
        let network = network(&backend, heads.features, heads.outputs(), states)?;
        Ok(Self {
            backend,
            environment,
            network,
            heads,
            exploration: 0.0,
            memo: Memo::new(states),
            last: Path::default(),
            log_backward: Vec::new(),
            log_flows: Vec::new(),
            d_log_backward: None,
            d_log_flows: None,
            scored: Path::default(),
            scratch: Scratch::default(),
        })
    }

    /// Returns the environment.
    pub const fn environment(&self) -> &E {
        &self.environment
    }

    /// Returns the network.
    pub const fn network(&self) -> &N {
        &self.network
    }

    /// Sets ε, so that samples are drawn from (1 − ε)·P_F + ε·uniform over the legal actions. Scores remain those of
    /// P_F, but the log-probabilities returned with samples are those of the mixture. Default 0.
    ///
    /// # Errors
    /// Returns an error if ε is outside \[0, 1\].
    pub fn set_exploration(&mut self, epsilon: f64) -> Result<(), PolicyError> {
        ensure((0.0..=1.0).contains(&epsilon), "exploration", epsilon, "at least 0 and at most 1")?;
        self.exploration = epsilon;
        Ok(())
    }

    /// Returns the trained tensors.
    pub fn parameters(&self) -> &[Parameter<CpuBackend<T>>] {
        self.network.parameters()
    }

    /// Returns mutable access to the trained tensors, and discards all results of the old weights.
    pub fn parameters_mut(&mut self) -> &mut [Parameter<CpuBackend<T>>] {
        self.forget();
        self.network.parameters_mut()
    }

    /// Returns the number of trained weights.
    pub fn weights(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.len).sum()
    }

    /// Returns the memo and the evaluator that fills it.
    fn parts(&mut self) -> (&mut Memo<T>, Evaluator<'_, T, E, N>) {
        let Self { backend, environment, network, heads, memo, .. } = self;
        (memo, Evaluator { backend, environment, network, heads: *heads })
    }

    /// Discards all results of the old weights. After this, a backward pass needs a new forward pass.
    fn forget(&mut self) {
        self.memo.clear();
        self.last.steps.clear();
        (self.d_log_backward, self.d_log_flows) = (None, None);
    }
}
