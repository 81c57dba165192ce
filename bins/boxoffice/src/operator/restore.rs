//! `boxoffice restore`: puts a backup in the place of stores, and says what will come of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use events::{Epoch, Source};
use store::RestoreOptions;

use super::manifest::{Entry, Manifest};
use super::{OperatorError, Outcome, at_rest, now, say};
use crate::data_dir::DataDir;

/// Put a backup in the place of the stores, while nothing runs on them
///
/// What was there is kept beside it. At the next start each restored service takes back from its own stream what it has
/// published since the backup, and only then serves. If the stream does not have it any more, the service refuses to
/// serve and says so.
///
/// --accept-loss gives up what was published since: the service begins a new epoch from the backup, and everybody else
/// replaces what they know of it. What people were told meanwhile is lost. Use it only when a start without it has
/// refused.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 restored, 2 not (then the store is as it was).\n\nExamples:\n  boxoffice restore --from /backups/2027-05-01\n  boxoffice restore --from /backups/2027-05-01 --service tickets\n  boxoffice restore --from /backups/2027-05-01 --service tickets --accept-loss"
)]
pub(crate) struct Restore {
    /// The directory that `boxoffice backup` has written
    #[arg(long, value_name = "DIR")]
    from: PathBuf,

    /// The data directory to restore into
    #[arg(long, value_name = "DIR", env = "BOXOFFICE_DATA_DIR", default_value = "data")]
    data_dir: PathBuf,

    /// Only this service's store; may be repeated [default: all that the backup has]
    #[arg(long = "service", value_name = "NAME")]
    services: Vec<Source>,

    /// Give up what was published after the backup, for good
    #[arg(long)]
    accept_loss: bool,
}

impl Restore {
    /// Restores, and says what it did.
    pub(crate) async fn run(self) -> Result<Outcome, OperatorError> {
        let restoring = tokio::task::spawn_blocking(move || self.restore());
        restoring
            .await
            .map_err(|error| OperatorError::Failed(format!("restoring panicked: {error}")))?
    }

    fn restore(&self) -> Result<Outcome, OperatorError> {
        let manifest = Manifest::read(&self.from)?;
        let entries = self.wanted(&manifest)?;
        // Nothing is touched before all of it is known to be whole.
        for entry in &entries {
            entry.check(&self.from)?;
        }
        let data_dir = DataDir::lock(&self.data_dir)?;
        // An epoch that others know a service to have reached must never be written in again.
        let reached = if self.accept_loss {
            at_rest::epochs_known(data_dir.path())?
        } else {
            BTreeMap::new()
        };
        for (done, entry) in entries.iter().enumerate() {
            let reached = reached.get(&entry.service).copied().unwrap_or(Epoch(0));
            if let Err(error) = self.put_back(entry, reached, data_dir.path()) {
                let before = match done {
                    0 => "No store was changed".to_owned(),
                    _ => {
                        let names: Vec<&str> = entries[..done]
                            .iter()
                            .map(|entry| entry.service.as_str())
                            .collect();
                        format!("Restored before that: {}", names.join(", "))
                    }
                };
                return Err(OperatorError::Failed(format!("{error}. {before}")));
            }
        }
        for line in self.what_comes_next(&entries) {
            say(&line);
        }
        Ok(Outcome::Good)
    }

    fn wanted<'a>(&self, manifest: &'a Manifest) -> Result<Vec<&'a Entry>, OperatorError> {
        if self.services.is_empty() {
            return Ok(manifest.stores.iter().collect());
        }
        let entry = |source: &Source| {
            manifest.entry(*source).ok_or_else(|| {
                OperatorError::Failed(format!(
                    "the backup in {} has no {source} store",
                    self.from.display()
                ))
            })
        };
        self.services.iter().map(entry).collect()
    }

    fn put_back(&self, entry: &Entry, epoch_reached: Epoch, data_dir: &Path) -> Result<(), OperatorError> {
        let path = self.from.join(&entry.file);
        let file = File::open(&path).map_err(OperatorError::io("reading", &path))?;
        let options = RestoreOptions {
            accept_loss: self.accept_loss,
            epoch_reached,
            ..RestoreOptions::new(entry.service, now())
        };
        let dir = data_dir.join(entry.service.as_str());
        let restored = store::restore(BufReader::new(file), &dir, &options)
            .map_err(|error| OperatorError::Failed(format!("{}: {error}", entry.service)))?;
        say(&format!(
            "  {:<11} restored as it was at {} ({} rows, event {})",
            entry.service.as_str(),
            restored.manifest.taken_at,
            restored.manifest.keys,
            restored.manifest.head,
        ));
        if let Some(previous) = restored.previous {
            say(&format!(
                "              what was there before is kept in {}",
                previous.display()
            ));
        }
        Ok(())
    }

    /// What whoever reads this has to expect.
    fn what_comes_next(&self, entries: &[&Entry]) -> Vec<String> {
        let mut lines = Vec::new();
        if self.accept_loss {
            lines.push(
                "What was published since the backup is given up. At the next start a new epoch begins, and all other \
                 services replace what they know of these; `boxoffice verify` tells when they agree."
                    .to_owned(),
            );
        } else {
            lines.push(
                "At the next start each of these takes back from its stream what it has published since, and answers 503 \
                 until it has. If the stream does not have it, the service says so and does not serve; then restore again \
                 with --accept-loss, or wait for Redis to be restored. Where neither a stream nor another service \
                 remembers what came after the backup, nobody can tell that it is gone, and all goes on from the backup."
                    .to_owned(),
            );
        }
        if let Some(auth) = entries.iter().find(|entry| entry.service == Source::Auth) {
            let since = auth.taken_at;
            lines.push(format!(
                "Passwords and signing keys never travel, so that they are as they were at {since}: who signed up since \
                 has no password and must sign up again, who changed theirs has the old one, and who was signed in with a \
                 newer key must sign in again."
            ));
        }
        if self.accept_loss
            && let Some(payments) = entries.iter().find(|entry| entry.service == Source::Payments)
        {
            let since = payments.taken_at;
            lines.push(format!(
                "Stripe keeps what this store has given up: payments begun since {since} are not known here any more. One that \
                 is paid from now on for an order that is not accepted is undone by itself, and nothing else is. Go through \
                 Stripe's payments from then on; each names its order in the metadata, as order_id. Cancel what is only \
                 authorised, and refund what was captured unless /ops shows the order as complete. Notices about what a \
                 person has to see to are logged, and counted as \
                 payments_unknown_notices_total."
            ));
        }
        lines
    }
}
