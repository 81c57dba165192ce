//! Each control of the proxy, on real sockets.
#![allow(
    clippy::unwrap_used,
    reason = "clippy does not take helpers of tests for tests"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use testkit::{Direction, Proxy, RedisServer, eventually_blocking};

/// How long anything here may take before it counts as a failure.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long silence is listened to where silence is what is right.
const SILENCE: Duration = Duration::from_millis(150);

/// How long what nothing limits may take to pass on a busy machine.
const NO_LIMIT_MAX: Duration = Duration::from_secs(10);

/// A server that sends back what it gets, on threads that end with their connections.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut reader = stream.try_clone().unwrap();
                let mut writer = stream;
                // However it ends, the thread ends with it.
                drop(std::io::copy(&mut reader, &mut writer));
            });
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

/// Whether nothing comes for a moment; the connection must stay.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let mut byte = [0];
    let read = stream.read(&mut byte);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn end_of(stream: &mut TcpStream) -> std::io::Result<usize> {
    stream.read(&mut [0; 16])
}

#[test]
fn it_forwards_and_counts() {
    let proxy = Proxy::to(echo());
    let mut first = connect(&proxy);
    let mut second = connect(&proxy);
    assert_eq!(ask(&mut first, "hello").unwrap(), "hello");
    assert_eq!(ask(&mut second, "you").unwrap(), "you");
    assert_eq!((proxy.connections(), proxy.open_connections()), (2, 2));
    assert_eq!(Direction::BOTH.map(|direction| proxy.bytes(direction)), [8, 8]);
    first.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(
        end_of(&mut first).unwrap(),
        0,
        "the end of the stream is passed on both ways"
    );
    eventually_blocking("its connection is closed", PATIENCE, || {
        (proxy.open_connections() == 1).then_some(())
    });
}

#[test]
fn much_passes_unchanged() {
    let proxy = Proxy::to(echo());
    proxy.jitter(Direction::FromTarget, Duration::from_millis(2));
    let mut stream = connect(&proxy);
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let bytes = sent.clone();
    let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    let mut got = vec![0; sent.len()];
    stream.read_exact(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent, "something was changed or reordered on the way");
}

#[test]
fn a_delay_holds_each_byte_back_and_no_more() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    proxy.delay(Direction::ToTarget, Duration::from_millis(60));
    proxy.delay(Direction::FromTarget, Duration::from_millis(40));
    let begun = Instant::now();
    assert_eq!(ask(&mut stream, "slow").unwrap(), "slow");
    assert!(begun.elapsed() >= Duration::from_millis(100));
    // Sent one by one, fifty bytes are under way together: the delay is no limit to what passes.
    let begun = Instant::now();
    for _ in 0..50 {
        stream.write_all(b"x").unwrap();
    }
    stream.read_exact(&mut [0; 50]).unwrap();
    assert!(begun.elapsed() < NO_LIMIT_MAX, "{:?}", begun.elapsed());
}

#[test]
fn a_throttle_lets_so_much_through() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    proxy.throttle(Direction::ToTarget, Some(20_000));
    let begun = Instant::now();
    ask(&mut stream, &"x".repeat(10_000)).unwrap();
    assert!(
        begun.elapsed() >= Duration::from_millis(300),
        "{:?}",
        begun.elapsed()
    );
    proxy.throttle(Direction::ToTarget, None);
    let begun = Instant::now();
    ask(&mut stream, &"x".repeat(10_000)).unwrap();
    assert!(begun.elapsed() < NO_LIMIT_MAX, "{:?}", begun.elapsed());
}

#[test]
fn what_is_held_arrives_once_the_link_is_healed() {
    let proxy = Proxy::to(echo());
    let mut old = connect(&proxy);
    ask(&mut old, "before").unwrap();
    for direction in Direction::BOTH {
        proxy.hold(direction);
        old.write_all(b"held").unwrap();
        let mut new = connect(&proxy);
        new.write_all(b"too").unwrap();
        assert!(is_silent(&mut old) && is_silent(&mut new));
        proxy.heal();
        let mut answer = [0; 4];
        old.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"held");
        new.read_exact(&mut answer[..3]).unwrap();
    }
}

#[test]
fn what_is_swallowed_never_arrives_and_nothing_follows_it() {
    for direction in Direction::BOTH {
        let proxy = Proxy::to(echo());
        let mut lossy = connect(&proxy);
        let mut idle = connect(&proxy);
        ask(&mut lossy, "before").unwrap();
        ask(&mut idle, "before").unwrap();
        proxy.swallow(direction);
        lossy.write_all(b"gone").unwrap();
        assert!(is_silent(&mut lossy));
        // The proxy's own thread takes them, and may come to run only when silence was listened to already.
        eventually_blocking("they were swallowed", PATIENCE, || {
            (proxy.swallowed_bytes(direction) == 4).then_some(())
        });
        assert!(is_silent(&mut lossy));
        assert_eq!(proxy.open_connections(), 2, "the connection stays");
        proxy.heal();
        // A stream with a hole in it is nothing that TCP would deliver.
        assert_eq!(end_of(&mut lossy).unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(ask(&mut idle, "lost nothing").unwrap(), "lost nothing");
    }
}

#[test]
fn a_cut_link_refuses_and_closes_and_comes_back_on_its_port() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    ask(&mut stream, "before").unwrap();
    for _ in 0..3 {
        proxy.cut();
        // An orderly end or a RST: what was there is over.
        assert!(end_of(&mut stream).map_or(true, |read| read == 0));
        let refused = eventually_blocking("it refuses", PATIENCE, || {
            TcpStream::connect(proxy.address()).err()
        });
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.heal();
        stream = eventually_blocking("it is back", PATIENCE, || {
            TcpStream::connect(proxy.address()).ok()
        });
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(ask(&mut stream, "again").unwrap(), "again");
    }
}

#[test]
fn a_reset_ends_what_is_there_and_nothing_else() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    ask(&mut stream, "before").unwrap();
    proxy.reset();
    assert_eq!(
        end_of(&mut stream).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    let mut next = connect(&proxy);
    assert_eq!(ask(&mut next, "after").unwrap(), "after");
}

#[test]
fn a_flapping_link_goes_and_comes() {
    let proxy = Proxy::to(echo());
    proxy.flap(Duration::from_millis(100), Duration::from_millis(100));
    for _ in 0..2 {
        eventually_blocking("it is down", PATIENCE, || {
            TcpStream::connect(proxy.address()).err()
        });
        eventually_blocking("it is up", PATIENCE, || {
            let mut stream = TcpStream::connect(proxy.address()).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            ask(&mut stream, "up").ok()
        });
    }
    proxy.heal();
    eventually_blocking("it stays", PATIENCE, || {
        let mut stream = TcpStream::connect(proxy.address()).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        (0..30).all(|_| ask(&mut stream, "up").is_ok()).then_some(())
    });
}

#[test]
fn a_target_that_is_gone_is_a_reset_and_another_one_may_take_its_place() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Proxy::to(nobody);
    let mut stream = connect(&proxy);
    assert!(end_of(&mut stream).is_err());
    proxy.retarget(echo());
    assert_eq!(ask(&mut connect(&proxy), "here").unwrap(), "here");
}

#[test]
fn a_dropped_proxy_leaves_nothing_behind() {
    let proxy = Proxy::to(echo());
    let mut stream = connect(&proxy);
    ask(&mut stream, "before").unwrap();
    let address = proxy.address();
    drop(proxy);
    assert!(end_of(&mut stream).map_or(true, |read| read == 0));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn redis_is_reached_through_it() {
    let redis = RedisServer::start();
    let proxy = Proxy::to((Ipv4Addr::LOCALHOST, redis.port()).into());
    let mut stream = connect(&proxy);
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}
