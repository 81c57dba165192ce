//! Telling everything in a process that it is time to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Resolves when the process is to stop. A clone waits for the same moment.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// What begins a [`Shutdown`]; dropped, it begins it, too.
#[derive(Debug)]
pub struct ShutdownTrigger(watch::Sender<bool>);

impl ShutdownTrigger {
    /// A trigger and what it triggers.
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Shutdown(receiver))
    }

    /// It is time to stop.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits until it is time to stop.
    pub async fn wait(mut self) {
        // An error means that the trigger is gone, and with it whoever could ask for more work.
        let (Ok(_) | Err(_)) = self.0.wait_for(|begun| *begun).await;
    }

    /// Whether it is time to stop.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow()
    }

    /// A shutdown that begins at SIGTERM or ctrl-C.
    ///
    /// # Errors
    /// When the process may not listen for signals.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (trigger, shutdown) = ShutdownTrigger::new();
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
            trigger.begin();
        });
        Ok(shutdown)
    }
}
