//! Signing up, in and out, the account, and who may see the operators' page.

use axum::http::StatusCode;

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
