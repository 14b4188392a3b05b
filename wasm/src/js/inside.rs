//! What looks inside learning: one update taken apart, and the gradients that it estimates.

use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use super::task::JsLandscape;
use crate::{Explanation, GradientBench};

/// One update of a lane, taken apart. Lists go by sample, `before` and `after` by answer.
#[wasm_bindgen(js_name = Explanation)]
#[derive(Clone, Debug)]
pub struct JsExplanation {
    pub(super) inner: Explanation,
}

#[wasm_bindgen(js_class = Explanation)]
impl JsExplanation {
    /// Steps done before this update.
    #[wasm_bindgen(getter)]
    pub fn step(&self) -> f64 {
        self.inner.step as f64
    }

    /// The sampled answers.
    #[wasm_bindgen(getter)]
    pub fn objects(&self) -> Vec<u32> {
        self.inner.objects.clone()
    }

    /// r.
    #[wasm_bindgen(getter)]
    pub fn rewards(&self) -> Vec<f64> {
        self.inner.rewards.clone()
    }

    /// log π.
    #[wasm_bindgen(getter, js_name = logProbs)]
    pub fn log_probs(&self) -> Vec<f64> {
        self.inner.log_probs.clone()
    }

    /// log π_ref.
    #[wasm_bindgen(getter, js_name = refLogProbs)]
    pub fn ref_log_probs(&self) -> Vec<f64> {
        self.inner.ref_log_probs.clone()
    }

    /// The reward as the objective shapes it, or the advantage A.
    #[wasm_bindgen(getter)]
    pub fn advantages(&self) -> Vec<f64> {
        self.inner.advantages.clone()
    }

    /// The residual δ; 0 for a baseline.
    #[wasm_bindgen(getter)]
    pub fn residuals(&self) -> Vec<f64> {
        self.inner.residuals.clone()
    }

    /// −∂ℓ/∂ log π by token: above 0, the update makes the answer more likely.
    #[wasm_bindgen(getter)]
    pub fn pushes(&self) -> Vec<f64> {
        self.inner.pushes.clone()
    }

    /// The loss ℓ.
    #[wasm_bindgen(getter)]
    pub fn loss(&self) -> f64 {
        self.inner.loss
    }

    /// log Z as this update uses it; NaN for a baseline.
    #[wasm_bindgen(getter, js_name = logZBefore)]
    pub fn log_z_before(&self) -> f64 {
        self.inner.log_z[0]
    }

    /// log Z as this update leaves it; NaN where none is learned.
    #[wasm_bindgen(getter, js_name = logZAfter)]
    pub fn log_z_after(&self) -> f64 {
        self.inner.log_z[1]
    }

    /// The policy before.
    #[wasm_bindgen(getter)]
    pub fn before(&self) -> Vec<f64> {
        self.inner.before.clone()
    }

    /// The policy after.
    #[wasm_bindgen(getter)]
    pub fn after(&self) -> Vec<f64> {
        self.inner.after.clone()
    }
}

/// The theorem under FlowRL: the expected gradient of trajectory balance is twice that of KL(π ‖ π*), whatever log Z is. Gradients are by the
/// logits of a table: of the rows first, then of the columns for every row.
#[wasm_bindgen(js_name = GradientBench)]
#[derive(Debug)]
pub struct JsGradientBench {
    inner: GradientBench,
}

#[wasm_bindgen(js_class = GradientBench)]
impl JsGradientBench {
    /// A policy that gives the answers of a landscape these weights.
    ///
    /// # Errors
    /// A list of another length, a weight that is negative or not finite, or no weight above 0.
    #[wasm_bindgen(constructor)]
    pub fn new(landscape: &JsLandscape, beta: f64, policy: &[f64]) -> Result<Self, JsError> {
        Ok(Self { inner: GradientBench::new((*landscape.inner).clone(), beta, policy)? })
    }

    /// log Z of the target.
    #[wasm_bindgen(getter, js_name = logZ)]
    pub fn log_z(&self) -> f64 {
        self.inner.log_z()
    }

    /// 2∇KL(π ‖ π*), exact.
    pub fn divergence(&self) -> Vec<f64> {
        self.inner.divergence().to_vec()
    }

    /// E\[∇TB\] with this log Z, exact: every answer counts with its probability.
    ///
    /// # Errors
    /// A log Z that is not finite.
    pub fn expected(&self, #[wasm_bindgen(js_name = logZ)] log_z: f64) -> Result<Vec<f64>, JsError> {
        Ok(self.inner.expected(log_z)?)
    }

    /// ∇TB of one batch of samples. Without a log Z the batch estimates its own.
    ///
    /// # Errors
    /// A batch out of range, a log Z that is not finite.
    pub fn sampled(
        &mut self,
        #[wasm_bindgen(js_name = logZ)] log_z: Option<f64>,
        batch: usize,
        seed: u32,
    ) -> Result<Vec<f64>, JsError> {
        Ok(self.inner.sampled(log_z, batch, seed, 0)?)
    }

    /// The cosine between the exact gradient and that of each of `draws` batches.
    ///
    /// # Errors
    /// A batch out of range, a log Z that is not finite.
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
