//! A program of the workspace as a real process: started, watched, signalled, killed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::output::Output;
use crate::{bin, eventually_blocking};

/// What a program prints on stdout once it accepts connections; the rest of the line is its address.
const LISTENING: &str = "listening on ";
/// How long a program may take to come up; debug builds on two busy cores are slow.
const START_SECONDS_MAX: u64 = 60;
/// How long what a program has printed may take to arrive once it has ended.
const LAST_WORDS_SECONDS_MAX: u64 = 5;

/// How to start a program; [`Process::of`] begins one.
#[derive(Debug, Clone)]
pub struct ProcessBuilder {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    start_max: Duration,
}

/// A running program. Dropping it kills it.
pub struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
    base: String,
    builder: ProcessBuilder,
}

impl ProcessBuilder {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The same, by another program.
    #[must_use]
    pub fn by(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// The same program as another build has it: the file of its name in `folder`.
    ///
    /// # Panics
    /// When the program is no file.
    #[must_use]
    pub fn of_build(mut self, folder: &Path) -> Self {
        let name = self.program.file_name().expect("a program is a file");
        self.program = folder.join(name);
        self
    }

    /// How long [`Self::start`] waits for the line with the address.
    #[must_use]
    pub fn start_within(mut self, start_max: Duration) -> Self {
        self.start_max = start_max;
        self
    }

    /// Starts it and waits for its `listening on http://…` line.
    ///
    /// # Panics
    /// When it ends or the time passes before that line; the message shows what it printed.
    pub fn start(self) -> Process {
        let mut process = self.spawn();
        let address = process.stdout.wait_for(process.builder.start_max, |line| {
            let at = line.find(LISTENING)? + LISTENING.len();
            line[at..].split_whitespace().next().map(str::to_owned)
        });
        match address {
            Some(address) => process.base = address.trim_end_matches('/').to_owned(),
            None => panic!(
                "{} never said where it listens\n{}",
                process.name(),
                process.printed()
            ),
        }
        process
    }

    /// Starts it without waiting for anything: for programs that are meant to refuse or to end.
    ///
    /// # Panics
    /// When the system can't start it.
    pub fn spawn(self) -> Process {
        let mut child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} can't be started: {error}", self.program.display()));
        let stdout = Output::collect(child.stdout.take().expect("stdout was asked to be piped"));
        let stderr = Output::collect(child.stderr.take().expect("stderr was asked to be piped"));
        Process {
            child,
            stdout,
            stderr,
            base: String::new(),
            builder: self,
        }
    }
}

impl Process {
    /// The workspace program `name`, not started yet.
    pub fn of(name: &str) -> ProcessBuilder {
        Self::at(bin(name))
    }

    /// Any program, not started yet.
    pub fn at(program: impl Into<PathBuf>) -> ProcessBuilder {
        ProcessBuilder {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            start_max: Duration::from_secs(START_SECONDS_MAX),
        }
    }

    /// Where it listens, as it printed it: `http://127.0.0.1:41234`. Empty when it was only spawned.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed on stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has printed on stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for a line of stdout or stderr that contains `text`.
    ///
    /// # Panics
    /// When it ends or the deadline passes before; the message shows what it printed.
    pub fn wait_for_line(&mut self, text: &str, deadline: Duration) -> String {
        let what = format!("{} prints `{text}`", self.name());
        eventually_blocking(&what, deadline, || {
            let pick = |line: &str| line.contains(text).then(|| line.to_owned());
            let found = [&self.stdout, &self.stderr]
                .into_iter()
                .find_map(|output| output.wait_for(Duration::ZERO, pick));
            assert!(
                found.is_some() || self.ended().is_none(),
                "{what}, but it ended\n{}",
                self.printed()
            );
            found
        })
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// When the system can't tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Waits for it to end by itself; all that it has printed is there afterwards.
    ///
    /// # Panics
    /// When it still runs after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} ends", self.name());
        let status = eventually_blocking(&what, deadline, || self.ended());
        // Its last words may still be in the pipes.
        for output in [&self.stdout, &self.stderr] {
            output.wait_for_end(Duration::from_secs(LAST_WORDS_SECONDS_MAX));
        }
        status
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours can be killed");
        self.child.wait().expect("a killed child can be waited for");
    }

    /// SIGTERM: asks it to end; [`Self::wait`] sees whether it does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// SIGINT: what ctrl-C sends; [`Self::wait`] sees whether it ends.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// SIGSTOP: it stands still, its sockets stay open.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT: it goes on after [`Self::stop`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// How it was started, to start another one like it: same arguments, same environment.
    pub fn builder(&self) -> ProcessBuilder {
        self.builder.clone()
    }

    /// All that it printed, for a failure message.
    pub fn printed(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", self.stdout(), self.stderr())
    }

    fn name(&self) -> String {
        let name = self
            .builder
            .program
            .file_name()
            .unwrap_or(self.builder.program.as_os_str());
        name.to_string_lossy().into_owned()
    }

    fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Sends a signal to a child of ours.
pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a child has a process id");
    // A child that was not waited for keeps its id, so this can't hit a stranger; that it ended already is
    // for the caller to see.
    rustix::process::kill_process(pid, signal).expect("a child of ours can be signalled");
}

/// Kills and reaps a child whatever its state; for drops, where a child that is already gone is fine.
pub(crate) fn end(child: &mut Child) {
    let killed = child.kill();
    let reaped = child.wait();
    if let Err(error) = killed.and(reaped.map(drop)) {
        eprintln!("testkit could not end process {}: {error}", child.id());
    }
}
