//! What a client is told when something is wrong: `application/problem+json` (RFC 9457) whose body also
//! carries `errors`, a list of messages with the field that each is about.
//!
//! [`Problem`] is the last form of an error, made once at the edge of a service. Inside, errors are typed; what
//! went wrong in detail is kept beside the problem as its [`Cause`] for the log and is never sent. This crate
//! knows no domain, no store and no bus.

mod field;
mod problem;

pub use field::{FieldError, FieldErrors};
pub use problem::{Cause, PROBLEM_JSON, Problem, ProblemBody};
