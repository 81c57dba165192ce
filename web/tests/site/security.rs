//! Headers, cookies, redirects and what a hostile seller may write.

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::browser::{Browser, Page, encode, settings};
use crate::fixture::{World, id};

const HOSTILE: &str = r#"</title><script>alert(1)</script>"'><img src=x onerror=alert(1)>{{7*7}}"#;

fn check_headers(page: &Page, what: &str) {
    let policy = page.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "form-action 'self' http://boxoffice.test https://checkout.stripe.com",
    ] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    assert_eq!(page.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(page.header("referrer-policy"), "same-origin", "{what}");
    assert_eq!(page.header("cross-origin-opener-policy"), "same-origin", "{what}");
}

#[tokio::test]
async fn every_answer_has_the_headers_and_no_inline_script_or_style() {
    let world = World::new();
    let buyer = world.person(2, "boss@example.com");
    world.ticket(10, 1, &json!({}));
    world.order(100, 2, &id(10), &json!({}));
    let mut browser = Browser::signed_in(&world, &buyer);
    let paths = [
        "/".to_owned(),
        "/nowhere".into(),
        "/orders".into(),
        "/selling".into(),
        "/tickets/new".into(),
        "/account".into(),
        "/ops".into(),
        format!("/tickets/{}", id(10)),
        format!("/orders/{}", id(100)),
        "/robots.txt".into(),
        "/favicon.ico".into(),
        "/live".into(),
        "/.well-known/change-password".into(),
    ];
    for path in &paths {
        let page = browser.get(path).await;
        check_headers(&page, path);
        for forbidden in [
            " style=",
            " onclick=",
            " onload=",
            "<style",
            "javascript:",
            "http://",
            "//cdn",
        ] {
            let clean = page.html.replace("http://www.w3.org/2000/svg", "");
            assert!(!clean.contains(forbidden), "{path} has {forbidden}");
        }
        assert_eq!(
            page.html.matches("<script").count(),
            page.html.matches("<script type=\"module\" src=").count()
        );
    }
    for path in ["/auth/signin", "/auth/signup"] {
        check_headers(&Browser::new(&world).get(path).await, path);
    }
    let wrong_method = browser.method(Method::GET, "/auth/signout").await;
    assert_eq!(wrong_method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(wrong_method.html.contains("This address only takes a form"));
    assert_eq!(wrong_method.header("allow"), "POST");
    check_headers(&wrong_method, "405");
    check_headers(&browser.post("/auth/signout", &[]).await, "403");
}

#[tokio::test]
async fn personal_pages_are_not_kept_and_assets_are_for_ever() {
    let world = World::new();
    let buyer = world.person(2, "buyer@example.com");
    let mut browser = Browser::signed_in(&world, &buyer);
    for path in ["/", "/orders", "/account", "/nowhere"] {
        assert_eq!(
            browser.get(path).await.header("cache-control"),
            "no-store",
            "{path}"
        );
    }
    let page = browser.get("/").await;
    for mark in [
        "href=\"/assets/site-",
        "src=\"/assets/site-",
        "href=\"/assets/icon-",
    ] {
        let start = page.html.find(mark).unwrap() + mark.find('/').unwrap();
        let url = page.html[start..].split('"').next().unwrap();
        let asset = browser.get(url).await;
        assert_eq!(asset.status, StatusCode::OK, "{url}");
        assert_eq!(
            asset.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        check_headers(&asset, url);
    }
    assert_eq!(
        browser.get("/assets/site-old.css").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        browser.get("/assets/..%2fsite.css").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn under_https_cookies_are_bound_to_the_host_and_hsts_is_on() {
    let world = World::new();
    world.person(2, "buyer@example.com");
    let upstream = web::Upstream::in_process(world.api());
    let mut browser = Browser::of(web::router(settings("https://boxoffice.example"), upstream));
    let page = browser.get("/auth/signin").await;
    let cookie = page.header("set-cookie");
    assert!(
        cookie.starts_with("__Host-visitor=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure")
    );
    assert!(
        page.header("strict-transport-security")
            .starts_with("max-age=63072000")
    );
    // A cookie without the prefix could have been set by a neighbour: it is not believed.
    browser.cookies.insert("session".into(), "token-of.2".into());
    assert!(
        browser
            .get("/orders")
            .await
            .location()
            .starts_with("/auth/signin")
    );
    browser
        .cookies
        .insert("__Host-session".into(), "token-of.2".into());
    assert_eq!(browser.get("/orders").await.status, StatusCode::OK);
    let plain = Browser::new(&world).get("/auth/signin").await;
    assert!(
        plain.header("set-cookie").starts_with("visitor=") && !plain.header("set-cookie").contains("Secure")
    );
    assert_eq!(plain.header("strict-transport-security"), "");
}

#[tokio::test]
async fn no_next_leads_away_from_the_site() {
    let world = World::new();
    world.person(2, "buyer@example.com");
    for next in [
        "https://evil.example",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "javascript:alert(1)",
        "http:evil.example",
        "evil.example",
        "",
        "/ok//evil.example",
        "/%0d%0aSet-Cookie:a=b\r\n",
        " /orders",
        "/auth/signout",
    ] {
        let mut browser = Browser::new(&world);
        let page = format!("/auth/signin?next={}", encode(next));
        let fields = [("email", "buyer@example.com"), ("password", "correct horse")];
        assert_eq!(
            browser.submit(&page, "/auth/signin", &fields).await.location(),
            "/",
            "{next:?} in the address"
        );
        let mut browser = Browser::new(&world);
        let mut form = browser.get("/auth/signin").await.form("/auth/signin");
        form.retain(|(name, _)| name != "next");
        let mut fields: Vec<_> = form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        fields.extend([
            ("email", "buyer@example.com"),
            ("password", "correct horse"),
            ("next", next),
        ]);
        assert_eq!(
            browser.post("/auth/signin", &fields).await.location(),
            "/",
            "{next:?} in the form"
        );
    }
}

#[tokio::test]
async fn what_a_hostile_person_writes_is_text() {
    let world = World::new();
    let seller = world.person(1, "seller@example.com");
    let buyer = world.person(2, "buyer@example.com");
    world.ticket(
        10,
        1,
        &json!({"title": HOSTILE, "description": HOSTILE, "venue": HOSTILE, "currency": HOSTILE}),
    );
    world.order(100, 2, &id(10), &json!({"currency": HOSTILE, "reason": HOSTILE}));
    let paths = [
        (&buyer, "/".to_owned()),
        (&buyer, format!("/tickets/{}", id(10))),
        (&buyer, "/orders".into()),
        (&buyer, format!("/orders/{}", id(100))),
        (&seller, "/selling".into()),
        (&seller, format!("/tickets/{}/edit", id(10))),
        (&seller, format!("/?q={}", encode(HOSTILE))),
        (&seller, format!("/?minPrice={}", encode(HOSTILE))),
        (&buyer, format!("/?done={}", encode(HOSTILE))),
        (&buyer, format!("/ops?order={}", encode(HOSTILE))),
    ];
    for (token, path) in paths {
        let page = Browser::signed_in(&world, token).get(&path).await;
        assert!(
            !page.html.contains("<script>") && !page.html.contains("<img"),
            "{path}: {}",
            page.html
        );
        assert!(!page.html.contains("\"'>"), "{path}: {}", page.html);
        assert_eq!(page.html.matches("</title>").count(), 1, "{path}");
    }
    let page = Browser::new(&world)
        .get(&format!("/auth/signin?next={}", encode(HOSTILE)))
        .await;
    assert!(!page.html.contains("<script>"));
}

#[tokio::test]
async fn too_much_and_too_strange_is_refused_as_such() {
    let world = World::new();
    let buyer = world.person(2, "buyer@example.com");
    let mut browser = Browser::signed_in(&world, &buyer);
    let long = "x".repeat(70_000);
    let page = browser.post("/account", &[("current", &long)]).await;
    assert_eq!(page.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(page.html.contains("That is too much text"));
    let request = axum::http::Request::post("/account").header("content-type", "application/json");
    let page = browser.send(request.body("{}".into()).unwrap()).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST);
    for cookie in ["a b", "a\"b", &"x".repeat(5_000)] {
        let mut browser = Browser::signed_in(&world, cookie);
        assert!(
            browser
                .get("/orders")
                .await
                .location()
                .starts_with("/auth/signin"),
            "{cookie:.20}"
        );
    }
}
