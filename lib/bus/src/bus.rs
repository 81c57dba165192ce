//! The bus as a service sees it: where Redis is, and how its parts are doing.

use std::fmt;
use std::sync::Arc;

use events::{Position, Source, Timestamp};

use crate::errors::BusError;
use crate::inquirer::Desk;
use crate::keys::Keys;
use crate::place::Place;
use crate::status::{Board, BusStatus};

/// Tells the time. The one real clock is at the edge of each service; the bus takes it as an argument.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Where the bus is, and what time it is.
#[derive(Clone)]
pub struct BusConfig {
    /// `redis://HOST:PORT`, with a login and a database number where needed; `rediss://` over TLS;
    /// `redis+sentinel://HOST,HOST/NAME` for the master that Sentinels name. With files of certificates behind `?`.
    pub redis_url: String,
    /// Goes before every key, so that tests can share a server. Empty in production.
    pub prefix: String,
    /// The service's clock: transactions that apply events run at its time.
    pub clock: Clock,
}

/// The bus of one service. Cheap to clone; clones share one status.
#[derive(Clone)]
pub struct Bus {
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    keys: Keys,
    clock: Clock,
    board: Board,
    desks: [Desk; Source::ALL.len()],
}

impl Bus {
    /// Makes a bus without connecting: a Redis that is down makes a service degraded, never unable to start.
    ///
    /// # Errors
    /// When the address can't be one of a Redis server, or a file that it names can't be read.
    pub fn new(config: BusConfig) -> Result<Self, BusError> {
        let place = Place::parse(&config.redis_url)?;
        let shared = Shared {
            place,
            keys: Keys::new(config.prefix),
            clock: config.clock,
            board: Board::default(),
            desks: Default::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How the relay and the consumers of this bus are doing.
    pub fn status(&self) -> BusStatus {
        self.shared.board.status()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.shared.place
    }

    /// How far `source` is: its last durable event, as it says itself when it is asked after this was called. Whoever
    /// has applied that knows of everything that `source` had acknowledged before.
    ///
    /// It takes an [`Inquirer`](crate::Inquirer) that runs, and an answer: without one this does not end, so that the
    /// wait must be bounded. Dropping it does no harm.
    pub async fn head(&self, source: Source) -> Position {
        self.desk(source).head().await
    }

    pub(crate) fn desk(&self, source: Source) -> &Desk {
        &self.shared.desks[source as usize]
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    pub(crate) fn board(&self) -> &Board {
        &self.shared.board
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.shared.clock)()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The place would show the address, which may hold a password.
        f.debug_struct("Bus")
            .field("keys", self.keys())
            .finish_non_exhaustive()
    }
}
