//! The master of Redis is killed while people buy, and its copy takes over: purchases go on, and none is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use testkit::{Watched, eventually};

use crate::harness::{Deployment, Options, System};
use crate::person::{PRICE, PRICE_CENTS, Person};
use crate::stripe::Charge;

/// How long one person may take to buy, the failover included, on a machine with other things to do.
const PURCHASE_MAX: Duration = Duration::from_secs(120);

/// What each buyer calls the one order that they want.
const WISH: &str = "one-piece";

/// How many buy before the master is killed and while it is gone.
const BUYERS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn purchases_go_on_when_the_master_is_killed() {
    let mut redis = tokio::task::spawn_blocking(Watched::start).await.unwrap();
    let system = System::start_told(
        Deployment::Separate,
        Options::default(),
        &[("REDIS_URL", &redis.url())],
    )
    .await;
    let seller = Person::sign_up(&system).await;
    let ticket: Arc<str> = seller.lists(u32::try_from(BUYERS).unwrap()).await.into();
    let listed = Arc::clone(&ticket);
    let buyers = Person::sign_up_many(&system, BUYERS).await;
    let gone = Arc::new(AtomicBool::new(false));
    let killing = {
        let gone = Arc::clone(&gone);
        move || {
            gone.store(true, Ordering::Relaxed);
            redis.kill_master();
            redis
        }
    };
    let buying = tokio::task::LocalSet::new();
    let (orders, killing) = buying
        .run_until(async move {
            let mut buying = tokio::task::JoinSet::new();
            for (index, buyer) in buyers.into_iter().enumerate() {
                let (ticket, gone) = (Arc::clone(&ticket), Arc::clone(&gone));
                buying.spawn_local(async move {
                    // The others are in the middle of it when the master goes.
                    if index >= BUYERS / 2 {
                        eventually("the master is gone", PURCHASE_MAX, async || {
                            gone.load(Ordering::Relaxed).then_some(())
                        })
                        .await;
                    }
                    buys(&buyer, &ticket).await
                });
            }
            let killing = tokio::task::spawn_blocking(killing);
            (buying.join_all().await, killing)
        })
        .await;
    let _redis = killing.await.unwrap();
    for order in &orders {
        system
            .stripe()
            .settles(order, &[Charge::captured(PRICE_CENTS)])
            .await;
    }
    eventually("every piece is sold, and none twice", PURCHASE_MAX, async || {
        (seller.sees_orders(&listed).await == vec!["complete"; BUYERS]).then_some(())
    })
    .await;
}

/// Buys one piece, and tries again what is answered with "not now", as a person does. Each wish is one wish however often it is
/// said: an order whose answer was lost would hold a piece that nobody pays for.
async fn buys(buyer: &Person, ticket: &str) -> String {
    let request = json!({ "ticketId": ticket, "quantity": 1, "price": PRICE });
    let order = eventually("an order stands", PURCHASE_MAX, async || {
        let wish = buyer.post("/api/orders", &request);
        let made = wish.header("Idempotency-Key", WISH).try_send().await.ok()?;
        (made.status == 201).then(|| made.field("id"))
    })
    .await;
    reaches(buyer, &order, "awaiting:payment").await;
    let opened = eventually("its payment is open", PURCHASE_MAX, async || {
        let request = json!({ "orderId": order });
        let opened = buyer.post("/api/payments", &request).try_send().await.ok()?;
        opened.status.is_success().then(|| opened.field("url"))
    })
    .await;
    let paid = crate::stripe::pay(&opened).await;
    assert_eq!(paid.status, 303, "{}", paid.text());
    reaches(buyer, &order, "complete").await;
    order
}

async fn reaches(buyer: &Person, order: &str, status: &str) {
    eventually(&format!("{order} is {status}"), PURCHASE_MAX, async || {
        let seen = buyer.get(&format!("/api/orders/{order}")).try_send().await.ok()?;
        (seen.status == 200 && seen.json()["status"] == status).then_some(())
    })
    .await;
}
