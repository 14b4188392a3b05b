//! Tests of the report and the comparison with synthetic runs. The pages stay in `target/tmp`.

use std::fs;
use std::path::Path;

use crate::synthetic::{Synthetic, balanced, folder};
use flowrl_cli::{compare, report};

fn page(run: &Path) -> String {
    fs::read_to_string(report::write(run, report::Kind::Ended).unwrap()).unwrap()
}

#[test]
fn a_full_run_gives_a_complete_well_formed_page() {
    let run = folder("full").join("countdown-paper-seed1");
    Synthetic::default().write(&run);
    let html = page(&run);
    balanced(&html);
    for heading in [
        "Result",
        "Held-out prompts",
        "Reward and success",
        "Residual and loss",
        "log Z",
        "Importance weights and clipping",
        "Entropy and distance to the reference",
        "Lengths",
        "Gradient and learning rate",
        "Time",
        "Sample completions",
        "Configuration",
        "Glossary",
    ] {
        assert!(html.contains(&format!("<h2>{heading}</h2>")), "{heading}");
    }
    assert!(html.contains("paper · countdown · 500 steps"));
    assert!(html.contains("Success, exact rose from"), "what got better");
    assert!(html.contains("<h3>Got worse</h3><ul><li>Diversity lost rose from"), "what got worse");
    assert!(html.contains("class=target"), "the target is drawn");
    assert!(html.contains("role=img aria-label='Line chart: Loss. Loss: from "), "each chart has a summary");
    assert_eq!(html.matches("<figure").count(), html.matches("<summary>Numbers</summary>").count());
    assert!(html.contains("my_metric"), "a metric that nobody foresaw is drawn as well");
    assert!(html.len() < 600_000, "{} bytes", html.len());
}

#[test]
fn axes_stay_within_what_is_possible_and_constants_share_a_line() {
    let run = folder("axes").join("run");
    fs::create_dir_all(&run).unwrap();
    let line = |step: u32, cut: f64, ess: f64, skipped: u32| {
        format!(
            "{{\"step\":{step},\"weight_ess\":{ess},\"clip_fraction\":0,\"token_mask_fraction\":0,\"truncated_fraction\":{cut},\
             \"skipped_updates\":{skipped},\"grad_norm\":1.5}}\n"
        )
    };
    fs::write(run.join("metrics.jsonl"), line(1, 0.0, 1.0, 0)).unwrap();
    let ticks = |html: &str, title: &str| -> Vec<String> {
        let chart = html.split(&format!("<h3>{title}</h3>")).nth(1).unwrap_or_else(|| panic!("no chart of {title}"));
        let drawn = chart.split("role=img").nth(1).unwrap().split("</svg>").next().unwrap();
        let labels = drawn.split("class=y>").skip(1);
        labels.map(|label| label.split('<').next().unwrap().to_owned()).collect()
    };
    let html = page(&run);
    assert_eq!(ticks(&html, "Truncated completions"), ["0%", "50%", "100%"]);
    assert_eq!(ticks(&html, "Effective sample size"), ["0%", "50%", "100%"]);
    assert_eq!(ticks(&html, "Skipped updates"), ["0", "0.5", "1"]);
    fs::write(run.join("metrics.jsonl"), line(1, 0.25, 1.0, 0) + &line(2, 0.5, 1.0, 0)).unwrap();
    let html = page(&run);
    balanced(&html);
    assert_eq!(html.matches("<figure").count(), 1, "what never changes has no chart");
    assert!(html.contains("<h3>Truncated completions</h3>"));
    for constant in
        ["Effective sample size 100\u{a0}%", "Clipped weights 0\u{a0}%, Masked tokens 0\u{a0}%", "Gradient norm 1.50<"]
    {
        assert!(html.contains(constant), "{constant}");
    }
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let run = folder("offline").join("run");
    Synthetic::default().write(&run);
    let html = page(&run);
    for forbidden in
        ["http:", "https", "//", "<script", "<link", "<img", "<iframe", "@import", "url(", "onerror=", "javascript:"]
    {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn hostile_text_stays_text() {
    let evil = "</script></td><img src=x onerror=alert(1)><b>'\"&\u{202e}";
    let run = folder("hostile").join("run");
    Synthetic { completion: evil.to_owned(), ..Synthetic::default() }.write(&run);
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    fs::write(run.join("config.toml"), config.replace("paper", "</h1><script>")).unwrap();
    let mut metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    metrics += "{\"step\":501,\"<svg onload=x>\":1}\n";
    fs::write(run.join("metrics.jsonl"), metrics).unwrap();
    let html = page(&run);
    balanced(&html);
    for tag in ["<script", "<img", "<b>'", "<svg onload", "\u{202e}"] {
        assert!(!html.contains(tag), "{tag}");
    }
    assert!(
        html.contains("&lt;/script&gt;&lt;/td&gt;&lt;img src=x onerror=alert(1)&gt;&lt;b&gt;&#39;&quot;&amp;\u{fffd}")
    );
}

#[test]
fn values_that_are_not_finite_break_the_line_and_not_the_page() {
    let run = folder("gaps").join("run");
    Synthetic { gaps: true, ..Synthetic::default() }.write(&run);
    let html = page(&run);
    balanced(&html);
    assert!(html.contains("loss was not finite in 20 of 500 records; its curve has gaps."));
    assert!(!html.contains("NaN") && !html.contains("inf"), "no path or text holds a broken number");
    let loss = html.split("<h3>Loss</h3>").nth(1).unwrap();
    let line = loss.split("<path class='line accent' d='").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(line.matches('M').count(), 2, "one gap, two strokes: {line}");
}

#[test]
fn a_chart_appears_with_its_metrics_only() {
    let run = folder("sparse").join("bare-seed3");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("metrics.jsonl"), "{\"step\":1,\"loss\":2.5,\"grad_norm\":null}\n{\"step\":2,\"lo").unwrap();
    let html = page(&run);
    balanced(&html);
    assert!(html.contains("<h3>Loss</h3>") && html.contains("No evaluation on held-out prompts"));
    assert!(!html.contains("<h3>Gradient norm</h3>") && !html.contains("<h2>Sample completions"));
    fs::write(run.join("metrics.jsonl"), "").unwrap();
    balanced(&page(&run));
}

#[test]
fn samples_show_every_completion_of_the_last_held_out_prompts() {
    let run = folder("samples").join("run");
    Synthetic::default().write(&run);
    let html = page(&run);
    let samples = html.split("<h2>Sample completions</h2>").nth(1).unwrap().split("<h2>").next().unwrap();
    assert!(samples.contains("held-out prompts, sampled at step 500"));
    assert!(samples.contains("<small>3 of 8 correct, 2 different</small>"), "{samples}");
    assert!(samples.contains("✓ correct") && samples.contains("unused-number"));
    assert!(!samples.contains("a training prompt"));
    let first = samples.split("<tbody>").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(first.contains("3 * 5 + 7") && first.contains("<td>2</td>"), "the most frequent comes first: {first}");
}

#[test]
fn a_damaged_metrics_file_is_named_with_its_line() {
    let run = folder("damaged").join("run");
    Synthetic::default().write(&run);
    fs::write(run.join("metrics.jsonl"), "{\"step\":1}\nnot json\n{\"step\":2}\n").unwrap();
    let error = report::write(&run, report::Kind::Ended).unwrap_err().to_string();
    assert!(error.contains("metrics.jsonl:2:"), "{error}");
    fs::write(run.join("metrics.jsonl"), "").unwrap();
    fs::write(run.join("config.toml"), "a = \n").unwrap();
    assert!(format!("{:#}", report::write(&run, report::Kind::Ended).unwrap_err()).contains("config.toml"));
    assert!(
        report::write(&folder("none"), report::Kind::Ended).unwrap_err().to_string().contains("not a run directory")
    );
}

#[test]
fn long_runs_stay_small() {
    let run = folder("long").join("run");
    Synthetic { steps: 20_000, ..Synthetic::default() }.write(&run);
    let html = page(&run);
    assert!(html.len() < 900_000, "{} bytes", html.len());
}

#[test]
fn seeds_of_one_objective_are_averaged() {
    let root = folder("compare");
    let mut runs = Vec::new();
    for (objective, seeds) in [("paper", 3), ("grpo", 2), ("vargrad", 1)] {
        for seed in 0..seeds {
            let run = root.join(format!("{objective}-{seed}"));
            Synthetic { objective, seed, steps: 200, ..Synthetic::default() }.write(&run);
            runs.push(run);
        }
    }
    let comparison = compare::compare(&runs).unwrap();
    let names: Vec<_> = comparison.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["paper", "grpo", "vargrad"]);
    assert_eq!(comparison.notes, Vec::<String>::new());

    let success = comparison.groups[0].cell("eval_success").unwrap();
    let finals: Vec<f64> = (0..3).map(|seed| Synthetic { seed, ..Synthetic::default() }.success(1.0)).collect();
    let mean = finals.iter().sum::<f64>() / 3.0;
    let variance = finals.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2.0;
    let after = success.after.unwrap();
    assert!((after.mean - mean).abs() < 1e-12 && (after.sd.unwrap() - variance.sqrt()).abs() < 1e-12);
    assert!(after.n == 3 && success.before.unwrap().mean < after.mean);
    assert_eq!(comparison.groups[2].cell("eval_success").unwrap().after.unwrap().sd, None);

    let json = comparison.to_json();
    assert_eq!(json["groups"][0]["metrics"]["eval_success"]["after"]["n"], 3);
    assert!(json["groups"][2]["metrics"]["eval_entropy"]["before"]["sd"].is_null());
    let markdown = comparison.to_markdown();
    assert!(
        markdown.starts_with(
            "| objective | seeds | Success, exact | Success, sampled | Pass@8 | Distinct correct answers |"
        )
    );
    assert_eq!(markdown.lines().count(), 5);
    assert!(markdown.lines().all(|line| line.matches('|').count() == 9), "{markdown}");

    // Two of the runs have a report, and the page is in another folder.
    for run in &runs[..2] {
        report::write(run, report::Kind::Ended).unwrap();
    }
    let comparison = compare::compare(&runs).unwrap();
    let path = folder("compare page").join("compare.html");
    comparison.write_html(&path).unwrap();
    let html = fs::read_to_string(&path).unwrap();
    balanced(&html);
    let links: Vec<&str> = html.split("href='").skip(1).filter_map(|rest| rest.split('\'').next()).collect();
    let links: Vec<&str> = links.into_iter().filter(|link| !link.starts_with('#')).collect();
    assert_eq!(
        links,
        [0, 1, 0, 1].map(|seed| format!("../compare/paper-{seed}/report.html")),
        "in the table and the list"
    );
    assert!(links.iter().all(|link| path.parent().unwrap().join(link).is_file()));
    assert!(html.contains("<li>paper: <code>paper-2</code></li>"), "no report, no link");
    assert!(html.contains("3 settings · 6 runs") && html.contains("class='band c0'") && !html.contains("http:"));
}

#[test]
fn unlike_runs_are_told_apart_and_pointed_out() {
    let root = folder("unlike");
    let names = ["a", "b", "c"].map(|name| root.join(name));
    for (run, beta, steps) in [(&names[0], "15.0", 100), (&names[1], "5.0", 100), (&names[2], "5.0", 50)] {
        Synthetic { steps, ..Synthetic::default() }.write(run);
        let config = fs::read_to_string(run.join("config.toml")).unwrap();
        fs::write(run.join("config.toml"), config.replace("beta = 15.0", &format!("beta = {beta}"))).unwrap();
    }
    let config = fs::read_to_string(names[2].join("config.toml")).unwrap();
    fs::write(names[2].join("config.toml"), config.replace("learning_rate = 0.001", "learning_rate = 0.01")).unwrap();

    let comparison = compare::compare(&names).unwrap();
    let found: Vec<_> = comparison.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(
        found,
        [
            "paper (beta = 15.0, train.learning_rate = 0.001)",
            "paper (beta = 5.0, train.learning_rate = 0.001)",
            "paper (beta = 5.0, train.learning_rate = 0.01)"
        ]
    );
    assert_eq!(comparison.notes, ["The runs differ in length: 50 to 100 steps."]);
    // If the objectives differ, other differences are not part of the names.
    let other = root.join("d");
    Synthetic { objective: "grpo", steps: 100, ..Synthetic::default() }.write(&other);
    let comparison = compare::compare(&[names[2].clone(), other]).unwrap();
    assert_eq!(comparison.notes[0], "These runs differ in more than the objective: train.learning_rate.");
    let twice = [names[0].clone(), names[0].clone()];
    assert!(compare::compare(&twice).unwrap_err().to_string().contains("named twice"));
    assert!(compare::compare(&[]).is_err());
}
