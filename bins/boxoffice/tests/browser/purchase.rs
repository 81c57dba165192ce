//! From signing up to a ticket that is sold, with one click on the payment page; with scripts and without.

use serde_json::json;

use crate::locator::By;
use crate::stage::{Listing, Person, System};
use crate::webdriver::{Browser, Scripts};

/// Long enough for any purchase.
const HOLD_SECONDS: u64 = 900;

#[tokio::test]
async fn a_ticket_is_listed_reserved_paid_and_sold_with_scripts() {
    purchase(Scripts::On).await;
}

#[tokio::test]
async fn a_ticket_is_listed_reserved_paid_and_sold_without_scripts() {
    purchase(Scripts::Off).await;
}

async fn purchase(scripts: Scripts) {
    let system = System::start(HOLD_SECONDS);
    let seller = system.person(scripts).await;
    scripts_are(&seller, scripts).await;

    mistakes_at_signing_up(&seller).await;
    seller.signs_up("seller@example.com").await;
    mistakes_at_listing(&seller).await;
    let ticket = seller
        .lists(&Listing {
            title: "The last waltz",
            price: "49.50",
            quantity: "1",
        })
        .await;

    let buyer = system.person(scripts).await;
    // Someone who is not signed in is led to the form and back to the ticket.
    buyer.opens(&format!("/tickets/{ticket}")).await;
    buyer.browser.sees("1 ticket left").await;
    buyer.browser.click(By::link("Sign in to reserve")).await;
    buyer.browser.click(By::link("Create an account")).await;
    buyer
        .browser
        .fill(By::Field("E-mail address"), "buyer@example.com")
        .await;
    buyer
        .browser
        .fill(By::Field("Password"), crate::stage::PASSWORD)
        .await;
    buyer.browser.click(By::button("Create an account")).await;
    buyer.browser.sees("The last waltz").await;
    assert_eq!(
        buyer.path().await.split('?').next(),
        Some(format!("/tickets/{ticket}").as_str())
    );

    let order = buyer.reserves(&ticket).await;
    assert_eq!(
        system.ticket(&ticket).await["available"],
        json!(0),
        "a reserved ticket is nobody else's"
    );
    buyer.browser.click(By::button("Pay $49.50")).await;
    buyer.browser.sees("TEST MODE").await;
    buyer.browser.click(By::button("Pay $49.50")).await;
    completes(&buyer.browser).await;
    assert!(
        buyer.path().await.starts_with(&order),
        "the payment page leads back to the order"
    );

    buyer.browser.click(By::link("My orders")).await;
    buyer.browser.sees("The last waltz").await;
    buyer.browser.sees("Paid").await;

    // Drawn before the tickets service has heard of it, the page would not be drawn again.
    system
        .eventually_ordered("seller@example.com", &ticket, "complete")
        .await;
    seller.opens(&format!("/tickets/{ticket}")).await;
    seller.browser.sees("Paid").await;
    seller.browser.click(By::link("Tickets")).await;
    seller.browser.sees("Good seats").await;
    let listed = seller.browser.count(&By::link("The last waltz")).await;
    assert_eq!(listed, 0, "a sold ticket is no longer on sale");
    seller.browser.click(By::button("Sign out")).await;
    seller.browser.sees("Sign in").await;

    seller.had_a_clean_visit().await;
    buyer.had_a_clean_visit().await;
}

/// The order is complete: on the open page with scripts; without them the page looks again by itself.
async fn completes(browser: &Browser) {
    browser.sees("The tickets are yours").await;
    browser.sees("Your payment is complete").await;
}

/// The browser really does, or does not, run the site's script: the page's times are put into the reader's zone by it
/// alone, and a `noscript` has elements inside only where scripts are off.
async fn scripts_are(person: &Person, scripts: Scripts) {
    person.opens("/").await;
    let announcer = "const probe = document.createElement('div'); probe.innerHTML = '<noscript><p></p></noscript>'; \
                     return probe.querySelector('noscript p') !== null";
    let without = person.browser.script(announcer).await;
    assert_eq!(
        without,
        json!(scripts == Scripts::Off),
        "the browser was started with scripts {scripts:?}"
    );
}

async fn mistakes_at_signing_up(person: &Person) {
    let browser = &person.browser;
    person.opens("/auth/signup").await;
    browser.fill(By::Field("E-mail address"), "not an address").await;
    browser.fill(By::Field("Password"), "short").await;
    browser.click(By::button("Create an account")).await;
    refused(person, &["email", "password"]).await;
    assert_eq!(
        browser.value(&By::Field("E-mail address")).await,
        "not an address",
        "what was typed is kept"
    );
    assert_eq!(
        browser.value(&By::Field("Password")).await,
        "",
        "but not passwords"
    );
}

async fn mistakes_at_listing(person: &Person) {
    let browser = &person.browser;
    person.opens("/tickets/new").await;
    browser.fill(By::Field("Title"), "Two <b>good</b> seats").await;
    browser.fill(By::Field("Price of one"), "a lot").await;
    browser.fill(By::Field("How many"), "0").await;
    browser.click(By::button("Put on sale")).await;
    refused(person, &["price", "quantity"]).await;
    assert_eq!(browser.value(&By::Field("Title")).await, "Two <b>good</b> seats");
    assert_eq!(browser.value(&By::Field("Price of one")).await, "a lot");
    assert_eq!(browser.value(&By::Field("How many")).await, "0");
    // What is left empty is told together with what is wrong.
    browser.fill(By::Field("Title"), "").await;
    browser.click(By::button("Put on sale")).await;
    browser.sees("Title must not be empty").await;
    refused(person, &["title", "price", "quantity"]).await;
}

/// The page says what is wrong with each of these fields: in its title, in a summary that has the focus and leads to
/// the fields, and beside them, in the same words.
async fn refused(person: &Person, fields: &[&str]) {
    let browser = &person.browser;
    browser.sees("There is a problem").await;
    let title = browser.title().await;
    assert!(title.starts_with("Error:"), "{title}");
    let seen = browser
        .script(
            "return {
               focused: document.activeElement?.id,
               linked: [...document.querySelectorAll('#problem a')].map((a) => [a.hash, a.textContent]),
               beside: [...document.querySelectorAll('[aria-invalid=true]')].map((input) => ['#' + input.id,
                 input.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id))
                   .find((element) => element.className === 'error').lastChild.textContent]),
             }",
        )
        .await;
    assert_eq!(
        seen["focused"],
        json!("problem"),
        "the summary has the focus: {seen:#}"
    );
    assert_eq!(
        seen["linked"], seen["beside"],
        "the same words above and beside the fields: {seen:#}"
    );
    let linked = seen["linked"].as_array().map_or(0, Vec::len);
    assert_eq!(linked, fields.len(), "{seen:#}");
    for (position, field) in fields.iter().enumerate() {
        browser
            .click(By::css(format!("#problem li:nth-child({}) a", position + 1)))
            .await;
        let focused = browser.script("return document.activeElement?.id").await;
        assert_eq!(focused, json!(field), "the summary's link leads to the field");
    }
}
