//! What a person does, form by form, without a script.

use axum::http::StatusCode;
use serde_json::json;

use crate::browser::Browser;
use crate::fixture::{World, id};

fn world() -> (World, String, String) {
    let world = World::new();
    let seller = world.person(1, "seller@example.com");
    let buyer = world.person(2, "buyer@example.com");
    (world, seller, buyer)
}

#[tokio::test]
async fn signing_up_signs_in_and_goes_on() {
    let (world, _, _) = world();
    let mut browser = Browser::new(&world);
    let fields = [("email", "new@example.com"), ("password", "correct horse")];
    let page = browser
        .submit("/auth/signup?next=/orders", "/auth/signup", &fields)
        .await;
    assert_eq!(page.location(), "/orders");
    assert!(page.header("set-cookie").contains("HttpOnly; SameSite=Lax"));
    assert!(browser.get("/orders").await.html.contains("new@example.com"));
}

#[tokio::test]
async fn what_is_wrong_at_the_sign_up_is_said_beside_the_field_and_the_password_is_not_kept() {
    let (world, _, _) = world();
    let mut browser = Browser::new(&world);
    for (email, password, field, message) in [
        ("", "correct horse", "email", "Enter your e-mail address"),
        (
            "nobody",
            "correct horse",
            "email",
            "Enter an address like name@example.com",
        ),
        ("a@example.com", "", "password", "Enter your password"),
        (
            "a@example.com",
            "short77",
            "password",
            "Use at least 8 characters",
        ),
    ] {
        let fields = [("email", email), ("password", password)];
        let page = browser.submit("/auth/signup", "/auth/signup", &fields).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
        assert!(page.title().starts_with("Error: Create an account"));
        assert!(
            page.html.contains(&format!("<a href=\"#{field}\">{message}</a>")),
            "{}",
            page.main()
        );
        assert!(page.html.contains(&format!("id=\"{field}-error\"")));
        assert!(page.html.contains(&format!("name=\"email\" value=\"{email}\"")));
        assert!(
            password.is_empty() || !page.html.contains(password),
            "a password never comes back"
        );
    }
    let fields = [("email", "buyer@example.com"), ("password", "correct horse")];
    let page = browser.submit("/auth/signup", "/auth/signup", &fields).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(
        page.html
            .contains("There is an account with this address already")
    );
}

#[tokio::test]
async fn signing_in_and_out() {
    let (world, _, _) = world();
    let mut browser = Browser::new(&world);
    let wrong = [("email", "buyer@example.com"), ("password", "wrong horse")];
    let page = browser.submit("/auth/signin", "/auth/signin", &wrong).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(page.html.contains("The address or the password is not right"));
    let right = [("email", "buyer@example.com"), ("password", "correct horse")];
    assert_eq!(
        browser
            .submit("/auth/signin", "/auth/signin", &right)
            .await
            .location(),
        "/"
    );
    assert!(browser.get("/").await.html.contains("buyer@example.com"));
    assert_eq!(
        browser.submit("/", "/auth/signout", &[]).await.location(),
        "/?done=signed-out"
    );
    let page = browser.get("/?done=signed-out").await;
    assert!(page.html.contains("You are signed out.") && !page.html.contains("buyer@example.com"));
    assert!(!browser.cookies.contains_key("session"));
}

#[tokio::test]
async fn too_many_tries_are_told_in_the_form() {
    let (world, _, _) = world();
    let body = r#"{"errors":[{"message":"Too many tries. Wait a minute"}]}"#;
    world.break_path("/api/users/signin", 429, body);
    let fields = [("email", "buyer@example.com"), ("password", "x")];
    let page = Browser::new(&world)
        .submit("/auth/signin", "/auth/signin", &fields)
        .await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(page.header("retry-after"), "7");
    assert!(page.html.contains("Too many tries. Wait a minute"));
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
        ("title", "", "Enter a title"),
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

#[tokio::test]
async fn changing_the_password_and_ending_all_sessions() {
    let (world, _, buyer) = world();
    let mut browser = Browser::signed_in(&world, &buyer);
    let wrong = [("current", "wrong horse"), ("new", "battery staple")];
    let page = browser.submit("/account", "/account", &wrong).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    assert!(
        page.html
            .contains("<a href=\"#current\">That is not your password</a>")
    );
    assert!(!page.html.contains("wrong horse") && !page.html.contains("battery staple"));
    let right = [("current", "correct horse"), ("new", "battery staple")];
    assert_eq!(
        browser.submit("/account", "/account", &right).await.location(),
        "/account?done=password"
    );
    assert_eq!(
        browser
            .submit("/account", "/account/sessions", &[])
            .await
            .location(),
        "/?done=signed-out"
    );
    assert!(
        world
            .books()
            .sessions
            .values()
            .all(|email| email != "buyer@example.com")
    );
}

#[tokio::test]
async fn operators_see_how_the_services_stand_and_nobody_else() {
    let (world, seller, _) = world();
    let boss = world.person(3, "boss@example.com");
    assert_eq!(
        Browser::signed_in(&world, &seller).get("/ops").await.status,
        StatusCode::NOT_FOUND
    );
    let page = Browser::signed_in(&world, &boss)
        .get(&format!("/ops?order={}", id(5)))
        .await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.html.contains("no answer") && page.html.contains("unknown"));
    assert!(
        page.html
            .contains("Without auth, tickets, orders, expiration, payments")
    );
    let page = Browser::signed_in(&world, &boss).get("/ops?order=nonsense").await;
    assert!(page.html.contains("Enter an order’s id") || page.html.contains("Enter an order&#39;s id"));
}
