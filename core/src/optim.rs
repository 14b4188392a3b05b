//! AdamW's options, learning-rate schedules and gradient clipping by global norm.

/// AdamW's options. The defaults are PyTorch's, but without weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay rate β₁ of the first moment.
    pub beta1: f64,
    /// Decay rate β₂ of the second moment.
    pub beta2: f64,
    /// Constant ε that is added to the root of the second moment.
    pub eps: f64,
    /// Coefficient of the decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// The parameters of one AdamW step, in the form that a kernel takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// The options.
    pub options: AdamW,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Number of this step, counted from 1.
    pub time: u64,
    /// Factor on the gradient: 1, or less if the norm was clipped.
    pub grad_scale: f64,
}

impl AdamW {
    /// Returns the parameters of step `time` (counted from 1) at `learning_rate`, with gradients multiplied by
    /// `grad_scale`.
    pub fn step(&self, learning_rate: f64, time: u64, grad_scale: f64) -> AdamWStep {
        AdamWStep { options: *self, learning_rate, time, grad_scale }
    }
}

/// How the learning rate changes after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Decay {
    /// The rate stays at its peak.
    #[default]
    Constant,
    /// The rate falls linearly and reaches 0 after the last step.
    Linear,
    /// The rate falls as half a cosine and reaches 0 after the last step.
    Cosine,
}

/// A learning-rate schedule: a linear warm-up, then a [`Decay`].
///
/// ```
/// use flowrl_core::optim::{Decay, Schedule};
/// let schedule = Schedule { peak: 1.0, warmup: 10, total: 100, decay: Decay::Cosine };
/// assert_eq!(schedule.at(0), 0.1);
/// assert_eq!(schedule.at(9), 1.0);
/// assert!(schedule.at(99) < 0.01);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The learning rate at the end of the warm-up.
    pub peak: f64,
    /// Number of warm-up steps: step t < warmup has the rate peak·(t + 1)/warmup.
    pub warmup: u64,
    /// Number of all steps, including the warm-up.
    pub total: u64,
    /// Shape of the schedule after the warm-up.
    pub decay: Decay,
}

impl Schedule {
    /// Returns the learning rate of step `t`, counted from 0.
    pub fn at(&self, t: u64) -> f64 {
        if t < self.warmup {
            return self.peak * (t + 1) as f64 / self.warmup as f64;
        }
        let span = self.total.saturating_sub(self.warmup).max(1) as f64;
        let progress = ((t - self.warmup) as f64 / span).min(1.0);
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Linear => self.peak * (1.0 - progress),
            Decay::Cosine => self.peak * 0.5 * (1.0 + libm::cos(core::f64::consts::PI * progress)),
        }
    }
}

/// Returns the factor that scales a gradient of this norm down to `max_norm`: min(1, max_norm/(norm + 1e-6)), as in
/// PyTorch.
pub fn clip_scale(norm: f64, max_norm: Option<f64>) -> f64 {
    max_norm.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0))
}
