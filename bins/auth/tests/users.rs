//! `/api/users` over real sockets, with a real store and a real Redis: every row of the contract, good and bad.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it should be"
)]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{PASSWORD, REVOKED_WITHIN, SOON, World, sign_up};
use testkit::{Answer, Client, eventually};

fn is_problem(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}: {}", answer.request, answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body = answer.json();
    assert!(!body["errors"].as_array().unwrap().is_empty());
    body
}

fn message(answer: &Answer, status: u16) -> (Value, Value) {
    let body = is_problem(answer, status);
    (
        body["errors"][0]["field"].clone(),
        body["errors"][0]["message"].clone(),
    )
}

async fn who(client: &Client) -> Value {
    client.get("/api/users/currentuser").expect(200).await.json()["currentUser"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_up_in_and_out() {
    let world = World::start().await;
    let client = &world.auth.client;
    let up = client
        .post(
            "/api/users/signup",
            &json!({"email": " Ann@Example.org ", "password": PASSWORD}),
        )
        .expect(201)
        .await;
    assert_eq!(up.json()["email"], "ann@example.org");
    let cookie = up.header("set-cookie").unwrap();
    assert!(cookie.starts_with("session=ey"), "{cookie}");
    assert!(
        cookie.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=43200"),
        "{cookie}"
    );
    assert_eq!(up.header("cache-control"), Some("no-store"));

    let me = who(client).await;
    assert_eq!(
        (&me["id"], &me["email"]),
        (&up.json()["id"], &json!("ann@example.org"))
    );
    assert!(me["iat"].as_i64().unwrap() > 1_700_000_000);

    let token = client.cookie("session").unwrap();
    let out = client.post("/api/users/signout", &json!({})).expect(200).await;
    assert_eq!(out.json(), json!({}));
    assert_eq!(
        out.header("set-cookie"),
        Some("session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0")
    );
    assert_eq!(who(client).await, Value::Null);
    let old = world.auth.anonymous().with_bearer(&token);
    assert_eq!(
        who(&old).await,
        Value::Null,
        "the token itself is refused, too, and at once"
    );
    is_problem(&old.put("/api/users/password", &json!({})).send().await, 401);

    let inside = client
        .post(
            "/api/users/signin",
            &json!({"email": "ANN@example.org", "password": PASSWORD}),
        )
        .expect(200)
        .await;
    assert_eq!(inside.json(), up.json());
    assert_eq!(who(client).await["id"], up.json()["id"]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sign_up_refuses() {
    let world = World::start().await;
    let client = world.auth.anonymous();
    let good = json!({"email": "ann@example.org", "password": PASSWORD});
    client.post("/api/users/signup", &good).expect(201).await;
    let twice = client.post("/api/users/signup", &good).send().await;
    assert_eq!(message(&twice, 409).1, "Email in use");

    let long = format!("{}@example.org", "a".repeat(250));
    let longest = "x".repeat(129);
    for (body, field, text) in [
        (json!({}), "email", "Email is required"),
        (
            json!({"email": "bob@example.org"}),
            "password",
            "Password is required",
        ),
        (
            json!({"email": null, "password": PASSWORD}),
            "email",
            "Email is required",
        ),
        (
            json!({"email": "bob", "password": PASSWORD}),
            "email",
            "Email must be a valid e-mail address",
        ),
        (
            json!({"email": long, "password": PASSWORD}),
            "email",
            "Email must be a valid e-mail address",
        ),
        (
            json!({"email": 5, "password": PASSWORD}),
            "email",
            "Email must be text",
        ),
        (
            json!({"email": "bob@example.org", "password": "short"}),
            "password",
            "Password must have at least 8 characters",
        ),
        (
            json!({"email": "bob@example.org", "password": longest}),
            "password",
            "Password must have at most 128 characters",
        ),
        (
            json!({"email": "bob@example.org", "password": "Password1"}),
            "password",
            "Password is one of the most common ones, choose another",
        ),
        (
            json!({"email": "bobbobbob@example.org", "password": "bobbobbob"}),
            "password",
            "Password must not be your e-mail address",
        ),
        (
            json!({"email": "bob@example.org", "password": PASSWORD, "admin": true}),
            "admin",
            "`admin` is not a known field",
        ),
    ] {
        let refused = client.post("/api/users/signup", &body).send().await;
        assert_eq!(message(&refused, 400), (json!(field), json!(text)), "{body}");
    }
    let both = client
        .post("/api/users/signup", &json!({"email": "x", "password": "y"}))
        .send()
        .await;
    assert_eq!(is_problem(&both, 400)["errors"].as_array().unwrap().len(), 2);

    let malformed = client
        .post("/api/users/signup", &good)
        .body("application/json", "{\"email\":");
    is_problem(&malformed.send().await, 400);
    let doubled = r#"{"email":"a@b.c","email":"d@e.f","password":"x"}"#;
    let doubled = client
        .post("/api/users/signup", &good)
        .body("application/json", doubled);
    is_problem(&doubled.send().await, 400);
    let form = client.form("/api/users/signup", &[("email", "a@b.c")]);
    is_problem(&form.send().await, 415);
    let big = client.post("/api/users/signup", &json!({"email": "x".repeat(65 * 1024)}));
    is_problem(&big.send().await, 413);
    let wrong = client.get("/api/users/signup").send().await;
    is_problem(&wrong, 405);
    assert_eq!(wrong.header("allow"), Some("POST"));
    is_problem(&client.get("/api/users/nobody").send().await, 404);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_want_one_address_at_once() {
    let world = World::start().await;
    let body = json!({"email": "ann@example.org", "password": PASSWORD});
    let client = world.auth.anonymous();
    let sign = || async {
        client
            .post("/api/users/signup", &body)
            .send()
            .await
            .status
            .as_u16()
    };
    let (a, b, c, d) = tokio::join!(sign(), sign(), sign(), sign());
    let mut all = [a, b, c, d];
    all.sort_unstable();
    assert_eq!(all, [201, 409, 409, 409]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_all_the_same() {
    let world = World::start().await;
    sign_up(&world.auth, "ann@example.org").await;
    let client = world.auth.anonymous();
    let mut answers = Vec::new();
    for (email, password) in [
        ("ann@example.org", "not the password"),
        ("nobody@example.org", "not the password"),
        ("nobody@example.org", PASSWORD),
        ("ann@example.org", "short"),
        ("ann@example.org", ""),
    ] {
        let answer = client
            .post(
                "/api/users/signin",
                &json!({"email": email, "password": password}),
            )
            .send()
            .await;
        assert_eq!(message(&answer, 400).1, "Invalid credentials");
        answers.push((answer.text(), answer.header("set-cookie").map(str::to_owned)));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let missing = client
        .post("/api/users/signin", &json!({"email": "ann@example.org"}))
        .send()
        .await;
    assert_eq!(message(&missing, 400).0, "password");
    world.stop().await;
}

/// The short form: a known and an unknown person take the same work, so their medians lie close together.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_does_not_tell_whether_someone_exists() {
    const SAMPLES: usize = 15;
    let world = World::with(&["--throttle", "off"]).await;
    sign_up(&world.auth, "ann@example.org").await;
    let client = world.auth.anonymous();
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    for _ in 0..SAMPLES {
        for (email, times) in [
            ("ann@example.org", &mut known),
            ("nobody@example.org", &mut unknown),
        ] {
            let started = std::time::Instant::now();
            let body = json!({"email": email, "password": "not the password"});
            client.post("/api/users/signin", &body).expect(400).await;
            times.push(started.elapsed());
        }
    }
    known.sort();
    unknown.sort();
    let (known, unknown) = (
        known[SAMPLES / 2].as_secs_f64(),
        unknown[SAMPLES / 2].as_secs_f64(),
    );
    assert!(
        (0.5..2.0).contains(&(known / unknown)),
        "known {known} s, unknown {unknown} s"
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_password() {
    const NEW: &str = "another fine password";
    let world = World::start().await;
    let here = sign_up(&world.auth, "ann@example.org").await;
    let elsewhere = world.auth.anonymous();
    let credentials = json!({"email": "ann@example.org", "password": PASSWORD});
    elsewhere
        .post("/api/users/signin", &credentials)
        .expect(200)
        .await;

    let put = async |body: Value| here.put("/api/users/password", &body).send().await;
    for (body, field) in [
        (json!({}), "current"),
        (json!({"current": PASSWORD}), "new"),
        (json!({"current": PASSWORD, "new": "short"}), "new"),
        (json!({"current": PASSWORD, "new": "password1"}), "new"),
        (json!({"current": "wrong password", "new": NEW}), "current"),
        (json!({"current": PASSWORD, "new": NEW, "more": 1}), "more"),
    ] {
        assert_eq!(message(&put(body.clone()).await, 400).0, field, "{body}");
    }
    assert_eq!(put(json!({"current": PASSWORD, "new": NEW})).await.status, 200);

    assert_ne!(who(&here).await, Value::Null, "this session goes on");
    assert_eq!(who(&elsewhere).await, Value::Null, "all others have ended");
    world
        .auth
        .anonymous()
        .post("/api/users/signin", &credentials)
        .expect(400)
        .await;
    let new = json!({"email": "ann@example.org", "password": NEW});
    let again = world.auth.anonymous();
    again.post("/api/users/signin", &new).expect(200).await;
    assert_ne!(who(&again).await, Value::Null, "and new ones are good");
    is_problem(
        &world
            .auth
            .anonymous()
            .put("/api/users/password", &json!({}))
            .send()
            .await,
        401,
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_ends_the_session_at_every_service() {
    let world = World::start().await;
    let other = world.start_other().await;
    let one = sign_up(&world.auth, "ann@example.org").await;
    let credentials = json!({"email": "ann@example.org", "password": PASSWORD});
    let two = world.auth.anonymous();
    two.post("/api/users/signin", &credentials).expect(200).await;
    let at_other = |client: &Client| other.anonymous().with_bearer(client.cookie("session").unwrap());
    let (one_there, two_there) = (at_other(&one), at_other(&two));
    // Verified once, so that the verification is cached.
    assert_eq!(one_there.get("/me").expect(200).await.text(), "ann@example.org");
    two_there.get("/me").expect(200).await;

    one.post("/api/users/signout", &json!({})).expect(200).await;
    eventually("one session to end there", REVOKED_WITHIN, || async {
        (one_there.get("/me").send().await.status == 401).then_some(())
    })
    .await;
    two_there.get("/me").expect(200).await;

    let three = world.auth.anonymous();
    three.post("/api/users/signin", &credentials).expect(200).await;
    let three_there = at_other(&three);
    three
        .post("/api/users/signout", &json!({"everywhere": true}))
        .expect(200)
        .await;
    for session in [&two_there, &three_there] {
        eventually("all sessions to end there", REVOKED_WITHIN, || async {
            (session.get("/me").send().await.status == 401).then_some(())
        })
        .await;
    }
    assert_eq!(who(&two).await, Value::Null);
    let unknown = two.post("/api/users/signout", &json!({"all": true})).send().await;
    assert_eq!(message(&unknown, 400).0, "all");
    let nobody = world.auth.anonymous();
    nobody
        .request(http::Method::POST, "/api/users/signout")
        .expect(200)
        .await;
    other.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_strange_tokens_are_nobody() {
    let world = World::start().await;
    let ann = sign_up(&world.auth, "ann@example.org").await;
    let token = ann.cookie("session").unwrap();
    let keys = ann.get("/api/users/jwks.json").expect(200).await.json();
    let key = &keys["keys"][0];
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"]),
        (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"))
    );
    assert!(key.get("d").is_none(), "the private key stays");

    let (head, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = head.split_once('.').unwrap();
    let eve = String::from_utf8(support::base64url(claims))
        .unwrap()
        .replace("ann@", "eve@");
    let mangled = format!("{header}.{}.{signature}", support::to_base64url(&eve));
    assert_ne!(mangled, token);
    for forged in ["x", "a.b.c", &mangled, &format!("{head}."), &"a".repeat(20_000)] {
        let nobody = world.auth.anonymous().with_bearer(forged);
        assert_eq!(who(&nobody).await, Value::Null, "{forged}");
        is_problem(&nobody.put("/api/users/password", &json!({})).send().await, 401);
    }
    // A good token ends with its time.
    world.auth.clock.advance(Duration::from_secs(12 * 60 * 60 + 1));
    assert_eq!(who(&ann).await, Value::Null);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_are_throttled_per_account_and_address() {
    let world = World::start().await;
    sign_up(&world.auth, "ann@example.org").await;
    let client = world.auth.anonymous();
    let attempt = async |email: &str, password: &str, number: usize| {
        client
            .post(
                "/api/users/signin",
                &json!({"email": email, "password": password}),
            )
            .header("x-forwarded-for", format!("10.0.0.{number}"))
            .send()
            .await
    };
    for number in 0..10 {
        assert_eq!(
            attempt("ann@example.org", "wrong password", number).await.status,
            400
        );
    }
    let refused = attempt("ann@example.org", PASSWORD, 11).await;
    is_problem(&refused, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");

    // Other accounts go on, until the address itself is stopped, whatever it says that it forwards for.
    let mut statuses = Vec::new();
    for number in 0..30 {
        statuses.push(
            attempt(&format!("user{number}@example.org"), "wrong password", number)
                .await
                .status
                .as_u16(),
        );
    }
    assert!(statuses[..10].iter().all(|status| *status == 400), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");

    world.auth.clock.advance(Duration::from_secs(600));
    assert_eq!(attempt("ann@example.org", PASSWORD, 1).await.status, 200);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_hashes_is_bounded_and_other_routes_answer() {
    const FLOOD: usize = 300;
    let world = World::with(&["--throttle", "off"]).await;
    let ann = sign_up(&world.auth, "ann@example.org").await;
    let flood: Vec<_> = (0..FLOOD)
        .map(|number| {
            let client = world.auth.anonymous();
            tokio::spawn(async move {
                let body = json!({"email": format!("u{number}@example.org"), "password": "wrong password"});
                let request = client
                    .post("/api/users/signin", &body)
                    .within(Duration::from_secs(60));
                request.send().await
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    while flood.iter().any(|request| !request.is_finished()) {
        let started = std::time::Instant::now();
        assert_ne!(who(&ann).await, Value::Null);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    let mut refused = 0;
    for request in flood {
        let answer = request.await.unwrap();
        match answer.status.as_u16() {
            400 => {}
            503 => {
                assert!(answer.header("retry-after").is_some());
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the queue has a bound");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_nobody_notices() {
    let world = World::with(&["--key-rotation-days", "1"]).await;
    let other = world.start_other().await;
    let kids = async || {
        let keys = world
            .auth
            .client
            .get("/api/users/jwks.json")
            .expect(200)
            .await
            .json();
        let keys = keys["keys"].as_array().unwrap().clone();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let kid_of = |client: &Client| {
        let token = client.cookie("session").unwrap();
        let header = support::base64url(token.split('.').next().unwrap());
        serde_json::from_slice::<Value>(&header).unwrap()["kid"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let first = kids().await;
    assert_eq!(first.len(), 1);
    let hour = Duration::from_secs(60 * 60);
    world.both_clocks(&other, 23 * hour);
    let old = sign_up(&world.auth, "ann@example.org").await;
    let old_there = other.anonymous().with_bearer(old.cookie("session").unwrap());
    assert_eq!(kid_of(&old), first[0]);

    world.both_clocks(&other, 2 * hour);
    let second = eventually("a second key", SOON, || async {
        Some(kids().await).filter(|kids| kids.len() == 2)
    })
    .await;
    let still = sign_up(&world.auth, "bob@example.org").await;
    assert_eq!(kid_of(&still), first[0], "published first, used later");
    world.both_clocks(&other, Duration::from_secs(61));
    let new = eventually("the new key to be used", SOON, || async {
        let client = world.auth.anonymous();
        let body = json!({"email": "ann@example.org", "password": PASSWORD});
        client.post("/api/users/signin", &body).expect(200).await;
        (kid_of(&client) != first[0]).then_some(client)
    })
    .await;
    assert!(second.contains(&kid_of(&new)));
    let new_there = other.anonymous().with_bearer(new.cookie("session").unwrap());
    old_there.get("/me").expect(200).await;
    new_there.get("/me").expect(200).await;

    world.both_clocks(&other, 13 * hour);
    let last = eventually("the old key to go", SOON, || async {
        Some(kids().await).filter(|kids| kids.len() == 1)
    })
    .await;
    assert_ne!(last, first);
    old_there.get("/me").expect(401).await;
    other.stop().await;
    world.stop().await;
}
