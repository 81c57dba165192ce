//! What a seller may do with a ticket, when, and what nobody else may.

use serde_json::{Value, json};
use testkit::{Answer, eventually};

use crate::app::{App, NOBODYS_ID, Person, SOON, text, ticket_becomes};
use crate::checks::{blames, has_exactly, is_utc, problem, says};

async fn change(person: &Person, ticket: &str, body: &Value) -> Answer {
    person.put(format!("/api/tickets/{ticket}"), body).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_replaces_what_was_said_and_raises_the_version() {
    let app = App::start();
    let sal = app.person("sal").await;
    let before = sal
        .sells(
            &json!({"title": "Old", "price": 20, "quantity": 5, "venue": "Hall", "description": "x",
            "startsAt": "2027-05-01T20:00:00Z"}),
        )
        .await;
    let id = text(&before, "id");
    let answer = change(
        &sal,
        &id,
        &json!({"title": "New", "price": "30.50", "currency": "eur"}),
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let after = answer.json();
    for (field, value) in [
        ("title", json!("New")),
        ("price", json!(30.5)),
        ("currency", json!("eur")),
        ("quantity", json!(1)),
        ("available", json!(1)),
        ("venue", Value::Null),
        ("startsAt", Value::Null),
        ("description", json!("")),
        ("version", json!(2)),
        ("createdAt", before["createdAt"].clone()),
    ] {
        assert_eq!(after[field], value, "{field}");
    }
    assert!(after["updatedAt"].as_str() > before["updatedAt"].as_str());
    let read = app.anyone().get(format!("/api/tickets/{id}")).expect(200).await;
    assert_eq!(read.json(), after);
    // The same again is another change.
    let again = change(
        &sal,
        &id,
        &json!({"title": "New", "price": "30.50", "currency": "eur"}),
    )
    .await;
    assert_eq!(again.json()["version"], 3);
    // What a new ticket refuses, a change refuses.
    for (body, field) in [
        (json!({"price": 1}), "title"),
        (json!({"title": "x"}), "price"),
        (json!({"title": "", "price": 1}), "title"),
        (json!({"title": "x", "price": 0}), "price"),
        (json!({"title": "x", "price": 1, "quantity": 0}), "quantity"),
        (json!({"title": "x", "price": 1, "currency": "xxx"}), "currency"),
        (
            json!({"title": "x", "price": 1, "startsAt": "2027-05-01"}),
            "startsAt",
        ),
        (json!({"title": "x", "price": 1, "available": 9}), "available"),
        (json!({"title": "x", "price": 1, "version": 3}), "version"),
    ] {
        blames(&change(&sal, &id, &body).await, &[field]);
    }
    let read = sal.get(format!("/api/tickets/{id}")).expect(200).await;
    assert_eq!(read.json()["version"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_another_version_than_was_seen_is_refused() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let id = sal.lists(1).await;
    let path = format!("/api/tickets/{id}");
    let body = json!({"title": "New", "price": 1});
    for (tag, status) in [
        ("\"2\"", 412),
        ("\"0\"", 412),
        ("W/\"1\"", 412),
        ("\"x\"", 412),
        ("1", 400),
        ("\"1", 400),
        ("\"1\"", 200),
        ("\"1\"", 412),
        ("\"9\", \"2\"", 200),
        ("*", 200),
    ] {
        let answer = sal.put(&path, &body).header("if-match", tag).send().await;
        assert_eq!(answer.status.as_u16(), status, "{tag}: {}", answer.text());
        if status != 200 {
            problem(&answer, status);
        }
    }
    problem(&sal.delete(&path).header("if-match", "\"1\"").send().await, 412);
    // To a stranger it is somebody else's first: no 412 tells about its version.
    for tag in ["\"1\"", "\"4\"", "*"] {
        problem(&bob.put(&path, &body).header("if-match", tag).send().await, 403);
        problem(&bob.delete(&path).header("if-match", tag).send().await, 403);
    }
    sal.delete(&path).header("if-match", "\"4\"").expect(204).await;
    // Two changes of one version at once: one is made, the other is refused.
    let id = sal.lists(1).await;
    let path = format!("/api/tickets/{id}");
    let send = async |title: &str| {
        let body = json!({"title": title, "price": 1});
        sal.put(&path, &body).header("if-match", "\"1\"").send().await
    };
    let (one, two) = tokio::join!(send("one"), send("two"));
    let mut statuses = [one.status.as_u16(), two.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_touches_what_is_somebody_else_s() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let id = sal.lists(2).await;
    let body = json!({"title": "Mine", "price": 1});
    problem(&change(&bob, &id, &body).await, 403);
    problem(&bob.delete(format!("/api/tickets/{id}")).send().await, 403);
    problem(&bob.get(format!("/api/tickets/{id}/orders")).send().await, 403);
    for path in [NOBODYS_ID, "nonsense"] {
        problem(&change(&sal, path, &body).await, 404);
        problem(&sal.delete(format!("/api/tickets/{path}")).send().await, 404);
        problem(&sal.get(format!("/api/tickets/{path}/orders")).send().await, 404);
    }
    // A buyer is still not its seller.
    bob.reserves(&id, 1).await;
    problem(&bob.get(format!("/api/tickets/{id}/orders")).send().await, 403);
    problem(&change(&bob, &id, &body).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_or_sold_binds_its_seller() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let id = sal.lists(3).await;
    let path = format!("/api/tickets/{id}");
    let body = |quantity: u32| json!({"title": "New", "price": 25, "quantity": quantity});
    let order = bob.reserves(&id, 1).await;
    says(
        &change(&sal, &id, &body(3)).await,
        409,
        "Cannot edit a reserved ticket",
    );
    problem(&sal.delete(&path).send().await, 409);
    let seen = app.anyone().get(&path).expect(200).await.json();
    assert_eq!((&seen["quantity"], &seen["available"]), (&json!(3), &json!(2)));

    bob.delete(format!("/api/orders/{order}")).expect(204).await;
    ticket_becomes(&sal, &id, "free again", |ticket| ticket["available"] == 3).await;
    assert_eq!(change(&sal, &id, &body(3)).await.status, 200);

    // An order at the old price, placed before the orders service has heard of the new one, would be rejected.
    let wish = json!({"ticketId": id, "quantity": 2, "price": 25});
    let order = eventually("the new price is known", SOON, async || {
        let answer = bob.post("/api/orders", &wish).send().await;
        (answer.status == 201).then(|| answer.field("id"))
    })
    .await;
    bob.pays(&app, &order).await;
    ticket_becomes(&sal, &id, "sold in part", |ticket| {
        ticket["available"] == 1 && ticket["version"].as_u64() > Some(5)
    })
    .await;
    // While the sale is on its way to the tickets service, the pieces are still reserved.
    let refused = eventually("the sale is known", SOON, async || {
        let answer = change(&sal, &id, &body(1)).await;
        (!answer.text().contains("Cannot edit")).then_some(answer)
    })
    .await;
    says(&refused, 409, "2 are already sold");
    let other_currency = json!({"title": "New", "price": 25, "quantity": 3, "currency": "eur"});
    problem(&change(&sal, &id, &other_currency).await, 409);
    let all_sold = change(&sal, &id, &body(2)).await;
    assert_eq!(all_sold.json()["available"], 0, "{}", all_sold.text());
    // Sold out it is still there, for its seller and whoever has its address, but not on sale.
    app.anyone().get(&path).expect(200).await;
    let on_sale = app.anyone().get("/api/tickets").expect(200).await.json();
    assert_eq!(on_sale, json!([]));
    let mine = sal.get("/api/tickets?seller=me").expect(200).await.json();
    assert_eq!(mine[0]["id"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_ticket_is_gone() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let id = sal.lists(2).await;
    let path = format!("/api/tickets/{id}");
    let gone = sal.delete(&path).expect(204).await;
    assert!(gone.body.is_empty());
    problem(&sal.delete(&path).send().await, 404);
    problem(&change(&sal, &id, &json!({"title": "x", "price": 1})).await, 404);
    problem(&app.anyone().get(&path).send().await, 404);
    for list in ["/api/tickets", "/api/tickets?seller=me"] {
        assert_eq!(sal.get(list).expect(200).await.json(), json!([]), "{list}");
    }
    // The orders service hears of it a moment later.
    eventually("nobody can order it", SOON, async || {
        let answer = bob.post("/api/orders", &json!({"ticketId": id})).send().await;
        (answer.status == 404).then(|| problem(&answer, 404))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_sees_the_orders_and_nothing_of_the_buyers() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let id = sal.lists(50).await;
    let path = format!("/api/tickets/{id}/orders");
    assert_eq!(sal.get(&path).expect(200).await.json(), json!([]));
    let mut orders = Vec::new();
    for quantity in 1..=5 {
        orders.push(bob.reserves(&id, quantity).await);
    }
    orders.reverse();
    let shown = sal.get(&path).expect(200).await;
    let text = shown.text();
    for secret in [&bob.id, &bob.email] {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
    let shown = shown.json();
    for (place, order) in shown.as_array().unwrap().iter().enumerate() {
        has_exactly(
            order,
            &["id", "status", "quantity", "total", "currency", "createdAt"],
        );
        assert_eq!(order["id"], orders[place], "the latest first");
        assert_eq!(order["status"], "awaiting:payment");
        assert_eq!(order["quantity"], 5 - place);
        assert_eq!(order["total"], 20 * (5 - place));
        assert!(is_utc(&order["createdAt"]));
    }
    assert_eq!(crate::lists::walk(&sal, &format!("{path}?limit=2")).await, orders);
    for query in ["limit=0", "limit=101", "limit=x", "limit="] {
        blames(&sal.get(format!("{path}?{query}")).send().await, &["limit"]);
    }
    blames(&sal.get(format!("{path}?after=zzz")).send().await, &["after"]);
    blames(&sal.get(format!("{path}?sort=price")).send().await, &["sort"]);
}
