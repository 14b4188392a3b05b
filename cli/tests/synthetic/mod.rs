//! A synthetic run directory of smooth curves with noise, and a check that a page is well formed.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use flowrl_cli::metrics::{Record, Writer};

/// Creates an empty folder for a test under `target/tmp`.
pub(crate) fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report").join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Parameters of a synthetic run.
pub(crate) struct Synthetic {
    pub(crate) objective: &'static str,
    pub(crate) seed: u64,
    pub(crate) steps: u64,
    /// Whether there are twenty steps without a finite value.
    pub(crate) gaps: bool,
    /// Text of one of the completions.
    pub(crate) completion: String,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self { objective: "paper", seed: 0, steps: 500, gaps: false, completion: "3 * ( 5 + 2 ) + 1".into() }
    }
}

impl Synthetic {
    /// Returns the success probability at a progress between 0 and 1.
    pub(crate) fn success(&self, progress: f64) -> f64 {
        let best = if self.objective == "grpo" { 0.69 } else { 0.62 } + 0.02 * self.seed as f64;
        0.08 + (best - 0.08) * (1.0 - (-5.0 * progress).exp())
    }

    pub(crate) fn write(&self, run: &Path) {
        fs::create_dir_all(run).unwrap();
        let config = format!(
            "seed = {}\n\n[task]\nkind = \"countdown\"\n\n[objective]\npreset = \"{}\"\nbeta = 15.0\n\n\
             [train]\nsteps = 500\nlearning_rate = 0.001\n",
            self.seed, self.objective
        );
        fs::write(run.join("config.toml"), config).unwrap();
        let _ = fs::remove_file(run.join("metrics.jsonl"));
        let mut text = String::new();
        for step in 0..=self.steps {
            let mut record = Record::new(step);
            if step > 0 {
                self.training(&mut record, step);
            }
            if step % (self.steps / 10).max(1) == 0 {
                self.evaluation(&mut record, step as f64 / self.steps as f64);
            }
            text += &(record.to_line() + "\n");
        }
        fs::write(run.join("metrics.jsonl"), text).unwrap();
        Writer::open(&run.join("metrics.jsonl")).unwrap();
        self.rollouts(run);
    }

    fn training(&self, record: &mut Record, step: u64) {
        let p = step as f64 / self.steps as f64;
        let mut state = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ self.seed;
        let mut noise = || {
            state = (state ^ (state >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(0x9e37_79b9_7f4a_7c15);
            ((state ^ (state >> 29)) >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        let success = (self.success(p) + 0.1 * noise()).clamp(0.0, 1.0);
        let gap = self.gaps && (200..220).contains(&step);
        let decay = (-4.0 * p).exp();
        record
            .set("loss", if gap { f64::NAN } else { 190.0 * decay * (1.0 + 0.4 * noise()) + 0.12 })
            .set("reward_mean", success)
            .set("reward_std", (success * (1.0 - success)).sqrt())
            .set("success", success)
            .set("degenerate_groups", (0.5 * decay + 0.1 + 0.1 * noise()).abs())
            .set("residual_mean", 2.0 * decay * noise())
            .set("residual_std", 13.0 * decay + 0.5)
            .set("residual_abs_max", 30.0 * decay + 2.0 + noise())
            .set("log_z_mean", 0.1 * (1.0 - decay) + 0.02 * noise())
            .set("log_z_std", 0.05)
            .set("log_z_error", 0.3 * decay + 0.05 * noise())
            .set("length_bias", 0.002 * decay * noise())
            .set("weight_mean", 1.0 + 0.02 * noise())
            .set("weight_min", 0.8)
            .set("weight_max", 1.2 - 0.1 * (noise() + 0.5))
            .set("weight_ess", 0.97 + 0.02 * noise())
            .set("clip_fraction", (0.2 + 0.1 * noise()) * decay)
            .set("advantage_std", 0.9 + 0.1 * noise())
            .set("ref_log_ratio", 0.02 * p)
            .set("kl_ref", 0.08 * p * (1.0 + 0.2 * noise()))
            .set("old_log_ratio_max", 10f64.powf(-4.0 + 4.0 * p + noise()))
            .set("first_ratio_deviation", 0.0)
            .set("inverse_length_mean", 0.09 + 0.005 * noise())
            .set("entropy_mean", 0.3 + 0.9 * decay + 0.05 * noise())
            .set("length_mean", 11.0 + 2.0 * p + noise())
            .set("length_max", 19.0 + (6.0 * noise()).round())
            .set("truncated_fraction", 0.02 * decay)
            .set("grad_norm", if gap { f64::INFINITY } else { 4.0 * decay + 0.4 + 0.5 * (noise() + 0.5) })
            .set("log_z_grad_norm", 0.2 * decay)
            .set("learning_rate", 1e-3 * (p * 20.0).min(1.0) * (1.0 - p))
            .set("skipped_updates", if self.gaps && step >= 200 { 20.0 } else { 0.0 })
            .set("tokens_per_s", 21_500.0 + 900.0 * noise())
            .set("step_s", 0.83 + 0.05 * noise())
            .set("sample_s", 0.5 + 0.03 * noise())
            .set("update_s", 0.31 + 0.02 * noise())
            .set("my_metric", p * p);
    }

    fn evaluation(&self, record: &mut Record, p: f64) {
        let success = self.success(p);
        record
            .set("eval_success", success)
            .set("eval_pass_at_1", success)
            .set("eval_pass_at_4", 1.0 - (1.0 - success).powi(3))
            .set("eval_pass_at_8", 1.0 - (1.0 - success).powi(5))
            .set("eval_pass_at_16", 1.0 - (1.0 - success).powi(8))
            .set("eval_distinct_correct", 1.2 + 3.0 * success)
            .set("eval_solutions", 9.4)
            .set("eval_success_exact", success - 0.008)
            .set("eval_success_target", 0.71)
            .set("eval_success_ref", 0.075)
            .set("eval_kl_on_correct", 0.18 * p)
            .set("eval_log_z_error", 2.4 * (-3.0 * p).exp())
            .set("eval_entropy", 1.2 - 0.8 * p)
            .set("eval_length_mean", 11.0 + 1.5 * p);
    }

    fn rollouts(&self, run: &Path) {
        let answers = [
            ("( 3 + 5 ) * 2 + 7 - 1", "wrong", 0.0),
            ("3 * 5 + 7", "correct", 1.0),
            ("3 * 5 + 7", "correct", 1.0),
            ("7 + 5 * 3", "correct", 1.0),
            (self.completion.as_str(), "unused-number", 0.0),
            ("3 * 5 + + 7", "unparseable", 0.0),
            ("", "unparseable", 0.0),
            ("7 * 3 + 5", "wrong", 0.0),
        ];
        let mut text = String::new();
        for (step, held_out, prompt) in [
            (499, true, "an older held-out prompt"),
            (500, true, "3 5 7 = 22 : "),
            (500, true, "2 4 6 8 = 24 : "),
            (500, false, "a training prompt"),
        ] {
            for (completion, verdict, reward) in answers {
                let line = serde_json::json!({ "step": step, "held_out": held_out, "group": 0, "prompt": prompt,
                    "completion": completion, "verdict": verdict, "reward": reward, "old_logp": [-0.1, -0.25] });
                writeln!(text, "{line}").unwrap();
            }
        }
        text += "{\"prompt\": \"torn";
        fs::write(run.join("rollouts.jsonl"), text).unwrap();
    }
}

/// Asserts that all elements are closed in the right order, and that attributes and entities are complete.
pub(crate) fn balanced(html: &str) {
    const VOID: [&str; 3] = ["meta", "br", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        for entity in rest[..start].split('&').skip(1) {
            let name = entity.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&name), "a bare & in {:?}", &rest[..start]);
        }
        rest = &rest[start + 1..];
        let end = tag_end(rest).unwrap_or_else(|| panic!("an unfinished tag: <{}", &rest[..rest.len().min(80)]));
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split(|c: char| c.is_whitespace() || c == '/').next().unwrap();
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '!'), "<{tag}>");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> closes something else");
        } else if name == "style" {
            rest = &rest[rest.find("</style").unwrap()..];
            open.push(name);
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "left open");
}

fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(index),
            (None, '<') => return None,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}
