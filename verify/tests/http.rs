//! Verifiers behind HTTP: a server of batches, and a language model as a judge.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowrl_core::task::JudgeError;
use flowrl_lm::Interrupted;
use flowrl_lm::verify::Verifier;
use flowrl_verify::open;
use serde_json::{Value, json};

use crate::workers::{judge, metric, options, rows};

/// A server that answers each request with the status and text that `reply` makes of its path and body.
fn server(reply: impl Fn(&str, &Value) -> (u16, String) + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let (count, reply) = (Arc::clone(&requests), Arc::new(reply));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (count, reply) = (Arc::clone(&count), Arc::clone(&reply));
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                loop {
                    let (mut line, mut length, mut path) = (String::new(), 0, String::new());
                    loop {
                        line.clear();
                        if reader.read_line(&mut line).unwrap_or(0) == 0 {
                            return;
                        }
                        if path.is_empty() {
                            path = line.split(' ').nth(1).unwrap_or("").to_owned();
                        }
                        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        if line == "\r\n" {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    reader.read_exact(&mut body).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                    let (status, text) = reply(&path, &serde_json::from_slice(&body).unwrap_or_default());
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", text.len());
                    if reader.get_mut().write_all((head + &text).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, requests)
}

fn rewards(verifier: &dyn Verifier, texts: &[&str]) -> Result<Vec<Option<f64>>, JudgeError> {
    Ok(judge(verifier, &rows(3), texts)?.iter().map(|judgement| judgement.reward).collect())
}

/// Answers every item with the length of its completion.
fn lengths(body: &Value) -> Vec<Value> {
    let items = body["items"].as_array().unwrap();
    let answer = |item: &Value| json!({"id": item["id"], "reward": item["completion"].as_str().unwrap().len()});
    items.iter().rev().map(answer).collect()
}

#[test]
fn a_server_judges_batches() {
    for wrapped in [false, true] {
        let (url, requests) = server(move |_, body| {
            let answers = Value::from(lengths(body));
            (200, if wrapped { json!({"items": answers}) } else { answers }.to_string())
        });
        let verifier = open(&[format!("{url}/score").parse().unwrap()], &options(2).0).unwrap();
        let texts: Vec<String> = (0..150).map(|i| "x".repeat(i)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let wanted: Vec<_> = (0..150).map(|i| Some(f64::from(i))).collect();
        assert_eq!(rewards(&*verifier, &texts).unwrap(), wanted);
        assert_eq!(requests.load(Ordering::Relaxed), 4, "one empty, three of at most 64");
    }
}

#[test]
fn a_server_that_fails_leaves_completions_out() {
    let calls = AtomicUsize::new(0);
    let (url, _) = server(move |_, body| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => (200, "[]".into()),
        // Tried again after this one.
        1 => (503, "busy".into()),
        2 => (200, Value::from(lengths(body)).to_string()),
        3 => (500, "a bug".into()),
        4 => (200, "<html>".into()),
        5 => (200, json!([{"id": 0, "reward": "x"}, {"id": 7, "reward": 1}]).to_string()),
        _ => (200, json!({"detail": "no"}).to_string()),
    });
    let (options, warnings) = options(1);
    let verifier = open(&[url.parse().unwrap()], &options).unwrap();
    assert_eq!(rewards(&*verifier, &["ab"]).unwrap(), [Some(2.0)]);
    for _ in 0..4 {
        assert_eq!(rewards(&*verifier, &["ab"]).unwrap(), [None]);
    }
    assert_eq!(metric(&*verifier, "judge_failures"), 4.0);
    let warnings = warnings.lock().unwrap().join("\n");
    for wanted in ["500", "a bug", "\"<html>\", which is not JSON", "`reward` \"x\"", "instead of a list of items"] {
        assert!(warnings.contains(wanted), "{wanted}: {warnings}");
    }
    let nobody = open(&["http://127.0.0.1:9/".parse().unwrap()], &options).unwrap_err().to_string();
    assert!(nobody.contains("the verifier http://127.0.0.1:9 did not answer"), "{nobody}");
}

/// A server that answers an empty list and then hangs if a completion says so.
fn hanging() -> (String, Arc<AtomicUsize>) {
    server(|_, body| {
        if body.to_string().contains("hang") {
            std::thread::sleep(Duration::from_secs(600));
        }
        (200, Value::from(lengths(body)).to_string())
    })
}

#[test]
fn only_the_completion_that_hangs_a_server_runs_out_of_time() {
    let (mut options, _) = options(2);
    options.timeout = Duration::from_secs(1);
    let verifier = open(&[hanging().0.parse().unwrap()], &options).unwrap();
    let judgements = judge(&*verifier, &rows(3), &["a", "hang", "bcd"]).unwrap();
    let found: Vec<_> = judgements.iter().map(|judgement| (judgement.reward, &*judgement.verdict)).collect();
    assert_eq!(found, [(Some(1.0), "correct"), (None, "timeout"), (Some(3.0), "correct")]);
}

#[test]
fn an_interrupt_does_not_wait_for_a_server() {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut options, _) = options(1);
    options.timeout = Duration::from_secs(600);
    let asked = Arc::clone(&stop);
    options.interrupt = Some(Arc::new(move || asked.load(Ordering::Relaxed)));
    let (url, requests) = hanging();
    let verifier = open(&[url.parse().unwrap()], &options).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while requests.load(Ordering::Relaxed) < 2 {
                std::thread::sleep(Duration::from_millis(10));
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(judge(&*verifier, &rows(1), &["hang"]).unwrap_err().is::<Interrupted>());
    });
}

#[test]
fn a_language_model_is_asked_once_about_each_completion() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let questions = Arc::clone(&seen);
    let (url, _) = server(move |path, body| {
        if path.ends_with("/models") {
            return (200, json!({"data": [{"id": "the-model"}]}).to_string());
        }
        let question = body["messages"][0]["content"].as_str().unwrap().to_owned();
        assert_eq!((path, &body["model"]), ("/v1/chat/completions", &json!("the-model")));
        let score =
            if question.contains("good") { "I would say Score: 3, no: **Score: 0.75**" } else { "It has none." };
        questions.lock().unwrap().push(question);
        (200, json!({"choices": [{"message": {"content": score}}]}).to_string())
    });
    let (options, warnings) = options(2);
    let verifier = open(&[format!("judge:{url}/v1").parse().unwrap()], &options).unwrap();
    let texts = ["good {answer}", "bad", "x", "good {answer}", "bad", "x"];
    let found = rewards(&*verifier, &texts).unwrap();
    assert_eq!(found, [Some(0.75), None, None, Some(0.75), None, None]);
    let questions = seen.lock().unwrap().clone();
    assert_eq!(questions.len(), 3, "{questions:?}");
    let good = questions.iter().find(|question| question.contains("good")).unwrap();
    assert!(
        good.contains("good {answer}") && good.contains("Reference answer:\n0\n") && good.contains("Question:\nq0")
    );
    assert!(warnings.lock().unwrap()[0].contains("no score in it"));
    // Failures are asked about again, successes are not.
    rewards(&*verifier, &texts).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 5);
}

#[test]
fn mistakes_in_the_options_of_a_judge_are_named() {
    let (url, _) = server(|_, _| (200, json!({"data": []}).to_string()));
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("template.txt");
    std::fs::write(&template, "Is it good?").unwrap();
    for (given, wanted) in [
        (String::new(), "lists no model"),
        (format!(",model=m,template={}", template.display()), "has no {completion}"),
        (",model=m,template=/no/such".into(), "cannot read /no/such"),
        (",model=m,pattern=[".into(), "the judge's pattern \"[\""),
        (",model=m,pattern=Score".into(), "has no group"),
    ] {
        let spec = format!("judge:{url}/v1{given}").parse().unwrap();
        let message = open(&[spec], &options(1).0).unwrap_err().to_string();
        assert!(message.contains(wanted), "{given}: {message}");
    }
}
