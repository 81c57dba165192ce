//! Listing a ticket: what is taken, what is refused, and how it is shown.

use serde_json::{Value, json};

use crate::app::{App, NOBODYS_ID, text};
use crate::checks::{blames, has_exactly, is_utc, problem};

const FIELDS: [&str; 14] = [
    "id",
    "title",
    "description",
    "price",
    "currency",
    "quantity",
    "available",
    "venue",
    "startsAt",
    "timeZone",
    "userId",
    "version",
    "createdAt",
    "updatedAt",
];

/// A ticket with one field put in.
fn with(field: &str, value: Value) -> Value {
    let mut ticket = json!({"title": "A show", "price": 20});
    ticket[field] = value;
    ticket
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_what_its_seller_said() {
    let app = App::start();
    let sal = app.person("sal").await;
    let answer = sal
        .post(
            "/api/tickets",
            &json!({
                "title": "  Nils Frahm, live  ", "price": 45.5, "currency": "eur", "quantity": 3,
                "description": "Row 4\n\"centre\" <b>&amp;</b> 🎫", "venue": "Philharmonie",
                "startsAt": "2027-05-01T20:00:00+02:00[Europe/Berlin]",
            }),
        )
        .expect(201)
        .await;
    let ticket = answer.json();
    has_exactly(&ticket, &FIELDS);
    let id = text(&ticket, "id");
    assert_eq!(
        answer.header("location"),
        Some(format!("/api/tickets/{id}").as_str())
    );
    assert_eq!(answer.header("etag"), Some("\"1\""));
    for (field, value) in [
        ("title", json!("Nils Frahm, live")),
        ("description", json!("Row 4\n\"centre\" <b>&amp;</b> 🎫")),
        ("price", json!(45.5)),
        ("currency", json!("eur")),
        ("quantity", json!(3)),
        ("available", json!(3)),
        ("venue", json!("Philharmonie")),
        ("startsAt", json!("2027-05-01T18:00:00Z")),
        ("timeZone", json!("Europe/Berlin")),
        ("userId", json!(sal.id)),
        ("version", json!(1)),
    ] {
        assert_eq!(ticket[field], value, "{field}");
    }
    assert!(is_utc(&ticket["createdAt"]) && ticket["createdAt"] == ticket["updatedAt"]);
    // Anyone may see it, at the place that was named.
    let read = app
        .anyone()
        .get(answer.header("location").unwrap())
        .expect(200)
        .await;
    assert_eq!(read.json(), ticket);
    assert_eq!(read.header("etag"), Some("\"1\""));

    // What need not be said is not made up.
    let plain = sal.sells(&json!({"title": "A", "price": 1})).await;
    has_exactly(&plain, &FIELDS);
    for (field, value) in [
        ("description", json!("")),
        ("currency", json!("usd")),
        ("quantity", json!(1)),
        ("venue", Value::Null),
        ("startsAt", Value::Null),
        ("timeZone", Value::Null),
    ] {
        assert_eq!(plain[field], value, "{field}");
    }
    // `null` says as little as nothing.
    let nulls = json!({"title": "A", "price": 1, "currency": null, "quantity": null, "description": null,
        "venue": null, "startsAt": null});
    let nulls = sal.sells(&nulls).await;
    for field in ["currency", "quantity", "description", "venue", "startsAt"] {
        assert_eq!(nulls[field], plain[field], "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_exact_in_every_currency() {
    let app = App::start();
    let sal = app.person("sal").await;
    let send = async |price: &str, currency: &str| {
        // As text, so that no number of this test passes through a float.
        let body = format!(r#"{{"title":"A show","price":{price},"currency":"{currency}"}}"#);
        let request = sal.request(http::Method::POST, "/api/tickets");
        request.body("application/json", body).send().await
    };
    for (price, currency, shown) in [
        ("20", "usd", "20"),
        ("20.00", "usd", "20"),
        ("20.5", "usd", "20.5"),
        ("0.01", "usd", "0.01"),
        ("0.1", "eur", "0.1"),
        ("\"19.99\"", "gbp", "19.99"),
        ("\"20.5000\"", "usd", "20.5"),
        ("999999.99", "chf", "999999.99"),
        ("\"0000012.30\"", "usd", "12.3"),
        ("500", "jpy", "500"),
        ("500.0", "jpy", "500"),
        ("99999999", "jpy", "99999999"),
        ("\"1\"", "krw", "1"),
        ("1.234", "kwd", "1.234"),
        ("\"0.001\"", "kwd", "0.001"),
        ("99999.999", "kwd", "99999.999"),
    ] {
        let answer = send(price, currency).await;
        assert_eq!(answer.status, 201, "{price} {currency}: {}", answer.text());
        let expected = format!("\"price\":{shown},\"currency\":\"{currency}\"");
        assert!(
            answer.text().contains(&expected),
            "{price} {currency}: {}",
            answer.text()
        );
    }
    for (price, currency) in [
        ("0", "usd"),
        ("0.00", "usd"),
        ("\"0\"", "usd"),
        ("-1", "usd"),
        ("-0.01", "usd"),
        ("-0", "usd"),
        ("\"-5\"", "usd"),
        ("20.001", "usd"),
        ("0.001", "usd"),
        ("0.1", "jpy"),
        ("500.5", "krw"),
        ("1.2345", "kwd"),
        ("1e3", "usd"),
        ("1E3", "usd"),
        ("1e-2", "usd"),
        ("1e400", "usd"),
        ("\"1e3\"", "usd"),
        ("1000000", "usd"),
        ("100000", "kwd"),
        ("100000000", "jpy"),
        ("99999999999999999999999999", "usd"),
        ("\"\"", "usd"),
        ("\" 5\"", "usd"),
        ("\"5 \"", "usd"),
        ("\"+5\"", "usd"),
        ("\".5\"", "usd"),
        ("\"5.\"", "usd"),
        ("\"5,00\"", "usd"),
        ("\"$5\"", "usd"),
        ("\"0x10\"", "usd"),
        ("\"NaN\"", "usd"),
        ("\"Infinity\"", "usd"),
        ("\"٣\"", "usd"),
        ("\"five\"", "usd"),
        ("null", "usd"),
        ("true", "usd"),
        ("[5]", "usd"),
        ("{\"amount\":5}", "usd"),
    ] {
        let answer = send(price, currency).await;
        assert_eq!(answer.status, 400, "{price} {currency}: {}", answer.text());
        blames(&answer, &["price"]);
    }
    for currency in ["", "USD", "us", "usdx", "xxx", "€", "btc"] {
        blames(&send("20", currency).await, &["currency"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_makes_no_sense_is_refused_by_field() {
    let app = App::start();
    let sal = app.person("sal").await;
    let (longest, too_long) = ("ä".repeat(200), "ä".repeat(201));
    let (essay, too_much) = ("é".repeat(5_000), "é".repeat(5_001));
    let good = [
        with("title", json!(longest)),
        with("title", json!("x")),
        with("quantity", json!(1)),
        with("quantity", json!(100_000)),
        with("description", json!("")),
        with("description", json!(essay)),
        with("venue", json!(longest)),
        with("venue", json!("")),
        with("startsAt", json!("2027-05-01T20:00:00Z")),
        with("startsAt", json!("2027-05-01T20:00:00.5Z")),
        with("startsAt", json!("2027-05-01T20:00:00+14:00")),
        with("startsAt", json!("2027-05-01T20:00:00-11:30")),
        with("startsAt", json!("2027-05-01T20:00[America/Los_Angeles]")),
        with("startsAt", json!("2001-01-01T00:00:00Z")),
    ];
    for ticket in good {
        sal.sells(&ticket).await;
    }
    let mut wrong = Vec::new();
    for value in [
        json!(""),
        json!("   "),
        json!("\n\t"),
        json!("a\u{0}b"),
        json!("\u{7f}"),
        json!(too_long),
        json!(5),
        json!(null),
    ] {
        wrong.push(("title", value));
    }
    for value in [
        json!(0),
        json!(-1),
        json!(100_001),
        json!(1.5),
        json!(1.0),
        json!("1"),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
    ] {
        wrong.push(("quantity", value));
    }
    for value in [json!(too_much), json!(5), json!("a\u{1b}[31m")] {
        wrong.push(("description", value));
    }
    for value in [json!(too_long), json!(["x"]), json!("a\u{8}")] {
        wrong.push(("venue", value));
    }
    for value in [
        json!("soon"),
        json!("2027-05-01"),
        json!("2027-05-01T20:00:00"),
        json!("2027-05-01 20:00"),
        json!("20:00+02:00"),
        json!("2027-02-30T20:00:00Z"),
        json!("2027-05-01T25:00:00Z"),
        json!("2027-05-01T20:00:00+25:99"),
        json!("2027-05-01T20:00:00+05:00[Europe/Berlin]"),
        json!("2027-05-01T20:00:00+02:00[Europe/Atlantis]"),
        json!("99999-01-01T00:00:00Z"),
        json!(1_800_000_000),
        json!("9".repeat(1_000)),
    ] {
        wrong.push(("startsAt", value));
    }
    for (field, value) in wrong {
        let answer = sal.post("/api/tickets", &with(field, value.clone())).send().await;
        assert_eq!(answer.status, 400, "{field} {value}: {}", answer.text());
        blames(&answer, &[field]);
    }
    // Everything that is wrong is said at once.
    let all = json!({"title": "", "price": 0, "currency": "usd", "quantity": 0, "venue": too_long,
        "description": too_much, "startsAt": "soon"});
    blames(
        &sal.post("/api/tickets", &all).send().await,
        &["title", "price", "quantity", "venue", "description", "startsAt"],
    );
    let mine = sal
        .get("/api/tickets?seller=me&limit=100")
        .expect(200)
        .await
        .json();
    assert_eq!(
        mine.as_array().unwrap().len(),
        14,
        "a refused ticket is not listed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_known_is_not_sent_again() {
    let app = App::start();
    let sal = app.person("sal").await;
    let path = format!("/api/tickets/{}", sal.lists(1).await);
    let stranger = app.anyone();
    for (known, status) in [
        ("\"1\"", 304),
        ("W/\"1\"", 304),
        ("\"7\", \"1\"", 304),
        ("*", 304),
        ("\"2\"", 200),
        ("\"another kind\"", 200),
    ] {
        let answer = stranger
            .get(&path)
            .header("if-none-match", known)
            .expect(status)
            .await;
        assert_eq!(answer.header("etag"), Some("\"1\""), "{known}");
        assert_eq!(answer.body.is_empty(), status == 304, "{known}");
    }
    let malformed = stranger.get(&path).header("if-none-match", "1").send().await;
    problem(&malformed, 400);
    problem(
        &stranger.get(format!("/api/tickets/{NOBODYS_ID}")).send().await,
        404,
    );
    problem(&stranger.get(format!("{path}/")).send().await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_a_ticket_answers_when_it_changes() {
    let app = App::start();
    let sal = app.person("sal").await;
    let path = format!("/api/tickets/{}", sal.lists(1).await);
    let stranger = app.anyone();
    let watch = async |tag: &str, wait: &str| {
        let request = stranger
            .get(&path)
            .header("if-none-match", tag)
            .header("prefer", wait);
        request.send().await
    };
    assert_eq!(watch("\"1\"", "wait=1").await.status, 304);
    let change = json!({"title": "Another show", "price": 25});
    let (seen, _) = tokio::join!(watch("\"1\"", "wait=30"), sal.put(&path, &change).expect(200));
    assert_eq!(seen.status, 200, "{}", seen.text());
    assert_eq!(seen.header("etag"), Some("\"2\""));
    assert_eq!(seen.json()["title"], "Another show");
    // Withdrawn, it is gone for those who watch, too.
    let (seen, _) = tokio::join!(watch("\"2\"", "wait=30"), sal.delete(&path).expect(204));
    problem(&seen, 404);
}
