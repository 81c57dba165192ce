//! Services that fail in every way: each time a designed page with a next step, never a bare error.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;
use service::http::REQUESTS_IN_FLIGHT_MAX;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use crate::browser::{Browser, settings};
use crate::fixture::{World, id};

fn world() -> (World, String) {
    let world = World::new();
    let buyer = world.person(2, "buyer@example.com");
    world.ticket(10, 1, &json!({}));
    world.order(100, 2, &id(10), &json!({}));
    (world, buyer)
}

#[tokio::test]
async fn whatever_a_service_answers_the_page_is_ours() {
    for (status, body, expected) in [
        (500, "", 503),
        (502, "<html>bad gateway", 503),
        (503, r#"{"errors":[{"message":"behind"}]}"#, 503),
        (418, "teapot", 503),
        (301, "", 503),
        (200, "no json", 503),
        (200, r#"{"id":1}"#, 503),
        (429, "{}", 429),
        (404, "", 404),
    ] {
        let (world, buyer) = world();
        world.break_path("/api/tickets", status, body);
        world.break_path("/api/orders", status, body);
        let mut browser = Browser::signed_in(&world, &buyer);
        for path in [
            "/".to_owned(),
            format!("/tickets/{}", id(10)),
            "/orders".into(),
            format!("/orders/{}", id(100)),
        ] {
            let page = browser.get(&path).await;
            assert_eq!(
                page.status.as_u16(),
                expected,
                "{path} when {status} {body:?}: {}",
                page.html
            );
            assert!(
                page.html.contains("<h1>") && page.html.contains("class=\"button"),
                "{path}"
            );
            if expected == 503 {
                assert!(page.html.contains("We cannot do this right now"), "{path}");
                assert!(!page.header("retry-after").is_empty(), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn the_list_stands_while_auth_does_not_answer() {
    let (world, buyer) = world();
    world.break_path("/api/users", 503, "");
    let mut browser = Browser::signed_in(&world, &buyer);
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.html.contains("The Lighthouse Keepers"));
    assert!(
        !page.html.contains("/auth/signin"),
        "nobody knows whether to sign in"
    );
    let page = browser.get(&format!("/tickets/{}", id(10))).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.html.contains("Signing in does not work right now"));
    assert_eq!(
        browser.get("/orders").await.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "not a sign-in page"
    );
}

#[tokio::test]
async fn a_form_whose_service_is_down_says_so() {
    let (world, buyer) = world();
    let mut browser = Browser::signed_in(&world, &buyer);
    let path = format!("/tickets/{}", id(10));
    let form = browser.get(&path).await.form(&path);
    world.break_path("/api/orders", 503, "");
    let fields: Vec<_> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let page = browser.post(&path, &fields).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(page.header("retry-after"), "7", "the service's own word");
}

#[tokio::test]
async fn a_session_that_ended_meanwhile_leads_to_the_sign_in_and_back() {
    let (world, buyer) = world();
    let mut browser = Browser::signed_in(&world, &buyer);
    let path = format!("/tickets/{}", id(10));
    let form = browser.get(&path).await.form(&path);
    world.books().sessions.clear();
    let fields: Vec<_> = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let page = browser.post(&path, &fields).await;
    assert_eq!(
        page.location(),
        format!("/auth/signin?next=%2Ftickets%2F{}", id(10))
    );
}

#[tokio::test]
async fn a_panic_in_a_service_of_the_same_process_does_not_take_the_site_down() {
    let api = Router::new().fallback(async || -> &'static str { panic!("a mistake") });
    let mut browser = Browser::of(web::router(
        settings("http://boxoffice.test"),
        web::Upstream::in_process(api),
    ));
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(page.html.contains("Something broke on our side") && !page.html.contains("a mistake"));
}

#[tokio::test]
async fn one_request_too_many_is_told_so_on_a_page() {
    let api = Router::new().fallback(std::future::pending::<()>);
    let upstream = web::Upstream::in_process(api);
    let site = web::router(settings("http://boxoffice.test"), upstream);
    let mut waiting = JoinSet::new();
    for _ in 0..REQUESTS_IN_FLIGHT_MAX {
        let request = Request::get("/").body(Body::empty()).unwrap();
        waiting.spawn(site.clone().oneshot(request));
    }
    let mut browser = Browser::of(site);
    let refused = loop {
        // It asks no service, and is answered at once as long as there is a place.
        let page = browser.get("/robots.txt").await;
        if page.status != StatusCode::OK {
            break page;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.html.contains("We cannot do this right now"));
    assert!(!refused.header("content-security-policy").is_empty());
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    assert_eq!(browser.get("/robots.txt").await.status, StatusCode::OK);
}
