//! What Linux tells about processes: who belongs to whom, who listens where, how much time and memory each has taken.
//!
//! It reads /proc and nothing else. Elsewhere than on Linux it finds nobody, and the report says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

/// How many ticks of /proc a second has: a constant of the kernel's interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one process has taken so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Taken {
    /// Milliseconds of CPU, its own and the kernel's for it.
    pub cpu_ms: f64,
    /// Bytes that lie in memory now.
    pub resident_bytes: u64,
    /// Milliseconds of CPU of each kind of thread.
    pub threads: BTreeMap<String, f64>,
}

/// A process that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What it is called in the report.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

struct Stat {
    name: String,
    parent: u32,
    ticks: u64,
}

/// What a process has taken so far; nothing when there is no such process.
pub fn taken(pid: u32) -> Option<Taken> {
    let stat = stat(&format!("/proc/{pid}/stat"))?;
    let mut threads = BTreeMap::new();
    for thread in entries(&format!("/proc/{pid}/task")) {
        if let Some(stat) = self::stat(&format!("/proc/{pid}/task/{thread}/stat")) {
            *threads.entry(kind(&stat.name)).or_insert(0.0) += millis(stat.ticks);
        }
    }
    Some(Taken {
        cpu_ms: millis(stat.ticks),
        resident_bytes: resident_bytes(pid).unwrap_or(0),
        threads,
    })
}

/// A process and all that it has started, by name. Left out are shells and what they hold pipes open with.
pub fn family(root: u32) -> Vec<Watched> {
    let all: Vec<(u32, Stat)> = entries("/proc")
        .into_iter()
        .filter_map(|pid| Some((pid, stat(&format!("/proc/{pid}/stat"))?)))
        .collect();
    let mut known = vec![root];
    let mut at = 0;
    while at < known.len() {
        let parent = known[at];
        let children = all.iter().filter(|(_, stat)| stat.parent == parent);
        known.extend(children.map(|(pid, _)| *pid));
        at += 1;
    }
    let named = known.into_iter().filter_map(|pid| {
        let (_, stat) = all.iter().find(|(found, _)| *found == pid)?;
        let is_helper = matches!(stat.name.as_str(), "sh" | "bash" | "dash" | "cat");
        (!is_helper).then(|| Watched {
            name: stat.name.clone(),
            pid,
        })
    });
    named.collect()
}

/// Who listens on an address of this machine, if this program may know.
pub fn listener(address: SocketAddr) -> Option<u32> {
    let port = format!(":{:04X}", address.port());
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // The tenth field is the socket; 0A is the state of one that listens.
            (fields.len() > 9 && fields[3] == "0A" && fields[1].ends_with(&port))
                .then(|| format!("socket:[{}]", fields[9]))
        })
        .collect();
    entries("/proc").into_iter().find(|pid| {
        let folder = format!("/proc/{pid}/fd");
        let Ok(descriptors) = std::fs::read_dir(folder) else {
            return false;
        };
        descriptors.flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path())
                .is_ok_and(|target| inodes.iter().any(|inode| target == Path::new(inode)))
        })
    })
}

/// Threads of one kind differ by a number or are cut off at 15 letters.
fn kind(name: &str) -> String {
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '#');
    match name {
        "tokio-runtime-w" | "tokio-rt-worker" => "async runtime".to_owned(),
        other => other.to_owned(),
    }
}

fn stat(path: &str) -> Option<Stat> {
    let text = std::fs::read_to_string(path).ok()?;
    // The name stands in parentheses and may hold anything, parentheses included.
    let (before, after) = text.split_once('(')?;
    let (name, after) = after.rsplit_once(')')?;
    before.trim().parse::<u32>().ok()?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let field = |number: usize| fields.get(number)?.parse::<u64>().ok();
    Some(Stat {
        name: name.to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        ticks: field(11)? + field(12)?,
    })
}

fn entries(folder: &str) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let number = |name: std::ffi::OsString| name.to_str()?.parse().ok();
    entries
        .flatten()
        .filter_map(|entry| number(entry.file_name()))
        .collect()
}

fn millis(ticks: u64) -> f64 {
    crate::number::float(ticks) * 1_000.0 / TICKS_PER_SECOND
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_time_and_memory_and_is_found_by_its_port() {
        let me = std::process::id();
        let taken = taken(me).unwrap();
        assert!(taken.resident_bytes > 1_000_000, "{taken:?}");
        assert!(!taken.threads.is_empty());
        assert!(family(me).iter().any(|watched| watched.pid == me));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(listener(socket.local_addr().unwrap()), Some(me));
    }

    #[test]
    fn a_child_belongs_to_its_family() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let family = family(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            family.iter().any(|watched| watched.pid == child.id()),
            "{family:?}"
        );
    }

    #[test]
    fn threads_of_one_kind_count_together() {
        assert_eq!(kind("tokio-rt-worker"), "async runtime");
        assert_eq!(kind("hasher-1"), "hasher");
        assert_eq!(kind("orders-writer"), "orders-writer");
    }
}
