//! The account that calls are made with, and which combinations of key and address are refused.

use std::fmt;

use clap::ValueEnum;

/// The stand-in's key, which means nothing to Stripe.
const FAKE_KEY: &str = "sk_test_boxoffice";
const STRIPE_HOST: &str = "api.stripe.com";

/// Whether something else may take Stripe's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum StandIn {
    /// On a laptop, and in tests.
    #[default]
    Allowed,
    /// Where money is real: whoever could pay with a test card would get tickets for nothing.
    Refused,
}

/// The account that is used.
#[derive(Clone)]
pub struct StripeAccount {
    /// The secret key.
    pub secret_key: String,
    /// Another address than Stripe's own, for the stand-in.
    pub api_base: Option<String>,
    /// Whether that may be.
    pub stand_in: StandIn,
}

impl fmt::Debug for StripeAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeAccount")
            .field("api_base", &self.api_base)
            .finish_non_exhaustive()
    }
}

/// Why an account can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// Real money must not go to anything but Stripe.
    #[error(
        "STRIPE_SECRET_KEY is a live key, but STRIPE_API_BASE points elsewhere than to Stripe: unset one of them"
    )]
    LiveKeyElsewhere,
    /// The stand-in's key is worth nothing at Stripe.
    #[error(
        "STRIPE_SECRET_KEY is the stand-in's key: set STRIPE_API_BASE to the stand-in's address, or use a real key"
    )]
    FakeKeyAtStripe,
    /// Where money is real, nothing but Stripe takes it.
    #[error(
        "STRIPE_STAND_IN is `refused`, and this would be a stand-in for Stripe: unset STRIPE_API_BASE, and set \
         STRIPE_SECRET_KEY to a key of your Stripe account"
    )]
    StandInRefused,
    /// Not a secret key.
    #[error("STRIPE_SECRET_KEY must be set to a secret key of the Stripe account: it begins with sk_ or rk_")]
    NotAKey,
    /// Without a secret no notice can be believed.
    #[error("STRIPE_WEBHOOK_SECRET is not set: it is what Stripe signs its notices with (whsec_...)")]
    NoWebhookSecret,
    /// The client can't be built.
    #[error("STRIPE_API_BASE or STRIPE_SECRET_KEY can't be used: {0}")]
    Unusable(String),
}

impl StripeAccount {
    pub(super) fn check(&self) -> Result<(), AccountError> {
        let key = self.secret_key.as_str();
        if !(key.starts_with("sk_") || key.starts_with("rk_")) {
            return Err(AccountError::NotAKey);
        }
        let elsewhere = self.api_base.as_deref().is_some_and(|base| !is_stripe(base));
        if self.stand_in == StandIn::Refused && (elsewhere || key == FAKE_KEY) {
            return Err(AccountError::StandInRefused);
        }
        let live = key.starts_with("sk_live_") || key.starts_with("rk_live_");
        if live && elsewhere {
            return Err(AccountError::LiveKeyElsewhere);
        }
        if key == FAKE_KEY && !elsewhere {
            return Err(AccountError::FakeKeyAtStripe);
        }
        Ok(())
    }
}

fn is_stripe(base: &str) -> bool {
    base.trim_end_matches('/')
        .strip_prefix("https://")
        .is_some_and(|host| host == STRIPE_HOST || host == "api.stripe.com:443")
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_and_an_address_that_do_not_go_together_are_refused() {
        let check = |key: &str, base: Option<&str>| {
            StripeAccount {
                secret_key: key.to_owned(),
                api_base: base.map(str::to_owned),
                stand_in: StandIn::Allowed,
            }
            .check()
        };
        let laptop = Some("http://127.0.0.1:8090");
        assert_eq!(check("sk_test_boxoffice", laptop), Ok(()));
        assert_eq!(
            check("sk_test_boxoffice", None),
            Err(AccountError::FakeKeyAtStripe)
        );
        assert_eq!(
            check("sk_test_boxoffice", Some("https://api.stripe.com/")),
            Err(AccountError::FakeKeyAtStripe)
        );
        assert_eq!(check("sk_test_real", None), Ok(()));
        assert_eq!(check("rk_live_real", None), Ok(()));
        assert_eq!(check("sk_live_real", Some("https://api.stripe.com")), Ok(()));
        for elsewhere in [
            "http://api.stripe.com",
            "https://api.stripe.com.evil.test",
            "http://127.0.0.1:8090",
        ] {
            assert_eq!(
                check("sk_live_real", Some(elsewhere)),
                Err(AccountError::LiveKeyElsewhere)
            );
            assert_eq!(
                check("rk_live_real", Some(elsewhere)),
                Err(AccountError::LiveKeyElsewhere)
            );
        }
        assert_eq!(check("", laptop), Err(AccountError::NotAKey));
        assert_eq!(check("pk_live_public", None), Err(AccountError::NotAKey));
    }

    #[test]
    fn where_money_is_real_nothing_stands_in_for_stripe() {
        let check = |key: &str, base: Option<&str>| {
            StripeAccount {
                secret_key: key.to_owned(),
                api_base: base.map(str::to_owned),
                stand_in: StandIn::Refused,
            }
            .check()
        };
        for base in [
            None,
            Some("http://stripe-fake:8080"),
            Some("https://api.stripe.com"),
        ] {
            assert_eq!(
                check("sk_test_boxoffice", base),
                Err(AccountError::StandInRefused)
            );
        }
        for key in ["sk_test_real", "sk_live_real"] {
            assert_eq!(
                check(key, Some("http://stripe-fake:8080")),
                Err(AccountError::StandInRefused)
            );
            // Stripe's own test mode is Stripe: whether it may be used is for whoever makes the Secrets to say.
            assert_eq!(check(key, None), Ok(()));
            assert_eq!(check(key, Some("https://api.stripe.com")), Ok(()));
        }
    }

    #[test]
    fn an_account_never_shows_its_key() {
        let account = StripeAccount {
            secret_key: "sk_test_canary".to_owned(),
            api_base: None,
            stand_in: StandIn::Allowed,
        };
        assert!(!format!("{account:?}").contains("canary"));
    }
}
