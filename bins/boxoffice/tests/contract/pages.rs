//! Every page of the contract is there, for those who may see it; what is on them is for the site's own tests.

use testkit::Answer;

use crate::app::{App, NOBODYS_ID};

fn is_page(answer: &Answer, status: u16) {
    assert_eq!(
        answer.status.as_u16(),
        status,
        "{}: {}",
        answer.request,
        answer.text()
    );
    let kind = answer.header("content-type").unwrap_or_default();
    assert_eq!(kind, "text/html; charset=utf-8", "{}", answer.request);
    assert!(answer.text().contains("</html>"), "{}", answer.request);
    for header in [
        "content-security-policy",
        "x-content-type-options",
        "referrer-policy",
        "cross-origin-opener-policy",
    ] {
        assert!(answer.header(header).is_some(), "{}: no {header}", answer.request);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_there_for_those_who_may_see_it() {
    let app = App::with(&["--throttle", "off", "--operators", "olga@example.org"]);
    let (sal, bob, olga) = (
        app.person("sal").await,
        app.person("bob").await,
        app.person("olga").await,
    );
    let anyone = app.anyone();
    let ticket = sal.lists(2).await;
    let order = bob.reserves(&ticket, 1).await;
    let order = format!("/orders/{order}");
    let edit = format!("/tickets/{ticket}/edit");
    let ticket = format!("/tickets/{ticket}");
    for path in [
        "/",
        "/?q=show&sort=price",
        ticket.as_str(),
        "/auth/signin",
        "/auth/signup",
    ] {
        is_page(&anyone.get(path).send().await, 200);
    }
    for (person, path) in [
        (&sal, "/selling"),
        (&sal, "/tickets/new"),
        (&bob, "/orders"),
        (&bob, order.as_str()),
        (&bob, "/account"),
        (&olga, "/ops"),
    ] {
        is_page(&person.get(path).send().await, 200);
        // Whoever is not signed in is led to the page where one does that, and from there to where they wanted.
        let answer = anyone.get(path).send().await;
        if answer.status != 404 {
            assert_eq!(answer.status, 303, "{path}: {}", answer.text());
            let location = answer.header("location").unwrap();
            assert!(location.starts_with("/auth/signin?next="), "{path}: {location}");
        }
    }
    // Pieces are reserved: the form to change the ticket comes again when they are not.
    bob.delete(format!("/api{order}")).expect(204).await;
    testkit::eventually("it can be edited", crate::app::SOON, async || {
        let answer = sal.get(&edit).send().await;
        (answer.status == 200).then(|| is_page(&answer, 200))
    })
    .await;
    for (person, path) in [
        (&anyone, "/nothing"),
        (&anyone, "/tickets/nonsense"),
        (&anyone, &format!("/tickets/{NOBODYS_ID}")),
        (&sal, &order),
        (&sal, &format!("/orders/{NOBODYS_ID}")),
    ] {
        is_page(&person.get(path).send().await, 404);
    }
    for (person, path) in [(&bob, edit.as_str()), (&bob, "/ops")] {
        let answer = person.get(path).send().await;
        let status = answer.status.as_u16();
        assert!([403, 404].contains(&status), "{path}: {status}");
        is_page(&answer, status);
    }
}
