//! What the tests of the store share: a small service, and engines that remember, fail, and look aside.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file includes this one and uses a part of it"
)]

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use events::{Event, EventType, OrderExpired, OrderId, Source, TicketId, Timestamp, UserId, Version};
use store::codec;
use store::engine::{Engine, EngineError, OpenEngine, Visit, Write};
use store::{
    Change, Context, DecodeError, Indexes, Options, Record, Store, Table, Tables, TransactError, Txn, Writer,
    Wrote,
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

pub fn options(dir: &Path) -> Options {
    Options::new(Source::Tickets, dir)
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
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        #[expect(clippy::disallowed_methods, reason = "polls a condition with a deadline")]
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A step of writing at which an engine can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Apply,
    Flush,
    Sync,
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fails {
    #[default]
    Never,
    Once,
    Always,
}

type Hook = Box<dyn FnOnce() + Send>;

/// In front of another engine: fails when told to, and calls aside.
#[derive(Default)]
pub struct Faults {
    failing: Mutex<HashMap<Step, Fails>>,
    before_sync: Mutex<Option<Hook>>,
}

impl Faults {
    pub fn fail(&self, step: Step, fails: bool) {
        let fails = if fails { Fails::Always } else { Fails::Never };
        self.failing.lock().unwrap().insert(step, fails);
    }

    /// Fails the next time, and then no more.
    pub fn fail_once(&self, step: Step) {
        self.failing.lock().unwrap().insert(step, Fails::Once);
    }

    /// Calls aside once, when a batch is applied and not yet synced.
    pub fn before_sync(&self, hook: impl FnOnce() + Send + 'static) {
        *self.before_sync.lock().unwrap() = Some(Box::new(hook));
    }

    fn check(&self, step: Step) -> Result<(), EngineError> {
        let mut failing = self.failing.lock().unwrap();
        let fails = failing.entry(step).or_default();
        if *fails == Fails::Never {
            return Ok(());
        }
        if *fails == Fails::Once {
            *fails = Fails::Never;
        }
        Err(EngineError::new(format!("{step:?} fails as it was told to")))
    }
}

/// The engine that fails when told to.
pub struct Faulty {
    pub faults: Arc<Faults>,
    pub inner: Arc<dyn OpenEngine>,
}

struct FaultyEngine {
    faults: Arc<Faults>,
    inner: Box<dyn Engine>,
}

impl OpenEngine for Faulty {
    fn open(&self, dir: &Path) -> Result<Box<dyn Engine>, EngineError> {
        self.faults.check(Step::Open)?;
        Ok(Box::new(FaultyEngine {
            faults: Arc::clone(&self.faults),
            inner: self.inner.open(dir)?,
        }))
    }
    fn exists(&self, dir: &Path) -> bool {
        self.inner.exists(dir)
    }
    fn bytes(&self, dir: &Path) -> u64 {
        self.inner.bytes(dir)
    }
    fn clear_leftovers(&self, dir: &Path) -> Result<(), EngineError> {
        self.inner.clear_leftovers(dir)
    }
}

impl Engine for FaultyEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        self.inner.get(key)
    }
    fn scan(&self, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        self.inner.scan(from, visit)
    }
    fn apply(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.faults.check(Step::Apply)?;
        self.inner.apply(writes)
    }
    fn flush(&self) -> Result<(), EngineError> {
        self.faults.check(Step::Flush)?;
        self.inner.flush()
    }
    fn sync(&self) -> Result<(), EngineError> {
        let hook = self.faults.before_sync.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.faults.check(Step::Sync)?;
        self.inner.sync()
    }
}

/// Stored values by their keys.
pub type Bytes = BTreeMap<Vec<u8>, Vec<u8>>;

/// An engine in memory, for which every reopening is a power cut: only what was synced is there again.
#[derive(Default, Clone)]
pub struct Memory {
    synced: Arc<Mutex<Bytes>>,
}

impl Memory {
    /// What is on the disk that it pretends to have.
    pub fn rows(&self) -> Bytes {
        self.synced.lock().unwrap().clone()
    }

    /// Exchanges what is on the disk that it pretends to have.
    pub fn set_rows(&self, rows: Bytes) {
        *self.synced.lock().unwrap() = rows;
    }
}

struct MemoryEngine {
    rows: Mutex<Bytes>,
    synced: Arc<Mutex<Bytes>>,
}

impl OpenEngine for Memory {
    fn open(&self, _dir: &Path) -> Result<Box<dyn Engine>, EngineError> {
        Ok(Box::new(MemoryEngine {
            rows: Mutex::new(self.synced.lock().unwrap().clone()),
            synced: Arc::clone(&self.synced),
        }))
    }
    fn exists(&self, _dir: &Path) -> bool {
        !self.synced.lock().unwrap().is_empty()
    }
    fn bytes(&self, _dir: &Path) -> u64 {
        0
    }
    fn clear_leftovers(&self, _dir: &Path) -> Result<(), EngineError> {
        Ok(())
    }
}

impl Engine for MemoryEngine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.rows.lock().unwrap().get(key).cloned())
    }
    fn scan(&self, from: &[u8], visit: Visit<'_>) -> Result<(), EngineError> {
        let rows = self.rows.lock().unwrap().clone();
        for (key, value) in rows.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
            if visit(key, value) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
    fn apply(&self, writes: Vec<Write>) -> Result<(), EngineError> {
        let mut rows = self.rows.lock().unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => rows.insert(key.into_vec(), value),
                None => rows.remove(&*key),
            };
        }
        Ok(())
    }
    fn flush(&self) -> Result<(), EngineError> {
        Ok(())
    }
    fn sync(&self) -> Result<(), EngineError> {
        *self.synced.lock().unwrap() = self.rows.lock().unwrap().clone();
        Ok(())
    }
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
