//! The control socket: how operators' commands reach the one process that runs. It lies in the data directory, only its
//! owner may open it, and it serves what the services show inside and nothing else: `/{service}/internal/…`.
//!
//! It is not for programs of other people, and no port.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::{Extension, Router};
use service::{OverControlSocket, Shutdown, Started};
use tokio::net::{UnixListener, UnixSocket};

/// Its name in the data directory.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";

/// How long the path of a socket may be: the system's `sun_path` has 108 bytes, the last of which is 0.
const PATH_BYTES_MAX: usize = 107;

/// How many connections wait to be accepted.
const BACKLOG: u32 = 64;

/// How long what an operator has asked for may go on once it is time to stop; a backup is then broken off, and says so.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// The system allows no such path.
    #[error(
        "the path {path} of the control socket has {length} bytes, and the system allows {PATH_BYTES_MAX}: give a shorter \
         --data-dir, or a path relative to where you are, for boxoffice verify, backup and dead-letters to work while this runs"
    )]
    PathTooLong { path: String, length: usize },
    /// The system refuses.
    #[error("the control socket {path} can't be made: {cause}")]
    Io {
        path: String,
        #[source]
        cause: io::Error,
    },
}

/// A control socket that listens, for nobody but its owner. Dropping it takes the file away.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    listener: Option<UnixListener>,
}

impl ControlSocket {
    /// Makes the socket in the data directory, whose lock the caller has: what lies there is left over from a kill.
    ///
    /// # Errors
    /// [`ControlError`] says why not.
    pub(crate) fn bind(data_dir: &Path) -> Result<Self, ControlError> {
        let path = data_dir.join(CONTROL_SOCKET);
        let length = path.as_os_str().len();
        if length > PATH_BYTES_MAX {
            return Err(ControlError::PathTooLong {
                path: path.display().to_string(),
                length,
            });
        }
        let listener = listen(&path).map_err(|cause| ControlError::Io {
            path: path.display().to_string(),
            cause,
        })?;
        Ok(Self {
            path,
            listener: Some(listener),
        })
    }

    /// Serves these routes until `shutdown`. What is being answered then has a moment to end.
    pub(crate) async fn serve(mut self, routes: Router, shutdown: Shutdown) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        let served = axum::serve(listener, routes).with_graceful_shutdown(shutdown.clone().wait());
        let too_long = async {
            shutdown.wait().await;
            tokio::time::sleep(DRAIN_MAX).await;
        };
        tokio::select! {
            served = served => {
                if let Err(error) = served {
                    tracing::error!(%error, "the control socket is not served any more");
                }
            }
            () = too_long => tracing::info!("an operator's command was cut off"),
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the control socket was not taken away");
        }
    }
}

/// What is served: what each service shows inside, under its name.
pub(crate) fn routes(services: &[Started]) -> Router {
    let mut routes = Router::new();
    for started in services {
        let internal = started.internal.clone().layer(Extension(OverControlSocket));
        routes = routes.nest(&format!("/{}", started.source), internal);
    }
    routes
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    // Before it listens: until then nobody can connect, whoever may look into the directory.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_for_its_owner_alone_and_replaces_what_a_kill_has_left() {
        let dir = testkit::temp_dir();
        let socket = ControlSocket::bind(dir.path()).unwrap();
        let path = dir.path().join(CONTROL_SOCKET);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        // As a kill leaves it: the file stays.
        std::mem::forget(socket);
        let again = ControlSocket::bind(dir.path()).unwrap();
        tokio::net::UnixStream::connect(&path).await.unwrap();
        drop(again);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_explained() {
        let long = PathBuf::from("/").join("x".repeat(PATH_BYTES_MAX));
        let error = ControlSocket::bind(&long).unwrap_err().to_string();
        assert!(
            error.contains("has 121 bytes") && error.contains("--data-dir"),
            "{error}"
        );
    }
}
