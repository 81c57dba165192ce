//! One connection that is kept alive, and made again when it is gone.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::{BodyLength, Head, parse_head, unchunk};
use super::{Answer, Request};

/// How long an answer may take; a long poll of 30 s fits in.
pub const REQUEST_SECONDS_MAX: u64 = 40;

/// How long an answer may be.
const ANSWER_BYTES_MAX: usize = 64 * 1_024 * 1_024;

/// How much is read at once.
const READ_BYTES: usize = 16 * 1_024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(std::io::Error),
    /// The server closed it before it had answered.
    #[error("closed before the answer")]
    Closed,
    /// It took too long.
    #[error("no answer within {REQUEST_SECONDS_MAX} s")]
    TimedOut,
    /// It is no HTTP.
    #[error("{0}")]
    Garbage(&'static str),
}

/// A connection to one address.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    host: String,
    stream: Option<TcpStream>,
    out: Vec<u8>,
    read: Vec<u8>,
    unchunked: Vec<u8>,
}

impl Connection {
    /// One that is made with the first request.
    pub fn new(address: SocketAddr, host: impl Into<String>) -> Self {
        Self {
            address,
            host: host.into(),
            stream: None,
            out: Vec::with_capacity(1_024),
            read: Vec::with_capacity(READ_BYTES),
            unchunked: Vec::new(),
        }
    }

    /// Where it leads.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and reads all of its answer, which lies here until the next one.
    ///
    /// # Errors
    /// [`HttpError`] says why there is no answer; the next request makes a new connection.
    pub async fn send(&mut self, request: &Request<'_>) -> Result<Answer<'_>, HttpError> {
        request.write(&self.host, &mut self.out);
        let bound = Duration::from_secs(REQUEST_SECONDS_MAX);
        let sent = timeout(bound, self.exchange(request)).await;
        let (head, end) = match sent.unwrap_or(Err(HttpError::TimedOut)) {
            Ok(read) => read,
            Err(error) => {
                self.stream = None;
                return Err(error);
            }
        };
        if head.closes {
            self.stream = None;
        }
        let body = match head.body {
            BodyLength::Chunked => &self.unchunked[..],
            BodyLength::Bytes(_) | BodyLength::UntilClosed => &self.read[head.length..end],
        };
        Answer::new(&head, &self.read, body).ok_or(HttpError::Garbage("the head of the answer is no text"))
    }

    async fn exchange(&mut self, request: &Request<'_>) -> Result<(Head, usize), HttpError> {
        let reused = self.stream.is_some();
        match self.exchange_once(request).await {
            // A server may close a connection that has been idle in the moment in which it is used again.
            Err(HttpError::Closed | HttpError::Broken(_))
                if reused && self.read.is_empty() && request.is_idempotent() =>
            {
                self.stream = None;
                self.exchange_once(request).await
            }
            exchanged => exchanged,
        }
    }

    async fn exchange_once(&mut self, request: &Request<'_>) -> Result<(Head, usize), HttpError> {
        self.read.clear();
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address)
                .await
                .map_err(HttpError::Connect)?;
            stream.set_nodelay(true).map_err(HttpError::Connect)?;
            self.stream = Some(stream);
        }
        let Some(stream) = self.stream.as_mut() else {
            return Err(HttpError::Closed);
        };
        stream.write_all(&self.out).await.map_err(HttpError::Broken)?;
        let mut head = None;
        loop {
            self.read.reserve(READ_BYTES);
            let count = stream.read_buf(&mut self.read).await.map_err(HttpError::Broken)?;
            let is_over = count == 0;
            if head.is_none() {
                head = parse_head(&self.read, request.method == "HEAD").map_err(HttpError::Garbage)?;
            }
            if let Some(head) = head
                && let Some(end) = body_end(&head, &self.read, &mut self.unchunked, is_over)?
            {
                return Ok((head, end));
            }
            if is_over {
                return Err(HttpError::Closed);
            }
            if self.read.len() > ANSWER_BYTES_MAX {
                return Err(HttpError::Garbage("the answer is too long"));
            }
        }
    }
}

/// Where the body ends, if all of it is there.
fn body_end(
    head: &Head,
    read: &[u8],
    unchunked: &mut Vec<u8>,
    is_over: bool,
) -> Result<Option<usize>, HttpError> {
    match head.body {
        BodyLength::Bytes(length) => {
            let end = head.length.saturating_add(length);
            Ok((read.len() >= end).then_some(end))
        }
        BodyLength::UntilClosed => Ok(is_over.then_some(read.len())),
        BodyLength::Chunked => match unchunk(&read[head.length..]).map_err(HttpError::Garbage)? {
            Some((body, length)) => {
                *unchunked = body;
                Ok(Some(head.length + length))
            }
            None => Ok(None),
        },
    }
}
