//! I7, first half: every store serves, outboxes are drained, and every reader has read to the end.

use std::cmp::Ordering;

use events::Position;

use crate::{Account, Books, Invariant, Reading, Violation};

pub(crate) fn check(books: &Books, found: &mut Vec<Violation>) {
    for account in &books.accounts {
        serves(account, found);
        drained(account, found);
        for reading in &account.readings {
            read_to_the_end(books, account, reading, found);
        }
    }
}

fn serves(account: &Account, found: &mut Vec<Violation>) {
    if !account.serving {
        let what = format!("The {} store does not serve: {}", account.source, account.state);
        found.push(Violation::pending(Invariant::I7, &[&account.source], &what));
    }
}

fn drained(account: &Account, found: &mut Vec<Violation>) {
    let Some(relayed) = account.relayed else { return };
    if relayed == account.head {
        return;
    }
    let source = account.source;
    let why = account
        .relay_trouble
        .as_deref()
        .map(|why| format!("; its relay says: {why}"))
        .unwrap_or_default();
    let what = if relayed > account.head {
        format!(
            "The stream of {source} ends with event {relayed} and its store with {head}{why}",
            head = account.head,
        )
    } else {
        format!(
            "The outbox of {source} ends with event {head}, and {relayed} is the last one in its stream{why}",
            head = account.head,
        )
    };
    found.push(Violation::pending(Invariant::I7, &[&source], &what));
}

fn read_to_the_end(books: &Books, reader: &Account, reading: &Reading, found: &mut Vec<Violation>) {
    let Some(source) = books.account(reading.source) else {
        return;
    };
    let doing = reading
        .state
        .as_deref()
        .map(|state| format!(" ({state})"))
        .unwrap_or_default();
    let (who, whose, cursor, head) = (reader.source, source.source, reading.cursor, source.head);
    let what = match by_age(cursor, head) {
        Ordering::Equal => return,
        Ordering::Less => {
            format!("{who} has read {whose} up to event {cursor}, and there are events up to {head}{doing}")
        }
        Ordering::Greater => format!(
            "{who} has read {whose} up to event {cursor}, and the store of {whose} ends with {head}: that store has \
             lost something{doing}"
        ),
    };
    found.push(Violation::pending(Invariant::I7, &[&who, &whose], &what));
}

/// A new store's head, where nothing has happened yet, is where a reader that has read nothing stands, whatever
/// epoch that reader last heard of.
fn by_age(cursor: Position, head: Position) -> Ordering {
    if cursor.seq.0 == 0 && head.seq.0 == 0 {
        return Ordering::Equal;
    }
    cursor.cmp(&head)
}
