//! Sample completions, grouped by prompt, from the end of `rollouts.jsonl`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value as Json;

use crate::format::{escape, number, push};
use crate::run_dir::warn_of_damage;

/// Number of bytes read from the end of the file, which may be large.
const TAIL: u64 = 4 << 20;
const GROUPS: usize = 6;
const LONGEST: usize = 2000;

/// All completions of one prompt at one step.
#[derive(Debug, PartialEq)]
struct Group {
    prompt: String,
    step: Option<u64>,
    held_out: bool,
    /// Name of the set of prompts; null without one.
    set: Json,
    greedy: bool,
    id: Json,
    answers: Vec<Answer>,
}

#[derive(Clone, Debug, PartialEq)]
struct Answer {
    completion: String,
    verdict: String,
    reward: f64,
}

impl Answer {
    /// Returns whether the answer is correct or, in the lab, a mode: rewards there may be negative.
    fn is_good(&self) -> bool {
        if self.is_lab() { self.verdict == "mode" } else { self.reward > 0.0 }
    }

    fn is_lab(&self) -> bool {
        matches!(self.verdict.as_str(), "mode" | "other")
    }
}

impl Group {
    fn is_lab(&self) -> bool {
        self.answers.iter().any(Answer::is_lab)
    }
}

/// Returns the section's content; it is empty if the file is missing or has no rollouts.
///
/// It shows the groups of the last step in the file. If any group is held out (`"held_out": true`), only these are
/// considered, without greedy completions and, if there are several sets of prompts, of the first one.
pub(crate) fn render(path: &Path) -> Result<String> {
    let mut groups = if path.exists() { read(path)? } else { Vec::new() };
    if groups.iter().any(|group| group.held_out) {
        groups.retain(|group| group.held_out);
    }
    let latest = groups.iter().filter_map(|group| group.step).max();
    groups.retain(|group| group.step == latest && !group.greedy);
    if let Some(set) = groups.first().map(|group| group.set.clone()) {
        groups.retain(|group| group.set == set);
    }
    let Some(first) = groups.first() else {
        return Ok(String::new());
    };

    let kind = match first {
        Group { set: Json::String(name), .. } => format!("prompts of {}", escape(name)),
        Group { held_out: true, .. } => "held-out prompts".to_owned(),
        group if group.is_lab() => "batch of objects".to_owned(),
        _ => "training prompts".to_owned(),
    };
    let when = latest.map(|step| format!(", sampled at step {}", number(step as f64))).unwrap_or_default();
    let mut out = format!(
        "<p class=lead>Every completion of {} {kind}{when}; identical ones share a line, the most frequent first.</p>",
        groups.len().min(GROUPS)
    );
    for group in groups.iter().take(GROUPS) {
        render_group(&mut out, group);
    }
    Ok(out)
}

fn render_group(out: &mut String, group: &Group) {
    let mut lines: Vec<(&Answer, usize)> = Vec::new();
    for answer in &group.answers {
        match lines.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, count)) => *count += 1,
            None => lines.push((answer, 1)),
        }
    }
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let correct = group.answers.iter().filter(|answer| answer.is_good()).count();
    let different = lines.iter().filter(|(answer, _)| answer.is_good()).count();
    let name = if group.is_lab() { "modes" } else { "correct" };
    push!(
        out,
        "<div class=group><p class=text>{}</p><small>{correct} of {} {name}, {different} different</small>\
             <div class=scroll><table><thead><tr><th>completion</th><th>times</th><th>verdict</th><th>reward</th></tr>\
             </thead><tbody>",
        escape(&shorten(&group.prompt)),
        group.answers.len()
    );
    for (answer, count) in lines {
        let (class, mark) = if answer.is_good() { ("good", "✓ ") } else { ("", "") };
        let completion = if answer.completion.is_empty() { "(empty)" } else { &answer.completion };
        push!(
            out,
            "<tr><td class='text {class}'>{}</td><td>{count}</td><td class='{class}'>{mark}{}</td><td>{}</td></tr>",
            escape(&shorten(completion)),
            escape(&answer.verdict),
            number(answer.reward)
        );
    }
    out.push_str("</tbody></table></div></div>");
}

/// Reads the groups in the last [`TAIL`] bytes. The last line may be incomplete while the run is writing it; any other
/// line that is not a rollout causes a warning.
fn read(path: &Path) -> Result<Vec<Group>> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let start = file.metadata().with_context(failed)?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start)).with_context(failed)?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).with_context(failed)?;

    // The first line of a tail is incomplete, and the first group may be too.
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').skip(usize::from(start > 0));
    let (mut groups, mut damaged): (Vec<Group>, bool) = (Vec::new(), false);
    for line in lines {
        let rollout = serde_json::from_slice::<Json>(line).ok().filter(Json::is_object);
        damaged |= rollout.is_none() && line.ends_with(b"\n");
        let Some(rollout) = rollout else { continue };
        let group = start_group(&rollout);
        match groups.last_mut() {
            Some(last) if same_group(last, &group) => last.answers.extend(group.answers),
            _ => groups.push(group),
        }
    }
    if damaged {
        warn_of_damage(path)?;
    }
    if start > 0 && groups.len() > 1 {
        groups.remove(0);
    }
    Ok(groups)
}

fn same_group(a: &Group, b: &Group) -> bool {
    let of = |group: &Group| (group.step, group.held_out, group.greedy);
    of(a) == of(b) && a.set == b.set && a.id == b.id && a.prompt == b.prompt
}

fn start_group(rollout: &Json) -> Group {
    let reward = rollout["reward"].as_f64().unwrap_or(f64::NAN);
    let verdict = rollout["verdict"].as_str().unwrap_or(if reward > 0.0 { "correct" } else { "no reward" });
    let completion = match &rollout["completion"] {
        Json::Null => rollout["completion_ids"].to_string(),
        completion => text(completion),
    };
    Group {
        prompt: text(&rollout["prompt"]),
        step: rollout["step"].as_u64(),
        held_out: rollout["held_out"].as_bool().unwrap_or(false),
        set: rollout["set"].clone(),
        greedy: rollout["greedy"].as_bool().unwrap_or(false),
        id: rollout["group"].clone(),
        answers: vec![Answer { completion, verdict: verdict.to_owned(), reward }],
    }
}

/// Returns plain text as it is, and the messages of a chat one per line.
fn text(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Array(messages) => messages
            .iter()
            .map(|message| match (message["role"].as_str(), message["content"].as_str()) {
                (Some(role), Some(content)) => format!("{role}: {content}"),
                _ => message.to_string(),
            })
            .collect::<Vec<_>>()
            .join("\n"),
        other => other.to_string(),
    }
}

fn shorten(text: &str) -> String {
    let hidden = text.chars().count().saturating_sub(LONGEST);
    if hidden == 0 {
        return text.to_owned();
    }
    format!("{} … ({hidden} more characters)", text.chars().take(LONGEST).collect::<String>())
}
