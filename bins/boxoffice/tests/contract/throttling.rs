//! Sign-ins are bounded per account and per address, whatever a client says about where it comes from.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{Answer, Client};
use tokio::task::JoinSet;

use crate::app::{App, PASSWORD};
use crate::checks::says;

/// More tries than an address is given, all at once.
const TRIES: usize = 60;

/// The tries that an address has at once, and how often it gets another one.
const ADDRESS_TRIES: usize = 30;
const ADDRESS_REFILL: Duration = Duration::from_secs(2);

/// More tries than an account is given, all at once, and not half as many as an address.
const ACCOUNT_TRIES: usize = 12;

/// How often an account is made to run out: it gets a try back every 30 s, which a busy machine may take for one look.
const ROUNDS: usize = 10;

/// A try to sign in, through whatever has put these headers onto it.
async fn attempt(client: &Client, email: &str, password: &str, headers: &[(&str, String)]) -> Answer {
    let body = json!({"email": email, "password": password});
    let request = client.post("/api/users/signin", &body);
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value));
    request.send().await
}

/// What somebody at one address makes up about where their try comes from.
fn made_up(number: usize) -> Vec<(&'static str, String)> {
    vec![
        ("x-forwarded-for", format!("203.0.113.{number}")),
        ("forwarded", format!("for=203.0.113.{number}")),
        ("x-real-ip", format!("203.0.113.{number}")),
    ]
}

/// So many tries at once, each with the e-mail address and the headers of its number; all with a wrong password.
async fn at_once(
    client: &Client,
    tries: usize,
    email: impl Fn(usize) -> String,
    headers: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> Vec<Answer> {
    let mut sent = JoinSet::new();
    for number in 0..tries {
        let (client, email, headers) = (client.clone(), email(number), headers(number));
        sent.spawn(async move { attempt(&client, &email, "not the password", &headers).await });
    }
    sent.join_all().await
}

/// An address was given no more tries than it has, and those that it got back meanwhile; and then it was refused.
fn has_run_out(answers: &[Answer], took: Duration) {
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    let let_in = statuses.iter().filter(|status| **status != 429).count();
    let got_back = took.as_millis().div_ceil(ADDRESS_REFILL.as_millis());
    let given = ADDRESS_TRIES + usize::try_from(got_back).unwrap();
    assert!(
        let_in <= given,
        "{let_in} and not {given} were let in: {statuses:?}"
    );
    assert!(statuses.contains(&400), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_run_out_for_an_account_and_for_an_address() {
    let app = App::with(&[]);
    let ann = app.person("ann").await;
    let client = app.anyone();
    ann_runs_out(&client, &ann.email).await;
    // Someone else is let in from the same address, until the address has run out, whatever headers it makes up.
    let bob = app.person("bob").await;
    assert_eq!(
        attempt(&client, &bob.email, PASSWORD, &made_up(3)).await.status,
        200
    );
    let begun = Instant::now();
    let answers = at_once(
        &client,
        TRIES,
        |number| format!("user{number}@example.org"),
        made_up,
    )
    .await;
    has_run_out(&answers, begun.elapsed());
    // Whoever is signed in already goes on.
    ann.get("/api/orders").expect(200).await;
    ann.lists(1).await;
}

/// An account runs out of tries, and then the right password does not help, nor do other letters.
async fn ann_runs_out(client: &Client, email: &str) {
    for _ in 0..ROUNDS {
        let answers = at_once(client, ACCOUNT_TRIES, |_| email.to_owned(), made_up).await;
        let (refused, let_in): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 429);
        for answer in let_in {
            says(answer, 400, "Invalid credentials");
        }
        for answer in &refused {
            says(answer, 429, "Too many tries");
            let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&seconds), "{seconds}");
        }
        let right = attempt(client, email, PASSWORD, &made_up(1)).await;
        let other_letters = attempt(client, "ANN@example.org", PASSWORD, &made_up(2)).await;
        if !refused.is_empty() && right.status == 429 && other_letters.status == 429 {
            says(&right, 429, "Too many tries");
            says(&other_letters, 429, "Too many tries");
            return;
        }
    }
    panic!("an account does not run out of tries");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed_and_nobody_behind_it() {
    let app = App::with(&["--trusted-proxies", "127.0.0.1"]);
    let client = app.anyone();
    let forwarded = |by: String| vec![("x-forwarded-for", by)];
    // The proxy adds the address that it has seen; what its client has put before that is made up.
    let begun = Instant::now();
    let answers = at_once(
        &client,
        TRIES,
        |number| format!("user{number}@example.org"),
        |number| forwarded(format!("198.51.100.{number}, 203.0.113.1")),
    )
    .await;
    has_run_out(&answers, begun.elapsed());
    // Another address behind the same proxy has its own tries.
    let other = forwarded("203.0.113.2".to_owned());
    let answer = attempt(&client, "user0@example.org", "not the password", &other).await;
    assert_eq!(answer.status, 400);
}
