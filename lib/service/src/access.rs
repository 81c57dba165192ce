//! Who may do what, as every service knows it by itself: the signing keys and the revocation list, kept as rows
//! in each service's own store and fed from auth's events.

mod rows;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bus::{Adopted, Applied, Handler, Impossible, Recovery};
use events::{Envelope, Event, EventType, Source, Timestamp};
use session::{TOKEN_SECONDS, Verifier};
use store::{
    Context, Indexes, Record, RowKey, Store, StoreError, StoredRow, Tables, TransactError, Txn, TxnError,
};

use crate::heard::Heard;
use crate::trace;
use rows::RetiredKeyRow;
pub use rows::{KeyRow, RevocationRow};

/// How many rows are read at once when the verifier is filled and when old revocations are looked for.
const ROWS_PER_SCAN: usize = 1_000;

/// How long a revocation is kept beyond its end, for clocks that disagree.
const FORGET_SLACK: Duration = Duration::from_secs(5 * 60);

/// The tables that every service's store has. A service's `Indexes::tables` begins with these:
/// `service::tables().with::<Ticket>()`.
pub fn tables() -> Tables {
    Tables::new()
        .with::<KeyRow>()
        .with::<RevocationRow>()
        .with::<RetiredKeyRow>()
}

/// Stages what one of auth's events says about keys and sessions; whether it was such an event.
///
/// # Errors
/// When the store can't be read.
pub fn stage<I: Indexes>(tx: &mut Txn<'_, I>, event: &Event) -> Result<bool, TxnError> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "every other event is of no concern here"
    )]
    match event {
        Event::KeyPublished(key) => {
            tx.put_any(KeyRow::from(key.clone()))?;
            tx.delete::<RetiredKeyRow>(&key.kid)?;
        }
        Event::KeyRetired(key) => {
            tx.delete::<KeyRow>(&key.kid)?;
            tx.put_any(RetiredKeyRow {
                kid: key.kid.clone(),
                until: last_token_of_a_key_retired(tx.now()),
            })?;
        }
        Event::SessionRevoked(revoked) => tx.put_any(RevocationRow(revoked.clone()))?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Tells the verifier what one of auth's events says about keys and sessions, at `now`.
///
/// # Errors
/// When a published key is no key.
pub fn feed(verifier: &Verifier, event: &Event, now: Timestamp) -> Result<(), session::KeyError> {
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "every other event is of no concern here"
    )]
    match event {
        Event::KeyPublished(key) => verifier.publish_key(&key.kid, &key.public_key)?,
        Event::KeyRetired(key) => verifier.retire_key(&key.kid, last_token_of_a_key_retired(now)),
        Event::SessionRevoked(revoked) => verifier.revoke(revoked),
        _ => {}
    }
    Ok(())
}

/// When the last token has expired that a key may have signed which is retired `now`.
fn last_token_of_a_key_retired(now: Timestamp) -> Timestamp {
    now.plus(Duration::from_secs(TOKEN_SECONDS))
}

/// Fills a verifier with what the store knows. Also while the store takes back what it has lost: when it serves again, no
/// session that has ended may be let in for a moment.
///
/// # Errors
/// When the store can't be read.
pub(crate) fn fill<I: Indexes>(verifier: &Verifier, store: &Store<I>) -> Result<(), StoreError> {
    let mut after: Option<RowKey> = None;
    loop {
        let rows = store.rows(after.as_ref(), ROWS_PER_SCAN)?;
        for (_, row) in &rows {
            if let Some(key) = row.of::<KeyRow>() {
                if let Err(error) = verifier.publish_key(&key.kid, &key.public_key) {
                    tracing::error!(kid = key.kid, %error, "a stored signing key is not usable");
                }
            } else if let Some(RevocationRow(revoked)) = row.of::<RevocationRow>() {
                verifier.revoke(revoked);
            } else if let Some(RetiredKeyRow { kid, until }) = row.of::<RetiredKeyRow>() {
                verifier.retire_key(kid, *until);
            } else {
                // Services' own tables have lower-case letters and come after these.
                return Ok(());
            }
        }
        after = rows.into_iter().last().map(|(key, _)| key);
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Forgets revocations and retired keys whose last token has expired, in the store and in the verifier.
///
/// # Errors
/// When the store can't be read or written.
pub(crate) async fn forget_expired<I: Indexes>(
    verifier: &Verifier,
    store: &Store<I>,
    now: Timestamp,
) -> Result<(), TransactError<std::convert::Infallible>> {
    let before = now.minus(FORGET_SLACK);
    verifier.forget_expired(before);
    forget::<I, RevocationRow>(store, now, |row| row.0.until <= before).await?;
    forget::<I, RetiredKeyRow>(store, now, |row| row.until <= before).await
}

async fn forget<I: Indexes, R: Record>(
    store: &Store<I>,
    now: Timestamp,
    is_over: impl Fn(&R) -> bool,
) -> Result<(), TransactError<std::convert::Infallible>> {
    let over: Vec<R> = all::<I, R>(store)?.into_iter().filter(is_over).collect();
    for rows in over.chunks(ROWS_PER_SCAN) {
        let keys: Vec<R::Key> = rows.iter().map(Record::key).collect();
        store
            .transact(Context::new(now), move |tx| {
                for key in &keys {
                    tx.delete::<R>(key)?;
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

fn all<I: Indexes, R: Record>(store: &Store<I>) -> Result<Vec<R>, StoreError> {
    let mut rows: Vec<R> = Vec::new();
    loop {
        let last = rows.last().map(Record::key);
        let page = store.scan::<R>(last.as_ref(), ROWS_PER_SCAN)?;
        let is_last = page.len() < ROWS_PER_SCAN;
        rows.extend(page);
        if is_last {
            return Ok(rows);
        }
    }
}

/// A service's own handler, with keys and revocations taken care of: no service handles auth's events itself.
pub(crate) struct WithAccess<I: Indexes, H> {
    pub(crate) service: Source,
    pub(crate) own: H,
    pub(crate) verifier: Verifier,
    pub(crate) store: Store<I>,
    pub(crate) heard: Arc<Heard>,
}

impl<I: Indexes, H: Handler<I>> Handler<I> for WithAccess<I, H> {
    fn concerns(&self, event_type: EventType) -> bool {
        matches!(
            event_type,
            EventType::KeyPublished | EventType::KeyRetired | EventType::SessionRevoked
        ) || self.own.concerns(event_type)
    }

    fn apply(&self, tx: &mut Txn<'_, I>, envelope: &Envelope) -> Result<Applied, TransactError<Impossible>> {
        let Envelope {
            source,
            position,
            time,
            ..
        } = *envelope;
        self.heard.note(source, position, time, self.store.cursor(source));
        if self.keep(tx, &envelope.event)? {
            Ok(Applied::Done)
        } else {
            trace::apply(self.service, &self.own, tx, envelope)
        }
    }
}

/// Keys and revocations come back, and are stated anew, like every other event; what else there is to recover is the
/// service's own business.
impl<I: Indexes, H: Recovery<I>> Recovery<I> for WithAccess<I, H> {
    /// Only auth's own stream tells of keys and revocations.
    fn adopt(&self, tx: &mut Txn<'_, I>, envelope: &Envelope) -> Result<Adopted, TransactError<Impossible>> {
        self.keep(tx, &envelope.event)?;
        self.own.adopt(tx, envelope)
    }

    /// Everybody has rows of keys and revocations, but only auth's are told of: its own handler states them.
    fn restate(&self, row: &StoredRow) -> Option<Event> {
        self.own.restate(row)
    }

    fn heeds(&self, event_type: EventType) -> bool {
        Handler::<I>::concerns(self, event_type) || self.own.heeds(event_type)
    }

    fn restated(
        &self,
        tx: &mut Txn<'_, I>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        if self.keep(tx, &envelope.event)? {
            Ok(Applied::Done)
        } else {
            self.own.restated(tx, envelope)
        }
    }

    /// Keys and revocations that auth does not state any more stay. A revocation only ever shuts someone out, and ends by
    /// itself with the last token that it is about. A key that auth has lost signs nothing new, since the private half
    /// went with it, and what it has signed runs out within hours: dropping it would sign out people who did nothing.
    fn forsake(
        &self,
        tx: &mut Txn<'_, I>,
        source: Source,
        stated: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        self.own.forsake(tx, source, stated)
    }
}

impl<I: Indexes, H> WithAccess<I, H> {
    /// Keeps what an event says of keys and sessions; whether it was such an event.
    fn keep(&self, tx: &mut Txn<'_, I>, event: &Event) -> Result<bool, TransactError<Impossible>> {
        if !stage(tx, event)? {
            return Ok(false);
        }
        // The verifier hears of it here and not after the commit: what auth has published is a fact, known to
        // this store or not, so that being early does no harm and telling it twice changes nothing.
        feed(&self.verifier, event, tx.now())
            .map_err(|error| TransactError::Refused(Impossible(error.to_string())))?;
        Ok(true)
    }
}
