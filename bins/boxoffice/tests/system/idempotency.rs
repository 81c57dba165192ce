//! The same request again, with the same `Idempotency-Key`: one order, whatever became of the first answer.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::person::Person;

const KEY: &str = "first-row-please";

/// How long a request without a reader may take to have its effect.
const EFFECT_MAX: Duration = Duration::from_secs(30);

/// How often an impatient person presses the button.
const PRESSES: usize = 10;

in_both_deployments!(an_order_sent_again_after_a_lost_answer_and_a_restart_is_one_order);

async fn an_order_sent_again_after_a_lost_answer_and_a_restart_is_one_order(deployment: Deployment) {
    let mut system = System::start(deployment, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists_and_is_heard(5).await;
    let wish = json!({ "ticketId": ticket, "quantity": 2 });
    let first = order_without_reading_the_answer(&system, &buyer, &wish).await;

    let again = buyer
        .post("/api/orders", &wish)
        .header("Idempotency-Key", KEY)
        .expect(201)
        .await;
    assert_eq!(again.field("id"), first, "the stored answer");
    assert_eq!(
        again.header("location"),
        Some(format!("/api/orders/{first}").as_str())
    );
    system.kill();
    system.start_again().await;
    let after = buyer
        .post("/api/orders", &wish)
        .header("Idempotency-Key", KEY)
        .expect(201)
        .await;
    assert_eq!(after.body, again.body, "the stored answer, after a restart");
    assert_eq!(orders_of(&buyer).await, [first]);

    let other = json!({ "ticketId": ticket, "quantity": 1 });
    buyer
        .post("/api/orders", &other)
        .header("Idempotency-Key", KEY)
        .expect(422)
        .await;
    // The same key is another one for somebody else.
    let somebody = Person::sign_up(&system).await;
    somebody
        .post("/api/orders", &wish)
        .header("Idempotency-Key", KEY)
        .expect(201)
        .await;
    buyer.sees_available(&ticket, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_pressed_many_times_at_once_is_one_order_and_one_payment_page() {
    let system = System::start(Deployment::OneProcess, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists_and_is_heard(100).await;
    let orders = press(&buyer, "/api/orders", json!({ "ticketId": ticket })).await;
    assert_eq!(
        orders_of(&buyer).await,
        [orders[0]["id"].as_str().expect("an id")]
    );
    seller.sees_available(&ticket, 99).await;
    press(&buyer, "/api/payments", json!({ "orderId": orders[0]["id"] })).await;
}

/// Sends the same many times at once, and answers the answers, which must all be the same.
async fn press(buyer: &Person, path: &'static str, body: Value) -> Vec<Value> {
    let mut sent = JoinSet::new();
    for _ in 0..PRESSES {
        let (buyer, body) = (buyer.clone(), body.clone());
        sent.spawn(async move {
            let answer = buyer
                .post(path, &body)
                .header("Idempotency-Key", KEY)
                .patient()
                .expect(201)
                .await;
            answer.json()
        });
    }
    let answers = sent.join_all().await;
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    answers
}

/// Sends the order, waits until it is there, and hangs up without having read a byte.
async fn order_without_reading_the_answer(system: &System, buyer: &Person, wish: &Value) -> String {
    let session = buyer
        .at("/api/orders")
        .cookie("session")
        .expect("they are signed in");
    let host = system.ingress.orders.trim_start_matches("http://");
    let body = wish.to_string();
    let request = format!(
        "POST /api/orders HTTP/1.1\r\nHost: {host}\r\nCookie: session={session}\r\nIdempotency-Key: {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(host)
        .await
        .expect("the orders service listens");
    connection
        .write_all(request.as_bytes())
        .await
        .expect("it reads requests");
    let order = eventually("the order is there", EFFECT_MAX, async || {
        orders_of(buyer).await.into_iter().next()
    })
    .await;
    drop(connection);
    order
}

/// The ids of one's orders.
async fn orders_of(buyer: &Person) -> Vec<String> {
    let orders = buyer.get("/api/orders").expect(200).await.json();
    let orders = orders.as_array().expect("a list of orders").iter();
    orders
        .map(|order| order["id"].as_str().expect("an order has an id").to_owned())
        .collect()
}
