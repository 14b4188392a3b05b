//! Tests of the choice, the tables and the picture with made-up measurements.

use super::methods::{CHOOSING, LONG, METHODS, REPORTED, SHOWN, STEPS};
use super::*;
use crate::report::result;
use crate::report::run::Run;

/// Returns made-up measurements. `points` gives success and loss of a method's value after the last step; the seed adds
/// noise to them, and they grow in proportion to the step. Methods for which it returns `None` are not measured.
fn made(points: impl Fn(&Method, f64) -> Option<(f64, f64)>) -> Frontier {
    let config = METHODS[0].config(METHODS[0].default, 0, STEPS).unwrap();
    let mut frontier = Frontier { settings: measure::common_of(&config).unwrap(), runs: Vec::new() };
    for (method, value) in grid() {
        let Some((success, lost)) = points(method, value) else { continue };
        let seeds = CHOOSING.iter().chain(&REPORTED).map(|seed| (*seed, STEPS));
        for (seed, steps) in seeds.chain([(0, LONG)]) {
            let noise = [0.0, 0.5, -1.0, 1.0, 0.0, -0.5, 0.5][seed as usize];
            let at = [&[0], &SHOWN[..], &[LONG]].concat().into_iter().filter(|step| *step <= steps);
            let point = |step: u64| {
                let share = step as f64 / STEPS as f64;
                let (success, lost) =
                    (0.407 + share * (success - 0.407) + share * 0.002 * noise, share * lost * (1.0 + 0.05 * noise));
                Point { step, success, lost, kl_ref: None, pass_at_8: 0.9 - lost / 3.0, distinct: 3.2 - lost }
            };
            frontier.insert(Measured {
                method: method.name.into(),
                value,
                seed,
                steps,
                options: String::new(),
                version: String::new(),
                cpu_s: 30.0,
                at: at.map(point).collect(),
            });
        }
    }
    // As in a real measurement, only the values to report have the reported seeds.
    let reported: Vec<_> = METHODS.iter().map(|method| (method.name, frontier.reported(method))).collect();
    let is_reported =
        |run: &Measured| reported.iter().any(|(name, values)| run.method == *name && values.contains(&run.value));
    frontier.runs.retain(|run| !REPORTED.contains(&run.seed) || is_reported(run));
    frontier
}

/// Returns measurements in which every method lies on the same curve, at points that depend on its knob.
fn two_curves() -> Frontier {
    made(|method, value| {
        let pull = match method.knob {
            methods::Knob::Beta if method.name.contains("tb") => value,
            methods::Knob::Beta => 8.0 * value,
            methods::Knob::Kl => 1.0 / (value + 0.02),
            methods::Knob::KlInReward => 1.0 / (value + 0.03),
            methods::Knob::Power => 2.0 * value,
            methods::Knob::Fixed => 40.0,
        };
        let lost = 0.3 * (1.0 - (-pull / 25.0_f64).exp());
        Some((0.407 + 0.065 * (1.0 - (-pull / 4.0_f64).exp()), lost))
    })
}

#[test]
fn the_least_lossy_of_what_succeeds_is_chosen() {
    let standard = Method::named("grpo").unwrap();
    let ours = Method::named("exact-tb").unwrap();
    let with = |curve: fn(f64) -> (f64, f64)| {
        made(move |method, value| match method.name {
            "grpo" => Some((0.47, 0.2)),
            "exact-tb" => Some(curve(value)),
            _ => None,
        })
    };
    // A success up to one percentage point below the standard is enough; the least loss decides among these values.
    let frontier = with(|beta| (if beta < 4.0 { 0.45 } else { 0.461 }, beta / 100.0));
    assert_eq!(frontier.choice(ours), Choice::Value(4.0));
    assert_eq!(with(|beta| (0.47, 1.0 / beta)).choice(ours), Choice::Value(16.0));
    assert_eq!(with(|_| (0.458, 0.1)).choice(ours), Choice::NoneReaches);
    assert_eq!(frontier.choice(Method::named("paper").unwrap()), Choice::Open);
    let mut part = frontier.clone();
    part.runs.retain(|run| !(run.method == "exact-tb" && run.value == 16.0 && run.seed == 1));
    assert_eq!(part.choice(ours), Choice::Open, "a value is still to be measured");
    part = frontier;
    part.runs.retain(|run| run.method != standard.name);
    assert_eq!(part.choice(ours), Choice::Open, "so is the standard");
}

#[test]
fn lines_of_the_file_come_back_in_order() {
    let frontier = two_curves();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    frontier.write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let read = Frontier::parse(&text).unwrap();
    assert_eq!((read.runs.len(), &read.runs), (frontier.runs.len(), &frontier.runs));
    // A merge of two branches may leave the lines in another order.
    let (head, lines) = text.split_once('\n').unwrap();
    let reversed: Vec<&str> = [head].into_iter().chain(lines.lines().rev()).collect();
    assert_eq!(Frontier::parse(&reversed.join("\n")).unwrap().runs, frontier.runs);
    let last = text.replace("\"value\":16.0", "\"value\":17.0");
    let why = Frontier::parse(&last).unwrap_err().to_string();
    assert!(why.contains("exact-tb with 17") && why.contains("line "), "{why}");
}

#[test]
fn sentences_follow_the_measurements() {
    let (claim, limit) = (two_curves().claim().unwrap(), two_curves().limit_of_claim().unwrap());
    assert!(claim.contains("and loses less diversity**: `exact-tb` with β = 8 has"), "{claim}");
    assert!(limit.contains("not an advantage over policy gradients**") && limit.contains("same curve"), "{limit}");
    let wasteful = made(|method, value| match method.name {
        "exact-tb" => Some((0.47, 0.2 + value / 100.0)),
        "reinforce" => Some((0.5, 0.15 + 0.3 * (1.0 - value))),
        _ => Some((0.47, 0.2)),
    });
    let other = wasteful.claim().unwrap();
    assert!(other.contains("does not reach the success") && other.contains("± "), "{other}");
    let off = wasteful.limit_of_claim().unwrap();
    assert!(off.contains("3.0 percentage points of success off"), "{off}");
    assert_eq!(Frontier::default().claim().or(Frontier::default().limit_of_claim()), None);
}

#[test]
fn tables_and_picture_show_every_method() {
    let frontier = two_curves();
    let (page, picture) = (frontier.page(), frontier.picture());
    for (method, value) in grid() {
        assert!(page.contains(&format!("| {} | {} | ", method.shown(), method.label(value))), "{method:?} {value}");
        let title = [method.name.to_owned(), method.label(value)].join(" ");
        assert!(picture.contains(&format!("<title>{}: ", title.trim_end())), "{title}");
    }
    for row in [
        "`exact-tb` | β = 8, chosen | 46.3\u{a0}±",
        "`exact-tb` | β = 1, default | ",
        "`ppo` | default | ",
        "`paper`, centred | β = 1, chosen",
    ] {
        assert!(page.contains(&format!("| {row}")), "{row}: {page}");
    }
    assert_eq!(picture.matches("class='span").count(), frontier.reported_rows().len());
    let dark = "prefers-color-scheme:dark";
    assert!(picture.starts_with("<svg xmlns='http://www.w3.org/2000/svg'") && picture.contains(dark));
    assert!(!picture.contains("<script") && !picture.contains("NaN"));
}

#[test]
fn a_report_is_of_the_same_task_and_model() {
    let frontier = two_curves();
    let config = |settings: &[&str]| -> toml::Table {
        crate::config::Config::load(None, settings).unwrap().to_toml().unwrap().parse().unwrap()
    };
    assert!(frontier.is_of(&config(&["objective=ppo", "train.steps=20", "train.prompts=4"])));
    assert!(!frontier.is_of(&config(&["task.max_number=9"])));
    assert!(!frontier.is_of(&config(&["model.path=\"model\""])));
    assert!(!frontier.is_of(&config(&["task.kind=bandit"])) && !Frontier::default().is_of(&config(&[])));
    let record = crate::metrics::Record::new(7).set("eval_success_exact", 0.46).set("eval_kl_on_correct", 0.12).clone();
    let run = |settings: &[&str], record| Run {
        name: "a".into(),
        report: None,
        config: config(settings),
        config_text: String::new(),
        records: vec![record],
    };
    let place = |run: &Run| result::on_the_frontier(run, &frontier);
    let figure = place(&run(&["objective=ppo"], record.clone()));
    assert_eq!(place(&run(&["task.max_number=9"], record)), "");
    assert_eq!(place(&run(&[], crate::metrics::Record::new(7))), "");
    assert!(
        figure.contains("class='star'")
            && figure.contains("this run after step 7.")
            && figure.contains("this run: 46.0\u{a0}% success"),
        "{figure}"
    );
    assert_eq!(Frontier::default().figure((0.12, 0.46), 7), "");
}
