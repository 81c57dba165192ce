//! Where something stands in a trace: a W3C trace context, read, made and written.

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

/// A trace's id.
pub(crate) type TraceId = [u8; 16];

/// The id of one span in it.
pub(crate) type SpanId = [u8; 8];

/// The bit of the flags that says that this trace is recorded.
const SAMPLED: u8 = 1;

/// One span: its trace, itself, and what it belongs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) sampled: bool,
}

impl Context {
    /// A new span under the one that is described, or the first one of a new trace, which is recorded if `sample` says so.
    pub(crate) fn under(traceparent: Option<&str>, sample: impl FnOnce(TraceId) -> bool) -> Self {
        let (trace_id, span_id) = random();
        match traceparent.and_then(parse) {
            Some(parent) => Self {
                span_id,
                parent: Some(parent.span_id),
                ..parent
            },
            None => Self {
                trace_id,
                span_id,
                parent: None,
                sampled: sample(trace_id),
            },
        }
    }

    /// A new span under the one that a request from the outside names, or the first one of a new trace. Whether it is
    /// recorded, `sample` says in either case: anybody could ask for it, for every request.
    pub(crate) fn from_outside(traceparent: Option<&str>, sample: impl Fn(TraceId) -> bool) -> Self {
        let context = Self::under(traceparent, &sample);
        Self {
            sampled: sample(context.trace_id),
            ..context
        }
    }

    /// A span of the trace that `seed` stands for. What has no trace context and is seen by several services gets the
    /// same trace from each of them this way.
    pub(crate) fn of_seed(seed: &str, sample: impl FnOnce(TraceId) -> bool) -> Self {
        let mut trace_id = TraceId::default();
        let length = trace_id.len();
        trace_id.copy_from_slice(&digest(&SHA256, seed.as_bytes()).as_ref()[..length]);
        Self {
            trace_id,
            span_id: random().1,
            parent: None,
            sampled: sample(trace_id),
        }
    }

    /// The trace's id as text.
    pub(crate) fn trace_id_text(&self) -> String {
        hex(&self.trace_id)
    }
}

/// As a `traceparent` of version 0: `00-<32 hex>-<16 hex>-<2 hex>`.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = if self.sampled { SAMPLED } else { 0 };
        write!(f, "00-{}-{}-{flags:02x}", hex(&self.trace_id), hex(&self.span_id))
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from(DIGITS[usize::from(nibble)]));
    }
    text
}

/// A whole `traceparent` of version 0, and nothing else: what comes in stands in logs and events afterwards.
fn parse(traceparent: &str) -> Option<Context> {
    let mut parts = traceparent.split('-');
    let (version, trace_id, span_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() {
        return None;
    }
    let [flags]: [u8; 1] = unhex(flags)?;
    let (trace_id, span_id): (TraceId, SpanId) = (unhex(trace_id)?, unhex(span_id)?);
    (trace_id != TraceId::default() && span_id != SpanId::default()).then_some(Context {
        trace_id,
        span_id,
        parent: None,
        sampled: flags & SAMPLED != 0,
    })
}

/// Exactly so many bytes out of lower-case hexadecimal.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(&pair[0])? << 4 | digit(&pair[1])?;
    }
    Some(bytes)
}

fn random() -> (TraceId, SpanId) {
    const TRACE_BYTES: usize = size_of::<TraceId>();
    // Both at once: each asking is a call into the system, and every request asks.
    let mut bytes = [0; TRACE_BYTES + size_of::<SpanId>()];
    SystemRandom::new()
        .fill(&mut bytes)
        .expect("the system has random numbers: without them nothing here could be trusted");
    let (mut trace_id, mut span_id) = (TraceId::default(), SpanId::default());
    trace_id.copy_from_slice(&bytes[..TRACE_BYTES]);
    span_id.copy_from_slice(&bytes[TRACE_BYTES..]);
    (trace_id, span_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_traceparent_is_taken_over() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let taken = parse(good).unwrap();
        assert_eq!(taken.trace_id_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(taken.to_string(), good);
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-evil\"injection-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_span_goes_on_with_the_trace_it_is_under() {
        let above = Context::under(None, |_| false);
        let below = Context::under(Some(&above.to_string()), |_| true);
        assert_eq!(below.trace_id, above.trace_id);
        assert_eq!(below.parent, Some(above.span_id));
        assert_ne!(below.span_id, above.span_id);
        assert!(!below.sampled, "who begins a trace says whether it is recorded");
        assert_eq!(parse(&below.to_string()).unwrap().span_id, below.span_id);
    }

    #[test]
    fn nobody_outside_says_what_is_recorded() {
        let asked = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (taken, left) = (
            Context::from_outside(Some(asked), |_| true),
            Context::from_outside(Some(asked), |_| false),
        );
        assert!(taken.sampled && !left.sampled);
        assert_eq!(left.trace_id_text(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(left.parent.is_some());
        assert!(!Context::from_outside(None, |_| false).sampled);
    }

    #[test]
    fn what_several_see_without_a_trace_has_the_same_one_for_each() {
        let (one, other) = (
            Context::of_seed("orders-1-7", |_| true),
            Context::of_seed("orders-1-7", |_| true),
        );
        assert_eq!(one.trace_id, other.trace_id);
        assert_ne!(one.span_id, other.span_id);
        assert_ne!(one.trace_id, Context::of_seed("orders-1-8", |_| true).trace_id);
    }
}
