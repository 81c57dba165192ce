//! A private redis-server for a laptop: started, watched, started again when it dies, and never left behind.
//!
//! Its data and append-only file lie in the data directory. It listens on a free port of the loopback address
//! only. It is started through a small shell that waits for the end of its standard input: this process holds the
//! other end, so that even after `kill -9` of this process the redis-server is stopped.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout_at};

/// How long a redis-server may take until it accepts connections.
const START_BOUND: Duration = Duration::from_secs(20);

/// How long one that is told to stop may take.
const STOP_BOUND: Duration = Duration::from_secs(2);

/// How long the redis-server of a killed predecessor may take to go: three seconds until its keeper kills it, and before and
/// after that what a busy machine and a slow disk take.
const PREDECESSOR_BOUND: Duration = Duration::from_secs(15);

/// How many ports are tried: between our look and redis-server's somebody may take the one that was free.
const PORT_TRIES_MAX: u32 = 10;

/// After how long one that runs and answers is believed to be ours though it could not note its process id.
const UNNOTED_BOUND: Duration = Duration::from_secs(2);

/// The wait between two looks at something that will change soon.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// The wait before a redis-server that died is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// Starts the command that follows, stops it when standard input ends, and ends when it does, so that whoever waits
/// for the keeper hears of its death. The input goes by another number, since a shell gives its background commands an
/// empty one; the watcher is stopped in the end, so that it never signals a stranger who was given the same number.
const KEEPER: &str = r#""$@" & child=$!; exec 3<&0; (cat <&3 >/dev/null; kill -TERM "$child"; sleep 3; kill -KILL "$child") 2>/dev/null & watcher=$!; wait "$child"; kill "$watcher" 2>/dev/null"#;

/// Its own files, in its folder.
const CONFIG_FILE: &str = "redis.conf";
const LOG_FILE: &str = "redis.log";

/// Why there is no redis-server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedisServerError {
    /// No program of that name.
    #[error(
        "redis-server is missing. ./scripts/run installs it; or install Redis 6.2 or newer, name its program in \
         BOXOFFICE_REDIS_SERVER, or name a running Redis in REDIS_URL"
    )]
    Missing,
    /// The program can't be started.
    #[error("{program} can't be started: {cause}")]
    Spawn {
        /// Which program.
        program: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Its folder can't be made, or no port is free.
    #[error("the private redis-server can't be prepared in {folder}: {cause}")]
    Prepare {
        /// Which folder.
        folder: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The one before is still running.
    #[error(
        "the redis-server (process {pid}) of an earlier run still uses {folder}; stop it and start again"
    )]
    Predecessor {
        /// Its process id.
        pid: i32,
        /// Which folder.
        folder: String,
    },
    /// It is there, but does not work.
    #[error(
        "{program} is no working redis-server. Correct BOXOFFICE_REDIS_SERVER or unset it, or name a running Redis in \
         REDIS_URL"
    )]
    NotWorking {
        /// Which program.
        program: String,
    },
    /// It ended at once, as it does when its port is taken.
    #[error("the private redis-server did not come up (it ended at once with {status}); {log} says why")]
    Ended {
        /// How.
        status: ExitStatus,
        /// Where it says why.
        log: String,
    },
    /// It does not answer.
    #[error("the private redis-server did not come up ({how}); {log} says why")]
    NotUp {
        /// What was seen of it.
        how: String,
        /// Where it says why.
        log: String,
    },
}

/// A running private redis-server.
pub(crate) struct RedisServer {
    program: OsString,
    folder: PathBuf,
    address: SocketAddr,
    password: String,
    keeper: Keeper,
}

/// The shell that keeps a redis-server, and our end of its standard input. It is held apart, since waiting for a child
/// closes the input that the child owns.
#[derive(Debug)]
struct Keeper {
    child: Child,
    input: Option<ChildStdin>,
}

impl RedisServer {
    /// Starts one with its data in `folder`, and waits until it accepts connections.
    ///
    /// # Errors
    /// See [`RedisServerError`].
    pub(crate) async fn start(folder: &Path, password: &str) -> Result<Self, RedisServerError> {
        let prepare = |cause| RedisServerError::Prepare {
            folder: folder.display().to_string(),
            cause,
        };
        std::fs::create_dir_all(folder).map_err(prepare)?;
        // Absolute, since redis-server changes into it.
        let folder = folder.canonicalize().map_err(prepare)?;
        wait_for_predecessor(&folder).await?;
        let program = find_program().ok_or(RedisServerError::Missing)?;
        check(&program).await?;
        write_config(&folder, password).map_err(prepare)?;
        let mut tries = 1;
        loop {
            // A note that is there afterwards is from now.
            forget_predecessor(&folder).map_err(prepare)?;
            let address = free_address().map_err(prepare)?;
            let mut server = Self {
                program: program.clone(),
                folder: folder.clone(),
                address,
                password: password.to_owned(),
                keeper: launch(&program, &folder, address)?,
            };
            match server.wait_until_up().await {
                Ok(()) => return Ok(server),
                Err(error @ RedisServerError::Ended { .. }) if tries < PORT_TRIES_MAX => {
                    tracing::warn!(%error, "redis-server is started again, on another port");
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The URL under which it is reached, now and after a restart.
    pub(crate) fn url(&self) -> String {
        format!("redis://:{}@{}/", self.password, self.address)
    }

    /// Starts it again whenever it ends, until `shutdown`; then stops it.
    pub(crate) async fn supervise(mut self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return self.stop().await,
                status = self.keeper.child.wait() => {
                    tracing::error!(?status, log = %self.log().display(), "redis-server ended; it is started again");
                }
            }
            loop {
                tokio::select! {
                    () = &mut shutdown => return,
                    () = sleep(RESTART_AFTER) => {}
                }
                match launch(&self.program, &self.folder, self.address) {
                    Ok(keeper) => {
                        self.keeper = keeper;
                        break;
                    }
                    Err(error) => tracing::error!(%error, "redis-server can't be started again yet"),
                }
            }
        }
    }

    /// Stops it, and waits until it has written its last.
    pub(crate) async fn stop(mut self) {
        // The keeper passes the end of its input on as SIGTERM.
        drop(self.keeper.input.take());
        if timeout_at(Instant::now() + STOP_BOUND, self.keeper.child.wait())
            .await
            .is_err()
        {
            tracing::warn!("redis-server did not stop within {STOP_BOUND:?}; it is left to its keeper");
        }
    }

    fn is_noted(&self) -> bool {
        pid_file(&self.folder).exists()
    }

    fn log(&self) -> PathBuf {
        self.folder.join(LOG_FILE)
    }

    async fn wait_until_up(&mut self) -> Result<(), RedisServerError> {
        let begun = Instant::now();
        let deadline = begun + START_BOUND;
        let not_up = |how: String| RedisServerError::NotUp {
            how,
            log: self.folder.join(LOG_FILE).display().to_string(),
        };
        while Instant::now() < deadline {
            let answers = matches!(
                timeout_at(deadline, TcpStream::connect(self.address)).await,
                Ok(Ok(_))
            );
            match self.keeper.child.try_wait() {
                // It notes itself once it has its port. Before that it may be a stranger who answers there.
                Ok(None) if answers && (self.is_noted() || begun.elapsed() > UNNOTED_BOUND) => return Ok(()),
                Ok(None) => {}
                Ok(Some(status)) => {
                    let log = self.log().display().to_string();
                    return Err(RedisServerError::Ended { status, log });
                }
                Err(error) => return Err(not_up(format!("it can't be watched: {error}"))),
            }
            sleep(LOOK_AGAIN_AFTER).await;
        }
        Err(not_up(format!("no answer within {} s", START_BOUND.as_secs())))
    }
}

/// Asks the program for its version: a mistake in its name should be told at once, and by name.
async fn check(program: &OsString) -> Result<(), RedisServerError> {
    let mut command = Command::new(program);
    command
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(_) | Err(_) => Err(RedisServerError::NotWorking {
            program: program.to_string_lossy().into_owned(),
        }),
    }
}

/// The password goes through a file that its owner alone can read: whoever can write events can forge a signing key,
/// and command lines are for everyone on the machine to see.
fn write_config(folder: &Path, password: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    writeln!(options.open(folder.join(CONFIG_FILE))?, "requirepass {password}")
}

fn launch(program: &OsString, folder: &Path, address: SocketAddr) -> Result<Keeper, RedisServerError> {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(KEEPER)
        .arg("redis-keeper")
        .arg(program)
        .arg(folder.join(CONFIG_FILE));
    command
        .arg("--bind")
        .arg(address.ip().to_string())
        .arg("--port")
        .arg(address.port().to_string());
    command
        .arg("--dir")
        .arg(folder)
        .arg("--pidfile")
        .arg(pid_file(folder))
        .arg("--logfile")
        .arg(folder.join(LOG_FILE));
    command.args([
        "--appendonly",
        "yes",
        "--appendfsync",
        "everysec",
        "--save",
        "",
        // Compressing its file takes as long as a seventh of all that Redis does here, and the disk has room.
        "--rdbcompression",
        "no",
        "--maxmemory-policy",
        "noeviction",
    ]);
    // A process group of its own: ctrl-C is for this process, which stops the others in order.
    command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(|cause| RedisServerError::Spawn {
        program: program.to_string_lossy().into_owned(),
        cause,
    })?;
    let input = child.stdin.take();
    Ok(Keeper { child, input })
}

fn pid_file(folder: &Path) -> PathBuf {
    folder.join("redis.pid")
}

/// A port that is free at this moment.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Takes away what one that is gone has noted.
fn forget_predecessor(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(pid_file(folder)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// After a kill of its parent a redis-server needs a moment to go; two must never write the same files.
async fn wait_for_predecessor(folder: &Path) -> Result<(), RedisServerError> {
    let Some(pid) = std::fs::read_to_string(pid_file(folder))
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok())
    else {
        return Ok(());
    };
    let deadline = Instant::now() + PREDECESSOR_BOUND;
    while runs_in(pid, folder) {
        if Instant::now() > deadline {
            return Err(RedisServerError::Predecessor {
                pid,
                folder: folder.display().to_string(),
            });
        }
        sleep(LOOK_AGAIN_AFTER).await;
    }
    Ok(())
}

/// Whether a process of that id runs in our folder: after a reboot the id may be anybody's. Where /proc is missing, the
/// id alone decides nothing.
fn runs_in(pid: i32, folder: &Path) -> bool {
    std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)
}

fn find_program() -> Option<OsString> {
    if let Some(named) = std::env::var_os("BOXOFFICE_REDIS_SERVER").filter(|named| !named.is_empty()) {
        return Some(named);
    }
    let path = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    candidates
        .into_iter()
        .find(|candidate| candidate.is_file())
        .map(PathBuf::into_os_string)
}
