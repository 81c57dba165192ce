//! What a buyer does, form by form, without a script.

use axum::http::StatusCode;
use serde_json::json;

use crate::browser::Browser;
use crate::fixture::World;

fn world() -> (World, String, String) {
    let world = World::new();
    let seller = world.person(1, "seller@example.com");
    let buyer = world.person(2, "buyer@example.com");
    (world, seller, buyer)
}

#[tokio::test]
async fn reserving_paying_and_cancelling() {
    let (world, _, buyer) = world();
    let ticket = world.ticket(10, 1, &json!({"price": 45.5, "quantity": 4, "available": 4}));
    let mut browser = Browser::signed_in(&world, &buyer);
    let path = format!("/tickets/{ticket}");
    let page = browser.submit(&path, &path, &[("quantity", "3")]).await;
    let order = page.location().strip_prefix("/orders/").unwrap().to_owned();
    assert_eq!(world.books().orders[&order]["quantity"], json!(3));
    let pay = browser
        .submit(&format!("/orders/{order}"), &format!("/orders/{order}/pay"), &[])
        .await;
    assert_eq!(pay.location(), "https://checkout.stripe.com/c/pay/cs_test_1");
    let cancel = browser
        .submit(
            &format!("/orders/{order}"),
            &format!("/orders/{order}/cancel"),
            &[],
        )
        .await;
    assert_eq!(cancel.location(), format!("/orders/{order}?done=cancelled"));
    assert!(
        browser
            .get(cancel.location())
            .await
            .html
            .contains("You cancelled this order")
    );
}

#[tokio::test]
async fn a_form_that_is_sent_twice_makes_one_order() {
    let (world, _, buyer) = world();
    let ticket = world.ticket(10, 1, &json!({"quantity": 4, "available": 4}));
    let mut browser = Browser::signed_in(&world, &buyer);
    let path = format!("/tickets/{ticket}");
    let form = browser.get(&path).await.form(&path);
    let mut fields: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.push(("quantity", "1"));
    let first = browser.post(&path, &fields).await.location().to_owned();
    assert_eq!(browser.post(&path, &fields).await.location(), first);
    assert_eq!(world.books().orders.len(), 1);
    // Back, another quantity, and sent again: the new page has a new key, so that the next try counts.
    fields.last_mut().unwrap().1 = "2";
    let page = browser.post(&path, &fields).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        page.html
            .contains("This form was sent before, with other content")
    );
    assert_eq!(world.books().orders.len(), 1);
}

#[tokio::test]
async fn a_reservation_that_is_refused_says_why_and_what_next() {
    let (world, _, buyer) = world();
    let ticket = world.ticket(10, 1, &json!({"quantity": 4, "available": 4}));
    let path = format!("/tickets/{ticket}");
    let mut browser = Browser::signed_in(&world, &buyer);

    let page = browser.submit(&path, &path, &[("quantity", "0")]).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(
        page.html
            .contains("<a href=\"#quantity\">Enter how many tickets you want")
    );

    let page = browser.submit(&path, &path, &[("quantity", "9")]).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.html.contains("Only 4 left") && page.html.contains("value=\"9\""));

    let form = browser.get(&path).await.form(&path);
    world.change(|books| books.tickets.get_mut(&ticket).unwrap()["price"] = json!(60));
    let mut fields: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.push(("quantity", "1"));
    let page = browser.post(&path, &fields).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.html.contains("The price has changed") && page.html.contains("name=\"price\" value=\"60\""));

    let form = browser.get(&path).await.form(&path);
    world.change(|books| books.tickets.get_mut(&ticket).unwrap()["available"] = json!(0));
    let mut fields: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.push(("quantity", "1"));
    let page = browser.post(&path, &fields).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.html.contains("Somebody else was faster") && page.html.contains("See other tickets"));
}

#[tokio::test]
async fn coming_back_from_paying_waits_for_the_order_to_settle() {
    let (world, _, buyer) = world();
    let ticket = world.ticket(10, 1, &json!({}));
    let order = world.order(100, 2, &ticket, &json!({}));
    let mut browser = Browser::signed_in(&world, &buyer);
    let later = world.clone();
    let path = format!("/orders/{order}?session_id=cs_test_1");
    let (page, ()) = tokio::join!(browser.get(&path), async {
        // The page has nudged payments and waits: now the order moves on, in two steps.
        while !later
            .books()
            .asked
            .iter()
            .any(|asked| asked.starts_with("POST /api/payments"))
        {
            tokio::task::yield_now().await;
        }
        later.set_order(&order, "accepted");
        tokio::task::yield_now().await;
        later.set_order(&order, "complete");
    });
    assert!(
        page.html.contains("<h1>The tickets are yours</h1>"),
        "{}",
        page.main()
    );
}

#[tokio::test]
async fn paying_too_late_is_told_on_the_orders_page() {
    let (world, _, buyer) = world();
    let ticket = world.ticket(10, 1, &json!({}));
    let order = world.order(100, 2, &ticket, &json!({}));
    let mut browser = Browser::signed_in(&world, &buyer);
    let pay = format!("/orders/{order}/pay");
    let form = browser.get(&format!("/orders/{order}")).await.form(&pay);
    world.set_order(&order, "cancelled");
    let fields: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let page = browser.post(&pay, &fields).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.html.contains("The order cannot be paid any more") && page.title().starts_with("Error: "));
}
