//! Two people who have read the same and write at once: one wins, and the other is told.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Deployment, Options, System};
use crate::person::{PRICE, Person, listing};

/// How many write at once.
const WRITERS: u64 = 8;

/// How often an order meets a change of the price.
const MEETINGS: usize = 15;

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_one_version_one_wins_and_the_other_hears_of_it() {
    let system = System::start(Deployment::OneProcess, Options::default()).await;
    let seller = Person::sign_up(&system).await;
    for _ in 0..10 {
        let ticket = seller.lists(1).await;
        let path = format!("/api/tickets/{ticket}");
        let read = seller.get(&path).expect(200).await;
        let tag = read.header("etag").expect("a ticket has an ETag");
        let (one, other) = tokio::join!(
            put(&seller, &path, "One", Some(tag)),
            put(&seller, &path, "Other", Some(tag)),
        );
        let mut statuses = [one.0, other.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412], "{one:?} {other:?}");
        let winner = if one.0 == 200 { "One" } else { "Other" };
        let now = seller.ticket(&ticket).await;
        assert_eq!((&now["title"], &now["version"]), (&json!(winner), &json!(2)));
        seller.delete(&path).header("If-Match", tag).expect(412).await;
    }
}

/// Without `If-Match`: whoever is told 200 has raised the version by one, whoever is not is told so.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_at_once_none_is_lost_silently() {
    let system = System::start(Deployment::OneProcess, Options::default()).await;
    let seller = Person::sign_up(&system).await;
    let ticket = seller.lists(1).await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (seller, path) = (seller.clone(), format!("/api/tickets/{ticket}"));
        writers.spawn(async move { put(&seller, &path, &format!("Writer {writer}"), None).await });
    }
    let answers = writers.join_all().await;
    assert!(
        answers.iter().all(|(status, _)| [200, 409].contains(status)),
        "{answers:?}"
    );
    let mut written: Vec<&Value> = answers
        .iter()
        .filter(|(status, _)| *status == 200)
        .map(|(_, body)| body)
        .collect();
    written.sort_by_key(|body| body["version"].as_u64());
    let versions: Vec<u64> = written
        .iter()
        .filter_map(|body| body["version"].as_u64())
        .collect();
    let expected: Vec<u64> = (2..).take(written.len()).collect();
    assert_eq!(versions, expected, "each change is a version of its own");
    let last = *written.last().expect("one of them wins");
    assert_eq!(&seller.ticket(&ticket).await, last);
}

/// A buyer orders while the seller changes the price: the order is for what the ticket costs, or there is none.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_buys_at_a_price_that_the_seller_has_just_changed() {
    let system = System::start(Deployment::OneProcess, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    for _ in 0..MEETINGS {
        let ticket = seller.lists_and_is_heard(1).await;
        let path = format!("/api/tickets/{ticket}");
        let wish = json!({ "ticketId": ticket, "price": PRICE });
        let mut dearer = listing(1);
        dearer["price"] = json!(PRICE * 2.0);
        let (changed, ordered) = tokio::join!(
            seller.put(&path, &dearer).send(),
            buyer.post("/api/orders", &wish).send(),
        );
        match (changed.status.as_u16(), ordered.status.as_u16()) {
            // The seller was first, and the order was told so at once or a moment later.
            (200, 409) => {}
            (200, 201) => buyer.sees_cancelled(&ordered.field("id"), "rejected").await,
            // The buyer was first.
            (409, 201) => drop(buyer.sees(&ordered.field("id"), "awaiting:payment").await),
            other => panic!("{other:?}: {} {}", changed.text(), ordered.text()),
        }
        let price = if changed.status == 200 { PRICE * 2.0 } else { PRICE };
        assert_eq!(seller.ticket(&ticket).await["price"], price);
    }
}

/// Changes the title, and answers the status and the body.
async fn put(seller: &Person, path: &str, title: &str, tag: Option<&str>) -> (u16, Value) {
    let mut change = listing(1);
    change["title"] = json!(title);
    let mut request = seller.put(path, &change);
    if let Some(tag) = tag {
        request = request.header("If-Match", tag);
    }
    let answer = request.send().await;
    (answer.status.as_u16(), answer.json())
}
