//! How often Redis appends to a stream, one at a time and sixteen at a time, with its append-only file synced every second.
//!
//! The protocol is spoken by hand: two commands are all that is needed, and no client stands in between.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::LimitError;
use crate::number::{float, float_len, per, rounded};
use crate::results::Limit;

const LIMIT: &str = "XADD";

/// How many connections append.
const CONNECTIONS: usize = 50;

/// How many appends are under way on each connection.
const PIPELINES: [usize; 2] = [1, 16];

/// How long an envelope of an order is, about.
const ENTRY_BYTES: usize = 400;

/// How long redis-server may take to come up.
const START_SECONDS_MAX: u64 = 20;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it is gone.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Measures it for each depth of pipelines.
pub(super) async fn measure(below: &Path, each: Duration) -> Result<Vec<Limit>, LimitError> {
    let failed = |error: std::io::Error| LimitError::new(LIMIT, &error);
    std::fs::create_dir_all(below).map_err(failed)?;
    let dir = tempfile::tempdir_in(below).map_err(failed)?;
    let (_server, address) = start(dir.path()).await?;
    let mut limits = Vec::new();
    for pipeline in PIPELINES {
        let begun = Instant::now();
        let mut appending = JoinSet::new();
        for _ in 0..CONNECTIONS {
            appending.spawn(append(address, pipeline, begun + each));
        }
        let mut count = 0;
        while let Some(appended) = appending.join_next().await {
            let appended = appended.map_err(|error| LimitError::new(LIMIT, &error))?;
            count += appended.map_err(failed)?;
        }
        limits.push(Limit {
            name: format!("{LIMIT}, pipelines of {pipeline}"),
            value: rounded(per(float(count), begun.elapsed().as_secs_f64()), 1),
            unit: "/s".to_owned(),
            how: format!(
                "{CONNECTIONS} connections, entries of {ENTRY_BYTES} B, append-only file synced every second"
            ),
        });
    }
    Ok(limits)
}

async fn start(dir: &Path) -> Result<(Server, SocketAddr), LimitError> {
    let failed = |error: std::io::Error| LimitError::new(LIMIT, &error);
    let program = std::env::var_os("BOXOFFICE_REDIS_SERVER").filter(|named| !named.is_empty());
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let address = free.local_addr().map_err(failed)?;
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
        .spawn()
        .map_err(failed)?;
    let server = Server(child);
    let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() > deadline {
            return Err(LimitError::new(LIMIT, "redis-server does not come up"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok((server, address))
}

/// Appends until the deadline, and answers how often.
async fn append(address: SocketAddr, pipeline: usize, deadline: Instant) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let envelope = "x".repeat(ENTRY_BYTES);
    let parts = ["XADD", "limit", "*", "envelope", envelope.as_str()];
    let mut one = format!("*{}\r\n", parts.len());
    for part in parts {
        one.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    let request = one.repeat(pipeline);
    let mut read = vec![0_u8; 16 * 1_024];
    let mut rounds = 0_u64;
    while Instant::now() < deadline {
        stream.write_all(request.as_bytes()).await?;
        // A reply is `$length` and the id, each on a line of its own.
        let mut lines = 0;
        while lines < 2 * pipeline {
            let count = stream.read(&mut read).await?;
            if count == 0 || read[0] == b'-' {
                return Err(std::io::Error::other("redis-server refused to append"));
            }
            lines += read[..count].iter().filter(|byte| **byte == b'\n').count();
        }
        rounds += 1;
    }
    let entries = float_len(pipeline) * float(rounds);
    Ok(crate::number::whole(entries))
}
