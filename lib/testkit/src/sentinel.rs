//! Two private redis-servers, one a copy of the other, and a Sentinel that makes the copy the master when the master is
//! gone.

use std::process::Child;
use std::time::Duration;

use tempfile::TempDir;

use crate::output::Output;
use crate::process::end;
use crate::redis_server::{address, begin, free_port, program, ready};
use crate::resp::{self, Reply};
use crate::{RedisOptions, RedisServer, eventually_blocking, temp_dir};

/// What the Sentinel calls the two.
const MASTER: &str = "shop";
/// How long a master is silent before it is taken for dead. Short, for a test, and long enough that a busy machine hardly
/// ever makes it a false alarm, which would be a failover like any other.
const DOWN_MILLIS: u64 = 3_000;
/// How long the Sentinel may take for anything. It pauses for half a minute when it finds that its own clock has jumped,
/// as it seems to on a busy machine.
const DONE_SECONDS_MAX: u64 = 180;
/// Between finding a port free and the Sentinel binding it, somebody else may take it.
const PORT_TRIES_MAX: usize = 10;

/// What servers and a Sentinel show and ask for over TLS: files in PEM, and what a login may do. Among themselves they speak
/// TLS, too; in the clear they answer the test, which has no login.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Whom they trust.
    pub ca: String,
    /// Their certificate and its key.
    pub cert: String,
    /// Its key.
    pub key: String,
    /// The name of the login.
    pub user: String,
    /// Its rules at the servers, the password among them.
    pub rules: String,
    /// Its rules at the Sentinel.
    pub sentinel_rules: String,
}

impl Guard {
    /// Names and values of the settings, the same for servers and Sentinel.
    fn settings(&self) -> [(&'static str, &str); 5] {
        [
            ("tls-cert-file", &self.cert),
            ("tls-key-file", &self.key),
            ("tls-ca-cert-file", &self.ca),
            ("tls-auth-clients", "yes"),
            ("tls-replication", "yes"),
        ]
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--user".to_owned(), self.user.clone()];
        arguments.extend(self.rules.split_whitespace().map(str::to_owned));
        for (name, value) in self.settings() {
            arguments.extend([format!("--{name}"), value.to_owned()]);
        }
        arguments
    }

    /// Makes a server listen for TLS, which it does until it is restarted; answers the port.
    fn listen(server: &RedisServer) -> u16 {
        // Between finding a port free and taking it, somebody else may take it: then the server says so, and goes on.
        let taken = (0..PORT_TRIES_MAX).map(|_| free_port()).find(|port| {
            let taken = server.command(&["CONFIG", "SET", "tls-port", &port.to_string()]);
            taken == Reply::Status("OK".to_owned())
        });
        taken.expect("there is a port for TLS")
    }
}

/// A master, its copy, and who watches over them. Dropping it kills all three.
pub struct Watched {
    servers: [RedisServer; 2],
    /// The ports under which these know each other, and others are told of them.
    known: [u16; 2],
    sentinel: Child,
    output: Output,
    port: u16,
    /// The Sentinel keeps its notes here.
    _dir: TempDir,
}

impl Watched {
    /// Blocks until the copy is one and the Sentinel knows both.
    ///
    /// # Panics
    /// When that does not come about.
    pub fn start() -> Self {
        let master = RedisServer::start();
        let of = format!("127.0.0.1 {}", master.port());
        let extra = ["--replicaof", &of, "--repl-diskless-sync-delay", "0"];
        let copy = RedisServer::with_arguments(RedisOptions::default(), extra.map(str::to_owned).to_vec());
        let known = [master.port(), copy.port()];
        Self::watch([master, copy], known, |_| String::new()).0
    }

    /// The same, all of it over TLS and with a login. Answers the port at which the Sentinel speaks TLS, too.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_guarded(guard: &Guard) -> (Self, u16) {
        let [master, copy] = [(); 2].map(|()| {
            let mut arguments = guard.arguments();
            arguments.extend(["--repl-diskless-sync-delay".to_owned(), "0".to_owned()]);
            RedisServer::with_arguments(RedisOptions::default(), arguments)
        });
        let known = [Guard::listen(&master), Guard::listen(&copy)];
        let told = copy.command(&["REPLICAOF", "127.0.0.1", &known[0].to_string()]);
        assert_eq!(told, Reply::Status("OK".to_owned()), "one of them is the copy");
        Self::watch([master, copy], known, |tls_port| {
            let settings = guard.settings().map(|(name, value)| format!("{name} {value}\n"));
            format!(
                "tls-port {tls_port}\nuser {} {}\n{}",
                guard.user,
                guard.sentinel_rules,
                settings.concat()
            )
        })
    }

    /// A Sentinel for these, with more in its notes, in which another port of its own may stand.
    fn watch(servers: [RedisServer; 2], known: [u16; 2], more: impl Fn(u16) -> String) -> (Self, u16) {
        let dir = temp_dir();
        for _ in 0..PORT_TRIES_MAX {
            let (port, other_port) = (free_port(), free_port());
            let notes = dir.path().join("sentinel.conf");
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\n{}sentinel monitor {MASTER} 127.0.0.1 {} 1\n\
                 sentinel down-after-milliseconds {MASTER} {DOWN_MILLIS}\nsentinel failover-timeout {MASTER} 6000\n",
                dir.path().display(),
                more(other_port),
                known[0]
            );
            std::fs::write(&notes, text).expect("a new directory can be written to");
            let mut command = program();
            command.arg(&notes).arg("--sentinel");
            let (mut sentinel, output) = begin(command);
            if !ready(&mut sentinel, port, "\nredis_mode:sentinel\r\n") {
                end(&mut sentinel);
                continue;
            }
            let watched = Self {
                servers,
                known,
                sentinel,
                output,
                port,
                _dir: dir,
            };
            watched.until("a copy is known and in step", || watched.copied().then_some(()));
            return (watched, other_port);
        }
        panic!("no Sentinel comes up");
    }

    /// `redis+sentinel://127.0.0.1:PORT/NAME`.
    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/{MASTER}", self.port)
    }

    /// The server that is the master now. A Sentinel that is busy is asked again.
    ///
    /// # Panics
    /// When the Sentinel names none of the two.
    pub fn master(&mut self) -> &mut RedisServer {
        let port = self.until("the Sentinel names a master", || self.named());
        self.server(port)
    }

    /// The server with this port.
    ///
    /// # Panics
    /// When it is none of the two.
    pub fn server(&mut self, port: u16) -> &mut RedisServer {
        self.servers
            .iter_mut()
            .find(|server| server.port() == port)
            .expect("it is one of the two")
    }

    /// kill -9 of the master; waits until the other one is it.
    ///
    /// # Panics
    /// When it does not become it.
    pub fn kill_master(&mut self) {
        let master = self.master();
        let before = master.port();
        master.kill();
        self.until_another_than(before);
    }

    /// Waits until another server than the one with this port is the master.
    ///
    /// # Panics
    /// When none becomes it.
    pub fn until_another_than(&self, port: u16) {
        self.until("the copy is the master", || {
            let named = self.named().filter(|named| *named != port)?;
            let role = resp::command(address(named), &[b"ROLE"]).ok()?;
            is_first(&role, "master").then_some(())
        });
    }

    /// Starts the server that was killed; waits until it is a copy of the other one, in step with it.
    ///
    /// # Panics
    /// When it does not become it.
    pub fn bring_back(&mut self) {
        let master = self.master().port();
        let gone = self.servers.iter_mut().find(|server| server.port() != master);
        gone.expect("there are two").restart();
        self.until("the one that came back is a copy", || self.copied().then_some(()));
    }

    /// Whether a server that the Sentinel knows as a copy of the master has all that the master has.
    fn copied(&self) -> bool {
        let Some(master) = self.named() else { return false };
        let Some(index) = self.servers.iter().position(|server| server.port() != master) else {
            return false;
        };
        let (copy, known_copy, known_master) =
            (&self.servers[index], self.known[index], self.known[1 - index]);
        let known = resp::command(address(self.port), &[b"SENTINEL", b"REPLICAS", MASTER.as_bytes()]);
        let port = known_copy.to_string();
        let known = matches!(known, Ok(Reply::Array(copies)) if copies.iter().any(|copy| names(copy, &port)));
        let info = resp::command(address(copy.port()), &[b"INFO", b"replication"]);
        let in_step = info.is_ok_and(|info| {
            info.text().is_some_and(|text| {
                text.contains("\nrole:slave\r\n")
                    && text.contains("\nmaster_link_status:up\r\n")
                    && text.contains(&format!("\nmaster_port:{known_master}\r\n"))
            })
        });
        known && in_step
    }

    /// The port, in the clear, of what the Sentinel calls the master.
    fn named(&self) -> Option<u16> {
        let asked: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", MASTER.as_bytes()];
        let known: u16 = match resp::command(address(self.port), &asked).ok()? {
            Reply::Array(parts) => parts.get(1)?.text()?.parse().ok()?,
            Reply::Status(_) | Reply::Error(_) | Reply::Integer(_) | Reply::Bulk(_) | Reply::Nil => {
                return None;
            }
        };
        let index = self.known.iter().position(|port| *port == known)?;
        Some(self.servers[index].port())
    }

    fn until<T>(&self, what: &str, probe: impl FnMut() -> Option<T>) -> T {
        let shown = Shown(&self.output);
        let found = eventually_blocking(what, Duration::from_secs(DONE_SECONDS_MAX), probe);
        drop(shown);
        found
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        end(&mut self.sentinel);
    }
}

/// Shows what the Sentinel has printed if a wait for it ends in a panic.
struct Shown<'a>(&'a Output);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- sentinel\n{}", self.0.text());
        }
    }
}

fn is_first(reply: &Reply, word: &str) -> bool {
    matches!(reply, Reply::Array(parts) if parts.first().and_then(Reply::text) == Some(word))
}

/// Whether a Sentinel's description of a server, names and values in turn, says this port and no trouble.
fn names(description: &Reply, port: &str) -> bool {
    let Reply::Array(parts) = description else {
        return false;
    };
    let value = |name: &str| {
        let mut pairs = parts.chunks_exact(2);
        pairs
            .find(|pair| pair[0].text() == Some(name))
            .and_then(|pair| pair[1].text())
    };
    value("port") == Some(port) && value("flags") == Some("slave")
}
