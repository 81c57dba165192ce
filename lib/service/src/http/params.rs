//! Ids in the path and values in the query.

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path as AxumPath};
use errors::Problem;
use http::Uri;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::describe;

/// The one variable of the path. What is no id can't exist: 404.
#[derive(Debug, Clone, Copy)]
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: FromStr + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let AxumPath(text) = AxumPath::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::not_found())?;
        text.parse().map(Self).map_err(|_| Problem::not_found())
    }
}

/// The query string. Refuses with a 400 that names the parameter. `T` should deny unknown fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> Query<T> {
    /// Reads it, for a handler that need not always.
    ///
    /// # Errors
    /// A 400 that names the parameter.
    pub fn of(uri: &Uri) -> Result<Self, Problem> {
        parse_query(uri.query().unwrap_or_default()).map(Self)
    }
}

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(&parts.uri)
    }
}

fn parse_query<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(text.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().to_string();
        describe::problem("query", &path, &error.into_inner().to_string())
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Filter {
        limit: Option<u32>,
        min_price: Option<String>,
    }

    #[test]
    fn a_refusal_names_the_parameter() {
        for (query, field) in [
            ("limit=x", "limit"),
            ("limit=-1", "limit"),
            ("limit=", "limit"),
            ("limit=1&limit=2", "limit"),
            ("minPrice=1&maxPrise=2", "maxPrise"),
        ] {
            let problem = parse_query::<Filter>(query).unwrap_err();
            assert_eq!(
                problem.errors()[0].field.as_deref(),
                Some(field),
                "{query}: {problem}"
            );
        }
        let parsed: Filter = parse_query("limit=5&minPrice=1%2E50").unwrap();
        assert_eq!(parsed.limit, Some(5));
        assert_eq!(parsed.min_price.as_deref(), Some("1.50"));
        assert_eq!(parse_query::<Filter>("").unwrap(), Filter::default());
    }
}
