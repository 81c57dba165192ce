//! The stage of every test here: the whole system in one process with demo data, and people with browsers.
//!
//! What a person does is written in the words of the pages, so that a test reads like what someone does.

use serde_json::{Value, json};
use testkit::{Client, Process, TempDir, eventually};

use crate::browser_log;
use crate::locator::By;
use crate::webdriver::{Browser, SHOWN_MAX, Scripts};

/// The password of everyone who signs up here.
pub(crate) const PASSWORD: &str = "purple piano tuesday";

/// Where every show of these tests is.
const VENUE: &str = "Harbour Hall, Hamburg";

/// The account that comes with the demo data; it may open the operators' page.
pub(crate) const DEMO_EMAIL: &str = "demo@boxoffice.example";

/// Its password.
pub(crate) const DEMO_PASSWORD: &str = "seat-with-a-view";

/// The system in one process. Dropping it kills it; when the test fails, what it printed is shown.
pub(crate) struct System {
    process: Process,
    _dir: TempDir,
}

/// Someone with a browser of their own.
pub(crate) struct Person {
    pub(crate) browser: Browser,
    base: String,
}

/// What a seller types into the form.
pub(crate) struct Listing {
    pub(crate) title: &'static str,
    pub(crate) price: &'static str,
    pub(crate) quantity: &'static str,
}

impl System {
    /// Starts it; unpaid orders hold their tickets for so long.
    pub(crate) fn start(hold_seconds: u64) -> Self {
        let dir = testkit::temp_dir();
        let process = Process::of("boxoffice")
            .arg("--listen=127.0.0.1:0")
            .arg("--data-dir")
            .arg(dir.path())
            .arg("--demo")
            .arg(format!("--hold-seconds={hold_seconds}"))
            .start();
        Self { process, _dir: dir }
    }

    /// Where it is.
    pub(crate) fn base(&self) -> &str {
        self.process.base()
    }

    /// Someone who comes with a browser.
    pub(crate) async fn person(&self, scripts: Scripts) -> Person {
        Person {
            browser: Browser::start(scripts).await,
            base: self.base().to_owned(),
        }
    }

    /// Someone who uses the API instead, signed up.
    pub(crate) async fn api_person(&self, email: &str) -> Client {
        let client = Client::new(self.base());
        let account = json!({ "email": email, "password": PASSWORD });
        client.post("/api/users/signup", &account).expect(201).await;
        client
    }

    /// Puts a ticket on sale without a browser and answers its id. The orders service knows of it then: that nobody may order
    /// their own ticket it can only say of one that it knows.
    pub(crate) async fn lists_by_api(&self, seller: &Client, listing: &Listing) -> String {
        let quantity: u32 = listing
            .quantity
            .parse()
            .expect("a quantity of a test is a number");
        let ticket = json!({
            "title": listing.title,
            "price": listing.price,
            "quantity": quantity,
            "venue": VENUE,
            "startsAt": "2031-05-17T20:00:00+02:00",
            "description": "Row 6, seats 11 and 12.",
        });
        let id = seller.post("/api/tickets", &ticket).expect(201).await.field("id");
        let own = json!({ "ticketId": id });
        seller.post("/api/orders", &own).patient().expect(409).await;
        id
    }

    /// Waits until the API shows a seller that the one order of a ticket has come to this state.
    pub(crate) async fn eventually_ordered(&self, seller_s_email: &str, ticket: &str, status: &str) {
        let seller = Client::new(self.base());
        let account = json!({ "email": seller_s_email, "password": PASSWORD });
        seller.post("/api/users/signin", &account).expect(200).await;
        let path = format!("/api/tickets/{ticket}/orders");
        let what = format!("the order of ticket {ticket} is {status}");
        eventually(&what, SHOWN_MAX, async || {
            let orders = seller.get(&path).expect(200).await.json();
            (orders[0]["status"] == status).then_some(())
        })
        .await;
    }

    /// Waits until the API shows that so many of a ticket can be bought.
    pub(crate) async fn eventually_available(&self, id: &str, available: u32) {
        eventually(
            &format!("{available} of the ticket are available"),
            SHOWN_MAX,
            async || (self.ticket(id).await["available"] == json!(available)).then_some(()),
        )
        .await;
    }

    /// A ticket as the API shows it.
    pub(crate) async fn ticket(&self, id: &str) -> Value {
        Client::new(self.base())
            .get(format!("/api/tickets/{id}"))
            .expect(200)
            .await
            .json()
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("=== boxoffice\n{}", self.process.printed());
        }
    }
}

impl Person {
    /// Opens a page of the site.
    pub(crate) async fn opens(&self, path: &str) {
        self.browser.go(format!("{}{path}", self.base)).await;
    }

    /// The path of the page that is open.
    pub(crate) async fn path(&self) -> String {
        let url = self.browser.url().await;
        let path = url
            .strip_prefix(&self.base)
            .unwrap_or_else(|| panic!("{url} is not of {}", self.base));
        path.to_owned()
    }

    /// Makes an account, starting from the front page.
    pub(crate) async fn signs_up(&self, email: &str) {
        self.opens("/").await;
        self.browser.click(By::link("Sign up")).await;
        self.browser.fill(By::Field("E-mail address"), email).await;
        self.browser.fill(By::Field("Password"), PASSWORD).await;
        self.browser.click(By::button("Create an account")).await;
        self.browser.sees(email).await;
    }

    /// Puts a ticket on sale and answers its id.
    pub(crate) async fn lists(&self, listing: &Listing) -> String {
        self.opens("/tickets/new").await;
        self.browser.fill(By::Field("Title"), listing.title).await;
        self.browser.fill(By::Field("Venue (optional)"), VENUE).await;
        self.browser.fill(By::Field("Price of one"), listing.price).await;
        self.browser.fill(By::Field("How many"), listing.quantity).await;
        self.browser.click(By::button("Put on sale")).await;
        self.browser.sees("You sell this ticket.").await;
        let path = self.path().await;
        let id = path
            .trim_start_matches("/tickets/")
            .split('?')
            .next()
            .unwrap_or_default();
        id.to_owned()
    }

    /// Reserves one piece on the ticket's page and answers the order's path.
    pub(crate) async fn reserves(&self, ticket: &str) -> String {
        self.opens(&format!("/tickets/{ticket}")).await;
        self.browser.click(By::button("Reserve")).await;
        self.browser.sees("Reserved for you").await;
        self.path().await
    }

    /// Whatever a browser may complain of, it has not; and it asked no other host for anything.
    pub(crate) async fn had_a_clean_visit(&self) {
        browser_log::assert_clean(&self.browser, &self.base).await;
    }
}
