//! Every form, sent in every way in which it must not count.

use axum::http::StatusCode;
use serde_json::json;

use crate::browser::{Browser, ORIGIN, Page};
use crate::fixture::{World, id};

/// Every form of the site: the page that it stands on, where it is sent, and who sees it.
fn forms() -> Vec<(String, String, Who)> {
    let (ticket, order) = (id(10), id(100));
    vec![
        ("/auth/signup".into(), "/auth/signup".into(), Who::Nobody),
        ("/auth/signin".into(), "/auth/signin".into(), Who::Nobody),
        ("/".into(), "/auth/signout".into(), Who::Buyer),
        ("/account".into(), "/account".into(), Who::Buyer),
        ("/account".into(), "/account/sessions".into(), Who::Buyer),
        ("/tickets/new".into(), "/tickets/new".into(), Who::Seller),
        (
            format!("/tickets/{ticket}/edit"),
            format!("/tickets/{ticket}/edit"),
            Who::Seller,
        ),
        (
            format!("/tickets/{ticket}/edit"),
            format!("/tickets/{ticket}/delete"),
            Who::Seller,
        ),
        (
            format!("/tickets/{ticket}"),
            format!("/tickets/{ticket}/refund"),
            Who::Seller,
        ),
        (
            format!("/tickets/{}", id(11)),
            format!("/tickets/{}", id(11)),
            Who::Buyer,
        ),
        (
            format!("/orders/{}", id(101)),
            format!("/orders/{}/pay", id(101)),
            Who::Buyer,
        ),
        (
            format!("/orders/{}", id(101)),
            format!("/orders/{}/cancel", id(101)),
            Who::Buyer,
        ),
        (
            format!("/tickets/{ticket}"),
            format!("/tickets/{ticket}/refund"),
            Who::Seller,
        ),
        (format!("/orders/{order}"), "/auth/signout".into(), Who::Buyer),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Nobody,
    Seller,
    Buyer,
}

struct Case {
    world: World,
    browser: Browser,
    stranger: Browser,
}

fn case(who: Who) -> Case {
    let world = World::new();
    let seller = world.person(1, "seller@example.com");
    let buyer = world.person(2, "buyer@example.com");
    let third = world.person(3, "third@example.com");
    let ticket = world.ticket(10, 1, &json!({}));
    world.ticket(11, 1, &json!({"quantity": 3, "available": 3}));
    world.order(100, 2, &ticket, &json!({"status": "complete"}));
    world.order(101, 2, &ticket, &json!({}));
    let site = |token: Option<&str>| match token {
        Some(token) => Browser::signed_in(&world, token),
        None => Browser::new(&world),
    };
    let browser = site(match who {
        Who::Nobody => None,
        Who::Seller => Some(&seller),
        Who::Buyer => Some(&buyer),
    });
    let stranger = site(Some(&third));
    Case {
        browser,
        stranger,
        world,
    }
}

fn refused(page: &Page, what: &str, action: &str) {
    assert_eq!(
        page.status,
        StatusCode::FORBIDDEN,
        "{what} to {action}: {}",
        page.html
    );
    assert!(
        page.html.contains("This form is out of date"),
        "{what} to {action}"
    );
}

#[tokio::test]
async fn a_form_counts_with_its_own_sessions_token_from_our_own_page_only() {
    for (page, action, who) in forms() {
        let Case {
            world,
            mut browser,
            mut stranger,
        } = case(who);
        let form = browser.get(&page).await.form(&action);
        let with = |token: &str| -> Vec<(String, String)> {
            form.iter()
                .map(|(name, value)| {
                    (
                        name.clone(),
                        if name == "_token" {
                            token.to_owned()
                        } else {
                            value.clone()
                        },
                    )
                })
                .collect()
        };
        let own = form.iter().find(|(name, _)| name == "_token").unwrap().1.clone();
        let foreign = stranger.get("/account").await.form("/account")[0].1.clone();
        world.books().asked.clear();

        let ours = [("origin", ORIGIN), ("sec-fetch-site", "same-origin")];
        for (what, token) in [
            ("no token", ""),
            ("a broken token", "AAAA"),
            ("another session's token", &foreign),
        ] {
            let fields = with(token);
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            refused(&browser.post_with(&action, &fields, &ours).await, what, &action);
        }
        refused(
            &browser.post_with(&action, &[], &ours).await,
            "no fields",
            &action,
        );
        let fields = with(&own);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://boxoffice.test.evil.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", ORIGIN), ("sec-fetch-site", "same-site")],
        ] {
            refused(
                &browser.post_with(&action, &fields, headers).await,
                &format!("{headers:?}"),
                &action,
            );
        }
        let written: Vec<_> = world
            .books()
            .asked
            .iter()
            .filter(|asked| !asked.starts_with("GET"))
            .cloned()
            .collect();
        assert!(
            written.is_empty(),
            "a refused form must reach no service: {written:?}"
        );

        let accepted = browser.post_with(&action, &fields, &ours).await;
        assert_ne!(
            accepted.status,
            StatusCode::FORBIDDEN,
            "the same form as it was meant, to {action}"
        );
    }
}

#[tokio::test]
async fn a_token_from_before_signing_in_does_not_count_after() {
    let Case { mut browser, .. } = case(Who::Nobody);
    let before = browser.get("/auth/signin").await.form("/auth/signin");
    let fields = [("email", "buyer@example.com"), ("password", "correct horse")];
    browser
        .submit("/auth/signin", "/auth/signin", &fields)
        .await
        .location();
    let token = &before.iter().find(|(name, _)| name == "_token").unwrap().1;
    refused(
        &browser.post("/auth/signout", &[("_token", token)]).await,
        "the visitor's token",
        "/auth/signout",
    );
}
