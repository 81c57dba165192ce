//! One pod: its container in a real runtime, asked by its own probes, stopped as the kubelet stops it.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use manifests::Container;
use serde_json::Value;
use testkit::eventually_blocking;

use crate::command::{line, output, run};

/// How long the kernel and the runtime may take to tell of a process that has ended.
const ENDED_SECONDS_MAX: u64 = 30;

/// Where the pod is, and how to get there as its node does.
pub(crate) struct Place {
    pub(crate) node: String,
    pub(crate) address: Ipv4Addr,
}

/// A running container.
pub(crate) struct Pod {
    id: String,
    state: PathBuf,
    log: PathBuf,
    runtime: Child,
}

impl Pod {
    /// Starts a container from a bundle: a folder with a `config.json`.
    pub(crate) fn start(id: &str, bundle: &Path, state: &Path) -> Self {
        let log = bundle.join("log");
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log can be opened");
        let runtime = Command::new("runc")
            .arg("--root")
            .arg(state)
            .args(["run", "--bundle"])
            .arg(bundle)
            .arg(id)
            .stdin(std::process::Stdio::null())
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .expect("runc can be run");
        Self {
            id: id.to_owned(),
            state: state.to_owned(),
            log,
            runtime,
        }
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("a log can be read")
    }

    fn runc(&self, words: &str) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(&self.state).args(words.split_whitespace());
        runc
    }

    /// Its first process, as the machine numbers it.
    pub(crate) fn pid(&self) -> u64 {
        let state = run(self.runc("state").arg(&self.id));
        let state: Value = serde_json::from_str(&state).expect("a state is JSON");
        state["pid"].as_u64().expect("a running container has a process")
    }

    /// Waits until a probe of its manifest is content.
    pub(crate) fn await_probe(
        &mut self,
        container: Container<'_>,
        probe: &str,
        place: &Place,
        deadline: Duration,
    ) {
        let what = format!("the {probe} of {} to be content", self.id);
        let ended = eventually_blocking(&what, deadline, || {
            if let Some(status) = self.runtime.try_wait().expect("a child can be asked") {
                return Some(Some(status));
            }
            self.probe(container, probe, place).then_some(None)
        });
        if let Some(status) = ended {
            panic!("{} has ended ({status}):\n{}", self.id, self.log());
        }
    }

    /// Asks once, as the kubelet would.
    pub(crate) fn probe(&self, container: Container<'_>, probe: &str, place: &Place) -> bool {
        let probe = container
            .at(&format!("/{probe}"))
            .expect("a container has its probes");
        let seconds = probe["timeoutSeconds"].as_u64().unwrap_or(1);
        let port = |how: &str| {
            let wanted = &probe[how]["port"];
            let ports = container
                .at("/ports")
                .and_then(Value::as_array)
                .expect("a container has ports");
            let found = ports
                .iter()
                .find(|port| &port["name"] == wanted || &port["containerPort"] == wanted);
            found.expect("a probe asks a port that exists")["containerPort"]
                .as_u64()
                .expect("a port is a number")
        };
        let from_node = |words: String| line(&format!("ip netns exec {} {words}", place.node));
        if let Some(path) = probe["httpGet"]["path"].as_str() {
            let url = format!("http://{}:{}{path}", place.address, port("httpGet"));
            let curl = format!(
                "curl --silent --output /dev/null --write-out %{{http_code}} --max-time {seconds} {url}"
            );
            let answered = output(&mut from_node(curl));
            matches!(
                String::from_utf8_lossy(&answered.stdout).parse::<u16>(),
                Ok(200..=399)
            )
        } else if probe["tcpSocket"].is_object() {
            let socket = format!("/dev/tcp/{}/{}", place.address, port("tcpSocket"));
            let mut bash = from_node(format!("timeout {seconds} bash -c"));
            output(bash.arg(format!("exec 3<>{socket}"))).status.success()
        } else {
            let words = probe["exec"]["command"].as_array().expect("a probe asks somehow");
            let mut exec = self.runc("exec");
            exec.arg(&self.id).args(words.iter().filter_map(Value::as_str));
            output(&mut exec).status.success()
        }
    }

    /// As the kubelet stops a pod. What it ended with, and how long that took.
    pub(crate) fn terminate(&mut self, deadline: Duration) -> (ExitStatus, Duration) {
        let started = Instant::now();
        run(self.runc("kill").arg(&self.id).arg("TERM"));
        let status = self.await_end(deadline);
        (status, started.elapsed())
    }

    /// As the machine ends a process that has taken too much.
    pub(crate) fn kill(&mut self) {
        run(self.runc("kill").arg(&self.id).arg("KILL"));
        self.await_end(Duration::from_secs(ENDED_SECONDS_MAX));
    }

    /// Waits until it ends by itself.
    pub(crate) fn await_end(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("{} to end", self.id);
        eventually_blocking(&what, deadline, || {
            self.runtime.try_wait().expect("a child can be asked")
        })
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may have ended already, and then there is nobody to kill. Deleting comes last: a runtime whose container is
        // deleted under it waits for ever.
        drop(output(self.runc("kill").arg(&self.id).arg("KILL")));
        if let Err(error) = self.runtime.wait() {
            eprintln!("{} can't be waited for: {error}", self.id);
        }
        drop(output(self.runc("delete --force").arg(&self.id)));
    }
}
