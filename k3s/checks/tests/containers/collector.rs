//! A collector of traces, in a place of its own in the network: takes what it is told over HTTP, and keeps it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// Where OTLP over HTTP is spoken.
const PORT: u16 = 4318;

/// The longest report that is read.
const REPORT_BYTES_MAX: u64 = 8 << 20;

/// One span as it was told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) trace: String,
    pub(crate) service: String,
    pub(crate) name: String,
}

type Spans = Arc<Mutex<BTreeSet<Told>>>;

/// A running collector. It ends with the process.
pub(crate) struct Collector(Spans);

impl Collector {
    /// Listens in a network namespace.
    pub(crate) fn start(namespace: &str) -> Self {
        let network = File::open(format!("/var/run/netns/{namespace}")).expect("the namespace is there");
        let spans = Spans::default();
        let kept = Arc::clone(&spans);
        // A namespace is entered by a thread, not by a process: the rest of this test stays where it is.
        let listening = thread::spawn(move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a namespace");
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("nobody else is in there")
        });
        let listener = listening.join().expect("it listens");
        thread::spawn(move || {
            for connection in listener.incoming() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || match connection.and_then(|stream| take(&stream)) {
                    Ok(told) => kept.lock().unwrap_or_else(PoisonError::into_inner).extend(told),
                    // Whoever tells is killed, too, and tells again or loses spans. What is missed shows in the assertions.
                    Err(error) => eprintln!("the collector: {error}"),
                });
            }
        });
        Self(spans)
    }

    /// Everything that it was told until now.
    pub(crate) fn spans(&self) -> BTreeSet<Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads one report and thanks for it.
fn take(stream: &TcpStream) -> Result<Vec<Told>> {
    let wrong = |what: &str| Error::new(ErrorKind::InvalidData, what.to_owned());
    let mut reader = BufReader::new(stream).take(REPORT_BYTES_MAX);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.starts_with("POST /v1/traces ") {
        return Err(wrong(&format!("this is no report: {line}")));
    }
    let mut length = None;
    while !line.trim().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    let mut body = vec![0; length.ok_or_else(|| wrong("a report without its length"))?];
    reader.read_exact(&mut body)?;
    let report: Value = serde_json::from_slice(&body)?;
    let mut stream = stream;
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    )?;
    Ok(spans_of(&report))
}

/// The spans of a report, as OTLP's JSON has them.
fn spans_of(report: &Value) -> Vec<Told> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut told = Vec::new();
    for resource in list(&report["resourceSpans"]) {
        let attributes = list(&resource["resource"]["attributes"]);
        let named = attributes
            .iter()
            .find(|attribute| attribute["key"] == "service.name");
        let service = named.map_or_else(String::new, |named| text(&named["value"]["stringValue"]));
        for span in list(&resource["scopeSpans"])
            .iter()
            .flat_map(|scope| list(&scope["spans"]))
        {
            told.push(Told {
                trace: text(&span["traceId"]),
                service: service.clone(),
                name: text(&span["name"]),
            });
        }
    }
    told
}
