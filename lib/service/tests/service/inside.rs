//! What a service does for those who look after it, and for nobody else.

use serde_json::json;
use service::Settings;
use store::inspect_backup;
use testkit::{Client, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::example::{CLOSED, Notes, Places, SOLD_TWICE};
use crate::world::{Running, SOON, World, token, with_key, with_key_and};

const TOKEN: &str = "0123456789-operator";

fn guarded(world: &World) -> Settings {
    let mut settings = world.settings();
    settings.operator_token = Some(TOKEN.to_owned().into());
    settings
}

/// One who may sign notes, and an operator.
fn ann_and_operator(notes: &Running) -> (Client, Client) {
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    (ann, notes.client.with_bearer(TOKEN))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_operators_wants_their_token() {
    let world = World::new();
    let (auth, notes) = with_key_and(&world, &guarded(&world)).await;
    let (ann, operator) = ann_and_operator(&notes);
    for stranger in [&notes.client, &ann] {
        let refused = stranger.get("/internal/backup").expect(401).await;
        assert!(refused.text().contains("operator"), "{}", refused.text());
        stranger
            .request(http::Method::POST, "/internal/check")
            .expect(401)
            .await;
        stranger
            .delete("/internal/dead-letters/orders/1-1")
            .expect(401)
            .await;
    }
    operator.get("/internal/backup").expect(200).await;
    operator
        .delete("/internal/dead-letters/orders/1-1")
        .expect(404)
        .await;

    // Where none is set nobody has one.
    let refused = auth
        .client
        .with_bearer(TOKEN)
        .get("/internal/backup")
        .expect(403)
        .await;
    assert!(
        refused.text().contains("BOXOFFICE_OPERATOR_TOKEN"),
        "{}",
        refused.text()
    );
    notes.stop().await;
    auth.stop().await;

    let mut short = world.settings();
    short.operator_token = Some("too-short".to_owned().into());
    let refused = Running::start::<Notes>(&short).await.err().unwrap().to_string();
    assert!(
        refused.contains("16") && !refused.contains("too-short"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn books_come_in_pages_with_an_account_on_the_first() {
    let world = World::new();
    let (auth, notes) = with_key(&world).await;
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    for number in 0..5 {
        ann.post("/notes", &json!({"text": number.to_string()}))
            .expect(201)
            .await;
    }
    let mut books = invariants::Books::default();
    let mut path = "/internal/books?limit=3".to_owned();
    let mut pages = 0;
    loop {
        let page: invariants::Page =
            serde_json::from_slice(&notes.client.get(path.as_str()).expect(200).await.body).unwrap();
        pages += 1;
        let next = page.next.clone();
        books.add(page);
        let Some(next) = next else { break };
        path = format!("/internal/books?limit=3&after={next}");
    }
    // Five notes and a key.
    assert!(pages >= 2, "{pages} pages");
    assert_eq!((books.accounts.len(), books.facts.len()), (1, 5));
    let account = &books.accounts[0];
    assert!(account.serving && account.version_gaps.is_empty(), "{account:?}");
    assert_eq!(account.readings.len(), 2);
    for wrong in ["limit=0", "limit=10001", "after=xyz", "before=1"] {
        notes
            .client
            .get(format!("/internal/books?{wrong}"))
            .expect(400)
            .await;
    }
    notes.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_whole_or_ends_with_its_connection() {
    let world = World::new();
    let (auth, notes) = with_key_and(&world, &guarded(&world)).await;
    let (ann, operator) = ann_and_operator(&notes);
    for _ in 0..20 {
        ann.post("/notes", &json!({"text": "x".repeat(20_000)}))
            .expect(201)
            .await;
    }
    // One that is broken off does not stand in the way of the next.
    let mut broken_off = TcpStream::connect(&notes.address).await.unwrap();
    let request =
        format!("GET /internal/backup HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    broken_off.write_all(request.as_bytes()).await.unwrap();
    let mut beginning = [0; 15];
    broken_off.read_exact(&mut beginning).await.unwrap();
    assert_eq!(&beginning, b"HTTP/1.1 200 OK");
    drop(broken_off);
    let whole = eventually("a backup", SOON, || async {
        let answer = operator.get("/internal/backup").send().await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    let manifest = inspect_backup(&whole.body[..]).unwrap();
    assert!(manifest.keys >= 21, "{manifest:?}");

    let report = operator
        .request(http::Method::POST, "/internal/check")
        .expect(200)
        .await
        .json();
    assert_eq!(report["good"], true, "{report}");
    assert_eq!(report["problems"], json!([]));
    assert!(report["rows"].as_u64().unwrap() >= 21, "{report}");
    notes.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_shown_and_dropped() {
    let world = World::new();
    let (auth, notes) = with_key_and(&world, &guarded(&world)).await;
    let (_, operator) = ann_and_operator(&notes);
    for poison in ["first", "second", "third"] {
        world
            .redis
            .command(&["XADD", "events:orders", "*", "envelope", poison]);
    }
    let list = eventually("three dead letters", SOON, || async {
        let list = notes
            .client
            .get("/internal/dead-letters")
            .expect(200)
            .await
            .json();
        (list["total"] == 3).then_some(list)
    })
    .await;
    let letters = list["deadLetters"].as_array().unwrap();
    assert_eq!((letters.len(), &list["next"]), (3, &json!(null)));
    assert_eq!(letters[0]["source"], "orders");

    let page = notes
        .client
        .get("/internal/dead-letters?limit=2")
        .expect(200)
        .await
        .json();
    let rest = format!(
        "/internal/dead-letters?limit=2&after={}",
        page["next"].as_str().unwrap()
    );
    let rest = notes.client.get(rest).expect(200).await.json();
    assert_eq!(rest["deadLetters"], json!([letters[2]]));
    notes
        .client
        .get("/internal/dead-letters?after=nonsense")
        .expect(400)
        .await;

    let id = letters[0]["id"].as_str().unwrap();
    let path = format!("/internal/dead-letters/orders/{}", id.replace('-', "%2D"));
    let shown = notes.client.get(&path).expect(200).await.json();
    assert!(shown["entry"].as_str().unwrap().contains("first"), "{shown}");
    operator.delete(&path).expect(204).await;
    operator.delete(&path).expect(404).await;
    notes.client.get(&path).expect(404).await;
    notes
        .client
        .get("/internal/dead-letters/nobody/1-1")
        .expect(404)
        .await;
    notes.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_invariant_is_found_by_the_service_itself() {
    let world = World::new();
    let mut settings = world.settings();
    settings.check_seconds = 1;
    let (auth, notes) = with_key_and(&world, &settings).await;
    let ann = notes.client.with_bearer(token(&notes.clock).1);
    let counted = r#"invariant_violations_total{service="tickets",invariant="I1"}"#;
    let metrics = notes.client.get("/metrics").expect(200).await.text();
    assert!(metrics.contains(&format!("{counted} 0")), "{metrics}");
    ann.post("/notes", &json!({"text": SOLD_TWICE})).expect(201).await;
    eventually("it to be counted", SOON, || async {
        let metrics = notes.client.get("/metrics").send().await.text();
        metrics.contains(&format!("{counted} 1")).then_some(())
    })
    .await;
    notes.stop().await;
    auth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_replayed_once_its_cause_is_mended() {
    let world = World::new();
    let (auth, notes) = with_key_and(&world, &guarded(&world)).await;
    let orders = Running::start::<Places>(&world.settings()).await.unwrap();
    let (ann, operator) = ann_and_operator(&notes);
    let closed = ann.post("/notes", &json!({ "text": CLOSED })).expect(201).await;
    let order = orders.clock.order_id();
    orders
        .client
        .post("/publish", &json!({"not_due": order}))
        .expect(200)
        .await;
    let letter = eventually("the order to be a dead letter", SOON, || async {
        let list = notes
            .client
            .get("/internal/dead-letters")
            .expect(200)
            .await
            .json();
        list["deadLetters"].get(0).cloned()
    })
    .await;
    let path = format!("/internal/dead-letters/orders/{}", letter["id"].as_str().unwrap());
    let replay = || async {
        let request = operator.request(http::Method::POST, format!("{path}/replay"));
        request.send().await
    };
    let replay_as_anybody = notes.client.request(http::Method::POST, format!("{path}/replay"));
    replay_as_anybody.expect(401).await;

    let kept = replay().await.json();
    assert_eq!(
        kept,
        json!({"outcome": "impossible", "reason": "the book is closed"})
    );
    let shown = notes.client.get(&path).expect(200).await.json();
    assert_eq!(shown["tries"], letter["tries"].as_u64().unwrap() + 1);

    let open = json!({"text": "open"});
    ann.put(format!("/notes/{}", closed.field("id")), &open)
        .expect(200)
        .await;
    assert_eq!(replay().await.json(), json!({"outcome": "done", "reason": null}));
    assert_eq!(replay().await.status, 404);
    notes.client.get(format!("/orders/{order}")).expect(200).await;
    notes.stop().await;
    orders.stop().await;
    auth.stop().await;
}
