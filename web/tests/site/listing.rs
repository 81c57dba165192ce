//! What a seller does, form by form, without a script.

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
async fn listing_changing_and_withdrawing_a_ticket() {
    let (world, seller, _) = world();
    let mut browser = Browser::signed_in(&world, &seller);
    let fields = [
        ("title", "Hamlet"),
        ("description", "Row 7\r\nSeat 3"),
        ("venue", "Globe"),
        ("startsAt", "2027-07-02T19:00"),
        ("zone", "Europe/London"),
        ("price", "28.50"),
        ("currency", "gbp"),
        ("quantity", "3"),
    ];
    let page = browser.submit("/tickets/new", "/tickets/new", &fields).await;
    let (ticket, stored) = {
        let books = world.books();
        let stored = books.tickets.values().next().unwrap().clone();
        (stored["id"].as_str().unwrap().to_owned(), stored)
    };
    assert_eq!(page.location(), format!("/tickets/{ticket}?done=listed"));
    assert_eq!(
        stored["startsAt"],
        json!("2027-07-02T19:00:00+01:00[Europe/London]")
    );
    assert_eq!(stored["description"], json!("Row 7\nSeat 3"));
    assert_eq!((&stored["price"], &stored["quantity"]), (&json!(28.5), &json!(3)));
    assert!(
        browser
            .get(&format!("/tickets/{ticket}?done=listed"))
            .await
            .html
            .contains("Your ticket is on sale.")
    );

    let edit = format!("/tickets/{ticket}/edit");
    let mut changed = fields;
    changed[0].1 = "Hamlet, the last night";
    assert_eq!(
        browser.submit(&edit, &edit, &changed).await.location(),
        format!("/tickets/{ticket}?done=saved")
    );
    let asked = world.books().asked.join("\n");
    assert!(
        asked.contains(&format!("PUT /api/tickets/{ticket} if-match=\"1\"")),
        "{asked}"
    );

    let gone = browser
        .submit(&edit, &format!("/tickets/{ticket}/delete"), &[])
        .await;
    assert_eq!(gone.location(), "/selling?done=withdrawn");
    assert!(world.books().tickets.is_empty());
}

#[tokio::test]
async fn a_listing_that_is_wrong_keeps_what_was_typed() {
    let (world, seller, _) = world();
    let mut browser = Browser::signed_in(&world, &seller);
    let fields = [
        ("title", "A <b>title</b>"),
        ("price", "twelve"),
        ("currency", "eur"),
        ("quantity", "2"),
        ("venue", "Globe"),
        ("zone", "Asia/Tokyo"),
    ];
    let page = browser.submit("/tickets/new", "/tickets/new", &fields).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(
        page.html
            .contains("<a href=\"#price\">Enter a price like 12.50</a>")
    );
    assert!(
        page.html.contains("value=\"A &#60;b&#62;title&#60;/b&#62;\""),
        "{}",
        page.main()
    );
    assert!(
        page.html.contains("value=\"eur\" selected") && page.html.contains("<option selected>Asia/Tokyo")
    );
    for (field, value, message) in [
        ("title", "", "Title must not be empty"),
        ("price", "", "Enter a price"),
        (
            "quantity",
            "many",
            "Enter how many tickets you sell, as a whole number",
        ),
        ("startsAt", "tomorrow", "Enter a date and a time"),
    ] {
        let mut fields = vec![("title", "Hamlet"), ("price", "5"), ("quantity", "1")];
        fields.retain(|(name, _)| *name != field);
        fields.push((field, value));
        let page = browser.submit("/tickets/new", "/tickets/new", &fields).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        assert!(
            page.html.contains(&format!("<a href=\"#{field}\">{message}")),
            "{field}: {}",
            page.main()
        );
    }
    assert!(world.books().tickets.is_empty());
}

#[tokio::test]
async fn a_ticket_that_changed_meanwhile_is_not_overwritten() {
    let (world, seller, _) = world();
    let ticket = world.ticket(10, 1, &json!({}));
    let mut browser = Browser::signed_in(&world, &seller);
    let edit = format!("/tickets/{ticket}/edit");
    let form = browser.get(&edit).await.form(&edit);
    world.change(|books| books.tickets.get_mut(&ticket).unwrap()["version"] = json!(2));
    let mut fields: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.extend([("title", "Mine"), ("price", "1")]);
    let page = browser.post(&edit, &fields).await;
    assert_eq!(page.status, StatusCode::PRECONDITION_FAILED);
    assert!(
        page.html.contains("changed or reserved while you were editing")
            && page.html.contains("value=\"Mine\"")
    );
    world.change(|books| books.tickets.get_mut(&ticket).unwrap()["available"] = json!(0));
    let page = browser
        .submit(&edit, &edit, &[("title", "Mine"), ("price", "1")])
        .await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.html.contains("Cannot edit a reserved ticket"));
}

#[tokio::test]
async fn a_seller_refunds_an_order() {
    let (world, seller, _) = world();
    let ticket = world.ticket(10, 1, &json!({}));
    let order = world.order(100, 2, &ticket, &json!({"status": "complete"}));
    let mut browser = Browser::signed_in(&world, &seller);
    let path = format!("/tickets/{ticket}");
    let page = browser.submit(&path, &format!("{path}/refund"), &[]).await;
    assert_eq!(page.location(), format!("{path}?done=refunded"));
    assert_eq!(world.books().orders[&order]["status"], json!("refunding"));
}
