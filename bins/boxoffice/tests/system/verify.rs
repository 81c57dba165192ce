//! `boxoffice verify` finds nothing in a sound system, running or at rest, and whatever is planted.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use service::Service;
use store::{Context, Options as StoreOptions, Store, TransactError};
use testkit::temp_dir;
use tickets::domain::Ticket;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::operator::Operator;
use crate::person::Person;

/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_secs(15);

in_both_deployments!(a_sound_system_running_and_at_rest, a_ticket_sold_twice);

async fn a_sound_system_running_and_at_rest(deployment: Deployment) {
    let mut system = System::start(deployment, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(3).await;
    buyer.buys(&ticket).await;
    buyer.orders(&ticket).await;

    let operator = Operator::of(&system, deployment);
    operator.finds_nothing_wrong();
    let report = operator.does("verify --within 30s --json").json();
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(report["counts"]["tickets"], 1, "{report:#}");
    assert_eq!(report["counts"]["orders"], 2, "{report:#}");
    assert_eq!(report["counts"]["payments"], 1, "{report:#}");
    assert_eq!(report["stores"].as_array().map(Vec::len), Some(5), "{report:#}");
    operator
        .does("verify --service tickets")
        .expect(0, &["Nothing is wrong.", "1 tickets"]);

    system.terminate(STOP_MAX);
    let before = contents(system.data_dir());
    let at_rest = Operator::of_stores(system.data_dir());
    at_rest
        .does("verify")
        .expect(0, &["Nothing runs here", "Nothing is wrong."]);
    assert_eq!(contents(system.data_dir()), before, "looking leaves no trace");
}

async fn a_ticket_sold_twice(deployment: Deployment) {
    let mut system = System::start(deployment, Options::default()).await;
    let seller = Person::sign_up(&system).await;
    let ticket = seller.lists(2).await;
    system.terminate(STOP_MAX);
    change_ticket(system.data_dir(), &ticket, |ticket| ticket.reserved = 3).await;

    let sentence = format!("Ticket {ticket} has 3 of 2 pieces reserved or sold (I1).");
    let at_rest = Operator::of_stores(system.data_dir());
    at_rest
        .does("verify")
        .expect(1, &["Something is wrong:", &sentence, "its holds amount to 0"]);

    system.start_again().await;
    let operator = Operator::of(&system, deployment);
    operator.does("verify --within 1s").expect(1, &[&sentence]);
    let report = operator.does("verify --within 1s --json").json();
    assert_eq!(report["violations"][0]["invariant"], "I1", "{report:#}");
    assert_eq!(report["violations"][0]["severity"], "broken", "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_damaged_or_gone() {
    let mut system = System::start(Deployment::OneProcess, Options::default()).await;
    Person::sign_up(&system).await.lists(1).await;
    system.terminate(STOP_MAX);
    let operator = Operator::of_stores(system.data_dir());

    let file = system.data_dir().join("tickets").join("db");
    let whole = std::fs::read(&file).expect("the store has a file");
    std::fs::write(&file, &whole[..whole.len() / 4]).expect("a file of this test can be written");
    operator
        .does("verify")
        .expect(1, &["Something is wrong:", "the tickets store in "]);
    std::fs::write(&file, &whole).expect("a file of this test can be written");
    operator.does("verify").expect(0, &["Nothing is wrong."]);

    let away = system.data_dir().join("away");
    std::fs::rename(system.data_dir().join("orders"), away).expect("a directory of this test can be moved");
    operator.does("verify").expect(1, &["orders"]);
}

/// A kill leaves a control socket behind on which nobody listens, and a store that opens all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_has_left() {
    let mut system = System::start(Deployment::OneProcess, Options::default()).await;
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    buyer.orders(&seller.lists(1).await).await;
    system.kill();
    assert!(system.data_dir().join("control.sock").exists());
    let operator = Operator::of(&system, Deployment::OneProcess);
    operator
        .does("verify")
        .expect(0, &["Nothing runs here", "1 orders", "Nothing is wrong."]);
    system.start_again().await;
    operator.finds_nothing_wrong();
    system.terminate(STOP_MAX);
    assert!(!system.data_dir().join("control.sock").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_checked_says_what_to_do() {
    let dir = temp_dir();
    let nowhere = dir.path().join("nowhere");
    Operator::of_stores(&nowhere)
        .does("verify")
        .expect(2, &["there is no data in", "--data-dir"]);
    let operator = Operator::of_stores(dir.path());
    operator
        .does("verify --service tickets=http://127.0.0.1:1")
        .expect(2, &["tickets at http://127.0.0.1:1 can't be reached"]);
    operator
        .does("verify --service ticket=http://127.0.0.1:1")
        .expect(2, &["none of auth, tickets, orders, expiration, payments"]);
    operator
        .does("backup --to backup")
        .expect(2, &["nothing runs on", "start boxoffice"]);
    operator
        .does("verify --within soon")
        .expect(2, &["write 500ms, 10s or 2m"]);
}

/// Only who has the token may have a service read everything again.
#[tokio::test(flavor = "multi_thread")]
async fn separate_services_want_to_see_the_operators_token() {
    let system = System::start(Deployment::Separate, Options::default()).await;
    let address = format!("verify --service tickets={}", system.ingress.tickets);
    Operator::of_stores(system.data_dir())
        .does(&address)
        .expect(2, &["BOXOFFICE_OPERATOR_TOKEN"]);
}

/// Writes into a store what the program never would.
async fn change_ticket(data_dir: &Path, id: &str, change: impl FnOnce(&mut Ticket) + Send + 'static) {
    type Indexes = <tickets::App as Service>::Indexes;
    let options = StoreOptions::new(tickets::App::SOURCE, data_dir.join("tickets"));
    let store: Store<Indexes> = Store::open(options).expect("nothing runs on it");
    let id = id.parse().expect("the id of a ticket");
    let changed = store.transact(Context::new(service::Clock::new().now()), move |tx| {
        let mut ticket = tx.get::<Ticket>(&id)?.expect("the ticket is there");
        change(&mut ticket);
        tx.put_any(ticket)?;
        Ok::<(), TransactError<std::convert::Infallible>>(())
    });
    changed.await.expect("the store serves");
    store.close();
}

/// Every file of the stores, and what is in it.
fn contents(data_dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![data_dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a directory of this test can be read") {
            let path = entry.expect("a directory of this test can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("a file of this test can be read");
                files.insert(path.display().to_string(), bytes);
            }
        }
    }
    files
}
