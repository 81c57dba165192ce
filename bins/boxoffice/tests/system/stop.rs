//! SIGTERM under load: what was accepted is answered, and everything is gone in time.

use std::time::Duration;

use crate::harness::{Deployment, Options, System, in_both_deployments};
use crate::load::Load;
use crate::person::Person;

/// Within this time everything is gone, on a busy machine, too: the drain alone may take 8 s. The fault bench holds each
/// service to the ten seconds that are promised (`./scripts/faults 30`).
const GONE_MAX: Duration = Duration::from_secs(30);

/// The system is stopped once so many orders were acknowledged.
const ORDERS_BEFORE: usize = 100;

in_both_deployments!(no_accepted_request_fails_when_the_system_is_told_to_stop);

async fn no_accepted_request_fails_when_the_system_is_told_to_stop(deployment: Deployment) {
    let mut system = System::start(deployment, Options::default()).await;
    let patient = somebody_who_waits_for_news(&system).await;
    let load = Load::on(&system).await;
    load.goes_on_for(ORDERS_BEFORE).await;

    system.terminate(GONE_MAX);
    assert_eq!(
        patient.await.expect("the poll does not panic"),
        304,
        "let go with an answer"
    );
    let aftermath = load.ends().await;

    system.start_again().await;
    aftermath.nothing_is_lost().await;
    aftermath.nothing_is_unanswered().await;
    aftermath.everyone_is_served().await;
}

/// A long poll that is open; what it is answered in the end.
async fn somebody_who_waits_for_news(system: &System) -> tokio::task::JoinHandle<u16> {
    let (seller, buyer) = (Person::sign_up(system).await, Person::sign_up(system).await);
    let order = buyer.orders(&seller.lists(1).await).await;
    let awaited = buyer.sees(&order, "awaiting:payment").await;
    tokio::spawn(async move {
        let known = format!("\"{}\"", awaited["version"]);
        let path = format!("/api/orders/{order}");
        let poll = buyer
            .get(&path)
            .header("If-None-Match", known)
            .header("Prefer", "wait=30");
        poll.send().await.status.as_u16()
    })
}
