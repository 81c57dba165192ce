//! When an order's time runs out: pure decisions, no I/O, no clock.
//!
//! A [`Deadline`] exists for every order that may still run out. It is the truth; the scheduled set in Redis is
//! only the alarm clock that says which deadline to look at.
//!
//! What this module does not know: how anything is stored, and what time it is.

use std::fmt;
use std::time::Duration;

use events::{OrderExpired, OrderId, Timestamp};

/// Where a deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeadlineState {
    /// Its time has not come.
    Waiting,
    /// `order:expired` was published; the order's answer is awaited.
    Fired,
}

/// The end of one order's time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Deadline {
    /// Which order.
    pub order_id: OrderId,
    /// The deadline that the order itself states, by the orders service's clock.
    pub expires_at: Timestamp,
    /// When it is over, by this service's clock.
    pub due: Timestamp,
    /// Where it stands.
    pub state: DeadlineState,
}

/// What is to be done about an order's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// An order was placed.
    Schedule {
        /// Which.
        order_id: OrderId,
        /// Until when it must be paid, by the orders service's clock.
        expires_at: Timestamp,
        /// When it was placed, by the orders service's clock.
        placed_at: Timestamp,
    },
    /// After a loss an open order is stated anew: it can run out, whatever was announced about it before.
    Reschedule {
        /// Which.
        order_id: OrderId,
        /// Until when it must be paid, by the orders service's clock.
        expires_at: Timestamp,
        /// When it was placed, by the orders service's clock.
        placed_at: Timestamp,
    },
    /// The alarm rang.
    Fire,
    /// The orders service says that there is time left.
    Postpone {
        /// How much.
        remaining: Duration,
    },
    /// The order was paid or is over: nothing can run out any more.
    Settle,
}

/// What becomes of the deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is to be watched for.
    Watch(Deadline),
    /// It has passed: this is to be published.
    Fired(Deadline, OrderExpired),
    /// It is of no interest any more.
    Forget,
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadlineError {
    /// The alarm rang before the time had come.
    NotDue,
    /// There is nothing (any more) that this could change.
    Stale(&'static str),
}

impl fmt::Display for DeadlineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDue => f.write_str("the deadline has not come yet"),
            Self::Stale(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for DeadlineError {}

/// Decides what becomes of an order's `deadline`.
///
/// # Errors
/// [`DeadlineError`] names why the state forbids the command; nothing changes then.
pub fn decide(
    deadline: Option<&Deadline>,
    command: Command,
    now: Timestamp,
) -> Result<Decision, DeadlineError> {
    match command {
        Command::Schedule {
            order_id,
            expires_at,
            placed_at,
        } => schedule(deadline, order_id, expires_at, placed_at, now),
        Command::Reschedule {
            order_id,
            expires_at,
            placed_at,
        } => reschedule(deadline, order_id, expires_at, placed_at, now),
        Command::Fire => fire(deadline, now),
        Command::Postpone { remaining } => postpone(deadline, remaining, now),
        Command::Settle => match deadline {
            Some(_) => Ok(Decision::Forget),
            None => Err(DeadlineError::Stale("no deadline is kept for this order")),
        },
    }
}

fn schedule(
    deadline: Option<&Deadline>,
    order_id: OrderId,
    expires_at: Timestamp,
    placed_at: Timestamp,
    now: Timestamp,
) -> Result<Decision, DeadlineError> {
    if deadline.is_some() {
        return Err(DeadlineError::Stale("this order's deadline is kept already"));
    }
    Ok(Decision::Watch(waiting(order_id, expires_at, placed_at, now)))
}

fn reschedule(
    deadline: Option<&Deadline>,
    order_id: OrderId,
    expires_at: Timestamp,
    placed_at: Timestamp,
    now: Timestamp,
) -> Result<Decision, DeadlineError> {
    let known = deadline.filter(|deadline| deadline.state == DeadlineState::Waiting);
    if known.is_some_and(|deadline| deadline.expires_at == expires_at) {
        return Err(DeadlineError::Stale(
            "this order's deadline is waited for already",
        ));
    }
    Ok(Decision::Watch(waiting(order_id, expires_at, placed_at, now)))
}

fn waiting(order_id: OrderId, expires_at: Timestamp, placed_at: Timestamp, now: Timestamp) -> Deadline {
    // Clocks may disagree. Where ours is behind, the order's own length counted from now would be too late only by
    // the time the event took; where ours is ahead, the stated moment would be too early, which the orders service
    // answers with `order:notdue`. The earlier of the two is never later than it must be.
    let due = expires_at.min(now.plus(expires_at.since(placed_at)));
    Deadline {
        order_id,
        expires_at,
        due,
        state: DeadlineState::Waiting,
    }
}

fn fire(deadline: Option<&Deadline>, now: Timestamp) -> Result<Decision, DeadlineError> {
    let deadline = deadline.ok_or(DeadlineError::Stale(
        "the order was settled before its alarm rang",
    ))?;
    match deadline.state {
        DeadlineState::Fired => Err(DeadlineError::Stale("this deadline was announced already")),
        DeadlineState::Waiting if now < deadline.due => Err(DeadlineError::NotDue),
        DeadlineState::Waiting => {
            let expired = OrderExpired {
                order_id: deadline.order_id,
                expires_at: deadline.expires_at,
            };
            Ok(Decision::Fired(
                Deadline {
                    state: DeadlineState::Fired,
                    ..deadline.clone()
                },
                expired,
            ))
        }
    }
}

fn postpone(
    deadline: Option<&Deadline>,
    remaining: Duration,
    now: Timestamp,
) -> Result<Decision, DeadlineError> {
    let deadline = deadline.ok_or(DeadlineError::Stale(
        "the order was settled before it was postponed",
    ))?;
    Ok(Decision::Watch(Deadline {
        due: now.plus(remaining),
        state: DeadlineState::Waiting,
        ..deadline.clone()
    }))
}

#[cfg(test)]
mod tests;
