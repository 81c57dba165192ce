//! A private redis-server for one test.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::output::Output;
use crate::process::{end, send};
use crate::resp::{self, Reply};
use crate::{eventually_blocking, temp_dir};

/// Between finding a port free and redis-server binding it, somebody else may take it.
const PORT_TRIES_MAX: usize = 10;
/// How long redis-server may take to come up, an append-only file to read included.
const START_SECONDS_MAX: u64 = 20;
/// What a server says of itself once it has read its file; until then it answers this, and hardly anything else.
const LOADED: &str = "\nloading:0\r\n";

/// How the server is to keep its data.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// Writes an append-only file (`everysec`), which a restart reads; without it a restart begins empty.
    pub append_only: bool,
    /// Refuses writes beyond this much memory (`noeviction`), as a full Redis would.
    pub memory_bytes_max: Option<u64>,
}

/// A private redis-server with a directory and a port of its own. Dropping it kills it.
pub struct RedisServer {
    child: Child,
    output: Output,
    port: u16,
    options: RedisOptions,
    extra: Vec<String>,
    dir: TempDir,
}

impl RedisServer {
    /// One that keeps nothing over a restart. Blocks until it answers.
    ///
    /// # Panics
    /// When redis-server is not installed or does not come up.
    pub fn start() -> Self {
        Self::with(RedisOptions::default())
    }

    /// One with the given options. Blocks until it answers.
    ///
    /// # Panics
    /// When redis-server is not installed or does not come up.
    pub fn with(options: RedisOptions) -> Self {
        Self::with_arguments(options, Vec::new())
    }

    /// One with the given options and more arguments, such as `--replicaof HOST PORT`. Blocks until it answers, in the
    /// clear and to whoever has no password.
    ///
    /// # Panics
    /// When redis-server is not installed or does not come up.
    pub fn with_arguments(options: RedisOptions, extra: Vec<String>) -> Self {
        let dir = temp_dir();
        let mut printed = String::new();
        for _ in 0..PORT_TRIES_MAX {
            let port = free_port();
            let (mut child, output) = spawn(&options, &extra, dir.path(), port);
            if ready(&mut child, port, LOADED) {
                return Self {
                    child,
                    output,
                    port,
                    options,
                    extra,
                    dir,
                };
            }
            end(&mut child);
            printed = output.text();
        }
        panic!("redis-server does not come up\n{printed}");
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it keeps its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Sends a command on a connection of its own: to look inside, or to damage.
    ///
    /// # Panics
    /// When the server can't be reached. An error that it answers is a [`Reply::Error`].
    pub fn command<P: AsRef<[u8]>>(&self, parts: &[P]) -> Reply {
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        resp::command(self.address(), &parts)
            .unwrap_or_else(|error| panic!("redis-server did not answer: {error}\n{}", self.output.text()))
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// Comes back on the same port and directory, killed before if it still ran.
    ///
    /// # Panics
    /// When it does not come up again.
    pub fn restart(&mut self) {
        end(&mut self.child);
        for _ in 0..PORT_TRIES_MAX {
            (self.child, self.output) = spawn(&self.options, &self.extra, self.dir.path(), self.port);
            if ready(&mut self.child, self.port, LOADED) {
                return;
            }
            end(&mut self.child);
        }
        panic!("redis-server does not come up again\n{}", self.output.text());
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub fn stop(&self) {
        send(&self.child, Signal::STOP);
    }

    /// SIGCONT: goes on after [`Self::stop`].
    pub fn resume(&self) {
        send(&self.child, Signal::CONT);
    }

    fn address(&self) -> SocketAddr {
        address(self.port)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

pub(crate) fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(address(0)).expect("the loopback has a free port");
    listener
        .local_addr()
        .expect("a bound listener has an address")
        .port()
}

/// redis-server, not started yet.
pub(crate) fn program() -> Command {
    // The scripts say which one to use where it is not in PATH.
    let program = std::env::var_os("BOXOFFICE_REDIS_SERVER").filter(|named| !named.is_empty());
    Command::new(program.unwrap_or_else(|| "redis-server".into()))
}

fn spawn(options: &RedisOptions, extra: &[String], dir: &Path, port: u16) -> (Child, Output) {
    let mut command = program();
    command
        .args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--port",
            &port.to_string(),
            "--dir",
        ])
        .arg(dir)
        .args(["--appendonly", if options.append_only { "yes" } else { "no" }])
        .args(["--appendfsync", "everysec", "--daemonize", "no"]);
    if let Some(bytes) = options.memory_bytes_max {
        command.args([
            "--maxmemory",
            &bytes.to_string(),
            "--maxmemory-policy",
            "noeviction",
        ]);
    }
    command.args(extra);
    begin(command)
}

/// Starts it, and collects what it prints.
pub(crate) fn begin(mut command: Command) -> (Child, Output) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server can't be started (is it installed?): {error}"));
    // redis-server logs to stdout, and a pipe that nobody reads would stop it once it is full.
    let output = Output::collect(child.stdout.take().expect("stdout was asked to be piped"));
    (child, output)
}

/// Whether it answers, and says so of itself; false if it ended instead, which is what a taken port looks like.
pub(crate) fn ready(child: &mut Child, port: u16, says: &str) -> bool {
    // A stranger may have taken the port: only a server that runs as our own child counts.
    let pid = format!("process_id:{}\r\n", child.id());
    eventually_blocking(
        "redis-server answers",
        Duration::from_secs(START_SECONDS_MAX),
        || {
            let info = resp::command(address(port), &[b"INFO"]);
            let ready = info.is_ok_and(|reply| {
                reply
                    .text()
                    .is_some_and(|text| text.contains(&pid) && text.contains(says))
            });
            let ended = child
                .try_wait()
                .expect("a child of ours can be waited for")
                .is_some();
            if ready { Some(true) } else { ended.then_some(false) }
        },
    )
}
