//! What the tests of every crate share: a private redis-server, a workspace program as a process, an HTTP
//! client that keeps cookies, a [`Proxy`] and a [`Disk`] that misbehave on demand, [`Chance`] that a seed
//! reproduces, and [`eventually`], which polls a condition until a deadline.
//!
//! All parts are real: real processes, real sockets on port 0 or a free port, real directories that vanish
//! with the test. Whatever is started here is killed when its handle is dropped. Nothing here fakes a part of
//! the system, and nothing here is ever linked into a program that ships.
//!
//! The functions panic where a test would: a failure message names what was awaited and shows what the
//! process in question has printed.

mod bin;
mod chance;
mod client;
pub mod disk;
mod eventually;
mod output;
mod process;
mod proxy;
mod redis_server;
mod resp;
mod sentinel;

pub use bin::bin;
pub use chance::Chance;
pub use client::{Answer, Client, ClientError, Request};
pub use disk::Disk;
pub use eventually::{eventually, eventually_blocking};
pub use process::{Process, ProcessBuilder};
pub use proxy::{Direction, Proxy};
pub use redis_server::{RedisOptions, RedisServer};
pub use resp::Reply;
pub use sentinel::{Guard, Watched};
pub use tempfile::TempDir;

/// A new directory that is deleted when the handle is dropped.
///
/// # Panics
/// When the system has no room for one.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new()
        .prefix("boxoffice-test-")
        .tempdir()
        .expect("a temporary directory can be made")
}
