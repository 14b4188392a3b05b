//! Bindings that look inside training: one update in detail, and the gradients that it estimates.

use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use super::task::JsLandscape;
use crate::{Explanation, GradientBench};

/// One update of a lane in detail. `before` and `after` have an entry for each answer, all other lists an entry for
/// each sample.
#[wasm_bindgen(js_name = Explanation)]
#[derive(Clone, Debug)]
pub struct JsExplanation {
    pub(super) inner: Explanation,
}

#[wasm_bindgen(js_class = Explanation)]
impl JsExplanation {
    /// Number of steps before this update.
    #[wasm_bindgen(getter)]
    pub fn step(&self) -> f64 {
        self.inner.step as f64
    }

    /// Sampled answers.
    #[wasm_bindgen(getter)]
    pub fn objects(&self) -> Vec<u32> {
        self.inner.objects.clone()
    }

    /// Rewards r of the samples.
    #[wasm_bindgen(getter)]
    pub fn rewards(&self) -> Vec<f64> {
        self.inner.rewards.clone()
    }

    /// Log-probabilities log π of the samples.
    #[wasm_bindgen(getter, js_name = logProbs)]
    pub fn log_probs(&self) -> Vec<f64> {
        self.inner.log_probs.clone()
    }

    /// Log-probabilities log π_ref of the samples under the reference.
    #[wasm_bindgen(getter, js_name = refLogProbs)]
    pub fn ref_log_probs(&self) -> Vec<f64> {
        self.inner.ref_log_probs.clone()
    }

    /// Rewards as the objective shapes them, or advantages A.
    #[wasm_bindgen(getter)]
    pub fn advantages(&self) -> Vec<f64> {
        self.inner.advantages.clone()
    }

    /// Residuals δ; 0 for a baseline.
    #[wasm_bindgen(getter)]
    pub fn residuals(&self) -> Vec<f64> {
        self.inner.residuals.clone()
    }

    /// −∂ℓ/∂ log π as the mean over the tokens of an answer. If it is above 0, the update makes the answer more likely.
    #[wasm_bindgen(getter)]
    pub fn pushes(&self) -> Vec<f64> {
        self.inner.pushes.clone()
    }

    /// Loss ℓ of the batch.
    #[wasm_bindgen(getter)]
    pub fn loss(&self) -> f64 {
        self.inner.loss
    }

    /// log Z used by this update; NaN for a baseline.
    #[wasm_bindgen(getter, js_name = logZBefore)]
    pub fn log_z_before(&self) -> f64 {
        self.inner.log_z[0]
    }

    /// log Z after this update; NaN if none is learned.
    #[wasm_bindgen(getter, js_name = logZAfter)]
    pub fn log_z_after(&self) -> f64 {
        self.inner.log_z[1]
    }

    /// Probabilities of the answers before the update.
    #[wasm_bindgen(getter)]
    pub fn before(&self) -> Vec<f64> {
        self.inner.before.clone()
    }

    /// Probabilities of the answers after the update.
    #[wasm_bindgen(getter)]
    pub fn after(&self) -> Vec<f64> {
        self.inner.after.clone()
    }
}

/// The theorem behind FlowRL: the expected gradient of trajectory balance is twice that of KL(π ‖ π*) for any log Z.
/// Gradients are with respect to a table of logits: first those of the rows, then for every row those of the columns.
#[wasm_bindgen(js_name = GradientBench)]
#[derive(Debug)]
pub struct JsGradientBench {
    inner: GradientBench,
}

#[wasm_bindgen(js_class = GradientBench)]
impl JsGradientBench {
    /// Creates a policy whose probabilities of the landscape's answers are in proportion to the weights `policy`.
    ///
    /// # Errors
    /// Throws if there is not one weight for each answer, if a weight is negative or not finite, or if none is above 0.
    #[wasm_bindgen(constructor)]
    pub fn new(landscape: &JsLandscape, beta: f64, policy: &[f64]) -> Result<Self, JsError> {
        Ok(Self { inner: GradientBench::new((*landscape.inner).clone(), beta, policy)? })
    }

    /// log Z of the target.
    #[wasm_bindgen(getter, js_name = logZ)]
    pub fn log_z(&self) -> f64 {
        self.inner.log_z()
    }

    /// Returns 2∇KL(π ‖ π*), computed exactly.
    pub fn divergence(&self) -> Vec<f64> {
        self.inner.divergence().to_vec()
    }

    /// Computes E\[∇TB\] for a value of log Z exactly, as the sum over all answers weighted with their probabilities.
    ///
    /// # Errors
    /// Throws if log Z is not finite.
    pub fn expected(&self, #[wasm_bindgen(js_name = logZ)] log_z: f64) -> Result<Vec<f64>, JsError> {
        Ok(self.inner.expected(log_z)?)
    }

    /// Computes ∇TB of a batch of samples. Without a value of log Z, the batch's own estimate is used.
    ///
    /// # Errors
    /// Throws if `batch` is not between 1 and 65536, or if log Z is not finite.
    pub fn sampled(
        &mut self,
        #[wasm_bindgen(js_name = logZ)] log_z: Option<f64>,
        batch: usize,
        seed: u32,
    ) -> Result<Vec<f64>, JsError> {
        Ok(self.inner.sampled(log_z, batch, seed, 0)?)
    }

    /// Returns the cosines between the exact gradient and those of `draws` batches.
    ///
    /// # Errors
    /// Throws if `batch` is not between 1 and 65536, or if log Z is not finite.
    pub fn cosines(
        &mut self,
        #[wasm_bindgen(js_name = logZ)] log_z: Option<f64>,
        batch: usize,
        draws: u32,
        seed: u32,
    ) -> Result<Vec<f64>, JsError> {
        Ok(self.inner.cosines(log_z, batch, draws, seed)?)
    }
}
