//! Every page as a person without a script sees it, held by snapshots.

use axum::http::StatusCode;
use serde_json::json;

use crate::browser::Browser;
use crate::fixture::{World, id};

const SELLER: u64 = 1;
const BUYER: u64 = 2;

fn world() -> (World, String, String) {
    let world = World::new();
    let seller = world.person(SELLER, "seller@example.com");
    let buyer = world.person(BUYER, "buyer@example.com");
    world.ticket(10, SELLER, &json!({"description": "Row 7.\n\nPaper tickets."}));
    world.ticket(
        11,
        SELLER,
        &json!({"title": "Hamlet", "price": 28.5, "currency": "gbp", "quantity": 40,
        "available": 7, "venue": null, "startsAt": null}),
    );
    (world, seller, buyer)
}

#[tokio::test]
async fn the_front_page() {
    let (world, _, _) = world();
    let page = Browser::new(&world).get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.title(), "Tickets on sale – Boxoffice");
    assert_eq!(page.header("set-cookie"), "", "looking around needs no cookie");
    insta::assert_snapshot!(page.main());
}

#[tokio::test]
async fn the_front_page_when_nothing_is_on_sale() {
    let page = Browser::new(&World::new()).get("/").await;
    assert!(page.html.contains("Nothing is on sale yet"));
    let page = Browser::new(&world().0).get("/?q=zzz&minPrice=5").await;
    assert!(page.html.contains("Nothing matches") && page.html.contains("value=\"zzz\""));
}

/// What the site has rendered before it shows again, but only for as long as it is told the same.
#[tokio::test]
async fn the_front_page_shows_what_the_service_says_now() {
    let (world, _, _) = world();
    let mut browser = Browser::new(&world);
    let first = browser.get("/").await;
    assert_eq!(browser.get("/").await.main(), first.main());
    assert!(first.main().contains("Hamlet") && first.main().contains("Only 7 left"));
    world.change(|books| books.tickets.get_mut(&id(11)).unwrap()["available"] = json!(6));
    let sold = browser.get("/").await;
    assert_eq!(sold.main(), first.main().replace("Only 7 left", "Only 6 left"));
    world.change(|books| {
        books.tickets.remove(&id(11));
    });
    let gone = browser.get("/").await;
    assert!(!gone.main().contains("Hamlet") && gone.main().contains("The Lighthouse Keepers"));
    world.break_path("/api/tickets", 503, "{}");
    let broken = browser.get("/").await;
    assert_eq!(broken.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!broken.html.contains("The Lighthouse Keepers"));
}

#[tokio::test]
async fn a_filter_that_makes_no_sense_is_said_beside_its_field() {
    let page = Browser::new(&world().0).get("/?minPrice=cheap&q=ham").await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.title().starts_with("Error: "));
    assert!(
        page.html
            .contains("<a href=\"#minPrice\">Enter an amount like 12.50</a>")
    );
    assert!(
        page.html
            .contains("aria-invalid=\"true\" aria-describedby=\"minPrice-error\"")
    );
    assert!(page.html.contains("value=\"cheap\"") && page.html.contains("value=\"ham\""));
}

#[tokio::test]
async fn the_list_goes_on_by_links_that_keep_the_filters() {
    let world = World::new();
    for number in 0..20 {
        world.ticket(
            100 + number,
            SELLER,
            &json!({"title": format!("Show {number:02}")}),
        );
    }
    let mut browser = Browser::new(&world);
    let first = browser.get("/?q=show&sort=price").await;
    assert!(
        first
            .html
            .contains("href=\"/?q=show&#38;sort=price&#38;after=18\""),
        "{}",
        first.main()
    );
    let second = browser.get("/?q=show&sort=price&after=18").await;
    assert!(second.html.contains("Show 19") && !second.html.contains("Show 17"));
    assert!(second.html.contains("First page") && !second.html.contains("rel=\"next\""));
}

#[tokio::test]
async fn a_ticket() {
    let (world, seller, buyer) = world();
    let path = format!("/tickets/{}", id(10));
    let anyone = Browser::new(&world).get(&path).await;
    assert!(
        anyone
            .html
            .contains(&format!("/auth/signin?next=/tickets/{}", id(10)))
    );
    insta::assert_snapshot!(
        "ticket_for_a_buyer",
        Browser::signed_in(&world, &buyer).get(&path).await.main()
    );
    world.order(100, BUYER, &id(10), &json!({"status": "complete"}));
    insta::assert_snapshot!(
        "ticket_for_its_seller",
        Browser::signed_in(&world, &seller).get(&path).await.main()
    );
}

#[tokio::test]
async fn a_ticket_that_is_gone_or_over() {
    let (world, _, buyer) = world();
    world.ticket(
        12,
        SELLER,
        &json!({"available": 0, "startsAt": "2027-04-01T20:00:00Z"}),
    );
    let page = Browser::signed_in(&world, &buyer)
        .get(&format!("/tickets/{}", id(12)))
        .await;
    assert!(page.html.contains("None left right now") && page.html.contains("This show has already begun."));
    assert!(
        !page.html.contains("name=\"quantity\""),
        "nothing can be reserved"
    );
    for path in [
        format!("/tickets/{}", id(99)),
        "/tickets/no-id".to_owned(),
        "/nowhere".to_owned(),
    ] {
        let page = Browser::new(&world).get(&path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.html.contains("There is nothing here"));
    }
}

#[tokio::test]
async fn orders_in_every_state() {
    let (world, _, buyer) = world();
    let mut browser = Browser::signed_in(&world, &buyer);
    let states = [
        ("created", None, "We are confirming your reservation"),
        ("awaiting:payment", None, "Reserved for you"),
        ("accepted", None, "Your payment is going through"),
        ("complete", None, "The tickets are yours"),
        ("refunding", None, "Your money is on its way back"),
        ("cancelled", Some("buyer"), "You cancelled this order"),
        ("cancelled", Some("expired"), "The time to pay has run out"),
        ("cancelled", Some("rejected"), "The tickets could not be reserved"),
        (
            "cancelled",
            Some("ticket_deleted"),
            "The seller has withdrawn this ticket",
        ),
        (
            "cancelled",
            Some("payment_failed"),
            "The payment did not go through",
        ),
        ("cancelled", Some("refunded"), "This order was refunded"),
        ("cancelled", Some("something new"), "This order is cancelled"),
    ];
    for (number, (status, reason, heading)) in (200..).zip(states) {
        let order = world.order(
            number,
            BUYER,
            &id(11),
            &json!({"status": status, "reason": reason}),
        );
        let page = browser.get(&format!("/orders/{order}")).await;
        assert!(
            page.html.contains(&format!("<h1>{heading}</h1>")),
            "{status} {reason:?}: {}",
            page.main()
        );
        let payable = status == "awaiting:payment";
        assert_eq!(
            page.html.contains(&format!("/orders/{order}/pay")),
            payable,
            "{status}"
        );
        let settled = status == "complete" || status == "cancelled";
        assert_eq!(page.html.contains("http-equiv=\"refresh\""), !settled, "{status}");
    }
    insta::assert_snapshot!(
        "order_awaiting_payment",
        browser.get(&format!("/orders/{}", id(201))).await.main()
    );
    insta::assert_snapshot!("orders", browser.get("/orders").await.main());
}

#[tokio::test]
async fn an_order_whose_time_is_over_cannot_be_paid() {
    let (world, _, buyer) = world();
    let order = world.order(200, BUYER, &id(11), &json!({"expiresAt": "2027-05-01T11:59:59Z"}));
    let page = Browser::signed_in(&world, &buyer)
        .get(&format!("/orders/{order}"))
        .await;
    assert!(page.html.contains("<h1>The time to pay is over</h1>") && !page.html.contains("/pay\""));
}

#[tokio::test]
async fn someone_elses_order_is_not_found() {
    let (world, seller, _) = world();
    let order = world.order(200, BUYER, &id(11), &json!({}));
    let page = Browser::signed_in(&world, &seller)
        .get(&format!("/orders/{order}"))
        .await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn selling() {
    let (world, seller, buyer) = world();
    world.ticket(12, SELLER, &json!({"title": "Gone", "available": 0}));
    let page = Browser::signed_in(&world, &seller).get("/selling").await;
    assert!(page.html.contains("Hamlet") && page.html.contains("Sold out"));
    let page = Browser::signed_in(&world, &buyer).get("/selling").await;
    assert!(page.html.contains("You have nothing on sale"));
    insta::assert_snapshot!(
        "sell_form",
        Browser::signed_in(&world, &seller)
            .get("/tickets/new")
            .await
            .main()
    );
    let edit = Browser::signed_in(&world, &seller)
        .get(&format!("/tickets/{}/edit", id(10)))
        .await;
    assert!(
        edit.html.contains("value=\"2027-06-12T20:00\"")
            && edit.html.contains("<option selected>Europe/Oslo")
    );
    let foreign = Browser::signed_in(&world, &buyer)
        .get(&format!("/tickets/{}/edit", id(10)))
        .await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn signing_in_and_up() {
    let (world, _, buyer) = world();
    insta::assert_snapshot!(
        "sign_up",
        Browser::new(&world).get("/auth/signup?next=/orders").await.main()
    );
    insta::assert_snapshot!("sign_in", Browser::new(&world).get("/auth/signin").await.main());
    let page = Browser::signed_in(&world, &buyer)
        .get("/auth/signin?next=/orders")
        .await;
    assert_eq!(page.location(), "/orders", "who is signed in goes on");
    insta::assert_snapshot!(
        "account",
        Browser::signed_in(&world, &buyer).get("/account").await.main()
    );
}

#[tokio::test]
async fn pages_for_people_who_are_signed_in_lead_to_the_sign_in_and_back() {
    let (world, _, _) = world();
    let ticket = id(10);
    for (path, next) in [
        ("/orders".to_owned(), "%2Forders".to_owned()),
        ("/selling".to_owned(), "%2Fselling".to_owned()),
        ("/tickets/new".to_owned(), "%2Ftickets%2Fnew".to_owned()),
        ("/account".to_owned(), "%2Faccount".to_owned()),
        ("/ops".to_owned(), "%2Fops".to_owned()),
        (
            format!("/tickets/{ticket}/edit"),
            format!("%2Ftickets%2F{ticket}%2Fedit"),
        ),
        (
            format!("/orders/{ticket}?done=x"),
            format!("%2Forders%2F{ticket}%3Fdone%3Dx"),
        ),
    ] {
        let page = Browser::new(&world).get(&path).await;
        assert_eq!(page.location(), format!("/auth/signin?next={next}"));
        let mut stale = Browser::signed_in(&world, "a-session-that-ended");
        assert_eq!(
            stale.get(&path).await.location(),
            format!("/auth/signin?next={next}")
        );
    }
}
