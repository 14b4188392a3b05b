//! Exact numbers for binary rewards with an enumerable set C of correct completions. The wrong ones need not be
//! enumerated.

use super::{Error, check_finite, check_len, check_log_probs, log_sum_exp_of};
use crate::Real;

/// How a policy compares with the target π* = π_ref·exp(βr)/Z, where r is 1 on C and 0 elsewhere.
///
/// Z = 1 + (e^β − 1)·π_ref(C) exactly, and π*(· | C) = π_ref(· | C): FlowRL raises the probability of a correct answer
/// without changing the distribution among the correct ones.
///
/// ```
/// use flowrl_core::exact::BinaryExact;
/// // Two correct answers of probability 0.01 and 0.03; the policy found the second only.
/// let exact = BinaryExact::new(&[0.01_f64.ln(), 0.03_f64.ln()], &[1e-6_f64.ln(), 0.9_f64.ln()], 15.0)?;
/// assert!((exact.ref_success - 0.04).abs() < 1e-12);
/// assert!(exact.target_success > 0.999);
/// assert!(exact.kl_on_correct > 2.0, "the first answer is lost");
/// # Ok::<(), flowrl_core::exact::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BinaryExact {
    /// π_ref(C), the reference's success probability.
    pub ref_success: f64,
    /// π(C), the policy's success probability.
    pub success: f64,
    /// π*(C) = e^β π_ref(C)/Z, the target's success probability.
    pub target_success: f64,
    /// log Z, the logarithm of the target's normaliser.
    pub log_z: f64,
    /// KL(π_ref(· | C) ‖ π(· | C)) in nats: the diversity lost among correct answers, which is 0 at the target.
    pub kl_on_correct: f64,
    /// KL(π(· | C) ‖ π_ref(· | C)) in nats.
    pub reverse_kl_on_correct: f64,
    /// Entropy of π(· | C) in nats.
    pub entropy_on_correct: f64,
    /// exp of `entropy_on_correct`: the effective number of correct answers that the policy gives.
    pub effective_answers: f64,
}

impl BinaryExact {
    /// Computes these numbers from β and the log-probabilities of every correct completion under the reference and
    /// under the policy.
    ///
    /// All arithmetic is in log space, so the results are finite even for β = 15 and a π_ref(C) far below the smallest
    /// `f64`.
    ///
    /// # Errors
    /// Returns an error if the slices differ in length, a value is NaN or +∞, β is not finite, or C has no mass under
    /// the reference or the policy.
    pub fn new<T: Real>(ref_log_probs: &[T], log_probs: &[T], beta: f64) -> Result<Self, Error> {
        check_len("log_probs", log_probs.len(), ref_log_probs.len())?;
        check_log_probs("ref_log_probs", ref_log_probs)?;
        check_log_probs("log_probs", log_probs)?;
        check_finite("beta", &[beta])?;
        let log_ref = log_sum_exp_of(ref_log_probs.iter().map(|l| l.f64()));
        let log_policy = log_sum_exp_of(log_probs.iter().map(|l| l.f64()));
        for (argument, mass) in [("ref_log_probs", log_ref), ("log_probs", log_policy)] {
            if mass == f64::NEG_INFINITY {
                return Err(Error::Empty { argument });
            }
        }
        // Z = (1 − π_ref(C)) + e^β π_ref(C). Rounding may put π_ref(C) a little above 1.
        let wrong = Real::ln(-Real::exp_m1(log_ref.min(0.0)));
        let log_z = log_sum_exp_of([wrong, beta + log_ref].into_iter());
        let pairs = || ref_log_probs.iter().zip(log_probs).map(|(r, p)| (r.f64() - log_ref, p.f64() - log_policy));
        let divergence = |p: f64, q: f64| if p == f64::NEG_INFINITY { 0.0 } else { Real::exp(p) * (p - q) };
        let entropy = -pairs().map(|(_, p)| divergence(p, 0.0)).sum::<f64>();
        Ok(Self {
            ref_success: Real::exp(log_ref),
            success: Real::exp(log_policy),
            target_success: Real::exp(beta + log_ref - log_z),
            log_z,
            kl_on_correct: pairs().map(|(r, p)| divergence(r, p)).sum(),
            reverse_kl_on_correct: pairs().map(|(r, p)| divergence(p, r)).sum(),
            entropy_on_correct: entropy,
            effective_answers: Real::exp(entropy),
        })
    }
}
