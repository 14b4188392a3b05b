//! `watch`: shows the report of a run in progress in a browser on this machine.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::report::{self, Kind};
use crate::run_dir::RunDir;
use crate::{note, say};

/// Follow a run in a browser: serve its report and redraw it as records arrive.
///
/// The server listens on the loopback address only, so other machines cannot read the report. To follow a remote run,
/// forward the port: ssh -L 8321:127.0.0.1:8321 HOST. Ctrl-C ends watching; the run continues.
#[derive(Clone, Debug, clap::Args)]
pub struct WatchArgs {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 8321)]
    port: u16,
}

const SCRIPT: &str = include_str!("watch.js");
/// The maximum length of a request in bytes.
const LONGEST: u64 = 16 << 10;
/// The time between two looks at the run's files.
const LOOK: Duration = Duration::from_millis(500);
/// The number of looks without news after which the server sends a comment to keep the connection alive.
const LOOKS: u32 = 30;

/// Runs the command until a signal ends it.
pub fn run(args: &WatchArgs, json: bool) -> Result<()> {
    report::html(&args.run, Kind::Served)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port))
        .with_context(|| format!("cannot listen on port {}; --port 0 takes a free one", args.port))?;
    let address = listener.local_addr()?;
    if json {
        say!("{}", serde_json::json!({ "url": format!("http://{address}/"), "run": args.run }));
    } else {
        say!("http://{address}/");
        note!("Ctrl-C ends watching; the run continues");
    }
    let run: Arc<Path> = Arc::from(args.run.as_path());
    for stream in listener.incoming() {
        let (stream, run) = (stream?, Arc::clone(&run));
        // Errors mean that the browser has disconnected.
        std::thread::spawn(move || _ = answer(stream, &run, address));
    }
    Ok(())
}

/// Reads one request and answers it.
fn answer(mut stream: TcpStream, run: &Path, address: SocketAddr) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?.take(LONGEST)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut host = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("host")
        {
            host = value.trim().to_owned();
        }
    }
    let known = [address.to_string(), format!("localhost:{}", address.port())];
    let (status, kind, body) = match first.split(' ').collect::<Vec<_>>()[..] {
        // This check prevents DNS rebinding: a foreign page whose name resolves to this address must not read the
        // report.
        _ if !known.contains(&host) => {
            ("403 Forbidden", "text/plain", "this server answers only to 127.0.0.1 and localhost\n".into())
        }
        ["GET", "/", _] => match report::html(run, Kind::Served) {
            Ok(html) => ("200 OK", "text/html; charset=utf-8", html),
            Err(error) => ("500 Internal Server Error", "text/plain; charset=utf-8", format!("{error:#}\n")),
        },
        ["GET", "/watch.js", _] => ("200 OK", "text/javascript; charset=utf-8", SCRIPT.into()),
        ["GET", "/events", _] => return events(&mut stream, run),
        ["GET", ..] => ("404 Not Found", "text/plain", "not found: the report is at /\n".into()),
        _ => ("405 Method Not Allowed", "text/plain", "only GET is allowed\n".into()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Sends an event for each change of the records, and one at the end. A browser that loses the connection reconnects
/// after a second.
fn events(stream: &mut TcpStream, run: &Path) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\nretry: 1000\n\n",
    )?;
    // The first look always sends an event, because the page in the browser may be older.
    let (mut known, mut quiet) = (None, 0);
    loop {
        let directory = RunDir::open(run).map_err(io::Error::other)?;
        // The lock is checked before the size, so that a record written just before the end is seen below.
        let goes_on = directory.is_locked().map_err(io::Error::other)?;
        let size = std::fs::metadata(directory.metrics()).map_or(0, |file| file.len());
        if known != Some((size, goes_on)) {
            known = Some((size, goes_on));
            quiet = 0;
            let name = if goes_on { "" } else { "event: end\n" };
            stream.write_all(format!("{name}data: {size}\n\n").as_bytes())?;
        }
        if !goes_on {
            return Ok(());
        }
        quiet += 1;
        if quiet % LOOKS == 0 {
            stream.write_all(b":\n\n")?;
        }
        std::thread::sleep(LOOK);
    }
}
