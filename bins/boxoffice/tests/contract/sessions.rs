//! Sessions that end: signing out, here and everywhere, and a new password.

use http::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::{Client, eventually};

use crate::app::{App, NOBODYS_ID, PASSWORD};
use crate::checks::{blames, problem, says};

/// A session that has ended is refused by every service within this time: ten times what is promised, which the fault bench
/// holds all services to on a machine that has nothing else to do (`./scripts/faults 32`).
const REVOCATION_SECONDS_MAX: u64 = 20;

async fn sign_in(app: &App, email: &str, password: &str) -> Client {
    let client = app.anyone();
    let body = json!({"email": email, "password": password});
    client.post("/api/users/signin", &body).expect(200).await;
    // As a bearer's token it outlives a cleared cookie.
    app.anyone().with_bearer(client.cookie("session").unwrap())
}

async fn who(client: &Client) -> Value {
    client.get("/api/users/currentuser").expect(200).await.json()["currentUser"].clone()
}

/// One route of each service that knows people, and of auth.
const ROUTES: [(Method, &str); 4] = [
    (Method::PUT, "/api/users/password"),
    (Method::GET, "/api/tickets?seller=me"),
    (Method::GET, "/api/orders"),
    (Method::GET, "/api/payments/{id}"),
];

async fn is_signed_in(client: &Client) {
    for (method, path) in ROUTES {
        let answer = client
            .request(method, path.replace("{id}", NOBODYS_ID))
            .send()
            .await;
        assert_ne!(answer.status, 401, "{}", answer.request);
    }
    assert_ne!(who(client).await, Value::Null);
}

/// Every service refuses the token, auth at once and the others soon.
async fn is_refused_everywhere(client: &Client) {
    let begun = Instant::now();
    assert_eq!(who(client).await, Value::Null);
    for (method, path) in ROUTES {
        let path = path.replace("{id}", NOBODYS_ID);
        let what = format!("{method} {path} refuses the session that has ended");
        let left = Duration::from_secs(REVOCATION_SECONDS_MAX).saturating_sub(begun.elapsed());
        let answer = eventually(&what, left, async || {
            let answer = client.request(method.clone(), &path).send().await;
            (answer.status == 401).then_some(answer)
        })
        .await;
        problem(&answer, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_this_session_or_all() {
    let app = App::start();
    let ann = app.person("ann").await;
    let bob = app.person("bob").await;
    let first = app.anyone().with_bearer(ann.token());
    let second = sign_in(&app, &ann.email, PASSWORD).await;
    let third = sign_in(&app, &ann.email, PASSWORD).await;
    for session in [&first, &second, &third] {
        // Verified once, its verification is cached: that must not matter.
        is_signed_in(session).await;
    }
    let out = async |client: &Client| {
        client
            .request(Method::POST, "/api/users/signout")
            .expect(200)
            .await
    };
    let answer = out(&ann).await;
    assert_eq!(answer.json(), json!({}));
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("session=;") && cookie.contains("Max-Age=0"),
        "{cookie}"
    );
    assert_eq!(ann.cookie("session"), None);
    is_refused_everywhere(&first).await;
    is_signed_in(&second).await;
    // Again, with a token that has ended, with none, and with nonsense: it is fine, and nothing happens.
    for client in [&first, &app.anyone(), &app.anyone().with_bearer("nonsense")] {
        assert_eq!(out(client).await.json(), json!({}));
        let everywhere = json!({"everywhere": true});
        client.post("/api/users/signout", &everywhere).expect(200).await;
    }
    is_signed_in(&second).await;

    let here = json!({"everywhere": false});
    second.post("/api/users/signout", &here).expect(200).await;
    is_refused_everywhere(&second).await;
    is_signed_in(&third).await;

    let fourth = sign_in(&app, &ann.email, PASSWORD).await;
    for wrong in [
        json!({"everywhere": "yes"}),
        json!({"everywhere": 1}),
        json!({"everywhere": null}),
    ] {
        blames(
            &fourth.post("/api/users/signout", &wrong).send().await,
            &["everywhere"],
        );
    }
    fourth
        .post("/api/users/signout", &json!({"everywhere": true}))
        .expect(200)
        .await;
    is_refused_everywhere(&third).await;
    is_refused_everywhere(&fourth).await;
    // Whoever signs in afterwards is in, even within the same second; and other people never noticed.
    let fifth = sign_in(&app, &ann.email, PASSWORD).await;
    is_signed_in(&fifth).await;
    is_signed_in(&bob).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_all_other_sessions() {
    let app = App::start();
    let ann = app.person("ann").await;
    let other = sign_in(&app, &ann.email, PASSWORD).await;
    let change = |current: Value, new: Value| json!({"current": current, "new": new});
    let new = "another long secret";
    let table: [(Value, &[&str]); 12] = [
        (json!({}), &["current", "new"]),
        (json!({"new": new}), &["current"]),
        (json!({"current": PASSWORD}), &["new"]),
        (change(json!("wrong"), json!(new)), &["current"]),
        (change(json!(""), json!(new)), &["current"]),
        (change(json!("x".repeat(500)), json!(new)), &["current"]),
        (change(json!(PASSWORD), json!("short")), &["new"]),
        (change(json!(PASSWORD), json!("password")), &["new"]),
        (change(json!(PASSWORD), json!("x".repeat(129))), &["new"]),
        (change(json!(PASSWORD), json!("ann@example.org")), &["new"]),
        (change(json!(PASSWORD), json!(5)), &["new"]),
        (change(json!(null), json!(new)), &["current"]),
    ];
    for (body, fields) in table {
        blames(&ann.put("/api/users/password", &body).send().await, fields);
    }
    is_signed_in(&other).await;

    let right = change(json!(PASSWORD), json!(new));
    let answer = ann.put("/api/users/password", &right).expect(200).await;
    assert_eq!(answer.json(), json!({}));
    is_refused_everywhere(&other).await;
    is_signed_in(&ann).await;
    // Twice: the old one is not right any more.
    blames(&ann.put("/api/users/password", &right).send().await, &["current"]);
    let old = json!({"email": ann.email, "password": PASSWORD});
    says(
        &app.anyone().post("/api/users/signin", &old).send().await,
        400,
        "Invalid credentials",
    );
    is_signed_in(&sign_in(&app, &ann.email, new).await).await;
}
