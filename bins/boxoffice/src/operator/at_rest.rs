//! Stores that no process has: read by way of copies, so that looking leaves no trace in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use events::{Envelope, Epoch, Position, Seq, Source};
use invariants::{Account, Books, Fact, Reading, Tolerance, VersionGap, VersionScan, check};
use service::Service;
use store::{Options, State, Store, StoreError};

use super::report::{Report, StoreReport};
use super::{OperatorError, now};

/// How many rows are read at a time.
const ROWS_PER_READ: usize = 10_000;

/// How much of the outbox is read at a time.
const OUTBOX_BYTES_PER_READ: usize = 1024 * 1024;

/// How the directories of copies are called, before the id of the process that made them.
const COPIES_PREFIX: &str = ".verify-";

/// Checks these stores of a data directory. Blocks.
pub(super) fn verify(data_dir: &Path, sources: &[Source]) -> Result<Report, OperatorError> {
    let copies = Copies::make(data_dir)?;
    let mut books = Books::default();
    let mut stores = Vec::new();
    for source in sources {
        let place = copies.place(data_dir, *source);
        stores.push(match source {
            Source::Auth => place.look::<auth::App>(&mut books)?,
            Source::Tickets => place.look::<tickets::App>(&mut books)?,
            Source::Orders => place.look::<orders::App>(&mut books)?,
            Source::Expiration => place.look::<expiration::App>(&mut books)?,
            Source::Payments => place.look::<payments::App>(&mut books)?,
        });
    }
    let found = check(&books, now(), Tolerance::OF_COPIES);
    Ok(Report::of_stores_at_rest(stores, &books, found))
}

/// The epoch that each source is known to have reached, by how far the others have read it. A store that can't be read
/// knows nothing. Blocks.
pub(super) fn epochs_known(data_dir: &Path) -> Result<BTreeMap<Source, Epoch>, OperatorError> {
    let copies = Copies::make(data_dir)?;
    let mut known = BTreeMap::new();
    for reader in Source::ALL {
        let place = copies.place(data_dir, reader);
        let cursors = match reader {
            Source::Auth => place.cursors::<auth::App>(),
            Source::Tickets => place.cursors::<tickets::App>(),
            Source::Orders => place.cursors::<orders::App>(),
            Source::Expiration => place.cursors::<expiration::App>(),
            Source::Payments => place.cursors::<payments::App>(),
        };
        for (source, cursor) in cursors {
            let epoch: &mut Epoch = known.entry(source).or_insert(cursor.epoch);
            *epoch = cursor.epoch.max(*epoch);
        }
    }
    Ok(known)
}

/// One store, and where its copy goes.
struct Place {
    source: Source,
    dir: PathBuf,
    copy: PathBuf,
}

impl Place {
    fn look<S: Service>(&self, books: &mut Books) -> Result<StoreReport, OperatorError> {
        let store = match self.open::<S>() {
            Ok(store) => store,
            // A store that can't be opened is what this command is there to find.
            Err(problem) => return Ok(StoreReport::unreadable(self.source, problem)),
        };
        let report = read::<S>(&store, books)
            .unwrap_or_else(|error| StoreReport::unreadable(self.source, error.to_string()));
        store.close();
        Ok(report)
    }

    /// Up to where this store has read each source; nothing if it can't be opened.
    fn cursors<S: Service>(&self) -> Vec<(Source, Position)> {
        let Ok(store) = self.open::<S>() else {
            return Vec::new();
        };
        let cursors = read_by(S::SOURCE)
            .map(|source| (source, store.cursor(source)))
            .collect();
        store.close();
        cursors
    }

    fn open<S: Service>(&self) -> Result<Store<S::Indexes>, String> {
        Store::open_copy(&Options::new(self.source, &self.dir), &self.copy).map_err(|error| error.to_string())
    }
}

fn read<S: Service>(store: &Store<S::Indexes>, books: &mut Books) -> Result<StoreReport, StoreError> {
    let checked = store.check_blocking()?;
    let facts = facts::<S>(store)?;
    let account = account::<S>(store, checked.state_hash.to_string())?;
    books.facts.extend(facts);
    books.accounts.push(account.clone());
    Ok(StoreReport {
        service: checked.source,
        rows: checked.rows,
        state_hash: checked.state_hash.to_string(),
        problems: checked.problems,
        problems_count: checked.problems_count,
        account: Some(account),
    })
}

fn facts<S: Service>(store: &Store<S::Indexes>) -> Result<Vec<Fact>, StoreError> {
    let mut facts = Vec::new();
    let mut after = None;
    loop {
        let rows = store.rows(after.as_ref(), ROWS_PER_READ)?;
        facts.extend(rows.iter().filter_map(|(_, row)| S::fact(row)));
        match rows.into_iter().next_back() {
            Some((last, _)) => after = Some(last),
            None => return Ok(facts),
        }
    }
}

fn account<S: Service>(store: &Store<S::Indexes>, state_hash: String) -> Result<Account, StoreError> {
    let status = store.status();
    Ok(Account {
        source: S::SOURCE,
        serving: matches!(status.state, State::Serving),
        state: if store.was_restored() {
            "restored from a backup; it takes back what it has published since at the next start".to_owned()
        } else {
            "at rest".to_owned()
        },
        time: now(),
        head: Position {
            epoch: status.epoch,
            seq: status.head,
        },
        oldest: status.oldest.0,
        relayed: None,
        relay_trouble: None,
        readings: read_by(S::SOURCE)
            .map(|source| Reading {
                source,
                cursor: store.cursor(source),
                state: None,
            })
            .collect(),
        dead_letters: status.dead_letters,
        keys: status.keys,
        state_hash: Some(state_hash),
        version_gaps: version_gaps(store, status.oldest)?,
    })
}

/// The sources that a service reads.
fn read_by(reader: Source) -> impl Iterator<Item = Source> {
    Source::ALL
        .into_iter()
        .filter(move |source| bus::readers(*source).contains(&reader))
}

fn version_gaps<I: store::Indexes>(store: &Store<I>, oldest: Seq) -> Result<Vec<VersionGap>, StoreError> {
    let mut scan = VersionScan::default();
    let mut gaps = Vec::new();
    let mut after = Seq(oldest.0.saturating_sub(1));
    loop {
        let entries = store.outbox(after, OUTBOX_BYTES_PER_READ)?;
        let Some(last) = entries.last() else {
            return Ok(gaps);
        };
        after = last.seq;
        for entry in entries {
            let envelope = Envelope::from_json(&entry.envelope).map_err(|error| {
                StoreError::Damaged(format!("event {} of the outbox: {error}", entry.seq).into())
            })?;
            gaps.extend(scan.see(entry.seq, &envelope.event));
        }
    }
}

/// Where the copies lie: in the data directory, which has room for what is there already, and is for its owner alone.
/// They hold what the stores hold, so that they go with this.
struct Copies {
    dir: PathBuf,
}

impl Copies {
    fn make(data_dir: &Path) -> Result<Self, OperatorError> {
        forget_the_killed(data_dir).map_err(OperatorError::io("clearing up in", data_dir))?;
        let dir = data_dir.join(format!("{COPIES_PREFIX}{}", std::process::id()));
        remove(&dir).map_err(OperatorError::io("clearing up", &dir))?;
        let mut folder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder
            .create(&dir)
            .map_err(OperatorError::io("making a directory for copies", &dir))?;
        Ok(Self { dir })
    }

    fn place(&self, data_dir: &Path, source: Source) -> Place {
        Place {
            source,
            dir: data_dir.join(source.as_str()),
            copy: self.dir.join(source.as_str()),
        }
    }
}

impl Drop for Copies {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.dir) {
            eprintln!(
                "boxoffice: copies of the stores were left in {}: {error}",
                self.dir.display()
            );
        }
    }
}

/// Takes away what commands have left that were killed.
fn forget_the_killed(data_dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(data_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(COPIES_PREFIX));
        if let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok())
            && !Path::new("/proc").join(pid.to_string()).exists()
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
