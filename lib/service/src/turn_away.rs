//! What a connection too many hears: a 503, written before anything was read, and then the end.

use std::sync::OnceLock;
use std::time::Duration;

use errors::{PROBLEM_JSON, Problem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many connections are told at once that they are too many; beyond that they wait in the listener's backlog.
pub(crate) const TURNED_AWAY_AT_ONCE_MAX: usize = 64;

/// Connections that found no place.
const REFUSED: &str = "http_connections_refused_total";

/// When a client should try again that found no place.
const RETRY_SECONDS: u32 = 1;

/// How long a client may take to hear it.
const HEAR_WAIT_MAX: Duration = Duration::from_millis(500);

/// How much of what it sends meanwhile is taken off the wire at once.
const READ_BYTES: usize = 4 * 1024;

/// Makes the counter known before there is anything to count.
pub(crate) fn begin_counting() {
    metrics::counter!(REFUSED).absolute(0);
}

/// Says that there is no place, and closes the connection.
pub(crate) async fn turn_away(mut stream: TcpStream) {
    metrics::counter!(REFUSED).increment(1);
    let said = tokio::time::timeout(HEAR_WAIT_MAX, async {
        stream.write_all(answer().as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with something unread, the connection would be reset, and the client might never see the answer.
        let mut ignored = [0; READ_BYTES];
        while stream.read(&mut ignored).await? > 0 {}
        Ok::<(), std::io::Error>(())
    });
    if let Ok(Err(error)) = said.await {
        tracing::trace!(%error, "a connection too many was gone before it heard so");
    }
}

fn answer() -> &'static str {
    static ANSWER: OnceLock<String> = OnceLock::new();
    ANSWER.get_or_init(|| {
        let problem = Problem::unavailable("Too many connections at once, try again soon", RETRY_SECONDS);
        let body = serde_json::to_string(&problem.body()).expect("a problem is a struct with text keys");
        format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_JSON}\r\nretry-after: {RETRY_SECONDS}\r\n\
             connection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    })
}
