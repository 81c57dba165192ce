//! Who reads whose stream: the table of events, as far as the bus must know it.
//!
//! The bus needs it for one thing only: a stream may be trimmed behind what *every* reader has acknowledged,
//! and a reader whose group is missing must not be forgotten.

use events::Source;

/// The services that read `source`'s stream.
pub const fn readers(source: Source) -> &'static [Source] {
    match source {
        // Keys and revocations concern everybody; auth applies its own when it publishes them.
        Source::Auth => &[
            Source::Tickets,
            Source::Orders,
            Source::Expiration,
            Source::Payments,
        ],
        Source::Tickets | Source::Expiration | Source::Payments => &[Source::Orders],
        Source::Orders => &[Source::Tickets, Source::Expiration, Source::Payments],
    }
}
