//! The pages, one module for each area. A handler asks the services, fills a template, and does no more.

pub(crate) mod account;
pub(crate) mod auth;
pub(crate) mod cards;
pub(crate) mod home;
pub(crate) mod ops;
pub(crate) mod orders;
pub(crate) mod selling;
pub(crate) mod ticket;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use uuid::Uuid;

use crate::problem::Failure;

/// An id in a path. What is no id names nothing, so it is not found; what is one is safe in a URL.
pub(crate) struct Id(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Id, Failure> {
        match Path::<Uuid>::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Id(id)),
            Err(_) => Err(Failure::NotFound),
        }
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}
