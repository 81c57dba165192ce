//! Reading an answer: where its head ends, how long its body is, and what of it a load generator looks at.

/// How long the head of an answer may be.
const HEAD_BYTES_MAX: usize = 64 * 1_024;

/// An answer, lying in the buffer of its connection.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// 200, 201, …
    pub status: u16,
    head: &'a str,
    /// The body, whole.
    pub body: &'a [u8],
}

/// The head of an answer, once all of it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The status.
    pub(super) status: u16,
    /// Where the body begins.
    pub(super) length: usize,
    /// How the body ends.
    pub(super) body: BodyLength,
    /// Whether the server will close the connection.
    pub(super) closes: bool,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    /// So many bytes.
    Bytes(usize),
    /// Pieces, each with its length.
    Chunked,
    /// Until the server closes.
    UntilClosed,
}

impl<'a> Answer<'a> {
    pub(super) fn new(head: &Head, bytes: &'a [u8], body: &'a [u8]) -> Option<Self> {
        Some(Self {
            status: head.status,
            head: std::str::from_utf8(&bytes[..head.length]).ok()?,
            body,
        })
    }

    /// The value of a header; of the first, if it stands there more than once.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        header_lines(self.head)
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// `name=value` of a cookie that the answer sets.
    pub fn cookie(&self) -> Option<&'a str> {
        self.header("set-cookie")?.split(';').next()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none, or not what was expected.
    pub fn json<T: serde::Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.body)
    }
}

/// The head of what has arrived so far; `None` while it is not all there.
///
/// # Errors
/// When it is no HTTP.
pub(super) fn parse_head(bytes: &[u8], to_head_request: bool) -> Result<Option<Head>, &'static str> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return if bytes.len() > HEAD_BYTES_MAX {
            Err("the head of the answer is too long")
        } else {
            Ok(None)
        };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "the head of the answer is no text")?;
    let first = head.lines().next().unwrap_or_default();
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or("the answer is no HTTP/1")?;
    let mut body = None;
    let mut closes = first.starts_with("HTTP/1.0");
    for (name, value) in header_lines(head) {
        if name.eq_ignore_ascii_case("content-length") {
            let length = value.parse().map_err(|_| "content-length is no number")?;
            body = body.or(Some(BodyLength::Bytes(length)));
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = Some(BodyLength::Chunked);
        } else if name.eq_ignore_ascii_case("connection") {
            closes = value.eq_ignore_ascii_case("close");
        }
    }
    let without = to_head_request || status == 204 || status == 304 || status < 200;
    let body = if without {
        BodyLength::Bytes(0)
    } else {
        body.unwrap_or(BodyLength::UntilClosed)
    };
    Ok(Some(Head {
        status,
        length: end + 4,
        closes: closes || body == BodyLength::UntilClosed,
        body,
    }))
}

/// The pieces of a chunked body put together, and how many bytes they took; `None` while it is not all there.
///
/// # Errors
/// When a piece's length is none.
pub(super) fn unchunk(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut body = Vec::with_capacity(bytes.len());
    let mut at = 0;
    loop {
        let Some(line) = find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[at..at + line])
            .ok()
            .and_then(|size| usize::from_str_radix(size.split(';').next()?.trim(), 16).ok())
            .ok_or("a piece of the body has no length")?;
        at += line + 2;
        let Some(piece) = bytes.get(at..at.saturating_add(size)) else {
            return Ok(None);
        };
        body.extend_from_slice(piece);
        at += size;
        if bytes.len() < at + 2 {
            return Ok(None);
        }
        at += 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

fn header_lines(head: &str) -> impl Iterator<Item = (&str, &str)> {
    head.split("\r\n").skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name, value.trim()))
    })
}

/// Where `what`, which begins with a byte that is rare in heads, stands first.
fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let (first, mut from) = (*what.first()?, 0);
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| *byte == first)?;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_there() {
        let text = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nETag: \"1\"\r\nset-cookie: session=a; Path=/\r\n\r\nhello";
        for cut in 0..text.len() - 5 {
            assert_eq!(parse_head(&text[..cut], false), Ok(None), "{cut}");
        }
        let head = parse_head(text, false).unwrap().unwrap();
        assert_eq!((head.status, head.body), (201, BodyLength::Bytes(5)));
        let answer = Answer::new(&head, text, b"hello").unwrap();
        assert_eq!(answer.header("etag"), Some("\"1\""));
        assert_eq!(answer.cookie(), Some("session=a"));
        assert_eq!(answer.header("location"), None);
    }

    #[test]
    fn what_has_no_body_is_not_waited_for() {
        for text in [
            "HTTP/1.1 304 Not Modified\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ] {
            let head = parse_head(text.as_bytes(), false).unwrap().unwrap();
            assert_eq!(head.body, BodyLength::Bytes(0));
        }
        let head = parse_head(b"HTTP/1.0 200 OK\r\n\r\n", false).unwrap().unwrap();
        assert_eq!((head.body, head.closes), (BodyLength::UntilClosed, true));
    }

    #[test]
    fn what_is_no_http_is_refused() {
        assert!(parse_head(b"SSH-2.0-OpenSSH\r\n\r\n", false).is_err());
        assert!(parse_head(&vec![b'x'; HEAD_BYTES_MAX + 1], false).is_err());
    }

    #[test]
    fn pieces_are_put_together() {
        let text = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\nnext";
        for cut in 0..text.len() - 4 {
            assert_eq!(unchunk(&text[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(unchunk(text), Ok(Some((b"hello world".to_vec(), text.len() - 4))));
        assert!(unchunk(b"zz\r\n").is_err());
    }
}
