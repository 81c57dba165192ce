//! Shows every page over an in-memory stand-in of the services: `cargo run -p web --example preview`.
//! For looking at the site while working on it; nothing of it is part of the system.

#[path = "../tests/site/fixture/mod.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "it belongs to the tests, which use more of it"
)]
mod fixture;

use fixture::{NOW, World};
use jiff::Timestamp;
use serde_json::json;

#[tokio::main]
async fn main() {
    let world = World::new();
    let seller = world.person(1, "seller@example.com");
    let buyer = world.person(2, "buyer@example.com");
    let shows = [
        (
            "The Lighthouse Keepers",
            "Old Harbour Hall, Bergen",
            "2027-06-12T20:00:00+02:00[Europe/Oslo]",
            json!(45),
            "usd",
            1,
            1,
        ),
        (
            "Nightjar: the farewell tour, with very special guests from three continents",
            "Elbphilharmonie, Hamburg",
            "2027-06-19T19:30:00+02:00[Europe/Berlin]",
            json!(89.5),
            "eur",
            4,
            3,
        ),
        (
            "Hamlet",
            "Globe, London",
            "2027-07-02T19:00:00+01:00[Europe/London]",
            json!(28),
            "gbp",
            40,
            36,
        ),
        (
            "City v United",
            "Riverside Park, Leeds",
            "2027-05-08T15:00:00+01:00[Europe/London]",
            json!(62.5),
            "gbp",
            2,
            2,
        ),
        (
            "Kintsugi Quartet plays Ravel",
            "Suntory Hall, Tokyo",
            "2027-09-14T19:00:00+09:00[Asia/Tokyo]",
            json!(7800),
            "jpy",
            6,
            5,
        ),
        (
            "Late Show at the Blue Door",
            "Blue Door, New York",
            "2027-05-21T22:30:00-04:00[America/New_York]",
            json!(35),
            "usd",
            1500,
            1204,
        ),
        ("Open voucher for a matinee", "", "", json!(18), "chf", 3, 3),
    ];
    for (number, (title, venue, at, price, currency, quantity, available)) in (10..).zip(shows) {
        let zone = at.split_once('[').map(|(_, zone)| zone.trim_end_matches(']'));
        let at = (!at.is_empty()).then_some(at);
        world.ticket(number, 1, &json!({"title": title, "venue": venue, "startsAt": at, "timeZone": zone, "price": price, "currency": currency,
            "quantity": quantity, "available": available,
            "description": "Row 7, seats 12 to 15, side by side.\n\nI bought these for my family and we cannot make it after all. Paper tickets, handed over at the door or by post."}));
    }
    let states = [
        ("awaiting:payment", None),
        ("complete", None),
        ("accepted", None),
        ("cancelled", Some("expired")),
        ("refunding", None),
        ("created", None),
        ("cancelled", Some("refunded")),
    ];
    for (number, (status, reason)) in (100..).zip(states) {
        let ticket = fixture::id(10 + (number - 100) % 6);
        world.order(
            number,
            2,
            &ticket,
            &json!({"status": status, "reason": reason, "expiresAt": "2027-05-01T12:15:00Z"}),
        );
    }
    // One whose time ends while one looks at it.
    world.order(
        120,
        2,
        &fixture::id(10),
        &json!({"expiresAt": "2027-05-01T12:00:04Z"}),
    );
    world.ticket(
        30,
        1,
        &json!({"title": "Sold out show", "quantity": 5, "available": 0}),
    );
    let clock = web::Clock::new(|| NOW.parse::<Timestamp>().expect("NOW is a time"));
    let origin = "http://127.0.0.1:8099".parse().expect("an address");
    let settings = web::Settings::new(origin, clock).with_operators(["seller@example.com".to_owned()]);
    let status = axum::Router::new()
        .route("/internal/status", axum::routing::get(async || axum::Json(json!({"service": "orders", "ready": true,
            "store": {"epoch": 1, "head": 1284, "keys": 6113, "state": "open"},
            "bus": {"connected": true, "relayed": 1284, "sources": [
                {"source": "tickets", "epoch": 1, "cursor": 310, "head": 312}, {"source": "payments", "epoch": 1, "cursor": 96, "head": 96}]},
            "deadLetters": [{"source": "payments", "epoch": 1, "seq": 41, "type": "payment:opened", "subject": fixture::id(100),
                "reason": "the envelope is no JSON", "at": NOW}]}))))
        .route("/internal/events", axum::routing::get(async || axum::Json(json!([
            {"source": "orders", "epoch": 1, "seq": 4, "type": "order:created", "time": "2027-05-01T11:59:00.000Z", "data": {"status": "created", "quantity": 1}},
            {"source": "tickets", "epoch": 1, "seq": 9, "type": "ticket:reserved", "time": "2027-05-01T11:59:00.013Z", "cause": {"source": "orders", "epoch": 1, "seq": 4}, "data": {"available": 0}},
            {"source": "orders", "epoch": 1, "seq": 5, "type": "order:awaitingpayment", "time": "2027-05-01T11:59:00.021Z", "cause": {"source": "tickets", "epoch": 1, "seq": 9}}]))));
    let upstream = web::Upstream::in_process(world.api()).with_internal(web::Service::Orders, status);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8099")
        .await
        .expect("port 8099 is free");
    println!("http://127.0.0.1:8099  cookies: session={seller} or session={buyer}");
    axum::serve(listener, web::router(settings, upstream))
        .await
        .expect("the preview serves");
}
