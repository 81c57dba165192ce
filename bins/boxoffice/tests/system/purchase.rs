//! What people come for: a purchase, an expiry, a cancellation, a refund, a withdrawal.

use serde_json::json;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::person::{PRICE_CENTS, Person, listing};
use crate::stripe::Charge;

in_both_deployments!(
    a_whole_purchase,
    an_unpaid_order_expires_and_its_ticket_is_on_sale_again,
    a_cancelled_order_is_never_charged,
    a_refund_gives_the_money_and_the_ticket_back,
);

async fn a_whole_purchase(deployment: Deployment) {
    let system = System::start(deployment, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    assert!(buyer.finds_on_sale(&ticket).await);
    assert!(
        buyer
            .page(&format!("/tickets/{ticket}"))
            .await
            .contains("Two seats, row 7")
    );

    let order = buyer.orders(&ticket).await;
    let reserved = buyer.sees(&order, "awaiting:payment").await;
    assert_eq!(reserved["total"], 25.5);
    assert_eq!(reserved["ticket"]["id"], ticket);
    assert!(
        !seller.finds_on_sale(&ticket).await,
        "what is reserved is not on sale"
    );
    let edited = seller
        .put(&format!("/api/tickets/{ticket}"), &listing(1))
        .expect(409)
        .await;
    assert_eq!(
        edited.json()["errors"][0]["message"],
        "Cannot edit a reserved ticket"
    );

    let opened = buyer.opens_payment(&order).await;
    let again = buyer.opens_payment(&order).await;
    assert_eq!(
        (&opened.id, &opened.page),
        (&again.id, &again.page),
        "one page, however often it is asked for"
    );
    buyer.pays(&order).await;
    buyer.sees(&order, "complete").await;
    system
        .stripe()
        .settles(&order, &[Charge::captured(PRICE_CENTS)])
        .await;

    assert_eq!(buyer.ticket(&ticket).await["available"], 0);
    assert!(
        buyer
            .page(&format!("/orders/{order}"))
            .await
            .contains("Two seats, row 7")
    );
    let mine = buyer.get("/api/orders").expect(200).await.json();
    assert_eq!((&mine[0]["id"], &mine[1]), (&json!(order), &json!(null)));
    buyer
        .post("/api/payments", &json!({ "orderId": order }))
        .patient()
        .expect(409)
        .await;
    buyer.delete(&format!("/api/orders/{order}")).expect(409).await;
}

async fn an_unpaid_order_expires_and_its_ticket_is_on_sale_again(deployment: Deployment) {
    let system = System::start(deployment, Options::short_hold()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let order = buyer.orders(&ticket).await;
    buyer.sees(&order, "awaiting:payment").await;
    buyer.opens_payment(&order).await;

    buyer.sees_cancelled(&order, "expired").await;
    buyer.sees_available(&ticket, 1).await;
    assert!(buyer.finds_on_sale(&ticket).await);
    buyer
        .post("/api/payments", &json!({ "orderId": order }))
        .patient()
        .expect(409)
        .await;

    // Somebody else buys it, and the old order's end has nothing to do with that one.
    let other = Person::sign_up(&system).await;
    let bought = other.buys(&ticket).await;
    system
        .stripe()
        .settles(&bought, &[Charge::captured(PRICE_CENTS)])
        .await;
    system.stripe().settles(&order, &[]).await;
}

async fn a_cancelled_order_is_never_charged(deployment: Deployment) {
    let system = System::start(deployment, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    // While the money is authorised, and Stripe has not told anyone yet.
    system.stripe().fails(json!({ "fault": "hold" })).await;
    let order = buyer.orders(&ticket).await;
    buyer.sees(&order, "awaiting:payment").await;
    buyer.pays(&order).await;
    buyer.delete(&format!("/api/orders/{order}")).expect(204).await;
    buyer.delete(&format!("/api/orders/{order}")).expect(204).await;

    buyer.sees_cancelled(&order, "buyer").await;
    system.stripe().settles(&order, &[Charge::voided()]).await;
    system.stripe().heal().await;
    buyer.sees_available(&ticket, 1).await;
    let bought = buyer.buys(&ticket).await;
    system
        .stripe()
        .settles(&bought, &[Charge::captured(PRICE_CENTS)])
        .await;
    system.stripe().settles(&order, &[Charge::voided()]).await;
}

async fn a_refund_gives_the_money_and_the_ticket_back(deployment: Deployment) {
    let system = System::start(deployment, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let order = buyer.buys(&ticket).await;

    let refund = format!("/api/orders/{order}/refund");
    buyer.post_nothing(&refund).expect(403).await;
    seller.post_nothing(&refund).expect(202).await;
    buyer.sees_cancelled(&order, "refunded").await;
    system
        .stripe()
        .settles(&order, &[Charge::refunded(PRICE_CENTS)])
        .await;
    buyer.sees_available(&ticket, 1).await;
    assert!(buyer.finds_on_sale(&ticket).await);
    seller.post_nothing(&refund).expect(409).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seller_withdraws_what_nobody_has_reserved() {
    let system = System::start(Deployment::OneProcess, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(2).await;
    let path = format!("/api/tickets/{ticket}");
    let order = buyer.orders(&ticket).await;
    buyer.sees(&order, "awaiting:payment").await;
    seller.delete(&path).expect(409).await;
    buyer.delete(&path).expect(403).await;

    buyer.pays(&order).await;
    buyer.sees(&order, "complete").await;
    // The hold becomes a sale a moment after the order is complete.
    testkit::eventually(
        "the seller may withdraw the rest",
        std::time::Duration::from_secs(40),
        async || (seller.delete(&path).send().await.status == 204).then_some(()),
    )
    .await;
    buyer.get(&path).expect(404).await;
    assert!(!buyer.finds_on_sale(&ticket).await);
    let wish = json!({ "ticketId": ticket });
    testkit::eventually(
        "the orders service has heard of it",
        std::time::Duration::from_secs(40),
        async || (buyer.post("/api/orders", &wish).send().await.status == 404).then_some(()),
    )
    .await;

    // What was sold can still be given back, and that relists nothing.
    seller
        .post_nothing(&format!("/api/orders/{order}/refund"))
        .expect(202)
        .await;
    buyer.sees_cancelled(&order, "refunded").await;
    system
        .stripe()
        .settles(&order, &[Charge::refunded(PRICE_CENTS)])
        .await;
    buyer.get(&path).expect(404).await;
}
