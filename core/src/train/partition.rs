//! The learned log Z(x) or V(x): a network, one number, one number for each prompt, or constants that are given.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::{PromptOrder, TrainOptions};
use crate::Real;
use crate::backend::Backend;
use crate::kernel::optim::adamw;
use crate::objective::{Error, LogZ, Objective};
use crate::optim::{AdamWStep, clip_scale};
use crate::parameter::{self, NamedState};
use crate::partition::PartitionNetwork;

/// A learned log Z(x) or V(x), if the objective has one.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogZModel<B: Backend> {
    /// No model: the objective estimates log Z from the group, or has no log Z.
    None,
    /// The partition network.
    Network(PartitionNetwork<B>),
    /// The same network for a value V(x). Its gradient never enters the policy.
    Value(PartitionNetwork<B>),
    /// One number for all prompts.
    Scalar {
        /// log Z, its gradient, and AdamW's two moments.
        state: [f64; 4],
    },
    /// One number for each prompt, addressed by its number in the task.
    Table {
        /// log Z of a prompt that was not seen yet: 0, or β/2 if prompts are drawn by their pass rates, which is a pass
        /// rate of ½.
        initial: f64,
        /// log Z, its gradient, AdamW's two moments, and the number of updates that the prompt took part in, which is
        /// the time of its AdamW.
        state: Vec<[f64; 5]>,
        /// The prompts that have a gradient, in any order.
        touched: Vec<usize>,
    },
    /// A constant for each prompt, addressed by its number in the task. The trainer starts with an empty list, which
    /// the caller fills in.
    Frozen(Vec<f64>),
}

/// Applies one AdamW step to one number and sets its gradient to 0. Everything is rounded to the precision of a
/// checkpoint, so that a resumed run continues bit for bit.
fn update_number<T: Real>([value, grad, m, v]: [&mut f64; 4], step: &AdamWStep) {
    let (p, g) = (core::slice::from_mut(value), core::slice::from_ref(grad));
    adamw(p, g, core::slice::from_mut(m), core::slice::from_mut(v), step);
    *grad = 0.0;
    for x in [value, m, v] {
        *x = T::of(*x).f64();
    }
}

impl<B: Backend> LogZModel<B> {
    pub(super) fn new(
        backend: &B,
        width: usize,
        objective: &Objective,
        options: &TrainOptions,
    ) -> Result<Self, B::Error> {
        let network = |name| PartitionNetwork::new(backend, name, width, options.partition, options.seed);
        Ok(match objective.log_z() {
            Some(LogZ::Network) => Self::Network(network("log_z")?),
            Some(LogZ::Scalar) => Self::Scalar { state: [0.0; 4] },
            Some(LogZ::Table) => {
                let by_pass_rate = options.prompt_order == PromptOrder::PassRate;
                let initial = objective.beta().filter(|_| by_pass_rate).map_or(0.0, |beta| beta / 2.0);
                Self::Table { initial, state: Vec::new(), touched: Vec::new() }
            }
            Some(LogZ::Frozen) => Self::Frozen(Vec::new()),
            _ if objective.needs_value() => Self::Value(network("value")?),
            _ => Self::None,
        })
    }

    /// Returns the network, if this model has one.
    pub(super) const fn network(&mut self) -> Option<&mut PartitionNetwork<B>> {
        match self {
            Self::Network(network) | Self::Value(network) => Some(network),
            _ => None,
        }
    }

    pub(super) fn grad_norm(&self, backend: &B) -> Result<Option<f64>, B::Error> {
        Ok(match self {
            Self::None | Self::Frozen(_) => None,
            Self::Network(network) | Self::Value(network) => Some(parameter::grad_norm(backend, network.parameters())?),
            Self::Scalar { state } => Some(state[1].abs()),
            Self::Table { state, .. } => Some(Real::sqrt(state.iter().map(|[_, grad, ..]| grad * grad).sum::<f64>())),
        })
    }

    /// Returns log Z of the prompt with this number in the task, if this model has one for it.
    fn of_prompt(&self, prompt: usize) -> Option<f64> {
        match self {
            Self::Table { state, .. } => state.get(prompt).map(|[log_z, ..]| *log_z),
            Self::Frozen(log_z) => log_z.get(prompt).copied(),
            _ => None,
        }
    }

    /// Returns log Z of the prompts with these numbers in the task, if this model has a number for each prompt.
    pub(super) fn of_prompts(&self, prompts: &[usize]) -> Result<Option<Vec<f64>>, Error> {
        let because = "`log_z = \"frozen\"` needs the log Z of every prompt: `LogZModel::Frozen` takes them";
        let unseen = match self {
            Self::Table { initial, .. } => Ok(*initial),
            Self::Frozen(_) => Err(Error::Missing { argument: "log_z", sequence: None, because }),
            _ => return Ok(None),
        };
        prompts
            .iter()
            .map(|&p| self.of_prompt(p).map_or_else(|| unseen.clone(), Ok))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Returns the pass rates of the first `count` prompts, as log Z tells them: log Z/β, cut to 0…1, and ½ for a prompt
    /// that it does not know.
    pub(super) fn pass_rates(&self, count: usize, beta: f64) -> impl Iterator<Item = f64> {
        (0..count).map(move |prompt| self.of_prompt(prompt).map_or(0.5, |log_z| (log_z / beta).clamp(0.0, 1.0)))
    }

    /// Adds to the gradients, if this model is a table.
    pub(super) fn add_gradients(&mut self, gradients: impl IntoIterator<Item = (usize, f64)>) {
        let Self::Table { initial, state, touched } = self else { return };
        for (prompt, gradient) in gradients {
            if prompt >= state.len() {
                state.resize(prompt + 1, [*initial, 0.0, 0.0, 0.0, 0.0]);
            }
            state[prompt][1] += gradient;
            if !touched.contains(&prompt) {
                touched.push(prompt);
            }
        }
    }

    /// Applies one AdamW step and sets the gradient to 0.
    pub(super) fn update(&mut self, backend: &B, norm: f64, options: &TrainOptions, time: u64) -> Result<(), B::Error> {
        let scale = clip_scale(norm, options.clip_norm);
        let at = |time| options.log_z_optimizer.step(options.log_z_learning_rate, time, scale);
        let step = at(time);
        match self {
            Self::None | Self::Frozen(_) => {}
            Self::Network(network) | Self::Value(network) => {
                parameter::update(backend, network.parameters_mut(), &step)?
            }
            Self::Scalar { state } => update_number::<B::Real>(state.each_mut(), &step),
            Self::Table { state, touched, .. } => {
                for prompt in touched.drain(..) {
                    let [value, grad, m, v, updates] = &mut state[prompt];
                    *updates += 1.0;
                    update_number::<B::Real>([value, grad, m, v], &at(*updates as u64));
                }
            }
        }
        Ok(())
    }

    pub(super) fn zero_grad(&mut self, backend: &B) -> Result<(), B::Error> {
        match self {
            Self::None | Self::Frozen(_) => {}
            Self::Table { state, touched, .. } => touched.drain(..).for_each(|prompt| state[prompt][1] = 0.0),
            Self::Network(network) | Self::Value(network) => parameter::zero_grad(backend, network.parameters_mut())?,
            Self::Scalar { state } => state[1] = 0.0,
        }
        Ok(())
    }

    /// Returns every vector of this model that a checkpoint needs, by name.
    pub fn state(&self, backend: &B) -> Result<NamedState<B::Real>, B::Error> {
        let numbers = |state: &[f64]| vec![("log_z".into(), state.iter().map(|&x| B::Real::of(x)).collect())];
        match self {
            Self::None | Self::Frozen(_) => Ok(Vec::new()),
            Self::Table { state, .. } => Ok(numbers(state.as_flattened())),
            Self::Scalar { state } => Ok(numbers(state)),
            Self::Network(network) | Self::Value(network) => parameter::state(backend, network.parameters()),
        }
    }

    /// Restores a state that [`LogZModel::state`] returned; `get` finds vectors by name. The inner error is the first
    /// name that is missing or has the wrong length.
    pub fn restore(
        &mut self,
        backend: &B,
        mut get: impl FnMut(&str) -> Option<Vec<B::Real>>,
    ) -> Result<Result<(), String>, B::Error> {
        let mut numbers = |fits: fn(usize) -> bool| get("log_z").filter(|v| fits(v.len())).ok_or("log_z".into());
        Ok(match self {
            Self::None | Self::Frozen(_) => Ok(()),
            Self::Table { state, touched, .. } => numbers(|len| len % 5 == 0).map(|values| {
                *state = values.as_chunks().0.iter().map(|row: &[B::Real; 5]| row.map(Real::f64)).collect();
                touched.clear();
            }),
            Self::Scalar { state } => {
                numbers(|len| len == 4).map(|values| *state = core::array::from_fn(|i| values[i].f64()))
            }
            Self::Network(network) | Self::Value(network) => {
                parameter::restore(backend, network.parameters_mut(), get)?.map_err(|(name, _)| name)
            }
        })
    }
}
