//! Auth as a process of its own: what it says, what it survives, and what it keeps to itself.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Client, Process, ProcessBuilder, RedisServer, temp_dir};

use crate::support::{PASSWORD, SOON, is_problem, who};

/// A second process on the same store is refused within this time: ten times what is promised, which the fault bench holds
/// it to on a machine that has nothing else to do (`./scripts/faults 27`).
const REFUSED_WITHIN: Duration = Duration::from_secs(20);

fn auth(dir: &Path, redis: &RedisServer) -> ProcessBuilder {
    Process::of("auth")
        .env("AUTH_LISTEN", "127.0.0.1:0")
        .env("BOXOFFICE_DATA_DIR", dir)
        .env("REDIS_URL", redis.url())
        .env("PUBLIC_URL", "https://tickets.example")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill() {
    let (redis, dir) = (RedisServer::start(), temp_dir());
    let mut process = auth(dir.path(), &redis).start();
    for number in 0..3 {
        let client = Client::new(process.base());
        let email = format!("ann{number}@example.org");
        let body = json!({"email": email, "password": PASSWORD});
        let up = client.post("/api/users/signup", &body).expect(201).await;
        process.kill();

        process = auth(dir.path(), &redis).start();
        let client = Client::new(process.base());
        let cookie = up.header("set-cookie").unwrap();
        let token = cookie.split(['=', ';']).nth(1).unwrap();
        let me = who(&client.with_bearer(token)).await;
        assert_eq!(me["email"], email, "the signing key is the same as before");
        client.post("/api/users/signin", &body).expect(200).await;
        client.post("/api/users/signup", &body).expect(409).await;

        client
            .with_bearer(token)
            .post("/api/users/signout", &json!({}))
            .expect(200)
            .await;
        process.kill();
        process = auth(dir.path(), &redis).start();
        let client = Client::new(process.base());
        assert_eq!(
            who(&client.with_bearer(token)).await,
            Value::Null,
            "an ended session stays ended"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_https_the_cookie_is_the_host_s_own() {
    let (redis, dir) = (RedisServer::start(), temp_dir());
    let process = auth(dir.path(), &redis).start();
    let client = Client::new(process.base());
    let body = json!({"email": "ann@example.org", "password": PASSWORD});
    for answer in [
        client.post("/api/users/signup", &body).expect(201).await,
        client.post("/api/users/signin", &body).expect(200).await,
        client.post("/api/users/signout", &json!({})).expect(200).await,
    ] {
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.starts_with("__Host-session="), "{cookie}");
        for attribute in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Secure"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.to_lowercase().contains("domain"), "{cookie}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_stay_out_of_logs_and_documents() {
    const CANARIES: [&str; 3] = ["canary-password-4711", "canary-wrong-4711", "canary@example.org"];
    let (redis, dir) = (RedisServer::start(), temp_dir());
    let mut process = auth(dir.path(), &redis)
        .env("RUST_LOG", "trace")
        .env("BOXOFFICE_LOG_FORMAT", "json")
        .start();
    let client = Client::new(process.base());
    let [password, wrong, email] = CANARIES;
    let up = json!({"email": email, "password": password});
    client.post("/api/users/signup", &up).expect(201).await;
    let token = client.cookie("__Host-session").unwrap();
    client
        .post("/api/users/signin", &json!({"email": email, "password": wrong}))
        .expect(400)
        .await;
    client
        .post("/api/users/signin", &json!({"email": email, "password": 4711}))
        .expect(400)
        .await;
    let put = json!({"current": password, "new": wrong});
    client
        .with_bearer(&token)
        .put("/api/users/password", &put)
        .expect(200)
        .await;
    let document = client.get("/api/openapi.json").expect(200).await.json();
    for path in [
        "signup",
        "signin",
        "signout",
        "password",
        "currentuser",
        "jwks.json",
    ] {
        assert!(
            document["paths"].get(format!("/api/users/{path}")).is_some(),
            "{path}"
        );
    }
    let metrics = client.get("/metrics").expect(200).await.text();
    let status = client.get("/internal/status").expect(200).await.text();
    process.wait_for_line("/internal/status", SOON);
    let logs = process.stderr();
    assert!(logs.contains("/api/users/password"), "{logs}");
    for secret in [password, wrong, email, &token] {
        for (place, text) in [("logs", &logs), ("metrics", &metrics), ("status", &status)] {
            assert!(!text.contains(secret), "{secret} in {place}");
        }
    }
}

/// Behind an ingress nobody should be able to ask for what is for the inside, whatever the ingress lets through.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_the_inside_may_have_a_port_of_its_own() {
    let (redis, dir) = (RedisServer::start(), temp_dir());
    let mut process = auth(dir.path(), &redis)
        .env("BOXOFFICE_INTERNAL_LISTEN", "127.0.0.1:0")
        .start();
    let line = process.wait_for_line("internal on http://", SOON);
    let inside = Client::new(line.trim_start_matches("internal on ").trim());
    let public = Client::new(process.base());
    let (who, keys) = ("/api/users/currentuser", "/internal/signing-keys");
    for path in ["/healthz", "/metrics", "/internal/status", keys] {
        is_problem(&public.get(path).send().await, 404);
    }
    public.get(who).expect(200).await;
    public.get("/api/openapi.json").expect(200).await;
    is_problem(&inside.get(who).send().await, 404);
    for path in ["/healthz", "/metrics", "/internal/status"] {
        inside.get(path).expect(200).await;
    }
    // Inside is not enough for what only an operator may do.
    is_problem(&inside.get(keys).send().await, 403);
    process.terminate();
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.printed());
}

#[test]
fn a_second_process_on_the_store_is_refused() {
    let (redis, dir) = (RedisServer::start(), temp_dir());
    let first = auth(dir.path(), &redis).start();
    let mut second = auth(dir.path(), &redis).spawn();
    let status = second.wait(REFUSED_WITHIN);
    assert_eq!(status.code(), Some(1), "{}", second.printed());
    let said = second.stderr();
    assert!(
        said.contains("auth: the auth store in ") && said.contains("in use"),
        "{said}"
    );
    drop(first);
}

#[test]
fn it_stops_when_it_is_told_to() {
    let (redis, dir) = (RedisServer::start(), temp_dir());
    let mut process = auth(dir.path(), &redis).start();
    process.terminate();
    assert_eq!(process.wait(SOON).code(), Some(0), "{}", process.printed());
}

#[test]
fn a_wrong_setting_is_named() {
    let (redis, dir) = (RedisServer::start(), temp_dir());
    for (variable, value) in [
        ("AUTH_LISTEN", "nonsense"),
        ("AUTH_THROTTLE", "sometimes"),
        ("AUTH_TRUSTED_PROXIES", "10.0.0.0/99"),
        ("AUTH_KEY_ROTATION_DAYS", "0"),
        ("BOXOFFICE_LOG_FORMAT", "xml"),
        ("RUST_LOG", "=nonsense=,,["),
        ("REDIS_URL", "mysql://nowhere"),
    ] {
        let mut process = auth(dir.path(), &redis).env(variable, value).spawn();
        let status = process.wait(SOON);
        assert!(!status.success(), "{variable}");
        assert!(
            process.stderr().contains(variable),
            "{variable}: {}",
            process.stderr()
        );
    }
    let mut help = auth(dir.path(), &redis).arg("--help").spawn();
    assert!(help.wait(SOON).success());
    for word in ["AUTH_LISTEN", "AUTH_THROTTLE", "127.0.0.1:8081", "PUBLIC_URL"] {
        assert!(help.printed().contains(word), "{word}: {}", help.printed());
    }
}
