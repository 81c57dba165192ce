//! What a consumer does when what comes next is not there: it asks for it, and, where events can't help any more,
//! applies a snapshot.

use std::sync::Arc;
use std::time::Duration;

use events::Position;
use failpoint::Point;
use store::{Context, Indexes, TransactError};
use tokio::time::Instant;

use crate::entry::StreamId;
use crate::errors::BusError;
use crate::recovery::Recovery;
use crate::restating::{PageApplied, PageError, Restating, Unapplied};
use crate::snapshot::Spoilt;
use crate::status::SourceState;

use super::{
    Asked, ConsumeError, Consumed, Consumer, HANDLER_PAUSE_MILLIS, HANDLER_TRIES_MAX, RESEND_MILLIS_MAX,
    STOPPED_SECONDS,
};

impl<I: Indexes, H: Recovery<I>> Consumer<I, H> {
    /// All that the stream held has been read. If it ends beyond the cursor, what is missing will not come by
    /// itself.
    pub(super) async fn mind_rest(&mut self, tail: Option<Position>) -> Result<(), BusError> {
        let cursor = self.store.cursor(self.source);
        let asked_lately = self.asked.is_some_and(|asked| {
            asked.cursor == cursor && asked.at.elapsed() < Duration::from_millis(RESEND_MILLIS_MAX)
        });
        if tail.is_none_or(|tail| tail <= cursor) {
            if self.state == SourceState::AwaitingResend {
                // It was garbage that looked like an event beyond the end.
                self.state = SourceState::Reading;
            }
        } else if !asked_lately {
            self.ask_resend(cursor).await?;
        }
        Ok(())
    }

    /// An entry was dropped because something before it is missing: asks for that, but not again for what is
    /// already on its way. `gap` is the last such entry of the batch.
    pub(super) async fn mind_gap(&mut self, gap: StreamId) -> Result<(), BusError> {
        let cursor = self.store.cursor(self.source);
        match self.asked {
            // What was appended so long after the request, and still is not what was asked for, says that the
            // request was lost. Entries of before the request say nothing, however long they take to read.
            Some(asked) if asked.cursor == cursor && gap.millis < asked.id.millis + RESEND_MILLIS_MAX => {
                Ok(())
            }
            Some(_) | None => self.ask_resend(cursor).await,
        }
    }

    /// Events may not be able to help any more: looks for a snapshot. One that does not reach beyond the cursor is of
    /// before, and is left alone.
    pub(super) async fn mind_snapshot(&mut self, cursor: Position) -> Result<(), BusError> {
        if let Some(at) = self.group.snapshot().await?.filter(|at| *at > cursor) {
            tracing::warn!(source = %self.source, group = %self.service, %cursor, %at, "applying a snapshot");
            let key = self.group.snapshot_key().to_owned();
            self.restating = Some(Restating::new(key, self.source, at));
            self.state = SourceState::Restating;
        }
        Ok(())
    }

    /// Applies one page of the snapshot.
    pub(super) async fn restate(&mut self) -> Result<Consumed, ConsumeError> {
        // Whatever goes wrong below without a word about it, it is begun again when it is found again.
        let Some(mut restating) = self.restating.take() else {
            return Ok(Consumed::default());
        };
        self.state = SourceState::Restating;
        let given_up = restating.tries + 1 >= HANDLER_TRIES_MAX;
        let page = match restating.read(self.group.link(), given_up).await {
            Ok(page) => page,
            Err(PageError::Bus(error)) => return Err(error.into()),
            Err(PageError::Spoilt(Spoilt::Newer(why))) => return Ok(self.stand_still(why)),
            Err(PageError::Spoilt(Spoilt::Broken(why))) => {
                tracing::warn!(source = %self.source, group = %self.service, why, "the snapshot is of no use; asking for another one");
                self.group.drop_snapshot().await?;
                self.ask_resend(self.store.cursor(self.source)).await?;
                return Ok(Consumed::default());
            }
        };
        let (handler, applying) = (Arc::clone(&self.handler), page.clone());
        let context = Context::new(self.bus.now());
        failpoint::reach(Point::BeforeCommit);
        let applied = self
            .store
            .transact(context, move |tx| applying.apply(tx, &*handler))
            .await;
        failpoint::reach(Point::AfterCommit);
        match applied {
            Ok(applied) => {
                restating.applied(&page);
                let consumed = self.tally_page(applied);
                if page.is_last() {
                    self.end_snapshot(restating.at()).await?;
                } else {
                    self.restating = Some(restating);
                }
                Ok(consumed)
            }
            Err(TransactError::Refused(Unapplied::Entity(why))) => {
                restating.tries += 1;
                self.count("bus_handler_retries_total", 1);
                tracing::debug!(source = %self.source, group = %self.service, why, "a snapshot can't be applied yet");
                let pause = Duration::from_millis(HANDLER_PAUSE_MILLIS << (restating.tries - 1));
                self.restating = Some(restating);
                Ok(Consumed {
                    pause: Some(pause),
                    ..Consumed::default()
                })
            }
            Err(TransactError::Refused(Unapplied::Forsaken(why))) => Ok(self.stand_still(why)),
            Err(error) => {
                self.restating = Some(restating);
                Err(ConsumeError::Store(error.to_string()))
            }
        }
    }

    /// The cursor stands where the snapshot does: what comes after it comes as events.
    async fn end_snapshot(&mut self, at: Position) -> Result<(), BusError> {
        tracing::info!(source = %self.source, group = %self.service, %at, "the snapshot is applied");
        self.asked = None;
        self.sighted.clear();
        self.state = SourceState::Reading;
        self.group.begin_with_pending();
        // So that the relay does not take this reader for one in need, and makes no second one.
        self.group.state_anew();
        self.group.drop_snapshot().await?;
        if self.head.is_some_and(|head| head > at) {
            // What came after the snapshot, and before it was applied, was dropped for want of what the snapshot tells.
            // It will not come by itself, and nothing else may come that would show it: people wait for an answer in it.
            self.ask_resend(at).await?;
        }
        Ok(())
    }

    /// Nothing can be applied before somebody has done something about it: says so, and looks again later.
    fn stand_still(&mut self, why: String) -> Consumed {
        let state = SourceState::Stopped(why);
        if self.state != state {
            tracing::error!(source = %self.source, group = %self.service, %state, "this consumer stands still");
        }
        self.state = state;
        Consumed {
            pause: Some(Duration::from_secs(STOPPED_SECONDS)),
            ..Consumed::default()
        }
    }

    async fn ask_resend(&mut self, cursor: Position) -> Result<(), BusError> {
        let id = self.group.ask_resend(cursor).await?;
        tracing::info!(source = %self.source, group = %self.service, %cursor, "events are missing; asked for them");
        self.count("bus_resend_requests_total", 1);
        self.asked = Some(Asked {
            id,
            cursor,
            at: Instant::now(),
        });
        self.state = SourceState::AwaitingResend;
        Ok(())
    }

    fn tally_page(&self, page: PageApplied) -> Consumed {
        self.count("bus_restated_total", page.applied);
        self.count("bus_stale_total", page.stale);
        self.count("bus_dead_letters_total", page.buried);
        Consumed {
            restated: page.applied,
            stale: page.stale,
            buried: page.buried,
            ..Consumed::default()
        }
    }
}
