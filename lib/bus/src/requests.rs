//! What consumers ask of a source's relay, in a small stream of its own.
//!
//! There are two main kinds, because being behind is no reason to be sent anything: what is next may still stand
//! in the stream. A **statement** ("this is how far I am") is made on every (re)connect and never makes the
//! relay append; it lets a source whose store is older than its readers find out. A **resend** is asked for
//! only when the consumer has seen that what is next will not come by itself: the stream goes on beyond it.
//! A **recollection** is a statement of a consumer whose cursors come out of a backup: it is only as new as that, whatever
//! became of that store's own events.

use events::{Epoch, Position, Seq, Source};
use redis::{Value, cmd};

use crate::entry::{Entry, StreamId, entries_read};
use crate::errors::BusError;
use crate::link::Link;

/// About how many requests are kept: they are read within a second, and repeated when they were not.
const REQUESTS_KEPT_MAX: usize = 1_000;
/// How many are read at once.
const REQUESTS_READ_MAX: usize = 256;

/// Why a consumer speaks to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// It says how far it is.
    Statement,
    /// It says how far it was once: its cursor comes out of a backup, and has not caught up with its source since.
    Recollection,
    /// It lacks what comes after its cursor.
    Resend,
}

/// A consumer's word to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: StreamId,
    pub(crate) kind: RequestKind,
    pub(crate) group: Source,
    pub(crate) cursor: Position,
}

impl RequestKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::Recollection => "recollection",
            Self::Resend => "resend",
        }
    }
}

/// Puts a request into the stream at `key`; gives its id.
pub(crate) async fn ask(
    link: &mut Link,
    key: &str,
    kind: RequestKind,
    group: Source,
    cursor: Position,
) -> Result<StreamId, BusError> {
    let mut add = cmd("XADD");
    add.arg(key)
        .arg("MAXLEN")
        .arg("~")
        .arg(REQUESTS_KEPT_MAX)
        .arg("*");
    add.arg("kind")
        .arg(kind.as_str())
        .arg("group")
        .arg(group.as_str());
    add.arg("epoch").arg(cursor.epoch.0).arg("seq").arg(cursor.seq.0);
    let id: String = link.run(&add).await?;
    id.parse()
}

/// The requests after `after`, oldest first, and the id to go on from. What can't be read is passed over.
pub(crate) async fn read(
    link: &mut Link,
    key: &str,
    after: StreamId,
) -> Result<(Vec<Request>, StreamId), BusError> {
    let mut xread = cmd("XREAD");
    xread
        .arg("COUNT")
        .arg(REQUESTS_READ_MAX)
        .arg("STREAMS")
        .arg(key)
        .arg(after.to_string());
    let entries = entries_read(link.run::<Value>(&xread).await?)?;
    let last = entries.last().map_or(after, |entry| entry.id);
    Ok((entries.into_iter().filter_map(request).collect(), last))
}

/// Waits until there is a request after `after`, at most `block_millis`; gives the id of the first, and
/// leaves it to [`read`].
pub(crate) async fn wait(
    link: &mut Link,
    key: &str,
    after: Option<StreamId>,
    block_millis: u64,
) -> Result<Option<StreamId>, BusError> {
    let mut xread = cmd("XREAD");
    xread
        .arg("COUNT")
        .arg(1)
        .arg("BLOCK")
        .arg(block_millis)
        .arg("STREAMS")
        .arg(key);
    xread.arg(after.map_or_else(|| "$".to_owned(), |id| id.to_string()));
    let entries = entries_read(link.run::<Value>(&xread).await?)?;
    Ok(entries.first().map(|entry| entry.id))
}

fn request(mut entry: Entry) -> Option<Request> {
    let kind = match entry.take("kind")?.as_str() {
        "statement" => RequestKind::Statement,
        "recollection" => RequestKind::Recollection,
        "resend" => RequestKind::Resend,
        _ => return None,
    };
    Some(Request {
        id: entry.id,
        kind,
        group: entry.take("group")?.parse().ok()?,
        cursor: Position {
            epoch: Epoch(entry.take("epoch")?.parse().ok()?),
            seq: Seq(entry.take("seq")?.parse().ok()?),
        },
    })
}
