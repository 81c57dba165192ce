//! `boxoffice dead-letters`: what could not be applied is kept, shown, applied once its cause is gone, or dropped.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use service::Service;
use store::{Context, Options as StoreOptions, Store, TransactError};
use testkit::{Reply, eventually_blocking};
use tickets::domain::Hold;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::operator::Operator;
use crate::person::Person;

/// How long a service may take to give an event up.
const GIVEN_UP_MAX: Duration = Duration::from_secs(30);

/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_secs(15);

in_both_deployments!(
    poison_is_kept_shown_and_dropped,
    an_impossible_event_is_applied_once_its_cause_is_gone,
);

async fn poison_is_kept_shown_and_dropped(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    let operator = Operator::of(&system, deployment);
    operator
        .does("dead-letters list")
        .expect(0, &["There are no dead letters."]);
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let fields = [
        "seq",
        "99",
        "type",
        "ticket:created",
        "subject",
        "poison",
        "envelope",
        "{ \u{1b}[2J",
    ];
    let add = ["XADD", "events:tickets", "*"].into_iter().chain(fields);
    let reply = system.redis().command(&add.collect::<Vec<&str>>());
    assert!(matches!(reply, Reply::Bulk(_)), "{reply:?}");

    let name = eventually_blocking("the poison is a dead letter", GIVEN_UP_MAX, || {
        first_letter(&operator)
    });
    operator
        .does("dead-letters list")
        .expect(0, &["orders", &name, "1 dead letter."]);
    let shown = operator.does(&format!("dead-letters show {name}"));
    shown.expect(0, &["Kept by   orders", "Reason", "What came"]);
    assert!(
        !shown.out.contains('\u{1b}'),
        "what came does nothing to a terminal"
    );
    operator
        .does(&format!("dead-letters replay {name}"))
        .expect(1, &["still can't apply", "It is kept."]);
    // It stands in nobody's way, and is no violation.
    buyer.buys(&ticket).await;
    operator
        .does("verify --within 30s")
        .expect(0, &["Nothing is wrong.", "orders keeps 1 dead letter"]);

    operator
        .does(&format!("dead-letters drop {name} --service payments"))
        .expect(2, &["there is no dead letter"]);
    operator
        .does(&format!("dead-letters drop {name}"))
        .expect(0, &["is dropped"]);
    operator
        .does(&format!("dead-letters show {name}"))
        .expect(2, &["there is no dead letter"]);
    operator
        .does("dead-letters list")
        .expect(0, &["There are no dead letters."]);
}

async fn an_impossible_event_is_applied_once_its_cause_is_gone(deployment: Deployment) {
    let mut system = System::start(deployment, Options::redis_of_the_test()).await;
    let operator = Operator::of(&system, deployment);
    let (seller, buyer) = (Person::sign_up(&system).await, Person::sign_up(&system).await);
    let ticket = seller.lists(1).await;
    let order = buyer.orders(&ticket).await;
    buyer.sees(&order, "awaiting:payment").await;

    // The hold vanishes, as no program of ours would make it; then the order is paid.
    system.terminate(STOP_MAX);
    let hold = take_hold(system.data_dir(), &ticket, &order).await;
    system.start_again().await;
    buyer.pays(&order).await;
    buyer.sees(&order, "complete").await;
    eventually_blocking("both events are given up", GIVEN_UP_MAX, || {
        let listed = operator.does("dead-letters list --service tickets --json").json();
        (listed.as_array().map(Vec::len) == Some(2)).then_some(())
    });
    operator
        .does("dead-letters replay --all")
        .expect(1, &["still can't apply", "an order without a hold"]);
    operator
        .does("verify --within 0s")
        .expect(1, &["is paid and complete, and its 1 pieces"]);

    // Its cause is gone: the hold is back.
    system.terminate(STOP_MAX);
    put_hold(system.data_dir(), hold).await;
    system.start_again().await;
    operator
        .does("dead-letters replay --all --service tickets")
        .expect(0, &["tickets has applied orders/"]);
    operator
        .does("dead-letters list")
        .expect(0, &["There are no dead letters."]);
    assert_eq!(seller.sees_orders(&ticket).await, ["complete"]);
    operator.finds_nothing_wrong();
}

/// The name of the first dead letter of all services.
fn first_letter(operator: &Operator) -> Option<String> {
    let listed = operator.does("dead-letters list --json").json();
    let letter = listed.as_array()?.first()?.clone();
    Some(format!(
        "{}/{}",
        letter["source"].as_str()?,
        letter["id"].as_str()?
    ))
}

type TicketStore = Store<<tickets::App as Service>::Indexes>;

fn open(data_dir: &Path) -> TicketStore {
    let options = StoreOptions::new(tickets::App::SOURCE, data_dir.join("tickets"));
    Store::open(options).expect("nothing runs on it")
}

fn context() -> Context {
    Context::new(service::Clock::new().now())
}

/// Takes a hold out of the store.
async fn take_hold(data_dir: &Path, ticket: &str, order: &str) -> Hold {
    let store = open(data_dir);
    let ticket = ticket.parse().expect("the id of a ticket");
    let order = order.parse().expect("the id of an order");
    let taken = store.transact(context(), move |tx| {
        let hold = tx.get::<Hold>(&(ticket, order))?.expect("the hold is there");
        tx.delete::<Hold>(&(ticket, order))?;
        Ok::<_, TransactError<Infallible>>(hold)
    });
    let hold = taken.await.expect("the store serves");
    store.close();
    hold
}

/// Puts it back.
async fn put_hold(data_dir: &Path, hold: Hold) {
    let store = open(data_dir);
    let put = store.transact(context(), move |tx| {
        Ok::<_, TransactError<Infallible>>(tx.put_any(hold)?)
    });
    put.await.expect("the store serves");
    store.close();
}
