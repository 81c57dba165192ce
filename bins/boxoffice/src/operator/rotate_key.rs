//! `boxoffice rotate-key`: has auth sign new sessions with a new key, and waits until it does.

use std::time::Duration;

use events::{Source, Timestamp};
use http::Method;
use serde::Deserialize;

use super::remote::{ANSWER_MAX, Remote};
use super::target::Target;
use super::{OperatorError, Outcome, say};

const PATH: &str = "/internal/signing-keys";

/// How long the new key's first use is waited for. Auth publishes a key some twenty seconds before, and then looks every few
/// seconds; longer means that it can't tell that the others have heard of it.
const USE_MAX: Duration = Duration::from_secs(120);

/// How often it is looked whether the new key is used.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Sign new sessions with a new key
///
/// Auth makes a key, publishes it, and signs with it once every service could hear of it. Sessions that an older key has
/// signed go on until they run out by themselves (12 hours); then that key is forgotten everywhere. Asked again before the
/// new key is used, it makes no second one.
///
/// This is also done every AUTH_KEY_ROTATION_DAYS without being asked.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code: 0 new sessions are signed with the new key, 1 it is made and not used yet, 2 none was made.\n\nExamples:\n  boxoffice rotate-key\n  BOXOFFICE_OPERATOR_TOKEN=… boxoffice rotate-key --service auth=http://127.0.0.1:8081"
)]
pub(crate) struct RotateKey {
    #[command(flatten)]
    target: Target,
}

/// The key that auth has made, or had just made.
#[derive(Debug, Deserialize)]
struct Wished {
    kid: String,
}

/// All keys, as auth tells of them.
#[derive(Debug, Deserialize)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    kid: String,
    usable_from: Timestamp,
    signing: bool,
}

impl RotateKey {
    /// Asks for a key, and says what became of it.
    pub(crate) async fn run(self) -> Result<Outcome, OperatorError> {
        let remotes = self.target.running().await?;
        let auth = remotes.into_iter().find(|remote| remote.source == Source::Auth);
        let auth = auth.ok_or_else(|| {
            OperatorError::Failed("auth keeps the signing keys: name it with --service auth=URL".to_owned())
        })?;
        let Wished { kid } = auth.json(Method::POST, PATH, ANSWER_MAX).await?;
        let usable_from = key(&auth, &kid).await?.usable_from;
        say(&format!(
            "The signing key {kid} is published. It may be used from {usable_from} on."
        ));
        match tokio::time::timeout(USE_MAX, used(&auth, &kid)).await {
            Ok(used) => used?,
            Err(_) => {
                say(
                    "It is not used yet: auth can't tell that the other services have heard of it. Is Redis there? Auth uses it \
                     by itself as soon as it can.",
                );
                return Ok(Outcome::Bad);
            }
        }
        say("New sessions are signed with it. Those of older keys go on until they run out.");
        Ok(Outcome::Good)
    }
}

/// Waits until auth signs with this key.
async fn used(auth: &Remote, kid: &str) -> Result<(), OperatorError> {
    while !key(auth, kid).await?.signing {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

async fn key(auth: &Remote, kid: &str) -> Result<Key, OperatorError> {
    let Keys { keys } = auth.get(PATH).await?;
    keys.into_iter().find(|key| key.kid == kid).ok_or_else(|| {
        OperatorError::Failed(format!("auth does not know the key {kid} that it has just made"))
    })
}
