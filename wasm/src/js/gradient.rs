//! Bindings of the gradients that training estimates.

use wasm_bindgen::prelude::{JsError, wasm_bindgen};

use super::task::JsLandscape;
use crate::GradientBench;

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
