//! Many buyers at once: as many are served as there are pieces, and everyone else is told so at once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;
use tokio::task::JoinSet;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::person::Person;

/// How long the services may take to agree about a crowd.
const AGREED_MAX: Duration = Duration::from_secs(60);

in_both_deployments!(
    of_200_buyers_of_one_ticket_exactly_one_gets_it,
    of_500_orders_of_50_pieces_exactly_50_are_taken,
);

async fn of_200_buyers_of_one_ticket_exactly_one_gets_it(deployment: Deployment) {
    rush(deployment, 200, 1, 1).await;
}

async fn of_500_orders_of_50_pieces_exactly_50_are_taken(deployment: Deployment) {
    rush(deployment, 50, 10, 50).await;
}

/// So many people send so many orders each, all at once, for so many pieces.
async fn rush(deployment: Deployment, people: usize, orders_each: usize, pieces: u32) {
    let system = System::start(deployment, Options::default()).await;
    let seller = Person::sign_up(&system).await;
    let buyers = Person::sign_up_many(&system, people).await;
    let ticket = seller.lists_and_is_heard(pieces).await;

    let mut sent = JoinSet::new();
    for buyer in buyers
        .iter()
        .flat_map(|buyer| std::iter::repeat_n(buyer, orders_each))
    {
        let (buyer, wish) = (buyer.clone(), json!({ "ticketId": ticket }));
        sent.spawn(async move {
            let answer = buyer.post("/api/orders", &wish).send().await;
            let said = answer.json()["errors"][0]["message"]
                .as_str()
                .unwrap_or("taken")
                .to_owned();
            (answer.status.as_u16(), said)
        });
    }
    let mut answers: BTreeMap<(u16, String), usize> = BTreeMap::new();
    for answer in sent.join_all().await {
        *answers.entry(answer).or_default() += 1;
    }
    let taken = pieces as usize;
    let expected = BTreeMap::from([
        ((201, "taken".to_owned()), taken),
        (
            (409, "Ticket is already reserved".to_owned()),
            people * orders_each - taken,
        ),
    ]);
    assert_eq!(answers, expected);

    // Both services agree about it: every order holds its piece, and nothing is left.
    seller.sees_available(&ticket, 0).await;
    eventually(
        "every order that was taken awaits its payment",
        AGREED_MAX,
        async || {
            let mut awaiting = 0;
            for buyer in &buyers {
                let orders = buyer.get("/api/orders?limit=100").expect(200).await.json();
                let orders = orders.as_array().expect("a list of orders");
                awaiting += orders.iter().filter(|order| awaits_payment(order)).count();
            }
            (awaiting == taken).then_some(())
        },
    )
    .await;
    let held = seller.sees_orders(&ticket).await;
    assert_eq!(held.len(), taken);
    assert!(!seller.finds_on_sale(&ticket).await);
}

fn awaits_payment(order: &Value) -> bool {
    assert_ne!(
        order["status"], "cancelled",
        "an order that was taken is not taken back: {order}"
    );
    order["status"] == "awaiting:payment"
}
