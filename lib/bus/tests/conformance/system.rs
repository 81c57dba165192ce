//! A system of two services, as small as can be: expiration publishes numbers, orders writes them down.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::{Applied, Bus, BusConfig, Consumer, Handler, Impossible, Relay, SourceState};
use events::{
    Envelope, Event, EventType, OrderExpired, OrderId, OrderNotDue, Position, Source, Timestamp, Version,
};
use store::{
    Change, Context, DeadLetter, DecodeError, Indexes, Options, Record, RestoreOptions, Store, StoredRow,
    Table, Tables, TransactError, Txn,
};
use testkit::{RedisServer, Reply, TempDir, eventually, temp_dir};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::author::{self, Author};

/// How long anything may take to come right again on a busy machine. I7 promises ten seconds, to which the fault bench holds
/// whole systems on a machine that has nothing else to do (`./scripts/faults 6 8 9`).
pub(crate) const CONVERGED: Duration = Duration::from_secs(40);
pub(crate) const STREAM: &str = "events:expiration";
pub(crate) const REQUESTS: &str = "requests:expiration";

/// A number that was applied, under the number of rows that were there before it.
#[derive(Clone)]
pub(crate) struct Note {
    pub(crate) place: u64,
    pub(crate) number: i64,
}

#[derive(bincode::Encode, bincode::Decode)]
struct NoteV1 {
    place: u64,
    number: i64,
}

impl Record for Note {
    const TABLE: Table = Table(b'n', "note");
    const SCHEMA: u8 = 1;
    type Key = u64;
    fn key(&self) -> u64 {
        self.place
    }
    fn version(&self) -> Version {
        Version::FIRST
    }
    fn encode(&self) -> Vec<u8> {
        store::codec::encode(&NoteV1 {
            place: self.place,
            number: self.number,
        })
    }
    fn decode(_schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        let NoteV1 { place, number } = store::codec::decode(bytes)?;
        Ok(Self { place, number })
    }
}

#[derive(Default, PartialEq, Eq)]
pub(crate) struct Count(u64, HashSet<i64>);

impl Count {
    pub(crate) fn knows(&self, number: i64) -> bool {
        self.1.contains(&number)
    }
}

impl Indexes for Count {
    fn apply(&mut self, change: &Change<'_>) {
        if let Some((before, after)) = change.of::<Note>() {
            self.0 = self.0 + u64::from(after.is_some()) - u64::from(before.is_some());
            if let Some(note) = before {
                self.1.remove(&note.number);
            }
            if let Some(note) = after {
                self.1.insert(note.number);
            }
        }
    }
    fn tables() -> Tables {
        Tables::new().with::<Note>()
    }
}

/// What the handler makes of a number, if not writing it down.
#[derive(Clone, Copy)]
pub(crate) enum Mood {
    Impossible,
    /// Impossible until it was tried so often.
    ImpossibleUntil(u64),
    Panics,
    Stale,
}

#[derive(Default)]
pub(crate) struct Notary {
    pub(crate) moods: Mutex<HashMap<i64, Mood>>,
    pub(crate) tries: AtomicU64,
    /// Emits an event for each that it applies.
    pub(crate) answers: bool,
}

impl Handler<Count> for Notary {
    fn concerns(&self, event_type: EventType) -> bool {
        event_type == EventType::OrderExpired
    }

    fn apply(
        &self,
        tx: &mut Txn<'_, Count>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        let Event::OrderExpired(OrderExpired { order_id, expires_at }) = &envelope.event else {
            return Impossible::because("not a number");
        };
        let place = tx.indexes().0;
        let number = expires_at.as_seconds();
        tx.put(None, Note { place, number })?;
        let mood = self.moods.lock().unwrap().get(&number).copied();
        match mood {
            None => {
                if self.answers {
                    tx.emit(Event::OrderNotDue(OrderNotDue {
                        order_id: *order_id,
                        remaining_ms: 1,
                    }));
                }
                Ok(Applied::Done)
            }
            Some(mood) => {
                let tries = self.tries.fetch_add(1, Ordering::SeqCst) + 1;
                match mood {
                    Mood::Impossible => Impossible::because("it can't be"),
                    Mood::ImpossibleUntil(enough) if tries < enough => Impossible::because("not yet"),
                    Mood::ImpossibleUntil(_) => Ok(Applied::Done),
                    Mood::Panics => panic!("the handler is out of its mind"),
                    Mood::Stale => {
                        tx.delete::<Note>(&place)?;
                        Ok(Applied::Stale("too late"))
                    }
                }
            }
        }
    }
}

pub(crate) struct System {
    pub(crate) redis: RedisServer,
    pub(crate) bus: Bus,
    /// Keeps each number that it has published as a row.
    pub(crate) expiration: Store<Count>,
    pub(crate) orders: Store<Count>,
    pub(crate) notary: Arc<Notary>,
    pub(crate) dirs: (TempDir, TempDir),
}

/// Relay and consumer, running until they are stopped.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    pub(crate) relay: JoinHandle<()>,
    pub(crate) consumer: JoinHandle<()>,
}

impl System {
    pub(crate) fn new() -> Self {
        Self::on(RedisServer::start())
    }

    pub(crate) fn on(redis: RedisServer) -> Self {
        Self::with(redis, Notary::default())
    }

    pub(crate) fn with(redis: RedisServer, notary: Notary) -> Self {
        let bus = bus_at(&redis.url());
        let dirs = (temp_dir(), temp_dir());
        let expiration = open(Source::Expiration, &dirs.0);
        let orders = open(Source::Orders, &dirs.1);
        Self {
            redis,
            bus,
            expiration,
            orders,
            notary: Arc::new(notary),
            dirs,
        }
    }

    /// The handler is in this mood about that number.
    pub(crate) fn mood(&self, number: i64, mood: Mood) {
        self.notary.moods.lock().unwrap().insert(number, mood);
    }

    pub(crate) fn relay(&self) -> Relay<Count> {
        let author = Arc::new(Author);
        Relay::new(
            self.bus.clone(),
            self.expiration.clone(),
            Source::Expiration,
            author,
        )
    }

    pub(crate) fn consumer(&self) -> Consumer<Count, Notary> {
        let notary = Arc::clone(&self.notary);
        Consumer::new(
            self.bus.clone(),
            self.orders.clone(),
            Source::Expiration,
            Source::Orders,
            notary,
        )
        .waiting_at_most(Duration::from_millis(20))
    }

    pub(crate) fn run(&self) -> Running {
        let (stop, stopped) = watch::channel(false);
        let wait = move || {
            let mut stopped = stopped.clone();
            async move {
                stopped.wait_for(|stopped| *stopped).await.ok();
            }
        };
        let notary = Arc::clone(&self.notary);
        let consumer = Consumer::new(
            self.bus.clone(),
            self.orders.clone(),
            Source::Expiration,
            Source::Orders,
            notary,
        );
        Running {
            stop,
            relay: tokio::spawn(self.relay().run(wait())),
            consumer: tokio::spawn(consumer.run(wait())),
        }
    }

    /// Publishes numbers, each as one event, all durable on return.
    pub(crate) async fn publish(&self, numbers: impl IntoIterator<Item = i64>) {
        let numbers: Vec<i64> = numbers.into_iter().collect();
        let published = self.expiration.transact(Context::new(now()), move |tx| {
            for number in numbers {
                author::write_down(tx, number)?;
                tx.emit(number_event(number));
            }
            Ok::<_, TransactError<()>>(())
        });
        published.await.unwrap();
    }

    /// The numbers that were applied, in order.
    pub(crate) fn applied(&self) -> Vec<i64> {
        self.orders
            .scan::<Note>(None, usize::MAX)
            .unwrap()
            .iter()
            .map(|note| note.number)
            .collect()
    }

    pub(crate) fn letters(&self) -> Vec<DeadLetter> {
        self.orders.dead_letters(None, usize::MAX).unwrap()
    }

    /// Waits until exactly 1 to `last` were applied, in order.
    pub(crate) async fn converges_to(&self, last: i64) {
        self.converges_to_all(&(1..=last).collect::<Vec<_>>()).await;
    }

    pub(crate) async fn converges_to_all(&self, expected: &[i64]) {
        eventually("all numbers are applied", CONVERGED, || async {
            let applied = self.applied();
            assert!(
                applied.len() <= expected.len(),
                "applied twice: {applied:?}, {:?}",
                self.letters()
            );
            (applied == expected).then_some(())
        })
        .await;
    }

    /// The same where something that was applied is taken back.
    pub(crate) async fn converges_to_all_in_the_end(&self, expected: &[i64]) {
        eventually("all numbers are applied, and no others", CONVERGED, || async {
            (self.applied() == expected).then_some(())
        })
        .await;
    }

    pub(crate) async fn state_becomes(&self, what: &str, is: impl Fn(&SourceState) -> bool) {
        eventually(what, CONVERGED, || async {
            self.bus
                .status()
                .sources
                .iter()
                .any(|source| is(&source.state))
                .then_some(())
        })
        .await;
    }

    /// The length of the stream.
    pub(crate) fn entries(&self) -> i64 {
        self.redis.command(&["XLEN", STREAM]).integer().unwrap()
    }

    /// Puts an entry into the stream that no relay has written.
    pub(crate) fn inject(&self, fields: &[&str]) -> String {
        let mut command = vec!["XADD", STREAM, "*"];
        command.extend(fields);
        match self.redis.command(&command) {
            Reply::Bulk(id) => id,
            other => panic!("not appended: {other:?}"),
        }
    }

    /// The store that publishes keeps about so many events from now on.
    pub(crate) fn keep_events(&mut self, events: u64) {
        self.close_expiration();
        let options = Options {
            outbox_events_max: events,
            ..Options::new(Source::Expiration, store_dir(&self.dirs.0))
        };
        self.expiration = Store::open(options).unwrap();
    }

    /// A backup of the store that publishes.
    pub(crate) async fn backup(&self) -> Vec<u8> {
        let mut backup = self.expiration.backup(now()).unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = backup.next().await {
            bytes.extend(chunk.unwrap());
        }
        bytes
    }

    /// Puts a backup in the place of the store that publishes. Its service starts again with it.
    pub(crate) fn restore(&mut self, backup: &[u8], accept_loss: bool) {
        self.close_expiration();
        let options = RestoreOptions {
            accept_loss,
            ..RestoreOptions::new(Source::Expiration, now())
        };
        store::restore(backup, &store_dir(&self.dirs.0), &options).unwrap();
        self.expiration = open(Source::Expiration, &self.dirs.0);
    }

    /// Puts a backup there as somebody does who copies files: nothing says that it is one.
    pub(crate) fn set_back(&mut self, backup: &[u8]) {
        self.restore(backup, false);
        self.close_expiration();
        for mark in ["restored", "cursors"] {
            std::fs::remove_file(store_dir(&self.dirs.0).join(mark)).unwrap();
        }
        self.expiration = open(Source::Expiration, &self.dirs.0);
    }

    /// The disk of the store that publishes is gone.
    pub(crate) fn lose_expiration(&mut self) {
        self.close_expiration();
        self.dirs.0 = temp_dir();
        self.expiration = open(Source::Expiration, &self.dirs.0);
    }

    /// The disk of the store that reads is gone.
    pub(crate) fn lose_orders(&mut self) {
        self.orders.clone().close();
        self.dirs.1 = temp_dir();
        self.orders = open(Source::Orders, &self.dirs.1);
    }

    /// The numbers that expiration keeps.
    pub(crate) fn kept(&self) -> Vec<i64> {
        let rows = self.expiration.rows(None, usize::MAX).unwrap();
        let number = |(_, row): &(_, StoredRow)| row.of::<Note>().map(|note| note.number);
        rows.iter().filter_map(number).collect()
    }

    /// Reopens the store that publishes, as after a restart of its service.
    pub(crate) fn reopen_expiration(&mut self) {
        self.close_expiration();
        self.expiration = open(Source::Expiration, &self.dirs.0);
    }

    /// Gives the store that publishes up; an empty one stands in its place until another one is put there.
    fn close_expiration(&mut self) {
        self.expiration.clone().close();
        let empty = temp_dir();
        let closed = std::mem::replace(&mut self.expiration, open(Source::Expiration, &empty));
        drop(closed);
    }
}

impl Running {
    /// Stops both and waits until they have ended; says how long that took.
    pub(crate) async fn stop(self) -> Duration {
        let begun = std::time::Instant::now();
        self.stop.send(true).unwrap();
        self.relay.await.unwrap();
        self.consumer.await.unwrap();
        begun.elapsed()
    }
}

pub(crate) fn bus_at(url: &str) -> Bus {
    Bus::new(BusConfig {
        redis_url: url.to_owned(),
        prefix: String::new(),
        clock: Arc::new(now),
    })
    .unwrap()
}

pub(crate) fn open<I: Indexes>(source: Source, dir: &TempDir) -> Store<I> {
    Store::open(Options::new(source, store_dir(dir))).unwrap()
}

/// Where the store lies in the folder that is deleted in the end: what a restoration keeps lies beside the store.
pub(crate) fn store_dir(dir: &TempDir) -> PathBuf {
    dir.path().join("store")
}

/// The time stands still: nothing here depends on it.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_seconds(1_700_000_000)
}

pub(crate) fn order(number: i64) -> OrderId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&[1, 0x9a, 0, 0, 0, 0]);
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[6] = 0x70;
    bytes[8] |= 0x80;
    OrderId::from_bytes(bytes)
}

pub(crate) fn number_event(number: i64) -> Event {
    Event::OrderExpired(OrderExpired {
        order_id: order(number),
        expires_at: Timestamp::from_seconds(number),
    })
}

/// The envelope of a number at a position of expiration's outbox.
pub(crate) fn envelope(position: Position, number: i64) -> String {
    let event = number_event(number);
    Envelope {
        source: Source::Expiration,
        position,
        time: now(),
        traceparent: None,
        cause: None,
        event,
    }
    .to_json()
}

pub(crate) fn at(epoch: u32, seq: u64) -> Position {
    Position {
        epoch: events::Epoch(epoch),
        seq: events::Seq(seq),
    }
}
