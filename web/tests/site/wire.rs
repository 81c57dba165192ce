//! The same pages with services that are processes of their own: over real sockets.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};

use crate::browser::{Browser, settings};
use crate::fixture::{World, id};

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}/")
}

/// Services that answer everything at one port.
fn upstream(base: &str) -> web::Upstream {
    upstream_with_internal(base, None)
}

fn upstream_with_internal(base: &str, internal_port: Option<u16>) -> web::Upstream {
    let url = || base.parse().unwrap();
    web::Upstream::http(web::ServiceUrls {
        auth: url(),
        tickets: url(),
        orders: url(),
        expiration: url(),
        payments: url(),
        internal_port,
    })
}

#[tokio::test]
async fn pages_and_forms_over_http() {
    let world = World::new();
    let buyer = world.person(2, "buyer@example.com");
    let boss = world.person(3, "boss@example.com");
    let ticket = world.ticket(10, 1, &json!({}));
    let status = json!({"service": "x", "ready": true, "store": {"epoch": 2, "head": 1234}, "bus": {"connected": false}, "degraded": ["bus", "stripe"]});
    let internal = Router::new().route(
        "/internal/status",
        axum::routing::get(async || axum::Json(status)),
    );
    // As in a cluster: what is for the inside has a port of its own.
    let base = serve(world.api()).await;
    let internal: axum::http::Uri = serve(internal).await.parse().unwrap();
    let upstream = upstream_with_internal(&base, internal.port_u16());
    let site = web::router(settings("http://boxoffice.test"), upstream);
    let mut browser = Browser::of(site.clone());
    browser.cookies.insert("session".into(), buyer);
    let path = format!("/tickets/{ticket}");
    let order = browser.submit(&path, &path, &[]).await.location().to_owned();
    assert!(browser.get(&order).await.html.contains("Reserved for you"));
    let mut operator = Browser::of(site);
    operator.cookies.insert("session".into(), boss);
    let page = operator.get("/ops").await;
    assert!(
        page.html.contains("1,234") && page.html.contains("cut off") && page.html.contains("without stripe"),
        "{}",
        page.main()
    );
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_as_such() {
    // Held and never listened on, so that nobody else is given the port meanwhile.
    let held = TcpSocket::new_v4().unwrap();
    held.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let base = format!("http://{}", held.local_addr().unwrap());
    let mut browser = Browser::of(web::router(settings("http://boxoffice.test"), upstream(&base)));
    for path in ["/".to_owned(), format!("/tickets/{}", id(10))] {
        let page = browser.get(&path).await;
        assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(page.html.contains("We cannot do this right now"));
    }
}

#[tokio::test]
async fn a_service_that_says_not_now_is_asked_again_and_only_for_what_is_read() {
    // As a service does that has just started.
    reads_are_repeated_and_writes_are_not(|| {
        (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "0")]).into_response()
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again_and_only_for_what_is_read() {
    // As a service does that is killed while it answers.
    reads_are_repeated_and_writes_are_not(|| {
        let pieces = [Ok("{\"id\":"), Err(io::Error::other("killed"))];
        let body = Body::from_stream(tokio_stream::iter(pieces));
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    })
    .await;
}

/// Each path and method is answered so at first, and as it should be afterwards.
async fn reads_are_repeated_and_writes_are_not(answer: fn() -> Response) {
    let world = World::new();
    let buyer = world.person(2, "buyer@example.com");
    let ticket = world.ticket(10, 1, &json!({}));
    let met = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&met);
    let at_first = move |request: Request, next: Next| {
        let asked = format!("{} {}", request.method(), request.uri().path());
        let is_new = met.lock().unwrap().insert(asked);
        async move {
            if is_new {
                return answer();
            }
            next.run(request).await
        }
    };
    let base = serve(world.api().layer(from_fn(at_first))).await;
    let mut browser = Browser::of(web::router(settings("http://boxoffice.test"), upstream(&base)));
    browser.cookies.insert("session".into(), buyer);
    let path = format!("/tickets/{ticket}");
    let page = browser.get(&path).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.html);
    let order = browser.submit(&path, &path, &[]).await;
    assert_eq!(order.status, StatusCode::SERVICE_UNAVAILABLE, "{}", order.html);
    assert!(seen.lock().unwrap().contains("POST /api/orders"));
}
