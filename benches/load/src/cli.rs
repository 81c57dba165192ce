//! The command line.

mod act;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::catalog::{Asked, Kind};
use crate::limits::hello;

/// How fast the system is, what it costs, and whether it stays correct.
///
/// It drives a system like Boxoffice over HTTP: one that runs already (--base), or one that it starts itself on a
/// directory of its own. After each scenario it checks that everything still adds up, and says so loudly if not.
#[derive(Debug, Parser)]
#[command(
    name = "boxoffice-bench",
    version,
    after_help = "Exit code: 0 all is well, 1 an invariant is broken, 2 it could not be measured. Missed targets are told; they are no failure unless --strict is given.\n\nExamples:\n  boxoffice-bench all                                    everything, in less than ten minutes\n  boxoffice-bench all --quick                            everything, small, in a minute and a half\n  boxoffice-bench run reserve --connections 64           a closed loop\n  boxoffice-bench run reserve-paced --rate 2000          an open loop\n  boxoffice-bench run mix --base http://127.0.0.1:8080   a system that runs (with AUTH_THROTTLE=off)\n  boxoffice-bench search reserve --p99-ms 50             the highest rate that keeps a goal\n  boxoffice-bench compare before.json after.json"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the machine's limits, then every scenario, and judge the result by the targets
    All(All),
    /// Run one scenario or several
    Run(Run),
    /// Find the highest rate that keeps a latency goal
    Search(Search),
    /// Measure only what this machine can do at most
    Limits(Limits),
    /// Put two results side by side
    Compare {
        /// The older one
        before: PathBuf,
        /// The newer one
        after: PathBuf,
    },
    /// Make the HTML report of a result anew
    Report {
        /// The result
        json: PathBuf,
        /// Where the report goes [default: beside the result]
        #[arg(long)]
        html: Option<PathBuf>,
    },
    #[command(name = hello::COMMAND, hide = true)]
    ServeHello,
}

#[derive(Debug, Args)]
struct All {
    /// Everything shorter and smaller: a look, not a measurement
    #[arg(long)]
    quick: bool,

    /// Only these scenarios
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,

    #[command(flatten)]
    where_to: WhereTo,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    start: Start,
}

#[derive(Debug, Args)]
struct Run {
    /// Which
    #[arg(value_enum, required = true)]
    scenarios: Vec<Kind>,

    /// Measure the machine's limits first, so that results can be told as shares of them
    #[arg(long)]
    limits: bool,

    #[command(flatten)]
    system: SystemArgs,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    where_to: WhereTo,
}

#[derive(Debug, Args)]
struct Search {
    /// Which
    #[arg(value_enum)]
    scenario: Kind,

    /// The goal: 99 of a hundred operations are done within so many milliseconds of when they were due
    #[arg(long, value_name = "MS")]
    p99_ms: f64,

    #[command(flatten)]
    system: SystemArgs,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    where_to: WhereTo,
}

#[derive(Debug, Args)]
struct Limits {
    /// A second for each instead of four
    #[arg(long)]
    quick: bool,

    #[command(flatten)]
    start: Start,
}

/// The load.
#[derive(Debug, Args)]
struct How {
    /// Users, each with a connection of its own
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=8_000))]
    connections: Option<u16>,

    /// Operations a second, in an open loop: what is due is due, whether or not the system keeps up
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    rate: Option<f64>,

    /// How long is measured
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    seconds: Option<f64>,

    /// What is not measured before
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    warm_up: Option<f64>,

    /// How many listings there are to reserve from
    #[arg(long, value_name = "COUNT")]
    listings: Option<usize>,

    /// expiry: how many holds; scale: how many tickets to grow to
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
}

/// The system.
#[derive(Debug, Args)]
struct SystemArgs {
    /// A system that runs already; without it one is started here
    #[arg(long, value_name = "URL")]
    base: Option<String>,

    /// Paths that are served elsewhere: /api/orders=http://127.0.0.1:8083. May be repeated
    #[arg(long = "part", value_name = "PREFIX=URL", requires = "base")]
    parts: Vec<String>,

    /// The data directory of the system at --base, so that `boxoffice verify` can look at it from within
    #[arg(long, value_name = "DIR", requires = "base")]
    data_dir: Option<PathBuf>,

    /// The system at --base is on another machine, and you may load that machine
    #[arg(long, requires = "base")]
    remote: bool,

    #[command(flatten)]
    start: Start,
}

/// How a system is started here.
#[derive(Debug, Args)]
struct Start {
    /// The `boxoffice` program [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Its data go into a new folder below this one, which should lie on a disk [default: the system's folder for such]
    #[arg(long, value_name = "DIR")]
    below: Option<PathBuf>,

    /// Each service as a process of its own, as in production, instead of all in one; so one sees what each costs
    #[arg(long)]
    apart: bool,

    /// A further argument for `boxoffice`. May be repeated
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    args: Vec<String>,
}

/// What is written.
#[derive(Debug, Args)]
struct WhereTo {
    /// Where results.json and report.html go
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,

    /// Missed targets are a failure, too
    #[arg(long)]
    strict: bool,

    /// No progress
    #[arg(long)]
    quiet: bool,
}

impl How {
    fn asked(&self, quick: bool) -> Asked {
        Asked {
            connections: self.connections.map(usize::from),
            rate: self.rate,
            seconds: self.seconds,
            warm_up_seconds: self.warm_up,
            listings: self.listings,
            count: self.count,
            quick,
        }
    }
}

/// Runs what the command line asks for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::ServeHello = cli.command {
        return hello::serve();
    }
    // One thread: the cores are for the system that is measured, and one keeps up with it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("boxoffice-bench: the runtime can't be started: {error}");
            return ExitCode::from(2);
        }
    };
    match runtime.block_on(act::act(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("boxoffice-bench: {error}");
            ExitCode::from(2)
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        Ok(_) | Err(_) => Err("is no number above nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_on_the_command_line_are_the_names_in_the_results() {
        use clap::ValueEnum as _;
        for kind in Kind::value_variants() {
            let value = kind.to_possible_value().unwrap();
            assert_eq!(value.get_name(), kind.name());
        }
    }
}
