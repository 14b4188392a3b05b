//! Small policies on an [`Environment`]: a table, or a multilayer perceptron, with forward policy, backward policy and flows.

mod backward;
mod error;
mod memo;
mod mlp;
mod network;
mod path;
mod sample;
mod table;

use alloc::format;
use alloc::vec::Vec;

pub use error::PolicyError;
pub use mlp::{Mlp, MlpOptions};
pub use network::{Inputs, Network};
pub use table::Table;

use super::Environment;
use crate::Real;
use crate::backend::{CpuBackend, Sampler, check_len};
use crate::optim::AdamWStep;
use crate::parameter::{Parameter, STATE};
use crate::policy::{Completions, Graph, Model, Policy, SampleRequest, Sequences};
use crate::train::NamedState;
use backward::Scratch;
use memo::{Evaluator, Memo, NONE, Rows};
use path::{Path, check_prompts};

/// The backward policy P_B where a state has several parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Backward {
    /// Learned, from the same network as the forward policy.
    #[default]
    Learned,
    /// 1/parents.
    Uniform,
}

/// What a policy learns beside P_F.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct HeadOptions {
    /// P_B. Of no consequence on a tree, where it is 1.
    pub backward: Backward,
    /// The flow of every state, which sub-trajectory and detailed balance need.
    pub flows: bool,
}

/// The outputs of a network, and what an environment says of its states.
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

/// A policy over the trajectories of an environment, which are its completions; the only prompt is `[0]`.
///
/// A state is evaluated once per set of weights, whoever asks for it: the rows that sampling needs are there for the forward and
/// the backward pass. Small environments are evaluated whole. Either way every number has the same bits, as with any number of
/// threads.
///
/// ```
/// use flowrl_core::backend::{Backend, CpuBackend};
/// use flowrl_core::lab::{Hypergrid, HypergridReward, LabPolicy, HeadOptions, MlpOptions};
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
    /// The last forward pass, its log P_B or log π_ref, and its log-flows.
    last: Path,
    log_backward: Vec<T>,
    log_flows: Vec<T>,
    /// What [`Graph::set_gradient`] left for the next backward pass.
    d_log_backward: Option<Vec<T>>,
    d_log_flows: Option<Vec<T>>,
    /// Walks that are only scored.
    scored: Path,
    scratch: Scratch<T>,
}

impl<T: Real, E: Environment> LabPolicy<T, E, Mlp<T>> {
    /// A multilayer perceptron on the description of a state, drawn from `seed`.
    ///
    /// # Errors
    /// An option out of range, or an environment that breaks its contract.
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
    /// One logit for every state and action, all 0.
    ///
    /// # Errors
    /// An environment that breaks its contract.
    pub fn table(backend: CpuBackend<T>, environment: E, heads: HeadOptions) -> Result<Self, PolicyError> {
        Self::with(backend, environment, heads, |backend, _, outputs, states| Ok(Table::new(backend, states, outputs)?))
    }
}

impl<T: Real, E: Environment, N: Network<T>> LabPolicy<T, E, N> {
    /// Any network: `network` makes it from the backend, the length of a description, the number of outputs and of states.
    ///
    /// # Errors
    /// Those of `network`, or an environment that breaks its contract.
    pub fn with(
        backend: CpuBackend<T>,
        environment: E,
        options: HeadOptions,
        network: impl FnOnce(&CpuBackend<T>, usize, usize, usize) -> Result<N, PolicyError>,
    ) -> Result<Self, PolicyError> {
        let (states, actions) = (environment.states(), environment.actions());
        for (empty, rule) in [
            (states == 0 || actions == 0, "there must be a state and an action"),
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
            scratch: Scratch::new(),
        })
    }

    /// The environment.
    pub const fn environment(&self) -> &E {
        &self.environment
    }

    /// The network.
    pub const fn network(&self) -> &N {
        &self.network
    }

    /// Draw from (1 − ε)·P_F + ε·uniform over the legal actions. Scores stay those of P_F; the log-probabilities that come with
    /// samples are those of the mixture they were drawn from. Default 0.
    ///
    /// # Errors
    /// ε outside \[0, 1\].
    pub fn set_exploration(&mut self, epsilon: f64) -> Result<(), PolicyError> {
        if !(0.0..=1.0).contains(&epsilon) {
            return Err(PolicyError::Option { option: "exploration", got: epsilon, want: "at least 0 and at most 1" });
        }
        self.exploration = epsilon;
        Ok(())
    }

    /// The trained tensors.
    pub fn parameters(&self) -> &[Parameter<CpuBackend<T>>] {
        self.network.parameters()
    }

    /// The same, mutable; what was computed with the old weights is forgotten.
    pub fn parameters_mut(&mut self) -> &mut [Parameter<CpuBackend<T>>] {
        self.forget();
        self.network.parameters_mut()
    }

    /// Number of trained numbers.
    pub fn weights(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.len).sum()
    }

    /// log P_F of every state and action, (states, A), at temperature 1; −∞ where an action is illegal.
    ///
    /// # Errors
    /// An environment that breaks its contract.
    pub fn log_pf_table(&mut self) -> Result<Vec<T>, PolicyError> {
        self.table_of(|rows| &rows.log_forward)
    }

    /// log P_B of every state and parent, (states, parents); −∞ where there is no such parent.
    ///
    /// # Errors
    /// An environment that breaks its contract.
    pub fn log_pb_table(&mut self) -> Result<Vec<T>, PolicyError> {
        self.table_of(|rows| &rows.log_backward)
    }

    /// log F of every state, (states); empty where no flows are learned.
    ///
    /// # Errors
    /// An environment that breaks its contract.
    pub fn log_flow_table(&mut self) -> Result<Vec<T>, PolicyError> {
        self.table_of(|rows| &rows.log_flow)
    }

    /// In chunks, beside the memoised rows: those stay few.
    fn table_of(&self, column: impl Fn(&Rows<T>) -> &Vec<T>) -> Result<Vec<T>, PolicyError> {
        const CHUNK: usize = 2048;
        let states = self.environment.states();
        let (mut rows, mut logits, mut out) = (Rows::new(), Vec::new(), Vec::new());
        for start in (0..states).step_by(CHUNK) {
            rows.states.clear();
            rows.states.extend(start as u32..(start + CHUNK).min(states) as u32);
            rows.evaluate(&self.evaluator(), 1.0, &mut logits)?;
            out.extend_from_slice(column(&rows));
        }
        Ok(out)
    }

    /// Every number that a checkpoint needs, by name.
    ///
    /// # Errors
    /// Where the device failed.
    pub fn state(&self) -> Result<NamedState<T>, PolicyError> {
        let mut out = Vec::new();
        for parameter in self.parameters() {
            for (kind, values) in STATE.iter().zip(parameter.state(&self.backend)?) {
                out.push((format!("{}.{kind}", parameter.name), values));
            }
        }
        Ok(out)
    }

    /// Restores what [`LabPolicy::state`] gave; `get` finds values by name. Nothing changes where one is missing.
    ///
    /// # Errors
    /// [`PolicyError::State`] for a name that is missing or of a wrong length.
    pub fn restore(&mut self, mut get: impl FnMut(&str) -> Option<Vec<T>>) -> Result<(), PolicyError> {
        let mut all = Vec::new();
        for parameter in self.parameters() {
            for kind in STATE {
                let name = format!("{}.{kind}", parameter.name);
                let want = parameter.len;
                let found = get(&name).filter(|values| values.len() == want);
                all.push(found.ok_or(PolicyError::State { name, want })?);
            }
        }
        self.forget();
        for (parameter, values) in self.network.parameters_mut().iter_mut().zip(all.chunks_exact(STATE.len())) {
            parameter.restore(&self.backend, [&values[0], &values[1], &values[2]])?;
        }
        Ok(())
    }

    fn evaluator(&self) -> Evaluator<'_, T, E, N> {
        let Self { backend, environment, network, heads, .. } = self;
        Evaluator { backend, environment, network, heads: *heads }
    }

    /// The memo, and what fills it.
    fn parts(&mut self) -> (&mut Memo<T>, Evaluator<'_, T, E, N>) {
        let Self { backend, environment, network, heads, memo, .. } = self;
        (memo, Evaluator { backend, environment, network, heads: *heads })
    }

    /// The weights change: no row survives, and the last forward pass has no backward pass any more.
    fn forget(&mut self) {
        self.memo.clear();
        self.last.steps.clear();
        (self.d_log_backward, self.d_log_flows) = (None, None);
    }

    fn check_request(&self, max_tokens: usize, sampler: &Sampler) -> Result<(), PolicyError> {
        let Sampler { temperature, top_k, top_p } = *sampler;
        let want = self.environment.max_length();
        if max_tokens < want {
            return Err(PolicyError::MaxTokens { got: max_tokens, want });
        }
        check_temperature(temperature, temperature >= 0.0)?;
        if top_k != 0 {
            return Err(PolicyError::Option {
                option: "top_k",
                got: top_k as f64,
                want: "0: all legal actions are drawn from",
            });
        }
        if top_p != 1.0 {
            return Err(PolicyError::Option {
                option: "top_p",
                got: top_p,
                want: "1: all legal actions are drawn from",
            });
        }
        Ok(())
    }

    /// Log-probabilities and entropies along a path whose states have rows.
    fn read(&self, path: &Path, log_probs: &mut [T], entropies: &mut [T]) -> Result<(), PolicyError> {
        check_len("log_probs", log_probs.len(), path.steps.len())?;
        check_len("entropies", entropies.len(), path.steps.len())?;
        for ((step, log_prob), entropy) in path.steps.iter().zip(log_probs).zip(entropies) {
            let row = self.memo.row(step.state);
            *log_prob = self.memo.rows.log_forward[row * self.heads.actions + step.action as usize];
            *entropy = self.memo.rows.entropy[row];
        }
        Ok(())
    }

    /// Walks, and evaluates every state on the way.
    fn visit(&mut self, mut path: Path, sequences: &Sequences<'_>, temperature: f64) -> Result<Path, PolicyError> {
        check_temperature(temperature, temperature > 0.0)?;
        path.temperature = temperature;
        path.walk(&self.environment, sequences)?;
        let (memo, evaluator) = self.parts();
        memo.ensure(&evaluator, temperature, path.states())?;
        Ok(path)
    }

    /// log π_ref and the reference's entropy along a path.
    fn reference(&self, path: &Path, log_probs: &mut [T], entropies: &mut [T]) -> Result<(), PolicyError> {
        if self.heads.parents > 0 {
            return Err(PolicyError::NoReference);
        }
        check_len("log_probs", log_probs.len(), path.steps.len())?;
        check_len("entropies", entropies.len(), path.steps.len())?;
        for ((step, log_prob), entropy) in path.steps.iter().zip(log_probs).zip(entropies) {
            let state = step.state as usize;
            *log_prob = T::of(self.environment.log_reference(state, step.action as usize));
            let legal = (0..self.heads.actions).filter(|&a| self.environment.step(state, a).is_some());
            let term = |l: f64| if l > f64::NEG_INFINITY { -libm::exp(l) * l } else { 0.0 };
            *entropy = T::of(legal.map(|a| term(self.environment.log_reference(state, a))).sum());
        }
        Ok(())
    }
}

impl<T: Real, E: Environment, N: Network<T>> Policy for LabPolicy<T, E, N> {
    type Backend = CpuBackend<T>;
    type Error = PolicyError;

    fn backend(&self) -> &CpuBackend<T> {
        &self.backend
    }

    fn width(&self) -> usize {
        1
    }

    /// There is one prompt: 1.
    fn represent(&mut self, prompts: &[&[u32]], out: &mut Vec<T>) -> Result<(), PolicyError> {
        check_prompts(prompts)?;
        check_len("out", out.len(), prompts.len())?;
        out[..prompts.len()].fill(T::one());
        Ok(())
    }

    fn sample(&mut self, request: &SampleRequest<'_>) -> Result<Completions<T>, PolicyError> {
        self.draw(request)
    }

    fn score(
        &mut self,
        sequences: &Sequences<'_>,
        model: Model,
        temperature: f64,
        log_probs: &mut [T],
        entropies: &mut [T],
    ) -> Result<(), PolicyError> {
        let mut path = core::mem::take(&mut self.scored);
        if model == Model::Reference {
            path.walk(&self.environment, sequences)?;
            self.reference(&path, log_probs, entropies)?;
        } else {
            path = self.visit(path, sequences, temperature)?;
            self.read(&path, log_probs, entropies)?;
        }
        self.scored = path;
        Ok(())
    }

    fn forward(
        &mut self,
        sequences: &Sequences<'_>,
        temperature: f64,
        log_probs: &mut [T],
        entropies: &mut [T],
        representation: Option<&mut Vec<T>>,
    ) -> Result<(), PolicyError> {
        if let Some(out) = representation {
            self.represent(sequences.prompts, out)?;
        }
        (self.d_log_backward, self.d_log_flows) = (None, None);
        let path = core::mem::take(&mut self.last);
        let path = self.visit(path, sequences, temperature)?;
        self.read(&path, log_probs, entropies)?;
        let Self { environment, memo, heads, log_backward, log_flows, .. } = self;
        log_backward.clear();
        log_flows.clear();
        for step in &path.steps {
            log_backward.push(match step.parent {
                _ if heads.parents == 0 => T::of(environment.log_reference(step.state as usize, step.action as usize)),
                NONE => T::zero(),
                k => memo.rows.log_backward[memo.row(step.next) * heads.parents + k as usize],
            });
            if heads.flows {
                log_flows.push(memo.rows.log_flow[memo.row(step.state)]);
            }
        }
        self.last = path;
        Ok(())
    }

    /// The representation is a constant: its gradient goes nowhere.
    fn backward(&mut self, d_log_probs: &[T], _d_representation: Option<&Vec<T>>) -> Result<(), PolicyError> {
        self.propagate(d_log_probs)
    }

    fn graph(&mut self) -> Option<&mut dyn Graph<T>> {
        (self.heads.parents > 0 || self.heads.flows).then_some(self as &mut dyn Graph<T>)
    }

    fn grad_norm(&mut self) -> Result<f64, PolicyError> {
        let mut squares = 0.0;
        for parameter in self.network.parameters() {
            squares += parameter.grad_squares(&self.backend)?;
        }
        Ok(libm::sqrt(squares))
    }

    fn update(&mut self, step: &AdamWStep) -> Result<(), PolicyError> {
        self.forget();
        for parameter in self.network.parameters_mut() {
            parameter.adamw(&self.backend, step)?;
        }
        self.zero_grad()
    }

    fn zero_grad(&mut self) -> Result<(), PolicyError> {
        for parameter in self.network.parameters_mut() {
            parameter.zero_grad(&self.backend)?;
        }
        Ok(())
    }
}

impl<T: Real, E: Environment, N: Network<T>> Graph<T> for LabPolicy<T, E, N> {
    fn log_backward(&self) -> &[T] {
        &self.log_backward
    }

    fn log_flows(&self) -> Option<&[T]> {
        self.heads.flows.then_some(&self.log_flows)
    }

    fn set_gradient(&mut self, d_log_backward: &[T], d_log_flows: Option<&[T]>) {
        self.d_log_backward = Some(d_log_backward.to_vec());
        self.d_log_flows = d_log_flows.map(<[T]>::to_vec);
    }
}

fn check_temperature(got: f64, good: bool) -> Result<(), PolicyError> {
    if good && got.is_finite() {
        return Ok(());
    }
    Err(PolicyError::Option { option: "temperature", got, want: "a finite number above 0 (or 0 to sample greedily)" })
}
