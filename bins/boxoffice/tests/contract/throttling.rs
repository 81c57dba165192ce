//! Sign-ins are bounded per account and per address, whatever a client says about where it comes from.

use serde_json::json;

use crate::app::{App, PASSWORD};
use crate::checks::says;

/// More tries than any account or address is given.
const TRIES: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn tries_run_out_for_an_account_and_for_an_address() {
    let app = App::with(&[]);
    let ann = app.person("ann").await;
    let client = app.anyone();
    let attempt = async |email: &str, password: &str, number: usize| {
        let body = json!({"email": email, "password": password});
        client
            .post("/api/users/signin", &body)
            .header("x-forwarded-for", format!("203.0.113.{number}"))
            .header("forwarded", format!("for=203.0.113.{number}"))
            .header("x-real-ip", format!("203.0.113.{number}"))
            .send()
            .await
    };
    let mut refused = None;
    for number in 0..TRIES {
        let answer = attempt(&ann.email, "not the password", number).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        says(&answer, 400, "Invalid credentials");
    }
    let refused = refused.expect("an account runs out of tries");
    says(&refused, 429, "Too many tries");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    // The right password does not help now, nor do other letters.
    says(&attempt(&ann.email, PASSWORD, 1).await, 429, "Too many tries");
    says(
        &attempt("ANN@example.org", PASSWORD, 2).await,
        429,
        "Too many tries",
    );
    // Someone else is let in from the same address, until the address has run out, whatever headers it makes up.
    let bob = app.person("bob").await;
    assert_eq!(attempt(&bob.email, PASSWORD, 3).await.status, 200);
    let mut statuses = Vec::new();
    for number in 0..TRIES {
        let email = format!("user{number}@example.org");
        statuses.push(attempt(&email, "not the password", number).await.status.as_u16());
    }
    assert_eq!(statuses.first(), Some(&400), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    // Whoever is signed in already goes on.
    ann.get("/api/orders").expect(200).await;
    ann.lists(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_and_nobody_behind_it() {
    let app = App::with(&["--trusted-proxies", "127.0.0.1"]);
    let client = app.anyone();
    let attempt = async |number: usize, forwarded: &str| {
        let body = json!({"email": format!("user{number}@example.org"), "password": "not the password"});
        let request = client
            .post("/api/users/signin", &body)
            .header("x-forwarded-for", forwarded);
        request.send().await.status.as_u16()
    };
    // The proxy adds the address that it has seen; what its client has put before that is made up.
    let mut made_up = Vec::new();
    for number in 0..TRIES {
        made_up.push(attempt(number, &format!("198.51.100.{number}, 203.0.113.1")).await);
    }
    assert_eq!(made_up.first(), Some(&400), "{made_up:?}");
    assert_eq!(made_up.last(), Some(&429), "{made_up:?}");
    // Another address behind the same proxy has its own tries.
    assert_eq!(attempt(0, "203.0.113.2").await, 400);
}
