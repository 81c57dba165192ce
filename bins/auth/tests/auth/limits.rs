//! What can't be learnt, tried or used up.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{PASSWORD, World, is_problem, sign_up, who};

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
    const FLOOD: usize = 500;
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
