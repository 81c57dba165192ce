//! What a browser has to say about a site after a visit: errors on the console, violations of the content security
//! policy, and every request that a page made.
//!
//! It does not look at pages: that is the tests' own work.

use serde_json::Value;

use crate::webdriver::Browser;

/// Asserts that since the last look nothing was wrong on the console, no policy was violated, and every request went
/// to `base`. A whole page that was refused (a form with a mistake, a page that does not exist) is the site's answer;
/// Chromium notes it on the console, and that one note is all right.
pub(crate) async fn assert_clean(browser: &Browser, base: &str) {
    let network = Network::read(&browser.log("performance").await);
    let strangers: Vec<&String> = network.requested.iter().filter(|url| !is_of(url, base)).collect();
    assert!(strangers.is_empty(), "pages asked other hosts: {strangers:#?}");
    assert!(
        !network.requested.is_empty(),
        "the browser's log tells of no request: it is not being kept"
    );
    let complaints: Vec<String> = browser
        .log("browser")
        .await
        .iter()
        .map(|entry| {
            format!(
                "{} {}: {}",
                text(entry, "level"),
                text(entry, "source"),
                text(entry, "message")
            )
        })
        .filter(|complaint| !network.explains(complaint))
        .collect();
    assert!(complaints.is_empty(), "the console says: {complaints:#?}");
}

#[derive(Default)]
struct Network {
    requested: Vec<String>,
    /// Addresses of whole pages that were answered 4xx.
    refused_pages: Vec<String>,
}

impl Network {
    fn read(entries: &[Value]) -> Self {
        let mut network = Self::default();
        for entry in entries {
            let Ok(entry) = serde_json::from_str::<Value>(&text(entry, "message")) else {
                panic!("an entry of the network's log is no JSON: {entry}");
            };
            let parameters = &entry["message"]["params"];
            match entry["message"]["method"].as_str() {
                Some("Network.requestWillBeSent") => {
                    network.requested.push(text(&parameters["request"], "url"));
                }
                Some("Network.responseReceived")
                    if parameters["type"] == "Document"
                        && parameters["response"]["status"]
                            .as_u64()
                            .is_some_and(|status| status / 100 == 4) =>
                {
                    network.refused_pages.push(text(&parameters["response"], "url"));
                }
                // The log tells of much more: frames, caches, timings.
                Some(_) | None => {}
            }
        }
        network
    }

    fn explains(&self, complaint: &str) -> bool {
        let refused = |url: &String| complaint.contains(&format!("network: {url} - Failed to load resource"));
        self.refused_pages.iter().any(refused)
    }
}

/// Data addresses stay inside the page; everything else has to be the site's own, whoever signs in by the address.
fn is_of(url: &str, base: &str) -> bool {
    let (scheme, rest) = url.split_once("//").unwrap_or((url, ""));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = host.rsplit('@').next().unwrap_or(host);
    url.starts_with("data:") || format!("{scheme}//{host}/{path}").starts_with(&format!("{base}/"))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
