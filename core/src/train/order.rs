//! The order in which a trainer takes prompts.

use alloc::vec;
use alloc::vec::Vec;

use super::Trainer;
use crate::backend::Backend;
use crate::random::{Purpose, Stream};

/// How the prompts of a step are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum PromptOrder {
    /// Every epoch visits all prompts in a new order.
    #[default]
    Shuffled,
    /// Each batch draws distinct prompts with probabilities proportional to p(1 − p) + [`LEAST_WEIGHT`], where p is the
    /// pass rate that log Z tells: p = log Z/β, cut to 0…1, which starts at ½. With rewards of 0 and 1, p(1 − p) is
    /// their variance. An update moves p of a table by about its learning rate over β.
    PassRate,
}

/// Weight of a prompt that always or never passes, see [`PromptOrder::PassRate`].
pub const LEAST_WEIGHT: f64 = 0.01;

/// Consecutive prompts that an epoch visits at a rate of their own, see [`Trainer::set_parts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of prompts in the part.
    pub prompts: usize,
    /// Number of prompts of the part that an epoch visits. If this is not a multiple of `prompts`, some come once more
    /// often than others; the next epoch continues with the others.
    pub visits: usize,
}

/// Lists the prompts that an epoch of this number visits.
pub(super) type Visits = fn(&[Part], usize, u64, &Stream) -> Vec<usize>;

/// Returns the prompts that an epoch visits, in the order of the parts. If these do not have `count`
/// prompts, it visits every prompt once.
pub(super) fn visited(parts: &[Part], count: usize, epoch: u64, stream: &Stream) -> Vec<usize> {
    let is_usable = parts.iter().map(|part| part.prompts).sum::<usize>() == count
        && parts.iter().any(|part| part.prompts > 0 && part.visits > 0);
    if !is_usable {
        return (0..count).collect();
    }
    let mut visited = Vec::with_capacity(parts.iter().map(|part| part.visits).sum());
    let mut first = 0;
    for (number, part) in parts.iter().enumerate().filter(|(_, part)| part.prompts > 0) {
        let mut round: (u64, Vec<usize>) = (u64::MAX, Vec::new());
        for i in 0..part.visits as u64 {
            let at = epoch * part.visits as u64 + i;
            let (turn, place) = (at / part.prompts as u64, at % part.prompts as u64);
            if round.0 != turn {
                round = (turn, (first..first + part.prompts).collect());
                // Epochs have small numbers in the second place.
                stream.shuffle(&mut round.1, turn as u32, u32::MAX - number as u32);
            }
            visited.push(round.1[place as usize]);
        }
        first += part.prompts;
    }
    visited
}

impl<B: Backend> Trainer<B> {
    /// Returns the prompts of a batch out of `count`.
    pub(super) fn prompts_of(&self, batch: u64, count: usize) -> Vec<usize> {
        if count == 0 {
            return Vec::new();
        }
        let stream = Stream::new(self.options.seed, Purpose::Shuffle);
        if self.options.prompt_order == PromptOrder::PassRate {
            // The prompts with the largest ln w + Gumbel noise are a draw without replacement by the weights w.
            let key = |(i, p): (usize, f64)| {
                let u = 1.0 - stream.uniform(batch as u32, (batch >> 32) as u32, i as u32);
                libm::log(p * (1.0 - p) + LEAST_WEIGHT) - libm::log(-libm::log(u))
            };
            let rates = self.log_z.pass_rates(count, self.objective.beta().unwrap_or(1.0));
            let mut keys: Vec<f64> = rates.enumerate().map(key).collect();
            let mut order = Vec::new();
            for _ in 0..self.options.prompts.min(count) {
                let largest = (1..count).fold(0, |best, i| if keys[i] > keys[best] { i } else { best });
                keys[largest] = f64::NEG_INFINITY;
                order.push(largest);
            }
            return order.iter().copied().cycle().take(self.options.prompts).collect();
        }
        let mut order: (u64, Vec<usize>) = (u64::MAX, Vec::new());
        let first = batch * self.options.prompts as u64;
        let mut prompts = vec![0; self.options.prompts];
        let of_epoch = |epoch| match &self.parts {
            Some((parts, visited)) => visited(parts, count, epoch, &stream),
            None => (0..count).collect(),
        };
        let visits = of_epoch(0).len() as u64;
        for (i, prompt) in prompts.iter_mut().enumerate() {
            let at = first + i as u64;
            let epoch = at / visits;
            if order.0 != epoch {
                order = (epoch, of_epoch(epoch));
                stream.shuffle(&mut order.1, epoch as u32, (epoch >> 32) as u32);
            }
            *prompt = order.1[(at % visits) as usize];
        }
        prompts
    }
}
