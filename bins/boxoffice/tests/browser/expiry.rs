//! An order that nobody pays ends by itself, and its page says so and what to do next; with scripts on the page that
//! is open, without them when it is looked at again.

use std::time::Duration;

use serde_json::json;

use crate::locator::By;
use crate::stage::{Listing, Person, System};
use crate::webdriver::Scripts;

/// Short enough to wait for, long enough to reserve and look at the page on a busy machine.
const HOLD_SECONDS: u64 = 25;

/// How long after its beginning an order may still look alive; of the thirty seconds beyond its hold invariant I4 gives the
/// services five, which the fault bench measures.
const ENDED_MAX: Duration = Duration::from_secs(HOLD_SECONDS + 30);

#[tokio::test]
async fn time_runs_out_on_the_open_page() {
    let system = System::start(HOLD_SECONDS);
    let person = system.person(Scripts::On).await;
    let ticket = listed_and_reserved(&system, &person).await;

    let begun = person
        .browser
        .script("return document.querySelector('[data-countdown]').textContent")
        .await;
    assert!(
        begun.as_str().is_some_and(|left| left.starts_with("0:")),
        "it counts down: {begun}"
    );
    // A mark on the page that a reload would take away: it must end on the open page.
    person.browser.script("window.never_reloaded = true").await;
    person.browser.sees_within("The time to pay", ENDED_MAX).await;
    person.browser.sees("The time to pay has run out").await;
    let announced = person
        .browser
        .script("return [window.never_reloaded, document.querySelector('#announcer').textContent, document.title]")
        .await;
    assert_eq!(announced[0], json!(true), "the page was not loaded again");
    assert!(
        announced[1]
            .as_str()
            .is_some_and(|text| text.contains("time to pay")),
        "a screen reader hears it: {announced}"
    );
    assert_eq!(announced[2], json!("The time to pay has run out – Boxoffice"));
    next_step(&system, &person, &ticket).await;
}

#[tokio::test]
async fn time_runs_out_without_scripts() {
    let system = System::start(HOLD_SECONDS);
    let person = system.person(Scripts::Off).await;
    let ticket = listed_and_reserved(&system, &person).await;

    let refresh = person
        .browser
        .script("return document.querySelector('noscript meta[http-equiv=refresh]')?.content")
        .await;
    let seconds: u64 = refresh
        .as_str()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or_default();
    assert!(
        (1..=HOLD_SECONDS + 1).contains(&seconds),
        "the page looks again when the hold ends: {refresh}"
    );
    // Nobody touches the page: the browser loads it again by itself, as that line tells it to.
    person
        .browser
        .sees_within("The time to pay has run out", ENDED_MAX)
        .await;
    next_step(&system, &person, &ticket).await;
}

/// One person lists through the API, another one reserves in the browser; answers the ticket's id.
async fn listed_and_reserved(system: &System, person: &Person) -> String {
    let seller = system.api_person("seller@example.com").await;
    let listing = Listing {
        title: "A quick decision",
        price: "20.00",
        quantity: "1",
    };
    let ticket = system.lists_by_api(&seller, &listing).await;
    person.signs_up("slow@example.com").await;
    person.reserves(&ticket).await;
    ticket
}

/// Nothing was charged, and the way back to the ticket is open.
async fn next_step(system: &System, person: &Person, ticket: &str) {
    person.browser.sees("Nothing was charged").await;
    assert_eq!(
        person.browser.count(&By::button("Pay $20.00")).await,
        0,
        "there is nothing to pay any more"
    );
    person.browser.click(By::link("See the ticket")).await;
    person.browser.sees("A quick decision").await;
    system.eventually_available(ticket, 1).await;
    person.reserves(ticket).await;
    person.had_a_clean_visit().await;
}
