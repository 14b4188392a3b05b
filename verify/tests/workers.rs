//! Workers that are slow, hang, crash and answer nonsense.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::Interrupted;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};
use flowrl_verify::{Options, Workers};

/// Options with short limits, and the warnings they collect.
pub(crate) fn options(workers: usize) -> (Options, Arc<Mutex<Vec<String>>>) {
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&warnings);
    let mut options = Options::default();
    options.workers = workers;
    options.timeout = Duration::from_secs(3);
    options.report = Some(Arc::new(move |message: &str| seen.lock().unwrap().push(message.to_owned())));
    (options, warnings)
}

/// Returns workers that run `body` for every line of input, after a hello with the fields `batch`. In `body`, `$line` is
/// the request and `$id` the first id in it.
fn shell(batch: &str, body: &str, options: &Options) -> Result<Workers, JudgeError> {
    let script = format!(
        "echo '{{\"hello\": {{\"protocol\": 1{batch}}}}}'\n\
         while IFS= read -r line; do id=${{line#*'\"id\":'}}; id=${{id%%,*}}\n{body}\ndone"
    );
    let command = move || {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&script);
        command
    };
    Workers::new("test", command, options)
}

pub(crate) fn rows(count: usize) -> Vec<PromptRow> {
    (0..count).map(|i| PromptRow { answer: i.into(), ..PromptRow::text(format!("q{i}")) }).collect()
}

/// Judges one completion of each row; completion i is `texts[i]`.
pub(crate) fn judge(verifier: &dyn Verifier, rows: &[PromptRow], texts: &[&str]) -> Result<Vec<Judgement>, JudgeError> {
    let attempts: Vec<Attempt<'_>> = texts
        .iter()
        .enumerate()
        .map(|(i, completion)| Attempt { row: &rows[i % rows.len()], completion, ended: true, tokens: 3 })
        .collect();
    verifier.judge_batch(&attempts)
}

fn verdicts(judgements: &[Judgement]) -> Vec<(Option<f64>, &str)> {
    judgements.iter().map(|judgement| (judgement.reward, &*judgement.verdict)).collect()
}

/// The metric of a name that the verifier took.
pub(crate) fn metric(verifier: &dyn Verifier, name: &str) -> f64 {
    verifier.take_metrics().into_iter().find(|(known, _)| *known == name).map_or(f64::NAN, |(_, value)| value)
}

#[test]
fn answers_come_back_in_the_order_of_the_completions() {
    let (options, warnings) = options(3);
    // Items with an even id are slower.
    let body = "[ $((id % 2)) = 0 ] && sleep 0.02; echo '{\"id\": '$id', \"reward\": '$id'}'";
    let workers = shell("", body, &options).unwrap();
    let judgements = judge(&workers, &rows(1), &["a"; 12]).unwrap();
    let rewards: Vec<f64> = judgements.iter().filter_map(|judgement| judgement.reward).collect();
    assert_eq!(rewards, (0..12).map(f64::from).collect::<Vec<_>>());
    assert_eq!(*warnings.lock().unwrap(), [] as [String; 0]);
    assert_eq!(metric(&workers, "judge_failures"), 0.0);
}

#[test]
fn only_the_completion_that_hangs_runs_out_of_time() {
    let (options, warnings) = options(1);
    let body = "case $line in *hang*) sleep 60;; esac; echo '{\"id\": '$id', \"reward\": 1}'";
    let workers = shell("", body, &options).unwrap();
    let judgements = judge(&workers, &rows(1), &["a", "hang", "b", "c"]).unwrap();
    let wanted = [(Some(1.0), "correct"), (None, "timeout"), (Some(1.0), "correct"), (Some(1.0), "correct")];
    assert_eq!(verdicts(&judgements), wanted);
    assert!(warnings.lock().unwrap()[0].contains("took longer than 3 s"));
    // The worker starts again when it is needed.
    assert_eq!(verdicts(&judge(&workers, &rows(1), &["a"; 4]).unwrap()), [(Some(1.0), "correct"); 4]);
    assert_eq!(metric(&workers, "judge_restarts"), 1.0);
}

#[test]
fn only_the_guilty_completion_of_a_request_runs_out_of_time() {
    let (options, _) = options(1);
    // Answers the whole request at once, unless it hangs.
    let body = "case $line in *hang*) sleep 60;; esac\n\
                for id in $(echo \"$line\" | grep -o '\"id\":[0-9]*' | cut -d: -f2); do echo '{\"id\": '$id', \"reward\": 0}'; done";
    let workers = shell(", \"batch\": true, \"max_batch\": 3", body, &options).unwrap();
    let judgements = judge(&workers, &rows(5), &["a", "hang", "b", "c", "d"]).unwrap();
    let found: Vec<&str> = judgements.iter().map(|judgement| &*judgement.verdict).collect();
    assert_eq!(found, ["wrong", "timeout", "wrong", "wrong", "wrong"]);
}

#[test]
fn groups_stay_together_in_a_request() {
    let (options, _) = options(1);
    // The reward is the number of items of the request.
    let body = "n=$(echo \"$line\" | grep -o '\"id\":' | wc -l)\n\
                for id in $(echo \"$line\" | grep -o '\"id\":[0-9]*' | cut -d: -f2); do echo '{\"id\": '$id', \"reward\": '$n'}'; done";
    let workers = shell(", \"batch\": true, \"max_batch\": 5", body, &options).unwrap();
    let rows = rows(4);
    let attempt = |row: usize| Attempt { row: &rows[row], completion: "a", ended: true, tokens: 1 };
    let attempts = [0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 3].map(attempt);
    let rewards: Vec<f64> = workers.judge_batch(&attempts).unwrap().iter().filter_map(|j| j.reward).collect();
    // Three of row 0; three of row 1 with one of row 2; seven of row 3, which do not fit one request.
    assert_eq!(rewards, [3., 3., 3., 4., 4., 4., 4., 5., 5., 5., 5., 5., 2., 2.]);
}

#[test]
fn a_completion_that_crashes_two_workers_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let count = folder.path().join("count");
    let (options, warnings) = options(1);
    let body = format!(
        "case $line in *crash*) echo x >> {0}; exit 3;; *once*) [ -e {0}.once ] || {{ touch {0}.once; exit 4; }};; esac\n\
         echo '{{\"id\": '$id', \"reward\": 1}}'",
        count.display()
    );
    let workers = shell("", &body, &options).unwrap();
    let judgements = judge(&workers, &rows(1), &["a", "crash", "once", "b"]).unwrap();
    let wanted = [(Some(1.0), "correct"), (None, "error"), (Some(1.0), "correct"), (Some(1.0), "correct")];
    assert_eq!(verdicts(&judgements), wanted);
    assert_eq!(std::fs::read_to_string(count).unwrap(), "x\nx\n", "tried twice");
    let warnings = warnings.lock().unwrap();
    assert!(warnings[0].contains("a worker ended with exit status: 3"), "{warnings:?}");
}

#[test]
fn nonsense_is_a_counted_verdict() {
    let (options, warnings) = options(1);
    let big = "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo";
    let body = format!(
        "case $line in\n\
         *garbage*) echo 'Traceback (most recent call last):';;\n\
         *huge*) {big};;\n\
         *closed*) exec 1>&-; sleep 60;;\n\
         *word*) echo '{{\"id\": '$id', \"reward\": \"much\"}}';;\n\
         *nan*) echo '{{\"id\": '$id', \"reward\": NaN}}';;\n\
         *unknown*) echo '{{\"id\": 99, \"reward\": 1}}'; echo '{{\"id\": '$id', \"reward\": 1}}';;\n\
         *twice*) echo '{{\"id\": '$id', \"reward\": 0}}'; echo '{{\"id\": '$id', \"reward\": 1}}';;\n\
         *flood*) {{ {big}; }} >&2; echo '{{\"id\": '$id', \"reward\": 1}}';;\n\
         *null*) echo '{{\"id\": '$id', \"reward\": null}}';;\n\
         *) echo '{{\"id\": '$id', \"reward\": 1}}';; esac"
    );
    let workers = shell("", &body, &options).unwrap();
    let texts = ["garbage", "huge", "closed", "word", "nan", "unknown", "twice", "flood", "null", "good"];
    let judgements = judge(&workers, &rows(1), &texts).unwrap();
    let found: Vec<_> =
        verdicts(&judgements).into_iter().zip(texts).map(|((_, verdict), text)| (text, verdict)).collect();
    let wanted = [
        ("garbage", "error"),
        ("huge", "error"),
        ("closed", "error"),
        ("word", "error"),
        ("nan", "error"),
        ("unknown", "correct"),
        ("twice", "wrong"),
        ("flood", "correct"),
        ("null", "left-out"),
        ("good", "correct"),
    ];
    assert_eq!(found, wanted);
    let warnings = warnings.lock().unwrap().join("\n");
    for wanted in
        ["which is not JSON", "more than 1048576 bytes", "`reward` \"much\"", "item 99 twice or without being asked"]
    {
        assert!(warnings.contains(wanted), "{wanted}: {warnings}");
    }
    assert_eq!(metric(&workers, "judge_failures"), 5.0);
}

#[test]
fn a_late_second_answer_is_not_taken_for_one_to_a_later_item() {
    let (options, _) = options(1);
    // The second answer to an item comes with the first one to the next.
    let body = "echo '{\"id\": '$id', \"reward\": 0}'; echo '{\"id\": '$id', \"reward\": 1}'";
    let workers = shell("", body, &options).unwrap();
    for _ in 0..5 {
        assert_eq!(verdicts(&judge(&workers, &rows(1), &["a"]).unwrap()), [(Some(0.0), "wrong")]);
    }
}

#[test]
fn a_reward_may_stand_for_failures() {
    let (mut options, _) = options(1);
    options.reward_of_failure = Some(-1.0);
    let workers = shell("", "exit 1", &options).unwrap();
    assert_eq!(verdicts(&judge(&workers, &rows(1), &["a"]).unwrap()), [(Some(-1.0), "error")]);
}

#[test]
fn what_a_worker_has_started_is_killed_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let (options, _) = options(1);
    let body = format!("sleep 300 & echo $! > {}; wait", file.display());
    let workers = shell("", &body, &options).unwrap();
    assert_eq!(verdicts(&judge(&workers, &rows(1), &["a"]).unwrap()), [(None, "timeout")]);
    let pid = std::fs::read_to_string(&file).unwrap();
    let gone =
        |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    let end = Instant::now() + Duration::from_secs(20);
    while !gone(pid.trim()) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(gone(pid.trim()) || !std::path::Path::new("/proc").exists(), "process {pid} is left");
}

#[test]
fn a_child_that_keeps_the_pipes_open_does_not_hang_the_run() {
    let (options, _) = options(1);
    let workers = shell("", "setsid sleep 3 & exit 1", &options).unwrap();
    assert_eq!(verdicts(&judge(&workers, &rows(1), &["a"]).unwrap())[0].0, None);
}

#[test]
fn a_worker_that_cannot_start_is_found_at_once() {
    let (mut options, _) = options(1);
    options.start_timeout = Duration::from_millis(300);
    let start = |script: &str| {
        let script = script.to_owned();
        let command = move || {
            let mut command = Command::new("sh");
            command.arg("-c").arg(&script);
            command
        };
        Workers::new("mine", command, &options).unwrap_err().to_string()
    };
    for (script, wanted) in [
        ("echo hello world", "the verifier mine began with \"hello world\" instead of `{\"hello\""),
        ("echo cannot import foo >&2; exit 7", "ended with exit status: 7; it wrote: cannot import foo"),
        ("sleep 60", "said nothing for 0 s after it was started"),
        ("printf '\\377\\n'", "not UTF-8"),
        ("echo '{\"error\": \"no such function\"}'", "the verifier mine cannot start: no such function"),
    ] {
        let message = start(script);
        assert!(message.contains(wanted), "{script}: {message}");
    }
    let missing = Workers::new("mine", || Command::new("/no/such/program"), &options).unwrap_err().to_string();
    assert!(missing.contains("cannot run /no/such/program"), "{missing}");
}

#[test]
fn a_verifier_that_cannot_start_again_does_not_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("started");
    let (options, _) = options(1);
    let script = format!(
        "[ -e {0} ] && exit 9; touch {0}; echo '{{\"hello\": {{\"protocol\": 1}}}}'; read line; exit 1",
        file.display()
    );
    let command = move || {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&script);
        command
    };
    let workers = Workers::new("mine", command, &options).unwrap();
    assert_eq!(verdicts(&judge(&workers, &rows(1), &["a", "b", "c"]).unwrap()), [(None, "error"); 3]);
    std::fs::write(&file, "").unwrap();
    assert_eq!(verdicts(&judge(&workers, &rows(1), &["a"]).unwrap()), [(None, "error")]);
}

#[test]
fn an_interrupt_ends_a_batch_at_once() {
    let (mut options, _) = options(2);
    options.timeout = Duration::from_secs(600);
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    options.interrupt = Some(Arc::new(move || asked.load(Ordering::Relaxed)));
    let workers = shell("", "sleep 600", &options).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(150));
            stop.store(true, Ordering::Relaxed);
        });
        let error = judge(&workers, &rows(1), &["a"; 8]).unwrap_err();
        assert!(error.is::<Interrupted>(), "{error}");
    });
}

#[test]
fn a_row_that_does_not_fit_a_line_is_an_error_of_its_own() {
    let (options, warnings) = options(1);
    let workers = shell("", "echo '{\"id\": '$id', \"reward\": 1}'", &options).unwrap();
    let long = "x".repeat(2 << 20);
    assert_eq!(verdicts(&judge(&workers, &rows(1), &[&long, "a"]).unwrap()), [(None, "error"), (Some(1.0), "correct")]);
    assert!(warnings.lock().unwrap()[0].contains("longer than the 1 MiB"));
}
