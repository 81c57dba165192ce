//! Paging: `limit` and `after` in, `Link: <…>; rel="next"` out.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, OriginalUri};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use errors::{FieldErrors, Problem};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// How many rows a page has when the client does not say.
pub const PAGE_ROWS_DEFAULT: u32 = 20;

/// How many rows a page has at most.
pub const PAGE_ROWS_MAX: u32 = 100;

/// The query of a list that is only paged.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// 1 to 100; 20 if not said
    pub limit: Option<u32>,
    /// From the `Link` of the page before
    pub after: Option<String>,
}

impl PageQuery {
    /// The page.
    ///
    /// # Errors
    /// A 400 that names what is wrong.
    pub fn parse<C: DeserializeOwned>(&self) -> Result<Page<C>, Problem> {
        let mut wrong = FieldErrors::default();
        Page::parse(self.limit, self.after.as_deref(), &mut wrong).ok_or_else(|| wrong.into_problem())
    }
}

/// Which page is asked for. `C` is the service's own cursor: where the page before ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<C> {
    /// How many rows.
    pub limit: usize,
    /// After which row; from the start without.
    pub after: Option<C>,
}

impl<C: DeserializeOwned> Page<C> {
    /// Reads the two parameters; notes what is wrong with them.
    pub fn parse(limit: Option<u32>, after: Option<&str>, wrong: &mut FieldErrors) -> Option<Self> {
        let limit = limit.unwrap_or(PAGE_ROWS_DEFAULT);
        let in_range = (1..=PAGE_ROWS_MAX).contains(&limit);
        wrong.require(
            in_range,
            "limit",
            format!("Limit must be from 1 to {PAGE_ROWS_MAX}"),
        );
        let after = match after {
            None => None,
            Some(text) => Some(wrong.take("after", "After", decode(text))?),
        };
        in_range.then_some(Self {
            limit: limit as usize,
            after,
        })
    }
}

fn decode<C: DeserializeOwned>(text: &str) -> Result<C, &'static str> {
    const NOT_OURS: &str = "is not from a page of this list";
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| NOT_OURS)?;
    serde_json::from_slice(&bytes).map_err(|_| NOT_OURS)
}

/// Makes links to other pages of what was asked for.
#[derive(Debug, Clone)]
pub struct Links(Uri);

impl Links {
    /// Links to other pages of `uri`.
    pub fn of(uri: Uri) -> Self {
        Self(uri)
    }

    /// What was asked for.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// The headers of a page: a `Link` to the next one, which starts after `last`, or nothing on the last page.
    pub fn next(&self, last: Option<&impl Serialize>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            let cursor = serde_json::to_vec(last).expect("a cursor is made of ids, numbers and text");
            let after = BASE64_URL_SAFE_NO_PAD.encode(cursor);
            let kept = self
                .0
                .query()
                .unwrap_or_default()
                .split('&')
                .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("after"));
            let query: String = kept.flat_map(|pair| [pair, "&"]).collect();
            let link = format!("<{}?{query}after={after}>; rel=\"next\"", self.0.path());
            headers.insert(
                header::LINK,
                HeaderValue::from_str(&link).expect("what came in as a URI may stand in a header"),
            );
        }
        headers
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Links {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let OriginalUri(uri) = OriginalUri::from_request_parts(parts, state).await?;
        Ok(Self::of(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_next_page_of_the_same_list() {
        let links = Links::of("/api/tickets?q=jazz%20night&after=old&limit=5".parse().unwrap());
        let headers = links.next(Some(&(3_u32, "x")));
        let link = headers[header::LINK].to_str().unwrap();
        assert_eq!(
            link,
            "</api/tickets?q=jazz%20night&limit=5&after=WzMsIngiXQ>; rel=\"next\""
        );
        assert!(links.next(None::<&u32>).is_empty());

        let mut wrong = FieldErrors::default();
        let page: Page<(u32, String)> = Page::parse(None, Some("WzMsIngiXQ"), &mut wrong).unwrap();
        assert_eq!((page.limit, page.after), (20, Some((3, "x".into()))));
        for (limit, after) in [
            (Some(0), None),
            (Some(101), None),
            (None, Some("old")),
            (None, Some("")),
        ] {
            let mut wrong = FieldErrors::default();
            assert_eq!(Page::<(u32, String)>::parse(limit, after, &mut wrong), None);
            assert!(!wrong.is_empty());
        }
    }
}
