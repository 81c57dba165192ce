//! What is refused before any route is asked: unknown paths, other methods, and what is hardly HTTP.

use http::Method;

use crate::app::{App, NOBODYS_ID};
use crate::checks::problem;
use crate::wire;

/// Every path of the contract and the methods that it has. A GET brings HEAD along.
pub(crate) const PATHS: [(&str, &[&str]); 16] = [
    ("/api/users/signup", &["POST"]),
    ("/api/users/signin", &["POST"]),
    ("/api/users/signout", &["POST"]),
    ("/api/users/password", &["PUT"]),
    ("/api/users/currentuser", &["GET"]),
    ("/api/users/jwks.json", &["GET"]),
    ("/api/tickets", &["GET", "POST"]),
    ("/api/tickets/{id}", &["GET", "PUT", "DELETE"]),
    ("/api/tickets/{id}/orders", &["GET"]),
    ("/api/orders", &["GET", "POST"]),
    ("/api/orders/{id}", &["GET", "DELETE"]),
    ("/api/orders/{id}/refund", &["POST"]),
    ("/api/payments", &["POST"]),
    ("/api/payments/{id}", &["GET"]),
    ("/api/payments/webhook", &["POST"]),
    ("/api/openapi.json", &["GET"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_route_is_404() {
    let app = App::start();
    let ann = app.person("ann").await;
    for path in [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/users",
        "/api/users/",
        "/api/users/me",
        "/api/users/signin/",
        "/api/tickets/",
        "/api//tickets",
        "/api/Tickets",
        "/api/tickets/x/buyers",
        "/api/orders/x/refund/y",
        "/api/payments/webhook/x",
        "/api/%74ickets%00",
        "/api/tickets.json",
        "/api/internal/status",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            problem(&ann.request(method, path).send().await, 404);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_id_does_not_exist() {
    let app = App::start();
    let ann = app.person("ann").await;
    let long = "9".repeat(5_000);
    for id in [
        NOBODYS_ID,
        "1",
        "null",
        "undefined",
        "me",
        "0",
        "-1",
        "0193A4B60C0070008000000000000001",
        "0193a4b60c0070008000000000000001",
        "%7B0193a4b6-0c00-7000-8000-000000000001%7D",
        "00000000-0000-0000-0000-000000000000",
        "5f2b0e9a-7f5c-4f0e-8f6a-0d8f4a1b2c3d",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "%ff%fe",
        "%",
        "%zz",
        "%00",
        "%F0%9F%8E%AB",
        "..",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "' OR 1=1 --",
        &long,
    ] {
        let id = id.replace(' ', "%20");
        for (path, methods) in PATHS.iter().filter(|(path, _)| path.contains("{id}")) {
            for method in *methods {
                let path = path.replace("{id}", &id);
                let method: Method = method.parse().unwrap();
                let request = ann.request(method.clone(), &path);
                let request = match method {
                    Method::PUT => request.json(&serde_json::json!({"title": "x", "price": 1})),
                    _ => request,
                };
                problem(&request.send().await, 404);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_is_405_and_says_which_there_are() {
    let app = App::start();
    let ann = app.person("ann").await;
    for (path, methods) in PATHS {
        let path = path.replace("{id}", NOBODYS_ID);
        let mut allowed = methods.to_vec();
        if allowed.contains(&"GET") {
            allowed.push("HEAD");
        }
        // `/api/payments/webhook` is a POST beside the GET of `/api/payments/{id}`, as routers go: what counts is
        // that the answer is true.
        allowed.sort_unstable();
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
        ] {
            if allowed.contains(&method) {
                continue;
            }
            let answer = ann.request(method.parse().unwrap(), &path).send().await;
            problem(&answer, 405);
            let mut says: Vec<&str> = answer
                .header("allow")
                .unwrap()
                .split(',')
                .map(str::trim)
                .collect();
            says.sort_unstable();
            assert_eq!(says, allowed, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_the_body() {
    let app = App::start();
    let ann = app.person("ann").await;
    let ticket = ann.lists(1).await;
    for path in [
        "/api/tickets".to_owned(),
        format!("/api/tickets/{ticket}"),
        format!("/api/tickets/{ticket}/orders"),
        "/api/orders".to_owned(),
        "/api/users/currentuser".to_owned(),
        "/api/users/jwks.json".to_owned(),
        "/api/openapi.json".to_owned(),
    ] {
        let get = ann.get(&path).expect(200).await;
        let head = ann.request(Method::HEAD, &path).expect(200).await;
        assert!(head.body.is_empty(), "{path}");
        for header in ["content-type", "content-length", "etag", "link"] {
            assert_eq!(head.header(header), get.header(header), "{header} of {path}");
        }
    }
    let missing = ann
        .request(Method::HEAD, format!("/api/tickets/{NOBODYS_ID}"))
        .expect(404)
        .await;
    assert_eq!(missing.header("content-type"), Some("application/problem+json"));
}

/// Before there is a request there is no route and no problem body either: the HTTP parser answers by status alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_hardly_http_is_refused_and_the_rest_goes_on() {
    let app = App::start();
    let host = format!("Host: {}\r\n", app.address());
    let close = "Connection: close\r\n\r\n";
    // The parser reads in steps, so what is refused for sure is more than twice the limit.
    let long = "x".repeat(128 * 1024);
    let many: String = (0..100).map(|n| format!("X-{n}: 1\r\n")).collect();
    let get = |rest: &str| format!("GET /api/tickets HTTP/1.1\r\n{host}{rest}{close}");
    let post = |rest: &str| {
        format!("POST /api/users/signin HTTP/1.1\r\n{host}Content-Type: application/json\r\n{rest}")
    };
    let table: [(String, &[u16]); 10] = [
        (get(""), &[200]),
        (get(&format!("X-Long: {long}\r\n")), &[431]),
        (get(&many), &[431]),
        (get("X Bad: 1\r\n"), &[400]),
        (get("X-Bad: a\u{1}b\r\n"), &[400]),
        (
            format!("GET /api/tickets?q={long} HTTP/1.1\r\n{host}{close}"),
            &[414, 431],
        ),
        ("nonsense\r\n\r\n".to_owned(), &[400]),
        (format!("GET /api tickets HTTP/1.1\r\n{host}{close}"), &[400]),
        (post("Content-Length: two\r\n\r\n{}"), &[400]),
        (post("Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), &[400]),
    ];
    for (request, statuses) in &table {
        let answer = wire::exchange(app.address(), request.as_bytes()).await;
        let status = wire::status(&answer);
        let begins: String = request.chars().take(120).collect();
        assert!(statuses.contains(&status), "{status} for {begins}");
    }
    // Bytes that are no text, in a path and in a header.
    let request = [
        &b"GET /api/tickets/\xff\xfe HTTP/1.1\r\n"[..],
        host.as_bytes(),
        close.as_bytes(),
    ]
    .concat();
    let answer = wire::exchange(app.address(), &request).await;
    assert!([400, 404].contains(&wire::status(&answer)), "{answer}");
    for name in [
        "Authorization: Bearer ",
        "Cookie: session=",
        "If-None-Match: ",
        "Prefer: wait=",
    ] {
        let request = [
            &b"GET /api/users/currentuser HTTP/1.1\r\n"[..],
            host.as_bytes(),
            name.as_bytes(),
            &b"\xff\xfe\r\n"[..],
            close.as_bytes(),
        ]
        .concat();
        let answer = wire::exchange(app.address(), &request).await;
        assert_eq!(wire::status(&answer), 200, "{name}: {answer}");
    }
    app.anyone().get("/api/tickets").expect(200).await;
}
