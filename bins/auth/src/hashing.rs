//! argon2id on threads of its own: hashing is slow by design, and must slow down nothing else.
//!
//! The pool is bounded twice: by its threads, and by how many may wait. Who finds no place is told at once.

mod argon2id;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use errors::Problem;
use service::StartError;
use tokio::sync::oneshot;

use self::argon2id::Argon2id;
use crate::domain::PasswordHash;

/// How many hashes may wait. At 54 a second and core the last one waits for little more than a second on two cores; where
/// others want both cores, a quarter of that rate is left, and it waits for five, still less than any answer may take.
const HASHES_WAITING_MAX: usize = 128;

/// When a client should try again who found no place.
const HASH_RETRY_SECONDS: u32 = 2;

/// By how much the threads stand back behind all others when the cores are taken (Linux' nice): everybody else's work is done
/// in less than a millisecond, and waits no longer for a core than if nobody signed up. Even then a third of what any other
/// thread gets is left to them, so that a crowd that buys keeps nobody from signing in. In a pod of its own, "all others" are
/// the threads of this service.
#[cfg(target_os = "linux")]
const STAND_BACK: i32 = 5;

/// How long a thread that has nothing to do keeps its memory.
const KEEP_MEMORY: Duration = Duration::from_secs(1);

/// Hashes passwords. Its threads end when it is dropped.
#[derive(Debug)]
pub(crate) struct Hasher {
    queue: Arc<Queue>,
    /// What a password is compared with where there is no person: so that it takes as long.
    nobody: PasswordHash,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

#[derive(Debug)]
enum Job {
    Hash(String, oneshot::Sender<Result<PasswordHash, String>>),
    Verify(String, PasswordHash, oneshot::Sender<Result<bool, String>>),
}

impl Hasher {
    /// Starts one thread for each core.
    pub(crate) fn start() -> Result<Self, StartError> {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        Self::with(workers)
    }

    fn with(workers: usize) -> Result<Self, StartError> {
        let queue = Arc::new(Queue::default());
        let failed = |why: String| StartError::Failed(format!("passwords can't be hashed: {why}"));
        let nobody = Argon2id::default()
            .hash("whatever somebody may have chosen")
            .map_err(failed)?;
        // Made before the threads, so that they are told to end even if one of them can't be started.
        let hasher = Self { queue, nobody };
        for number in 0..workers {
            let queue = Arc::clone(&hasher.queue);
            thread::Builder::new()
                .name(format!("hasher-{number}"))
                .spawn(move || queue.work())
                .map_err(|error| failed(error.to_string()))?;
        }
        Ok(hasher)
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// A 503 when too many wait already.
    pub(crate) async fn hash(&self, password: String) -> Result<PasswordHash, Problem> {
        let (sender, receiver) = oneshot::channel();
        self.queue.push(Job::Hash(password, sender))?;
        answered(receiver.await)
    }

    /// Whether a password is the one with this hash; without a hash it is not, and takes as long.
    ///
    /// # Errors
    /// A 503 when too many wait already.
    pub(crate) async fn verify(
        &self,
        password: String,
        known: Option<PasswordHash>,
    ) -> Result<bool, Problem> {
        let somebody = known.is_some();
        let hash = known.unwrap_or_else(|| self.nobody.clone());
        let (sender, receiver) = oneshot::channel();
        self.queue.push(Job::Verify(password, hash, sender))?;
        Ok(answered(receiver.await)? && somebody)
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        state.jobs.clear();
        self.queue.woken.notify_all();
    }
}

impl Queue {
    fn push(&self, job: Job) -> Result<(), Problem> {
        let mut state = self.lock();
        if state.jobs.len() >= HASHES_WAITING_MAX {
            metrics::counter!("auth_hashes_refused_total").increment(1);
            return Err(Problem::unavailable(
                "Too many people are signing in, try again soon",
                HASH_RETRY_SECONDS,
            ));
        }
        state.jobs.push_back(job);
        drop(state);
        self.woken.notify_one();
        Ok(())
    }

    /// Takes one job after another, until the hasher is dropped.
    fn work(&self) {
        // Linux knows priorities of threads; elsewhere it would be that of the whole process.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::nice(STAND_BACK) {
            tracing::warn!(%error, "hashing passwords has the priority of everything else");
        }
        let mut argon2id = Argon2id::default();
        while let Some(job) = self.next(&mut argon2id) {
            match job {
                // Whoever has gone away needs no answer; a receiver that goes meanwhile is no error either.
                Job::Hash(password, sender) if !sender.is_closed() => {
                    let (Ok(()) | Err(_)) = sender.send(argon2id.hash(&password));
                }
                Job::Verify(password, known, sender) if !sender.is_closed() => {
                    let (Ok(()) | Err(_)) = sender.send(argon2id.verify(&password, &known));
                }
                Job::Hash(..) | Job::Verify(..) => {}
            }
        }
    }

    /// The next job; none when the hasher was dropped. Whoever waits long gives the memory back meanwhile.
    fn next(&self, argon2id: &mut Argon2id) -> Option<Job> {
        let mut state = self.lock();
        let mut keeps = true;
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            if keeps {
                let waited = self.woken.wait_timeout(state, KEEP_MEMORY);
                let (locked, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                state = locked;
                if timeout.timed_out() && state.jobs.is_empty() {
                    drop(state);
                    argon2id.release();
                    keeps = false;
                    state = self.lock();
                }
            } else {
                state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that could panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answered<T>(answer: Result<Result<T, String>, oneshot::error::RecvError>) -> Result<T, Problem> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => Err(Problem::internal(format!("hashing a password: {why}"))),
        Err(_) => Err(Problem::internal("the hasher has ended")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_parameters_that_were_asked_for() {
        let hasher = Hasher::with(1).unwrap();
        let known = hasher.hash("tr0ub4dor & 3".into()).await.unwrap();
        let parts: Vec<&str> = known.0.split('$').collect();
        assert_eq!(parts[1..4], ["argon2id", "v=19", "m=19456,t=2,p=1"]);
        assert!(
            hasher
                .verify("tr0ub4dor & 3".into(), Some(known.clone()))
                .await
                .unwrap()
        );
        assert!(!hasher.verify("tr0ub4dor & 4".into(), Some(known)).await.unwrap());
        let somebody = "whatever somebody may have chosen";
        assert!(!hasher.verify(somebody.into(), None).await.unwrap());
        assert_eq!(format!("{:?}", hasher.nobody), "PasswordHash(…)");
    }

    #[tokio::test]
    async fn who_finds_no_place_is_told_at_once() {
        let hasher = Hasher::with(0).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..HASHES_WAITING_MAX {
            let (sender, receiver) = oneshot::channel();
            hasher.queue.push(Job::Hash("password".into(), sender)).unwrap();
            waiting.push(receiver);
        }
        let refused = hasher.hash("one too many".into()).await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 503);
        drop(hasher);
        for receiver in waiting {
            assert!(
                receiver.await.is_err(),
                "nobody is left waiting when the hasher ends"
            );
        }
    }
}
