//! What this service is told from outside: the Stripe account.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::stripe::{AccountError, StandIn, StripeAccount};

/// The Stripe account.
#[derive(Clone, clap::Args)]
#[group(skip)]
#[command(next_help_heading = "Stripe")]
pub struct Options {
    /// The secret key of the Stripe account
    #[arg(
        long,
        value_name = "KEY",
        env = "STRIPE_SECRET_KEY",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true
    )]
    pub stripe_secret_key: String,

    /// What Stripe signs notices with; several, separated by commas, while one takes the place of another
    #[arg(
        long,
        value_name = "SECRET",
        env = "STRIPE_WEBHOOK_SECRET",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub stripe_webhook_secret: Vec<String>,

    /// Another address than Stripe's own: the stand-in's, on laptops and in tests
    #[arg(long, value_name = "URL", env = "STRIPE_API_BASE")]
    pub stripe_api_base: Option<String>,

    /// Whether something else may stand in for Stripe; refused where money is real
    #[arg(
        long,
        value_name = "WHETHER",
        env = "STRIPE_STAND_IN",
        value_enum,
        default_value_t
    )]
    pub stripe_stand_in: StandIn,

    /// How often a payment that waits for its buyer is looked at, in case a notice of Stripe's was lost
    #[arg(
        long,
        value_name = "SECONDS",
        env = "STRIPE_RECONCILE_SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub stripe_reconcile_seconds: u64,
}

impl fmt::Debug for Options {
    // By hand, so that no log ever shows a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("stripe_api_base", &self.stripe_api_base)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The account that calls are made with.
    pub(crate) fn account(&self) -> StripeAccount {
        StripeAccount {
            secret_key: self.stripe_secret_key.trim().to_owned(),
            api_base: self.stripe_api_base.clone().filter(|base| !base.is_empty()),
            stand_in: self.stripe_stand_in,
        }
    }

    /// The pause between two looks at a payment that waits.
    pub(crate) fn reconcile(&self) -> Duration {
        Duration::from_secs(self.stripe_reconcile_seconds)
    }

    /// What notices may be signed with; at least one.
    pub(crate) fn webhook_secrets(&self) -> Result<Arc<[String]>, AccountError> {
        let secrets = self
            .stripe_webhook_secret
            .iter()
            .map(|secret| secret.trim().to_owned());
        let secrets: Arc<[String]> = secrets.filter(|secret| !secret.is_empty()).collect();
        if secrets.is_empty() {
            Err(AccountError::NoWebhookSecret)
        } else {
            Ok(secrets)
        }
    }
}
