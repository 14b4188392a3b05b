//! A replay buffer of good completions.

use alloc::vec;
use alloc::vec::Vec;

use super::Rollouts;
use crate::Real;
use crate::random::Stream;

/// The best distinct completions seen so far. If some of them are added to each batch ([`Replay::extend`]), a policy
/// does not forget the completions that it rarely samples. Trajectory balance may learn from any completions, whichever
/// policy drew them.
///
/// Kept completions carry the log-probabilities with which they were drawn, so an objective can correct for their age
/// (`importance`, a ratio).
///
/// ```
/// use flowrl_core::policy::Completions;
/// use flowrl_core::random::{Purpose, Stream};
/// use flowrl_core::task::Judgement;
/// use flowrl_core::train::{Replay, Rollouts};
///
/// // Six completions of one prompt, of one token each. The first is the best.
/// let completions = Completions {
///     prompt_of: vec![0; 6],
///     offsets: (0..=6).collect(),
///     tokens: (0..6).collect(),
///     log_probs: vec![-6.0_f64.ln(); 6],
///     entropies: vec![6.0_f64.ln(); 6],
///     ended: vec![true; 6],
///     ..Completions::default()
/// };
/// let mut rollouts = Rollouts {
///     prompt_numbers: vec![0],
///     prompts: vec![vec![0]],
///     completions,
///     judgements: [1.0, 0.5, 0.0, 0.0, 0.0, 0.0].map(|reward| Judgement::new(reward, "")).to_vec(),
///     ..Rollouts::default()
/// };
/// let mut replay = Replay::new(1);
/// replay.keep(&rollouts);
/// replay.extend(&mut rollouts, 2, Stream::new(0, Purpose::Replay), 0);
/// assert_eq!(rollouts.len(), 8);
/// assert_eq!([rollouts.reward(6), rollouts.reward(7)], [Some(1.0); 2]); // only the best is kept
/// ```
#[derive(Clone, Debug)]
pub struct Replay<T> {
    capacity: usize,
    /// The completions, one in each, from the highest reward to the lowest; among equal rewards, the oldest comes first.
    kept: Vec<Rollouts<T>>,
}

impl<T: Real> Replay<T> {
    /// Creates an empty buffer for at most `capacity` completions.
    pub const fn new(capacity: usize) -> Self {
        Self { capacity, kept: Vec::new() }
    }

    /// Returns whether this buffer is empty.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Keeps the completions of `rollouts` that have a reward, are new and good enough. If a completion is kept already,
    /// this leaves it as it was first drawn.
    pub fn keep(&mut self, rollouts: &Rollouts<T>) {
        for i in 0..rollouts.len() {
            let prompt = rollouts.prompt_numbers[rollouts.completions.prompt_of[i]];
            let Some(reward) = rollouts.judgements[i].reward else { continue };
            let place = self.kept.partition_point(|kept| kept.judgements[0].reward >= Some(reward));
            let known = |kept: &Rollouts<T>| {
                kept.prompt_numbers == [prompt] && kept.completions.tokens == rollouts.completions.get(i)
            };
            if place >= self.capacity || self.kept.iter().any(known) {
                continue;
            }
            let mut one = Rollouts { prompt_numbers: vec![prompt], ..Rollouts::default() };
            one.push(0, rollouts, i);
            self.kept.insert(place, one);
            self.kept.truncate(self.capacity);
        }
    }

    /// Adds `count` kept completions to each prompt of `rollouts` that has any, drawn uniformly with replacement. Draw
    /// k of prompt p takes the random number at (`step`, p, k).
    pub fn extend(&self, rollouts: &mut Rollouts<T>, count: usize, stream: Stream, step: u32) {
        let fresh = core::mem::take(rollouts);
        rollouts.rollout_log_probs = fresh.rollout_log_probs.as_ref().map(|_| Vec::new());
        rollouts.completions.offsets.push(0);
        let mut next = 0;
        for (p, &number) in fresh.prompt_numbers.iter().enumerate() {
            while next < fresh.len() && fresh.completions.prompt_of[next] == p {
                rollouts.push(p, &fresh, next);
                next += 1;
            }
            let known: Vec<_> = self.kept.iter().filter(|kept| kept.prompt_numbers == [number]).collect();
            for k in 0..if known.is_empty() { 0 } else { count } {
                let kept = known[stream.below(known.len() as u64, step, p as u32, k as u32) as usize];
                rollouts.push(p, kept, 0);
            }
        }
        let Rollouts { prompt_numbers, prompts, selection, .. } = fresh;
        (rollouts.prompt_numbers, rollouts.prompts, rollouts.selection) = (prompt_numbers, prompts, selection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Completions;
    use crate::random::Purpose;
    use crate::task::Judgement;

    /// Returns rollouts of prompts 7 and 9, in which every completion is a single token with the given reward.
    fn rollouts(completions: &[(usize, u32, f64)]) -> Rollouts<f64> {
        let count = completions.len();
        Rollouts {
            prompt_numbers: vec![7, 9],
            prompts: vec![vec![0], vec![0]],
            completions: Completions {
                prompt_of: completions.iter().map(|c| c.0).collect(),
                offsets: (0..=count).collect(),
                tokens: completions.iter().map(|c| c.1).collect(),
                log_probs: completions.iter().map(|c| -f64::from(c.1)).collect(),
                entropies: vec![0.5; count],
                ended: vec![true; count],
                excluded: Vec::new(),
            },
            judgements: completions.iter().map(|c| Judgement::new(c.2, "other")).collect(),
            ..Rollouts::default()
        }
    }

    #[test]
    fn the_best_are_kept_each_once() {
        let mut replay = Replay::new(3);
        replay.keep(&rollouts(&[(0, 1, 0.1), (0, 2, 0.2), (0, 1, 0.1), (1, 1, 0.3)]));
        replay.keep(&rollouts(&[(0, 4, 0.2), (0, 5, 0.1), (1, 6, 0.9)]));
        let kept: Vec<_> =
            replay.kept.iter().map(|k| (k.prompt_numbers[0], k.completions.tokens[0], k.reward(0))).collect();
        assert_eq!(kept, [(9, 6, Some(0.9)), (9, 1, Some(0.3)), (7, 2, Some(0.2))], "the older of two equals stays");
    }

    #[test]
    fn completions_without_a_reward_are_not_kept() {
        let mut batch = rollouts(&[(0, 1, 0.1), (0, 2, 0.9)]);
        batch.judgements[1] = Judgement::without_reward("timeout");
        let mut replay = Replay::new(2);
        replay.keep(&batch);
        assert_eq!((replay.kept.len(), replay.kept[0].reward(0)), (1, Some(0.1)));
    }

    #[test]
    fn each_prompt_gets_its_own_after_its_own() {
        let mut replay = Replay::new(8);
        replay.keep(&rollouts(&[(0, 1, 1.0), (1, 2, 1.0), (1, 3, 0.5)]));
        let mut batch = rollouts(&[(0, 10, 0.0), (1, 11, 0.0), (1, 12, 0.0)]);
        batch.rollout_log_probs = Some(vec![-9.0; 3]);
        replay.extend(&mut batch, 40, Stream::new(1, Purpose::Replay), 5);
        batch.validate::<()>().expect("fields belong together");
        assert_eq!(batch.len(), 83);
        assert_eq!(batch.completions.tokens[..2], [10, 1]);
        assert!(batch.completions.tokens[1..41].iter().all(|&t| t == 1), "prompt 7 has one completion");
        let drawn = &batch.completions.tokens[43..];
        assert_eq!(batch.completions.tokens[41..43], [11, 12]);
        assert!(drawn.contains(&2) && drawn.contains(&3) && drawn.iter().all(|&t| t == 2 || t == 3));
        let three = 43 + drawn.iter().position(|&t| t == 3).expect("drawn");
        assert_eq!((batch.reward(three), batch.completions.log_probs[three]), (Some(0.5), -3.0));
        let rollout = batch.rollout_log_probs.expect("kept");
        assert_eq!([rollout[0], rollout[1], rollout[41], rollout[three]], [-9.0, -1.0, -9.0, -3.0]);
    }

    #[test]
    fn an_empty_buffer_changes_nothing() {
        let mut batch = rollouts(&[(0, 10, 0.0), (1, 11, 0.25)]);
        let before = (batch.completions.clone(), batch.judgements.clone());
        Replay::new(4).extend(&mut batch, 3, Stream::new(1, Purpose::Replay), 0);
        assert_eq!((batch.completions, batch.judgements), before);
    }
}
