//! Forms: what was typed, what is wrong with it, and the guard at the door of every POST.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Form as AxumForm, FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use serde::Deserialize;

use crate::Site;
use crate::csrf::{self, Forgery, TOKEN_FIELD};
use crate::problem::{Failure, Refusal};
use crate::session::Visit;

/// The largest form that is read.
pub(crate) const FORM_BYTES_MAX: usize = 64 * 1024;
/// What is never sent back in a page.
const SECRET_FIELDS: [&str; 4] = ["password", "current", "new", TOKEN_FIELD];

/// One thing that is wrong, beside its field if it has one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct FieldError {
    /// The field's name, the same in the contract and in the form.
    #[serde(default)]
    pub(crate) field: Option<String>,
    /// What is wrong with it.
    pub(crate) message: String,
}

/// What a form shows: values and what is wrong with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form {
    values: BTreeMap<String, String>,
    errors: Vec<FieldError>,
}

impl Form {
    /// A form that shows these values.
    pub(crate) fn filled<const N: usize>(values: [(&str, String); N]) -> Form {
        Form {
            values: values.map(|(name, value)| (name.to_owned(), value)).into(),
            errors: Vec::new(),
        }
    }

    /// The value of a field, empty if there is none.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// What is wrong with a field.
    pub(crate) fn error(&self, name: &str) -> Option<&str> {
        self.errors
            .iter()
            .find(|error| error.field.as_deref() == Some(name))
            .map(|error| error.message.as_str())
    }

    /// Everything that is wrong.
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// Sets a value.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// Notes something that is wrong with a field.
    pub(crate) fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.errors.push(FieldError {
            field: Some(field.to_owned()),
            message: message.into(),
        });
    }

    /// Notes all that a service has found.
    pub(crate) fn refuse_all(&mut self, refusal: Refusal) {
        self.errors.extend(refusal.errors);
    }

    /// Whether nothing is wrong so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }
}

/// A form that a person sent from a page of ours. That it exists means that it was made for this session:
/// a handler that takes it cannot forget to check.
#[derive(Debug)]
pub(crate) struct Submitted {
    /// Who sent it.
    pub(crate) visit: Visit,
    values: BTreeMap<String, String>,
}

impl Submitted {
    /// A field without the spaces around it, empty if it is missing.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.values.get(name).map_or("", |value| value.trim())
    }

    /// A field exactly as it was typed, for passwords.
    pub(crate) fn verbatim(&self, name: &str) -> &str {
        self.values.get(name).map_or("", String::as_str)
    }

    /// A field that may be left empty.
    pub(crate) fn optional(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// What is shown again: everything but secrets.
    pub(crate) fn keep(&self) -> Form {
        let values = self
            .values
            .iter()
            .filter(|(name, _)| !SECRET_FIELDS.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Form {
            values,
            errors: Vec::new(),
        }
    }
}

impl FromRequest<Arc<Site>> for Submitted {
    type Rejection = Failure;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Submitted, Failure> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, site).await?;
        csrf::check_origin(&parts.headers, site.settings.public_url.origin()).map_err(Failure::Forged)?;
        let request = Request::from_parts(parts, body);
        let AxumForm(pairs) = AxumForm::<Vec<(String, String)>>::from_request(request, site)
            .await
            .map_err(|rejection| match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Failure::TooLarge,
                _ => Failure::Malformed,
            })?;
        // Browsers send line breaks as CR LF; one is enough.
        let values: BTreeMap<String, String> = pairs
            .into_iter()
            .map(|(name, value)| (name, value.replace("\r\n", "\n")))
            .collect();
        let subject = visit
            .token_subject()
            .ok_or(Failure::Forged(Forgery::WrongToken))?;
        let token = values.get(TOKEN_FIELD).map_or("", String::as_str);
        site.tokens.check(&subject, token).map_err(Failure::Forged)?;
        Ok(Submitted { visit, values })
    }
}
