//! A softmax policy over few strings. Every expectation is a finite sum, so every identity can be checked exactly.

use flowrl_core::objective::{Evaluation, FlowRl, Importance, LogZ, Objective, Sequence};

/// Strings as paths through a prefix tree, with one logit per prefix and token.
pub(crate) struct Tree {
    /// The steps of each string: (prefix, token), or `None` for a token of probability 1.
    pub(crate) strings: Vec<Vec<Option<(usize, usize)>>>,
    pub(crate) arity: usize,
    pub(crate) prefixes: usize,
}

impl Tree {
    /// Creates all strings over {0, 1} of at most two symbols, each followed by an end token that is certain after two
    /// symbols. Their lengths are 1, 2, 2, 3, 3, 3, 3.
    pub(crate) fn ended() -> Self {
        let mut strings = vec![vec![Some((0, 2))]];
        for a in 0..2 {
            strings.push(vec![Some((0, a)), Some((1 + a, 2))]);
            strings.extend((0..2).map(|b| vec![Some((0, a)), Some((1 + a, b)), None]));
        }
        Self { strings, arity: 3, prefixes: 3 }
    }

    /// Creates all strings over {0, 1} of three symbols.
    pub(crate) fn equal_length() -> Self {
        let symbol = |y: usize, t: usize| (y >> (2 - t)) & 1;
        let prefix = |y: usize, t: usize| (1 << t) - 1 + (y >> (3 - t));
        let strings = (0..8).map(|y| (0..3).map(|t| Some((prefix(y, t), symbol(y, t)))).collect()).collect();
        Self { strings, arity: 2, prefixes: 7 }
    }

    pub(crate) fn parameters(&self) -> usize {
        self.arity * self.prefixes
    }

    /// Returns log π of every token after `prefix`.
    fn log_softmax(&self, theta: &[f64], prefix: usize) -> Vec<f64> {
        let logits = &theta[prefix * self.arity..(prefix + 1) * self.arity];
        let normaliser = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
        logits.iter().map(|x| x - normaliser).collect()
    }

    /// Returns the token log-probabilities of every string.
    pub(crate) fn token_log_probs(&self, theta: &[f64]) -> Vec<Vec<f64>> {
        let step = |s: &Option<(usize, usize)>| s.map_or(0.0, |(prefix, token)| self.log_softmax(theta, prefix)[token]);
        self.strings.iter().map(|string| string.iter().map(step).collect()).collect()
    }

    /// Returns log π of every string.
    pub(crate) fn log_probs(&self, theta: &[f64]) -> Vec<f64> {
        self.token_log_probs(theta).iter().map(|l| l.iter().sum()).collect()
    }

    /// Returns the sum of coefficient(string, token)·∇l over all strings and tokens.
    pub(crate) fn gradient(&self, theta: &[f64], coefficient: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let mut gradient = vec![0.0; theta.len()];
        for (y, string) in self.strings.iter().enumerate() {
            for (t, step) in string.iter().enumerate() {
                let Some((prefix, token)) = *step else { continue };
                for (k, l) in self.log_softmax(theta, prefix).iter().enumerate() {
                    let chosen = if k == token { 1.0 } else { 0.0 };
                    gradient[prefix * self.arity + k] += coefficient(y, t) * (chosen - l.exp());
                }
            }
        }
        gradient
    }

    /// Returns logits of the policy that has these log-probabilities of strings.
    pub(crate) fn logits_of(&self, log_probs: &[f64]) -> Vec<f64> {
        let mut mass = vec![0.0; self.parameters()];
        for (string, l) in self.strings.iter().zip(log_probs) {
            for (prefix, token) in string.iter().flatten() {
                mass[prefix * self.arity + token] += l.exp();
            }
        }
        mass.iter().map(|m: &f64| m.ln()).collect()
    }

    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.strings.iter().map(Vec::len).collect()
    }

    /// Computes FlowRL's expected loss and gradient on policy with the library, without clipping. Every string occurs
    /// once, as if a uniform sampler had drawn it, so its importance weight is π(y)·B.
    pub(crate) fn on_policy(
        &self,
        options: FlowRl,
        theta: &[f64],
        reference: &[f64],
        rewards: &[f64],
        log_z: f64,
    ) -> (Evaluation<f64>, Vec<f64>) {
        let uniform = |length: usize| vec![-(self.strings.len() as f64).ln() / length as f64; length];
        let (l, l_ref) = (self.token_log_probs(theta), self.token_log_probs(reference));
        let l_old: Vec<_> = self.lengths().into_iter().map(uniform).collect();
        let sequences: Vec<_> = (0..l.len())
            .map(|y| Sequence {
                reward: rewards[y],
                log_probs: &l[y],
                ref_log_probs: Some(&l_ref[y]),
                old_log_probs: Some(&l_old[y]),
                log_z: Some(log_z),
                ..Sequence::default()
            })
            .collect();
        let unclipped = options
            .with_importance(Importance::Sequence)
            .with_clip_low(None)
            .with_clip_high(None)
            .with_log_z(LogZ::Given);
        let evaluation = Objective::FlowRl(unclipped).compute(&sequences).expect("valid input");
        let gradient = self.gradient(theta, |y, t| evaluation.d_log_probs(y)[t]);
        (evaluation, gradient)
    }
}
