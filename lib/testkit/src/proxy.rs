//! A TCP proxy that misbehaves on demand: between a service and its Redis, or between payments and Stripe.
//!
//! It listens on a free port of the loopback and forwards what comes to a target. While it runs, each direction
//! can be delayed, throttled, held up or swallowed, and the whole link can be cut, flapped or reset. It never
//! reorders and never changes bytes: TCP does neither. It runs on a thread of its own, so that a test may block
//! while it forwards; dropping the handle ends all of it.

mod link;
mod pump;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::watch;

/// One of the two ways through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the target: requests.
    ToTarget,
    /// From the target to the client: answers.
    FromTarget,
}

impl Direction {
    /// Both ways.
    pub const BOTH: [Self; 2] = [Self::ToTarget, Self::FromTarget];
}

/// What happens to the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Passed,
    /// Nothing moves; what waits goes on once this ends.
    Held,
    /// Taken and thrown away.
    Swallowed,
}

/// How one direction is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    flow: Flow,
    delay: Duration,
    jitter_max: Duration,
    bytes_per_second_max: Option<u64>,
}

impl Way {
    const CLEAN: Self = Self {
        flow: Flow::Passed,
        delay: Duration::ZERO,
        jitter_max: Duration::ZERO,
        bytes_per_second_max: None,
    };
}

/// Whether connections come through at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// New connections are refused, those that were there are closed.
    Cut,
    /// Up and cut by turns.
    Flapping {
        up: Duration,
        down: Duration,
    },
}

/// All that can be told to a running proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rules {
    target: SocketAddr,
    link: Link,
    ways: [Way; 2],
    /// Raised once for each reset: connections that began before it end by a RST.
    resets: u64,
}

impl Rules {
    const fn way(&self, direction: Direction) -> &Way {
        &self.ways[direction as usize]
    }
}

/// What went through so far.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    open: AtomicU64,
    bytes: [AtomicU64; 2],
    swallowed_bytes: [AtomicU64; 2],
}

/// A running proxy. Dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Proxy {
    /// Forwards to `target`, with a fixed seed for its jitter.
    ///
    /// # Panics
    /// When the system gives no port or no thread.
    pub fn to(target: SocketAddr) -> Self {
        Self::seeded(target, 0)
    }

    /// Forwards to `target`; the jitter follows from `seed`.
    ///
    /// # Panics
    /// When the system gives no port or no thread.
    pub fn seeded(target: SocketAddr, seed: u64) -> Self {
        let (rules, heard) = watch::channel(Rules {
            target,
            link: Link::Up,
            ways: [Way::CLEAN; 2],
            resets: 0,
        });
        let counts = Arc::new(Counts::default());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (told, address) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime for the proxy");
        let counting = Arc::clone(&counts);
        let thread = std::thread::Builder::new()
            .name("testkit-proxy".into())
            .spawn(move || {
                runtime.block_on(async {
                    let place = reserve().expect("the loopback has a free port");
                    let address = place.local_addr().expect("a bound socket has an address");
                    // It listens before anyone is told where.
                    let first = link::listen(address).expect("a port of our own can be listened to");
                    told.send(address)
                        .expect("the proxy's maker waits for its address");
                    let serving = link::serve(first, address, heard, &counting, seed);
                    // Whichever ends first: the handle is dropped, or the proxy can't go on, which is told on stderr.
                    tokio::select! {
                        _ = stopped => {}
                        Err(error) = serving => eprintln!("testkit's proxy on {address} failed: {error}"),
                    }
                    drop(place);
                });
            })
            .expect("a thread for the proxy");
        let address = address.recv().expect("the proxy tells its address");
        Self {
            address,
            rules,
            counts,
            thread: Some(thread),
            stop: Some(stop),
        }
    }

    /// Where clients connect; the same however often the link is cut.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Each byte of this direction arrives so much later. Takes nothing of the throughput.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.change(|rules| rules.ways[direction as usize].delay = delay);
    }

    /// Adds up to so much to the delay, another amount for each piece that is read. The order stays.
    pub fn jitter(&self, direction: Direction, jitter_max: Duration) {
        self.change(|rules| rules.ways[direction as usize].jitter_max = jitter_max);
    }

    /// Lets no more than so many bytes a second through on each connection; `None` lifts it.
    pub fn throttle(&self, direction: Direction, bytes_per_second_max: Option<u64>) {
        self.change(|rules| rules.ways[direction as usize].bytes_per_second_max = bytes_per_second_max);
    }

    /// Connections are accepted and stay, but nothing moves this way. What waits is delivered once [`Self::heal`]
    /// is called, as TCP does after a link comes back.
    pub fn hold(&self, direction: Direction) {
        self.change(|rules| rules.ways[direction as usize].flow = Flow::Held);
    }

    /// The bytes of this direction vanish while the connection stays, as behind a router that lost its way. A
    /// connection that has lost bytes never carries others after them: it is reset when the link is healed.
    pub fn swallow(&self, direction: Direction) {
        self.change(|rules| rules.ways[direction as usize].flow = Flow::Swallowed);
    }

    /// New connections are refused, and those there are end.
    pub fn cut(&self) {
        self.change(|rules| rules.link = Link::Cut);
    }

    /// Cut and up again, by turns, beginning with up.
    pub fn flap(&self, up: Duration, down: Duration) {
        self.change(|rules| rules.link = Link::Flapping { up, down });
    }

    /// Ends every connection that is there by a RST; new ones are welcome.
    pub fn reset(&self) {
        self.change(|rules| rules.resets += 1);
    }

    /// From the next connection on, forwards to another target.
    pub fn retarget(&self, target: SocketAddr) {
        self.change(|rules| rules.target = target);
    }

    /// Everything as it was at first.
    pub fn heal(&self) {
        self.change(|rules| {
            rules.link = Link::Up;
            rules.ways = [Way::CLEAN; 2];
        });
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// How many of them are open.
    pub fn open_connections(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// How many bytes were delivered this way.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.counts.bytes[direction as usize].load(Ordering::Relaxed)
    }

    /// How many bytes were swallowed this way.
    pub fn swallowed_bytes(&self, direction: Direction) -> u64 {
        self.counts.swallowed_bytes[direction as usize].load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(change);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take()
            && stop.send(()).is_err()
        {
            eprintln!("testkit's proxy on {} had ended before", self.address);
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("testkit's proxy on {} panicked", self.address);
        }
    }
}

/// A socket that holds a free port and never listens. While nothing else listens there, the system refuses
/// connections, and nobody else is given the port: that is what a cut link looks like.
fn reserve() -> std::io::Result<TcpSocket> {
    bound((Ipv4Addr::LOCALHOST, 0).into())
}

/// A socket that shares its port with others of ours.
fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}
