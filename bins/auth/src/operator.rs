//! What operators see of the signing keys, and how they have a new one made: `/internal/signing-keys`.
//!
//! Nothing here shows the private half of a key, and no key is taken away before its last token has expired.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use errors::Problem;
use events::Timestamp;
use http::StatusCode;
use serde::Serialize;
use service::Parts;

use crate::domain::{KEYS_KEPT_MAX, NoRotation};
use crate::keys::{KeyRing, RotateError, keys};
use crate::store::People;

/// When to look again while there is no key, or no store.
const RETRY_SECONDS: u32 = 1;

/// The keys, and the service that they belong to.
#[derive(Clone)]
struct Ring {
    keys: Arc<KeyRing>,
    parts: Parts<People>,
}

/// A signing key as operators see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    kid: String,
    created_at: Timestamp,
    /// The earliest moment at which a token may be signed with it.
    usable_from: Timestamp,
    /// When another one took over.
    superseded_at: Option<Timestamp>,
    /// Whether tokens are signed with it now.
    signing: bool,
}

#[derive(Debug, Serialize)]
struct Keys {
    keys: Vec<Key>,
}

/// The key that a wish for a new one led to.
#[derive(Debug, Serialize)]
struct Wished {
    kid: String,
}

/// These routes. Whoever serves them lets nobody in but operators.
pub(crate) fn routes(keys: Arc<KeyRing>, parts: Parts<People>) -> Router {
    Router::new()
        .route("/internal/signing-keys", get(list).post(rotate))
        .with_state(Ring { keys, parts })
}

async fn list(State(ring): State<Ring>) -> Result<Json<Keys>, Problem> {
    let signing = ring.keys.signing();
    let mut kept: Vec<Key> = keys(&ring.parts)
        .map_err(store_says)?
        .into_iter()
        .map(|key| Key {
            signing: signing.as_ref() == Some(&key.life.kid),
            kid: key.life.kid,
            created_at: key.life.created_at,
            usable_from: key.life.usable_from,
            superseded_at: key.life.superseded_at,
        })
        .collect();
    kept.sort_by_key(|key| key.created_at);
    Ok(Json(Keys { keys: kept }))
}

/// Makes a new key, or names the one that waits for its first use. 202: it is signed with a little later.
async fn rotate(State(ring): State<Ring>) -> Result<(StatusCode, Json<Wished>), Problem> {
    let kid = ring.keys.rotate_now(&ring.parts).await?;
    Ok((StatusCode::ACCEPTED, Json(Wished { kid })))
}

impl From<RotateError> for Problem {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::Refused(NoRotation::NoneYet) => Self::unavailable(
                "There is no signing key yet, and the first one will be new: try again soon",
                RETRY_SECONDS,
            ),
            RotateError::Refused(NoRotation::TooMany(until)) => Self::conflict(format!(
                "There are {KEYS_KEPT_MAX} signing keys already, whose sessions go on: the next one can be made at {until}"
            )),
            RotateError::Store(why) => store_says(why),
        }
    }
}

fn store_says(why: String) -> Problem {
    Problem::unavailable(
        "The signing keys can't be looked after now, try again soon",
        RETRY_SECONDS,
    )
    .because(why)
}
