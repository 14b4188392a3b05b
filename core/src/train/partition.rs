//! What is learned beside the policy: log Z(x) or V(x) as a network, log Z as one number, or nothing.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::TrainOptions;
use crate::Real;
use crate::backend::Backend;
use crate::kernel::optim::adamw;
use crate::objective::{LogZ, Objective};
use crate::optim::clip_scale;
use crate::partition::PartitionNetwork;

/// Numbers of a checkpoint by name.
pub type NamedState<T> = Vec<(String, Vec<T>)>;

/// A learned log Z(x) or V(x).
#[derive(Debug)]
#[non_exhaustive]
pub enum LogZModel<B: Backend> {
    /// Nothing is learned: the objective estimates log Z from the group, or has none.
    None,
    /// The partition network.
    Network(PartitionNetwork<B>),
    /// The same network as a value V(x), whose gradient never enters the policy.
    Value(PartitionNetwork<B>),
    /// One number for all prompts.
    Scalar {
        /// log Z, its gradient, and AdamW's moments.
        state: [f64; 4],
    },
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
            _ if objective.needs_value() => Self::Value(network("value")?),
            _ => Self::None,
        })
    }

    /// The network, where there is one.
    pub const fn network(&self) -> Option<&PartitionNetwork<B>> {
        match self {
            Self::Network(network) | Self::Value(network) => Some(network),
            _ => None,
        }
    }

    /// The same, mutable.
    pub(super) const fn network_mut(&mut self) -> Option<&mut PartitionNetwork<B>> {
        match self {
            Self::Network(network) | Self::Value(network) => Some(network),
            _ => None,
        }
    }

    pub(super) fn grad_norm(&self, backend: &B) -> Result<Option<f64>, B::Error> {
        Ok(match self {
            Self::None => None,
            Self::Network(network) | Self::Value(network) => Some(network.grad_norm(backend)?),
            Self::Scalar { state } => Some(state[1].abs()),
        })
    }

    /// One AdamW step, after which the gradient is 0.
    pub(super) fn update(&mut self, backend: &B, norm: f64, options: &TrainOptions, time: u64) -> Result<(), B::Error> {
        let scale = clip_scale(norm, options.clip_norm);
        let step = options.log_z_optimizer.step(options.log_z_learning_rate, time, scale);
        match self {
            Self::None => Ok(()),
            Self::Network(network) | Self::Value(network) => network.update(backend, &step),
            Self::Scalar { state: [value, grad, m, v] } => {
                let (p, g) = (core::slice::from_mut(value), core::slice::from_ref(grad));
                adamw(p, g, core::slice::from_mut(m), core::slice::from_mut(v), &step);
                *grad = 0.0;
                // In the precision of a checkpoint, so that a resumed run goes on to the same bits.
                for x in [value, m, v] {
                    *x = B::Real::of(*x).f64();
                }
                Ok(())
            }
        }
    }

    pub(super) fn zero_grad(&mut self, backend: &B) -> Result<(), B::Error> {
        match self {
            Self::None => Ok(()),
            Self::Network(network) | Self::Value(network) => network.zero_grad(backend),
            Self::Scalar { state } => {
                state[1] = 0.0;
                Ok(())
            }
        }
    }

    /// Every number that a checkpoint needs, by name.
    ///
    /// # Errors
    /// Where the device failed.
    pub fn state(&self, backend: &B) -> Result<NamedState<B::Real>, B::Error> {
        let mut out = Vec::new();
        match self {
            Self::None => {}
            Self::Scalar { state } => out.push(("log_z".into(), state.iter().map(|&x| B::Real::of(x)).collect())),
            Self::Network(network) | Self::Value(network) => {
                for parameter in network.parameters() {
                    for (kind, values) in crate::parameter::STATE.iter().zip(parameter.state(backend)?) {
                        out.push((alloc::format!("{}.{kind}", parameter.name), values));
                    }
                }
            }
        }
        Ok(out)
    }

    /// Restores what [`LogZModel::state`] gave; `get` finds values by name. Gives the first name that is missing or of a wrong
    /// length.
    ///
    /// # Errors
    /// Where the device failed.
    pub fn restore(
        &mut self,
        backend: &B,
        mut get: impl FnMut(&str) -> Option<Vec<B::Real>>,
    ) -> Result<Result<(), String>, B::Error> {
        let mut find = |name: String, len: usize| get(&name).filter(|v| v.len() == len).ok_or(name);
        match self {
            Self::None => {}
            Self::Scalar { state } => match find("log_z".into(), 4) {
                Ok(values) => *state = core::array::from_fn(|i| values[i].f64()),
                Err(name) => return Ok(Err(name)),
            },
            Self::Network(network) | Self::Value(network) => {
                for parameter in network.parameters_mut() {
                    let mut values = vec![];
                    for kind in crate::parameter::STATE {
                        match find(alloc::format!("{}.{kind}", parameter.name), parameter.len) {
                            Ok(v) => values.push(v),
                            Err(name) => return Ok(Err(name)),
                        }
                    }
                    parameter.restore(backend, [&values[0], &values[1], &values[2]])?;
                }
            }
        }
        Ok(Ok(()))
    }
}
