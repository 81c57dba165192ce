//! A real Chromium, driven over WebDriver as chromedriver speaks it: JSON over HTTP.
//!
//! It finds things as a person does, by the words on buttons, links and labels. It knows nothing of the site. What
//! the browser complains about and whom it asked is kept by `browser_log`.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Client, Process, TempDir, eventually};

use crate::locator::{By, Key};

/// How long a page may take to show what a step of a test needs; debug builds on two busy cores are slow.
pub(crate) const SHOWN_MAX: Duration = Duration::from_secs(40);

/// The pause between two looks at a page that is not yet what it should be.
const POLL: Duration = Duration::from_millis(10);

/// How long chromedriver may take to come up.
const DRIVER_START_MAX: Duration = Duration::from_secs(30);

/// How long a script in a page may take: axe looks at a long page for some seconds when nothing else is to be done.
const SCRIPT_MAX: Duration = Duration::from_secs(120);

/// How long the driver may take to answer a command, a script among them.
const COMMAND_MAX: Duration = Duration::from_secs(130);

/// How long a browser may take to close.
const CLOSE_MAX: Duration = Duration::from_secs(30);

/// What chromedriver prints before its port.
const DRIVER_STARTED: &str = "started successfully on port ";

/// The key under which WebDriver hands out elements; the standard fixes it.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Quiet, without a sandbox (tests run as root in containers), and without a word to any other host. The pipe makes
/// a browser end with its driver, however that one ends.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
    "--window-size=1280,900",
];

/// Chromium's content setting that forbids scripts.
const SCRIPTS_BLOCKED: u8 = 2;

/// Whether pages may run scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scripts {
    On,
    Off,
}

/// What WebDriver refuses a command with.
#[derive(Debug)]
pub(crate) struct Refused {
    error: String,
    message: String,
}

/// One window of one browser with a profile of its own. Dropping it closes it.
pub(crate) struct Browser {
    client: Client,
    port: u16,
    session: String,
    _profile: TempDir,
    // Last: the driver is killed after the session was closed, and the profile is gone with it.
    driver: Process,
}

impl Browser {
    /// A new browser with a new profile.
    pub(crate) async fn start(scripts: Scripts) -> Self {
        let profile = testkit::temp_dir();
        let mut driver = Process::at(program("BOXOFFICE_CHROMEDRIVER", &["chromedriver"]))
            .arg("--port=0")
            .spawn();
        let line = driver.wait_for_line(DRIVER_STARTED, DRIVER_START_MAX);
        let port: u16 = line
            .split(DRIVER_STARTED)
            .nth(1)
            .and_then(|rest| rest.trim_end_matches('.').parse().ok())
            .unwrap_or_else(|| panic!("chromedriver says no port: {line}"));
        let client = Client::new(format!("http://127.0.0.1:{port}"));
        let mut args: Vec<String> = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        let mut options = json!({
            "binary": program("BOXOFFICE_CHROMIUM", &["chromium", "chromium-browser", "google-chrome"]),
            "args": args,
        });
        if scripts == Scripts::Off {
            options["prefs"] =
                json!({ "profile.managed_default_content_settings.javascript": SCRIPTS_BLOCKED });
        }
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "timeouts": { "script": u64::try_from(SCRIPT_MAX.as_millis()).expect("two minutes") },
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        }}});
        let answer = client
            .post("/session", &capabilities)
            .within(COMMAND_MAX)
            .send()
            .await;
        let session = answer.json()["value"]["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("Chromium does not start: {}", answer.text()))
            .to_owned();
        let browser = Self {
            client,
            port,
            session,
            _profile: profile,
            driver,
        };
        // Chromium's own first page asks for much; nothing of that belongs to a visit.
        browser.go("about:blank").await;
        browser.log("performance").await;
        browser.log("browser").await;
        browser
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) async fn go(&self, url: impl AsRef<str>) {
        self.post("url", json!({ "url": url.as_ref() })).await;
    }

    /// The page's address.
    pub(crate) async fn url(&self) -> String {
        text_of(&self.get("url").await)
    }

    /// The page's title.
    pub(crate) async fn title(&self) -> String {
        text_of(&self.get("title").await)
    }

    /// Clicks it, once it is there.
    pub(crate) async fn click(&self, by: By) {
        self.on(&by, "click", json!({})).await;
    }

    /// Puts a text into a field in place of what is in it.
    pub(crate) async fn fill(&self, by: By, text: &str) {
        self.on(&by, "clear", json!({})).await;
        self.on(&by, "value", json!({ "text": text })).await;
    }

    /// The text of it as it is shown, once it is there.
    pub(crate) async fn text(&self, by: &By) -> String {
        self.read(by, "text").await
    }

    /// What stands in a field.
    pub(crate) async fn value(&self, by: &By) -> String {
        self.read(by, "property/value").await
    }

    /// How many there are right now.
    pub(crate) async fn count(&self, by: &By) -> usize {
        self.post("elements", by.locator())
            .await
            .as_array()
            .map_or(0, Vec::len)
    }

    /// Waits until the page shows this text.
    pub(crate) async fn sees(&self, text: &str) {
        self.sees_within(text, SHOWN_MAX).await;
    }

    /// Waits so long until the page shows this text.
    pub(crate) async fn sees_within(&self, text: &str, deadline: Duration) {
        let mut last = String::new();
        let what = format!("the page shows {text:?}");
        let begun = std::time::Instant::now();
        loop {
            // One look is taken when the time is over, too: the one before may have taken all of it.
            let is_last = begun.elapsed() >= deadline;
            // A page that is just being replaced has no text for a moment.
            if let Ok(shown) = self.try_read(&By::css("body"), "text").await {
                if shown.contains(text) {
                    return;
                }
                last = shown;
            }
            if is_last {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        panic!(
            "not within {deadline:?}: {what}; {} shows\n{last}",
            self.url().await
        );
    }

    /// Runs a function body in the page and gives what it returns.
    pub(crate) async fn script(&self, body: &str) -> Value {
        self.post("execute/sync", json!({ "script": body, "args": [] }))
            .await
    }

    /// Presses keys one after another, wherever the focus is.
    pub(crate) async fn press(&self, keys: &[Key]) {
        self.types(&keys.iter().map(|key| key.0).collect::<String>())
            .await;
    }

    /// Types a text, wherever the focus is.
    pub(crate) async fn types(&self, text: &str) {
        let stroke = |kind: &str, key: char| json!({ "type": kind, "value": key.to_string() });
        let strokes: Vec<Value> = text
            .chars()
            .flat_map(|key| [stroke("keyDown", key), stroke("keyUp", key)])
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("actions", json!({ "actions": [keyboard] })).await;
    }

    /// The window that is looked at.
    pub(crate) async fn window(&self) -> String {
        text_of(&self.get("window").await)
    }

    /// Opens another window and looks at that one.
    pub(crate) async fn opens_window(&self) -> String {
        let opened = self.post("window/new", json!({ "type": "window" })).await;
        let window = text_of(&opened["handle"]);
        self.turns_to(&window).await;
        window
    }

    /// Looks at another window.
    pub(crate) async fn turns_to(&self, window: &str) {
        self.post("window", json!({ "handle": window })).await;
    }

    /// Closes the window that is looked at.
    pub(crate) async fn closes_window(&self) {
        let closed = self.command(self.client.delete(self.path("window"))).await;
        closed.unwrap_or_else(|refused| panic!("closing a window: {refused}"));
    }

    /// A command of Chromium's own protocol.
    pub(crate) async fn chromium(&self, command: &str, parameters: Value) -> Value {
        self.post(
            "goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
        .await
    }

    /// What was logged since the last look: `browser` is the console, `performance` is the network.
    pub(crate) async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self.post("se/log", json!({ "type": kind })).await;
        entries
            .as_array()
            .unwrap_or_else(|| panic!("the {kind} log is {entries}"))
            .clone()
    }

    /// Does something to an element, again while the page is still changing under it.
    async fn on(&self, by: &By, action: &str, body: Value) {
        let begun = std::time::Instant::now();
        let refusal = loop {
            let is_last = begun.elapsed() >= SHOWN_MAX;
            match self.try_on(by, action, body.clone()).await {
                Ok(()) => return,
                Err(refused) if is_last => break refused,
                Err(_) => tokio::time::sleep(POLL).await,
            }
        };
        let shown = self.text(&By::css("body")).await;
        panic!(
            "no {action} on {by:?} at {}: {refusal}\n{shown}",
            self.url().await
        );
    }

    async fn try_on(&self, by: &By, action: &str, body: Value) -> Result<(), Refused> {
        let element = self.element(by).await?;
        self.command(
            self.client
                .post(self.path(&format!("element/{element}/{action}")), &body),
        )
        .await
        .map(drop)
    }

    async fn read(&self, by: &By, what: &str) -> String {
        eventually(&format!("{by:?} is on the page"), SHOWN_MAX, async || {
            self.try_read(by, what).await.ok()
        })
        .await
    }

    async fn try_read(&self, by: &By, what: &str) -> Result<String, Refused> {
        let element = self.element(by).await?;
        let value = self
            .command(self.client.get(self.path(&format!("element/{element}/{what}"))))
            .await?;
        Ok(text_of(&value))
    }

    async fn element(&self, by: &By) -> Result<String, Refused> {
        let found = self
            .command(self.client.post(self.path("element"), &by.locator()))
            .await?;
        Ok(text_of(&found[ELEMENT]))
    }

    async fn get(&self, what: &str) -> Value {
        let answer = self.command(self.client.get(self.path(what))).await;
        answer.unwrap_or_else(|refused| panic!("{what}: {refused}"))
    }

    async fn post(&self, what: &str, body: Value) -> Value {
        let answer = self.command(self.client.post(self.path(what), &body)).await;
        answer.unwrap_or_else(|refused| panic!("{what} {}: {refused}", shortened(&body)))
    }

    async fn command(&self, request: testkit::Request<'_>) -> Result<Value, Refused> {
        let answer = request.within(COMMAND_MAX).send().await;
        let mut body = answer.json();
        if answer.status.is_success() {
            return Ok(body["value"].take());
        }
        Err(Refused {
            error: text_of(&body["value"]["error"]),
            message: text_of(&body["value"]["message"]),
        })
    }

    fn path(&self, what: &str) -> String {
        format!("/session/{}/{what}", self.session)
    }
}

impl Drop for Browser {
    /// Asks the driver to close the browser, and hears it say so: killed with its browser open it would leave that
    /// one behind. A failed test comes along here too, so it must not panic.
    fn drop(&mut self) {
        if let Err(error) = close(self.port, &self.session) {
            eprintln!(
                "the browser could not be closed: {error}\n{}",
                self.driver.printed()
            );
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.message.lines().next().unwrap_or_default();
        write!(f, "{} ({first})", self.error)
    }
}

/// Closes the browser, by hand: a drop can't await, and the client may belong to a runtime that is gone.
fn close(port: u16, session: &str) -> std::io::Result<()> {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_read_timeout(Some(CLOSE_MAX))?;
    let request =
        format!("DELETE /session/{session} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    // The answer comes when the browser is gone; one byte of it says so.
    connection.read_exact(&mut [0])
}

/// Where a program is: named by a variable, or on the PATH.
fn program(variable: &str, names: &[&str]) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{} is missing: the pages are tested in a real browser. Install it (Debian: apt-get install chromium \
             chromium-driver) or name it in {variable}.",
            names[0]
        )
    })
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A body for a failure message: scripts can be half a megabyte.
fn shortened(body: &Value) -> String {
    body.to_string().chars().take(300).collect()
}
