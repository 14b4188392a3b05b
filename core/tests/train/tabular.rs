//! A softmax policy over strings of 0 and 1 that end with 2 or after three symbols, with one logit per prompt, prefix
//! and token. All fifteen strings can be enumerated, so a run can be compared with the truth. This module also has a
//! task with explicit rewards.

use std::slice::{from_mut, from_ref};

use flowrl_core::backend::{Backend, CpuBackend, CpuError, EntropyGradient};
use flowrl_core::exact;
use flowrl_core::optim::AdamWStep;
use flowrl_core::parameter::{self, NamedState, Parameter};
use flowrl_core::policy::{Completions, Model, Policy, SampleRequest, Scores, ScoresOf, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_core::task::{Attempt, JudgeError, Judgement, Task};

pub(crate) type Cpu = CpuBackend<f64>;

pub(crate) const END: u32 = 2;
const MAX_TOKENS: usize = 3;
const TOKENS: usize = 3;
/// Number of prefixes: the empty one, two of one symbol and four of two.
const PREFIXES: usize = 7;

/// Returns every string that the policy can write, and whether it ends before the limit.
pub(crate) fn strings() -> Vec<(Vec<u32>, bool)> {
    let mut all = Vec::new();
    let mut open = vec![vec![]];
    for _ in 0..MAX_TOKENS {
        open = open.iter().flat_map(|s: &Vec<u32>| (0..TOKENS as u32).map(|t| [&s[..], &[t]].concat())).collect();
        all.extend(open.iter().filter(|s| s.ends_with(&[END])).map(|s| (s.clone(), true)));
        open.retain(|s| !s.ends_with(&[END]));
    }
    all.extend(open.into_iter().map(|s| (s, false)));
    all
}

/// The rows of the last forward pass.
struct Scored {
    logits: Vec<f64>,
    /// Offset of each row's logits in the table.
    places: Vec<usize>,
    targets: Vec<u32>,
    log_sum_exp: Vec<f64>,
    entropies: Vec<f64>,
    temperature: f64,
}

pub(crate) struct Tabular {
    backend: Cpu,
    prompts: usize,
    table: Parameter<Cpu>,
    reference: Vec<f64>,
    last: Option<Scored>,
    /// The gradient of every update so far.
    pub(crate) gradients: Vec<Vec<f64>>,
    /// Number of further backward passes after which one returns a bad gradient.
    pub(crate) fault: Option<usize>,
    /// The gradient that the partition network sent back, if there was one.
    pub(crate) d_representation: Option<Vec<f64>>,
}

impl Tabular {
    pub(crate) fn new(backend: Cpu, prompts: usize) -> Self {
        let stream = Stream::new(1, Purpose::Init);
        let logits: Vec<f64> = (0..prompts * PREFIXES * TOKENS).map(|i| 0.5 * stream.normal(0, 0, i as u32)).collect();
        let table = Parameter::new(&backend, "table".into(), &logits).expect("memory");
        let (last, gradients, d_representation) = (None, Vec::new(), None);
        Self { backend, prompts, table, reference: logits, last, gradients, fault: None, d_representation }
    }

    pub(crate) fn weights(&self) -> &[f64] {
        &self.table.value
    }

    pub(crate) fn state(&self) -> NamedState<f64> {
        parameter::state(&self.backend, from_ref(&self.table)).expect("memory")
    }

    pub(crate) fn restore(&mut self, state: &NamedState<f64>) {
        let get = |wanted: &str| state.iter().find(|(name, _)| name == wanted).map(|(_, values)| values.clone());
        assert_eq!(parameter::restore(&self.backend, from_mut(&mut self.table), get), Ok(Ok(())));
    }

    /// Returns the exact log π of every string after a prompt.
    pub(crate) fn exact(&mut self, prompt: u32, model: Model) -> Vec<f64> {
        let strings = strings();
        let completions: Vec<&[u32]> = strings.iter().map(|(s, _)| &s[..]).collect();
        let sequences = Sequences { prompts: &[&[prompt]], completions: &completions, prompt_of: &[0; 15] };
        let scores = self.score(&sequences, model, 1.0).expect("known tokens");
        let mut rest = &scores.log_probs[..];
        let sum_of = |s: &&[u32]| {
            let (mine, others) = rest.split_at(s.len());
            rest = others;
            mine.iter().sum()
        };
        completions.iter().map(sum_of).collect()
    }

    /// Returns Σ π(y)·r(y), averaged over prompts.
    pub(crate) fn expected_reward(&mut self, task: &Rewards) -> f64 {
        let total: f64 = (0..self.prompts)
            .map(|p| self.exact(p as u32, Model::Policy).iter().zip(task.all(p)).map(|(l, r)| l.exp() * r).sum::<f64>())
            .sum();
        total / self.prompts as f64
    }

    /// Returns the offset in the table of each token's logits, and the tokens.
    fn places(sequences: &Sequences<'_>) -> (Vec<usize>, Vec<u32>) {
        let mut places = Vec::new();
        for (completion, &p) in sequences.completions.iter().zip(sequences.prompt_of) {
            for t in 0..completion.len() {
                places.push(Self::place(sequences.prompts[p], &completion[..t]));
            }
        }
        (places, sequences.completions.concat())
    }

    fn place(prompt: &[u32], prefix: &[u32]) -> usize {
        let bits = prefix.iter().fold(0, |n, &t| 2 * n + t as usize);
        (prompt[0] as usize * PREFIXES + (1 << prefix.len()) - 1 + bits) * TOKENS
    }
}

fn gather(table: &[f64], places: &[usize]) -> Vec<f64> {
    places.iter().flat_map(|&p| &table[p..p + TOKENS]).copied().collect()
}

impl Policy for Tabular {
    type Backend = Cpu;
    type Error = CpuError;

    fn backend(&self) -> &Cpu {
        &self.backend
    }

    fn width(&self) -> usize {
        self.prompts
    }

    /// Writes one-hot vectors.
    fn represent(&mut self, prompts: &[&[u32]], out: &mut Vec<f64>) -> Result<(), CpuError> {
        out.fill(0.0);
        for (row, prompt) in out.chunks_exact_mut(self.prompts).zip(prompts) {
            row[prompt[0] as usize] = 1.0;
        }
        Ok(())
    }

    fn sample(&mut self, request: &SampleRequest<'_>) -> Result<Completions<f64>, CpuError> {
        let Self { backend, table, .. } = self;
        Completions::sample(backend, request, TOKENS, END, |contexts| {
            let places: Vec<usize> =
                contexts.iter().map(|context| Self::place(context.prompt, context.tokens)).collect();
            Ok(gather(&table.value, &places))
        })
    }

    fn score(&mut self, sequences: &Sequences<'_>, model: Model, temperature: f64) -> ScoresOf<Self> {
        let (places, targets) = Self::places(sequences);
        let table = if model == Model::Policy { &self.table.value } else { &self.reference };
        let n = targets.len();
        let (logits, [mut l, mut lse, mut h]) = (gather(table, &places), [(); 3].map(|()| vec![0.0; n]));
        self.backend.log_prob(&logits, &targets, (n, TOKENS), temperature, &mut l, &mut lse, &mut h)?;
        let scores = Scores { log_probs: l, entropies: h.clone() };
        self.last = Some(Scored { logits, places, targets, log_sum_exp: lse, entropies: h, temperature });
        Ok(scores)
    }

    fn forward(
        &mut self,
        sequences: &Sequences<'_>,
        temperature: f64,
        representation: Option<&mut Vec<f64>>,
    ) -> ScoresOf<Self> {
        if let Some(out) = representation {
            self.represent(sequences.prompts, out)?;
        }
        self.score(sequences, Model::Policy, temperature)
    }

    fn backward(
        &mut self,
        d_log_probs: &[f64],
        d_entropies: Option<&[f64]>,
        d_representation: Option<&Vec<f64>>,
    ) -> Result<(), CpuError> {
        let Scored { mut logits, places, targets, log_sum_exp: lse, entropies, temperature } =
            self.last.take().expect("a forward pass");
        let shape = (targets.len(), TOKENS);
        let (d_log_probs, d_entropies) = (d_log_probs.to_vec(), d_entropies.map(<[f64]>::to_vec));
        let h = d_entropies.as_ref().map(|d_entropy| EntropyGradient { entropy: &entropies, d_entropy });
        self.backend.log_prob_backward(&mut logits, &targets, shape, temperature, &lse, &d_log_probs, h)?;
        for (&place, d) in places.iter().zip(logits.chunks_exact(TOKENS)) {
            self.table.grad[place..place + TOKENS].iter_mut().zip(d).for_each(|(g, d)| *g += d);
        }
        self.d_representation = d_representation.cloned();
        match &mut self.fault {
            Some(0) => {
                self.table.grad[0] = f64::NAN;
                self.fault = None;
            }
            Some(n) => *n -= 1,
            None => {}
        }
        Ok(())
    }

    fn grad_norm(&mut self) -> Result<f64, CpuError> {
        self.table.grad_squares(&self.backend).map(f64::sqrt)
    }

    fn update(&mut self, step: &AdamWStep) -> Result<(), CpuError> {
        self.gradients.push(self.table.grad.clone());
        self.table.adamw(&self.backend, step)?;
        self.zero_grad()
    }

    fn zero_grad(&mut self) -> Result<(), CpuError> {
        self.table.zero_grad(&self.backend)
    }
}

/// A task with a reward for every string and prompt.
pub(crate) struct Rewards {
    prompts: Vec<[u32; 1]>,
    reward: fn(prompt: usize, completion: &[u32], ended: bool) -> f64,
}

impl Rewards {
    pub(crate) fn new(prompts: usize, reward: fn(usize, &[u32], bool) -> f64) -> Self {
        Self { prompts: (0..prompts as u32).map(|p| [p]).collect(), reward }
    }

    /// Returns the rewards of all strings.
    pub(crate) fn all(&self, prompt: usize) -> Vec<f64> {
        strings().iter().map(|(s, ended)| (self.reward)(prompt, s, *ended)).collect()
    }

    /// Returns the total variation from the target and the target's log Z. The target is the plain one, or the
    /// length-normalised one if `lengths` is true.
    pub(crate) fn distance(&self, policy: &mut Tabular, prompt: usize, beta: f64, lengths: bool) -> (f64, f64) {
        let (reference, rewards) = (policy.exact(prompt as u32, Model::Reference), self.all(prompt));
        let mut target = vec![0.0; rewards.len()];
        let log_z = if lengths {
            let lengths: Vec<usize> = strings().iter().map(|(s, _)| s.len()).collect();
            exact::length_normalised_target(&reference, &rewards, &lengths, beta, &mut target)
        } else {
            exact::target(&reference, &rewards, beta, &mut target)
        };
        let tv = exact::total_variation(&policy.exact(prompt as u32, Model::Policy), &target).expect("same strings");
        (tv, log_z.expect("finite rewards"))
    }
}

impl Task for Rewards {
    fn prompts(&self) -> usize {
        self.prompts.len()
    }

    fn prompt(&self, index: usize) -> &[u32] {
        &self.prompts[index]
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        let Attempt { prompt, completion, ended } = attempt;
        Ok(Judgement::new((self.reward)(prompt, completion, ended), "judged"))
    }
}
