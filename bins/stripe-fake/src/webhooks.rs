//! Webhook deliveries: each event is signed, sent, and sent again with growing pauses until the endpoint
//! takes it or three days are over.
//!
//! An event is pending in the books until then, so a kill loses none: at the next start all that is pending
//! is sent. As with Stripe an event may come twice and out of order; receivers have to stand that.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::hmac;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::StripeFake;
use crate::clock::Seconds;
use crate::faults::Kind;
use crate::model::Record;
use crate::params::hex;

/// How many deliveries are under way at once.
const DELIVERIES_MAX: usize = 32;
/// How long an endpoint may take to answer.
const ANSWER_SECONDS_MAX: u64 = 20;
/// How much of an endpoint's answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The longest pause between two tries.
const PAUSE_SECONDS_MAX: u64 = 3_600;
/// When an event is given up.
const GIVE_UP_SECONDS: i64 = 3 * 24 * 3_600;
/// How long the end waits for deliveries that are under way.
const DRAIN_SECONDS_MAX: u64 = 5;

type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// `t=...,v1=...`: the time and a keyed hash over it and the body, as Stripe signs.
pub(crate) fn signature(secret: &hmac::Key, at: Seconds, body: &str) -> String {
    let mut context = hmac::Context::with_key(secret);
    context.update(at.to_string().as_bytes());
    context.update(b".");
    context.update(body.as_bytes());
    format!("t={at},v1={}", hex(context.sign().as_ref()))
}

/// Delivers until told to stop, then finishes what is under way.
pub(crate) async fn run(fake: &StripeFake, shutdown: impl Future<Output = ()>) {
    let Some(url) = fake.config().webhook_url.clone() else {
        return shutdown.await;
    };
    let mut courier = Courier {
        url,
        client: Client::builder(TokioExecutor::new()).build_http(),
        due: BTreeMap::new(),
        next: 0,
        kept_back: Vec::new(),
        under_way: JoinSet::new(),
    };
    tokio::pin!(shutdown);
    loop {
        courier.collect(fake);
        courier.release(fake);
        courier.start(fake);
        let next_due = courier.due.keys().next().map(|(at, _)| *at);
        let has_room = courier.under_way.len() < DELIVERIES_MAX;
        tokio::select! {
            () = &mut shutdown => break,
            () = fake.deliveries_changed() => {}
            Some(done) = courier.under_way.join_next() => courier.finish(fake, done),
            () = tokio::time::sleep_until(next_due.unwrap_or_else(Instant::now)), if has_room && next_due.is_some() => {}
        }
    }
    let drain = async {
        while let Some(done) = courier.under_way.join_next().await {
            courier.finish(fake, done);
        }
    };
    if tokio::time::timeout(Duration::from_secs(DRAIN_SECONDS_MAX), drain)
        .await
        .is_err()
    {
        tracing::warn!("deliveries that are still under way are broken off; they stay pending");
    }
}

/// Events that are sent one after another, in this order.
#[derive(Debug, Clone)]
struct Job {
    events: Vec<String>,
    copies: u32,
    tries: u32,
}

/// Events that a fault keeps back.
struct KeptBack {
    fault: u64,
    /// Sent, in reversed order, once there are so many; only clearing the faults ends a plain hold.
    batch: Option<u64>,
    events: Vec<String>,
}

struct Courier {
    url: String,
    client: HttpClient,
    due: BTreeMap<(Instant, u64), Job>,
    next: u64,
    kept_back: Vec<KeptBack>,
    under_way: JoinSet<(Job, Vec<String>)>,
}

impl Courier {
    fn enqueue(&mut self, at: Instant, job: Job) {
        self.next += 1;
        self.due.insert((at, self.next), job);
    }

    /// Takes the events that have come since the last look, and what faults do to them.
    fn collect(&mut self, fake: &StripeFake) {
        let now = Instant::now();
        for (event, kind) in fake.take_fresh_events() {
            let fault = fake.faults().for_event(&kind);
            let single = Job {
                events: vec![event.clone()],
                copies: 1,
                tries: 0,
            };
            match fault.as_ref().map(|fault| (fault.kind, fault)) {
                Some((Kind::Drop, _)) => fake.settle(event),
                Some((Kind::Double, fault)) => self.enqueue(
                    now,
                    Job {
                        copies: fault.copies,
                        ..single
                    },
                ),
                Some((Kind::Hold, fault)) => self.keep_back(fault.id, None, event),
                Some((Kind::Reorder, fault)) => self.keep_back(fault.id, Some(fault.batch), event),
                // The other faults are for requests and never come with an event.
                Some(_) | None => self.enqueue(now, single),
            }
        }
    }

    fn keep_back(&mut self, fault: u64, batch: Option<u64>, event: String) {
        match self.kept_back.iter_mut().find(|kept| kept.fault == fault) {
            Some(kept) => kept.events.push(event),
            None => self.kept_back.push(KeptBack {
                fault,
                batch,
                events: vec![event],
            }),
        }
    }

    /// Sends what was kept back and is not to be any longer.
    fn release(&mut self, fake: &StripeFake) {
        let now = Instant::now();
        let (kept, released): (Vec<_>, Vec<_>) = {
            let faults = fake.faults();
            std::mem::take(&mut self.kept_back).into_iter().partition(|kept| {
                let complete = kept.batch.is_some_and(|batch| kept.events.len() as u64 >= batch);
                faults.is_set(kept.fault) && !complete
            })
        };
        self.kept_back = kept;
        for mut released in released {
            if released.batch.is_some() {
                released.events.reverse();
            }
            self.enqueue(
                now,
                Job {
                    events: released.events,
                    copies: 1,
                    tries: 0,
                },
            );
        }
    }

    /// Starts deliveries that are due, as many as there is room for.
    fn start(&mut self, fake: &StripeFake) {
        while self.under_way.len() < DELIVERIES_MAX {
            let Some(first) = self
                .due
                .first_entry()
                .filter(|first| first.key().0 <= Instant::now())
            else {
                break;
            };
            let job = first.remove();
            let (fake, client, url) = (fake.clone(), self.client.clone(), self.url.clone());
            self.under_way.spawn(async move {
                let failed = send_all(&fake, &client, &url, &job).await;
                (job, failed)
            });
        }
    }

    /// Puts what could not be delivered back, for later.
    fn finish(&mut self, fake: &StripeFake, done: Result<(Job, Vec<String>), tokio::task::JoinError>) {
        let (job, failed) = match done {
            Ok(done) => done,
            Err(error) => {
                // Its events are pending in the books still and are sent again after the next start.
                tracing::error!(%error, "a delivery panicked");
                return;
            }
        };
        let pause = pause(fake.config().webhook_retry, job.tries);
        for event in failed {
            let job = Job {
                events: vec![event],
                copies: 1,
                tries: job.tries.saturating_add(1),
            };
            self.enqueue(Instant::now() + pause, job);
        }
    }
}

/// Twice the last pause, up to an hour.
fn pause(first: Duration, tries: u32) -> Duration {
    first
        .saturating_mul(2_u32.saturating_pow(tries))
        .min(Duration::from_secs(PAUSE_SECONDS_MAX))
}

/// Sends a job's events one after another and returns those that have to be sent again.
async fn send_all(fake: &StripeFake, client: &HttpClient, url: &str, job: &Job) -> Vec<String> {
    let mut failed = Vec::new();
    for id in &job.events {
        let Some((created, body, number)) = fake.event_to_send(id) else {
            continue;
        };
        // Nobody may hear of what a power cut could still undo.
        if fake.synced().wait(number).await.is_err() {
            failed.push(id.clone());
            continue;
        }
        let mut delivered = false;
        for _ in 0..job.copies {
            delivered |= send(fake, client, url, id, &body).await;
        }
        if delivered {
            fake.settle(id.clone());
        } else if fake.now() - created > GIVE_UP_SECONDS {
            tracing::warn!(event = %id, "the webhook's endpoint did not take this event for three days: given up");
            fake.settle(id.clone());
        } else {
            failed.push(id.clone());
        }
    }
    failed
}

/// Whether the endpoint took it.
async fn send(fake: &StripeFake, client: &HttpClient, url: &str, id: &str, body: &str) -> bool {
    let request = http::Request::post(url)
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
        .header(
            "User-Agent",
            "Stripe/1.0 (+https://stripe.com/docs/webhooks) stripe-fake",
        )
        .header(
            "Stripe-Signature",
            signature(fake.webhook_key(), fake.now(), body),
        )
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            tracing::error!(%error, url, "no request can be made for the webhook's address");
            return false;
        }
    };
    let answer = async {
        let response = client.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        let rest = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        rest.map_err(|error| error.to_string())?;
        Ok::<_, String>(status)
    };
    match tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), answer).await {
        Ok(Ok(status)) if status.is_success() => true,
        Ok(Ok(status)) => {
            tracing::debug!(event = %id, %status, "the webhook's endpoint refused an event");
            false
        }
        Ok(Err(error)) => {
            tracing::debug!(event = %id, error, "the webhook's endpoint can't be reached");
            false
        }
        Err(_) => {
            tracing::debug!(event = %id, "the webhook's endpoint did not answer in time");
            false
        }
    }
}

/// The change that an event needs no further delivery.
pub(crate) fn settled(event: String) -> Vec<Record> {
    vec![Record::Settled(event)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_stripes() {
        // Computed with: printf '1492774577.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"whsec_test");
        let signed = signature(&key, 1_492_774_577, r#"{"id":"evt_1"}"#);
        assert_eq!(
            signed,
            "t=1492774577,v1=7656fc2882a7ca0a651666b36bf2f2f22ee204f54f608f227498a2419f2890b2"
        );
    }

    #[test]
    fn pauses_grow_up_to_an_hour() {
        let first = Duration::from_millis(500);
        assert_eq!(pause(first, 0), first);
        assert_eq!(pause(first, 3), Duration::from_secs(4));
        assert_eq!(pause(first, 40), Duration::from_secs(3_600));
    }
}
