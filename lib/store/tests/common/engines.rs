//! Engines for tests: one that fails and calls aside when told to, one in memory that loses what was not synced.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use store::engine::{Engine, EngineError, OpenEngine, Visit, Write};

/// A step of writing at which an engine can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Prepare,
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
    drop_hangs: AtomicBool,
    rotten: Mutex<Option<u8>>,
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

    /// From now on an engine that is dropped does not come back from it.
    pub fn hang_when_dropped(&self) {
        self.drop_hangs.store(true, Ordering::SeqCst);
    }

    /// From now on the rows of this table are read with a flipped bit.
    pub fn rot(&self, table: Option<u8>) {
        *self.rotten.lock().unwrap() = table;
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

impl Drop for FaultyEngine {
    fn drop(&mut self) {
        while self.faults.drop_hangs.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }
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
        let rotten = *self.faults.rotten.lock().unwrap();
        self.inner.scan(from, &mut |key, value| {
            if rotten.is_some() && key.first() == rotten.as_ref() {
                let mut value = value.to_vec();
                *value.last_mut().unwrap() ^= 1;
                return visit(key, &value);
            }
            visit(key, value)
        })
    }
    fn prepare(&self, writes: &[Write]) -> Result<(), EngineError> {
        self.faults.check(Step::Prepare)?;
        self.inner.prepare(writes)
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
