//! What can't be learnt, tried or used up.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::Answer;
use tokio::task::JoinSet;

use crate::support::{PASSWORD, World, is_problem, sign_up, who};

/// How often an account is made to run out of tries.
const ROUNDS: usize = 10;

/// How long another route may take beside a flood: ten times what is promised, which the load harness holds it to
/// (`./scripts/bench`, the sign-ups beside 200 lists a second).
const BESIDE_A_FLOOD_MAX: Duration = Duration::from_secs(20);

/// The short form: a known and an unknown person take the same work, so their medians lie close together. What else a machine
/// does may lie on either of them for a while, so that more is measured until they do; without its hash the one would take a
/// fiftieth of the other, and never lie close.
#[tokio::test(flavor = "multi_thread")]
async fn the_time_does_not_tell_whether_someone_exists() {
    const SAMPLES_MIN: usize = 15;
    const SAMPLES_MAX: usize = 150;
    let world = World::with(&["--throttle", "off"]).await;
    sign_up(&world.auth, "ann@example.org").await;
    let client = world.auth.anonymous();
    let mut known = Vec::new();
    let mut unknown = Vec::new();
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    loop {
        for (email, times) in [
            ("ann@example.org", &mut known),
            ("nobody@example.org", &mut unknown),
        ] {
            let started = std::time::Instant::now();
            let body = json!({"email": email, "password": "not the password"});
            client.post("/api/users/signin", &body).expect(400).await;
            times.push(started.elapsed().as_secs_f64());
        }
        let (known_s, unknown_s) = (median(&mut known), median(&mut unknown));
        if known.len() >= SAMPLES_MIN && (0.5..2.0).contains(&(known_s / unknown_s)) {
            break;
        }
        assert!(
            known.len() < SAMPLES_MAX,
            "known {known_s} s, unknown {unknown_s} s"
        );
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_are_throttled_per_account_and_address() {
    let world = World::start().await;
    sign_up(&world.auth, "ann@example.org").await;
    let client = world.auth.anonymous();
    let attempt = |email: &str, password: &str, number: usize| {
        let body = json!({"email": email, "password": password});
        let client = client.clone();
        async move {
            let request = client.post("/api/users/signin", &body);
            let request = request.header("x-forwarded-for", format!("10.0.0.{number}"));
            request.send().await
        }
    };
    let mut refused = None;
    for _ in 0..ROUNDS {
        let tries: JoinSet<Answer> = (0..12)
            .map(|number| attempt("ann@example.org", "wrong password", number))
            .collect();
        for answer in tries.join_all().await {
            assert!([400, 429].contains(&answer.status.as_u16()), "{}", answer.text());
        }
        // An account gets a try back every 30 s, and a busy machine may take that long.
        let answer = attempt("ann@example.org", PASSWORD, 12).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("an account runs out of tries");
    is_problem(&refused, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");

    // Other accounts go on, until the address itself is stopped, whatever it says that it forwards for.
    let tries: JoinSet<Answer> = (0..60)
        .map(|number| attempt(&format!("user{number}@example.org"), "wrong password", number))
        .collect();
    let statuses: Vec<u16> = tries
        .join_all()
        .await
        .iter()
        .map(|answer| answer.status.as_u16())
        .collect();
    let goes_on = statuses.iter().filter(|status| **status == 400).count();
    assert!(goes_on >= 10, "{statuses:?}");
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
                    .within(Duration::from_secs(200));
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
    assert!(slowest < BESIDE_A_FLOOD_MAX, "{slowest:?}");
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
