//! The manifest of a backup: which files belong together, of which moment each is, and how to see that they are whole.
//! It is written last, so that a directory without one is no backup.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use events::{Epoch, Seq, Source, Timestamp};
use ring::digest;
use serde::{Deserialize, Serialize};

use super::OperatorError;

/// Its name in the directory of a backup.
pub(super) const MANIFEST: &str = "manifest.json";

/// The only shape of it so far.
const FORMAT: u32 = 1;

/// How much of a file is read at a time.
const READ_BYTES: usize = 256 * 1024;

/// What a backup consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Manifest {
    /// Raised when this shape changes.
    format: u32,
    /// The version of the program that took it.
    version: String,
    /// When it was begun.
    pub(super) taken_at: Timestamp,
    /// One for each store.
    pub(super) stores: Vec<Entry>,
}

/// The backup of one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    /// Whose.
    pub(super) service: Source,
    /// The file beside the manifest.
    pub(super) file: String,
    /// When it was begun, by the service's clock.
    pub(super) taken_at: Timestamp,
    /// The epoch of the store.
    pub(super) epoch: Epoch,
    /// The last event in it.
    pub(super) seq: Seq,
    /// How many rows it has.
    pub(super) keys: u64,
    /// How long the file is.
    pub(super) bytes: u64,
    /// The file's SHA-256, in hexadecimal.
    pub(super) sha256: String,
}

impl Manifest {
    /// The manifest of these stores.
    pub(super) fn new(taken_at: Timestamp, stores: Vec<Entry>) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at,
            stores,
        }
    }

    /// Writes it into `dir`, durably and in one step.
    pub(super) fn write(&self, dir: &Path) -> Result<(), OperatorError> {
        let path = dir.join(MANIFEST);
        let mut text =
            serde_json::to_string_pretty(self).expect("text keys, numbers and texts can always be written");
        text.push('\n');
        let new = dir.join(format!("{MANIFEST}.partial"));
        let written = File::create(&new)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&new, &path))
            .and_then(|()| File::open(dir)?.sync_all());
        written.map_err(OperatorError::io("writing", &path))
    }

    /// Reads the one in `dir`.
    pub(super) fn read(dir: &Path) -> Result<Self, OperatorError> {
        let path = dir.join(MANIFEST);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(OperatorError::Failed(format!(
                    "{} is no backup, or one that was broken off: it has no {MANIFEST}",
                    dir.display()
                )));
            }
            Err(error) => return Err(OperatorError::io("reading", &path)(error)),
        };
        let unreadable = |why: &str| {
            OperatorError::Failed(format!(
                "{} can't be believed: {why}; use another backup",
                path.display()
            ))
        };
        let manifest: Self = serde_json::from_str(&text).map_err(|error| unreadable(&error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(unreadable(&format!(
                "its format is {}, and this program knows {FORMAT}",
                manifest.format
            )));
        }
        if let Some(entry) = manifest.stores.iter().find(|entry| !is_plain_name(&entry.file)) {
            return Err(unreadable(&format!("`{}` is no file beside it", entry.file)));
        }
        Ok(manifest)
    }

    /// The backup of one store, if it is in here.
    pub(super) fn entry(&self, service: Source) -> Option<&Entry> {
        self.stores.iter().find(|entry| entry.service == service)
    }
}

impl Entry {
    /// Whether the file is still the one that was written.
    pub(super) fn check(&self, dir: &Path) -> Result<(), OperatorError> {
        let path = dir.join(&self.file);
        let (bytes, sha256) = fingerprint(&path).map_err(OperatorError::io("reading", &path))?;
        if (bytes, sha256.as_str()) == (self.bytes, self.sha256.as_str()) {
            return Ok(());
        }
        Err(OperatorError::Failed(format!(
            "{} is not what was written: it has {bytes} bytes with SHA-256 {sha256}, and should have {} with {}. Nothing \
             was restored; use another backup",
            path.display(),
            self.bytes,
            self.sha256,
        )))
    }
}

/// A manifest that was tampered with must not lead to files elsewhere.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

/// A file's length and SHA-256.
fn fingerprint(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut context = digest::Context::new(&digest::SHA256);
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0_u64;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hexadecimal(context.finish().as_ref()))),
            read => {
                context.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// Bytes as text.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            service: Source::Tickets,
            file: "tickets.backup".to_owned(),
            taken_at: Timestamp::from_seconds(1),
            epoch: Epoch::FIRST,
            seq: Seq(7),
            keys: 3,
            bytes: 3,
            // Of "abc", as FIPS 180-2 has it.
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
        }
    }

    #[test]
    fn a_manifest_is_read_back_and_its_files_are_checked() {
        let dir = testkit::temp_dir();
        let manifest = Manifest::new(Timestamp::from_seconds(1), vec![entry()]);
        manifest.write(dir.path()).unwrap();
        assert_eq!(Manifest::read(dir.path()).unwrap(), manifest);
        let file = dir.path().join("tickets.backup");
        std::fs::write(&file, "abc").unwrap();
        entry().check(dir.path()).unwrap();
        std::fs::write(&file, "abd").unwrap();
        let error = entry().check(dir.path()).unwrap_err().to_string();
        assert!(error.contains("is not what was written"), "{error}");
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let dir = testkit::temp_dir();
        let refusal = || Manifest::read(dir.path()).unwrap_err().to_string();
        assert!(refusal().contains("is no backup"), "{}", refusal());
        let path = dir.path().join(MANIFEST);
        std::fs::write(&path, "{").unwrap();
        assert!(refusal().contains("can't be believed"), "{}", refusal());
        let mut newer = Manifest::new(Timestamp::from_seconds(1), Vec::new());
        newer.format = 2;
        newer.write(dir.path()).unwrap();
        assert!(refusal().contains("its format is 2"), "{}", refusal());
        for name in ["../auth/db", "/etc/passwd", "", ".."] {
            let mut stray = entry();
            stray.file = name.to_owned();
            Manifest::new(Timestamp::from_seconds(1), vec![stray])
                .write(dir.path())
                .unwrap();
            assert!(refusal().contains("is no file beside it"), "{}", refusal());
        }
    }
}
