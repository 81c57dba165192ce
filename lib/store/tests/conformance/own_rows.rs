//! The store's own rows: outbox, cursors, dead letters, answers that are repeated.

use events::{Cause, Envelope, Position, Seq, Source};
use store::{Context, CursorError, DeadLetter, IdempotencyKey, Remembered, TransactError};

use crate::common::{self, Place, Refusal, Stepped, account, at, event, now, user};
use crate::{outbox, position, seqs};

pub(crate) fn numbers_have_no_gaps_whatever_is_refused(place: &Place) {
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

pub(crate) fn cursors_take_each_event_once_and_in_order(place: &Place) {
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

pub(crate) fn the_outbox_is_read_in_pages(place: &Place) {
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

pub(crate) fn events_carry_their_cause_and_trace(place: &Place) {
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

pub(crate) fn dead_letters_are_kept_cut_and_dropped(place: &Place) {
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
        .dead_letters(Some(&(Source::Orders, "1-7".to_owned())), 10)
        .unwrap();
    assert_eq!(behind.len(), 1);
    store
        .transact(|txn| Ok(txn.delete::<DeadLetter>(&(Source::Orders, "1-7".to_owned()))?))
        .unwrap();
    assert_eq!(store.store.status().dead_letters, 1);
}

pub(crate) fn an_idempotency_key_replays_refuses_and_expires(place: &Place) {
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
        asked.unwrap().try_recv().expect("the writer has answered")
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
