//! `ETag`, `If-Match` and `If-None-Match` over an entity's version.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, IntoResponseParts, Response, ResponseParts};
use errors::Problem;
use events::Version;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// The `ETag` of an entity: its version, quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ETag(pub Version);

impl ETag {
    /// The header's value.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_str(&format!("\"{}\"", self.0)).expect("quotes and digits may stand in a header")
    }
}

impl IntoResponseParts for ETag {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Self::Error> {
        response.headers_mut().insert(header::ETAG, self.value());
        Ok(response)
    }
}

/// `If-Match`: change it only if it still has one of these versions. Absent, everything is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IfMatch(Option<Tags>);

/// `If-None-Match`: answer only if it has another version than these. Absent, nothing matches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IfNoneMatch(Option<Tags>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<Version>),
}

impl IfMatch {
    /// Whether a change of an entity with this version is allowed; if not, the answer is
    /// [`Problem::precondition_failed`].
    pub fn allows(&self, version: Version) -> bool {
        self.0.as_ref().is_none_or(|tags| tags.contain(version))
    }
}

impl IfNoneMatch {
    /// Whether the client has this version already.
    pub fn matches(&self, version: Version) -> bool {
        self.0.as_ref().is_some_and(|tags| tags.contain(version))
    }

    /// The answer to a read: 304 when the client has this version already, else 200 with the `ETag`.
    pub fn answer(&self, version: Version, body: &impl Serialize) -> Response {
        if self.matches(version) {
            (StatusCode::NOT_MODIFIED, ETag(version), ()).into_response()
        } else {
            (ETag(version), Json(body)).into_response()
        }
    }

    /// Whether the client has said what it has.
    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

impl Tags {
    fn contain(&self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::These(versions) => versions.contains(&version),
        }
    }

    /// A tag that is none of ours can't match, but it is no mistake either; only what is no tag is refused.
    fn parse(headers: &HeaderMap, name: &HeaderName, weak_too: bool) -> Result<Option<Self>, Problem> {
        let mut versions = Vec::new();
        let mut given = false;
        for value in headers.get_all(name) {
            given = true;
            let text = value.to_str().map_err(|_| malformed(name))?;
            if text.trim() == "*" {
                return Ok(Some(Self::Any));
            }
            for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
                let (weak, quoted) = match tag.strip_prefix("W/") {
                    Some(rest) => (true, rest),
                    None => (false, tag),
                };
                let inner = quoted
                    .strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'))
                    .ok_or_else(|| malformed(name))?;
                if (weak_too || !weak)
                    && let Ok(version) = inner.parse()
                {
                    versions.push(Version(version));
                }
            }
        }
        Ok(given.then_some(Self::These(versions)))
    }
}

fn malformed(name: &HeaderName) -> Problem {
    Problem::bad_request(format!("{name} must be entity tags in quotes, or *"))
}

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Tags::parse(&parts.headers, &header::IF_MATCH, false).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Tags::parse(&parts.headers, &header::IF_NONE_MATCH, true).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(value: &'static str, weak_too: bool) -> Result<Option<Tags>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_MATCH, HeaderValue::from_static(value));
        Tags::parse(&headers, &header::IF_MATCH, weak_too)
    }

    #[test]
    fn tags_are_read_as_http_says() {
        let these = |versions: &[u64]| Ok(Some(Tags::These(versions.iter().copied().map(Version).collect())));
        assert_eq!(tags("\"7\"", false), these(&[7]));
        assert_eq!(tags("\"7\", \"8\"", false), these(&[7, 8]));
        assert_eq!(tags("W/\"7\"", false), these(&[]));
        assert_eq!(tags("W/\"7\"", true), these(&[7]));
        assert_eq!(tags("\"another-kind\"", false), these(&[]));
        assert_eq!(tags("*", false), Ok(Some(Tags::Any)));
        assert!(tags("7", false).is_err());
        assert!(IfMatch::default().allows(Version(1)));
        assert!(!IfNoneMatch::default().matches(Version(1)));
    }
}
