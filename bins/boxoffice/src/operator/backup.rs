//! `boxoffice backup`: a copy of each store, taken while it serves, and a manifest that says what they are.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use http::Response;
use http_body_util::BodyExt as _;
use ring::digest;

use super::manifest::{Entry, MANIFEST, Manifest, hexadecimal};
use super::remote::Remote;
use super::target::Target;
use super::{OperatorError, Outcome, now, say};

/// How long the next bytes of a backup may take.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Copy every store while the system serves
///
/// Writes one file for each store, each consistent in itself, and manifest.json at the end. They need not be of the same
/// moment: after a restore each service takes back from its own stream what it has published since, and then reads the
/// others' events from where its backup stands.
///
/// A backup holds password hashes and the private keys that sign sessions. Keep it as safe as the system itself.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 the backup is whole, 2 there is none.\n\nExamples:\n  boxoffice backup --to /backups/$(date +%F)\n  BOXOFFICE_OPERATOR_TOKEN=… boxoffice backup --to B --service tickets=http://127.0.0.1:8082"
)]
pub(crate) struct Backup {
    /// A directory to write into; made if it is not there, and refused if it holds a backup already
    #[arg(long, value_name = "DIR")]
    to: PathBuf,

    #[command(flatten)]
    target: Target,
}

impl Backup {
    /// Takes the backup and says what is in it.
    pub(crate) async fn run(self) -> Result<Outcome, OperatorError> {
        let remotes = self.target.running().await?;
        let taken_at = now();
        prepare(&self.to)?;
        let mut stores = Vec::new();
        for remote in &remotes {
            let entry = take(remote, &self.to).await?;
            say(&format!(
                "  {:<11} {} rows, up to event {}-{}, {} bytes",
                entry.service.as_str(),
                entry.keys,
                entry.epoch,
                entry.seq,
                entry.bytes
            ));
            stores.push(entry);
        }
        Manifest::new(taken_at, stores).write(&self.to)?;
        say(&format!(
            "The backup is whole and lies in {}. It holds password hashes and signing keys: keep it safe.",
            self.to.display()
        ));
        Ok(Outcome::Good)
    }
}

/// Makes the directory, for its owner alone. One that holds a backup stays as it is.
fn prepare(to: &Path) -> Result<(), OperatorError> {
    let mut folder = DirBuilder::new();
    folder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.create(to).map_err(OperatorError::io("making", to))?;
    let manifest = to.join(MANIFEST);
    if manifest
        .try_exists()
        .map_err(OperatorError::io("looking at", &manifest))?
    {
        return Err(OperatorError::Failed(format!(
            "{} holds a backup already: name another directory with --to",
            to.display()
        )));
    }
    Ok(())
}

/// Takes one store's backup into its file, and reads it again to see that it is whole.
async fn take(remote: &Remote, to: &Path) -> Result<Entry, OperatorError> {
    let name = format!("{}.backup", remote.source);
    let (path, partial) = (to.join(&name), to.join(format!("{name}.partial")));
    let response = remote.stream("/internal/backup").await?;
    let (bytes, sha256) = receive(remote, response, &partial).await?;
    let held = {
        let partial = partial.clone();
        let read = tokio::task::spawn_blocking(move || {
            let file = File::open(&partial).map_err(OperatorError::io("reading", &partial))?;
            store::inspect_backup(BufReader::new(file))
                .map_err(|error| OperatorError::Failed(error.to_string()))
        });
        read.await
            .map_err(|error| OperatorError::Failed(format!("reading the backup again panicked: {error}")))??
    };
    if held.source != remote.source {
        return Err(OperatorError::Failed(format!(
            "what was asked for as {} is {}: check the addresses of the services",
            remote.source, held.source
        )));
    }
    let renamed = std::fs::rename(&partial, &path).and_then(|()| File::open(to)?.sync_all());
    renamed.map_err(OperatorError::io("putting in its place", &path))?;
    Ok(Entry {
        service: held.source,
        file: name,
        taken_at: held.taken_at,
        epoch: held.head.epoch,
        seq: held.head.seq,
        keys: held.keys,
        bytes,
        sha256,
    })
}

/// Writes what comes, durably; its length and SHA-256.
async fn receive(
    remote: &Remote,
    response: Response<Body>,
    path: &Path,
) -> Result<(u64, String), OperatorError> {
    let writing = "writing";
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(OperatorError::io(writing, path))?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut length = 0_u64;
    let mut body = response.into_body();
    let broken_off = |why: &str| {
        OperatorError::Failed(format!(
            "the backup of {source} was broken off: {why}. The log of {source} says more; take it again",
            source = remote.source
        ))
    };
    loop {
        let frame = match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(error))) => return Err(broken_off(&error.to_string())),
            Ok(None) => break,
            Err(_) => {
                return Err(broken_off(&format!(
                    "nothing came for {} s",
                    SILENCE_MAX.as_secs()
                )));
            }
        };
        if let Some(bytes) = frame.data_ref() {
            context.update(bytes);
            length += bytes.len() as u64;
            // This command does nothing else meanwhile, so that it may wait for the disk here.
            file.write_all(bytes).map_err(OperatorError::io(writing, path))?;
        }
    }
    file.sync_all().map_err(OperatorError::io(writing, path))?;
    Ok((length, hexadecimal(context.finish().as_ref())))
}
