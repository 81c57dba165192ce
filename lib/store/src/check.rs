//! Checking a store while it serves: every row read again, the indexes rebuilt beside the live ones and compared.
//!
//! The rows are read in chunks; of what has been read the writer tells the changes, as it does for a backup. So the
//! rebuilt indexes stand at the boundary of a batch, and there, between two batches, they are compared. It repairs
//! nothing: what it finds is told to whoever asked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use events::{Position, Source};

use crate::backup::scan_chunk;
use crate::batch::Finished;
use crate::errors::{StoreError, panic_message};
use crate::head::{HeadFile, HeadSays, Meta};
use crate::health::Reader;
use crate::indexes::Indexes;
use crate::outbox::OutboxRow;
use crate::reads::behind;
use crate::record::{self, RawKey, SharedRow};
use crate::shared::Shared;
use crate::state::Gathered;
use crate::state_hash::StateHash;
use crate::store::Store;

/// How many problems a report tells in words; the others are counted.
const PROBLEMS_TOLD_MAX: usize = 20;

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// Whose store it is.
    pub source: Source,
    /// The last event at the moment that is told of.
    pub head: Position,
    /// The last batch at that moment.
    pub batch: u64,
    /// How many rows there were; every one was read, its checksum and its form checked.
    pub rows: u64,
    /// The service's own rows in one number.
    pub state_hash: StateHash,
    /// What is wrong, in words; the first of them.
    pub problems: Vec<String>,
    /// How much is wrong altogether.
    pub problems_count: u64,
}

impl CheckReport {
    /// Whether all is as it should be.
    pub fn is_good(&self) -> bool {
        self.problems_count == 0
    }

    fn add(&mut self, problem: String) {
        self.problems_count += 1;
        if self.problems.len() < PROBLEMS_TOLD_MAX {
            self.problems.push(problem);
        }
    }
}

impl<I: Indexes> Store<I> {
    /// Reads every row again, beside everything else, and compares what is in memory with what that gives: at one
    /// moment between two batches, for which writing waits. That takes the memory of the indexes a second time, and the
    /// longer the more rows there are: whoever asks knows how many are too many. One check at a time; also while the
    /// store adopts.
    ///
    /// # Errors
    /// When the store is not open to the end, or another check is running.
    pub async fn check(&self) -> Result<CheckReport, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || store.check_blocking())
            .await
            .map_err(|error| StoreError::Unavailable(format!("the check was broken off: {error}").into()))?
    }

    /// [`Self::check`], for a thread that may block.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_blocking(&self) -> Result<CheckReport, StoreError> {
        check(&self.shared)
    }

    /// The service's own rows in one number that does not depend on how they came to be: two stores with the same rows
    /// have the same. Cursors, outbox, answers and dead letters are left out.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn state_hash(&self) -> Result<StateHash, StoreError> {
        self.check().await.map(|report| report.state_hash)
    }
}

fn check<I: Indexes>(shared: &Shared<I>) -> Result<CheckReport, StoreError> {
    let _attached = Attached::new(shared)?;
    let mut from = Vec::new();
    loop {
        let last = shared.reading(Reader::Recovery, |engine| {
            let mut tees = shared.tees();
            let shadow = tees.shadow()?;
            let last = scan_chunk(engine, &from, |key, value| shadow.scanned(shared, key, value))?;
            shadow.read_up_to(last.clone());
            Ok(last)
        })?;
        match last {
            Some(last) => from = behind(&last),
            None => break,
        }
    }
    let _turn = shared.turn();
    shared.health.check(Reader::Recovery)?;
    let mut tees = shared.tees();
    let mut report = tees.shadow()?.compared(shared);
    drop(tees);
    let head = HeadFile::read(&shared.options.dir);
    match head {
        Ok(HeadSays::Head(head)) if head.batch <= report.batch => {}
        Ok(HeadSays::Head(head)) => {
            report.add(format!("its head file is ahead of it, at batch {}", head.batch))
        }
        Ok(HeadSays::Missing) => report.add("its head file is missing".to_owned()),
        Ok(HeadSays::Unreadable) => report.add("its head file can't be believed".to_owned()),
        Err(error) => report.add(format!("its head file can't be read: {error}")),
    }
    Ok(report)
}

/// A check that is under way; dropped, the writer tells nothing any more.
struct Attached<'a, I: Indexes>(&'a Shared<I>);

impl<'a, I: Indexes> Attached<'a, I> {
    fn new(shared: &'a Shared<I>) -> Result<Self, StoreError> {
        let mut tees = shared.tees();
        if tees.shadow.is_some() {
            return Err(StoreError::Unavailable("another check of it is running".into()));
        }
        tees.shadow = Some(Shadow::new());
        Ok(Self(shared))
    }
}

impl<I: Indexes> Drop for Attached<'_, I> {
    fn drop(&mut self) {
        self.0.tees().shadow = None;
    }
}

/// What is rebuilt from the rows, and kept up with the writer.
pub(crate) struct Shadow<I> {
    gathered: Gathered<I>,
    state_hash: StateHash,
    /// Up to where the rows have been read.
    read: ReadUpTo,
    problems: Vec<String>,
    problems_count: u64,
    failed: Option<Arc<str>>,
}

enum ReadUpTo {
    Nothing,
    Key(RawKey),
    All,
}

impl<I: Indexes> Shadow<I> {
    fn new() -> Self {
        Self {
            gathered: Gathered::new(),
            state_hash: StateHash::default(),
            read: ReadUpTo::Nothing,
            problems: Vec::new(),
            problems_count: 0,
            failed: None,
        }
    }

    /// Why it came to nothing, if it did. What was found before that tells more than that an index could not follow.
    pub(crate) fn failed(&self) -> Option<StoreError> {
        let why = self.failed.clone()?;
        Some(match self.problems.first() {
            Some(problem) => StoreError::Damaged(problem.as_str().into()),
            None => StoreError::Unavailable(why),
        })
    }

    /// It can't be completed any more.
    pub(crate) fn fail(&mut self, why: &str) {
        self.failed.get_or_insert_with(|| why.into());
    }

    fn scanned(&mut self, shared: &Shared<I>, key: &[u8], value: &[u8]) {
        match self.gathered.add(key, value) {
            Ok(row) => self.hash(shared, key, None, Some(&row)),
            Err(error) => {
                self.problems_count += 1;
                if self.problems.len() < PROBLEMS_TOLD_MAX {
                    let table = self.gathered.table(key);
                    self.problems.push(record::describe(table, key, &error));
                }
            }
        }
    }

    fn read_up_to(&mut self, last: Option<RawKey>) {
        self.read = last.map_or(ReadUpTo::All, ReadUpTo::Key);
    }

    fn has_read(&self, key: &[u8]) -> bool {
        match &self.read {
            ReadUpTo::Nothing => false,
            ReadUpTo::Key(last) => key <= &**last,
            ReadUpTo::All => true,
        }
    }

    /// A batch is about to be applied: what it changes of what has been read.
    pub(crate) fn batch(&mut self, shared: &Shared<I>, finished: &Finished) {
        if self.failed.is_some() {
            return;
        }
        // An index that was not rebuilt rightly (a damaged row is left out) may not take the change.
        let followed = catch_unwind(AssertUnwindSafe(|| self.follow(shared, finished)));
        if let Err(panic) = followed {
            self.fail(&format!("a rebuilt index panicked: {}", panic_message(&*panic)));
        }
    }

    fn follow(&mut self, shared: &Shared<I>, finished: &Finished) {
        for (key, slot) in &finished.slots {
            if self.has_read(key) {
                self.gathered.change(slot.base.as_ref(), slot.now.as_ref());
                self.hash(shared, key, slot.base.as_ref(), slot.now.as_ref());
            }
        }
        for span in &finished.spans {
            if self.has_read(&record::raw_key::<OutboxRow>(&span.first.0)) {
                // A hole shows in the comparison: nothing follows it there.
                self.gathered.append(*span).ok();
            }
        }
        if self.has_read(&record::raw_key::<Meta>(&())) {
            self.gathered.meta = Some(finished.meta);
        }
    }

    fn hash(
        &mut self,
        shared: &Shared<I>,
        key: &[u8],
        before: Option<&SharedRow>,
        after: Option<&SharedRow>,
    ) {
        if shared.tables.has(key) {
            if let Some(row) = before {
                self.state_hash.remove(key, &row.seal(key));
            }
            if let Some(row) = after {
                self.state_hash.add(key, &row.seal(key));
            }
        }
    }

    /// What is found when the writer stands still.
    fn compared(&mut self, shared: &Shared<I>) -> CheckReport {
        let gathered = &self.gathered;
        let live = shared.indexed.read().unwrap_or_else(PoisonError::into_inner);
        let durable = shared.durable();
        let mut report = CheckReport {
            source: shared.options.source,
            head: durable.meta.position(),
            batch: durable.meta.batch,
            rows: gathered.rows(),
            state_hash: self.state_hash,
            problems: std::mem::take(&mut self.problems),
            problems_count: self.problems_count,
        };
        if gathered.meta != Some(durable.meta) {
            report.add(format!(
                "its first row says {:?} and should say {:?}",
                gathered.meta, durable.meta
            ));
        }
        if gathered.rows() != durable.meta.keys {
            report.add(format!(
                "it has {} rows and should have {}",
                gathered.rows(),
                durable.meta.keys
            ));
        }
        if gathered.indexed.service != live.service {
            report.add("the service's indexes in memory are not what its rows say".to_owned());
        }
        if gathered.indexed.cursors != live.cursors || live.cursors != durable.cursors {
            report.add("the cursors in memory are not those that are stored".to_owned());
        }
        if gathered.indexed.forgetting != live.forgetting {
            report.add("the answers to be forgotten are not those that are stored".to_owned());
        }
        if gathered.indexed.dead_letters != live.dead_letters || live.dead_letters != durable.dead_letters {
            report.add(format!(
                "it counts {} dead letters and has {}",
                live.dead_letters, gathered.indexed.dead_letters
            ));
        }
        if gathered.durable.spans != durable.spans {
            report.add("the outbox in memory is not the one that is stored".to_owned());
        }
        if durable.spans.last().unwrap_or_default() != durable.meta.seq {
            report.add(format!(
                "its outbox does not end at its head, event {}",
                durable.meta.seq
            ));
        }
        report
    }
}
