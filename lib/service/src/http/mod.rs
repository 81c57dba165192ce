//! The HTTP edge that all services share: extractors whose refusals are problems that name the field, and the
//! small headers of the contract (`ETag`, `If-Match`, `Prefer`, `Link`).
//!
//! Handlers take these instead of axum's own, whose refusals are plain text. [`Kept`] is for answers that many ask for.

mod body_limit;
mod conditional;
mod deadline;
mod decimal;
mod describe;
mod edge;
mod in_flight;
mod json;
mod kept;
mod page;
mod params;
mod prefer;

pub use conditional::{ETag, IfMatch, IfNoneMatch};
pub use deadline::ANSWER_SECONDS_MAX;
pub use decimal::Decimal;
pub use edge::{BODY_BYTES_MAX, edge, traced};
pub use in_flight::{REQUESTS_IN_FLIGHT_MAX, bounded};
pub use json::{Json, parse_json};
pub use kept::Kept;
pub use page::{Links, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, Page, PageQuery};
pub use params::{Path, Query};
pub use prefer::{Prefer, WAIT_SECONDS_MAX};

pub(crate) use json::{is_json, read_body};
