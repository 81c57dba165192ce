//! The rows of faults.md, each a story with a name: start a system, let people buy, do harm, heal, judge.
//!
//! A row fails by panicking with a sentence, as a test does; whoever runs it catches that.

use std::pin::Pin;
use std::time::Duration;

use crate::report::Outcome;
use crate::stage::Stage;

mod accepted;
mod clocks;
mod crowd;
mod damage;
mod disk;
mod gone;
mod groups;
mod killed;
mod link;
mod overload;
mod points;
mod poison;
mod redis;
mod releases;
mod restarts;
mod restored;
mod schema;
mod sessions;
mod stream;

/// What a row does.
pub type Story = fn(Stage) -> Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One row.
pub struct Row {
    /// Its number in faults.md.
    pub number: u8,
    /// Its name, as it is asked for.
    pub name: &'static str,
    /// The fault, in a few words.
    pub fault: &'static str,
    /// What it does.
    pub story: Story,
}

macro_rules! rows {
    ($($number:literal $name:literal $fault:literal => $story:path,)+) => {
        /// All rows, in the order in which they run.
        pub const ROWS: &[Row] = &[$(Row {
            number: $number,
            name: $name,
            fault: $fault,
            story: |stage| Box::pin($story(stage)),
        },)+];
    };
}

rows! {
    1 "every-point-visited" "every failpoint is reached by a purchase" => points::all_are_visited,
    1 "points-of-auth" "auth killed at each of its points" => points::of_auth,
    1 "points-of-tickets" "tickets killed at each of its points" => points::of_tickets,
    1 "points-of-orders" "orders killed at each of its points" => points::of_orders,
    1 "points-of-expiration" "expiration killed at each of its points" => points::of_expiration,
    1 "points-of-payments" "payments killed at each of its points" => points::of_payments,
    2 "two-at-random" "two services killed at random, again and again" => killed::two_at_random,
    3 "after-2xx" "kill -9 right after the bytes of a 2xx" => killed::right_after_the_answer,
    4 "around-the-append" "killed between commit, append and its reply" => points::around_the_append,
    5 "around-the-ack" "killed between applying an event and its XACK" => points::around_the_acknowledgement,
    6 "redis-killed-kept" "Redis killed and restarted, append-only file on" => redis::killed_and_kept,
    6 "redis-killed-lost" "Redis killed and restarted, nothing kept" => redis::killed_and_lost,
    7 "redis-stopped" "Redis stopped by SIGSTOP" => link::stopped,
    8 "flushall" "FLUSHALL again and again" => redis::flushed,
    8 "pieces-deleted" "a group, a stream, the scheduled set deleted" => redis::pieces_deleted,
    9 "link-cut" "links to Redis cut one way and both ways" => link::cut,
    10 "redis-full" "Redis full (maxmemory, noeviction)" => link::full,
    11 "trimmed" "a stream trimmed past what a group has read" => stream::trimmed,
    12 "disk-full" "the disk of each store full" => disk::full,
    13 "disk-slow" "syncs of a second" => disk::slow,
    13 "too-many-at-once" "more requests than places, on a disk that is held up" => overload::too_many_at_once,
    13 "power-cut" "the power cut: only what was synced is there" => disk::without_power,
    14 "clock-an-hour-off" "a clock an hour off" => clocks::an_hour_off,
    14 "clocks-apart" "two services' clocks 30 s apart" => clocks::half_a_minute_apart,
    15 "slow-consumer" "a consumer far slower than what comes" => stream::slow_consumer,
    16 "delivered-again" "every event delivered five times" => stream::delivered_again,
    17 "delayed-and-shuffled" "deliveries delayed and shuffled between streams" => link::delayed,
    18 "poison" "poison: bad JSON, no event, an unknown schema, 10 MB" => poison::in_every_stream,
    18 "newer-schema" "an event in a newer schema than its reader knows" => schema::newer,
    19 "claimed" "a consumer comes back after its entries were claimed" => stream::claimed,
    25 "one-ticket" "1,000 orders of one ticket, at once" => crowd::of_one_ticket,
    25 "many-pieces" "5,000 orders of 500 pieces, at once" => crowd::of_many_pieces,
    26 "all-restarted" "all services restarted every 5 s under load" => restarts::all_again_and_again,
    27 "second-process" "a second process on a store in use" => restarts::second_process,
    28 "store-damaged" "a store's file cut or with flipped bits" => damage::each_service,
    29 "restored-with-streams" "a backup restored, the streams still there" => restored::with_the_streams,
    29 "restored-without-streams" "a backup restored, Redis wiped" => restored::without_the_streams,
    30 "sigterm" "SIGTERM under load" => restarts::told_to_stop,
    31 "releases" "an upgrade and a downgrade by one version" => releases::there_and_back,
    32 "sessions-ended" "sessions ended under load" => sessions::end,
    33 "redis-or-stripe-gone" "Redis, Stripe or a store gone" => gone::others_gone,
    34 "empty-store-late" "an empty store after the outboxes were trimmed" => restored::too_late_for_the_outboxes,
}

/// Rows of faults.md that other tests hold, because a smaller stage shows more of them: numbers, what they are,
/// and the command that runs them.
pub const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "20-23",
        "Stripe slow, failing, forgetful; its notices repeated, reordered, forged",
        "cargo nextest run -p payments",
    ),
    (
        "24",
        "payment and expiry in the same moment",
        "cargo nextest run -p boxoffice --test system late_payment",
    ),
    (
        "31",
        "a roll-out under people who read pages and send forms",
        "cargo nextest run -p boxoffice --test system upgrade",
    ),
    (
        "32",
        "the signing key rotated under load",
        "cargo nextest run -p boxoffice --test system rotate_key",
    ),
];

impl Row {
    /// The row of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }

    /// The rows that somebody asks for: by name, or by number.
    pub fn asked_for(wish: &str) -> Vec<&'static Self> {
        let number = wish.parse::<u8>().ok();
        ROWS.iter()
            .filter(|row| row.name == wish || number == Some(row.number))
            .collect()
    }
}

/// Lets things go on for a moment. How long is chance or a fault's length, never a guess at how long something takes.
async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
