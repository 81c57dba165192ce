//! Who reads whose stream: the table of events, as far as the bus must know it.
//!
//! The bus needs it for one thing only: a stream may be trimmed behind what *every* reader has acknowledged,
//! and a reader whose group is missing must not be forgotten; and how much of a hurry a reader is in.

use std::time::Duration;

use events::Source;

/// How long a reader that is in no hurry lets events gather after it has applied some. Each of its batches costs a sync of
/// the disk that all services share, so that whoever is waited for is faster when the others sync fifty times a second at most.
const GATHER: Duration = Duration::from_millis(20);

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

/// How long `reader` lets events of `source` gather after it has applied some; nothing where people wait for what it does.
///
/// Tickets holds pieces for orders, and orders tells the buyer what became of them: each of these hops is waited for. A
/// deadline lies minutes ahead, a payment is opened by a request of its own, which makes the reader hurry (see
/// [`store::Store::cursor_wanted`]), and keys and revocations are to be known within two seconds.
pub(crate) const fn gathers(source: Source, reader: Source) -> Option<Duration> {
    match (source, reader) {
        (Source::Auth, _) | (Source::Orders, Source::Expiration | Source::Payments) => Some(GATHER),
        (Source::Orders | Source::Tickets | Source::Expiration | Source::Payments, _) => None,
    }
}
