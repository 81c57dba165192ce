//! Runs rows one after another and tells how each ended.

use std::time::Instant;

use tokio::runtime::{Builder, Runtime};

use crate::failure::Failure;
use crate::report::{Line, Report, head, machine};
use crate::rows::Row;
use crate::stage::{Form, Stage};

/// Runs these rows and prints the table as it grows. `commit` is what the program was built from, if that is known.
///
/// # Panics
/// When no runtime can be made.
pub fn run(rows: &[&'static Row], form: Form, seed: u64, commit: Option<String>) -> Report {
    let begun = Instant::now();
    let began = service::Clock::new().now().to_string();
    println!("{} form, seed {seed}, {}\n{}", form.name(), machine(), head());
    let mut lines = Vec::new();
    for row in rows {
        let line = run_row(row, form, seed);
        println!("{}", line.text());
        lines.push(line);
    }
    Report {
        lines,
        seed,
        form,
        began,
        commit,
        machine: machine(),
        took: begun.elapsed(),
    }
}

/// Runs one row on a runtime of its own, so that nothing of it is left when it ends.
fn run_row(row: &'static Row, form: Form, seed: u64) -> Line {
    let begun = Instant::now();
    let runtime = runtime();
    let task = runtime.spawn((row.story)(Stage::new(form, seed, row.name)));
    let result = runtime
        .block_on(task)
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => Failure::caught(panic),
            Err(error) => Failure::in_words(error.to_string()),
        });
    // Only a long run is one of a machine that has nothing else to do, in which the invariants' seconds must hold.
    let result = result.and_then(|outcome| match (form, outcome.verdict.times.too_long()) {
        (Form::Long, Some(sentence)) => Err(Failure {
            sentence,
            kills: Some(outcome.kills),
            verdict: Some(Box::new(outcome.verdict)),
        }),
        (Form::Long, None) | (Form::Short, _) => Ok(outcome),
    });
    Line {
        row,
        result,
        took: begun.elapsed(),
    }
}

/// Runs one row in its short form; for tests, in which a failure may be a panic.
///
/// # Panics
/// When the row fails, or there is none of that name.
pub fn test(name: &str, seed: u64) {
    let row = Row::named(name).unwrap_or_else(|| panic!("there is no row {name}"));
    match run_row(row, Form::Short, seed).result {
        Ok(outcome) => println!("{outcome:?}"),
        Err(failure) => panic!("{}", failure.sentence),
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
}
