//! One connection to Redis for one part of the bus.
//!
//! Each part has its own: a blocking read holds up everything else on its connection, and only the owner of
//! a connection knows what must be done after a reconnect. Opened when first used, thrown away after any
//! error that is not the server's own word.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue};

use crate::bus::Bus;
use crate::errors::BusError;

/// How long Redis may take to accept a connection.
const CONNECT_SECONDS_MAX: u64 = 2;

/// What a replica answers to whoever wants to write.
const READ_ONLY: &str = "READONLY";

/// A connection that is opened anew after it broke.
pub(crate) struct Link {
    bus: Bus,
    answer_max: Duration,
    connection: Option<MultiplexedConnection>,
    opened: u64,
}

impl Link {
    /// Not connected yet. `answer_max` must be longer than the longest `BLOCK` that is sent over it: the
    /// abandoned read would still take entries.
    pub(crate) fn new(bus: Bus, answer_max: Duration) -> Self {
        Self {
            bus,
            answer_max,
            connection: None,
            opened: 0,
        }
    }

    /// How often it was opened: whoever sees the number change knows that replies may have been lost.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// The connection, opened if it is not; clones share it.
    pub(crate) async fn connection(&mut self) -> Result<MultiplexedConnection, BusError> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(CONNECT_SECONDS_MAX)))
            .set_response_timeout(Some(self.answer_max));
        // Whatever the server says while a connection is set up, there is no connection.
        let client = self.bus.place().client().await?;
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(BusError::Unreachable)?;
        self.opened += 1;
        Ok(self.connection.insert(connection).clone())
    }

    /// Sends one command and reads its reply.
    pub(crate) async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, BusError> {
        let mut connection = self.connection().await?;
        let reply = command.query_async(&mut connection).await.map_err(BusError::from);
        self.seen(reply)
    }

    /// Throws the connection away if that reply says that it is of no use any more.
    pub(crate) fn seen<T>(&mut self, reply: Result<T, BusError>) -> Result<T, BusError> {
        let useless = match &reply {
            Ok(_) => false,
            Err(BusError::Unreachable(_) | BusError::Shape(_) | BusError::Address(_)) => true,
            // It was a master, and is a replica now: another one is asked for.
            Err(refused @ BusError::Refused(_)) => refused.code() == Some(READ_ONLY),
        };
        if useless {
            self.close();
        }
        reply
    }

    /// Throws the connection away; the next use opens another one.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }
}
