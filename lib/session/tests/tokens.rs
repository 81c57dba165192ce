//! Tokens good and forged, revocation under a warm cache, and the extractors' answers.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it should be"
)]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRef;
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use events::{SessionId, SessionRevoked, Timestamp, UserId};
use http::{HeaderValue, Request, StatusCode};
use ring::hmac;
use serde_json::{Value, json};
use session::{
    Access, Claims, Cookies, CurrentUser, OptionalUser, SigningKey, TOKEN_SECONDS, Verifier, VerifyError,
};
use tower::ServiceExt as _;

const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

/// An id that was made `seconds` after [`NOW`].
fn id(seconds: i64, n: u16) -> String {
    let millis = NOW.as_millis() + seconds * 1_000;
    format!("{:08x}-{:04x}-7000-8000-{n:012x}", millis >> 16, millis & 0xffff)
}

fn user() -> UserId {
    id(-86_400, 1).parse().unwrap()
}

fn session(seconds: i64, n: u16) -> SessionId {
    id(seconds, n).parse().unwrap()
}

fn claims() -> Claims {
    Claims::new(user(), "ann@example.org", session(0, 2), NOW)
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

fn verifier() -> Verifier {
    let verifier = Verifier::new();
    verifier.publish_key(key().kid(), key().public_key()).unwrap();
    verifier
}

/// A token with any header and claims, signed with [`key`]'s private key.
fn signed(header: &Value, claims: &Value) -> String {
    let message = format!(
        "{}.{}",
        BASE64.encode(header.to_string()),
        BASE64.encode(claims.to_string())
    );
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    format!("{message}.{}", BASE64.encode(pair.sign(message.as_bytes())))
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "EdDSA", "kid": key().kid()})
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

#[test]
fn a_token_says_who_it_is() {
    let token = key().sign(&claims());
    let user = verifier().verify(&token, NOW).unwrap();
    assert_eq!(user.email, "ann@example.org");
    assert_eq!(user.issued_at, NOW);
    assert_eq!(user.expires_at, NOW.plus(Duration::from_secs(TOKEN_SECONDS)));
}

#[test]
fn the_forger_of_these_tests_can_sign() {
    let token = signed(&header(), &serde_json::to_value(claims()).unwrap());
    assert!(verifier().verify(&token, NOW).is_ok());
}

#[test]
fn forged_tokens_are_refused() {
    let verifier = verifier();
    let good = serde_json::to_value(claims()).unwrap();
    let token = key().sign(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let raw_public = BASE64.decode(key().public_key()).unwrap();
    let hs256 = {
        let message = format!(
            "{}.{}",
            BASE64.encode(with(header(), "alg", json!("HS256")).to_string()),
            BASE64.encode(good.to_string())
        );
        let mac = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &raw_public),
            message.as_bytes(),
        );
        format!("{message}.{}", BASE64.encode(mac))
    };
    let none = format!(
        "{}.{}.",
        BASE64.encode(with(header(), "alg", json!("none")).to_string()),
        parts[1]
    );
    let other_claims = BASE64.encode(with(good.clone(), "email", json!("eve@example.org")).to_string());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": key().public_key()});
    let without_kid = json!({"typ": "JWT", "alg": "EdDSA"});
    let mut without_exp = good.clone();
    without_exp.as_object_mut().unwrap().remove("exp");
    let mut without_aud = good.clone();
    without_aud.as_object_mut().unwrap().remove("aud");
    let corpus = [
        ("empty", String::new()),
        ("garbage", "garbage".into()),
        ("three garbage parts", "a.b.c".into()),
        ("not base64", "é.ü.ß".into()),
        ("huge", "a".repeat(1 << 20)),
        ("alg none", none),
        ("HS256 with the public key as secret", hs256),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        (
            "another's signature",
            format!(
                "{}.{}.{}",
                parts[0],
                parts[1],
                SigningKey::from_seed(&[8; 32])
                    .sign(&claims())
                    .rsplit('.')
                    .next()
                    .unwrap()
            ),
        ),
        (
            "claims exchanged",
            format!("{}.{other_claims}.{}", parts[0], parts[2]),
        ),
        ("four parts", format!("{token}.{}", parts[2])),
        (
            "wrong aud",
            signed(&header(), &with(good.clone(), "aud", json!("elsewhere"))),
        ),
        ("no aud", signed(&header(), &without_aud)),
        ("no exp", signed(&header(), &without_exp)),
        (
            "exp as text",
            signed(&header(), &with(good.clone(), "exp", json!("never"))),
        ),
        (
            "sub that is no id",
            signed(&header(), &with(good.clone(), "sub", json!("admin"))),
        ),
        (
            "jku",
            signed(&with(header(), "jku", json!("https://evil.example/jwks")), &good),
        ),
        ("jwk", signed(&with(header(), "jwk", jwk), &good)),
        (
            "x5u",
            signed(&with(header(), "x5u", json!("https://evil.example/x")), &good),
        ),
        ("crit", signed(&with(header(), "crit", json!(["exp"])), &good)),
        ("no kid", signed(&without_kid, &good)),
    ];
    for (name, token) in corpus {
        match verifier.verify(&token, NOW) {
            Err(VerifyError::Malformed(_) | VerifyError::WrongSignature) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_token_ends_with_its_time_cached_or_not() {
    let verifier = verifier();
    let token = key().sign(&claims());
    let end = NOW.plus(Duration::from_secs(TOKEN_SECONDS));
    assert!(
        verifier
            .verify(&token, end.minus(Duration::from_micros(1)))
            .is_ok()
    );
    assert_eq!(verifier.verify(&token, end), Err(VerifyError::Expired));
}

#[test]
fn a_retired_key_s_token_is_known_to_be_no_good() {
    let verifier = verifier();
    let token = key().sign(&claims());
    let end = NOW.plus(Duration::from_secs(TOKEN_SECONDS));
    verifier.retire_key(key().kid(), end);
    assert_eq!(verifier.verify(&token, NOW), Err(VerifyError::RetiredKey));
    assert_eq!(verifier.verify(&token, end), Err(VerifyError::Expired));
    verifier.publish_key(key().kid(), key().public_key()).unwrap();
    assert!(verifier.verify(&token, NOW).is_ok(), "it is good again");
    verifier.retire_key(key().kid(), end);
    verifier.forget_expired(end);
    assert!(matches!(
        verifier.verify(&token, NOW),
        Err(VerifyError::UnknownKey(_))
    ));
}

#[test]
fn retired_keys_are_remembered_within_bounds() {
    let verifier = verifier();
    let end = NOW.plus(Duration::from_secs(TOKEN_SECONDS));
    verifier.retire_key(key().kid(), end);
    let token = key().sign(&claims());
    for n in 0..2_000 {
        verifier.retire_key(&n.to_string(), NOW);
    }
    assert_eq!(verifier.verify(&token, NOW), Err(VerifyError::RetiredKey));
    for n in 0..1_000 {
        verifier.retire_key(&n.to_string(), end.plus(Duration::from_secs(1)));
    }
    assert!(matches!(
        verifier.verify(&token, NOW),
        Err(VerifyError::UnknownKey(_))
    ));
}

#[tokio::test]
async fn who_waits_for_a_key_that_is_retired_meanwhile_waits_no_longer() {
    let verifier = Verifier::new();
    let token = key().sign(&claims());
    let waiting = tokio::spawn({
        let verifier = verifier.clone();
        async move {
            verifier
                .verify_waiting(&token, NOW, Duration::from_secs(600))
                .await
        }
    });
    tokio::task::yield_now().await;
    verifier.retire_key(key().kid(), NOW.plus(Duration::from_secs(TOKEN_SECONDS)));
    assert_eq!(waiting.await.unwrap(), Err(VerifyError::RetiredKey));
}

fn revoked(session_id: Option<SessionId>, except: Option<SessionId>, before: Timestamp) -> SessionRevoked {
    SessionRevoked {
        user_id: user(),
        session_id,
        except,
        before,
        until: before.plus(Duration::from_secs(TOKEN_SECONDS)),
    }
}

#[test]
fn revocation_beats_the_cache() {
    let verifier = verifier();
    let now = NOW.plus(Duration::from_secs(60));
    let token = |sid| key().sign(&Claims::new(user(), "ann@example.org", sid, NOW));
    let (one, two, later) = (session(0, 2), session(1, 3), session(61, 4));
    for sid in [one, two, later] {
        assert!(verifier.verify(&token(sid), now).is_ok());
    }
    verifier.revoke(&revoked(Some(one), None, now));
    assert_eq!(verifier.verify(&token(one), now), Err(VerifyError::Revoked));
    assert!(verifier.verify(&token(two), now).is_ok());

    verifier.revoke(&revoked(None, Some(two), now));
    assert!(
        verifier.verify(&token(two), now).is_ok(),
        "the excepted session goes on"
    );
    verifier.revoke(&revoked(None, None, now));
    assert_eq!(verifier.verify(&token(two), now), Err(VerifyError::Revoked));
    assert!(
        verifier.verify(&token(later), now).is_ok(),
        "a later sign-in is good"
    );

    verifier.forget_expired(now.plus(Duration::from_secs(TOKEN_SECONDS - 1)));
    assert_eq!(verifier.verify(&token(one), now), Err(VerifyError::Revoked));
}

#[derive(Clone)]
struct App(Access);

impl FromRef<App> for Access {
    fn from_ref(app: &App) -> Self {
        app.0.clone()
    }
}

fn app(verifier: Verifier) -> Router {
    Router::new()
        .route("/mine", get(async |user: CurrentUser| user.email))
        .route(
            "/maybe",
            get(async |OptionalUser(user): OptionalUser| user.map_or("nobody".into(), |user| user.email)),
        )
        .with_state(App(Access::new(
            verifier,
            Cookies::for_site("http://localhost"),
            || NOW,
        )))
}

async fn ask(app: &Router, path: &str, headers: &[(&'static str, String)]) -> (StatusCode, String) {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_str(value).unwrap());
    }
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn bearer_wins_over_cookie_and_bad_tokens_are_401() {
    let app = app(verifier());
    let good = key().sign(&claims());
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let cookie = |token: &str| ("cookie", format!("a=b; session={token}"));
    let signed_in = (StatusCode::OK, "ann@example.org".to_owned());

    assert_eq!(ask(&app, "/mine", &[bearer(&good)]).await, signed_in);
    assert_eq!(ask(&app, "/mine", &[cookie(&good)]).await, signed_in);
    assert_eq!(
        ask(&app, "/mine", &[bearer(&good), cookie("bad")]).await,
        signed_in
    );
    assert_eq!(
        ask(
            &app,
            "/mine",
            &[("authorization", "Basic eA==".into()), cookie(&good)]
        )
        .await,
        signed_in
    );
    for headers in [
        vec![],
        vec![bearer("bad")],
        vec![bearer("bad"), cookie(&good)],
        vec![bearer(&good), bearer(&good)],
        vec![cookie("bad")],
    ] {
        assert_eq!(
            ask(&app, "/mine", &headers).await.0,
            StatusCode::UNAUTHORIZED,
            "{headers:?}"
        );
    }
    assert_eq!(ask(&app, "/maybe", &[]).await, (StatusCode::OK, "nobody".into()));
    assert_eq!(
        ask(&app, "/maybe", &[bearer("bad")]).await,
        (StatusCode::OK, "nobody".into())
    );
    assert_eq!(ask(&app, "/maybe", &[bearer(&good)]).await, signed_in);
}

#[tokio::test]
async fn an_unknown_key_is_waited_for_and_never_401() {
    let verifier = Verifier::new();
    let app = app(verifier.clone());
    let bearer = ("authorization", format!("Bearer {}", key().sign(&claims())));
    let (status, _) = ask(&app, "/mine", std::slice::from_ref(&bearer)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let waiting = tokio::spawn(async move { ask(&app, "/mine", &[bearer]).await });
    tokio::task::yield_now().await;
    verifier.publish_key(key().kid(), key().public_key()).unwrap();
    assert_eq!(waiting.await.unwrap(), (StatusCode::OK, "ann@example.org".into()));
}
