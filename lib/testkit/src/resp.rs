//! The little of Redis' protocol that a test needs to look at a server or to damage it, without a client library.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that does not answer within this is taken for dead.
const REPLY_SECONDS_MAX: u64 = 10;

/// What redis-server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A status, such as `OK`.
    Status(String),
    /// An error, with its code in front.
    Error(String),
    /// A number.
    Integer(i64),
    /// A value; bytes that are not UTF-8 are replaced.
    Bulk(String),
    /// A list.
    Array(Vec<Reply>),
    /// No such thing.
    Nil,
}

impl Reply {
    /// The text of a status or value.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Status(text) | Self::Bulk(text) => Some(text),
            Self::Error(_) | Self::Integer(_) | Self::Array(_) | Self::Nil => None,
        }
    }

    /// The number, if it is one.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Status(_) | Self::Error(_) | Self::Bulk(_) | Self::Array(_) | Self::Nil => None,
        }
    }
}

/// Sends one command on a connection of its own and reads its reply.
pub(crate) fn command(address: SocketAddr, parts: &[&[u8]]) -> io::Result<Reply> {
    let limit = Duration::from_secs(REPLY_SECONDS_MAX);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let mut request = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        request.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        request.extend_from_slice(part);
        request.extend_from_slice(b"\r\n");
    }
    stream.write_all(&request)?;
    read(&mut BufReader::new(stream))
}

fn read(reader: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end_matches(['\r', '\n']);
    let (kind, rest) = line.split_at_checked(1).ok_or_else(|| invalid(line))?;
    let number = || rest.parse::<i64>().map_err(|_| invalid(line));
    match kind {
        "+" => Ok(Reply::Status(rest.to_owned())),
        "-" => Ok(Reply::Error(rest.to_owned())),
        ":" => Ok(Reply::Integer(number()?)),
        // A negative length stands for "nothing".
        "$" => match usize::try_from(number()?) {
            Err(_) => Ok(Reply::Nil),
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                reader.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Ok(Reply::Bulk(String::from_utf8_lossy(&bytes).into_owned()))
            }
        },
        "*" => match usize::try_from(number()?) {
            Err(_) => Ok(Reply::Nil),
            Ok(length) => (0..length)
                .map(|_| read(reader))
                .collect::<io::Result<_>>()
                .map(Reply::Array),
        },
        _ => Err(invalid(line)),
    }
}

fn invalid(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a reply: {line}"))
}
