//! What a directory holds: its files with their bytes, and its directories.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory's content. Paths are relative to it; `None` stands for a directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    pub(super) entries: BTreeMap<PathBuf, Option<Arc<[u8]>>>,
}

impl Image {
    /// What a directory holds now.
    ///
    /// # Panics
    /// When it can't be read, or holds something that is neither a file nor a directory.
    pub fn read(dir: &Path) -> Self {
        let mut image = Self::default();
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let listed = fs::read_dir(dir.join(&folder)).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let listed =
                listed.unwrap_or_else(|error| panic!("{} can't be listed: {error}", folder.display()));
            for entry in listed {
                let path = folder.join(entry.file_name());
                let kind = entry
                    .file_type()
                    .unwrap_or_else(|error| panic!("{} has no type: {error}", path.display()));
                assert!(
                    kind.is_file() || kind.is_dir(),
                    "{} is no plain file",
                    path.display()
                );
                if kind.is_dir() {
                    folders.push(path.clone());
                    image.entries.insert(path, None);
                } else {
                    let bytes = fs::read(entry.path())
                        .unwrap_or_else(|error| panic!("{} can't be read: {error}", path.display()));
                    image.entries.insert(path, Some(bytes.into()));
                }
            }
        }
        image
    }

    /// Makes a directory hold this and nothing else.
    ///
    /// # Panics
    /// When files can't be written or removed.
    pub fn write(&self, dir: &Path) {
        let result = self.write_to(dir);
        result.unwrap_or_else(|error| panic!("{} can't be made what it is to be: {error}", dir.display()));
    }

    fn write_to(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        // A directory comes before what is in it: its path is the beginning of theirs.
        for (path, content) in &self.entries {
            match content {
                None => fs::DirBuilder::new().mode(0o700).create(dir.join(path))?,
                Some(bytes) => fs::write(dir.join(path), bytes)?,
            }
        }
        Ok(())
    }

    /// The bytes of a file, if there is one.
    pub fn file(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        self.entries.get(path.as_ref())?.as_deref()
    }

    /// Whether there is such a file or directory.
    pub fn holds(&self, path: impl AsRef<Path>) -> bool {
        self.entries.contains_key(path.as_ref())
    }

    /// Where two images differ, each place with a word on how.
    pub(super) fn differences(&self, other: &Self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        for path in self.entries.keys().chain(other.entries.keys()) {
            let word = match (self.entries.get(path), other.entries.get(path)) {
                (one, two) if one == two => continue,
                (None, _) => "is only in the second".to_owned(),
                (_, None) => "is only in the first".to_owned(),
                (Some(Some(one)), Some(Some(two))) => {
                    let at = one.iter().zip(&**two).position(|(one, two)| one != two);
                    let at = at.unwrap_or(one.len().min(two.len()));
                    format!(
                        "differs from byte {at} on ({} and {} bytes)",
                        one.len(),
                        two.len()
                    )
                }
                (Some(_), Some(_)) => "is a file in one, a directory in the other".to_owned(),
            };
            found.insert(path.clone(), word);
        }
        found
    }
}
