//! What every store does, whatever engine is under it. The suite names no engine; the list at the end does.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::sync::Arc;

use common::{Account, Place, Refusal, Step, Stepped, account, at, event, id, now, user};
use events::{Cause, Envelope, Epoch, Position, Seq, Source, Version};
use store::engine::{Disk, OpenEngine};
use store::{
    Context, CursorError, DeadLetter, IdempotencyKey, OutboxEntry, Panicked, Remembered, State, StoreError,
    TRANSACTIONS_WAITING_MAX, TransactError, TxnError, Wrote,
};

fn seqs(entries: &[OutboxEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.0).collect()
}

fn outbox(store: &Stepped, after: u64) -> Vec<OutboxEntry> {
    store.store.outbox(Seq(after), usize::MAX).unwrap()
}

const fn position(seq: u64) -> Position {
    Position {
        epoch: Epoch(1),
        seq: Seq(seq),
    }
}

fn a_new_row_must_be_new(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    assert!(matches!(
        store.put(None, account(1, 1, 99)),
        Err(TransactError::Conflict)
    ));
    assert_eq!(store.get(1), Some(account(1, 1, 10)));
    assert!(matches!(
        store.put(Some(1), account(2, 2, 99)),
        Err(TransactError::Conflict)
    ));
    assert_eq!(store.get(2), None);
}

fn of_two_that_read_the_same_version_one_wins(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    // Both have read version 1; both wait in the same batch.
    let first = store.submit(|txn| Ok(txn.put(Some(Version(1)), account(1, 2, 11))?));
    let second = store.submit(|txn| Ok(txn.put(Some(Version(1)), account(1, 2, 12))?));
    assert_eq!(store.writer.write_once(), Wrote::Batch { transactions: 2 });
    assert!(first.get().is_ok());
    assert!(matches!(second.get(), Err(TransactError::Conflict)));
    assert_eq!(store.get(1), Some(account(1, 2, 11)));
}

fn a_later_transaction_of_a_batch_sees_the_earlier_ones(place: &Place) {
    let mut store = place.open();
    let answers: Vec<_> = (1..=5_u64)
        .map(|version| {
            store.submit(move |txn| {
                let before = txn.get::<Account>(&id(1))?.map(|row| (row.version, row.points));
                let expected = before.map(|(version, _)| version);
                txn.put(expected, account(1, version, version * 10))?;
                assert_eq!(txn.indexes().points, version * 10);
                Ok(before.map(|(_, points)| points))
            })
        })
        .collect();
    store.writer.write_once();
    let seen: Vec<_> = answers.into_iter().map(|answer| answer.get().unwrap()).collect();
    assert_eq!(seen, [None, Some(10), Some(20), Some(30), Some(40)]);
    assert_eq!(store.store.status().batches, 1);
}

fn what_is_refused_or_panics_leaves_nothing(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    let before = store.totals();
    let refused = store.submit::<()>(|txn| {
        txn.put(Some(Version(1)), account(1, 2, 500))?;
        txn.put(None, account(2, 1, 7))?;
        txn.delete::<Account>(&id(1))?;
        txn.emit(event(1));
        txn.advance(Source::Orders, position(1))?;
        Err(TransactError::Refused("no"))
    });
    let panicked = store.submit::<()>(|txn| {
        txn.put(None, account(3, 1, 9))?;
        txn.emit(event(2));
        panic!("on purpose");
    });
    let good = store.submit(|txn| {
        txn.emit(event(3));
        Ok(())
    });
    store.writer.write_once();
    assert!(matches!(refused.get(), Err(TransactError::Refused("no"))));
    assert!(matches!(panicked.get(), Err(TransactError::Panicked(message)) if message == "on purpose"));
    assert!(good.get().is_ok());
    assert_eq!(store.totals(), before);
    assert_eq!(store.get(1), Some(account(1, 1, 10)));
    assert_eq!((store.get(2), store.get(3)), (None, None));
    assert_eq!(store.store.cursor(Source::Orders), Position::default());
    assert_eq!(seqs(&outbox(&store, 0)), [1]);
    let store = store.reopen(place.options());
    assert_eq!(store.totals(), before);
}

fn numbers_have_no_gaps_whatever_is_refused(place: &Place) {
    let mut store = place.open();
    let mut expected = Vec::new();
    for round in 0..20_u64 {
        let answers: Vec<_> = (0..10_u64)
            .map(|number| {
                let refuses = (round * 7 + number) % 3 == 0;
                let answer = store.submit::<()>(move |txn| {
                    txn.emit(event(number));
                    txn.emit(event(number));
                    if refuses {
                        Err(TransactError::Refused("every third"))
                    } else {
                        Ok(())
                    }
                });
                (refuses, answer)
            })
            .collect();
        store.writer.write_once();
        for (refuses, answer) in answers {
            assert_eq!(answer.get().is_err(), refuses);
            if !refuses {
                expected.extend([expected.len() as u64 + 1, expected.len() as u64 + 2]);
            }
        }
    }
    assert_eq!(seqs(&outbox(&store, 0)), expected);
    assert_eq!(store.store.durable().borrow().seq.0, expected.len() as u64);
}

fn a_part_can_fail_without_the_rest(place: &Place) {
    let mut store = place.open();
    store
        .transact(|txn| {
            txn.put(None, account(1, 1, 1))?;
            let failed: Result<(), &str> = txn.attempt(|txn| {
                txn.put(None, account(2, 1, 2)).unwrap();
                txn.emit(event(2));
                Err("no")
            });
            assert_eq!(failed, Err("no"));
            let panicked: Result<Result<(), ()>, Panicked> = txn.attempt_catching(|txn| {
                txn.put(Some(Version(1)), account(1, 2, 3)).unwrap();
                txn.emit(event(3));
                panic!("poison {}", 3)
            });
            assert_eq!(panicked, Err(Panicked("poison 3".to_owned())));
            txn.emit(event(4));
            Ok(())
        })
        .unwrap();
    assert_eq!(store.get(1), Some(account(1, 1, 1)));
    assert_eq!(store.get(2), None);
    assert_eq!(store.totals().points, 1);
    assert_eq!(outbox(&store, 0).len(), 1);
    assert!(outbox(&store, 0)[0].envelope.contains("tickets-1-1"));
}

fn cursors_take_each_event_once_and_in_order(place: &Place) {
    let mut store = place.open();
    let advance =
        |store: &mut Stepped, seq| store.transact(move |txn| Ok(txn.advance(Source::Orders, position(seq))?));
    assert!(advance(&mut store, 1).is_ok());
    assert!(advance(&mut store, 2).is_ok());
    assert!(matches!(
        advance(&mut store, 2),
        Err(TransactError::Cursor(CursorError::Duplicate))
    ));
    assert!(matches!(
        advance(&mut store, 4),
        Err(TransactError::Cursor(CursorError::Gap { expected })) if expected == position(3)
    ));
    // Two in one batch, and within one transaction.
    let both = store.submit(|txn| {
        txn.advance(Source::Orders, position(3))?;
        assert_eq!(
            txn.advance(Source::Orders, position(3)),
            Err(CursorError::Duplicate)
        );
        txn.advance(Source::Orders, position(4))?;
        Ok(())
    });
    let behind = store.submit(|txn| Ok(txn.advance(Source::Orders, position(4))?));
    store.writer.write_once();
    assert!(both.get().is_ok());
    assert!(matches!(
        behind.get(),
        Err(TransactError::Cursor(CursorError::Duplicate))
    ));
    assert_eq!(store.store.cursor(Source::Orders), position(4));
    assert_eq!(store.store.cursor(Source::Auth), Position::default());
    let mut store = store.reopen(place.options());
    assert_eq!(store.store.cursor(Source::Orders), position(4));
    assert!(advance(&mut store, 5).is_ok());
}

fn readers_see_only_what_is_durable(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 1)).unwrap();
    store.put(None, account(2, 1, 2)).unwrap();
    store.put(None, account(4, 1, 4)).unwrap();
    let reader = store.store.clone();
    place.faults.before_sync(move || {
        let rows = |after: Option<u64>, limit| {
            let after = after.map(id);
            let rows = reader.scan::<Account>(after.as_ref(), limit).unwrap();
            rows.into_iter().map(|row| row.points).collect::<Vec<_>>()
        };
        assert_eq!(reader.get::<Account>(&id(1)).unwrap(), Some(account(1, 1, 1)));
        assert_eq!(reader.get::<Account>(&id(2)).unwrap(), Some(account(2, 1, 2)));
        assert_eq!(reader.get::<Account>(&id(3)).unwrap(), None);
        assert_eq!(rows(None, 10), [1, 2, 4]);
        assert_eq!(rows(None, 1), [1]);
        assert_eq!(rows(None, 2), [1, 2]);
        assert_eq!(rows(Some(1), 1), [2]);
        assert_eq!(rows(Some(2), 1), [4]);
        assert_eq!(rows(Some(4), 1), Vec::<u64>::new());
        assert!(reader.outbox(Seq(0), usize::MAX).unwrap().is_empty());
        assert_eq!(reader.cursor(Source::Orders), Position::default());
        assert_eq!(reader.durable().borrow().seq, Seq(0));
        // The indexes are ahead, as is said.
        assert_eq!(reader.read(|totals| totals.points), 115);
    });
    store
        .transact(|txn| {
            txn.put(Some(Version(1)), account(1, 2, 100))?;
            txn.delete::<Account>(&id(2))?;
            txn.put(None, account(3, 1, 5))?;
            txn.put(None, account(0, 1, 6))?;
            txn.emit(event(1));
            txn.advance(Source::Orders, position(1))?;
            Ok(())
        })
        .unwrap();
    let rows = store.store.scan::<Account>(None, 10).unwrap();
    assert_eq!(
        rows.iter().map(|row| row.points).collect::<Vec<_>>(),
        [6, 100, 5, 4]
    );
    assert_eq!(store.get(2), None);
    assert_eq!(outbox(&store, 0).len(), 1);
}

fn after_a_failure_the_outcome_is_unknown_and_the_store_recovers(place: &Place) {
    for step in [Step::Apply, Step::Flush, Step::Sync] {
        let mut store = place.open();
        let number = match step {
            Step::Apply => 10,
            Step::Flush => 20,
            Step::Sync => 30,
            Step::Open => unreachable!("not among them"),
        };
        let rows_before = store.totals().accounts;
        place.faults.fail(step, true);
        let put = store.submit(move |txn| Ok(txn.put(None, account(number, 1, 1))?));
        let refused = store.submit::<()>(|_| Err(TransactError::Refused("no")));
        assert_eq!(store.writer.write_once(), Wrote::Failed, "{step:?}");
        assert!(matches!(put.get(), Err(TransactError::Unknown(_))), "{step:?}");
        // The refusal may rest on what was lost, and changed nothing in any case.
        assert!(matches!(refused.get(), Err(TransactError::Unavailable(_))));
        assert!(matches!(store.store.status().state, State::Reopening { .. }));
        assert!(matches!(
            store.store.get::<Account>(&id(number)),
            Err(StoreError::Unavailable(_))
        ));
        let late: Result<_, Refusal> = store.store.submit(Context::new(now()), |_| Ok(()));
        assert!(matches!(late, Err(TransactError::Unavailable(_))));
        // As long as the disk is bad it does not come back.
        place.faults.fail(Step::Open, true);
        assert_eq!(store.writer.write_once(), Wrote::StillFailed);
        assert!(
            matches!(store.store.status().state, State::Reopening { error, .. } if error.contains("Open fails"))
        );
        place.faults.fail(Step::Open, false);
        place.faults.fail(step, false);
        store.recover();
        assert!(matches!(store.store.status().state, State::Serving));
        // Either outcome is a whole one, and the indexes agree with the rows.
        let survived = store.get(number).is_some();
        assert_eq!(store.totals().accounts, rows_before + u64::from(survived));
        store.put(None, account(number + 1, 1, 1)).unwrap();
        let store = store.reopen(place.options());
        assert_eq!(store.get(number).is_some(), survived);
        assert!(store.get(number + 1).is_some());
    }
}

fn an_index_that_panics_is_rebuilt(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 10)).unwrap();
    let before = store.totals();
    let bad = Account {
        note: common::PANICS_THE_INDEX.to_owned(),
        ..account(2, 1, 1)
    };
    let answer = store.submit(move |txn| Ok(txn.put(None, bad)?));
    assert_eq!(store.writer.write_once(), Wrote::Failed);
    assert!(answer.get().is_err());
    store.recover();
    assert_eq!(store.totals(), before);
    assert_eq!(store.get(2), None);
    store.put(None, account(3, 1, 1)).unwrap();
}

fn everything_is_there_again_after_a_reopening(place: &Place) {
    let mut store = place.open();
    for number in 1..=50 {
        store
            .transact(move |txn| {
                txn.put(None, account(number, 1, number))?;
                txn.emit(event(number));
                Ok(())
            })
            .unwrap();
    }
    for number in 1..=10 {
        store
            .transact(move |txn| Ok(txn.delete::<Account>(&id(number))?))
            .unwrap();
    }
    let (totals, events, status) = (store.totals(), outbox(&store, 0), store.store.status());
    let store = store.reopen(place.options());
    assert_eq!(store.totals(), totals);
    assert_eq!(totals.accounts, 40);
    assert_eq!(outbox(&store, 0), events);
    let again = store.store.status();
    assert_eq!(
        (again.head, again.keys, again.batches),
        (status.head, status.keys, status.batches)
    );
    assert_eq!(again.head, Seq(50));
}

fn the_outbox_is_read_in_pages(place: &Place) {
    let mut store = place.open();
    for batch in 0..10_u64 {
        store
            .transact(move |txn| {
                for number in 0..30 {
                    txn.emit(event(batch * 30 + number));
                }
                Ok(())
            })
            .unwrap();
    }
    let all = outbox(&store, 0);
    assert_eq!(seqs(&all), (1..=300).collect::<Vec<_>>());
    for bytes_max in [1, 1_000, 5_000, 100_000] {
        let mut read = Vec::new();
        let mut after = Seq(0);
        loop {
            let page = store.store.outbox(after, bytes_max).unwrap();
            let Some(last) = page.last() else { break };
            after = last.seq;
            let bytes: usize = page.iter().map(|entry| entry.envelope.len()).sum();
            assert!(page.len() == 1 || bytes <= bytes_max);
            read.extend(page);
        }
        assert_eq!(read, all, "in pages of {bytes_max}");
    }
    let envelope = Envelope::from_json(&all[41].envelope).unwrap();
    assert_eq!(envelope.position, position(42));
    assert_eq!(envelope.source, Source::Tickets);
    assert_eq!(all[41].event_type, common::EVENT_TYPE);
    assert_eq!(all[41].subject, envelope.event.subject());
}

fn events_carry_their_cause_and_trace(place: &Place) {
    let mut store = place.open();
    let context = Context {
        now: now(),
        traceparent: Some("00-aaaa-bbbb-01".to_owned()),
    };
    let cause = Cause::new(Source::Orders, position(9));
    let answer = store
        .store
        .submit(context, move |txn| -> Result<(), Refusal> {
            txn.emit(event(1));
            txn.caused_by(Some(cause));
            txn.traced_by(Some("00-cccc-dddd-01".to_owned()));
            txn.emit(event(2));
            Ok(())
        })
        .unwrap();
    store.writer.write_once();
    drop(answer);
    let envelopes: Vec<_> = outbox(&store, 0)
        .iter()
        .map(|entry| Envelope::from_json(&entry.envelope).unwrap())
        .collect();
    assert_eq!(envelopes[0].cause, None);
    assert_eq!(envelopes[0].traceparent.as_deref(), Some("00-aaaa-bbbb-01"));
    assert_eq!(envelopes[0].time, now());
    assert_eq!(envelopes[1].cause, Some(cause));
    assert_eq!(envelopes[1].traceparent.as_deref(), Some("00-cccc-dddd-01"));
}

fn dead_letters_are_kept_cut_and_dropped(place: &Place) {
    let mut store = place.open();
    let letter = |id: &str, entry: String| DeadLetter {
        source: Source::Orders,
        id: id.to_owned(),
        position: Some(position(7)),
        event_type: "order:created".to_owned(),
        reason: "impossible".to_owned(),
        tries: 5,
        buried_at: now(),
        entry,
        entry_bytes: 0,
    };
    let (small, large) = (
        letter("1-7", "{}".to_owned()),
        letter("1-8", "ä".repeat(5_000_000)),
    );
    store
        .transact(move |txn| {
            txn.bury(small)?;
            Ok(txn.bury(large)?)
        })
        .unwrap();
    let mut store = store.reopen(place.options());
    let letters = store.store.dead_letters(None, 10).unwrap();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].entry, "{}");
    assert_eq!(letters[1].entry.len(), store::DEAD_LETTER_ENTRY_BYTES_MAX);
    assert_eq!(letters[1].entry_bytes, 10_000_000);
    assert_eq!(store.store.status().dead_letters, 2);
    let behind = store
        .store
        .dead_letters(Some(&letters[0].clone().into_key()), 10)
        .unwrap();
    assert_eq!(behind.len(), 1);
    store
        .transact(|txn| Ok(txn.delete::<DeadLetter>(&(Source::Orders, "1-7".to_owned()))?))
        .unwrap();
    assert_eq!(store.store.status().dead_letters, 1);
}

trait IntoKey {
    fn into_key(self) -> (Source, String);
}
impl IntoKey for DeadLetter {
    fn into_key(self) -> (Source, String) {
        (self.source, self.id)
    }
}

fn an_idempotency_key_replays_refuses_and_expires(place: &Place) {
    let key = |user_number, key: &str, body: u8| IdempotencyKey {
        user: user(user_number),
        route: "POST /api/orders",
        key: key.to_owned(),
        body_digest: [body; 32],
    };
    let answer = Remembered {
        status: 201,
        headers: vec![("location".to_owned(), "/api/orders/1".to_owned())],
        body: "{\"id\":1}".to_owned(),
    };
    let mut store = place.open();
    let ask = |store: &mut Stepped, key: IdempotencyKey, seconds| {
        let asked = store
            .store
            .submit(Context::new(at(seconds)), move |txn| -> Result<_, Refusal> {
                Ok(txn.remembered(&key)?)
            });
        store.writer.write_once();
        common_answer(asked.unwrap())
    };
    let remembered = answer.clone();
    let first = key(1, "k", 1);
    store
        .transact(move |txn| {
            assert!(txn.remembered(&first)?.is_none());
            txn.remember(first, remembered)?;
            Ok(txn.put(None, account(1, 1, 1))?)
        })
        .unwrap();
    let mut store = store.reopen(place.options());
    assert_eq!(ask(&mut store, key(1, "k", 1), 5).unwrap(), Some(answer));
    assert!(matches!(
        ask(&mut store, key(1, "k", 2), 5),
        Err(TransactError::KeyReused)
    ));
    assert_eq!(ask(&mut store, key(2, "k", 1), 5).unwrap(), None);
    assert_eq!(ask(&mut store, key(1, "other", 1), 5).unwrap(), None);
    // A day later it counts as never used, before and after it is swept away.
    let day = 24 * 3_600;
    assert_eq!(ask(&mut store, key(1, "k", 2), day).unwrap(), None);
    assert_eq!(store.store.status().keys, 2);
}

fn common_answer<T>(mut answer: tokio::sync::oneshot::Receiver<Result<T, Refusal>>) -> Result<T, Refusal> {
    answer.try_recv().expect("the writer has answered")
}

fn too_many_are_turned_away_at_once(place: &Place) {
    let mut store = place.open();
    let mut answers: Vec<_> = (0..TRANSACTIONS_WAITING_MAX)
        .map(|_| store.submit(|_| Ok(())))
        .collect();
    let busy: Result<_, Refusal> = store.store.submit(Context::new(now()), |_| Ok(()));
    assert!(matches!(busy, Err(TransactError::Busy)));
    assert_eq!(store.writer.write_once(), Wrote::Batch { transactions: 1_024 });
    assert!(answers[1_024].is_pending());
    drop(answers.drain(..1_024));
    // Closing turns away what has not run.
    drop(store.writer);
    assert!(answers.into_iter().all(common::Answer::turned_away));
}

fn an_old_store_does_not_serve(place: &Place) {
    let mut store = place.open();
    store.put(None, account(1, 1, 1)).unwrap();
    let waiting = store.submit(|_| Ok(()));
    store.store.mark_old("the stream is ahead of it");
    assert!(waiting.turned_away());
    assert!(matches!(
        store.store.get::<Account>(&id(1)),
        Err(StoreError::Unavailable(why)) if &*why == "the stream is ahead of it"
    ));
    assert_eq!(store.writer.write_once(), Wrote::Nothing);
    assert!(matches!(store.store.status().state, State::Old { .. }));
    let store = store.reopen(place.options());
    assert!(store.get(1).is_some());
}

fn large_and_tiny_rows_come_back(place: &Place) {
    let mut store = place.open();
    let row = |number: u64, bytes: usize| Account {
        note: "x".repeat(bytes),
        ..account(number, 1, 1)
    };
    let sizes = [0, 1, 5_000, 200_000, 1_000_000];
    for (number, bytes) in (0..).zip(sizes) {
        store.put(None, row(number, bytes)).unwrap();
    }
    let store = store.reopen(place.options());
    for (number, bytes) in (0..).zip(sizes) {
        assert_eq!(store.get(number), Some(row(number, bytes)), "{bytes} bytes");
    }
}

fn an_error_converts_for_every_caller(place: &Place) {
    let mut store = place.open();
    let conflict = store.transact(|txn| {
        assert!(matches!(
            txn.put(Some(Version(3)), account(1, 4, 1)),
            Err(TxnError::Conflict)
        ));
        txn.put(Some(Version(3)), account(1, 4, 1))?;
        Ok(())
    });
    assert!(matches!(
        conflict.map_err(|error| error.map_refused(str::len)),
        Err(TransactError::Conflict)
    ));
}

macro_rules! conformance {
    ($($test:ident),* $(,)?) => {
        mod on_disk {
            $(#[test] fn $test() { super::$test(&super::on(super::Disk)); })*
        }
        mod in_memory {
            $(#[test] fn $test() { super::$test(&super::on(super::common::Memory::default())); })*
        }
    };
}

fn on(engine: impl OpenEngine + 'static) -> Place {
    Place::new(Arc::new(engine))
}

conformance!(
    a_new_row_must_be_new,
    of_two_that_read_the_same_version_one_wins,
    a_later_transaction_of_a_batch_sees_the_earlier_ones,
    what_is_refused_or_panics_leaves_nothing,
    numbers_have_no_gaps_whatever_is_refused,
    a_part_can_fail_without_the_rest,
    cursors_take_each_event_once_and_in_order,
    readers_see_only_what_is_durable,
    after_a_failure_the_outcome_is_unknown_and_the_store_recovers,
    an_index_that_panics_is_rebuilt,
    everything_is_there_again_after_a_reopening,
    the_outbox_is_read_in_pages,
    events_carry_their_cause_and_trace,
    dead_letters_are_kept_cut_and_dropped,
    an_idempotency_key_replays_refuses_and_expires,
    too_many_are_turned_away_at_once,
    an_old_store_does_not_serve,
    large_and_tiny_rows_come_back,
    an_error_converts_for_every_caller,
);
