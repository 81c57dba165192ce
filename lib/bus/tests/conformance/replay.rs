//! Dead letters that are replayed or dropped.

use std::sync::Arc;

use bus::{Replayed, drop_letter, replay};
use events::Source;
use testkit::eventually;

use crate::system::{CONVERGED, Mood, System, at, envelope, now};

async fn replayed(system: &System, id: &str) -> Replayed {
    let notary = Arc::clone(&system.notary);
    let replayed = replay(&system.orders, notary, Source::Expiration, id, now());
    replayed.await.unwrap()
}

/// A system in which number 2 of 3 could not be applied.
async fn with_a_letter() -> System {
    let system = System::new();
    system.mood(2, Mood::Impossible);
    let running = system.run();
    system.publish(1..=3).await;
    system.converges_to_all(&[1, 3]).await;
    assert_eq!(system.letters().len(), 1);
    running.stop().await;
    system
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_become_possible_is_applied_and_the_letter_is_gone() {
    let system = with_a_letter().await;
    system.notary.moods.lock().unwrap().clear();
    assert_eq!(replayed(&system, "1-2").await, Replayed::Done);
    assert_eq!(system.applied(), [1, 3, 2]);
    assert!(system.letters().is_empty());
    let cursor = system.orders.cursor(Source::Expiration);
    assert_eq!(cursor, at(1, 3), "the cursor does not move");
    assert_eq!(replayed(&system, "1-2").await, Replayed::Missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_impossible_stays_with_its_reason_and_one_more_try() {
    let system = with_a_letter().await;
    let before = system.letters().remove(0);
    let impossible = Replayed::Impossible("it can't be".to_owned());
    assert_eq!(replayed(&system, "1-2").await, impossible);
    system.mood(2, Mood::Panics);
    let Replayed::Impossible(why) = replayed(&system, "1-2").await else {
        panic!("it was applied")
    };
    assert!(why.contains("out of its mind"), "{why}");
    let after = system.letters().remove(0);
    assert_eq!((after.tries, &after.reason), (before.tries + 2, &why));
    assert_eq!((after.buried_at, after.entry), (before.buried_at, before.entry));
    assert_eq!(system.applied(), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_overtaken_changes_nothing_and_goes() {
    let system = with_a_letter().await;
    system.mood(2, Mood::Stale);
    let stale = Replayed::Stale("too late".to_owned());
    assert_eq!(replayed(&system, "1-2").await, stale);
    assert!(system.letters().is_empty());
    assert_eq!(system.applied(), [1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_says_why_and_stays() {
    let system = System::new();
    let running = system.run();
    system.publish(1..=3).await;
    system.converges_to(3).await;
    let huge = "x".repeat(10_000_000);
    for envelope in ["{", huge.as_str()] {
        let fields = [
            "seq",
            "2",
            "type",
            "order:expired",
            "subject",
            "x",
            "envelope",
            envelope,
        ];
        system.inject(&fields);
    }
    eventually("both are dead letters", CONVERGED, || async {
        (system.letters().len() == 2).then_some(())
    })
    .await;
    running.stop().await;
    let mut words = vec!["it is no event", "it is cut"];
    for letter in system.letters() {
        let Replayed::Unreadable(why) = replayed(&system, &letter.id).await else {
            panic!("{letter:?}")
        };
        let index = words.iter().position(|word| why.contains(word));
        words.remove(index.unwrap_or_else(|| panic!("{why}")));
    }
    assert_eq!(system.letters().len(), 2);
    for letter in system.letters() {
        let id = &letter.id;
        assert!(
            drop_letter(&system.orders, letter.source, id, now())
                .await
                .unwrap()
        );
        assert!(
            !drop_letter(&system.orders, letter.source, id, now())
                .await
                .unwrap()
        );
    }
    assert!(system.letters().is_empty());
}

/// An entry that was no event for the program of then, and is one for this one: it comes again by itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_to_come_is_not_applied_before_its_turn() {
    let system = System::new();
    let mut letter = {
        let system = with_a_letter().await;
        system.letters().remove(0)
    };
    letter.position = Some(at(1, 9));
    letter.entry = envelope(at(1, 9), 9);
    letter.entry_bytes = letter.entry.len() as u64;
    let buried = system.orders.transact(store::Context::new(now()), move |tx| {
        tx.bury(letter)?;
        Ok::<_, store::TransactError<()>>(())
    });
    buried.await.unwrap();
    let Replayed::Unreadable(why) = replayed(&system, "1-2").await else {
        panic!("it was applied")
    };
    assert!(why.contains("not its turn"), "{why}");
    assert_eq!(system.applied(), [] as [i64; 0]);
}
