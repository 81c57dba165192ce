//! A person's browser, as far as a page without a script needs one: cookies, links, forms with their
//! hidden fields, and the headers that every browser sends along.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use tower::ServiceExt;

use crate::fixture::{NOW, World};

pub(crate) const ORIGIN: &str = "http://boxoffice.test";

pub(crate) struct Browser {
    site: Router,
    pub(crate) cookies: BTreeMap<String, String>,
}

pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) html: String,
}

pub(crate) fn settings(origin: &str) -> web::Settings {
    let clock = web::Clock::new(|| NOW.parse::<Timestamp>().unwrap());
    let mut settings = web::Settings::new(origin.parse().unwrap(), clock);
    settings.form_action = vec!["https://checkout.stripe.com".parse().unwrap()];
    settings.with_operators(["Boss@Example.com".to_owned()])
}

impl Browser {
    /// A browser in front of a site of its own over this world.
    pub(crate) fn new(world: &World) -> Browser {
        Browser::of(web::router(
            settings(ORIGIN),
            web::Upstream::in_process(world.api()),
        ))
    }

    pub(crate) fn of(site: Router) -> Browser {
        Browser {
            site,
            cookies: BTreeMap::new(),
        }
    }

    /// The same site, with this session's cookie.
    pub(crate) fn signed_in(world: &World, token: &str) -> Browser {
        let mut browser = Browser::new(world);
        browser.cookies.insert("session".to_owned(), token.to_owned());
        browser
    }

    pub(crate) async fn get(&mut self, path: &str) -> Page {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends these fields, without a token unless there is one among them.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.post_with(
            path,
            fields,
            &[("origin", ORIGIN), ("sec-fetch-site", "same-origin")],
        )
        .await
    }

    pub(crate) async fn post_with(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Page {
        let body = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect::<Vec<_>>();
        let mut request =
            Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.join("&"))).unwrap()).await
    }

    /// Opens `page`, takes the hidden fields of its form to `action`, and sends them with these.
    pub(crate) async fn submit(&mut self, page: &str, action: &str, fields: &[(&str, &str)]) -> Page {
        let form = self.get(page).await.form(action);
        let mut all: Vec<(&str, &str)> = form
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        all.extend_from_slice(fields);
        self.post(action, &all).await
    }

    pub(crate) async fn method(&mut self, method: Method, path: &str) -> Page {
        self.send(
            Request::builder()
                .method(method)
                .uri(path)
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Page {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            request
                .headers_mut()
                .insert(header::COOKIE, cookies.join("; ").parse().unwrap());
        }
        let response = self.site.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        for cookie in parts.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            match rest.split(';').next().unwrap() {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        let bytes = body.collect().await.unwrap().to_bytes();
        let html = String::from_utf8_lossy(&bytes).into_owned();
        Page {
            status: parts.status,
            headers: parts.headers,
            html,
        }
    }
}

impl Page {
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.html);
        self.headers[header::LOCATION].to_str().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The hidden fields of the form that is sent to `action`.
    pub(crate) fn form(&self, action: &str) -> Vec<(String, String)> {
        let start = self
            .html
            .find(&format!("action=\"{action}\""))
            .unwrap_or_else(|| panic!("no form to {action} in {}", self.html));
        let form = &self.html[start..start + self.html[start..].find("</form>").unwrap()];
        form.split("<input type=\"hidden\" ")
            .skip(1)
            .map(|input| (attribute(input, "name"), attribute(input, "value")))
            .collect()
    }

    /// The page's own part, with what differs at each rendering taken out.
    pub(crate) fn main(&self) -> String {
        let start = self.html.find("<main").unwrap();
        let end = self.html.find("</main>").unwrap();
        let mut main = self.html[start..end].to_owned();
        for name in ["_token", "attempt"] {
            let mark = format!("name=\"{name}\" value=\"");
            let mut out = String::new();
            let mut rest = main.as_str();
            while let Some(at) = rest.find(&mark) {
                let value = at + mark.len();
                out.push_str(&rest[..value]);
                out.push('…');
                rest = &rest[value + rest[value..].find('"').unwrap()..];
            }
            out.push_str(rest);
            main = out;
        }
        // Drawings say nothing about a page's words.
        while let Some(at) = main.find("<svg") {
            let end = at + main[at..].find("</svg>").unwrap() + "</svg>".len();
            main.replace_range(at..end, "◦");
        }
        main
    }

    pub(crate) fn title(&self) -> &str {
        self.html
            .split("<title>")
            .nth(1)
            .unwrap()
            .split("</title>")
            .next()
            .unwrap()
    }
}

fn attribute(input: &str, name: &str) -> String {
    let rest = input.split(&format!("{name}=\"")).nth(1).unwrap();
    rest.split('"')
        .next()
        .unwrap()
        .replace("&#38;", "&")
        .replace("&#47;", "/")
}

pub(crate) fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
