//! Every page in every state that a person can bring about, looked at on a phone and a desk, in light and in dark:
//! a picture of each in `target/screenshots`, and what can be judged by rules is judged. axe finds nothing, nothing is
//! wider than the narrowest phone, nothing shifts while a page loads.
//!
//! Whether it is beautiful is for whoever opens the pictures.

use std::cell::RefCell;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::locator::By;
use crate::stage::{DEMO_EMAIL, DEMO_PASSWORD, Listing, Person, System};
use crate::webdriver::Scripts;

/// Long enough for all pictures of an order that waits.
const HOLD_SECONDS: u64 = 900;

/// The narrowest phone that pages must fit on.
const WIDTH_PIXELS_MIN: u32 = 320;

/// A phone and a desk: width and height.
const PICTURES: [(u32, u32); 2] = [(390, 844), (1280, 900)];

const THEMES: [&str; 2] = ["light", "dark"];

/// Where axe is and how to get it.
const AXE_VARIABLE: &str = "BOXOFFICE_AXE";

#[tokio::test]
async fn every_page_is_sound_in_every_state() {
    let gallery = Gallery::open().await;
    gallery.of_strangers().await;
    gallery.of_a_seller().await;
    gallery.of_a_buyer().await;
    gallery.of_an_operator().await;
    gallery.person.had_a_clean_visit().await;
    let faults = gallery.faults.into_inner();
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

struct Gallery {
    system: System,
    person: Person,
    axe: String,
    folder: PathBuf,
    /// All that was found wrong: one look at the pages shall tell everything.
    faults: RefCell<Vec<String>>,
}

impl Gallery {
    async fn open() -> Self {
        let axe = axe();
        let axe = std::fs::read_to_string(&axe).unwrap_or_else(|error| {
            panic!(
                "axe-core can't be read at {} ({error}): ./scripts/test installs it, or name its axe.min.js in \
                 {AXE_VARIABLE}",
                axe.display()
            )
        });
        let system = System::start(HOLD_SECONDS);
        let person = system.person(Scripts::On).await;
        // A scrollbar takes room on a desk, but none on a phone, and none beyond the picture's edge.
        person
            .browser
            .chromium("Emulation.setScrollbarsHidden", json!({ "hidden": true }))
            .await;
        let folder = target_folder().join("screenshots");
        std::fs::create_dir_all(&folder).expect("pictures can be kept in the target folder");
        Self {
            system,
            person,
            axe,
            folder,
            faults: RefCell::default(),
        }
    }

    /// What anyone sees.
    async fn of_strangers(&self) {
        let browser = &self.person.browser;
        self.page("home", "/").await;
        self.page("home-found", "/?q=harbour&sort=price").await;
        self.page("home-nothing-found", "/?q=zzzz").await;
        self.page("home-error", "/?minPrice=cheap&maxPrice=5").await;
        self.page("sign-up", "/auth/signup").await;
        browser.fill(By::Field("E-mail address"), "nobody").await;
        browser.fill(By::Field("Password"), "short").await;
        browser.click(By::button("Create an account")).await;
        browser.sees("There is a problem").await;
        self.look("sign-up-error").await;
        self.page("sign-in", "/auth/signin").await;
        browser
            .fill(By::Field("E-mail address"), "nobody@example.com")
            .await;
        browser.fill(By::Field("Password"), "not the password").await;
        browser.click(By::button("Sign in")).await;
        browser.sees("There is a problem").await;
        self.look("sign-in-error").await;
        self.page("not-found", "/nothing/here").await;
        self.person.opens("/").await;
        browser.click(By::css(".card h2 a")).await;
        browser.sees("Sign in to reserve").await;
        self.look("ticket-stranger").await;
    }

    /// Listing, changing, selling.
    async fn of_a_seller(&self) {
        let browser = &self.person.browser;
        self.person.signs_up("gallery@example.com").await;
        self.page("selling-empty", "/selling").await;
        self.page("orders-empty", "/orders").await;
        self.page("account", "/account").await;
        self.page("sell", "/tickets/new").await;
        browser.fill(By::Field("Price of one"), "a lot").await;
        browser.fill(By::Field("How many"), "0").await;
        browser.click(By::button("Put on sale")).await;
        browser.sees("There is a problem").await;
        self.look("sell-error").await;
        let listing = Listing {
            title: "A night at the quay: the long goodbye of the Lantern Street Players",
            price: "1249.50",
            quantity: "3",
        };
        let own = self.person.lists(&listing).await;
        self.look("ticket-own").await;
        self.page("selling", "/selling").await;
        self.page("edit", &format!("/tickets/{own}/edit")).await;
        let other = self.system.api_person("fan@example.com").await;
        let order = other
            .post("/api/orders", &json!({ "ticketId": own, "quantity": 2 }))
            .patient()
            .expect(201)
            .await;
        assert!(!order.field("id").is_empty());
        // Drawn before the tickets service has heard of it, the page would not be drawn again.
        self.system
            .eventually_ordered("gallery@example.com", &own, "awaiting:payment")
            .await;
        self.person.opens(&format!("/tickets/{own}")).await;
        browser.sees("Waiting for payment").await;
        self.look("ticket-own-ordered").await;
        // The token of the form is spoiled as a foreign page would have it.
        browser.script("for (const input of document.querySelectorAll('form[action=\"/auth/signout\"] input')) input.value = 'x'").await;
        browser.click(By::button("Sign out")).await;
        browser.sees("403").await;
        self.look("forged-form").await;
    }

    /// Reserving, paying, cancelling.
    async fn of_a_buyer(&self) {
        let browser = &self.person.browser;
        let seller = self.system.api_person("quay@example.com").await;
        let listing = Listing {
            title: "Quartet on the quay",
            price: "64.00",
            quantity: "3",
        };
        let ticket = self.system.lists_by_api(&seller, &listing).await;
        self.page("ticket", &format!("/tickets/{ticket}")).await;
        let order = self.person.reserves(&ticket).await;
        // What the page was first drawn with changed while it was open; a page that is drawn at once must not move.
        self.person.opens(&order).await;
        self.look("order-waiting").await;
        browser.click(By::button("Pay $64.00")).await;
        browser.sees("TEST MODE").await;
        self.look("pay").await;
        browser
            .fill(By::Field("Card number"), "4000 0000 0000 0002")
            .await;
        browser.click(By::button("Pay $64.00")).await;
        browser.sees("You have not been charged").await;
        self.look("pay-declined").await;
        browser
            .fill(By::Field("Card number"), "4242 4242 4242 4242")
            .await;
        browser.click(By::button("Pay $64.00")).await;
        browser.sees("The tickets are yours").await;
        self.person.opens(&order).await;
        self.look("order-complete").await;
        let order = self.person.reserves(&ticket).await;
        self.person.opens(&order).await;
        browser.click(By::Unfold("Cancel this order")).await;
        self.look("order-cancelling").await;
        browser.click(By::button("Yes, cancel the order")).await;
        browser.sees("You cancelled this order").await;
        self.look("order-cancelled").await;
        let other = self.system.api_person("last@example.com").await;
        self.system.eventually_available(&ticket, 2).await;
        other
            .post("/api/orders", &json!({ "ticketId": ticket, "quantity": 2 }))
            .patient()
            .expect(201)
            .await;
        self.system.eventually_available(&ticket, 0).await;
        self.page("ticket-sold-out", &format!("/tickets/{ticket}")).await;
        self.page("orders", "/orders").await;
        browser.click(By::button("Sign out")).await;
        browser.sees("Sign up").await;
    }

    /// The page of those who run it, and an order's whole story.
    async fn of_an_operator(&self) {
        let browser = &self.person.browser;
        self.person.opens("/auth/signin").await;
        browser.fill(By::Field("E-mail address"), DEMO_EMAIL).await;
        browser.fill(By::Field("Password"), DEMO_PASSWORD).await;
        browser.click(By::button("Sign in")).await;
        browser.sees("Operations").await;
        let seller = self.system.api_person("story@example.com").await;
        let ticket = self
            .system
            .lists_by_api(
                &seller,
                &Listing {
                    title: "A story",
                    price: "5.00",
                    quantity: "1",
                },
            )
            .await;
        let order = self.person.reserves(&ticket).await;
        let id = order.trim_start_matches("/orders/").to_owned();
        // The seller's side of the stand-in: signed in with the account's key, as with Stripe.
        let account = format!("//{}:@", stripe_fake::SECRET_KEY_DEFAULT);
        let dashboard = format!("{}/stripe-fake/dashboard", self.system.base());
        browser.go(dashboard.replacen("//", &account, 1)).await;
        browser.sees("Payments").await;
        self.look("stripe-dashboard").await;
        self.page("operations", "/ops").await;
        self.page("operations-story", &format!("/ops?order={id}")).await;
    }

    async fn page(&self, name: &str, path: &str) {
        self.person.opens(path).await;
        self.look(name).await;
    }

    /// Takes the pictures of what is open now, and judges it.
    async fn look(&self, name: &str) {
        let moved = self.person.browser.script(LAYOUT_SHIFT).await;
        let values = moved.as_array().expect("the script answers a list").iter();
        let sum: f64 = values.filter_map(|one| one["value"].as_f64()).sum();
        if sum >= LAYOUT_SHIFT_MAX {
            self.fault(format!("{name}: the page moves while it loads: {moved:#}"));
        }
        self.person.browser.script(&self.axe).await;
        for theme in THEMES {
            for (width, height) in PICTURES {
                self.screen(width, height, theme).await;
                self.picture(&format!("{name}-{width}-{theme}")).await;
            }
            // The narrowest phone and the desk take turns: colours do not depend on the width.
            let width = if theme == "light" { WIDTH_PIXELS_MIN } else { 1280 };
            self.screen(width, 800, theme).await;
            self.judge(name, width, theme).await;
        }
        self.person
            .browser
            .chromium("Emulation.clearDeviceMetricsOverride", json!({}))
            .await;
    }

    async fn screen(&self, width: u32, height: u32, theme: &str) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        let browser = &self.person.browser;
        browser
            .chromium("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": theme },
            // Colours in the middle of a transition are nobody's colours.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]});
        browser.chromium("Emulation.setEmulatedMedia", features).await;
    }

    async fn picture(&self, file: &str) {
        let browser = &self.person.browser;
        let metrics = browser.chromium("Page.getLayoutMetrics", json!({})).await;
        let size = &metrics["cssContentSize"];
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let options =
            json!({ "format": "png", "captureBeyondViewport": true, "clip": clip, "optimizeForSpeed": true });
        let shot = browser.chromium("Page.captureScreenshot", options).await;
        let png = BASE64_STANDARD
            .decode(shot["data"].as_str().unwrap_or_default())
            .expect("Chromium sends pictures as base64");
        std::fs::write(self.folder.join(format!("{file}.png")), png).expect("a picture can be kept");
    }

    async fn judge(&self, name: &str, width: u32, theme: &str) {
        let browser = &self.person.browser;
        let seen = browser.script(AXE_RUN).await;
        if seen["violations"] != json!([]) {
            self.fault(format!(
                "{name} at {width} px, {theme}: axe says {:#}",
                seen["violations"]
            ));
        }
        if seen["passes"].as_u64().unwrap_or_default() == 0 {
            self.fault(format!("{name}: axe has looked at nothing"));
        }
        let wide = seen["width"].as_u64().unwrap_or(u64::MAX);
        if wide > u64::from(width) {
            self.fault(format!(
                "{name} is {wide} px wide on a screen of {width} px: {:#}",
                seen["widest"]
            ));
        }
    }

    fn fault(&self, text: String) {
        self.faults.borrow_mut().push(text);
    }
}

/// What the tools that measure it show as 0.000, where 0.1 counts as good. On a busy machine Chromium draws a frame before it has
/// styled its own parts, such as the button of a date field, and moves them by a millionth.
const LAYOUT_SHIFT_MAX: f64 = 0.000_5;

/// What has moved since the page began to load, other than by a click: how much, when, and from where to where.
const LAYOUT_SHIFT: &str = "return new Promise((resolve) => {
  const moved = [];
  const place = ({ x, y, width, height }) => `${x},${y} ${width}x${height}`;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) moved.push({
      value: entry.value, at: entry.startTime,
      sources: entry.sources.map(({ node, previousRect, currentRect }) =>
        `${(node?.outerHTML ?? node?.textContent ?? '').slice(0, 120)} from ${place(previousRect)} to ${place(currentRect)}`),
    });
  });
  observer.observe({ type: 'layout-shift', buffered: true });
  requestAnimationFrame(() => setTimeout(() => resolve(moved)));
})";

/// All rules, the best practices too; of what is wrong, what one needs to find it.
const AXE_RUN: &str =
    "return axe.run(document, { resultTypes: ['violations'] }).then(({ violations, passes }) => ({
  violations: violations.map(({ id, help, nodes }) => ({
    id, help, nodes: nodes.map(({ html, failureSummary }) => ({ html, failureSummary })),
  })),
  passes: passes.length,
  width: document.documentElement.scrollWidth,
  widest: [...document.body.querySelectorAll('*')]
    .filter((element) => element.getBoundingClientRect().right > innerWidth)
    .map((element) => element.outerHTML.slice(0, 120)),
}))";

fn axe() -> PathBuf {
    match std::env::var_os(AXE_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => target_folder().join("tools/axe-core/node_modules/axe-core/axe.min.js"),
    }
}

/// The target folder, wherever it was moved to: the program lies in `target/<profile>`.
fn target_folder() -> PathBuf {
    let program = testkit::bin("boxoffice");
    let folder = program.ancestors().nth(2);
    folder
        .expect("a program lies two folders deep in the target folder")
        .to_owned()
}
