//! Server-sent events: news reach an open page, streams end with their reader, and are counted.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tower::ServiceExt;

use crate::browser::settings;
use crate::fixture::{World, id};

/// No news takes longer on a busy machine.
const NEWS_SECONDS_MAX: u64 = 20;

/// No news takes longer than this if nothing else is to be done on the machine; so it is measured several times.
const NEWS_AT_ONCE: Duration = Duration::from_millis(500);

/// How often.
const MEASURED: i64 = 5;

struct Stream {
    body: BodyDataStream,
    text: String,
}

impl Stream {
    async fn next(&mut self) -> Option<(String, String)> {
        let deadline = Duration::from_secs(NEWS_SECONDS_MAX);
        tokio::time::timeout(deadline, async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let field = |name: &str| {
                        event
                            .lines()
                            .find_map(|line| line.strip_prefix(name))
                            .unwrap_or_default()
                            .trim()
                            .to_owned()
                    };
                    let told = (field("event:"), field("data:"));
                    self.text = rest.to_owned();
                    return Some(told);
                }
                let chunk = self.body.next().await?.unwrap();
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        })
        .await
        .expect("news come in time")
    }

    async fn news(&mut self) -> (String, Value) {
        let (event, data) = self.next().await.expect("the stream goes on");
        (event, serde_json::from_str(&data).unwrap())
    }
}

async fn open(site: &axum::Router, path: &str, token: &str) -> Result<Stream, StatusCode> {
    let request = Request::get(path)
        .header(header::COOKIE, format!("session={token}"))
        .body(Body::empty())
        .unwrap();
    let response = site.clone().oneshot(request).await.unwrap();
    if response.status() != StatusCode::OK {
        return Err(response.status());
    }
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    Ok(Stream {
        body: response.into_body().into_data_stream(),
        text: String::new(),
    })
}

fn site(world: &World, streams: usize) -> axum::Router {
    let mut settings = settings("http://boxoffice.test");
    settings.live_streams_max = streams;
    web::router(settings, web::Upstream::in_process(world.api()))
}

#[tokio::test]
async fn a_ticket_that_sells_out_elsewhere_is_told_at_once() {
    let world = World::new();
    let ticket = world.ticket(10, 1, &json!({"quantity": 2, "available": 2}));
    let site = site(&world, 10);
    let mut stream = open(&site, &format!("/live?ticket={ticket}"), "").await.unwrap();
    let (event, data) = stream.news().await;
    assert_eq!(
        (event.as_str(), &data["available"], &data["price"]),
        ("ticket", &json!(2), &json!("$45.00"))
    );
    let mut times = Vec::new();
    for version in 2..2 + MEASURED {
        let available = version % 2;
        let changed = std::time::Instant::now();
        world.change(|books| {
            let ticket = books.tickets.get_mut(&ticket).unwrap();
            (ticket["available"], ticket["version"]) = (json!(available), json!(version));
        });
        let (_, data) = stream.news().await;
        times.push(changed.elapsed());
        assert_eq!(
            (&data["available"], &data["version"]),
            (&json!(available), &json!(version))
        );
    }
    times.sort();
    assert!(times[0] < NEWS_AT_ONCE, "{times:?}");
    world.change(|books| drop(books.tickets.remove(&ticket)));
    assert_eq!(
        stream.next().await.unwrap(),
        ("gone".to_owned(), "ticket".to_owned())
    );
    assert_eq!(stream.next().await, None, "there is nothing more to tell");
}

#[tokio::test]
async fn an_order_is_told_to_its_buyer_only() {
    let world = World::new();
    let seller = world.person(1, "seller@example.com");
    let buyer = world.person(2, "buyer@example.com");
    let ticket = world.ticket(10, 1, &json!({}));
    let order = world.order(100, 2, &ticket, &json!({}));
    let site = site(&world, 10);
    let path = format!("/live?ticket={ticket}&order={order}");
    let mut stream = open(&site, &path, &buyer).await.unwrap();
    let (first, second) = (stream.news().await, stream.news().await);
    let order_news = if first.0 == "order" { first } else { second };
    assert_eq!(order_news.1["status"], json!("awaiting:payment"));
    world.set_order(&order, "complete");
    let (event, data) = stream.news().await;
    assert_eq!((event.as_str(), &data["status"]), ("order", &json!("complete")));
    let mut foreign = open(&site, &format!("/live?order={order}"), &seller)
        .await
        .unwrap();
    assert_eq!(
        foreign.next().await.unwrap(),
        ("gone".to_owned(), "order".to_owned())
    );
}

#[tokio::test]
async fn streams_are_counted_and_end_with_their_reader() {
    let world = World::new();
    let ticket = world.ticket(10, 1, &json!({}));
    let site = site(&world, 1);
    let path = format!("/live?ticket={ticket}");
    let mut first = open(&site, &path, "").await.unwrap();
    first.news().await;
    assert_eq!(
        open(&site, &path, "").await.err(),
        Some(StatusCode::SERVICE_UNAVAILABLE)
    );
    drop(first);
    let again = async {
        while open(&site, &path, "").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(NEWS_SECONDS_MAX), again)
        .await
        .expect("the place is free again");
}

#[tokio::test]
async fn streams_end_when_the_site_stops() {
    let world = World::new();
    let ticket = world.ticket(10, 1, &json!({}));
    let (stop, shutdown) = service::ShutdownTrigger::new();
    let settings = settings("http://boxoffice.test").with_shutdown(shutdown);
    let site = web::router(settings, web::Upstream::in_process(world.api()));
    let mut stream = open(&site, &format!("/live?ticket={ticket}"), "").await.unwrap();
    stream.news().await;
    stop.begin();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn what_cannot_be_watched_is_not_found() {
    let site = site(&World::new(), 1);
    for path in ["/live", "/live?ticket=x", "/live?other=1"] {
        assert_eq!(
            open(&site, path, "").await.err(),
            Some(StatusCode::NOT_FOUND),
            "{path}"
        );
    }
    let mut stream = open(&site, &format!("/live?ticket={}", id(1)), "").await.unwrap();
    assert_eq!(stream.next().await.unwrap().0, "gone");
}
