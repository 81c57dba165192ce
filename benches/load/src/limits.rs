//! What this machine can do at most, measured in the same run as the system: bare HTTP answers, syncs of the disk, the
//! store's own group commit, appends to Redis, password hashes. A figure of the system means something only beside
//! these.

pub mod commit;
pub mod hello;
mod redis;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};

use crate::number::{float, per, rounded};
use crate::record::Line;
use crate::results::Limit;

/// Answers of a bare HTTP server.
pub const BARE_HTTP: &str = "bare HTTP";
/// Small synced writes.
pub const SYNC: &str = "write and fdatasync";
/// The store's own group commit of a reservation.
pub const GROUP_COMMIT: &str = "group commit";
/// Password hashes.
pub const ARGON2ID: &str = "argon2id";

/// How much is written before each sync.
const SYNC_BYTES: usize = 256;

/// argon2id as the system uses it: 19 MiB, two passes, one lane.
const HASH: (u32, u32, u32) = (19_456, 2, 1);

/// Why a limit can't be measured.
#[derive(Debug, thiserror::Error)]
#[error("{limit} can't be measured: {why}")]
pub struct LimitError {
    limit: &'static str,
    why: String,
}

impl LimitError {
    fn new(limit: &'static str, why: &(impl ToString + ?Sized)) -> Self {
        Self {
            limit,
            why: why.to_string(),
        }
    }
}

/// Measures all of them, each for about `each`, with files below `below`. `said` hears of each as it is known.
///
/// # Errors
/// The first that can't be measured.
pub async fn measure(
    below: &Path,
    each: Duration,
    connections: usize,
    mut said: impl FnMut(&Limit),
) -> Result<Vec<Limit>, LimitError> {
    let mut limits = Vec::new();
    let mut add = |limit: Limit| {
        said(&limit);
        limits.push(limit);
    };
    add(hello::measure(each, connections).await?);
    for limit in blocking(SYNC, below, each, syncs).await? {
        add(limit);
    }
    for limit in blocking(GROUP_COMMIT, below, each, commit::measure).await? {
        add(limit);
    }
    for limit in redis::measure(below, each).await? {
        add(limit);
    }
    for limit in blocking(ARGON2ID, below, each, hashes).await? {
        add(limit);
    }
    Ok(limits)
}

/// Runs what blocks beside the runtime.
async fn blocking(
    limit: &'static str,
    below: &Path,
    each: Duration,
    measure: fn(&Path, Duration) -> Result<Vec<Limit>, LimitError>,
) -> Result<Vec<Limit>, LimitError> {
    let below = below.to_owned();
    let measured = tokio::task::spawn_blocking(move || measure(&below, each)).await;
    measured.map_err(|error| LimitError::new(limit, &error))?
}

/// One writer that appends and syncs.
fn syncs(below: &Path, each: Duration) -> Result<Vec<Limit>, LimitError> {
    let failed = |error: std::io::Error| LimitError::new(SYNC, &error);
    std::fs::create_dir_all(below).map_err(failed)?;
    let dir = tempfile::tempdir_in(below).map_err(failed)?;
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.path().join("synced"))
        .map_err(failed)?;
    let bytes = [b'x'; SYNC_BYTES];
    let mut times = Line::new("sync");
    let begun = Instant::now();
    while begun.elapsed() < each {
        let one = Instant::now();
        file.write_all(&bytes)
            .and_then(|()| file.sync_data())
            .map_err(failed)?;
        times.record(crate::number::micros(one.elapsed()));
    }
    let told = times.percentiles();
    Ok(vec![Limit {
        name: SYNC.to_owned(),
        value: rounded(per(float(times.count()), begun.elapsed().as_secs_f64()), 1),
        unit: "/s".to_owned(),
        how: format!(
            "one writer, {SYNC_BYTES} B each; p50 {} ms, p99 {} ms",
            told.p50_ms, told.p99_ms
        ),
    }])
}

/// One thread a core that hashes.
fn hashes(_: &Path, each: Duration) -> Result<Vec<Limit>, LimitError> {
    let (memory_kib, passes, lanes) = HASH;
    let params =
        Params::new(memory_kib, passes, lanes, None).map_err(|error| LimitError::new(ARGON2ID, &error))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    let hash = || {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let (mut out, mut count) = ([0_u8; 32], 0_u64);
        while begun.elapsed() < each {
            argon2
                .hash_password_into(b"a long enough secret", b"a salt of a person", &mut out)
                .map_err(|error| LimitError::new(ARGON2ID, &error))?;
            count += 1;
        }
        Ok(count)
    };
    let counted: Result<Vec<u64>, LimitError> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(hash)).collect();
        let counts = threads.into_iter().map(|thread| {
            let count = thread.join();
            count.unwrap_or_else(|_| Err(LimitError::new(ARGON2ID, "a thread panicked")))
        });
        counts.collect()
    });
    let count: u64 = counted?.iter().sum();
    Ok(vec![Limit {
        name: ARGON2ID.to_owned(),
        value: rounded(per(float(count), begun.elapsed().as_secs_f64()), 1),
        unit: "/s".to_owned(),
        how: format!("m={memory_kib} KiB, t={passes}, p={lanes}, one thread on each of {cores} cores"),
    }])
}
