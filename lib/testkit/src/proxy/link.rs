//! The proxy's port: listening while the link is up, refusing while it is cut.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Counts, Link, Rules, bound, pump};
use crate::chance::Chance;

/// How many connections may wait to be accepted.
const BACKLOG_MAX: u32 = 1_024;
/// How long accepting rests after the system refused it, for want of descriptors for instance.
const ACCEPT_PAUSE_MILLIS: u64 = 50;

/// Listens on a port that a socket of ours already holds.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(BACKLOG_MAX)
}

/// Serves until it is dropped. Ends by itself only when the port is lost.
pub(super) async fn serve(
    first: TcpListener,
    address: SocketAddr,
    mut rules: watch::Receiver<Rules>,
    counts: &Arc<Counts>,
    seed: u64,
) -> io::Result<()> {
    let mut chance = Chance::new(seed);
    let mut first = Some(first);
    loop {
        let link = rules.borrow_and_update().link;
        let up = match link {
            Link::Up => None,
            Link::Flapping { up, .. } => Some(up),
            Link::Cut => {
                drop(first.take());
                changed(&mut rules, link, None).await;
                continue;
            }
        };
        let listener = first.take().map_or_else(|| listen(address), Ok)?;
        accept(listener, &rules, counts, &mut chance, link, up).await;
        match link {
            Link::Up | Link::Cut => {}
            Link::Flapping { down, .. } => {
                changed(&mut rules, link, Some(down)).await;
            }
        }
    }
}

/// Accepts and forwards until the link is told to be otherwise, or `up` has passed. On return nobody listens, and
/// all connections are closed.
async fn accept(
    listener: TcpListener,
    rules: &watch::Receiver<Rules>,
    counts: &Arc<Counts>,
    chance: &mut Chance,
    link: Link,
    up: Option<Duration>,
) {
    let mut watched = rules.clone();
    let mut ended = std::pin::pin!(changed(&mut watched, link, up));
    // Dropped on return, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = &mut ended => return,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    counts.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(pump::connect(client, rules.clone(), Arc::clone(counts), chance.fork()));
                }
                Err(error) => {
                    eprintln!("testkit's proxy can't accept: {error}");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLIS)).await;
                }
            },
            Some(joined) = connections.join_next() => {
                if let Err(error) = joined && error.is_panic() {
                    eprintln!("a connection of testkit's proxy panicked: {error}");
                }
            }
        }
    }
}

/// Returns when the link is told to be otherwise, or `at_most` has passed.
async fn changed(rules: &mut watch::Receiver<Rules>, link: Link, at_most: Option<Duration>) {
    let until = at_most.map(|at_most| Instant::now() + at_most);
    let told = async {
        if rules.wait_for(|rules| rules.link != link).await.is_err() {
            // The handle is gone, and this whole thread is about to be.
            std::future::pending::<()>().await;
        }
    };
    match until {
        None => told.await,
        Some(until) => tokio::select! {
            () = told => {}
            () = tokio::time::sleep_until(until) => {}
        },
    }
}
