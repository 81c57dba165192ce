//! What a run was measured on: without it a figure means nothing.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Where a run was made.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Machine {
    /// What the processor calls itself.
    pub cpu: String,
    /// How many of its cores this program may use.
    pub cores: usize,
    /// All of its memory.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// What kind of file system the stores lie on; on one in memory a sync costs nothing.
    pub file_system: String,
    /// `release` or `debug`: how this program was built, and with it the system that it starts.
    pub build: String,
    /// How many others wanted a core when the run began: figures from a busy machine are lower bounds.
    pub load_at_start: f64,
}

impl Machine {
    /// This one, with the stores in this folder.
    pub fn here(stores: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line
                .and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim());
            value.unwrap_or_default().to_owned()
        };
        let memory_kib = value(&read("/proc/meminfo"), "MemTotal");
        let memory_kib: u64 = memory_kib
            .split(' ')
            .next()
            .and_then(|kib| kib.parse().ok())
            .unwrap_or(0);
        let load = read("/proc/loadavg");
        Self {
            cpu: value(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_kib * 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(stores, &read("/proc/mounts")),
            build: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            }
            .to_owned(),
            load_at_start: load
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
        }
    }

    /// Whether a sync costs something there.
    pub fn has_a_disk(&self) -> bool {
        !matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

/// The kind of the file system that a folder lies on: of the mounts above it, the deepest; of several there, the last.
fn file_system(folder: &Path, mounts: &str) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let mut found = ("", 0);
    for mount in mounts.lines() {
        let mut fields = mount.split(' ').skip(1);
        if let (Some(at), Some(kind)) = (fields.next(), fields.next())
            && folder.starts_with(at)
            && at.len() >= found.1
        {
            found = (kind, at.len());
        }
    }
    found.0.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\nproc /proc proc rw 0 0\ntmpfs /nowhere tmpfs rw 0 0\n";
        assert_eq!(file_system(Path::new("/nowhere/x"), mounts), "tmpfs");
        assert_eq!(file_system(Path::new("/elsewhere"), mounts), "ext4");
        assert_eq!(file_system(Path::new("/proc"), mounts), "proc");
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let here = Machine::here(Path::new("/"));
        assert!(here.cores > 0);
        assert!(here.memory_bytes > 1 << 20);
        assert!(!here.file_system.is_empty());
    }
}
