//! A sorted set of deadlines in Redis: the timer of the expiration service, never its truth.
//!
//! Members are order ids, scores are milliseconds. Redis may lose it at any time; whoever uses it keeps the
//! deadlines in a store and puts them back when [`ScheduledSet::opened`] changes or [`ScheduledSet::len`] is
//! not what it should be. What is due is read, dealt with, and only then removed: an order that is taken out
//! before its expiry is committed would be forgotten by a crash in between.

use std::fmt;
use std::time::Duration;

use events::{OrderId, Timestamp};
use failpoint::Point;
use redis::{Cmd, FromRedisValue, cmd};
use tokio::sync::Mutex;

use crate::bus::Bus;
use crate::errors::BusError;
use crate::link::Link;
use crate::stream::ANSWER_SECONDS_MAX;

/// At most this many orders are taken at a time, so that one commit stays small and the next look is soon.
pub const DUE_ORDERS_MAX: usize = 200;
/// At most this many members go into one command, so that none holds Redis up for long.
const MEMBERS_PER_COMMAND_MAX: usize = 1_000;

/// A sorted set of order ids by deadline.
pub struct ScheduledSet {
    key: String,
    link: Mutex<Link>,
}

impl ScheduledSet {
    /// The set of that name; connects when first used.
    pub fn new(bus: &Bus, name: &str) -> Self {
        let link = Link::new(bus.clone(), Duration::from_secs(ANSWER_SECONDS_MAX));
        Self {
            key: bus.keys().set(name),
            link: Mutex::new(link),
        }
    }

    /// Puts orders in, or moves those that are in already to their new deadline.
    ///
    /// # Errors
    /// When Redis does not do it. Part of it may be done then; doing it again does no harm.
    pub async fn schedule(&self, deadlines: &[(OrderId, Timestamp)]) -> Result<(), BusError> {
        for chunk in deadlines.chunks(MEMBERS_PER_COMMAND_MAX) {
            let mut zadd = cmd("ZADD");
            zadd.arg(&self.key);
            for (order, deadline) in chunk {
                zadd.arg(deadline.as_millis()).arg(order.to_string());
            }
            failpoint::reach(Point::BeforeSchedule);
            self.run::<u64>(&zadd).await?;
            failpoint::reach(Point::AfterSchedule);
        }
        Ok(())
    }

    /// The orders whose deadline is at or before `now`, the earliest first, at most `limit` and never more
    /// than [`DUE_ORDERS_MAX`]. They stay in the set.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<OrderId>, BusError> {
        let mut range = cmd("ZRANGEBYSCORE");
        range.arg(&self.key).arg("-inf").arg(now.as_millis());
        range.arg("LIMIT").arg(0).arg(limit.min(DUE_ORDERS_MAX));
        let members: Vec<String> = self.run(&range).await?;
        let mut due = Vec::with_capacity(members.len());
        let mut strangers = Vec::new();
        for member in members {
            match member.parse() {
                Ok(order) => due.push(order),
                Err(_) => strangers.push(member),
            }
        }
        // What is no order of ours can never be dealt with, and would stand in the way of what can.
        if !strangers.is_empty() {
            tracing::warn!(
                key = self.key,
                count = strangers.len(),
                "members that are no order ids were removed"
            );
            self.run::<u64>(cmd("ZREM").arg(&self.key).arg(strangers)).await?;
        }
        Ok(due)
    }

    /// Takes orders out; those that are not in are fine.
    ///
    /// # Errors
    /// When Redis does not do it. Part of it may be done then; doing it again does no harm.
    pub async fn remove(&self, orders: &[OrderId]) -> Result<(), BusError> {
        for chunk in orders.chunks(MEMBERS_PER_COMMAND_MAX) {
            let members: Vec<String> = chunk.iter().map(OrderId::to_string).collect();
            failpoint::reach(Point::BeforeUnschedule);
            self.run::<u64>(cmd("ZREM").arg(&self.key).arg(members)).await?;
            failpoint::reach(Point::AfterUnschedule);
        }
        Ok(())
    }

    /// Takes all orders out.
    ///
    /// # Errors
    /// When Redis does not do it.
    pub async fn clear(&self) -> Result<(), BusError> {
        self.run::<u64>(cmd("DEL").arg(&self.key)).await?;
        Ok(())
    }

    /// The earliest deadline in the set.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn next_deadline(&self) -> Result<Option<Timestamp>, BusError> {
        let mut range = cmd("ZRANGE");
        range.arg(&self.key).arg(0).arg(0).arg("WITHSCORES");
        let first: Vec<(String, i64)> = self.run(&range).await?;
        Ok(first.first().map(|(_, millis)| Timestamp::from_millis(*millis)))
    }

    /// How many orders are in the set.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn len(&self) -> Result<usize, BusError> {
        self.run(cmd("ZCARD").arg(&self.key)).await
    }

    /// Whether no order is in the set.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn is_empty(&self) -> Result<bool, BusError> {
        Ok(self.len().await? == 0)
    }

    /// How often the connection was opened. When it changes, Redis may be another one, or an emptied one: put
    /// everything back.
    pub async fn opened(&self) -> u64 {
        self.link.lock().await.opened()
    }

    /// One command at a time over one connection: its one user, a loop, does nothing at once either.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, BusError> {
        self.link.lock().await.run(command).await
    }
}

impl fmt::Debug for ScheduledSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScheduledSet")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
