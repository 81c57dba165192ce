//! What happens on a page while it is open: it follows what others do, and it can be used without a mouse.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::locator::{By, Key};
use crate::stage::{Listing, PASSWORD, Person, System};
use crate::webdriver::{SHOWN_MAX, Scripts};

/// How much later than the API an open page may show that a ticket has sold out, if nothing else is to be done on the machine.
const NEWS_MAX: Duration = Duration::from_millis(500);

/// And if something is.
const NEWS_BUSY_MAX: Duration = Duration::from_secs(5);

/// How many times it is measured: a machine that stands still for a moment does so during some of them.
const MEASURED: usize = 5;

/// More stops than any page here has.
const TAB_STOPS_MAX: usize = 60;

/// Long enough for anything here.
const HOLD_SECONDS: u64 = 900;

#[tokio::test]
async fn a_page_follows_what_others_do_and_needs_no_mouse() {
    let system = System::start(HOLD_SECONDS);
    let person = system.person(Scripts::On).await;
    sold_out_elsewhere(&system, &person).await;
    two_windows(&system, &person).await;
    person.browser.click(By::button("Sign out")).await;
    by_keyboard_alone(&system, &person).await;
    person.had_a_clean_visit().await;
}

/// A ticket that sells out elsewhere changes on an open page, and its form goes.
async fn sold_out_elsewhere(system: &System, person: &Person) {
    let seller = system.api_person("seller@example.com").await;
    let other = system.api_person("other@example.com").await;
    person.signs_up("watcher@example.com").await;
    let mut late = Vec::new();
    for _ in 0..MEASURED {
        let listing = Listing {
            title: "The hot one",
            price: "30.00",
            quantity: "2",
        };
        let ticket = system.lists_by_api(&seller, &listing).await;
        person.opens(&format!("/tickets/{ticket}")).await;
        person.browser.sees("2 tickets left").await;
        let order = json!({ "ticketId": ticket, "quantity": 2 });
        other.post("/api/orders", &order).patient().expect(201).await;
        let api = async {
            system.eventually_available(&ticket, 0).await;
            Instant::now()
        };
        let page = async {
            person.browser.sees("None left right now").await;
            Instant::now()
        };
        let (told, shown) = tokio::join!(api, page);
        late.push(shown.saturating_duration_since(told));
        person.browser.sees("See other tickets").await;
        assert_eq!(
            person.browser.count(&By::button("Reserve")).await,
            0,
            "what is gone can't be reserved"
        );
    }
    late.sort();
    println!("an open page showed that a ticket had sold out so long after the API: {late:?}");
    assert!(
        late[0] <= NEWS_MAX && late[MEASURED - 1] <= NEWS_BUSY_MAX,
        "an open page was late by {late:?}; {NEWS_MAX:?} are allowed, {NEWS_BUSY_MAX:?} on a busy machine"
    );
}

/// The same person in two windows: what is done in one is seen in the other.
async fn two_windows(system: &System, person: &Person) {
    let seller = system.api_person("second@example.com").await;
    let listing = Listing {
        title: "Seen twice",
        price: "12.00",
        quantity: "1",
    };
    let ticket = system.lists_by_api(&seller, &listing).await;
    person.opens(&format!("/tickets/{ticket}")).await;
    let first = person.browser.window().await;
    let second = person.browser.opens_window().await;
    let order = person.reserves(&ticket).await;
    person.browser.turns_to(&first).await;
    person.browser.sees("None left right now").await;
    // The order is open in both windows now; cancelling it here is told there.
    person.opens(&order).await;
    person.browser.click(By::Unfold("Cancel this order")).await;
    person.browser.click(By::button("Yes, cancel the order")).await;
    person.browser.sees("You cancelled this order").await;
    person.browser.turns_to(&second).await;
    person.browser.sees("You cancelled this order").await;
    person.browser.closes_window().await;
    person.browser.turns_to(&first).await;
}

/// From the front page to a reserved ticket with Tab, Enter and letters; every stop is seen to have the focus.
async fn by_keyboard_alone(system: &System, person: &Person) {
    let browser = &person.browser;
    let seller = system.api_person("third@example.com").await;
    let listing = Listing {
        title: "No mouse needed",
        price: "10.00",
        quantity: "1",
    };
    system.lists_by_api(&seller, &listing).await;

    person.opens("/").await;
    browser.press(&[Key::TAB]).await;
    assert_eq!(
        focused(person).await,
        "Skip to content",
        "the first stop leads past the navigation"
    );
    tab_to(person, "Sign in").await;
    browser.press(&[Key::ENTER]).await;
    browser.sees("New here?").await;
    tab_to(person, "E-mail address").await;
    browser.types("watcher@example.com").await;
    browser.press(&[Key::TAB]).await;
    browser.types(PASSWORD).await;
    browser.press(&[Key::ENTER]).await;
    browser.sees("watcher@example.com").await;
    tab_to(person, "No mouse needed").await;
    browser.press(&[Key::ENTER]).await;
    browser.sees("1 ticket left").await;
    tab_to(person, "Reserve").await;
    browser.press(&[Key::ENTER]).await;
    browser.sees("Reserved for you").await;
    tab_to(person, "Pay $10.00").await;
    browser.press(&[Key::ENTER]).await;
    browser.sees("TEST MODE").await;
    tab_to(person, "Pay $10.00").await;
    browser.press(&[Key::ENTER]).await;
    browser.sees_within("The tickets are yours", SHOWN_MAX).await;
}

/// Presses Tab until the thing with these words has the focus.
async fn tab_to(person: &Person, words: &str) {
    let mut stops = Vec::new();
    for _ in 0..TAB_STOPS_MAX {
        person.browser.press(&[Key::TAB]).await;
        let stop = focused(person).await;
        if stop == words {
            return;
        }
        stops.push(stop);
    }
    panic!("Tab never comes to {words:?}, but to {stops:?}");
}

/// What has the focus, by its label or its words; and that one can see that it has.
async fn focused(person: &Person) -> String {
    let seen = person
        .browser
        .script(
            "const element = document.activeElement;
             if (element === document.body) return { words: '', outline: 'page' };
             const marked = element.closest('li.card') ?? element;
             const style = getComputedStyle(marked);
             return {
               words: (element.labels?.[0] ?? element).textContent.trim().replace(/\\s+/g, ' '),
               outline: style.outlineStyle === 'none' ? '' : style.outlineWidth,
             }",
        )
        .await;
    let words = seen["words"].as_str().unwrap_or_default().to_owned();
    let outline = seen["outline"].as_str().unwrap_or_default();
    assert!(
        !matches!(outline, "" | "0px"),
        "one can't see that {words:?} has the focus"
    );
    words
}
