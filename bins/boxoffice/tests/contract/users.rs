//! Accounts: signing up and in, and who one is.

use serde_json::{Value, json};
use testkit::Client;

use crate::app::{App, PASSWORD};
use crate::checks::{blames, has_exactly, problem, says};

async fn sign_up(client: &Client, email: impl Into<Value>, password: impl Into<Value>) -> testkit::Answer {
    let body = json!({"email": email.into(), "password": password.into()});
    client.post("/api/users/signup", &body).send().await
}

async fn sign_in(client: &Client, email: impl Into<Value>, password: impl Into<Value>) -> testkit::Answer {
    let body = json!({"email": email.into(), "password": password.into()});
    client.post("/api/users/signin", &body).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_signs_up_is_signed_in() {
    let app = App::start();
    let client = app.anyone();
    let answer = sign_up(&client, "  Ann.O'Neil+tickets@Example.ORG ", PASSWORD).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    has_exactly(&answer.json(), &["id", "email"]);
    assert_eq!(answer.field("email"), "ann.o'neil+tickets@example.org");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["session=", "HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{part} is not in {cookie}");
    }
    // Over plain http a browser would drop a Secure cookie.
    assert!(!cookie.contains("Secure"), "{cookie}");
    let me = client.get("/api/users/currentuser").expect(200).await.json();
    has_exactly(&me, &["currentUser"]);
    has_exactly(&me["currentUser"], &["id", "email", "iat"]);
    assert_eq!(me["currentUser"]["id"], answer.field("id"));
    assert!(me["currentUser"]["iat"].is_i64());

    // The same token as a bearer's is as good, and nobody is nobody.
    let bearer = app.anyone().with_bearer(client.cookie("session").unwrap());
    assert_eq!(bearer.get("/api/users/currentuser").expect(200).await.json(), me);
    let nobody = app
        .anyone()
        .get("/api/users/currentuser")
        .expect(200)
        .await
        .json();
    assert_eq!(nobody, json!({"currentUser": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_one_account_in_whatever_letters() {
    let app = App::start();
    app.person("ann").await;
    let client = app.anyone();
    for email in ["ann@example.org", "ANN@Example.org", " ann@EXAMPLE.ORG "] {
        says(&sign_up(&client, email, PASSWORD).await, 409, "Email in use");
    }
    assert_eq!(client.cookie("session"), None, "a refusal signs nobody in");
    let answer = sign_in(&client, "aNN@example.org", PASSWORD).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    has_exactly(&answer.json(), &["id", "email"]);

    // Two who sign up with one address at once: one of them has it.
    let both = tokio::join!(
        async { sign_up(&app.anyone(), "twin@example.org", PASSWORD).await },
        async { sign_up(&app.anyone(), "Twin@example.org", PASSWORD).await },
    );
    let mut statuses = [both.0.status.as_u16(), both.1.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_address_or_no_password_is_refused_by_name() {
    let app = App::start();
    let client = app.anyone();
    let long_local = format!("{}@example.org", "x".repeat(65));
    let long_email = format!("x@{}.org", "y.".repeat(130));
    for email in [
        "",
        " ",
        "ann",
        "@example.org",
        "ann@",
        "ann@example",
        "ann@@example.org",
        "ann@exa mple.org",
        "ann@-example.org",
        "ann@example..org",
        ".ann@example.org",
        "a..b@example.org",
        "ann@example.org\n",
        "ann\u{0}@example.org",
        "\"ann\"@example.org",
        "ann@[127.0.0.1]",
        "ann@example.org, bob@example.org",
        long_local.as_str(),
        long_email.as_str(),
    ] {
        // Blanks around an address are a slip of the finger, and no part of it.
        if email.trim() == "ann@example.org" {
            continue;
        }
        blames(&sign_up(&client, email, PASSWORD).await, &["email"]);
        blames(&sign_in(&client, email, PASSWORD).await, &["email"]);
    }
    let (long, longest) = ("ä".repeat(129), "ä".repeat(128));
    for password in [
        "",
        "1234567",
        "äöüßäöü",
        "password",
        "PassWord",
        "12345678",
        "qwertyuiop",
        "bob@example.org",
        &long,
    ] {
        blames(
            &sign_up(&client, "bob@example.org", password).await,
            &["password"],
        );
    }
    for wrong in [
        json!(null),
        json!(12_345_678),
        json!(true),
        json!(["a long enough secret"]),
    ] {
        blames(
            &sign_up(&client, "bob@example.org", wrong.clone()).await,
            &["password"],
        );
        blames(&sign_up(&client, wrong.clone(), PASSWORD).await, &["email"]);
        blames(
            &sign_in(&client, "bob@example.org", wrong.clone()).await,
            &["password"],
        );
        blames(&sign_in(&client, wrong, PASSWORD).await, &["email"]);
    }
    // Everything that is wrong is said at once.
    blames(&sign_up(&client, "bob", "short").await, &["email", "password"]);
    blames(
        &client.post("/api/users/signup", &json!({})).send().await,
        &["email", "password"],
    );
    // No rule but length: blanks, emoji and 128 characters are fine.
    for (name, password) in [
        ("one", "        x"),
        ("two", "🎫🎫🎫🎫🎫🎫🎫🎫"),
        ("three", &longest),
    ] {
        let email = format!("{name}@example.org");
        assert_eq!(sign_up(&client, email.as_str(), password).await.status, 201);
        assert_eq!(sign_in(&client, email.as_str(), password).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_from_a_refusal_who_exists() {
    let app = App::start();
    app.person("ann").await;
    let client = app.anyone();
    let too_long = "x".repeat(200);
    let mut answers = Vec::new();
    for (email, password) in [
        ("ann@example.org", "not the password"),
        ("nobody@example.org", "not the password"),
        ("ann@example.org", "short"),
        ("nobody@example.org", "short"),
        ("ann@example.org", &too_long),
        ("nobody@example.org", &too_long),
        ("ann@example.org", "A long enough secret"),
        ("ann@example.org", "a long enough secret "),
    ] {
        let answer = sign_in(&client, email, password).await;
        says(&answer, 400, "Invalid credentials");
        assert_eq!(answer.header("set-cookie"), None);
        let mut headers: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        headers.sort_unstable();
        answers.push((answer.text(), headers));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "they differ: {answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_are_public_and_only_public() {
    let app = App::start();
    let ann = app.person("ann").await;
    let keys = app.anyone().get("/api/users/jwks.json").expect(200).await.json();
    has_exactly(&keys, &["keys"]);
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        has_exactly(key, &["kty", "crv", "x", "kid", "alg", "use"]);
        assert_eq!(key["kty"], "OKP");
        assert_eq!(key["crv"], "Ed25519");
        assert_eq!(key["alg"], "EdDSA");
        assert_eq!(key["use"], "sig");
    }
    let header = crate::forged_tokens::part(&ann.token(), 0);
    assert_eq!(header["alg"], "EdDSA");
    assert!(keys.iter().any(|key| key["kid"] == header["kid"]));
    let claims = crate::forged_tokens::part(&ann.token(), 1);
    has_exactly(&claims, &["sub", "email", "sid", "iat", "exp", "aud"]);
    assert_eq!(claims["sub"], ann.id);
    assert_eq!(claims["email"], ann.email);
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(life, 12 * 60 * 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_https_the_cookie_is_bound_to_its_host() {
    let app = App::with(&["--throttle", "off", "--public-url", "https://tickets.example"]);
    let client = app.anyone();
    let signed_up = sign_up(&client, "ann@example.org", PASSWORD).await;
    let signed_in = sign_in(&client, "ann@example.org", PASSWORD).await;
    let signed_out = client
        .request(http::Method::POST, "/api/users/signout")
        .expect(200)
        .await;
    for answer in [signed_up, signed_in, signed_out] {
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies.len(), 1, "{}", answer.request);
        let cookie = cookies[0].to_str().unwrap();
        assert!(cookie.starts_with("__Host-session="), "{cookie}");
        for part in ["; HttpOnly", "; SameSite=Lax", "; Path=/", "; Secure"] {
            assert!(cookie.contains(part), "{part} is not in {cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
    }
    // The name without the prefix is anybody's, who can set a cookie from a neighbouring host.
    let client = app.anyone();
    sign_in(&client, "ann@example.org", PASSWORD).await;
    let token = client.cookie("__Host-session").unwrap();
    let intruder = app.anyone();
    intruder.set_cookie("session", &token);
    problem(&intruder.get("/api/orders").send().await, 401);
}
