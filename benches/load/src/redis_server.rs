//! A redis-server of our own: with an append-only file that is synced every second, as the system's own.

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to come up.
const START_SECONDS_MAX: u64 = 20;

/// A redis-server; killed when this is dropped: nothing in it is worth keeping.
#[derive(Debug)]
pub struct RedisServer {
    child: Child,
    address: SocketAddr,
}

impl RedisServer {
    /// Starts one on a free port, with its files in `dir`, and waits until it can be reached.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start(dir: &Path) -> Result<Self> {
        let program = std::env::var_os("BOXOFFICE_REDIS_SERVER").filter(|named| !named.is_empty());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = free.local_addr()?;
        drop(free);
        let child = Command::new(program.unwrap_or_else(|| "redis-server".into()))
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &address.port().to_string(),
                "--dir",
            ])
            .arg(dir)
            .args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                return Err(std::io::Error::other("redis-server does not come up"));
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a poll with a deadline; nothing runs beside it"
            )]
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `redis://…`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Both fail only when it is gone.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
