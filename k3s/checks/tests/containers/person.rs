//! Somebody outside with curl and a jar of cookies, who knows the address of the site and nothing else.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::eventually_blocking;

use crate::command::run;

/// How long a person waits for an answer.
const ANSWER_SECONDS_MAX: u64 = 40;

/// How long somebody goes on trying who is told to come back.
const TAKEN_MAX: Duration = Duration::from_secs(60);

/// Each thing that is sent has a number of its own.
static KEYS: AtomicU32 = AtomicU32::new(1);

/// Somebody outside.
pub(crate) struct Person {
    outside: String,
    ingress: Ipv4Addr,
    public_url: String,
    cookies: PathBuf,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// Its body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Person {
    /// Somebody who sends everything to the ingress, whatever the site's name is.
    pub(crate) fn new(outside: &str, ingress: Ipv4Addr, public_url: &str, cookies: &Path) -> Self {
        Self {
            outside: outside.to_owned(),
            ingress,
            public_url: public_url.to_owned(),
            cookies: cookies.to_owned(),
        }
    }

    /// Asks for a path of the site, or an address that it has given.
    pub(crate) fn ask(&self, method: &str, path: &str, options: &[&str]) -> Answer {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.public_url)
        };
        let mut curl = Command::new("ip");
        curl.args([
            "netns",
            "exec",
            &self.outside,
            "curl",
            "--silent",
            "--request",
            method,
        ])
        .arg("--connect-to")
        .arg(format!("::{}:80", self.ingress))
        .args([
            "--max-time",
            &ANSWER_SECONDS_MAX.to_string(),
            "--write-out",
            "\n%{http_code}",
        ])
        .arg("--cookie")
        .arg(&self.cookies)
        .arg("--cookie-jar")
        .arg(&self.cookies)
        .args(options)
        .arg(url);
        let printed = run(&mut curl);
        let (body, status) = printed.rsplit_once('\n').expect("curl ends with the status");
        Answer {
            status: status.parse().expect("a status is a number"),
            body: body.to_owned(),
        }
    }

    /// Sends JSON, and again when told to come back (a service that has just started may still wait for a key). The same
    /// idempotency key makes that one effect.
    pub(crate) fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        const BUSY: u16 = 503;
        let body = body.to_string();
        let key = format!("Idempotency-Key: {}", KEYS.fetch_add(1, Ordering::Relaxed));
        let options = [
            "--header",
            "Content-Type: application/json",
            "--header",
            &key,
            "--data",
            &body,
        ];
        eventually_blocking(&format!("{method} {path} to be taken"), TAKEN_MAX, || {
            let answer = self.ask(method, path, &options);
            (answer.status != BUSY).then_some(answer)
        })
    }

    /// Signs up.
    pub(crate) fn sign_up(&self, email: &str) {
        let credentials = serde_json::json!({ "email": email, "password": "a long enough secret" });
        let answer = self.send("POST", "/api/users/signup", &credentials);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}
