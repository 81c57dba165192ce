//! Who is asking: the session cookie, what else of a request travels on to the services, and the one
//! question "who is this" to the auth service. Verification is the services' business; the site holds no keys.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;

use crate::Site;
use crate::api::{Person, WhoAmI};
use crate::problem::Failure;
use crate::upstream::Call;

/// The longest session token that is passed on; a JWT of ours has about 400 characters.
const TOKEN_CHARS_MAX: usize = 4_096;
/// The longest visitor value that is taken back.
const VISITOR_CHARS_MAX: usize = 64;

/// One request's view of its sender.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// When the request came.
    pub(crate) now: Timestamp,
    /// Path and query, to come back to after signing in.
    pub(crate) here: String,
    token: Option<String>,
    visitor: Option<String>,
    peer: Option<SocketAddr>,
    forwarded: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
}

impl Visit {
    /// Whether a session cookie came along at all, valid or not.
    pub(crate) fn has_session(&self) -> bool {
        self.token.is_some()
    }

    /// The call, made on this person's behalf.
    pub(crate) fn on_behalf(&self, call: Call) -> Call {
        call.bearer(self.token.as_deref())
            .from_peer(self.peer, self.forwarded.as_ref())
            .traced(self.traceparent.as_ref())
    }

    /// Asks the auth service who this is. Without a cookie nobody needs to be asked.
    ///
    /// # Errors
    /// The auth service does not answer.
    pub(crate) async fn person(&self, site: &Site) -> Result<Option<Person>, Failure> {
        if self.token.is_none() {
            return Ok(None);
        }
        let who: WhoAmI = site.fetch(self, Call::get("/api/users/currentuser")).await?;
        Ok(who.current_user)
    }

    /// Like [`Visit::person`], for pages that are for people who are signed in.
    ///
    /// # Errors
    /// Nobody is signed in: the failure leads to the sign-in page and back here.
    pub(crate) async fn signed_in(&self, site: &Site) -> Result<Person, Failure> {
        self.person(site)
            .await?
            .ok_or_else(|| Failure::SignInFirst(self.here.clone()))
    }

    /// What this visit's form tokens are bound to; nothing for a visitor who has no cookie yet.
    pub(crate) fn token_subject(&self) -> Option<String> {
        match (&self.token, &self.visitor) {
            (Some(token), _) => Some(format!("session {token}")),
            (None, Some(visitor)) => Some(visitor_subject(visitor)),
            (None, None) => None,
        }
    }
}

/// What the forms of a visitor with this cookie are bound to.
pub(crate) fn visitor_subject(visitor: &str) -> String {
    format!("visitor {visitor}")
}

/// The `Set-Cookie` that gives a visitor a value to bind forms to. It ends with the browser's session.
pub(crate) fn visitor_cookie(value: &str, https: bool) -> HeaderValue {
    let (prefix, secure) = if https { ("__Host-", "; Secure") } else { ("", "") };
    HeaderValue::try_from(format!(
        "{prefix}visitor={value}; Path=/; HttpOnly; SameSite=Lax{secure}"
    ))
    .expect("the value is base64url")
}

impl FromRequestParts<Arc<Site>> for Visit {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Visit, Failure> {
        let https = site.settings.public_url.is_https();
        let (session, visitor) = if https {
            ("__Host-session", "__Host-visitor")
        } else {
            ("session", "visitor")
        };
        let uri = parts
            .extensions
            .get::<OriginalUri>()
            .map_or(&parts.uri, |original| &original.0);
        let here = match parts.method {
            Method::GET | Method::HEAD => uri.path_and_query().map_or("/", |path| path.as_str()),
            // A form cannot be sent again by following a link: the way back leads to the front page or
            // wherever the handler says.
            _ => "/",
        };
        Ok(Visit {
            now: site.settings.clock.now(),
            here: here.to_owned(),
            token: cookie(&parts.headers, session)
                .filter(|token| token.len() <= TOKEN_CHARS_MAX && is_token_text(token)),
            visitor: cookie(&parts.headers, visitor)
                .filter(|value| value.len() <= VISITOR_CHARS_MAX && is_token_text(value)),
            peer: parts
                .extensions
                .get::<ConnectInfo<SocketAddr>>()
                .map(|info| info.0),
            forwarded: parts
                .headers
                .get(HeaderName::from_static("x-forwarded-for"))
                .cloned(),
            traceparent: traceparent(),
        })
    }
}

/// The trace that the page's calls belong to, so that all that one click leads to carries one id.
fn traceparent() -> Option<HeaderValue> {
    let current = service::current_trace()?;
    HeaderValue::try_from(current).ok()
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

/// Tokens are base64url with dots: anything else was not set by us.
fn is_token_text(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Where to go after signing in: a path of this site, or the front page. Whatever a browser might read as
/// another host (`//`, a backslash, control characters that it drops) is no path of this site.
pub(crate) fn safe_next(next: &str) -> &str {
    let hostile = !next.starts_with('/')
        || next.starts_with("//")
        || next.contains("//")
        || next.contains('\\')
        || next
            .chars()
            .any(|character| character.is_control() || character.is_whitespace())
        || !next.is_ascii()
        || next.starts_with("/auth/");
    if hostile { "/" } else { next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_site_are_followed() {
        for good in ["/", "/orders", "/tickets/1?quantity=2", "/?q=a%20b&sort=price"] {
            assert_eq!(safe_next(good), good);
        }
        for bad in [
            "",
            "orders",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example",
            "http:/evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            " //evil.example",
            "/a//evil.example",
            "/orders\r\nSet-Cookie: a=b",
            "/ü",
            "/auth/signin",
        ] {
            assert_eq!(safe_next(bad), "/", "{bad:?}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("notsession=a; session=b.c-d_e; session2=f"),
        );
        assert_eq!(cookie(&headers, "session").as_deref(), Some("b.c-d_e"));
        assert_eq!(cookie(&headers, "visitor"), None);
        assert!(!is_token_text("b c") && !is_token_text("b,c") && is_token_text("aZ09-_."));
    }
}
