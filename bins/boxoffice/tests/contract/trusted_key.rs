//! Tokens signed with a key that the services trust: everything else in them must be right, too.

use serde_json::{Value, json};
use testkit::{Client, Process, RedisServer, TempDir, eventually, temp_dir};

use crate::app::SOON;
use crate::checks::problem;
use crate::forged_tokens::{own_kid, own_public, signed_by_own, token, with, without};

/// Services as processes of their own, and auth played: so this test has a key that they trust.
struct Trusting {
    services: Vec<Process>,
    redis: RedisServer,
    _dir: TempDir,
}

impl Trusting {
    fn start() -> Self {
        let (redis, dir) = (RedisServer::start(), temp_dir());
        let service = |name: &str| {
            Process::of(name)
                .arg("--listen")
                .arg("127.0.0.1:0")
                .arg("--data-dir")
                .arg(dir.path())
                .arg("--redis-url")
                .arg(redis.url())
                .arg("--public-url")
                .arg("http://localhost")
        };
        let services = vec![
            service("tickets").start(),
            service("orders").start(),
            service("payments")
                .arg("--stripe-secret-key")
                .arg("sk_test_boxoffice")
                .arg("--stripe-webhook-secret")
                .arg("whsec_boxoffice")
                .arg("--stripe-api-base")
                .arg("http://127.0.0.1:9")
                .start(),
        ];
        let trusting = Self {
            services,
            redis,
            _dir: dir,
        };
        trusting.publish_key();
        trusting
    }

    /// Says on the bus what auth would say: that from now on tokens are signed with this key.
    fn publish_key(&self) {
        let (kid, time) = (own_kid(), "2026-01-01T00:00:00Z");
        let envelope = json!({
            "id": "auth-1-1", "source": "auth", "type": "key:published", "subject": kid, "time": time,
            "dataschema": "urn:boxoffice:key:published:1", "traceparent": null, "epoch": 1, "seq": 1,
            "entityversion": 1, "cause": null,
            "data": {"kid": kid, "publicKey": own_public(), "usableFrom": time},
        })
        .to_string();
        let entry = [
            "XADD",
            "events:auth",
            "*",
            "seq",
            "1",
            "type",
            "key:published",
            "subject",
            &kid,
            "envelope",
            &envelope,
        ];
        self.redis.command(&entry).text().expect("redis takes the entry");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_key_does_not_make_every_token_good() {
    let world = Trusting::start();
    let header = json!({"typ": "JWT", "alg": "EdDSA", "kid": own_kid()});
    let now = now();
    let claims = json!({
        "sub": "0193a4b6-0c00-7000-8000-000000000007", "email": "ann@example.org",
        "sid": "0193a4b6-0c00-7000-8000-000000000008", "iat": now, "exp": now + 3_600, "aud": "boxoffice",
    });
    let sign = |header: &Value, claims: &Value| token(header, claims, signed_by_own);
    let routes: Vec<(String, &str)> = world
        .services
        .iter()
        .map(|service| service.base().to_owned())
        .zip([
            "/api/tickets?seller=me",
            "/api/orders",
            "/api/payments/0193a4b6-0c00-7000-8000-000000000001",
        ])
        .collect();
    // The forger of this test can sign: with nothing wrong the token is good everywhere.
    for (base, path) in &routes {
        let client = Client::new(base).with_bearer(sign(&header, &claims));
        eventually(&format!("{path} trusts the key"), SOON, async || {
            let answer = client.get(*path).send().await;
            (answer.status == 200 || answer.status == 404).then_some(())
        })
        .await;
    }
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": own_public()});
    let forgeries = [
        ("expired", sign(&header, &with(&claims, "exp", json!(now - 1)))),
        ("expired long ago", sign(&header, &with(&claims, "exp", json!(0)))),
        ("no expiry", sign(&header, &without(&claims, "exp"))),
        (
            "an expiry that is text",
            sign(&header, &with(&claims, "exp", json!("never"))),
        ),
        (
            "another audience",
            sign(&header, &with(&claims, "aud", json!("another system"))),
        ),
        ("no audience", sign(&header, &without(&claims, "aud"))),
        (
            "an audience of none",
            sign(&header, &with(&claims, "aud", json!([]))),
        ),
        ("nobody's", sign(&header, &without(&claims, "sub"))),
        (
            "a name instead of an id",
            sign(&header, &with(&claims, "sub", json!("admin"))),
        ),
        ("no session", sign(&header, &without(&claims, "sid"))),
        ("its own key", sign(&with(&header, "jwk", jwk), &claims)),
        (
            "its own key set",
            sign(&with(&header, "jku", json!("https://evil.example/keys")), &claims),
        ),
        (
            "a certificate",
            sign(&with(&header, "x5u", json!("https://evil.example/x")), &claims),
        ),
        ("a chain", sign(&with(&header, "x5c", json!(["AAAA"])), &claims)),
        (
            "something critical",
            sign(&with(&header, "crit", json!(["exp"])), &claims),
        ),
        ("no name of a key", sign(&without(&header, "kid"), &claims)),
        (
            "another algorithm",
            sign(&with(&header, "alg", json!("HS256")), &claims),
        ),
    ];
    for (what, forged) in forgeries {
        for (base, path) in &routes {
            let answer = Client::new(base).with_bearer(&forged).get(*path).send().await;
            assert_eq!(answer.status, 401, "{what} at {path}: {}", answer.text());
            problem(&answer, 401);
        }
    }
}

/// The time of the services, in seconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "whoever plays auth needs auth's clock, and auth is another process"
)]
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}
