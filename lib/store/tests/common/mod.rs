//! What the tests of the store share: a small service, and engines that remember, fail, and look aside.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test file includes this one and uses a part of it"
)]

mod engines;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use engines::{Bytes, Faults, Faulty, Memory, Step};
use events::{Event, EventType, OrderExpired, OrderId, Source, TicketId, Timestamp, UserId, Version};
use store::codec;
use store::engine::OpenEngine;
use store::{
    Change, Context, DecodeError, Indexes, LockWait, Options, Record, Store, Table, Tables, TransactError,
    Txn, Writer, Wrote,
};

/// A row of the small service: an account with points on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: TicketId,
    pub version: Version,
    pub points: u64,
    pub note: String,
}

#[derive(bincode::Encode, bincode::Decode)]
struct AccountV1 {
    id: [u8; 16],
    version: u64,
    points: u64,
    note: String,
}

impl Record for Account {
    const TABLE: Table = Table(b'a', "account");
    const SCHEMA: u8 = 1;
    type Key = TicketId;

    fn key(&self) -> TicketId {
        self.id
    }
    fn version(&self) -> Version {
        self.version
    }
    fn encode(&self) -> Vec<u8> {
        codec::encode(&AccountV1 {
            id: self.id.to_bytes(),
            version: self.version.0,
            points: self.points,
            note: self.note.clone(),
        })
    }
    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => codec::decode::<AccountV1>(bytes).map(|row| Self {
                id: TicketId::from_bytes(row.id),
                version: Version(row.version),
                points: row.points,
                note: row.note,
            }),
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

/// What the small service keeps in memory.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Totals {
    pub accounts: u64,
    pub points: u64,
    pub by_points: BTreeMap<(u64, TicketId), ()>,
}

/// An account with this note makes the index panic.
pub const PANICS_THE_INDEX: &str = "panic in the index";

impl Indexes for Totals {
    fn apply(&mut self, change: &Change<'_>) {
        let Some((before, after)) = change.of::<Account>() else {
            return;
        };
        if let Some(account) = before {
            self.accounts -= 1;
            self.points -= account.points;
            self.by_points.remove(&(account.points, account.id));
        }
        if let Some(account) = after {
            assert!(account.note != PANICS_THE_INDEX, "the index was asked to panic");
            self.accounts += 1;
            self.points += account.points;
            self.by_points.insert((account.points, account.id), ());
        }
    }
    fn tables() -> Tables {
        Tables::new().with::<Account>()
    }
}

pub type Bank = Store<Totals>;
pub type Refusal = TransactError<&'static str>;

pub fn now() -> Timestamp {
    at(0)
}

/// So many seconds into the test's time.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_800_000_000 + seconds)
}

fn id_bytes(number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&[1, 0x93, 0x94, 0xb6, 0x0c, 0]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&(number | 1 << 63).to_be_bytes());
    bytes
}

pub fn id(number: u64) -> TicketId {
    TicketId::from_bytes(id_bytes(number))
}

pub fn user(number: u64) -> UserId {
    UserId::from_bytes(id_bytes(number))
}

pub fn account(number: u64, version: u64, points: u64) -> Account {
    Account {
        id: id(number),
        version: Version(version),
        points,
        note: format!("account {number}"),
    }
}

/// Some event, told apart by a number.
pub fn event(number: u64) -> Event {
    Event::OrderExpired(OrderExpired {
        order_id: OrderId::from_bytes(id_bytes(number)),
        expires_at: now(),
    })
}

pub const EVENT_TYPE: EventType = EventType::OrderExpired;

/// As in production, but for those who open what is in use on purpose and need not wait long for the answer.
pub fn options(dir: &Path) -> Options {
    Options {
        lock_wait: LockWait {
            owner_max: Duration::from_millis(20),
            lookers_max: Duration::from_millis(100),
        },
        ..Options::new(Source::Tickets, dir)
    }
}

/// A store whose writer the test drives.
pub struct Stepped {
    pub store: Bank,
    pub writer: Writer<Totals>,
}

impl Stepped {
    pub fn open(options: Options) -> Self {
        let (store, writer) = Store::open_stepped(options).unwrap();
        Self { store, writer }
    }

    /// Hands in a transaction; the answer is there after the next step.
    pub fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Txn<'_, Totals>) -> Result<T, Refusal> + Send + 'static,
    ) -> Answer<T> {
        Answer(self.store.submit(Context::new(now()), f).unwrap())
    }

    /// Hands in a transaction, takes the step, and returns the answer.
    pub fn transact<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&mut Txn<'_, Totals>) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let answer = self.submit(f);
        self.writer.write_once();
        answer.get()
    }

    pub fn put(&mut self, expected: Option<u64>, row: Account) -> Result<(), Refusal> {
        self.transact(move |txn| Ok(txn.put(expected.map(Version), row)?))
    }

    pub fn get(&self, number: u64) -> Option<Account> {
        self.store.get::<Account>(&id(number)).unwrap()
    }

    pub fn totals(&self) -> Totals {
        self.store.read(Clone::clone)
    }

    /// Closes, and opens again.
    pub fn reopen(self, options: Options) -> Self {
        drop((self.store, self.writer));
        Self::open(options)
    }

    /// After a failure: opens the engine again.
    pub fn recover(&mut self) {
        assert_eq!(self.writer.write_once(), Wrote::Reopened);
    }
}

#[derive(Debug)]
pub struct Answer<T>(tokio::sync::oneshot::Receiver<Result<T, Refusal>>);

impl<T> Answer<T> {
    pub fn get(mut self) -> Result<T, Refusal> {
        self.0.try_recv().expect("the writer has answered")
    }

    pub fn is_pending(&mut self) -> bool {
        matches!(
            self.0.try_recv(),
            Err(tokio::sync::oneshot::error::TryRecvError::Empty)
        )
    }

    pub fn turned_away(mut self) -> bool {
        matches!(
            self.0.try_recv(),
            Err(tokio::sync::oneshot::error::TryRecvError::Closed)
        )
    }
}

/// Polls until it holds, or fails.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    testkit::eventually_blocking(what, Duration::from_secs(20), || holds().then_some(()));
}

/// A place for a store on some engine, with faults that can be switched on.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub faults: Arc<Faults>,
    engine: Arc<dyn OpenEngine>,
}

impl Place {
    pub fn new(inner: Arc<dyn OpenEngine>) -> Self {
        let faults = Arc::new(Faults::default());
        Self {
            dir: tempfile::tempdir().unwrap(),
            engine: Arc::new(Faulty {
                faults: Arc::clone(&faults),
                inner,
            }),
            faults,
        }
    }

    pub fn options(&self) -> Options {
        Options {
            engine: Arc::clone(&self.engine),
            ..options(self.dir.path())
        }
    }

    pub fn open(&self) -> Stepped {
        Stepped::open(self.options())
    }
}

/// Copies a closed store.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
