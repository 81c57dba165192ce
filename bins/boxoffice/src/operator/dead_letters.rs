//! `boxoffice dead-letters`: events that could not be applied, for an operator to look at, to replay, or to drop.

use std::fmt;
use std::str::FromStr;

use clap::Subcommand;
use events::Source;
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use super::remote::Remote;
use super::target::Target;
use super::{OperatorError, Outcome, counted, say};

/// How many characters of an entry are shown; `--json` shows all that is kept.
const ENTRY_CHARS_SHOWN_MAX: usize = 4_000;

/// Look at events that could not be applied, and replay or drop them
///
/// A service that can't read an event, or whose rules call it impossible, keeps it as a dead letter and goes on. Each is
/// named by where it came from and its place there, such as tickets/1-42.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 done, 1 a letter was not applied, 2 it could not be done.\n\nExamples:\n  boxoffice dead-letters list\n  boxoffice dead-letters show tickets/1-42\n  boxoffice dead-letters replay --all --service orders\n  boxoffice dead-letters drop tickets/1-42 --service orders"
)]
pub(crate) struct DeadLetters {
    #[command(subcommand)]
    task: Task,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
enum Task {
    /// Show all of them, a line each
    List {
        #[command(flatten)]
        target: Target,
        /// Print a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one of them, with what came
    Show {
        /// Which: SOURCE/ID as `list` shows it
        letter: Name,
        #[command(flatten)]
        target: Target,
        /// Print it as JSON, whole
        #[arg(long)]
        json: bool,
    },
    /// Apply one again, or all, once the cause is gone
    ///
    /// An event that the service has since learnt otherwise changes nothing and goes away. What is still impossible
    /// stays, with the new reason.
    Replay {
        /// Which: SOURCE/ID as `list` shows it
        #[arg(required_unless_present = "all")]
        letter: Option<Name>,
        /// All of them, in the order in which they happened
        #[arg(long, conflicts_with = "letter")]
        all: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Take one away for good: what it told of will not happen here
    Drop {
        /// Which: SOURCE/ID as `list` shows it
        letter: Name,
        #[command(flatten)]
        target: Target,
    },
}

/// Which letter of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    source: Source,
    id: String,
}

/// A page of letters, as a service tells them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    dead_letters: Vec<Value>,
    next: Option<String>,
}

/// A letter and who keeps it.
struct Kept<'a> {
    remote: &'a Remote,
    name: Name,
    letter: Value,
}

impl DeadLetters {
    /// Does it, and says what was done.
    pub(crate) async fn run(self) -> Result<Outcome, OperatorError> {
        match self.task {
            Task::List { target, json } => list(&target.running().await?, json).await,
            Task::Show { letter, target, json } => show(&target.running().await?, &letter, json).await,
            Task::Replay {
                letter: Some(letter),
                target,
                ..
            } => replay(&find(&target.running().await?, &letter).await?).await,
            Task::Replay { target, .. } => replay_all(&target.running().await?).await,
            Task::Drop { letter, target } => drop_one(&target.running().await?, &letter).await,
        }
    }
}

async fn list(remotes: &[Remote], json: bool) -> Result<Outcome, OperatorError> {
    let kept = all(remotes).await?;
    if json {
        let letters: Vec<Value> = kept.iter().map(Kept::to_json).collect();
        say(&pretty(&Value::Array(letters)));
        return Ok(Outcome::Good);
    }
    for letter in &kept {
        say(&letter.line());
    }
    say(&match kept.len() {
        0 => "There are no dead letters.".to_owned(),
        count => format!(
            "{}. `boxoffice dead-letters show SOURCE/ID` tells more.",
            counted(count, "dead letter", "dead letters")
        ),
    });
    Ok(Outcome::Good)
}

async fn show(remotes: &[Remote], name: &Name, json: bool) -> Result<Outcome, OperatorError> {
    let kept = find(remotes, name).await?;
    let letter: Value = kept.remote.get(&kept.name.path()).await?;
    let kept = Kept { letter, ..kept };
    if json {
        say(&pretty(&kept.to_json()));
        return Ok(Outcome::Good);
    }
    say(&format!("Kept by   {}", kept.remote.source));
    say(&format!("Letter    {}", kept.name));
    for (label, field) in [
        ("Type", "type"),
        ("Since", "at"),
        ("Reason", "reason"),
        ("Tries", "tries"),
    ] {
        say(&format!("{label:<9} {}", plain(&kept.letter[field])));
    }
    let entry = plain(&kept.letter["entry"]);
    let cut: String = entry.chars().take(ENTRY_CHARS_SHOWN_MAX).collect();
    say(&format!(
        "What came ({} bytes):",
        plain(&kept.letter["entryBytes"])
    ));
    say(&cut);
    if cut.len() < entry.len() {
        say("… and more; --json shows all that is kept");
    }
    Ok(Outcome::Good)
}

/// What a service says of a letter that it applied again.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replayed {
    /// `done`, `stale`, `impossible` or why it can't be read.
    outcome: String,
    reason: Option<String>,
}

async fn replay(kept: &Kept<'_>) -> Result<Outcome, OperatorError> {
    let path = format!("{}/replay", kept.name.path());
    let replayed: Replayed = kept
        .remote
        .json(Method::POST, &path, super::remote::ANSWER_MAX)
        .await?;
    let (service, name) = (kept.remote.source, &kept.name);
    let reason = plain(&Value::String(replayed.reason.unwrap_or_default()));
    Ok(match replayed.outcome.as_str() {
        "done" => {
            say(&format!(
                "{service} has applied {name}; it is no dead letter any more."
            ));
            Outcome::Good
        }
        "stale" => {
            say(&format!(
                "{service} knows better than {name} by now ({reason}); it is no dead letter any more."
            ));
            Outcome::Good
        }
        _ => {
            say(&format!(
                "{service} still can't apply {name}: {reason}. It is kept."
            ));
            Outcome::Bad
        }
    })
}

async fn replay_all(remotes: &[Remote]) -> Result<Outcome, OperatorError> {
    let mut kept = all(remotes).await?;
    kept.sort_by_key(|kept| {
        let number = |field: &str| kept.letter[field].as_u64().unwrap_or(u64::MAX);
        (
            kept.remote.source,
            kept.name.source,
            number("epoch"),
            number("seq"),
        )
    });
    let mut outcome = Outcome::Good;
    for letter in &kept {
        if replay(letter).await? == Outcome::Bad {
            outcome = Outcome::Bad;
        }
    }
    if kept.is_empty() {
        say("There are no dead letters.");
    }
    Ok(outcome)
}

async fn drop_one(remotes: &[Remote], name: &Name) -> Result<Outcome, OperatorError> {
    let kept = find(remotes, name).await?;
    kept.remote.done(Method::DELETE, &kept.name.path()).await?;
    say(&format!(
        "{name} is dropped. What it told of will not happen at {service}.",
        service = kept.remote.source
    ));
    Ok(Outcome::Good)
}

/// The one service among these that keeps a letter of that name.
async fn find<'a>(remotes: &'a [Remote], name: &Name) -> Result<Kept<'a>, OperatorError> {
    let mut found: Vec<Kept<'a>> = all(remotes).await?;
    found.retain(|kept| kept.name == *name);
    match (found.pop(), found.pop()) {
        (Some(only), None) => Ok(only),
        (Some(one), Some(other)) => Err(OperatorError::Failed(format!(
            "{} and {} both keep a dead letter {name}: say which with --service",
            one.remote.source, other.remote.source
        ))),
        (None, _) => Err(OperatorError::Failed(format!(
            "there is no dead letter {name}; `boxoffice dead-letters list` shows those that there are"
        ))),
    }
}

/// All letters of these services.
async fn all(remotes: &[Remote]) -> Result<Vec<Kept<'_>>, OperatorError> {
    let mut all = Vec::new();
    for remote in remotes {
        let mut path = "/internal/dead-letters".to_owned();
        loop {
            let page: Listed = remote.get(&path).await?;
            for letter in page.dead_letters {
                let name = Name::of(&letter).ok_or_else(|| {
                    OperatorError::Failed(format!("{} tells of a dead letter without a name", remote.source))
                })?;
                all.push(Kept { remote, name, letter });
            }
            match page.next {
                Some(after) => path = format!("/internal/dead-letters?after={}", encoded(&after)),
                None => break,
            }
        }
    }
    Ok(all)
}

impl Kept<'_> {
    fn line(&self) -> String {
        format!(
            "{:<11} {:<20} {:<22} {}  {}",
            self.remote.source.as_str(),
            self.name.to_string(),
            plain(&self.letter["type"]),
            plain(&self.letter["at"]),
            plain(&self.letter["reason"]),
        )
    }

    fn to_json(&self) -> Value {
        let mut letter = self.letter.clone();
        letter["service"] = Value::from(self.remote.source.as_str());
        letter
    }
}

impl Name {
    fn of(letter: &Value) -> Option<Self> {
        Some(Self {
            source: letter["source"].as_str()?.parse().ok()?,
            id: letter["id"].as_str()?.to_owned(),
        })
    }

    fn path(&self) -> String {
        format!("/internal/dead-letters/{}/{}", self.source, encoded(&self.id))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.id)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (source, id) = text
            .split_once('/')
            .filter(|(_, id)| !id.is_empty())
            .ok_or_else(|| format!("`{text}` names no dead letter; they are called like tickets/1-42"))?;
        let source = source.parse().map_err(|error| format!("`{source}` {error}"))?;
        Ok(Self {
            source,
            id: id.to_owned(),
        })
    }
}

/// A value as text that can't do anything to a terminal: whoever could write into Redis has written some of it.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let harmless = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(harmless).collect()
}

/// JSON escapes what could do something to a terminal.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("JSON can always be written")
}

/// Text as a part of a path or a query.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_a_name() {
        let name: Name = "tickets/1-42".parse().unwrap();
        assert_eq!((name.source, name.id.as_str()), (Source::Tickets, "1-42"));
        assert_eq!(name.to_string(), "tickets/1-42");
        assert_eq!(name.path(), "/internal/dead-letters/tickets/1-42");
        let odd: Name = "auth/a b/c".parse().unwrap();
        assert_eq!(odd.path(), "/internal/dead-letters/auth/a%20b%2Fc");
        for wrong in ["tickets", "tickets/", "stripe/1-1", ""] {
            assert!(wrong.parse::<Name>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn poison_does_nothing_to_a_terminal() {
        let shown = plain(&Value::String("\u{1b}[2Jgone\u{7}\nnext".to_owned()));
        assert_eq!(shown, "\u{fffd}[2Jgone\u{fffd}\nnext");
    }
}
