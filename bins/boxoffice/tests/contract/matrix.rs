//! Who may do what with whose: every route that names a thing, for everyone who might try.

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};
use testkit::Client;

use crate::app::{App, text};
use crate::checks::problem;

/// A thing that a path may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    Ticket,
    Order,
    Payment,
}

/// A route, the thing that it is about, a body that it would take, and what it answers to someone who is not signed
/// in, to someone who has nothing to do with the thing, to its buyer, and to its seller. The ticket is reserved and
/// the order waits for its payment, so that nobody changes anything.
type Row = (&'static str, &'static str, Thing, Option<Value>, [u16; 4]);

fn rows() -> Vec<Row> {
    let ticket = json!({"title": "A show", "price": 20, "quantity": 9});
    vec![
        (
            "GET",
            "/api/tickets/{id}",
            Thing::Ticket,
            None,
            [200, 200, 200, 200],
        ),
        (
            "PUT",
            "/api/tickets/{id}",
            Thing::Ticket,
            Some(ticket),
            [401, 403, 403, 409],
        ),
        (
            "DELETE",
            "/api/tickets/{id}",
            Thing::Ticket,
            None,
            [401, 403, 403, 409],
        ),
        (
            "GET",
            "/api/tickets/{id}/orders",
            Thing::Ticket,
            None,
            [401, 403, 403, 200],
        ),
        (
            "GET",
            "/api/orders/{id}",
            Thing::Order,
            None,
            [401, 404, 200, 404],
        ),
        (
            "POST",
            "/api/orders/{id}/refund",
            Thing::Order,
            None,
            [401, 404, 403, 409],
        ),
        (
            "GET",
            "/api/payments/{id}",
            Thing::Payment,
            None,
            [401, 404, 200, 404],
        ),
        // The last one: it succeeds for the buyer.
        (
            "DELETE",
            "/api/orders/{id}",
            Thing::Order,
            None,
            [401, 404, 204, 404],
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_at_what_is_not_theirs() {
    let app = App::start();
    let (eve, bob, sal) = (
        app.person("eve").await,
        app.person("bob").await,
        app.person("sal").await,
    );
    let ticket = sal.lists(9).await;
    let order = bob.reserves(&ticket, 1).await;
    let payment = bob
        .post("/api/payments", &json!({"orderId": order}))
        .patient()
        .expect(201)
        .await;
    let things = [
        (Thing::Ticket, ticket),
        (Thing::Order, order),
        (Thing::Payment, payment.field("id")),
    ];
    let document = app.anyone().get("/api/openapi.json").expect(200).await.json();
    assert_eq!(
        described(&document),
        rows()
            .iter()
            .map(|row| (row.0.to_owned(), row.1.to_owned()))
            .collect()
    );

    let everyone: [(&str, Client); 4] = [
        ("someone who is not signed in", app.anyone()),
        ("someone else", (*eve).clone()),
        ("its seller", (*sal).clone()),
        ("its buyer", (*bob).clone()),
    ];
    for (method, path, thing, body, statuses) in rows() {
        let [stranger, other, buyer, seller] = statuses;
        for ((who, client), own) in everyone.iter().zip([stranger, other, seller, buyer]) {
            for (kind, id) in &things {
                // The id of another kind of thing names nothing here.
                let missing = if stranger == 401 && *who == everyone[0].0 {
                    401
                } else {
                    404
                };
                let expected = if *kind == thing { own } else { missing };
                let method: Method = method.parse().unwrap();
                let request = client.request(method, path.replace("{id}", id));
                let request = match &body {
                    Some(body) => request.json(body),
                    None => request,
                };
                let answer = request.send().await;
                let context = format!("{who}: {} of a {kind:?}: {}", answer.request, answer.text());
                assert_eq!(answer.status.as_u16(), expected, "{context}");
                if expected >= 400 {
                    problem(&answer, expected);
                    // A refusal tells nothing of the thing.
                    for secret in [&bob.id, &bob.email, &sal.email, "A show"] {
                        assert!(!answer.text().contains(secret), "{context}");
                    }
                }
            }
        }
    }
}

/// The routes that name a thing, as the description has them.
fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .filter(|(path, _)| path.contains('{'))
        .flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            let operations = operations.filter(|(_, operation)| operation["operationId"].is_string());
            operations.map(move |(method, operation)| {
                assert!(!text(operation, "operationId").is_empty());
                (method.to_uppercase(), path.clone())
            })
        })
        .collect()
}
