//! Tests of the server of `watch`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::common::{ok, program};

/// A running server, which is killed on drop.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn of(run: &str, directory: &Path) -> Self {
        let mut child = program(&["watch", run, "--port", "0"], directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
        Self { child, address }
    }

    fn ask(&self, request: &str, host: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut text = String::new();
        self.ask(&format!("GET {path}"), &self.address).read_to_string(&mut text).unwrap();
        text
    }
}

#[test]
fn a_run_is_shown_to_this_machine_alone() {
    let directory = tempfile::tempdir().unwrap();
    ok(&["train", "--task", "bandit", "--steps", "20", "--out", "run"], directory.path());
    let server = Server::of("run", directory.path());
    assert!(server.address.starts_with("127.0.0.1:"), "{}", server.address);
    let page = server.get("/");
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("<svg") && page.contains("<script src=/watch.js defer>"),
        "{page}"
    );
    assert!(page.contains("script-src 'self'") && !page.contains("http-equiv=refresh"));
    assert!(server.get("/watch.js").contains("EventSource"));
    // The run has ended, so the page is redrawn once and no event follows.
    assert!(server.get("/events").contains("event: end\ndata: "));
    for (request, host, status) in [
        ("GET /../config.toml", server.address.as_str(), "404"),
        ("POST /", server.address.as_str(), "405"),
        ("GET /", "example.org", "403"),
        ("GET /", "", "403"),
    ] {
        let mut text = String::new();
        server.ask(request, host).read_to_string(&mut text).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{request}, {host}: {text}");
    }
    // The file written by `train` still has no script.
    assert!(!std::fs::read_to_string(directory.path().join("run/report.html")).unwrap().contains("<script"));
}

#[test]
fn each_record_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    ok(&["train", "--task", "bandit", "--steps", "20", "--out", "run"], directory.path());
    let run = directory.path().join("run");
    // A locked directory looks like a run that is still going.
    let lock = std::fs::File::options().write(true).open(run.join(".lock")).unwrap();
    lock.lock().unwrap();
    let server = Server::of("run", directory.path());
    let mut events = BufReader::new(server.ask("GET /events", &server.address)).lines().map(Result::unwrap);
    let mut next = || events.find(|line| line.starts_with("data: ")).unwrap();
    let first = next();
    let mut records = std::fs::File::options().append(true).open(run.join("metrics.jsonl")).unwrap();
    records.write_all(b"{\"step\":21,\"tv\":0.5}\n").unwrap();
    assert_ne!(next(), first);
    drop(lock);
    next();
    assert!(events.next().is_none_or(|line| line.is_empty()), "the run has ended");
}
