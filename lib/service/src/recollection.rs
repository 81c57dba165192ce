//! When the cursors of a store that was set back count again.
//!
//! How far the events of others were applied is then only what a backup knew, and no evidence of what they have published
//! since: what such a store states of itself is a recollection (`lib/bus`). That ends when the store has applied all that
//! each source had acknowledged by a moment after the set-back, which only the source itself can tell. Until then it is
//! marked, over every restart; nothing else depends on it, so that nobody waits for this.

use std::time::Duration;

use bus::Bus;
use events::Source;
use store::{Indexes, State, Store};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::Shutdown;
use crate::waiting::caught_up;

/// How often it is looked whether the store is such a one.
const LOOK_SECONDS: u64 = 10;

/// How long all sources together may take to tell how far they are, and their events to arrive, before they are asked
/// again: one that was restored meanwhile has told of what it does not have any more.
const CAUGHT_UP_SECONDS_MAX: u64 = 60;

/// Looks after the mark of a store that reads these sources, until the service stops.
pub(crate) async fn mind<I: Indexes>(store: Store<I>, bus: Bus, sources: Vec<Source>, stop: Shutdown) {
    let mut looks = interval(Duration::from_secs(LOOK_SECONDS));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.clone().wait() => return,
            _ = looks.tick() => {}
        }
        let serves = matches!(store.status().state, State::Serving);
        if !serves || !store.recollects() {
            continue;
        }
        tokio::select! {
            () = stop.clone().wait() => return,
            () = end(&store, &bus, &sources) => {}
        }
    }
}

/// Ends the recollection if all that the sources have can be applied in time.
async fn end<I: Indexes>(store: &Store<I>, bus: &Bus, sources: &[Source]) {
    let all = async {
        for source in sources {
            caught_up(store, bus, *source).await;
        }
    };
    if timeout(Duration::from_secs(CAUGHT_UP_SECONDS_MAX), all)
        .await
        .is_err()
    {
        return;
    }
    match store.end_recollecting() {
        Ok(()) => tracing::info!("the store has caught up with all that it reads: its cursors count again"),
        Err(error) => tracing::warn!(%error, "the mark of restored cursors can't be taken away yet"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bus::{BusConfig, Inquirer, Relay};
    use events::{Epoch, Event, OrderExpired, OrderId, Position, Seq, Timestamp};
    use store::{Context, Options, TransactError};
    use testkit::{RedisServer, eventually, temp_dir};

    use super::*;
    use crate::ShutdownTrigger;

    const SOON: Duration = Duration::from_secs(30);
    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    #[tokio::test(flavor = "multi_thread")]
    async fn restored_cursors_count_again_when_all_that_the_source_has_is_applied() {
        let (redis, dir) = (RedisServer::start(), temp_dir());
        let bus = Bus::new(BusConfig {
            redis_url: redis.url(),
            prefix: String::new(),
            clock: Arc::new(|| NOW),
        })
        .unwrap();
        let open = |source: Source| {
            Store::<()>::open(Options::new(source, dir.path().join(source.as_str()))).unwrap()
        };
        let (expiration, orders) = (open(Source::Expiration), open(Source::Orders));
        let published = expiration.transact(Context::new(NOW), |tx| {
            tx.emit(Event::OrderExpired(OrderExpired {
                order_id: OrderId::from_bytes([7; 16]),
                expires_at: NOW,
            }));
            Ok::<_, TransactError<()>>(())
        });
        published.await.unwrap();
        let mark = dir.path().join("orders/cursors");
        std::fs::write(&mark, "by a test").unwrap();

        let (trigger, stop) = ShutdownTrigger::new();
        let relay = Relay::new(bus.clone(), expiration, Source::Expiration, Arc::new(()));
        let inquirer = Inquirer::new(bus.clone(), Source::Expiration, Source::Orders, "a-reader".into());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(relay.run(stop.clone().wait()));
        tasks.spawn(inquirer.run(stop.clone().wait()));
        tasks.spawn(mind(orders.clone(), bus.clone(), vec![Source::Expiration], stop));
        let first = Position {
            epoch: Epoch::FIRST,
            seq: Seq(1),
        };
        assert_eq!(bus.head(Source::Expiration).await, first);
        assert!(orders.recollects(), "it has not applied that event yet");
        let applied = orders.transact(Context::new(NOW), move |tx| {
            tx.advance(Source::Expiration, first)?;
            Ok::<_, TransactError<()>>(())
        });
        applied.await.unwrap();
        eventually("its cursors count", SOON, || async {
            (!mark.exists()).then_some(())
        })
        .await;
        assert!(!orders.recollects());
        trigger.begin();
        tasks.join_all().await;
    }
}
