//! Signing up and in, and passwords.

use serde_json::{Value, json};

use crate::support::{PASSWORD, World, is_problem, message, sign_up, who};

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
