//! Tokens that somebody has made up, at every service: refused, whatever they claim.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use http::Method;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use ring::{digest, hmac};
use serde_json::{Value, json};
use testkit::Client;

use crate::app::{App, NOBODYS_ID};
use crate::checks::problem;

/// A part of a token, read: 0 is its header, 1 are its claims.
pub(crate) fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).expect("a token has three parts");
    serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
}

/// A token with any header and claims and whatever `sign` makes of them.
pub(crate) fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!(
        "{}.{}",
        BASE64.encode(header.to_string()),
        BASE64.encode(claims.to_string())
    );
    let signature = BASE64.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// The forger's own key.
fn own_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[42; 32]).unwrap()
}

pub(crate) fn own_public() -> String {
    BASE64.encode(own_key().public_key().as_ref())
}

/// The name that the forger's key has by RFC 7638.
pub(crate) fn own_kid() -> String {
    let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, own_public());
    BASE64.encode(digest::digest(&digest::SHA256, jwk.as_bytes()))
}

pub(crate) fn signed_by_own(message: &[u8]) -> Vec<u8> {
    own_key().sign(message).as_ref().to_vec()
}

pub(crate) fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    object[name] = value;
    object
}

pub(crate) fn without(object: &Value, name: &str) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(name);
    object
}

/// Routes that need someone who is signed in, one of each service that knows people.
const ROUTES: [(Method, &str); 4] = [
    (Method::PUT, "/api/users/password"),
    (Method::GET, "/api/tickets?seller=me"),
    (Method::GET, "/api/orders"),
    (Method::GET, "/api/payments/0193a4b6-0c00-7000-8000-000000000001"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_is_nobody_s_at_every_service() {
    let app = App::start();
    let ann = app.person("ann").await;
    let good = ann.token();
    let (header, claims) = (part(&good, 0), part(&good, 1));
    let jwks = app.anyone().get("/api/users/jwks.json").expect(200).await.json();
    let public = crate::app::text(&jwks["keys"][0], "x");
    let hs256 = |key: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        token(&with(&header, "alg", json!("HS256")), &claims, move |message| {
            hmac::sign(&key, message).as_ref().to_vec()
        })
    };
    let parts: Vec<&str> = good.split('.').collect();
    let other_claims = BASE64.encode(with(&claims, "sub", json!(NOBODYS_ID)).to_string());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": own_public()});
    let mut flipped = BASE64.decode(parts[2]).unwrap();
    flipped[10] ^= 1;
    let mine = |header: &Value| token(header, &claims, signed_by_own);
    let forgeries = [
        (
            "an altered signature",
            format!("{}.{}.{}", parts[0], parts[1], BASE64.encode(&flipped)),
        ),
        (
            "somebody else's id",
            format!("{}.{other_claims}.{}", parts[0], parts[2]),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        (
            "half a signature",
            format!("{}.{}.{}", parts[0], parts[1], &parts[2][..43]),
        ),
        ("a signature too many", format!("{good}.{}", parts[2])),
        ("another key under the known name", mine(&header)),
        (
            "none",
            token(&with(&header, "alg", json!("none")), &claims, |_| Vec::new()),
        ),
        (
            "None",
            token(&with(&header, "alg", json!("None")), &claims, |_| Vec::new()),
        ),
        (
            "HS256 with the public key",
            hs256(&BASE64.decode(&public).unwrap()),
        ),
        ("HS256 with the public key as text", hs256(public.as_bytes())),
        ("HS256 with the key set", hs256(jwks.to_string().as_bytes())),
        ("RS256", mine(&with(&header, "alg", json!("RS256")))),
        ("ES256", mine(&with(&header, "alg", json!("ES256")))),
        ("no algorithm", mine(&without(&header, "alg"))),
        ("no name of a key", mine(&without(&header, "kid"))),
        ("its own key", mine(&with(&header, "jwk", jwk))),
        (
            "its own key set",
            mine(&with(&header, "jku", json!(format!("{}/keys", app.base())))),
        ),
        ("garbage", "garbage".to_owned()),
        ("three parts of garbage", "a.b.c".to_owned()),
        ("dots", "..".to_owned()),
        (
            "a header that is no object",
            format!("{}.{}.{}", BASE64.encode("[]"), parts[1], parts[2]),
        ),
        (
            "claims that are none",
            format!("{}.{}.{}", parts[0], BASE64.encode("{}"), parts[2]),
        ),
        ("padding", format!("{good}==")),
        ("ten kilobytes", "x".repeat(10 * 1024)),
        (
            "ten kilobytes of signature",
            format!("{}.{}.{}", parts[0], parts[1], "A".repeat(10 * 1024)),
        ),
    ];
    for (what, forged) in &forgeries {
        let by_cookie = app.anyone();
        by_cookie.set_cookie("session", forged);
        for client in [app.anyone().with_bearer(forged), by_cookie] {
            for (method, path) in ROUTES {
                let answer = client.request(method, path).send().await;
                assert_eq!(answer.status, 401, "{what} at {path}: {}", answer.text());
                problem(&answer, 401);
            }
            let who = client.get("/api/users/currentuser").expect(200).await.json();
            assert_eq!(who, json!({"currentUser": null}), "{what}");
            client.get("/api/tickets").expect(200).await;
        }
    }
    is_somebody(&ann).await;
}

/// Auth makes the keys and knows that there is no such one. The others can't know: it may be on its way.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_waited_for_and_never_a_401() {
    let app = App::start();
    let ann = app.person("ann").await;
    let (header, claims) = (part(&ann.token(), 0), part(&ann.token(), 1));
    for kid in [own_kid(), "../../dev/null".to_owned(), "' OR 1=1 --".to_owned()] {
        let forged = token(&with(&header, "kid", json!(kid)), &claims, signed_by_own);
        let client = app.anyone().with_bearer(forged);
        let ask = async |path: &str| client.get(path).send().await;
        let (tickets, orders, payments) = tokio::join!(
            ask("/api/tickets?seller=me"),
            ask("/api/orders"),
            ask("/api/payments/0193a4b6-0c00-7000-8000-000000000001"),
        );
        for answer in [tickets, orders, payments] {
            problem(&answer, 503);
        }
        problem(&client.put("/api/users/password", &json!({})).send().await, 401);
        let who = client.get("/api/users/currentuser").expect(200).await.json();
        assert_eq!(who, json!({"currentUser": null}), "{kid}");
    }
    // One whose time is over anyway is not waited for.
    let over = with(&claims, "exp", json!(1));
    let forged = token(&with(&header, "kid", json!(own_kid())), &over, signed_by_own);
    problem(
        &app.anyone().with_bearer(forged).get("/api/orders").send().await,
        401,
    );
}

async fn is_somebody(client: &Client) {
    for (method, path) in ROUTES {
        let answer = client.request(method, path).send().await;
        assert_ne!(answer.status, 401, "{}", answer.request);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_where_and_how_it_should() {
    let app = App::start();
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    let send = async |headers: &[(&str, String)]| {
        let client = app.anyone();
        let mut request = client.get("/api/orders");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send().await
    };
    let cookie = |token: &str| ("cookie", format!("session={token}"));
    let bearer = |token: &str| ("authorization", format!("Bearer {token}"));
    let (hers, his) = (ann.token(), bob.token());
    for headers in [
        vec![bearer(&hers)],
        vec![cookie(&hers)],
        vec![("authorization", format!("bearer {hers}"))],
        vec![("authorization", format!("BEARER   {hers}"))],
        vec![("cookie", format!("a=b; session={hers}; c=d"))],
        vec![("cookie", "a=b".to_owned()), cookie(&hers)],
        // Another scheme is a proxy's business.
        vec![("authorization", "Basic YTpi".to_owned()), cookie(&hers)],
    ] {
        assert_eq!(send(&headers).await.status, 200, "{headers:?}");
    }
    for headers in [
        vec![],
        vec![bearer("")],
        vec![("authorization", "Bearer".to_owned())],
        vec![("authorization", hers.clone())],
        vec![("authorization", format!("Basic {hers}"))],
        vec![("cookie", format!("Session={hers}"))],
        vec![("cookie", format!("xsession={hers}"))],
        vec![("cookie", format!("__Host-session={hers}"))],
        vec![("cookie", hers.clone())],
        vec![bearer(&hers), bearer(&his)],
        vec![bearer("nonsense"), cookie(&hers)],
        vec![("x-access-token", hers.clone())],
    ] {
        problem(&send(&headers).await, 401);
    }
    // The header wins over the cookie, and of two cookies the first is taken: never a mixture.
    ann.lists(1).await;
    let client = app.anyone();
    let request = client
        .get("/api/tickets?seller=me")
        .header("authorization", format!("Bearer {hers}"));
    let mine = request
        .header("cookie", format!("session={his}"))
        .expect(200)
        .await
        .json();
    assert_eq!(mine.as_array().map(Vec::len), Some(1));
}
