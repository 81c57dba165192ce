//! Who signs out is out everywhere, and what one service has acknowledged the next one knows.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Client, eventually};

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::person::Person;

/// Within this time a session that has ended is refused by every service: ten times what is promised, which the fault bench
/// holds all services to on a machine that has nothing else to do (`./scripts/faults 32`).
const REVOKED_MAX: Duration = Duration::from_secs(20);

/// How often something new is used elsewhere at once.
const NEW_THINGS: usize = 50;

in_both_deployments!(
    a_sign_out_is_heard_by_every_service,
    what_was_just_made_at_one_service_is_known_at_the_next,
);

async fn a_sign_out_is_heard_by_every_service(deployment: Deployment) {
    let system = System::start(deployment, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let order = buyer.orders(&seller.lists(1).await).await;
    let payment = buyer.opens_payment(&order).await;
    let doors = [
        "/api/tickets?seller=me".to_owned(),
        "/api/orders".to_owned(),
        format!("/api/orders/{order}"),
        format!("/api/payments/{}", payment.id),
    ];

    let phone = token(&buyer);
    buyer.sign_in().await;
    let laptop = token(&buyer);
    for session in [&phone, &laptop] {
        assert_open(&buyer, &doors, session).await;
    }
    end(&system, &laptop, &json!({})).await;
    assert_closed(&buyer, &doors, &laptop).await;
    assert_open(&buyer, &doors, &phone).await;

    buyer.sign_in().await;
    let laptop = token(&buyer);
    end(&system, &phone, &json!({ "everywhere": true })).await;
    for session in [&phone, &laptop] {
        assert_closed(&buyer, &doors, session).await;
    }
    assert_open(&seller, &["/api/orders".to_owned()], &token(&seller)).await;
}

async fn what_was_just_made_at_one_service_is_known_at_the_next(deployment: Deployment) {
    let system = System::start(deployment, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    for _ in 0..NEW_THINGS {
        let ticket = seller.lists(1).await;
        // Each expects 201, never a 404 or a 409: tickets to orders, and orders and tickets to payments.
        let order = buyer.orders(&ticket).await;
        buyer.opens_payment(&order).await;
    }
}

fn token(person: &Person) -> String {
    person
        .at("/api/users")
        .cookie("session")
        .expect("they are signed in")
}

/// Signs out of one session, from a browser of its own.
async fn end(system: &System, session: &str, how: &Value) {
    let browser = Client::new(&system.ingress.auth).with_bearer(session);
    browser.post("/api/users/signout", how).expect(200).await;
}

async fn status(person: &Person, door: &str, session: &str) -> u16 {
    let bearer = format!("Bearer {session}");
    // The header of the request stands for the session; no cookie may speak for another one.
    let request = person
        .get(door)
        .header("Authorization", bearer)
        .header("Cookie", "none=1");
    request.send().await.status.as_u16()
}

async fn assert_open(person: &Person, doors: &[String], session: &str) {
    for door in doors {
        assert_eq!(status(person, door, session).await, 200, "{door}");
    }
}

async fn assert_closed(person: &Person, doors: &[String], session: &str) {
    let begun = Instant::now();
    for door in doors {
        let left = REVOKED_MAX.saturating_sub(begun.elapsed());
        eventually(
            &format!("{door} is closed to a session that has ended"),
            left,
            async || (status(person, door, session).await == 401).then_some(()),
        )
        .await;
    }
}
