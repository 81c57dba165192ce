//! A server that answers at once, except that it stands still once for a while. Small enough to be certain of.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// When it stands still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall {
    /// How long after it was first asked something.
    pub(crate) after: Duration,
    /// For how long.
    pub(crate) lasts: Duration,
}

/// Starts it.
pub(crate) async fn serve(stall: Stall) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("the loopback has a port");
    let address = listener.local_addr().expect("it is bound");
    let begun = Arc::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, stall, Arc::clone(&begun)));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, stall: Stall, begun: Arc<OnceLock<Instant>>) {
    let mut read = [0_u8; 4_096];
    loop {
        match stream.read(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let since = begun.get_or_init(Instant::now).elapsed();
        if since >= stall.after && since < stall.after + stall.lasts {
            tokio::time::sleep(stall.after + stall.lasts - since).await;
        }
        let answered = stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
        if answered.is_err() {
            return;
        }
    }
}
