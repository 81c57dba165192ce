//! `boxoffice-faults list` and `boxoffice-faults run`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::random::Random;
use crate::rows::{ELSEWHERE, ROWS, Row};
use crate::run::run;
use crate::stage::Form;

/// Does harm to Boxoffice while people buy tickets, and looks whether anything was lost.
///
/// It starts the services as processes with a real redis-server in a temporary directory, injects the faults of
/// faults.md, heals them, and polls the invariants. It touches nothing else on this machine. Rows 20 to 24 (Stripe), 31 and
/// 32 (upgrades, keys) are tested in other places, which `list` names.
#[derive(Debug, Parser)]
#[command(name = "boxoffice-faults", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say which rows there are, and where those are tested that are not here
    List,
    /// Run rows and print a table; exit code 1 when one of them fails
    Run {
        /// Names or numbers of rows; all, if none is given
        rows: Vec<String>,
        /// As many purchases, kills and seconds as the promise is about (most of an hour for all rows)
        #[arg(long)]
        long: bool,
        /// The seed of all choices: the one of an earlier run makes its choices again
        #[arg(long)]
        seed: Option<u64>,
        /// Write the summary there as Markdown
        #[arg(long, value_name = "FILE")]
        markdown: Option<PathBuf>,
        /// Which commit this program was built from, for the summary
        #[arg(long, value_name = "NAME")]
        commit: Option<String>,
    },
}

/// What the program does when it plays no part.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::List => {
            for row in ROWS {
                println!("{:>5}  {:<24} {}", row.number, row.name, row.fault);
            }
            println!("\nTested where they live, not here:");
            for (numbers, fault, command) in ELSEWHERE {
                println!("{numbers:>5}  {fault}\n       {command}");
            }
            ExitCode::SUCCESS
        }
        Command::Run {
            rows,
            long,
            seed,
            markdown,
            commit,
        } => {
            let mut chosen: Vec<&'static Row> = Vec::new();
            for wish in &rows {
                let found = Row::asked_for(wish);
                if found.is_empty() {
                    eprintln!("There is no row {wish}; `boxoffice-faults list` says which there are.");
                    return ExitCode::from(2);
                }
                chosen.extend(found);
            }
            if rows.is_empty() {
                chosen.extend(ROWS);
            }
            let form = if long { Form::Long } else { Form::Short };
            let report = run(&chosen, form, seed.unwrap_or_else(any_seed), commit);
            println!("\n{}", report.sums());
            if let Some(sentence) = report.falls_short() {
                eprintln!("{sentence}");
            }
            for line in &report.lines {
                if let Err(failure) = &line.result {
                    eprintln!(
                        "\n=== row {} ({})\n{}",
                        line.row.number, line.row.name, failure.sentence
                    );
                }
            }
            if let Some(file) = markdown
                && let Err(error) = std::fs::write(&file, report.markdown())
            {
                eprintln!("{} can't be written: {error}", file.display());
                return ExitCode::from(2);
            }
            if report.passed() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// A seed that nobody chose: short enough to be typed again.
fn any_seed() -> u64 {
    let now = service::Clock::new().now().as_micros().unsigned_abs();
    Random::new(now ^ u64::from(std::process::id())).below(1_000_000)
}
