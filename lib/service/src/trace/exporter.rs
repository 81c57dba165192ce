//! Handing spans over to a collector, beside everything else: whoever records one never waits.
//!
//! A bounded queue, one task that empties it, one request at a time. A collector that is slow, broken or away costs spans,
//! which are counted, and nothing more.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::destination::Destination;
use super::span::{self, Span};

/// Spans that wait for a request; one more is dropped.
const SPANS_QUEUED_MAX: usize = 8_192;
/// Spans in one request.
const SPANS_PER_REQUEST_MAX: usize = 512;
/// How long the first span of a request waits for others.
const LINGER: Duration = Duration::from_millis(500);
/// How long a collector may take for one request.
const SEND_SECONDS_MAX: u64 = 5;
/// Pauses before a request is sent again after a failure that may pass.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// How long the last spans may take at the end of the process. With the drain and the tasks before, it is gone within ten
/// seconds.
const FLUSH_MAX: Duration = Duration::from_millis(400);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A failure is logged at most this often.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Spans that a collector has taken.
const SENT: &str = "trace_spans_sent_total";
/// Spans that were lost, by the reason.
const DROPPED: &str = "trace_spans_dropped_total";

/// Where spans of this process go. There is one, and none before [`begin`].
static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// The near end of the queue.
pub(crate) struct Exporter {
    pub(crate) destination: Destination,
    /// What requests of this process are told under.
    pub(crate) process: &'static str,
    queue: mpsc::Sender<Span>,
}

/// The sending of traces; to be ended with [`Traces::flush`].
#[derive(Debug, Default)]
pub struct Traces(Option<Sending>);

#[derive(Debug)]
struct Sending {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// The exporter, if traces are sent at all.
pub(crate) fn exporter() -> Option<&'static Exporter> {
    EXPORTER.get()
}

/// Sends the traces of this process from now on, if `OTEL_EXPORTER_OTLP_ENDPOINT` says where to; requests are told under
/// the name `process`. To be called once, within the runtime. The collector need not be there.
///
/// # Errors
/// When one of OpenTelemetry's variables can't be understood; the sentence names it.
pub fn send_traces(process: &'static str) -> Result<Traces, String> {
    let Some(destination) = Destination::of(|name| std::env::var(name).ok())? else {
        return Ok(Traces::default());
    };
    let (exporter, traces) = begin(destination, process);
    if EXPORTER.set(exporter).is_err() {
        tracing::warn!("traces of this process are sent already");
    }
    Ok(traces)
}

/// Both ends of a queue, the far one at work.
fn begin(destination: Destination, process: &'static str) -> (Exporter, Traces) {
    for why in [Lost::QueueFull, Lost::Refused, Lost::Unsent] {
        metrics::counter!(DROPPED, "why" => why.label()).absolute(0);
    }
    let (queue, spans) = mpsc::channel(SPANS_QUEUED_MAX);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(Collector::new(destination.clone()).run(spans, stopped));
    let exporter = Exporter {
        destination,
        process,
        queue,
    };
    (exporter, Traces(Some(Sending { stop, task })))
}

impl Traces {
    /// Hands over what was recorded until now, for a moment; what the collector does not take by then is lost.
    pub async fn flush(self) {
        let Some(Sending { stop, mut task }) = self.0 else {
            return;
        };
        // An error means that the task has ended, and with it the queue.
        let (Ok(()) | Err(())) = stop.send(());
        if tokio::time::timeout(FLUSH_MAX, &mut task).await.is_err() {
            task.abort();
            tracing::warn!("the last traces were not taken in time");
        }
    }
}

impl Exporter {
    /// Takes a span, or drops it: never waits.
    pub(crate) fn record(&self, span: Span) {
        if span.context.sampled && self.queue.try_send(span).is_err() {
            Lost::QueueFull.count(1);
        }
    }
}

/// Why spans were lost.
#[derive(Clone, Copy)]
enum Lost {
    QueueFull,
    Refused,
    Unsent,
}

impl Lost {
    const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue full",
            Self::Refused => "refused",
            Self::Unsent => "unsent",
        }
    }

    fn count(self, spans: usize) {
        let spans = u64::try_from(spans).unwrap_or(u64::MAX);
        metrics::counter!(DROPPED, "why" => self.label()).increment(spans);
    }
}

/// The far end: where requests go.
struct Collector {
    destination: Destination,
    client: Client<HttpConnector, Full<Bytes>>,
    said_at: Option<Instant>,
}

/// Why a request did not do.
enum Failure {
    /// It may do later.
    Passing(String),
    /// It never will.
    Final(String),
}

/// What a collector answers beside 200.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Taken {
    partial_success: Partial,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Partial {
    /// A 64-bit number is a text in this encoding; not every collector keeps to that.
    rejected_spans: serde_json::Value,
}

impl Collector {
    fn new(destination: Destination) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(SEND_SECONDS_MAX)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector);
        Self {
            destination,
            client,
            said_at: None,
        }
    }

    async fn run(mut self, mut spans: mpsc::Receiver<Span>, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(SPANS_PER_REQUEST_MAX);
        loop {
            tokio::select! {
                more = gather(&mut spans, &mut batch) => {
                    if !more {
                        return;
                    }
                }
                _ = &mut stopped => break,
            }
            tokio::select! {
                () = self.send(&batch) => batch.clear(),
                // What is under way is sent once more, with the rest: a span that comes twice is one to a collector.
                _ = &mut stopped => break,
            }
        }
        spans.close();
        while spans.recv_many(&mut batch, SPANS_PER_REQUEST_MAX).await > 0 || !batch.is_empty() {
            self.send(&batch).await;
            batch.clear();
        }
    }

    /// Hands spans over, or counts them as lost.
    async fn send(&mut self, spans: &[Span]) {
        let body = Bytes::from(span::to_json(spans, &self.destination.resource));
        let mut pauses = PAUSES.iter();
        let failure = loop {
            let failure = match self.request(body.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(spans.len());
                    let taken = u64::try_from(spans.len() - rejected).unwrap_or(u64::MAX);
                    metrics::counter!(SENT).increment(taken);
                    if rejected > 0 {
                        Lost::Refused.count(rejected);
                        self.say("it refused some of them");
                    }
                    return;
                }
                Err(failure) => failure,
            };
            match (failure, pauses.next()) {
                (Failure::Passing(_), Some(pause)) => tokio::time::sleep(*pause).await,
                (failure, _) => break failure,
            }
        };
        match failure {
            Failure::Passing(why) => {
                Lost::Unsent.count(spans.len());
                self.say(&why);
            }
            Failure::Final(why) => {
                Lost::Refused.count(spans.len());
                self.say(&why);
            }
        }
    }

    /// One request; how many spans the collector would not take.
    async fn request(&self, body: Bytes) -> Result<usize, Failure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.destination.uri.clone();
        *request.headers_mut() = self.destination.headers.clone();
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answered = async {
            let response = self.client.request(request).await;
            let (parts, body) = response
                .map_err(|error| Failure::Passing(format!("it can't be reached: {error}")))?
                .into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
            Ok((parts.status, body))
        };
        let (status, body) = tokio::time::timeout(Duration::from_secs(SEND_SECONDS_MAX), answered)
            .await
            .map_err(|_| Failure::Passing("it did not answer in time".to_owned()))??;
        if status.is_success() {
            // An answer that can't be read refuses nothing.
            let taken: Taken = serde_json::from_slice(&body).unwrap_or_default();
            return Ok(rejected(&taken.partial_success.rejected_spans));
        }
        let why = format!("it answered {status}");
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Failure::Passing(why),
            _ => Failure::Final(why),
        })
    }

    fn say(&mut self, why: &str) {
        if self.said_at.is_none_or(|said| said.elapsed() >= SAID_EVERY) {
            self.said_at = Some(Instant::now());
            tracing::warn!(collector = %self.destination.uri, why, "traces are lost");
        }
    }
}

/// Waits for a span, and a moment for more of them; `false` when there will be none any more.
async fn gather(spans: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    if batch.is_empty() && spans.recv_many(batch, SPANS_PER_REQUEST_MAX).await == 0 {
        return false;
    }
    let until = Instant::now() + LINGER;
    while batch.len() < SPANS_PER_REQUEST_MAX {
        let room = SPANS_PER_REQUEST_MAX - batch.len();
        match tokio::time::timeout_at(until, spans.recv_many(batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    true
}

fn rejected(said: &serde_json::Value) -> usize {
    let number = said.as_u64().or_else(|| said.as_str()?.parse().ok());
    number.map_or(0, |number| usize::try_from(number).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
