//! The trace goes on where an event is applied: what that leads to stands under it.

use bus::{Applied, Handler, Impossible};
use events::{Envelope, Source};
use store::{Indexes, TransactError, Txn};
use tokio::time::Instant;

use super::context::Context;
use super::exporter::exporter;
use super::span::{Kind, Span};
use crate::Clock;

/// Applies an event as a step of its trace. Where no traces are sent it is applied, and nothing else.
///
/// This runs inside the store's writer. It looks at the clock, but only to tell of it: no decision sees that time.
pub(crate) fn apply<I: Indexes, H: Handler<I>>(
    service: Source,
    handler: &H,
    tx: &mut Txn<'_, I>,
    envelope: &Envelope,
) -> Result<Applied, TransactError<Impossible>> {
    let Some(exporter) = exporter() else {
        return handler.apply(tx, envelope);
    };
    let samples = |trace_id| exporter.destination.samples(trace_id);
    // What a service decides by itself, such as an expiry, comes without a trace: each reader gives it the same one.
    let context = match envelope.traceparent.as_deref() {
        Some(traceparent) => Context::under(Some(traceparent), samples),
        None => Context::of_seed(
            &format!("{} {}", envelope.id(), envelope.time.as_micros()),
            samples,
        ),
    };
    tx.traced_by(Some(context.to_string()));
    if !context.sampled {
        return handler.apply(tx, envelope);
    }
    let (begin, began) = (Clock::new().now(), Instant::now());
    let applied = handler.apply(tx, envelope);
    let event_type = envelope.event.event_type();
    let age = begin.since(envelope.time).as_millis();
    let mut attributes = vec![
        ("messaging.system", "redis".into()),
        ("messaging.operation.type", "process".into()),
        (
            "messaging.destination.name",
            format!("events:{}", envelope.source).into(),
        ),
        ("messaging.message.id", envelope.id().into()),
        ("boxoffice.subject", envelope.event.subject().into()),
        (
            "boxoffice.event.age_ms",
            i64::try_from(age).unwrap_or(i64::MAX).into(),
        ),
    ];
    match &applied {
        Ok(Applied::Done) => {}
        Ok(Applied::Stale(reason)) => attributes.push(("boxoffice.stale", (*reason).into())),
        Err(error) => attributes.push(("error.type", error.to_string().into())),
    }
    exporter.record(Span {
        context,
        service: service.as_str(),
        name: format!("process {event_type}"),
        kind: Kind::Consumer,
        begin,
        lasted: began.elapsed(),
        attributes,
        failed: applied.is_err(),
    });
    applied
}
