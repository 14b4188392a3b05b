//! Balance over parts of a trajectory: sub-trajectory balance (Madan and others, arXiv 2209.12782), and detailed
//! balance as its case λ = 0.
//!
//! With e_t = log F(s_t) + l_t − l_ref,t − log F(s_{t+1}), the residual of the part from i to j is v_i − v_j =
//! Σ_{i≤t<j} e_t. One pass from the left and one back sum all n(n + 1)/2 parts, by means of sums over the parts that
//! end or start at a position:
//!
//! | | over | recurrence |
//! |---|---|---|
//! | p_t | Σ_{i≤t} λ^{t−i} | 1 + λ p_{t−1} |
//! | a_t | Σ_{i≤t} λ^{t−i} (v_i − v_t) | λ (a_{t−1} + p_{t−1} e_{t−1}) |
//! | c_t | Σ_{i≤t} λ^{t−i} (v_i − v_t)² | λ (c_{t−1} + 2 a_{t−1} e_{t−1} + p_{t−1} e²_{t−1}) |
//! | q_t | Σ_{j≥t} λ^{j−t} | 1 + λ q_{t+1} |
//! | b_t | Σ_{j≥t} λ^{j−t} (v_t − v_j) | λ (b_{t+1} + q_{t+1} e_t) |
//!
//! A part contains step t if i ≤ t < j, so ∂/∂l_t of half the weighted sum is a_t q_{t+1} + p_t q_{t+1} e_t + p_t b_{t+1}.

use super::{Batch, Error};
use crate::Real;

/// The terms of one completion of n tokens.
pub(super) struct Steps<'a, T> {
    log_probs: &'a [T],
    ref_log_probs: &'a [T],
    log_flows: &'a [T],
    /// log F at the start, which is log Z.
    log_z: f64,
    /// log F at the end, which is βr̂.
    end: f64,
}

impl<'a, T: Real> Steps<'a, T> {
    /// Takes the terms of sequence i from a batch that has reference log-probabilities.
    pub(super) fn new(batch: &Batch<'a, T>, i: usize, log_flows: &'a [T], log_z: f64, end: f64) -> Result<Self, Error> {
        let tokens = batch.tokens(i);
        let log_flows = &log_flows[tokens.clone()];
        if let Some(token) = log_flows.iter().position(|f| !f.is_finite()) {
            let got = log_flows[token].f64();
            return Err(Error::NonFinite { argument: "log_flows", sequence: i, token: Some(token), got });
        }
        let ref_log_probs = batch.ref_log_probs.map_or(&[][..], |r| &r[tokens.clone()]);
        Ok(Self { log_probs: &batch.log_probs[tokens], ref_log_probs, log_flows, log_z, end })
    }

    /// Returns `share` times the loss and its derivative with respect to log Z. The derivatives with respect to tokens
    /// and flows are written to the two slices.
    pub(super) fn loss(&self, lambda: f64, share: f64, d_log_probs: &mut [T], d_log_flows: &mut [T]) -> (f64, f64) {
        let n = self.log_probs.len();
        if n == 0 {
            let residual = self.log_z - self.end;
            return (share * residual * residual, 2.0 * share * residual);
        }
        // The outputs store a_t and p_t until the backward pass replaces them.
        let (mut p, mut a, mut c) = (1.0, 0.0, 0.0);
        let (mut total, mut weight) = (0.0, 0.0);
        for t in 0..n {
            (d_log_probs[t], d_log_flows[t]) = (T::of(a), T::of(p));
            let e = self.residual(t);
            let ending = c + 2.0 * a * e + p * e * e;
            total += ending;
            weight += p;
            (p, a, c) = (1.0 + lambda * p, lambda * (a + p * e), lambda * ending);
        }
        let scale = 2.0 * share / weight;
        let (mut q, mut b, mut later) = (1.0, 0.0, 0.0);
        for t in (0..n).rev() {
            let e = self.residual(t);
            let (a, p) = (d_log_probs[t].f64(), d_log_flows[t].f64());
            let d = scale * (q * (a + p * e) + p * b);
            if t + 1 < n {
                d_log_flows[t + 1] = T::of(later - d);
            }
            d_log_probs[t] = T::of(d);
            (q, b, later) = (1.0 + lambda * q, lambda * (b + q * e), d);
        }
        d_log_flows[0] = T::zero();
        (share * total / weight, later)
    }

    /// Returns e_t, the residual of step t.
    fn residual(&self, t: usize) -> f64 {
        let before = if t == 0 { self.log_z } else { self.log_flows[t].f64() };
        let after = self.log_flows.get(t + 1).map_or(self.end, |f| f.f64());
        before + (self.log_probs[t].f64() - self.ref_log_probs[t].f64()) - after
    }
}
