//! The moment in which a fault is over, and how long it takes from then on until everyone knows what was committed
//! by then (I7).
//!
//! People go on buying meanwhile, so that outboxes never run dry: what counts is not rest, but that what stood in an
//! outbox when the fault was over is in its stream, and read by all who read it. It judges nothing; [`crate::times`] does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Client;
use tokio::task::JoinHandle;

use crate::layout::OPERATOR_TOKEN;
use crate::part::Part;
use crate::system::System;

/// Between two looks at all services.
const LOOK_MILLIS: u64 = 100;

/// How long one of them may take to say how it stands before it is asked again.
const STATUS_SECONDS_MAX: u64 = 2;

/// Epoch and number of an event.
type Place = (u64, u64);

/// A fault that is over since a moment.
#[derive(Debug)]
pub struct Healed {
    at: Instant,
    watch: JoinHandle<Duration>,
}

impl Drop for Healed {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Healed {
    /// Now.
    pub fn now(system: &System) -> Self {
        let (at, system) = (Instant::now(), system.clone());
        Self {
            at,
            watch: tokio::spawn(async move {
                known_everywhere(&system).await;
                at.elapsed()
            }),
        }
    }

    /// When that was.
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// How long it took until what was committed at that moment was known everywhere; nothing if it is not yet, after
    /// so long a wait.
    pub async fn known_everywhere(&mut self, wait: Duration) -> Option<Duration> {
        let known = tokio::time::timeout(wait, &mut self.watch).await.ok()?;
        Some(known.expect("the watch is only aborted with the one who waits for it"))
    }
}

/// How a service stands, as it says itself.
struct Standing {
    head: Place,
    relayed: Place,
    readings: BTreeMap<String, Place>,
}

/// Waits until each service's events up to the head that it had at first are in its stream, and read by all its readers.
async fn known_everywhere(system: &System) {
    let mut goals: BTreeMap<&str, Place> = BTreeMap::new();
    loop {
        let mut standings = Vec::with_capacity(Part::SERVICES.len());
        for part in Part::SERVICES {
            if let Some(standing) = standing(system, part).await {
                goals.entry(part.name()).or_insert(standing.head);
                standings.push((part.name(), standing));
            }
        }
        // One that does not answer may have anything in its outbox, and may not have read anything.
        if standings.len() == Part::SERVICES.len()
            && standings
                .iter()
                .all(|(name, standing)| is_there(name, standing, &goals))
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
    }
}

fn is_there(name: &str, standing: &Standing, goals: &BTreeMap<&str, Place>) -> bool {
    let reached = |source: &str, place: Place| {
        let goal = goals.get(source).copied().unwrap_or_default();
        // Nothing was ever said in that epoch, so that there is nothing to be heard.
        goal.1 == 0 || place >= goal
    };
    let has_read = |(source, place): (&String, &Place)| reached(source, *place);
    reached(name, standing.relayed) && standing.readings.iter().all(has_read)
}

async fn standing(system: &System, part: Part) -> Option<Standing> {
    let client = Client::new(system.base(part)).with_bearer(OPERATOR_TOKEN);
    let request = client
        .get("/internal/status")
        .within(Duration::from_secs(STATUS_SECONDS_MAX));
    let answer = request.try_send().await.ok()?;
    let status: Value = serde_json::from_slice(&answer.body).ok()?;
    if status["store"]["state"] != "serving" {
        return None;
    }
    let epoch = status["store"]["epoch"].as_u64()?;
    let reading = |source: &Value| {
        let place = (source["epoch"].as_u64()?, source["cursor"].as_u64()?);
        Some((source["source"].as_str()?.to_owned(), place))
    };
    Some(Standing {
        head: (epoch, status["store"]["head"].as_u64()?),
        relayed: (epoch, status["bus"]["relayed"].as_u64()?),
        readings: status["bus"]["sources"]
            .as_array()?
            .iter()
            .map(reading)
            .collect::<Option<_>>()?,
    })
}
