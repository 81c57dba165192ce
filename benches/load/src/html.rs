//! The report.

use crate::results::Results;

/// The report of a result, as a page.
pub fn page(results: &Results) -> String {
    format!("{results:?}")
}
