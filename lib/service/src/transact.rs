//! A request's transaction, with a bound on how long its client waits for it.
//!
//! A disk that takes a second for each sync, or none at all, must not make requests pile up behind it. A transaction
//! that has not begun in time is taken back: nothing was changed, and the client is told so. One that has begun can't
//! be taken back, so that after a further while the honest answer is that its outcome is not known.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use events::Source;
use store::{Context, Indexes, Store, TransactError, Txn};

/// Transactions whose turn did not come in time.
const GIVEN_UP: &str = "store_transactions_given_up_total";

/// Transactions that had begun, and whose end nobody waited for any longer.
const UNCONFIRMED: &str = "store_transactions_unconfirmed_total";

/// How long a request's transaction may wait for its turn. Over it, it is taken back, and nothing was changed.
pub const TRANSACTION_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a request waits in all for its transaction to be on the disk. Over it, the outcome is not known. Together with
/// what a request may wait for an event before ([`crate::READ_WAIT_MAX`]) it stays below ten seconds, and below what the
/// site waits for an answer, so that a person reads what is known and not that nothing was heard.
pub const TRANSACTION_ANSWER_MAX: Duration = Duration::from_secs(7);

/// Makes the counters of this module known, so that an alert on the first one has something to compare with.
pub(crate) fn begin_counting(source: Source) {
    for name in [GIVEN_UP, UNCONFIRMED] {
        metrics::counter!(name, "store" => source.as_str()).absolute(0);
    }
}

/// How long a transaction may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) to_begin: Duration,
    pub(crate) to_end: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            to_begin: TRANSACTION_WAIT_MAX,
            to_end: TRANSACTION_ANSWER_MAX,
        }
    }
}

/// Takes a transaction out of where it waits: the writer to run it, or the one who waits to be done with it, whoever is
/// first. What is taken back is gone at once, not only when its turn would have come.
fn take<F>(waiting: &Mutex<Option<F>>) -> Option<F> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Runs a transaction for a client that does not wait for ever.
///
/// # Errors
/// As [`Store::transact`]; [`TransactError::Busy`] when its turn did not come in time, [`TransactError::Unknown`] when
/// it began and the disk has not confirmed it in time.
pub(crate) async fn transact<I, T, E>(
    store: &Store<I>,
    context: Context,
    patience: Patience,
    f: impl FnOnce(&mut Txn<'_, I>) -> Result<T, TransactError<E>> + Send + 'static,
) -> Result<T, TransactError<E>>
where
    I: Indexes,
    T: Send + 'static,
    E: Send + 'static,
{
    let waiting = Arc::new(Mutex::new(Some(f)));
    let its_turn = Arc::clone(&waiting);
    let answer = store.transact(context, move |tx: &mut Txn<'_, I>| match take(&its_turn) {
        Some(f) => f(tx),
        None => Err(TransactError::Busy),
    });
    let mut answer = std::pin::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(patience.to_begin, answer.as_mut()).await {
        return answer;
    }
    let labels = [("store", store.status().source.as_str())];
    if take(&waiting).is_some() {
        metrics::counter!(GIVEN_UP, &labels).increment(1);
        return Err(TransactError::Busy);
    }
    let rest = patience.to_end.saturating_sub(patience.to_begin);
    let Ok(answer) = tokio::time::timeout(rest, answer).await else {
        metrics::counter!(UNCONFIRMED, &labels).increment(1);
        return Err(TransactError::Unknown(
            "the disk has not confirmed it in time".into(),
        ));
    };
    answer
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use events::Timestamp;
    use store::{Change, Options, Tables, Wrote};

    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct NoIndexes;

    impl Indexes for NoIndexes {
        fn apply(&mut self, _: &Change<'_>) {}

        fn tables() -> Tables {
            crate::tables()
        }
    }

    const HASTY: Patience = Patience {
        to_begin: Duration::from_millis(30),
        to_end: Duration::from_millis(60),
    };

    fn context() -> Context {
        Context::new(Timestamp::default())
    }

    #[tokio::test]
    async fn what_has_not_begun_in_time_never_does() {
        let dir = testkit::temp_dir();
        let options = Options::new(Source::Tickets, dir.path());
        let (store, mut writer) = Store::<NoIndexes>::open_stepped(options).unwrap();
        let (ran, has_run) = mpsc::channel();
        let told = transact(&store, context(), HASTY, move |_| {
            ran.send(()).unwrap();
            Ok::<_, TransactError<Infallible>>(())
        })
        .await;
        assert!(matches!(told, Err(TransactError::Busy)), "{told:?}");
        assert_eq!(writer.write_once(), Wrote::Batch { transactions: 1 });
        assert!(has_run.recv().is_err(), "its turn had been taken back");
    }

    #[tokio::test]
    async fn what_has_begun_and_is_not_confirmed_is_not_known() {
        let dir = testkit::temp_dir();
        let options = Options::new(Source::Tickets, dir.path());
        let (store, mut writer) = Store::<NoIndexes>::open_stepped(options).unwrap();
        let (let_go, held) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let mut telling = pin!(transact(&store, context(), HASTY, move |_| {
            begun.send(()).unwrap();
            held.recv().unwrap();
            Ok::<_, TransactError<Infallible>>(())
        }));
        // Handed in, and not looked at again before it has begun, however long the writer's thread takes to come to run.
        let is_pending = poll_fn(|context| Poll::Ready(telling.as_mut().poll(context).is_pending()));
        assert!(is_pending.await);
        let writing = std::thread::spawn(move || writer.write_once());
        begins.recv().unwrap();
        let told = telling.await;
        assert!(matches!(told, Err(TransactError::Unknown(_))), "{told:?}");
        let_go.send(()).unwrap();
        assert_eq!(writing.join().unwrap(), Wrote::Batch { transactions: 1 });
    }
}
