//! Ordering, watching an order, cancelling it, and giving its money back.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use testkit::eventually;

use crate::app::{App, NOBODYS_ID, text, ticket_becomes};
use crate::checks::{blames, has_exactly, is_utc, problem, says};

/// What is answered at once is answered within this time on a busy machine, too: less than the 30 s that one may wait for.
const AT_ONCE_MAX: Duration = Duration::from_secs(25);

const FIELDS: [&str; 10] = [
    "id",
    "userId",
    "status",
    "quantity",
    "total",
    "currency",
    "expiresAt",
    "version",
    "createdAt",
    "ticket",
];

const TICKET_FIELDS: [&str; 7] = ["id", "title", "price", "version", "venue", "startsAt", "timeZone"];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_tells_what_was_bought_and_until_when_to_pay() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let ticket = json!({"title": "A show", "price": 12.5, "currency": "eur", "quantity": 5, "venue": "Hall",
        "startsAt": "2027-05-01T20:00:00+02:00"});
    let ticket = text(&sal.sells(&ticket).await, "id");
    let body = json!({"ticketId": ticket, "quantity": 3, "price": "12.50"});
    let answer = bob.post("/api/orders", &body).expect(201).await;
    let order = answer.json();
    has_exactly(&order, &FIELDS);
    has_exactly(&order["ticket"], &TICKET_FIELDS);
    let id = text(&order, "id");
    assert_eq!(
        answer.header("location"),
        Some(format!("/api/orders/{id}").as_str())
    );
    assert_eq!(answer.header("etag"), Some("\"1\""));
    for (field, value) in [
        ("userId", json!(bob.id)),
        ("status", json!("created")),
        ("quantity", json!(3)),
        ("total", json!(37.5)),
        ("currency", json!("eur")),
        ("version", json!(1)),
    ] {
        assert_eq!(order[field], value, "{field}");
    }
    for (field, value) in [
        ("id", json!(ticket)),
        ("title", json!("A show")),
        ("price", json!(12.5)),
        ("venue", json!("Hall")),
        ("startsAt", json!("2027-05-01T18:00:00Z")),
        ("timeZone", json!("+02:00")),
    ] {
        assert_eq!(order["ticket"][field], value, "{field}");
    }
    assert!(
        is_utc(&order["createdAt"]) && is_utc(&order["expiresAt"]),
        "{order}"
    );
    let reserved = bob.sees(&id, "awaiting:payment").await;
    assert_eq!(reserved["version"], 2);
    assert_eq!(reserved["expiresAt"], order["expiresAt"]);
    let listed = bob.get("/api/orders").expect(200).await.json();
    assert_eq!(listed, json!([reserved]));
    // To everyone else there is no such order, not to the seller either; a stranger is asked to sign in.
    let eve = app.person("eve").await;
    for other in [&eve, &sal] {
        for (method, path) in [(Method::GET, ""), (Method::DELETE, "")] {
            problem(
                &other
                    .request(method, format!("/api/orders/{id}{path}"))
                    .send()
                    .await,
                404,
            );
        }
    }
    problem(
        &eve.request(Method::POST, format!("/api/orders/{id}/refund"))
            .send()
            .await,
        404,
    );
    problem(&app.anyone().get(format!("/api/orders/{id}")).send().await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_can_t_be_is_refused_with_its_reason() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let one = sal.lists(1).await;
    let five = sal.lists(5).await;
    let order = async |body: Value| bob.post("/api/orders", &body).send().await;
    for (body, field) in [
        (json!({}), "ticketId"),
        (json!({"ticketId": null}), "ticketId"),
        (json!({"ticketId": ""}), "ticketId"),
        (json!({"ticketId": "nonsense"}), "ticketId"),
        (json!({"ticketId": 5}), "ticketId"),
        (
            json!({"ticketId": "5f2b0e9a-7f5c-4f0e-8f6a-0d8f4a1b2c3d"}),
            "ticketId",
        ),
        (json!({"ticketId": one.replace('-', "")}), "ticketId"),
        (json!({"ticketId": five, "quantity": 0}), "quantity"),
        (json!({"ticketId": five, "quantity": -1}), "quantity"),
        (json!({"ticketId": five, "quantity": 100_001}), "quantity"),
        (json!({"ticketId": five, "quantity": 1.5}), "quantity"),
        (json!({"ticketId": five, "quantity": "2"}), "quantity"),
        (json!({"ticketId": five, "quantity": i64::MAX}), "quantity"),
        (json!({"ticketId": five, "price": "cheap"}), "price"),
        (json!({"ticketId": five, "price": true}), "price"),
        (json!({"ticketId": five, "price": "1e3"}), "price"),
        (json!({"ticketId": five, "status": "complete"}), "status"),
        (json!({"ticketId": five, "userId": sal.id}), "userId"),
        (json!({"ticketId": five, "total": 0}), "total"),
    ] {
        blames(&order(body).await, &[field]);
    }
    blames(
        &order(json!({"ticketId": "x", "quantity": 0, "price": "y"})).await,
        &["ticketId", "quantity", "price"],
    );
    problem(&order(json!({"ticketId": NOBODYS_ID})).await, 404);
    // An id so young that its event may be on its way: 404 once it is certain that none is, and 503 until then.
    let young = format!("{}-7fff-bfff-ffffffffffff", &one[..13]);
    eventually(
        "the orders service can tell",
        Duration::from_secs(20),
        async || {
            let answer = order(json!({"ticketId": young})).await;
            (answer.status != 503).then(|| problem(&answer, 404))
        },
    )
    .await;

    for price in [
        json!(19.99),
        json!("20.01"),
        json!(0),
        json!("20.001"),
        json!(21),
        json!(-20),
    ] {
        says(
            &order(json!({"ticketId": five, "price": price})).await,
            409,
            "Price changed",
        );
    }
    says(
        &order(json!({"ticketId": five, "quantity": 6, "price": 20})).await,
        409,
        "Only 5 left",
    );
    let own = sal.post("/api/orders", &json!({"ticketId": five})).send().await;
    says(&own, 409, "You can't order your own ticket");
    // Twice: the first takes it, at once and not only when the tickets service has said so.
    bob.orders(&one, 1).await;
    says(
        &order(json!({"ticketId": one})).await,
        409,
        "Ticket is already reserved",
    );
    bob.orders(&five, 3).await;
    says(
        &order(json!({"ticketId": five, "quantity": 3})).await,
        409,
        "Only 2 left",
    );
    bob.orders(&five, 2).await;
    says(
        &order(json!({"ticketId": five})).await,
        409,
        "Ticket is already reserved",
    );
    // More than can be charged at once.
    let dear = json!({"title": "Dear", "price": 600_000, "quantity": 2});
    let dear = text(&sal.sells(&dear).await, "id");
    problem(&order(json!({"ticketId": dear, "quantity": 2})).await, 409);
    // The price is compared in the ticket's own currency.
    let yen = json!({"title": "Yen", "price": 500, "currency": "jpy", "quantity": 9});
    let yen = text(&sal.sells(&yen).await, "id");
    says(
        &order(json!({"ticketId": yen, "price": 500.5})).await,
        409,
        "Price changed",
    );
    assert_eq!(
        order(json!({"ticketId": yen, "price": "500.00"})).await.status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_an_order_answers_when_it_changes_or_the_time_is_over() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let ticket = sal.lists(1).await;
    let id = bob.reserves(&ticket, 1).await;
    let path = format!("/api/orders/{id}");
    let known = bob
        .get(&path)
        .expect(200)
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    assert_eq!(known, "\"2\"");
    let unchanged = bob.get(&path).header("if-none-match", &known).expect(304).await;
    assert!(unchanged.body.is_empty());
    assert_eq!(unchanged.header("etag"), Some(known.as_str()));

    let watch = async |tag: &str, wait: &str| {
        let begun = Instant::now();
        let answer = bob
            .get(&path)
            .header("if-none-match", tag)
            .header("prefer", wait)
            .send()
            .await;
        (answer, begun.elapsed())
    };
    let (answer, waited) = watch(&known, "wait=1").await;
    assert_eq!(answer.status, 304);
    assert!(
        (Duration::from_millis(900)..AT_ONCE_MAX).contains(&waited),
        "{waited:?}"
    );
    // Without a tag, with another one, or with a preference that makes no sense, there is nothing to wait for.
    for (tag, wait) in [("\"1\"", "wait=30"), ("\"3\"", "wait=30")] {
        let (answer, waited) = watch(tag, wait).await;
        assert_eq!(answer.status, 200, "{tag}");
        assert!(waited < AT_ONCE_MAX, "{tag}: {waited:?}");
    }
    for wait in [
        "wait=0",
        "wait",
        "wait=-5",
        "wait=soon",
        "respond-async",
        "wait=99999999999999999999",
    ] {
        let (answer, waited) = watch(&known, wait).await;
        assert_eq!(answer.status, 304, "{wait}");
        assert!(waited < AT_ONCE_MAX, "{wait}: {waited:?}");
    }
    let begun = Instant::now();
    bob.get(&path).header("prefer", "wait=30").expect(200).await;
    assert!(begun.elapsed() < AT_ONCE_MAX);
    problem(
        &bob.get(&path).header("if-none-match", "nonsense").send().await,
        400,
    );

    // A stranger is not kept waiting for what does not exist to them.
    let eve = app.person("eve").await;
    let begun = Instant::now();
    let refused = eve
        .get(&path)
        .header("if-none-match", &known)
        .header("prefer", "wait=30");
    problem(&refused.send().await, 404);
    assert!(begun.elapsed() < AT_ONCE_MAX);

    // Watched by many at once, a change answers all of them.
    let cancel = bob.delete(&path).expect(204);
    let (first, second, _) = tokio::join!(watch(&known, "wait=30"), watch(&known, "wait=30"), cancel);
    for (answer, waited) in [first, second] {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("etag"), Some("\"3\""));
        assert_eq!(answer.json()["status"], "cancelled");
        assert!(waited < AT_ONCE_MAX, "{waited:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_stays_cancelled_and_frees_its_pieces() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let ticket = sal.lists(2).await;
    let order = bob.reserves(&ticket, 2).await;
    let path = format!("/api/orders/{order}");
    let gone = bob.delete(&path).expect(204).await;
    assert!(gone.body.is_empty());
    let cancelled = bob.get(&path).expect(200).await.json();
    has_exactly(&cancelled, &[&FIELDS[..], &["reason"]].concat());
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(cancelled["reason"], "buyer");
    assert_eq!(cancelled["version"], 3);
    // Twice is once.
    bob.delete(&path).expect(204).await;
    assert_eq!(bob.get(&path).expect(200).await.json(), cancelled);
    ticket_becomes(&sal, &ticket, "free again", |ticket| ticket["available"] == 2).await;
    // Cancelled before the tickets service has answered, it is as free.
    let early = bob.orders(&ticket, 2).await;
    bob.delete(format!("/api/orders/{early}")).expect(204).await;
    let again = bob.reserves(&ticket, 2).await;
    assert_eq!(
        bob.get(format!("/api/orders/{early}")).expect(200).await.json()["status"],
        "cancelled"
    );
    bob.sees(&again, "awaiting:payment").await;
    // What is over can't be paid or refunded.
    let refund = sal.request(Method::POST, format!("/api/orders/{order}/refund"));
    problem(&refund.send().await, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_goes_back_by_the_seller_s_word_and_only_once_it_is_there() {
    let app = App::start();
    let (sal, bob, eve) = (
        app.person("sal").await,
        app.person("bob").await,
        app.person("eve").await,
    );
    let ticket = sal.lists(3).await;
    let order = bob.reserves(&ticket, 2).await;
    let path = format!("/api/orders/{order}/refund");
    let refund = async |who: &testkit::Client| who.request(Method::POST, &path).send().await;
    says(&refund(&sal).await, 409, "Only a complete order can be refunded");
    problem(&refund(&bob).await, 403);
    problem(&refund(&eve).await, 404);
    problem(&refund(&app.anyone()).await, 401);
    problem(
        &sal.request(Method::POST, format!("/api/orders/{NOBODYS_ID}/refund"))
            .send()
            .await,
        404,
    );
    let payment = bob
        .post("/api/payments", &json!({"orderId": order}))
        .patient()
        .expect(201)
        .await;
    app.pay(&payment.field("url")).await;
    bob.sees(&order, "complete").await;
    // Complete: too late to cancel, for its buyer; nobody else has such an order.
    problem(&bob.delete(format!("/api/orders/{order}")).send().await, 409);
    problem(&sal.delete(format!("/api/orders/{order}")).send().await, 404);
    problem(&refund(&bob).await, 403);
    problem(&refund(&eve).await, 404);
    // It takes no body; one that says something is refused, an empty object says nothing.
    for body in ["{\"amount\":5}", "{", "[1]", "5"] {
        let answer = sal
            .request(Method::POST, &path)
            .body("application/json", body)
            .send()
            .await;
        problem(&answer, 400);
    }
    problem(
        &sal.request(Method::POST, &path)
            .body("text/plain", "x")
            .send()
            .await,
        415,
    );

    let answer = refund(&sal).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    has_exactly(&answer.json(), &["id", "status"]);
    assert_eq!(answer.json(), json!({"id": order, "status": "refunding"}));
    // Twice, at once or when all is over: the money goes back once.
    problem(&refund(&sal).await, 409);
    let over = bob.sees(&order, "cancelled").await;
    assert_eq!(over["reason"], "refunded");
    problem(&refund(&sal).await, 409);
    ticket_becomes(&sal, &ticket, "on sale again", |ticket| ticket["available"] == 3).await;
    let paid = bob
        .get(format!("/api/payments/{}", payment.field("id")))
        .expect(200)
        .await
        .json();
    assert_eq!(paid["status"], "refunded");
    bob.delete(format!("/api/orders/{order}")).expect(204).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_not_paid_in_time_is_over() {
    let app = App::with(&["--throttle", "off", "--hold-seconds", "1"]);
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let ticket = sal.lists(1).await;
    let order = bob.orders(&ticket, 1).await;
    let over = bob.sees(&order, "cancelled").await;
    assert_eq!(over["reason"], "expired");
    ticket_becomes(&sal, &ticket, "on sale again", |ticket| ticket["available"] == 1).await;
    bob.delete(format!("/api/orders/{order}")).expect(204).await;
    problem(
        &bob.post("/api/payments", &json!({"orderId": order}))
            .patient()
            .send()
            .await,
        409,
    );
}
