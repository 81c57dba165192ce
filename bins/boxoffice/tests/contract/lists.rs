//! Lists: every order, every filter, and pages that show each thing exactly once.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use testkit::Client;

use crate::app::{App, Person};
use crate::checks::{blames, problem};

/// More pages than any list of these tests has; a list that goes on is a circle.
const PAGES_MAX: usize = 200;

/// The ids of a whole list, page by page, as `Link` leads.
pub(crate) async fn walk(client: &Client, path: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut next = Some(path.to_owned());
    let limit: usize = path
        .split("limit=")
        .nth(1)
        .and_then(|rest| rest.split('&').next())
        .map_or(20, |limit| limit.parse().unwrap());
    for _ in 0..PAGES_MAX {
        let Some(path) = next.take() else { return ids };
        let answer = client.get(&path).expect(200).await;
        let page = answer.json();
        let page = page.as_array().unwrap();
        assert!(page.len() <= limit, "{path}: {} rows", page.len());
        ids.extend(page.iter().map(|row| crate::app::text(row, "id")));
        next = answer.header("link").map(|link| {
            let (target, rest) = link.trim_start_matches('<').split_once('>').unwrap();
            assert_eq!(rest, "; rel=\"next\"", "{link}");
            assert_eq!(page.len(), limit, "a page before the last is full: {path}");
            target.to_owned()
        });
    }
    panic!("{path} goes on for ever");
}

/// What these tests list: many shows, with equal prices and dates among them.
async fn stock(sal: &Person) -> Vec<Value> {
    let mut tickets = Vec::new();
    for n in 0..23_u32 {
        let price = ["5", "12.50", "12.50", "99.99", "7"][n as usize % 5];
        let (title, venue) = match n % 4 {
            0 => (format!("Jazz night {n}"), json!("Blue Note")),
            1 => (format!("Große Oper {n}"), json!("Opernhaus Zürich")),
            2 => (format!("Rock & Roll {n}"), json!("Jazzkeller")),
            _ => (format!("日本 concert {n}"), Value::Null),
        };
        let mut ticket = json!({"title": title, "venue": venue, "price": price});
        if n % 6 != 5 {
            ticket["startsAt"] = json!(format!("2027-{:02}-15T20:00:00Z", 1 + n % 7));
        }
        if n % 9 == 8 {
            ticket["currency"] = json!("jpy");
            ticket["price"] = json!(13);
        }
        tickets.push(sal.sells(&ticket).await);
    }
    tickets
}

fn cents(ticket: &Value) -> i64 {
    let text = ticket["price"].to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{fraction:0<2}").parse().unwrap()
}

fn begins(ticket: &Value) -> &str {
    ticket["startsAt"].as_str().unwrap_or("9999")
}

fn id(ticket: &Value) -> String {
    crate::app::text(ticket, "id")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_and_filter_shows_each_ticket_once() {
    let app = App::start();
    let sal = app.person("sal").await;
    let tickets = stock(&sal).await;
    let anyone = app.anyone();
    let has = |word: &str| {
        let word = word.to_owned();
        move |ticket: &Value| {
            let text = format!("{} {}", ticket["title"], ticket["venue"]).to_lowercase();
            text.split(|c: char| !c.is_alphanumeric()).any(|w| w == word)
        }
    };
    let starts = |word: &str| {
        let word = word.to_owned();
        move |ticket: &Value| {
            let text = format!("{} {}", ticket["title"], ticket["venue"]).to_lowercase();
            text.split(|c: char| !c.is_alphanumeric())
                .any(|w| w.starts_with(&word))
        }
    };
    type Keep = Box<dyn Fn(&Value) -> bool>;
    let dated = |ticket: &Value| ticket["startsAt"].is_string();
    let filters: Vec<(&str, Keep)> = vec![
        ("", Box::new(|_| true)),
        ("q=", Box::new(|_| true)),
        ("q=jazz", Box::new(starts("jazz"))),
        ("q=JAZZ", Box::new(starts("jazz"))),
        ("q=jaz", Box::new(starts("jaz"))),
        (
            "q=night+blue",
            Box::new(move |t| has("night")(t) && starts("blue")(t)),
        ),
        ("q=jazz+ni", Box::new(move |t| has("jazz")(t) && starts("ni")(t))),
        ("q=gro%C3%9Fe", Box::new(starts("große"))),
        ("q=Z%C3%9CRICH", Box::new(starts("zürich"))),
        ("q=%E6%97%A5%E6%9C%AC", Box::new(starts("日本"))),
        ("q=%26%26%26", Box::new(|_| true)),
        ("q=nothinglikethis", Box::new(|_| false)),
        (
            "from=2027-03-15",
            Box::new(move |t| dated(t) && begins(t) >= "2027-03-15"),
        ),
        (
            "to=2027-03-15",
            Box::new(move |t| dated(t) && begins(t) <= "2027-03-15T23:59"),
        ),
        (
            "to=2027-03-14",
            Box::new(move |t| dated(t) && begins(t) < "2027-03-15"),
        ),
        (
            "from=2027-02-15T21:00:00%2B01:00&to=2027-05-15T20:00:00Z",
            Box::new(move |t| {
                dated(t) && (begins(t) >= "2027-02-15T20:00:00Z") && (begins(t) <= "2027-05-15T20:00:00Z")
            }),
        ),
        ("from=2028-01-01", Box::new(|_| false)),
        ("from=2027-06-01&to=2027-02-01", Box::new(|_| false)),
        ("minPrice=12.50", Box::new(|t| cents(t) >= 1250)),
        ("maxPrice=12.50", Box::new(|t| cents(t) <= 1250)),
        (
            "minPrice=7&maxPrice=13",
            Box::new(|t| (700..=1300).contains(&cents(t))),
        ),
        ("minPrice=12.5001", Box::new(|_| true)),
        ("minPrice=0&maxPrice=999999.99", Box::new(|_| true)),
        ("minPrice=50&maxPrice=10", Box::new(|_| false)),
        (
            "q=jazz&minPrice=6&from=2027-01-01&to=2027-12-31",
            Box::new(move |t| starts("jazz")(t) && cents(t) >= 600 && dated(t)),
        ),
        ("q=&from=&to=&minPrice=&maxPrice=", Box::new(|_| true)),
    ];
    for (query, keep) in &filters {
        // Finer than any currency: such a bound is refused and not rounded.
        if query.contains("12.5001") {
            blames(
                &anyone.get(format!("/api/tickets?{query}")).send().await,
                &["minPrice"],
            );
            continue;
        }
        let kept: Vec<&Value> = tickets.iter().filter(|ticket| keep(ticket)).collect();
        for sort in ["", "newest", "date", "price", "-price"] {
            let mut expected = kept.clone();
            expected.sort_by_key(|ticket| id(ticket));
            match sort {
                "date" => expected.sort_by_key(|ticket| begins(ticket)),
                "price" => expected.sort_by_key(|ticket| cents(ticket)),
                "-price" => {
                    expected.reverse();
                    expected.sort_by_key(|ticket| -cents(ticket));
                }
                _ => expected.reverse(),
            }
            let expected: Vec<String> = expected.into_iter().map(id).collect();
            let sort = if sort.is_empty() {
                String::new()
            } else {
                format!("&sort={sort}")
            };
            for limit in ["", "&limit=1", "&limit=4", "&limit=100"] {
                let path = format!("/api/tickets?{query}{sort}{limit}");
                if limit == "&limit=1" && !query.is_empty() {
                    continue;
                }
                assert_eq!(walk(&anyone, &path).await, expected, "{path}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_makes_no_sense_is_refused_by_parameter() {
    let app = App::start();
    let sal = app.person("sal").await;
    for _ in 0..3 {
        sal.lists(1).await;
    }
    let long = "x".repeat(201);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("sort=cheapest", "sort"),
        ("sort=", "sort"),
        ("sort=PRICE", "sort"),
        ("sort=price,date", "sort"),
        ("after=", "after"),
        ("after=%00", "after"),
        ("after=bm9uc2Vuc2U", "after"),
        ("after=W10", "after"),
        ("after=WzAsIjEiXQ", "after"),
        ("from=soon", "from"),
        ("from=2027-05-01T20:00:00", "from"),
        ("from=2027-13-01", "from"),
        ("to=2027-02-30", "to"),
        ("to=20270501T1", "to"),
        ("minPrice=cheap", "minPrice"),
        ("minPrice=-1", "minPrice"),
        ("minPrice=1e3", "minPrice"),
        ("maxPrice=1,50", "maxPrice"),
        ("maxPrice=99999999999999999999", "maxPrice"),
        ("seller=you", "seller"),
        ("seller=me&q=x", "seller"),
        ("seller=me&sort=price", "seller"),
        ("page=2", "page"),
        ("Q=jazz", "Q"),
        (&format!("q={long}"), "q"),
    ] {
        blames(&sal.get(format!("/api/tickets?{query}")).send().await, &[field]);
    }
    blames(
        &sal.get("/api/tickets?limit=0&minPrice=x&from=y").send().await,
        &["limit", "minPrice", "from"],
    );
    // Bytes that are no text are replaced, as every form decoder does; nothing breaks.
    assert_eq!(
        sal.get("/api/tickets?q=%ff%fe")
            .expect(200)
            .await
            .json()
            .as_array()
            .map(Vec::len),
        Some(3)
    );
    assert_eq!(sal.get("/api/tickets?q=%zz%").expect(200).await.json(), json!([]));
    for limit in [1, 2, 3, 100] {
        let answer = sal.get(format!("/api/tickets?limit={limit}")).expect(200).await;
        assert_eq!(answer.json().as_array().map(Vec::len), Some(limit.min(3)));
        assert_eq!(answer.header("link").is_some(), limit < 3, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_s_own_lists_are_one_s_own() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let mut listed = Vec::new();
    for _ in 0..5 {
        listed.push(sal.lists(9).await);
    }
    bob.lists(1).await;
    let mut ordered = Vec::new();
    for ticket in &listed {
        ordered.push(bob.orders(ticket, 1).await);
    }
    listed.reverse();
    ordered.reverse();
    for limit in ["", "&limit=1", "&limit=2", "&limit=5"] {
        let path = format!("/api/tickets?seller=me{limit}");
        assert_eq!(walk(&sal, &path).await, listed, "{path}");
        let path = format!("/api/orders?{limit}");
        assert_eq!(walk(&bob, &path).await, ordered, "{path}");
    }
    assert_eq!(walk(&sal, "/api/orders").await, Vec::<String>::new());
    assert_eq!(walk(&bob, "/api/tickets?seller=me").await.len(), 1);
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("after=x", "after"),
        ("status=complete", "status"),
    ] {
        blames(&bob.get(format!("/api/orders?{query}")).send().await, &[field]);
        blames(
            &bob.get(format!("/api/tickets?seller=me&{query}")).send().await,
            &[field],
        );
    }
    problem(&app.anyone().get("/api/tickets?seller=me").send().await, 401);
    // A page's cursor goes on where it stood, whatever is listed in the meantime.
    let first = sal.get("/api/tickets?seller=me&limit=2").expect(200).await;
    let link = first.header("link").unwrap();
    let next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    sal.lists(1).await;
    let second = sal.get(next).expect(200).await.json();
    assert_eq!(crate::app::text(&second[0], "id"), listed[2]);
}

/// A cursor is opaque, but it is no secret how it is made: whatever someone puts in, the list goes on or refuses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_was_made_up_does_no_harm() {
    let app = App::start();
    let (sal, bob) = (app.person("sal").await, app.person("bob").await);
    let ticket = sal.lists(9).await;
    sal.lists(9).await;
    bob.orders(&ticket, 1).await;
    let ids = [
        "00000000-0000-7000-8000-000000000000",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        ticket.as_str(),
        "5f2b0e9a-7f5c-4f0e-8f6a-0d8f4a1b2c3d",
        "x",
    ];
    let mut cursors: Vec<Value> = vec![json!(null), json!({}), json!([]), json!(1), json!([[[]]])];
    for id in ids {
        cursors.push(json!(id));
        for key in [i64::MIN, -1, 0, 20_000, i64::MAX] {
            cursors.push(json!([key, id]));
        }
        cursors.push(json!([1.5, id]));
        cursors.push(json!([u64::MAX, id]));
        cursors.push(json!([0, id, 0]));
    }
    for cursor in cursors {
        let after = BASE64.encode(cursor.to_string());
        for list in [
            "/api/tickets?limit=1".to_owned(),
            "/api/tickets?sort=date&from=2027-01-01&limit=1".to_owned(),
            "/api/tickets?sort=price&minPrice=1&maxPrice=50&limit=1".to_owned(),
            "/api/tickets?sort=-price&minPrice=1&maxPrice=50&limit=1".to_owned(),
            "/api/tickets?q=show&sort=-price&limit=1".to_owned(),
            "/api/tickets?seller=me&limit=1".to_owned(),
            "/api/orders?limit=1".to_owned(),
            format!("/api/tickets/{ticket}/orders?limit=1"),
        ] {
            let answer = sal.get(format!("{list}&after={after}")).send().await;
            match answer.status.as_u16() {
                200 => assert!(answer.json().as_array().is_some_and(|rows| rows.len() <= 1)),
                _ => blames(&answer, &["after"]),
            }
        }
    }
}
