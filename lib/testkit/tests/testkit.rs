//! The kit itself, on real processes and sockets.

use std::time::Duration;

use testkit::{Client, Process, RedisOptions, RedisServer, Reply, eventually, eventually_blocking};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[test]
fn a_redis_server_answers_and_forgets_over_a_restart() {
    let mut redis = RedisServer::start();
    assert_eq!(redis.command(&["SET", "a", "1"]), Reply::Status("OK".into()));
    assert_eq!(redis.command(&["GET", "a"]), Reply::Bulk("1".into()));
    assert!(matches!(redis.command(&["NONSENSE"]), Reply::Error(_)));
    let port = redis.port();
    redis.kill();
    redis.restart();
    assert_eq!(redis.port(), port);
    assert_eq!(redis.command(&["GET", "a"]), Reply::Nil);
}

#[test]
fn an_append_only_file_survives_a_restart() {
    let mut redis = RedisServer::with(RedisOptions {
        append_only: true,
        memory_bytes_max: None,
    });
    redis.command(&["RPUSH", "list", "a", "b"]);
    // `everysec` promises nothing before its sync, but a killed process loses only what it had not written.
    eventually_blocking("the file is written", Duration::from_secs(5), || {
        let info = redis.command(&["INFO", "persistence"]);
        info.text()?.contains("aof_pending_bio_fsync:0").then_some(())
    });
    redis.restart();
    let both = Reply::Array(vec![Reply::Bulk("a".into()), Reply::Bulk("b".into())]);
    assert_eq!(redis.command(&["LRANGE", "list", "0", "-1"]), both);
}

#[test]
fn a_full_redis_refuses_writes() {
    let redis = RedisServer::with(RedisOptions {
        append_only: false,
        memory_bytes_max: Some(1_500_000),
    });
    let big = "x".repeat(1_000_000);
    let answers: Vec<Reply> = (0..4)
        .map(|i| redis.command(&["SET", &format!("k{i}"), &big]))
        .collect();
    assert!(
        answers
            .iter()
            .any(|reply| matches!(reply, Reply::Error(text) if text.starts_with("OOM")))
    );
}

#[test]
fn a_stopped_redis_answers_again_once_it_goes_on() {
    let redis = RedisServer::start();
    redis.stop();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| redis.command(&["PING"]));
        redis.resume();
        assert_eq!(
            waiting.join().expect("the command ends"),
            Reply::Status("PONG".into())
        );
    });
}

fn shell(script: &str) -> testkit::ProcessBuilder {
    Process::at("/bin/sh").arg("-c").arg(script)
}

#[test]
fn a_process_is_started_watched_and_ended() {
    let mut process =
        shell("echo listening on http://127.0.0.1:1/; echo oops >&2; exec cat /dev/zero >/dev/null")
            .env("A", "b")
            .start();
    assert_eq!(process.base(), "http://127.0.0.1:1");
    process.wait_for_line("oops", Duration::from_secs(5));
    assert!(process.ended().is_none());
    process.stop();
    process.resume();
    process.terminate();
    assert!(!process.wait(Duration::from_secs(5)).success());
    let mut again = process.builder().start();
    again.kill();
    assert!(again.ended().is_some());
}

#[test]
#[should_panic(expected = "never said where it listens")]
fn a_process_that_refuses_to_start_fails_the_test_with_its_words() {
    shell("echo the store is in use >&2; exit 1").start();
}

#[tokio::test]
#[should_panic(expected = "not within 50ms: pigs fly")]
async fn eventually_gives_up() {
    eventually("pigs fly", Duration::from_millis(50), || async { None::<()> }).await;
}

#[tokio::test]
async fn the_client_keeps_cookies_and_sends_what_it_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let server = tokio::spawn(async move {
        let mut seen = Vec::new();
        for set_cookie in ["session=abc; HttpOnly; Path=/", "session=; Max-Age=0"] {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut buffer = vec![0; 4096];
            let length = socket.read(&mut buffer).await.expect("a request");
            seen.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            let answer = format!(
                "HTTP/1.1 201 Created\r\nset-cookie: {set_cookie}\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{{\"id\":\"x\"}}"
            );
            socket.write_all(answer.as_bytes()).await.expect("an answer");
        }
        seen
    });
    let client = Client::new(&base);
    let answer = client.form("/first", &[("a b", "c&d")]).expect(201).await;
    assert_eq!(answer.field("id"), "x");
    assert_eq!(client.cookie("session").as_deref(), Some("abc"));
    client
        .with_bearer("token")
        .get("/second")
        .header("if-match", "\"1\"")
        .expect(201)
        .await;
    assert_eq!(client.cookie("session"), None);
    let seen = server.await.expect("the server ends");
    assert!(
        seen[0].starts_with("POST /first ") && seen[0].ends_with("a+b=c%26d"),
        "{seen:?}"
    );
    assert!(
        seen[1].contains("cookie: session=abc") && seen[1].contains("authorization: Bearer token"),
        "{seen:?}"
    );
    assert!(
        client.get("/third").try_send().await.is_err(),
        "nobody listens any more"
    );
}
