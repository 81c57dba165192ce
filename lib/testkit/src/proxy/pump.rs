//! One connection through the proxy: two pumps, one a direction, and what ends them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{Counts, Direction, Flow, Rules};
use crate::chance::Chance;

/// How much is read at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;
/// How many pieces may be under way in one direction; beyond it the sender is held back, as by a full window.
const PIECES_UNDER_WAY_MAX: usize = 256;
/// A throttled direction sends what a fiftieth of a second allows, fifty times a second.
const THROTTLED_SLICES_PER_SECOND: u64 = 50;

/// Why a connection ends.
enum End {
    /// Both sides have said all, or one of them is gone.
    Closed,
    /// The bench wants a RST, or bytes were lost for good.
    Reset,
}

/// A piece on its way, with the time at which it arrives. An empty one is the end of the stream.
struct Piece {
    bytes: Bytes,
    due: Instant,
}

/// Forwards one connection until it ends.
pub(super) async fn connect(
    mut client: TcpStream,
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
    mut chance: Chance,
) {
    let _open = Open::count(&counts);
    let (began, target) = {
        let rules = rules.borrow();
        (rules.resets, rules.target)
    };
    let mut server = match TcpStream::connect(target).await {
        Ok(server) => server,
        Err(_) => {
            // The client has been accepted already, so that a refusal can only be passed on as a RST.
            abort(&client);
            return;
        }
    };
    for stream in [&client, &server] {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("testkit's proxy can't send small pieces at once: {error}");
        }
    }
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let pass = |direction| Pass {
            direction,
            rules: rules.clone(),
            counts: &counts,
        };
        let requests = pass(Direction::ToTarget).run(from_client, to_server, chance.fork());
        let answers = pass(Direction::FromTarget).run(from_server, to_client, chance.fork());
        let both = async {
            match tokio::try_join!(requests, answers) {
                Ok(((), ())) => End::Closed,
                Err(Broken::Lost) => End::Reset,
                // One side is gone in the middle: the other one must not take that for an orderly end.
                Err(Broken::Io) => End::Reset,
            }
        };
        let mut resets = rules.clone();
        let reset = async {
            if resets.wait_for(|rules| rules.resets != began).await.is_err() {
                std::future::pending::<()>().await;
            }
            End::Reset
        };
        tokio::select! {
            end = both => end,
            end = reset => end,
        }
    };
    match end {
        End::Closed => {}
        End::Reset => {
            abort(&client);
            abort(&server);
        }
    }
}

/// Closing the stream sends a RST from now on.
fn abort(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        eprintln!("testkit's proxy can't reset a connection: {error}");
    }
}

/// Why a pump stopped before the end of its stream.
enum Broken {
    /// A socket failed, as it does when its peer goes.
    Io,
    /// Bytes were swallowed and the direction is open again: what would follow makes no sense without them.
    Lost,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

/// One direction of one connection.
struct Pass<'a> {
    direction: Direction,
    rules: watch::Receiver<Rules>,
    counts: &'a Counts,
}

impl Pass<'_> {
    async fn run(self, from: ReadHalf<'_>, to: WriteHalf<'_>, chance: Chance) -> Result<(), Broken> {
        let (send, receive) = mpsc::channel(PIECES_UNDER_WAY_MAX);
        let reading = read(self.direction, self.rules.clone(), from, send, chance);
        let writing = self.write(to, receive);
        tokio::try_join!(reading, writing)?;
        Ok(())
    }

    async fn write(mut self, mut to: WriteHalf<'_>, mut pieces: mpsc::Receiver<Piece>) -> Result<(), Broken> {
        let mut lost = false;
        loop {
            // What was lost can't be made up for: once the direction is open again the connection ends.
            let piece = if lost {
                tokio::select! {
                    piece = pieces.recv() => piece,
                    () = opened(&mut self.rules, self.direction) => return Err(Broken::Lost),
                }
            } else {
                pieces.recv().await
            };
            let Some(piece) = piece else {
                return Ok(());
            };
            tokio::time::sleep_until(piece.due).await;
            let flow = unless_held(&mut self.rules, self.direction).await;
            let counted = piece.bytes.len() as u64;
            match flow {
                Flow::Swallowed => {
                    self.counts.swallowed_bytes[self.direction as usize]
                        .fetch_add(counted, Ordering::Relaxed);
                    lost = true;
                }
                Flow::Passed | Flow::Held if lost => return Err(Broken::Lost),
                Flow::Passed | Flow::Held if piece.bytes.is_empty() => to.shutdown().await?,
                Flow::Passed | Flow::Held => self.deliver(&mut to, &piece.bytes).await?,
            }
        }
    }

    /// Sends a piece, in slices with pauses before them where the direction is throttled.
    async fn deliver(&self, to: &mut WriteHalf<'_>, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let rate = self.rules.borrow().way(self.direction).bytes_per_second_max;
            let (slice, rest) = bytes.split_at(rate.map_or(bytes.len(), slice_bytes).min(bytes.len()));
            let counted = slice.len() as u64;
            if let Some(rate) = rate {
                tokio::time::sleep(Duration::from_micros(counted * 1_000_000 / rate.max(1))).await;
            }
            // Counted first: whoever has the bytes already must find them counted.
            self.counts.bytes[self.direction as usize].fetch_add(counted, Ordering::Relaxed);
            to.write_all(slice).await?;
            bytes = rest;
        }
        Ok(())
    }
}

/// Reads pieces and gives each the time of its arrival, never one before another.
async fn read(
    direction: Direction,
    rules: watch::Receiver<Rules>,
    mut from: ReadHalf<'_>,
    pieces: mpsc::Sender<Piece>,
    mut chance: Chance,
) -> Result<(), Broken> {
    let mut last_due = Instant::now();
    loop {
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        let length = from.read(&mut buffer).await?;
        buffer.truncate(length);
        let way = *rules.borrow().way(direction);
        let jitter_micros = u64::try_from(way.jitter_max.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(chance.below(jitter_micros.saturating_add(1)));
        last_due = last_due.max(Instant::now() + way.delay + jitter);
        let piece = Piece {
            bytes: buffer.into(),
            due: last_due,
        };
        if pieces.send(piece).await.is_err() || length == 0 {
            return Ok(());
        }
    }
}

fn slice_bytes(bytes_per_second_max: u64) -> usize {
    let slice = bytes_per_second_max / THROTTLED_SLICES_PER_SECOND;
    usize::try_from(slice).unwrap_or(PIECE_BYTES_MAX).max(1)
}

/// Waits while the direction is held up, and says how it is then.
async fn unless_held(rules: &mut watch::Receiver<Rules>, direction: Direction) -> Flow {
    let flow = rules
        .wait_for(|rules| rules.way(direction).flow != Flow::Held)
        .await
        .map(|rules| rules.way(direction).flow);
    match flow {
        Ok(flow) => flow,
        // The handle is gone: the whole proxy is about to be.
        Err(_) => std::future::pending().await,
    }
}

/// Returns once nothing of the direction is swallowed any more.
async fn opened(rules: &mut watch::Receiver<Rules>, direction: Direction) {
    if rules
        .wait_for(|rules| rules.way(direction).flow != Flow::Swallowed)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}

/// Counts a connection as open for as long as it lives.
struct Open(Arc<Counts>);

impl Open {
    fn count(counts: &Arc<Counts>) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
