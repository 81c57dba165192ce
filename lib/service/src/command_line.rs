//! What a program and the person who starts it say to each other: flags and variables in, lines on stdout out.

use std::io::{self, Write as _};

use clap::error::{ContextKind, ContextValue};
use clap::{Command, FromArgMatches};

/// What this process was told by flags and variables. A mistake ends the process with a sentence that names the
/// variable, where one was to blame.
pub fn parse_command_line<P: FromArgMatches>(command: Command) -> P {
    let known = command.clone();
    let matches = command.try_get_matches().unwrap_or_else(|error| {
        name_variable(&known, &error);
        error.exit()
    });
    P::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Prints a line on stdout. Nobody need read it: a closed pipe is no reason to stop.
pub fn print_line(line: &str) {
    let mut out = io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads stdout");
    }
}

/// clap names the flag that is wrong; whoever has set the variable looks for that.
fn name_variable(command: &Command, error: &clap::Error) {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return;
    };
    let long = flag
        .split([' ', '='])
        .next()
        .and_then(|flag| flag.strip_prefix("--"));
    let variable = command
        .get_arguments()
        .find(|arg| arg.get_long().is_some() && arg.get_long() == long)
        .and_then(|arg| arg.get_env())
        .filter(|variable| std::env::var_os(variable).is_some());
    if let Some(variable) = variable {
        #[allow(clippy::print_stderr, reason = "a person reads this")]
        {
            eprintln!("{} is not set right:", variable.display());
        }
    }
}
