//! What a service does for those who look after it: how it stands and what it has published, its books for the
//! invariants, its dead letters, a check of its store, a backup.
//!
//! None of it is for the public: one process leaves these routes out of its public router, and separate services are
//! reached on their own ports from inside only. What changes something, costs a lot or hands out secrets wants the
//! operator's token besides ([`Operator`]).

mod backup;
mod books;
mod check;
mod letters;
mod operator;
mod status;
mod story;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use invariants::Fact;
use store::{Indexes, StoredRow};

pub use self::operator::{OPERATOR_TOKEN_CHARS_MIN, OperatorToken, OverControlSocket};

pub(crate) use self::books::{Outbox, page};
pub(crate) use self::letters::{Replay, replaying};
pub(crate) use self::operator::{Guard, only_for_operators};
pub(crate) use self::status::state_in_words;

use crate::Parts;
use crate::health::Probe;

/// What the internal routes of a service are made of.
pub(crate) struct Inside<I: Indexes> {
    pub(crate) parts: Parts<I>,
    pub(crate) probe: Probe,
    pub(crate) fact: fn(&StoredRow) -> Option<Fact>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) checking: Arc<check::Running>,
    pub(crate) replay: Replay,
    pub(crate) guard: Guard,
}

impl<I: Indexes> Clone for Inside<I> {
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            probe: Arc::clone(&self.probe),
            fact: self.fact,
            outbox: Arc::clone(&self.outbox),
            checking: Arc::clone(&self.checking),
            replay: Arc::clone(&self.replay),
            guard: self.guard.clone(),
        }
    }
}

impl<I: Indexes> FromRef<Inside<I>> for Guard {
    fn from_ref(inside: &Inside<I>) -> Self {
        inside.guard.clone()
    }
}

pub(crate) fn router<I: Indexes>(inside: Inside<I>) -> Router {
    Router::new()
        .route("/internal/status", get(status::status::<I>))
        .route("/internal/events", get(story::events::<I>))
        .route("/internal/books", get(books::books::<I>))
        .route("/internal/backup", get(backup::backup::<I>))
        .route("/internal/check", post(check::check::<I>))
        .route("/internal/dead-letters", get(letters::list::<I>))
        .route(
            "/internal/dead-letters/{source}/{id}",
            get(letters::show::<I>).delete(letters::drop_letter::<I>),
        )
        .route(
            "/internal/dead-letters/{source}/{id}/replay",
            post(letters::replay::<I>),
        )
        .with_state(inside)
}
