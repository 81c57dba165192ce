//! What every route that takes a body refuses in the same way: not signed in, another kind of body, a broken one, one
//! that is too large, and fields that nobody asked for.

use http::Method;
use serde_json::{Value, json};
use testkit::{Client, Request};

use crate::app::{App, NOBODYS_ID, PASSWORD, Person};
use crate::checks::{blames, problem, says};
use crate::wire;

/// One more than the contract takes.
const TOO_LARGE_BYTES: usize = 64 * 1024 + 1;

/// A route that takes JSON, and what it would take.
struct Taker {
    method: Method,
    path: String,
    good: Value,
    signed_in: bool,
    /// Whether nothing at all will do, too.
    optional: bool,
}

impl Taker {
    fn ask<'a>(&self, client: &'a Client) -> Request<'a> {
        client.request(self.method.clone(), &self.path)
    }
}

/// All routes that take JSON. The paths are those of things that exist, so that only the body can be to blame.
async fn takers(app: &App, ann: &Person) -> Vec<Taker> {
    let ticket = ann.lists(9).await;
    let sold = app.person("sal").await.lists(9).await;
    let order = ann.reserves(&sold, 1).await;
    let taker = |method, path: &str, good, signed_in| Taker {
        method,
        path: path.to_owned(),
        good,
        signed_in,
        optional: false,
    };
    let person = json!({"email": "someone@example.org", "password": PASSWORD});
    vec![
        taker(Method::POST, "/api/users/signup", person.clone(), false),
        taker(Method::POST, "/api/users/signin", person, false),
        Taker {
            optional: true,
            ..taker(
                Method::POST,
                "/api/users/signout",
                json!({"everywhere": false}),
                false,
            )
        },
        taker(
            Method::PUT,
            "/api/users/password",
            json!({"current": PASSWORD, "new": "another long secret"}),
            true,
        ),
        taker(
            Method::POST,
            "/api/tickets",
            json!({"title": "A show", "price": 20}),
            true,
        ),
        taker(
            Method::PUT,
            &format!("/api/tickets/{ticket}"),
            json!({"title": "A show", "price": 20}),
            true,
        ),
        taker(Method::POST, "/api/orders", json!({"ticketId": sold}), true),
        taker(Method::POST, "/api/payments", json!({"orderId": order}), true),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_fit_is_refused_by_every_route() {
    let app = App::start();
    let ann = app.person("ann").await;
    for taker in takers(&app, &ann).await {
        let what = format!("{} {}", taker.method, taker.path);
        let good = taker.good.to_string();
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/json",
            "nonsense",
            "application/xml",
        ] {
            problem(&taker.ask(&ann).body(kind, good.clone()).send().await, 415);
        }
        if !taker.optional {
            problem(&taker.ask(&ann).send().await, 415);
            problem(&taker.ask(&ann).body("application/json", "").send().await, 400);
        }
        // serde takes a list for a struct whose fields are given by position; the contract does not.
        let values: Vec<&Value> = taker.good.as_object().unwrap().values().collect();
        let by_position = serde_json::to_vec(&values).unwrap();
        let deep = "[".repeat(20_000);
        let deep_field = format!("{{\"x\":{}", "{\"x\":".repeat(10_000));
        let broken: [&[u8]; 15] = [
            &by_position,
            b"{",
            b"[]",
            b"null",
            b"true",
            b"1",
            b"\"text\"",
            b"NaN",
            b"{'title':'x'}",
            b"{\"a\":1,}",
            b"\xff\xfe\x00",
            b"\xef\xbb\xbf{}",
            b"{\"\xff\":1}",
            deep.as_bytes(),
            deep_field.as_bytes(),
        ];
        for body in broken {
            let answer = taker
                .ask(&ann)
                .body("application/json", body.to_vec())
                .send()
                .await;
            // Where nothing at all will do, `null` says nothing.
            if taker.optional && body == b"null" && answer.status == 200 {
                continue;
            }
            problem(&answer, 400);
        }
        let trailing = format!("{good} {good}");
        says(
            &taker.ask(&ann).body("application/json", trailing).send().await,
            400,
            "The body can't be read: trailing characters",
        );
        refuses_fields(&taker, &ann, &good).await;
        let padded = format!("{good}{}", " ".repeat(TOO_LARGE_BYTES - good.len()));
        problem(
            &taker
                .ask(&ann)
                .body("application/json", padded.clone())
                .send()
                .await,
            413,
        );
        problem(&taker.ask(&ann).body("text/plain", padded).send().await, 413);
        if taker.signed_in {
            let stranger = app.anyone();
            problem(&taker.ask(&stranger).json(&taker.good).send().await, 401);
            problem(
                &taker.ask(&stranger).body("application/json", "{").send().await,
                401,
            );
            stranger.set_cookie("session", "nonsense");
            problem(&taker.ask(&stranger).json(&taker.good).send().await, 401);
            let token = "a.b.c";
            problem(
                &taker
                    .ask(&app.anyone().with_bearer(token))
                    .json(&taker.good)
                    .send()
                    .await,
                401,
            );
        }
        eprintln!("{what}: refuses what it must");
    }
    // After all of that nothing has changed, and ann is still signed in.
    let mine = ann.get("/api/tickets?seller=me").expect(200).await.json();
    assert_eq!(mine.as_array().unwrap().len(), 1);
    assert_eq!(mine[0]["version"], 1);
}

/// Every known field once in a wrong type, twice, and missing where it is needed; and fields that are not known.
async fn refuses_fields(taker: &Taker, ann: &Person, good: &str) {
    let send = async |body: String| taker.ask(ann).body("application/json", body).send().await;
    let object = taker.good.as_object().unwrap();
    for (name, value) in object {
        for wrong in [json!([]), json!({}), json!([value])] {
            let mut body = taker.good.clone();
            body[name] = wrong;
            blames(&send(body.to_string()).await, &[name]);
        }
        let twice = format!("{{\"{name}\":{value},{}", &good[1..]);
        blames(&send(twice).await, &[name]);
        if !taker.optional {
            let mut body = taker.good.clone();
            body.as_object_mut().unwrap().remove(name);
            blames(&send(body.to_string()).await, &[name]);
        }
    }
    for unknown in ["role", "userId", "version", "__proto__", "Title", "id", ""] {
        let mut body = taker.good.clone();
        body[unknown] = json!("admin");
        blames(&send(body.to_string()).await, &[unknown]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_413_however_it_comes() {
    let app = App::start();
    let ann = app.person("ann").await;
    let order = {
        let ticket = app.person("sal").await.lists(1).await;
        ann.reserves(&ticket, 1).await
    };
    let large = "x".repeat(TOO_LARGE_BYTES);
    for path in [
        "/api/payments/webhook".to_owned(),
        format!("/api/orders/{order}/refund"),
        "/api/users/signup".to_owned(),
    ] {
        let answer = ann
            .request(Method::POST, &path)
            .body("application/json", large.clone())
            .send()
            .await;
        problem(&answer, 413);
        // In chunks nobody announces how much will come.
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nCookie: session={}\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            app.address(),
            ann.token(),
        );
        let chunks = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
        let refused = wire::exchange(app.address(), format!("{head}{chunks}").as_bytes()).await;
        assert_eq!(wire::status(&refused), 413, "{path}: {refused}");
        assert!(refused.contains("application/problem+json"), "{refused}");
    }
    // Just within the limit a body is read, and refused for what it says.
    let fits = format!("\"{}\"", "x".repeat(TOO_LARGE_BYTES - 3));
    let answer = ann
        .request(Method::POST, "/api/tickets")
        .body("application/json", fits)
        .send()
        .await;
    problem(&answer, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_signed_in_is_told_so() {
    let app = App::start();
    let stranger = app.anyone();
    for (method, path) in [
        (Method::PUT, "/api/users/password".to_owned()),
        (Method::GET, "/api/tickets?seller=me".to_owned()),
        (Method::POST, "/api/tickets".to_owned()),
        (Method::PUT, format!("/api/tickets/{NOBODYS_ID}")),
        (Method::DELETE, format!("/api/tickets/{NOBODYS_ID}")),
        (Method::GET, format!("/api/tickets/{NOBODYS_ID}/orders")),
        (Method::POST, "/api/orders".to_owned()),
        (Method::GET, "/api/orders".to_owned()),
        (Method::GET, format!("/api/orders/{NOBODYS_ID}")),
        (Method::DELETE, format!("/api/orders/{NOBODYS_ID}")),
        (Method::POST, format!("/api/orders/{NOBODYS_ID}/refund")),
        (Method::POST, "/api/payments".to_owned()),
        (Method::GET, format!("/api/payments/{NOBODYS_ID}")),
    ] {
        says(&stranger.request(method, path).send().await, 401, "Not signed in");
    }
}
