//! `Idempotency-Key`: the same request again has its answer again, and its effect once.

use http::Method;
use serde_json::{Value, json};
use testkit::Answer;

use crate::app::{App, Person};
use crate::checks::{problem, says};

async fn send(person: &Person, path: &str, key: &str, body: &Value) -> Answer {
    person
        .post(path, body)
        .header("idempotency-key", key)
        .patient()
        .send()
        .await
}

fn same(first: &Answer, again: &Answer) {
    assert_eq!(first.status, again.status, "{}", again.text());
    assert_eq!(first.text(), again.text());
    for header in ["location", "etag", "content-type"] {
        assert_eq!(first.header(header), again.header(header), "{header}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_again_has_the_same_answer_and_no_effect() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let show = json!({"title": "A show", "price": 20, "quantity": 9});
    let listed = send(&sal, "/api/tickets", "k1", &show).await;
    assert_eq!(listed.status, 201);
    same(&listed, &send(&sal, "/api/tickets", "k1", &show).await);
    let ticket = listed.field("id");
    sal.is_heard_to_sell(&ticket).await;

    let wish = json!({"ticketId": ticket, "quantity": 2});
    let ordered = send(&bob, "/api/orders", "k1", &wish).await;
    assert_eq!(ordered.status, 201);
    let order = ordered.field("id");
    bob.sees(&order, "awaiting:payment").await;
    // The answer is what it was, although the order has gone on.
    same(&ordered, &send(&bob, "/api/orders", "k1", &wish).await);

    let pay = json!({"orderId": order});
    let opened = send(&bob, "/api/payments", "k1", &pay).await;
    assert_eq!(opened.status, 201, "{}", opened.text());
    same(&opened, &send(&bob, "/api/payments", "k1", &pay).await);
    app.pay(&opened.field("url")).await;
    bob.sees(&order, "complete").await;
    same(&opened, &send(&bob, "/api/payments", "k1", &pay).await);

    let refund = format!("/api/orders/{order}/refund");
    let refund = async || {
        let request = sal.request(Method::POST, &refund).header("idempotency-key", "k1");
        request.patient().send().await
    };
    let refunded = refund().await;
    assert_eq!(refunded.status, 202, "{}", refunded.text());
    bob.sees(&order, "cancelled").await;
    same(&refunded, &refund().await);

    // Ten at once are one.
    let wish = json!({"ticketId": ticket, "quantity": 3});
    let mut ids = Vec::new();
    let many = (0..10).map(|_| send(&bob, "/api/orders", "k2", &wish)).collect();
    for answer in join_all(many).await {
        assert_eq!(answer.status, 201, "{}", answer.text());
        ids.push(answer.field("id"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    // For another order it is another request, although it has no body that could differ.
    let other = sal.request(Method::POST, format!("/api/orders/{}/refund", ids[0]));
    problem(&other.header("idempotency-key", "k1").send().await, 422);

    assert_eq!(
        bob.get("/api/orders")
            .expect(200)
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    let mine = sal.get("/api/tickets?seller=me").expect(200).await.json();
    assert_eq!(mine.as_array().map(Vec::len), Some(1));
}

/// All at once, on one task: the requests overlap on the wire.
async fn join_all(requests: Vec<impl Future<Output = Answer>>) -> Vec<Answer> {
    let mut running: Vec<_> = requests.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<Answer>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (request, answer) in running.iter_mut().zip(&mut done) {
            if answer.is_none()
                && let std::task::Poll::Ready(ready) = request.as_mut().poll(context)
            {
                *answer = Some(ready);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(done.iter_mut().filter_map(Option::take).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_its_request_its_route_and_its_person() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let show = |title: &str| json!({"title": title, "price": 20, "quantity": 9});
    let first = send(&sal, "/api/tickets", "k", &show("One")).await;
    assert_eq!(first.status, 201);
    problem(&send(&sal, "/api/tickets", "k", &show("Two")).await, 422);
    // Someone else's key of the same name is another one.
    let others = send(&bob, "/api/tickets", "k", &show("Two")).await;
    assert_eq!(others.status, 201);
    assert_ne!(others.field("id"), first.field("id"));
    // So is the key of another route.
    let wish = json!({"ticketId": first.field("id")});
    sal.is_heard_to_sell(&first.field("id")).await;
    let order = send(&bob, "/api/orders", "k", &wish).await;
    assert_eq!(order.status, 201, "{}", order.text());
    let more = json!({"ticketId": first.field("id"), "quantity": 2});
    problem(&send(&bob, "/api/orders", "k", &more).await, 422);
    // A refusal is not remembered: what was wrong can be put right under the same key.
    problem(
        &send(&sal, "/api/tickets", "k2", &json!({"title": ""})).await,
        400,
    );
    assert_eq!(send(&sal, "/api/tickets", "k2", &show("Three")).await.status, 201);
    let too_many = json!({"ticketId": first.field("id"), "quantity": 50});
    says(
        &send(&bob, "/api/orders", "k3", &too_many).await,
        409,
        "Only 8 left",
    );
    assert_eq!(send(&bob, "/api/orders", "k3", &wish).await.status, 201);
    // Whoever is not signed in has no keys, and gets nobody's answer.
    let stranger = app.anyone();
    let request = stranger
        .post("/api/tickets", &show("One"))
        .header("idempotency-key", "k");
    problem(&request.send().await, 401);
    // Signing up and in ignore them.
    for email in ["one@example.org", "two@example.org"] {
        let body = json!({"email": email, "password": crate::app::PASSWORD});
        let request = stranger
            .post("/api/users/signup", &body)
            .header("idempotency-key", "k");
        request.expect(201).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_key_is_refused() {
    let app = App::start();
    let sal = app.person("sal").await;
    let show = json!({"title": "A show", "price": 20});
    let (longest, too_long) = ("k".repeat(255), "k".repeat(256));
    for key in ["", "two words", &too_long] {
        problem(&send(&sal, "/api/tickets", key, &show).await, 400);
    }
    let twice = sal
        .post("/api/tickets", &show)
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    problem(&twice.send().await, 400);
    for key in [
        longest.as_str(),
        "!\"#$%&'()*+,-./",
        "0193a4b6-0c00-7000-8000-000000000001",
    ] {
        assert_eq!(send(&sal, "/api/tickets", key, &show).await.status, 201, "{key}");
    }
}
