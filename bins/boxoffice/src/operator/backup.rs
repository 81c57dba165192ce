//! `boxoffice backup`: a copy of each store, taken while it serves, and a manifest that says what they are.

use std::fs::{DirBuilder, File};
use std::io::{BufReader, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use http::Response;
use http_body_util::BodyExt as _;
use ring::digest;
use rustix::fs::{Mode, OFlags};

use super::manifest::{Entry, MANIFEST, Manifest, hexadecimal};
use super::remote::Remote;
use super::target::Target;
use super::{OperatorError, Outcome, now, say};

/// What lets others than the owner put files into a directory.
const WRITABLE_BY_OTHERS: u32 = 0o022;

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
    /// A directory to write into; made if it is not there, and refused if it holds a backup already, is somebody else's,
    /// or can be written by others
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

/// Makes the directory, for its owner alone. One that holds a backup stays as it is, and one into which others can put
/// files is not used: they could exchange what is restored from it one day.
fn prepare(to: &Path) -> Result<(), OperatorError> {
    let mut folder = DirBuilder::new();
    folder.recursive(true);
    folder.mode(0o700);
    folder.create(to).map_err(OperatorError::io("making", to))?;
    let found = std::fs::metadata(to).map_err(OperatorError::io("looking at", to))?;
    if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(OperatorError::Failed(format!(
            "{} belongs to somebody else or can be written by others, and a backup holds signing keys: name a directory of \
             your own with --to, or one that is not there yet, or take the others' permission away (chmod go-w)",
            to.display()
        )));
    }
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

/// A new file that only its owner can read. What an earlier attempt has left there goes, so that neither its permissions
/// nor what it may be a link to are taken over.
fn new_file(path: &Path) -> Result<File, OperatorError> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(OperatorError::io("removing", path)(error)),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
        .map(File::from)
        .map_err(|error| OperatorError::io("making", path)(error.into()))
}

/// Writes what comes, durably; its length and SHA-256.
async fn receive(
    remote: &Remote,
    response: Response<Body>,
    path: &Path,
) -> Result<(u64, String), OperatorError> {
    let writing = "writing";
    let mut file = new_file(path)?;
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

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, metadata, read, set_permissions, write};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_directory_that_others_can_write_to_or_that_is_somebody_elses_is_refused() {
        let above = testkit::temp_dir();
        let made = above.path().join("backups/today");
        prepare(&made).expect("a directory can be made");
        let mode = |path: &Path| metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!(mode(&made), 0o700);
        prepare(&made).expect("it is there, and ours");
        for (others, refused) in [(0o755, false), (0o770, true), (0o777, true), (0o1777, true)] {
            let shared = above.path().join(format!("{others:o}"));
            create_dir(&shared).expect("a directory can be made");
            set_permissions(&shared, Permissions::from_mode(others)).expect("it is ours");
            let said = prepare(&shared).map_err(|error| error.to_string());
            assert_eq!(said.is_err(), refused, "{others:o}: {said:?}");
            if let Err(said) = said {
                assert!(said.contains("chmod go-w"), "{said}");
            }
        }
        // Of a directory of the system: another user's, or one that everybody can write to.
        let others = if rustix::process::geteuid().is_root() {
            "/tmp"
        } else {
            "/usr"
        };
        assert!(prepare(Path::new(others)).is_err());
    }

    #[test]
    fn what_an_earlier_attempt_has_left_lends_a_backup_neither_its_permissions_nor_its_target() {
        let dir = testkit::temp_dir();
        let (partial, elsewhere) = (
            dir.path().join("auth.backup.partial"),
            dir.path().join("elsewhere"),
        );
        write(&elsewhere, "a file of somebody").expect("it can be written");
        for left in ["nothing", "a readable file", "a link"] {
            match left {
                "a readable file" => {
                    write(&partial, "half of a backup").expect("it can be written");
                    set_permissions(&partial, Permissions::from_mode(0o644)).expect("it is ours");
                }
                "a link" => symlink(&elsewhere, &partial).expect("a link can be made"),
                _ => {}
            }
            new_file(&partial)
                .and_then(|mut file| {
                    file.write_all(b"secret")
                        .map_err(OperatorError::io("writing", &partial))
                })
                .expect(left);
            let found = std::fs::symlink_metadata(&partial).expect(left);
            assert!(found.is_file(), "{left}");
            assert_eq!(found.mode() & 0o777, 0o600, "{left}");
            assert_eq!(read(&partial).expect(left), b"secret", "{left}");
            std::fs::remove_file(&partial).expect(left);
        }
        assert_eq!(read(&elsewhere).expect("it is there"), b"a file of somebody");
    }
}
