//! Stored completions, from any inference server, as rollouts.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use flowrl_core::backend::Backend;
use flowrl_core::policy::{Completions, Model, Policy, Sequences};
use flowrl_core::task::{Judgement, Task as _};
use flowrl_core::train::{Rollouts, TrainOptions};
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::rollouts::{RolloutRow, rollout_of};
use flowrl_lm::task::TextTask;
use flowrl_lm::verify::Attempt;

use crate::{data, note, template};

/// The completions of one prompt.
#[derive(Debug)]
struct Group {
    prompt: Vec<u32>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    tokens: Vec<u32>,
    ended: bool,
    judgement: Judgement,
    old_log_probs: Option<Vec<f32>>,
}

/// All completions of a file, in groups.
#[derive(Debug)]
pub struct StoredRollouts {
    groups: Vec<Group>,
}

impl StoredRollouts {
    /// Reads a file without its rows of evaluations. The `finish_reason` of a row says whether the completion ended. If
    /// it is absent, a completion given as tokens ended if the last one is an end token, and a completion given as text
    /// ended. The verifier of `task` judges rows that have no reward.
    pub fn read(path: &Path, task: &TextTask, context: usize) -> Result<Self> {
        let text = task.text();
        let mut groups: Vec<(String, Group)> = Vec::new();
        let mut places = HashMap::new();
        let mut unjudged = Vec::new();
        for row in data::rows(path)? {
            let place = row.origin.to_string();
            let row = rollout_of(row.origin, row.fields).map_err(|why| anyhow::anyhow!("{place}: {why}"))?;
            if row.held_out {
                continue;
            }
            let (reason, by_string) = (row.ended(), row.ended_by_string());
            let RolloutRow {
                prompt,
                chat,
                completion,
                completion_ids,
                reward,
                answer,
                old_logp,
                group,
                step,
                origin,
                ..
            } = row;
            let place = || place.clone();
            let prompt = PromptRow { chat, answer, origin: origin.clone(), ..PromptRow::new(prompt) };
            template::tell(text, [&prompt]);
            // The same prompt in another step is another group, because another policy sampled it. The number alone
            // does not identify a group, because files that were concatenated repeat numbers.
            let key = format!("{step:?} {group:?} {}", text.render(&prompt).with_context(place)?);
            let ended = reason.unwrap_or_else(|| match &completion_ids {
                Some(ids) => ids.last().is_some_and(|last| text.end_tokens().contains(last)),
                None => true,
            });
            let tokens = match (completion_ids, completion) {
                (Some(ids), _) => ids,
                (None, Some(completion)) => {
                    text.encode_completion(&completion, ended && !by_string).with_context(place)?
                }
                (None, None) => Vec::new(),
            };
            let old_log_probs = old_logp.map(|l| l.into_iter().map(|l| l as f32).collect());
            let judgement = match reward {
                Some(reward) => Judgement::new(reward, "stored"),
                None => Judgement::without_reward("unjudged"),
            };
            let row = Row { tokens, ended, judgement, old_log_probs };
            let at = *places.entry(key.clone()).or_insert(groups.len());
            if at == groups.len() {
                let prompt = text.encode_prompt(&prompt).with_context(place)?;
                groups.push((key, Group { prompt, rows: Vec::new() }));
            }
            if reward.is_none() {
                unjudged.push((at, groups[at].1.rows.len(), prompt));
            }
            let (prompt, all) = (groups[at].1.prompt.len(), groups[at].1.prompt.len() + row.tokens.len());
            anyhow::ensure!(
                all <= context,
                "{}: the prompt has {prompt} tokens and the completion {}: together more than the {context} positions of the model's \
                 context; leave the row out",
                place(),
                row.tokens.len()
            );
            groups[at].1.rows.push(row);
        }
        anyhow::ensure!(!groups.is_empty(), "{} holds no completion to train on", path.display());
        let mut stored = Self { groups: groups.into_iter().map(|(_, group)| group).collect() };
        stored.judge(unjudged, task)?;
        Ok(stored)
    }

    /// Judges the rows that have no reward, given as the numbers of a group and of a row in it, with the prompt. An
    /// answer that the row lacks is that of the same prompt in the task.
    fn judge(&mut self, mut unjudged: Vec<(usize, usize, PromptRow)>, task: &TextTask) -> Result<()> {
        if unjudged.is_empty() {
            return Ok(());
        }
        note!("judging {} stored completions that have no reward", unjudged.len());
        let text = task.text();
        if !task.is_generated() {
            let known: HashMap<&[u32], usize> =
                (0..task.prompts()).rev().map(|index| (task.prompt(index), index)).collect();
            for (group, _, row) in &mut unjudged {
                if let Some(&index) = known.get(self.groups[*group].prompt.as_slice())
                    && row.answer.is_null()
                {
                    let origin = std::mem::take(&mut row.origin);
                    *row = PromptRow { origin, ..task.row(index).clone() };
                }
            }
        }
        let mut completions = Vec::with_capacity(unjudged.len());
        for (group, number, row) in &unjudged {
            task.verifier().check(row).with_context(|| format!("{}: the row has no reward", row.origin))?;
            completions.push(text.decode(&self.groups[*group].rows[*number].tokens));
        }
        let attempts: Vec<Attempt<'_>> = unjudged
            .iter()
            .zip(&completions)
            .map(|((group, number, row), completion)| {
                let Row { tokens, ended, .. } = &self.groups[*group].rows[*number];
                Attempt { row, completion, ended: *ended, tokens: tokens.len() }
            })
            .collect();
        let judgements = task.verifier().judge_batch(&attempts).map_err(anyhow::Error::from_boxed)?;
        for ((group, number, _), judgement) in unjudged.iter().zip(judgements) {
            self.groups[*group].rows[*number].judgement = judgement;
        }
        Ok(())
    }

    /// Returns the number of groups: the same prompt in two steps counts twice.
    pub fn prompts(&self) -> usize {
        self.groups.len()
    }

    /// Returns the number of tokens in the longest prompt.
    pub fn longest_prompt(&self) -> usize {
        self.groups.iter().map(|group| group.prompt.len()).max().unwrap_or(0)
    }

    /// Returns the largest number of tokens that the completions of a group have together.
    pub fn largest_group(&self) -> usize {
        let tokens = |group: &Group| group.rows.iter().map(|row| row.tokens.len()).sum();
        self.groups.iter().map(tokens).max().unwrap_or(0)
    }

    /// Returns the number of completions, and of those that lack `old_logp`.
    pub fn without_log_probs(&self) -> (usize, usize) {
        let rows = || self.groups.iter().flat_map(|group| &group.rows);
        (rows().count(), rows().filter(|row| row.old_log_probs.is_none()).count())
    }

    /// Returns the rollouts of a step, which cycle through the groups in the order of the file. Completions without
    /// `old_logp` count as sampled from the current policy. If `corrects`, the log-probabilities of all completions are
    /// those of the current policy, and `old_logp` becomes the log-probabilities of the engine that sampled.
    pub fn step<P>(&self, policy: &mut P, step: u64, options: &TrainOptions, corrects: bool) -> Result<Rollouts<f32>>
    where
        P: Policy<Error: std::error::Error + Send + Sync + 'static, Backend: Backend<Real = f32>>,
    {
        let count = options.prompts.min(self.groups.len());
        let first = step as usize * count;
        let numbers: Vec<usize> = (first..first + count).map(|i| i % self.groups.len()).collect();
        let mut completions = Completions { offsets: vec![0], ..Completions::default() };
        let mut judgements = Vec::new();
        let mut complete = !corrects;
        for (p, &number) in numbers.iter().enumerate() {
            for row in &self.groups[number].rows {
                completions.prompt_of.push(p);
                completions.tokens.extend(&row.tokens);
                completions.offsets.push(completions.tokens.len());
                completions.ended.push(row.ended);
                judgements.push(row.judgement.clone());
                match &row.old_log_probs {
                    Some(old) => completions.log_probs.extend(old),
                    None => {
                        complete = false;
                        completions.log_probs.extend(std::iter::repeat_n(0.0, row.tokens.len()));
                    }
                }
            }
        }
        let prompts: Vec<Vec<u32>> = numbers.iter().map(|&n| self.groups[n].prompt.clone()).collect();
        let mut rollout_log_probs = None;
        if !complete {
            let present = score(policy, &prompts, &completions, options)?;
            let mut start = 0;
            for row in numbers.iter().flat_map(|&n| &self.groups[n].rows) {
                let range = start..start + row.tokens.len();
                start = range.end;
                if row.old_log_probs.is_none() {
                    completions.log_probs[range.clone()].copy_from_slice(&present[range]);
                }
            }
            if corrects {
                rollout_log_probs = Some(std::mem::replace(&mut completions.log_probs, present));
            }
        }
        let prompt_numbers = numbers;
        Ok(Rollouts { prompt_numbers, prompts, completions, judgements, rollout_log_probs, ..Rollouts::default() })
    }
}

/// Returns the log-probabilities of all tokens under the current policy, computed in micro-batches.
fn score<P>(
    policy: &mut P,
    prompts: &[Vec<u32>],
    completions: &Completions<f32>,
    options: &TrainOptions,
) -> Result<Vec<f32>>
where
    P: Policy<Error: std::error::Error + Send + Sync + 'static, Backend: Backend<Real = f32>>,
{
    let (slices, prompt_of) = (completions.slices(), &completions.prompt_of);
    let mut log_probs = Vec::with_capacity(completions.tokens.len());
    let together = if options.micro_batch == 0 { prompts.len() } else { options.micro_batch };
    for (part, prompts) in prompts.chunks(together).enumerate() {
        let first = part * together;
        let range = prompt_of.partition_point(|&p| p < first)..prompt_of.partition_point(|&p| p < first + together);
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let prompt_of: Vec<usize> = prompt_of[range.clone()].iter().map(|p| p - first).collect();
        let sequences = Sequences { prompts: &prompts, completions: &slices[range], prompt_of: &prompt_of };
        log_probs.extend(policy.score(&sequences, Model::Policy, options.sampler.temperature)?.log_probs);
    }
    Ok(log_probs)
}
