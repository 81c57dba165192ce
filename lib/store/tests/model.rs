//! Random transactions in random batches, with failures and reopenings between them, against a model in a map.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Account, Answer, Memory, Place, Refusal, Step, Stepped, Totals, account, event, id};
use events::{Epoch, Position, Seq, Source, Version};
use proptest::prelude::*;
use store::engine::{Disk, OpenEngine};
use store::{CursorError, TransactError, Wrote};

/// What one transaction does, and whether it is then refused.
#[derive(Debug, Clone)]
struct Command {
    steps: Vec<Do>,
    end: End,
}

#[derive(Debug, Clone)]
enum Do {
    /// Compare-and-swap on the version that is there.
    Put {
        account: u64,
        points: u64,
    },
    /// Compare-and-swap on a version that is not.
    PutStale {
        account: u64,
    },
    Create {
        account: u64,
    },
    Delete {
        account: u64,
    },
    Emit,
    Advance {
        seq: u64,
    },
    /// Stages, and takes it back.
    Attempt {
        account: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commits,
    Refuses,
    Panics,
}

#[derive(Debug, Clone)]
enum Round {
    Batch(Vec<Command>),
    /// A batch whose sync fails: all or nothing of it is there afterwards.
    Failing(Step, Vec<Command>),
    Reopen,
}

fn steps() -> impl Strategy<Value = Do> {
    let account = || 0..6_u64;
    prop_oneof![
        4 => (account(), 0..1_000_u64).prop_map(|(account, points)| Do::Put { account, points }),
        1 => account().prop_map(|account| Do::PutStale { account }),
        3 => account().prop_map(|account| Do::Create { account }),
        2 => account().prop_map(|account| Do::Delete { account }),
        3 => Just(Do::Emit),
        2 => (1..12_u64).prop_map(|seq| Do::Advance { seq }),
        1 => account().prop_map(|account| Do::Attempt { account }),
    ]
}

fn commands() -> impl Strategy<Value = Vec<Command>> {
    let end = prop_oneof![6 => Just(End::Commits), 2 => Just(End::Refuses), 1 => Just(End::Panics)];
    let command =
        (proptest::collection::vec(steps(), 0..5), end).prop_map(|(steps, end)| Command { steps, end });
    proptest::collection::vec(command, 1..6)
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let step = prop_oneof![Just(Step::Apply), Just(Step::Flush), Just(Step::Sync)];
    proptest::collection::vec(
        prop_oneof![
            8 => commands().prop_map(Round::Batch),
            1 => (step, commands()).prop_map(|(step, commands)| Round::Failing(step, commands)),
            1 => Just(Round::Reopen),
        ],
        1..16,
    )
}

/// The model: what the store should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    accounts: BTreeMap<u64, (u64, u64)>,
    events: u64,
    cursor: u64,
}

impl Model {
    /// The state after a transaction, or its error by name.
    fn run(&self, command: &Command) -> Result<Self, &'static str> {
        let mut next = self.clone();
        for step in &command.steps {
            match *step {
                Do::Put { account, points } => {
                    if let Some(row) = next.accounts.get_mut(&account) {
                        *row = (row.0 + 1, points);
                    }
                }
                Do::PutStale { .. } => return Err("conflict"),
                Do::Create { account } => {
                    if next.accounts.contains_key(&account) {
                        return Err("conflict");
                    }
                    next.accounts.insert(account, (1, account));
                }
                Do::Delete { account } => {
                    next.accounts.remove(&account);
                }
                Do::Emit => next.events += 1,
                Do::Advance { seq } => match seq.cmp(&(next.cursor + 1)) {
                    std::cmp::Ordering::Less => return Err("duplicate"),
                    std::cmp::Ordering::Equal => next.cursor = seq,
                    std::cmp::Ordering::Greater => return Err("gap"),
                },
                Do::Attempt { .. } => {}
            }
        }
        match command.end {
            End::Commits => Ok(next),
            End::Refuses => Err("refused"),
            End::Panics => Err("panicked"),
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            accounts: self.accounts.len() as u64,
            points: self.accounts.values().map(|(_, points)| points).sum(),
            by_points: self
                .accounts
                .iter()
                .map(|(number, (_, points))| ((*points, id(*number)), ()))
                .collect(),
        }
    }

    fn agrees_with(&self, store: &Stepped) -> Result<(), TestCaseError> {
        for number in 0..6 {
            let row = store.get(number).map(|row| (row.version.0, row.points));
            prop_assert_eq!(row, self.accounts.get(&number).copied());
        }
        let scanned = store.store.scan::<Account>(None, 100).expect("it serves");
        let scanned: Vec<_> = scanned.into_iter().map(|row| row.id).collect();
        prop_assert_eq!(
            scanned,
            self.accounts.keys().map(|number| id(*number)).collect::<Vec<_>>()
        );
        prop_assert_eq!(store.totals(), self.totals());
        prop_assert_eq!(store.store.cursor(Source::Orders).seq, Seq(self.cursor));
        let events = store.store.outbox(Seq(0), usize::MAX).expect("it serves");
        let seqs: Vec<_> = events.iter().map(|entry| entry.seq.0).collect();
        prop_assert_eq!(seqs, (1..=self.events).collect::<Vec<_>>());
        prop_assert_eq!(store.store.status().head, Seq(self.events));
        Ok(())
    }
}

fn submit(store: &Stepped, command: Command) -> Answer<()> {
    store.submit(move |txn| {
        for step in command.steps {
            match step {
                Do::Put {
                    account: number,
                    points,
                } => {
                    if let Some(row) = txn.get::<Account>(&id(number))? {
                        txn.put(Some(row.version), account(number, row.version.0 + 1, points))?;
                    }
                }
                Do::PutStale { account: number } => {
                    let version = txn.get::<Account>(&id(number))?.map_or(0, |row| row.version.0);
                    txn.put(Some(Version(version + 7)), account(number, version + 8, 0))?;
                }
                Do::Create { account: number } => txn.put(None, account(number, 1, number))?,
                Do::Delete { account: number } => txn.delete::<Account>(&id(number))?,
                Do::Emit => txn.emit(event(1)),
                Do::Advance { seq } => txn.advance(
                    Source::Orders,
                    Position {
                        epoch: Epoch(1),
                        seq: Seq(seq),
                    },
                )?,
                Do::Attempt { account: number } => {
                    let taken_back: Result<(), ()> = txn.attempt(|txn| {
                        txn.put_any(account(number, 99, 99)).expect("the row can be read");
                        txn.emit(event(2));
                        txn.delete::<Account>(&id(number + 1))
                            .expect("the row can be read");
                        Err(())
                    });
                    assert_eq!(taken_back, Err(()));
                }
            }
        }
        match command.end {
            End::Commits => Ok(()),
            End::Refuses => Err(TransactError::Refused("by the model")),
            End::Panics => std::panic::resume_unwind(Box::new("by the model")),
        }
    })
}

fn name(answer: &Result<(), Refusal>) -> Option<&'static str> {
    match answer {
        Ok(()) => None,
        Err(TransactError::Refused(_)) => Some("refused"),
        Err(TransactError::Conflict) => Some("conflict"),
        Err(TransactError::Cursor(CursorError::Duplicate)) => Some("duplicate"),
        Err(TransactError::Cursor(CursorError::Gap { .. })) => Some("gap"),
        Err(TransactError::Panicked(_)) => Some("panicked"),
        Err(_) => Some("something else"),
    }
}

fn agrees(engine: Arc<dyn OpenEngine>, rounds: Vec<Round>) -> Result<(), TestCaseError> {
    let place = Place::new(engine);
    let mut store = place.open();
    let mut model = Model::default();
    for round in rounds {
        match round {
            Round::Batch(commands) => {
                let answers: Vec<_> = commands
                    .iter()
                    .map(|command| submit(&store, command.clone()))
                    .collect();
                store.writer.write_once();
                for (command, answer) in commands.iter().zip(answers) {
                    let expected = model.run(command);
                    prop_assert_eq!(
                        name(&answer.get()),
                        expected.as_ref().err().copied(),
                        "{:?}",
                        command
                    );
                    if let Ok(next) = expected {
                        model = next;
                    }
                }
            }
            Round::Failing(step, commands) => {
                place.faults.fail(step, true);
                for command in &commands {
                    drop(submit(&store, command.clone()));
                }
                let wrote = store.writer.write_once();
                place.faults.fail(step, false);
                let after = commands.iter().fold(model.clone(), |model, command| {
                    model.run(command).unwrap_or(model)
                });
                if wrote == Wrote::Failed {
                    store.recover();
                    // What was not acknowledged may be there, but then all of it.
                    if after.agrees_with(&store).is_ok() {
                        model = after;
                    }
                } else {
                    // Nothing was staged, so nothing was written, and nothing could fail.
                    prop_assert_eq!(&after, &model);
                }
            }
            Round::Reopen => store = store.reopen(place.options()),
        }
        model.agrees_with(&store)?;
    }
    let store = store.reopen(place.options());
    model.agrees_with(&store)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_store_in_memory_does_what_the_model_does(rounds in rounds()) {
        agrees(Arc::new(Memory::default()), rounds)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_store_on_disk_does_what_the_model_does(rounds in rounds()) {
        agrees(Arc::new(Disk), rounds)?;
    }
}
