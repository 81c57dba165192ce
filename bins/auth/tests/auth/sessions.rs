//! Tokens, and the end of sessions and keys, here and at another service.

use std::time::Duration;

use serde_json::{Value, json};
use session::{Claims, SigningKey};
use testkit::{Client, eventually};

use crate::support::{
    PASSWORD, REVOKED_WITHIN, SOON, World, base64url, is_problem, message, sign_up, to_base64url, who,
};

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
    let eve = String::from_utf8(base64url(claims))
        .unwrap()
        .replace("ann@", "eve@");
    let mangled = format!("{header}.{}.{signature}", to_base64url(&eve));
    assert_ne!(mangled, token);
    for forged in ["x", "a.b.c", &mangled, &format!("{head}."), &"a".repeat(20_000)] {
        let nobody = world.auth.anonymous().with_bearer(forged);
        assert_eq!(who(&nobody).await, Value::Null, "{forged}");
        is_problem(&nobody.put("/api/users/password", &json!({})).send().await, 401);
    }
    // A token of a system that was begun anew: auth knows that its key is none, others may not have heard of it.
    let clock = &world.auth.clock;
    let claims = Claims::new(
        clock.user_id(),
        "ann@example.org",
        clock.session_id(),
        clock.now(),
    );
    let strange = SigningKey::from_seed(&[9; 32]).sign(&claims);
    assert_eq!(
        who(&world.auth.anonymous().with_bearer(&strange)).await,
        Value::Null
    );
    let other = world.start_other().await;
    is_problem(
        &other.anonymous().with_bearer(&strange).get("/me").send().await,
        503,
    );
    other.stop().await;

    // A good token ends with its time.
    world.auth.clock.advance(Duration::from_secs(12 * 60 * 60 + 1));
    assert_eq!(who(&ann).await, Value::Null);
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
        let header = base64url(token.split('.').next().unwrap());
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

/// Rotation knows nothing of such a key, so that it would stay good for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_its_private_half_is_retired_everywhere() {
    let world = World::with_half_a_key(7).await;
    let other = world.start_other().await;
    let lost = SigningKey::from_seed(&[7; 32]);
    let claims = Claims::new(
        world.auth.clock.user_id(),
        "ann@example.org",
        world.auth.clock.session_id(),
        world.auth.clock.now(),
    );
    let token = lost.sign(&claims);
    eventually("auth does not state it any more", SOON, || async {
        let keys = world.auth.client.get("/api/users/jwks.json").send().await.json();
        let kids: Vec<&str> = keys["keys"]
            .as_array()?
            .iter()
            .filter_map(|key| key["kid"].as_str())
            .collect();
        (!kids.is_empty() && !kids.contains(&lost.kid())).then_some(())
    })
    .await;
    let nobody = world.auth.anonymous().with_bearer(token.clone());
    assert_eq!(who(&nobody).await, Value::Null);
    eventually("others do not know it any more", SOON, || async {
        let answer = other
            .anonymous()
            .with_bearer(token.clone())
            .get("/me")
            .send()
            .await;
        // It is known to be retired, and not taken for a new one of which they will hear.
        (answer.status == 401).then_some(())
    })
    .await;
    // Nor after a new start.
    other.stop().await;
    let other = world.start_other().await;
    eventually("it is remembered", SOON, || async {
        let answer = other
            .anonymous()
            .with_bearer(token.clone())
            .get("/me")
            .send()
            .await;
        (answer.status == 401).then_some(())
    })
    .await;
    // With another key all goes on.
    let ann = sign_up(&world.auth, "ann@example.org").await;
    let there = other.anonymous().with_bearer(ann.cookie("session").unwrap());
    eventually("who signs in now is known everywhere", SOON, || async {
        (there.get("/me").send().await.status == 200).then_some(())
    })
    .await;
    other.stop().await;
    world.stop().await;
}
