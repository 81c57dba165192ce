//! The redis-server that `boxoffice` starts for itself, seen from outside: which process it is, and whether it goes.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use testkit::eventually_blocking;

/// How long the private redis-server of a system that is ready may take to say which process it is.
const REDIS_RUNS_MAX: Duration = Duration::from_secs(30);

/// How long a private redis-server may outlive the process that started it: its keeper gives it three seconds to stop by
/// itself, and must come to run for that, on a busy machine.
const REDIS_GONE_MAX: Duration = Duration::from_secs(30);

/// The redis-server that a `boxoffice` on some data directory has started for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PrivateRedis {
    pid: i32,
}

impl PrivateRedis {
    /// The one of this data directory; it notes its process id a moment after it has begun to accept connections.
    pub(crate) fn of(data_dir: &Path) -> Self {
        eventually_blocking("the private redis-server runs", REDIS_RUNS_MAX, || {
            Self::if_it_runs(data_dir)
        })
    }

    /// The same, while there may be none: what the file names may be gone already.
    pub(crate) fn if_it_runs(data_dir: &Path) -> Option<Self> {
        let noted = std::fs::read_to_string(data_dir.join("redis").join("redis.pid")).ok()?;
        let redis = Self {
            pid: noted.trim().parse().ok()?,
        };
        redis.runs().then_some(redis)
    }

    /// kill -9. What its file names lies in the test's own directory, and so it is nobody else's.
    pub(crate) fn kill(self) {
        let pid = Pid::from_raw(self.pid).expect("a process id");
        rustix::process::kill_process(pid, Signal::KILL).expect("a process of this test can be killed");
    }

    /// Fails the test if it is still there after a moment.
    pub(crate) fn is_gone_soon(self) {
        eventually_blocking("the private redis-server is gone", REDIS_GONE_MAX, || {
            (!self.runs()).then_some(())
        });
    }

    fn runs(self) -> bool {
        let command_line = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&command_line).contains("redis-server")
    }
}
