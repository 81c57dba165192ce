//! `/live`: news of a ticket and of one's own order, as they happen, over the real system.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::{App, NOBODYS_ID, Person, SOON};
use crate::checks::is_utc;

/// A page that listens.
struct Page {
    stream: TcpStream,
    heard: String,
}

impl Page {
    /// Opens a stream; gives the head of the answer along.
    async fn open(app: &App, query: &str, who: Option<&Person>) -> (String, Self) {
        let cookie = who.map_or_else(String::new, |who| format!("Cookie: session={}\r\n", who.token()));
        let request = format!(
            "GET /live?{query} HTTP/1.1\r\nHost: {}\r\n{cookie}Accept: text/event-stream\r\n\r\n",
            app.address()
        );
        let mut stream = TcpStream::connect(app.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut page = Self {
            stream,
            heard: String::new(),
        };
        let head = page.until("\r\n\r\n").await;
        (head, page)
    }

    /// The next event that is no heartbeat: its name and its data.
    async fn news(&mut self) -> (String, String) {
        loop {
            let event = self.until("\n\n").await;
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                return (name.to_owned(), data.to_owned());
            }
        }
    }

    /// News of one kind whose data is as it should be.
    async fn hears(&mut self, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (name, data) = self.news().await;
            let data: Value = serde_json::from_str(&data).unwrap();
            if name == kind && is(&data) {
                return data;
            }
        }
    }

    async fn until(&mut self, end: &str) -> String {
        let read = async {
            loop {
                if let Some(at) = self.heard.find(end) {
                    let rest = self.heard.split_off(at + end.len());
                    return std::mem::replace(&mut self.heard, rest);
                }
                let mut bytes = [0; 4096];
                let count = self.stream.read(&mut bytes).await.unwrap();
                assert!(count > 0, "the stream ended after {}", self.heard);
                self.heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        tokio::time::timeout(SOON, read).await.expect("news come in time")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_hears_of_its_ticket_and_its_order() {
    let app = App::start();
    let (sal, bob, eve) = (
        app.person("sal").await,
        app.person("bob").await,
        app.person("eve").await,
    );
    let ticket = sal.lists(3).await;
    let (head, mut anyone) = Page::open(&app, &format!("ticket={ticket}"), None).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let news = anyone.hears("ticket", |_| true).await;
    assert_eq!(news["available"], 3, "{news}");
    assert_eq!(news["price"], "$20.00", "{news}");
    assert!(is_utc(&news["now"]), "{news}");

    let order = bob.reserves(&ticket, 2).await;
    anyone.hears("ticket", |news| news["available"] == 1).await;
    let query = format!("ticket={ticket}&order={order}");
    let (_, mut his) = Page::open(&app, &query, Some(&bob)).await;
    his.hears("order", |news| news["status"] == "awaiting:payment")
        .await;
    bob.delete(format!("/api/orders/{order}")).expect(204).await;
    his.hears("order", |news| news["status"] == "cancelled").await;
    anyone.hears("ticket", |news| news["available"] == 3).await;

    // Nobody else hears of an order: to them there is none.
    for who in [None, Some(&eve), Some(&sal)] {
        let (_, mut page) = Page::open(&app, &format!("order={order}"), who).await;
        assert_eq!(page.news().await, ("gone".to_owned(), "order".to_owned()));
    }
    let (_, mut page) = Page::open(&app, &format!("ticket={NOBODYS_ID}"), None).await;
    assert_eq!(page.news().await, ("gone".to_owned(), "ticket".to_owned()));
    for query in ["", "ticket=nonsense", "order=1", "nothing=else"] {
        let (head, _) = Page::open(&app, query, None).await;
        assert!(head.starts_with("HTTP/1.1 404"), "{query}: {head}");
    }
    tokio::time::timeout(
        Duration::from_secs(5),
        app.anyone().get("/api/tickets").expect(200),
    )
    .await
    .expect("streams keep nobody waiting");
}
