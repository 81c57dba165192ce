//! Messages about single fields, collected so that one answer names everything that is wrong.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Problem;

/// One thing that is wrong, and the field that it is about, if it is about one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// What is wrong, in words that can be shown to a person.
    pub message: String,
    /// The name of the field as it stands in the request.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
}

impl FieldError {
    /// Something wrong with one field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            field: Some(field.into()),
        }
    }

    /// Something wrong with the request as a whole.
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            field: None,
        }
    }
}

/// Collects what is wrong while a request is parsed, so that the client hears of all of it at once.
///
/// ```
/// # use errors::FieldErrors;
/// let mut wrong = FieldErrors::default();
/// let quantity = wrong.take("quantity", "Quantity", "many".parse::<u32>());
/// wrong.require(false, "title", "Title must not be empty");
/// assert_eq!(quantity, None);
/// assert_eq!(wrong.finish().unwrap_err().errors().len(), 2);
/// ```
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Notes that `field` is wrong.
    pub fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError::new(field, message));
    }

    /// Notes that `field` is wrong unless `holds`.
    pub fn require(&mut self, holds: bool, field: &str, message: impl Into<String>) {
        if !holds {
            self.push(field, message);
        }
    }

    /// Takes the parsed value, or notes what the error says: "`label` `error`". So the `Display` of a parse
    /// error goes on after the name of what was parsed: "is not a valid id".
    pub fn take<T, E: fmt::Display>(&mut self, field: &str, label: &str, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(error) => {
                self.push(field, format!("{label} {error}"));
                None
            }
        }
    }

    /// Takes the value of a field that must be there, or notes that it is missing.
    pub fn present<T>(&mut self, field: &str, label: &str, value: Option<T>) -> Option<T> {
        self.require(value.is_some(), field, format!("{label} is required"));
        value
    }

    /// Whether nothing was wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A 400 with everything that was wrong, if anything was.
    ///
    /// # Errors
    /// The problem to answer with.
    pub fn finish(self) -> Result<(), Problem> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(self.0))
        }
    }

    /// The 400 with everything that was wrong; for the arm in which a value is known to be missing because
    /// something was.
    pub fn into_problem(self) -> Problem {
        Problem::invalid(self.0)
    }
}
