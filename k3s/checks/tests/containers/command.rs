//! Running the tools that this test stands on, and saying what they said when they fail.

use std::process::{Command, Output};

/// Runs a command to its end, whatever that is.
pub(crate) fn output(command: &mut Command) -> Output {
    let called = format!("{command:?}");
    command
        .output()
        .unwrap_or_else(|error| panic!("{called} can't be run: {error}"))
}

/// Runs a command that must succeed; what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let called = format!("{command:?}");
    let output = output(command);
    assert!(
        output.status.success(),
        "{called}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A command line, split at its blanks.
pub(crate) fn line(words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("a command has a name"));
    command.args(words);
    command
}
