//! How often Redis appends to a stream, one at a time and sixteen at a time, with its append-only file synced every second.
//!
//! The protocol is spoken by hand: two commands are all that is needed, and no client stands in between.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::LimitError;
use crate::number::{float, float_len, per, rounded};
use crate::redis_server::RedisServer;
use crate::results::Limit;

const LIMIT: &str = "XADD";

/// How many connections append.
const CONNECTIONS: usize = 50;

/// How many appends are under way on each connection.
const PIPELINES: [usize; 2] = [1, 16];

/// How long an envelope of an order is, about.
const ENTRY_BYTES: usize = 400;

/// Measures it for each depth of pipelines.
pub(super) async fn measure(below: &Path, each: Duration) -> Result<Vec<Limit>, LimitError> {
    let failed = |error: std::io::Error| LimitError::new(LIMIT, &error);
    std::fs::create_dir_all(below).map_err(failed)?;
    let dir = tempfile::tempdir_in(below).map_err(failed)?;
    let server = RedisServer::start(dir.path()).map_err(failed)?;
    let mut limits = Vec::new();
    for pipeline in PIPELINES {
        let begun = Instant::now();
        let mut appending = JoinSet::new();
        for _ in 0..CONNECTIONS {
            appending.spawn(append(server.address(), pipeline, begun + each));
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
