//! One service: its store, its handler, what it has published, and its last backup.

use std::collections::HashSet;
use std::sync::Arc;

use bus::{Adopted, Impossible, Recovery};
use events::{Cause, Envelope, Epoch, Event, Position, Source, Timestamp};
use store::{Context, Indexes, Options, OutboxEntry, RestoreOptions, Store, TransactError, Txn, restore};
use testkit::TempDir;

/// Later than every deadline of a history.
pub(crate) const LATER: Timestamp = Timestamp::from_seconds(1_800_010_000);

/// What a service has published in its present epoch, and how it states what it has.
pub(crate) struct Stream {
    pub(crate) epoch: Epoch,
    pub(crate) entries: Vec<OutboxEntry>,
}

pub(crate) struct Place<I: Indexes, H> {
    pub(crate) source: Source,
    pub(crate) stream: Stream,
    handler: Arc<H>,
    store: Option<Store<I>>,
    backup: Option<Vec<u8>>,
    dir: TempDir,
    /// Events that it called impossible; only where a loss was accepted may there be any.
    pub(crate) letters: Vec<String>,
}

impl<I: Indexes, H: Recovery<I>> Place<I, H> {
    pub(crate) fn new(source: Source, handler: H) -> Self {
        let dir = testkit::temp_dir();
        let store = Store::open(Options::new(source, dir.path().join("store"))).unwrap();
        Self {
            source,
            stream: Stream {
                epoch: store.status().epoch,
                entries: Vec::new(),
            },
            handler: Arc::new(handler),
            store: Some(store),
            backup: None,
            dir,
            letters: Vec::new(),
        }
    }

    pub(crate) fn store(&self) -> &Store<I> {
        self.store.as_ref().unwrap()
    }

    /// Does something, and publishes what came of it.
    pub(crate) async fn does<T: Send + 'static>(
        &mut self,
        f: impl FnOnce(&mut Txn<'_, I>) -> Result<T, TransactError<Impossible>> + Send + 'static,
    ) -> T {
        let done = self.store().transact(Context::new(LATER), f).await.unwrap();
        self.publish();
        done
    }

    fn publish(&mut self) {
        let after = self
            .stream
            .entries
            .last()
            .map_or(events::Seq(0), |entry| entry.seq);
        let new = self.store().outbox(after, usize::MAX).unwrap();
        self.stream.entries.extend(new);
    }

    /// Hears the next event of another service, or what that states anew if it has begun another epoch. Says whether
    /// there was anything.
    pub(crate) async fn hears(
        &mut self,
        source: Source,
        stream: &Stream,
        stated: impl FnOnce() -> Vec<Event>,
    ) -> bool {
        let cursor = self.store().cursor(source);
        if cursor.epoch < stream.epoch && stream.epoch > Epoch(1) {
            let head = stream.entries.last().map_or(events::Seq(0), |entry| entry.seq);
            self.is_told(
                source,
                stated(),
                Position {
                    epoch: stream.epoch,
                    seq: head,
                },
            )
            .await;
            return true;
        }
        let heard = usize::try_from(cursor.seq.0).unwrap();
        let Some(entry) = stream.entries.get(heard) else {
            return false;
        };
        let envelope = Envelope::from_json(&entry.envelope).unwrap();
        let handler = Arc::clone(&self.handler);
        let applied = self
            .does(move |tx| {
                tx.advance(source, envelope.position).unwrap();
                if !handler.concerns(envelope.event.event_type()) {
                    return Ok(None);
                }
                tx.caused_by(Some(Cause::new(source, envelope.position)));
                match tx.attempt(|tx| handler.apply(tx, &envelope)) {
                    Ok(_) => Ok(None),
                    Err(TransactError::Refused(Impossible(why))) => {
                        Ok(Some(format!("{}: {why}", envelope.event.event_type())))
                    }
                    Err(other) => Err(other),
                }
            })
            .await;
        self.letters.extend(applied);
        true
    }

    async fn is_told(&mut self, source: Source, events: Vec<Event>, at: Position) {
        let handler = Arc::clone(&self.handler);
        let letters = self
            .does(move |tx| {
                let mut letters = Vec::new();
                let mut stated = HashSet::new();
                for event in events {
                    stated.insert(event.subject());
                    stated.extend(event.order_id().map(|order| order.to_string()));
                    if !handler.heeds(event.event_type()) {
                        continue;
                    }
                    let envelope = Envelope {
                        source,
                        position: at,
                        time: LATER,
                        traceparent: None,
                        cause: None,
                        event,
                    };
                    match tx.attempt(|tx| handler.restated(tx, &envelope)) {
                        Ok(_) => {}
                        Err(TransactError::Refused(Impossible(why))) => {
                            letters.push(format!("stated {}: {why}", envelope.event.event_type()));
                        }
                        Err(other) => return Err(other),
                    }
                }
                handler.forsake(tx, source, &stated)?;
                tx.set_cursor(source, at);
                Ok(letters)
            })
            .await;
        self.letters.extend(letters);
    }

    /// All that it has, as events.
    pub(crate) fn stated(&self) -> Vec<Event> {
        let rows = self.store().rows(None, usize::MAX).unwrap();
        rows.iter()
            .filter_map(|(_, row)| self.handler.restate(row))
            .collect()
    }

    pub(crate) async fn takes_backup(&mut self) {
        let mut backup = self.store().backup(LATER).unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = backup.next().await {
            bytes.extend(chunk.unwrap());
        }
        self.backup = Some(bytes);
    }

    /// Loses its store and has the last backup instead. What it has published since is taken back, or given up.
    pub(crate) async fn is_set_back(&mut self, accept_loss: bool) -> bool {
        let Some(backup) = self.backup.clone() else {
            return false;
        };
        self.store.take().unwrap().close();
        let dir = self.dir.path().join("store");
        let options = RestoreOptions {
            accept_loss,
            ..RestoreOptions::new(self.source, LATER)
        };
        restore(&*backup, &dir, &options).unwrap();
        let store = Store::<I>::open(Options::new(self.source, &dir)).unwrap();
        if accept_loss {
            self.stream = Stream {
                epoch: store.status().epoch,
                entries: Vec::new(),
            };
            // A backup of the epoch before could only be given up in its turn.
            self.backup = None;
        } else {
            let head = usize::try_from(store.status().head.0).unwrap();
            let lost = self.stream.entries[head..].to_vec();
            let told: Vec<Envelope> = lost
                .iter()
                .map(|entry| Envelope::from_json(&entry.envelope).unwrap())
                .collect();
            let handler = Arc::clone(&self.handler);
            store.begin_adopting("behind its stream");
            let adopted = store.adopt::<Impossible>(Context::new(LATER), lost, move |tx| {
                for envelope in &told {
                    assert_eq!(handler.adopt(tx, envelope)?, Adopted::Whole);
                }
                Ok(())
            });
            adopted.await.unwrap();
        }
        store.end_adopting().unwrap();
        self.store = Some(store);
        true
    }
}
