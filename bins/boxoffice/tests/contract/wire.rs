//! Requests that no proper client would send, byte by byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Nothing that is refused may keep a client waiting for longer.
const REFUSAL_SECONDS_MAX: u64 = 10;

/// Sends bytes and gives everything that comes back until the server closes, which the request must ask for or
/// provoke.
pub(crate) async fn exchange(address: &str, request: &[u8]) -> String {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may answer and close before it has read everything; what it said still counts.
        let sent = stream.write_all(request).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        assert!(
            !answer.is_empty(),
            "no answer: sending gave {sent:?}, reading gave {read:?}"
        );
        String::from_utf8_lossy(&answer).into_owned()
    };
    tokio::time::timeout(Duration::from_secs(REFUSAL_SECONDS_MAX), talk)
        .await
        .expect("the server answers and closes in time")
}

/// The status of a raw answer.
pub(crate) fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("not an answer: {answer}"))
}
