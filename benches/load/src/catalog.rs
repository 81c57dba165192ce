//! The scenarios by name, each with what it is for and the load that it is usually given.

mod holds;
mod scale;

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;

use crate::drive::{DRAIN_SECONDS_MAX, Pace, Plan, drive};
use crate::limits::{ARGON2ID, BARE_HTTP, GROUP_COMMIT};
use crate::market::{Listing, Market, MarketError};
use crate::meter::Meter;
use crate::number::{float, rounded, whole};
use crate::results::{Run, Told};
use crate::run::{Bench, Named};
use crate::scenario::Scenario;
use crate::scenario::browse::{Browse, Look};
use crate::scenario::create::Create;
use crate::scenario::mix::Mix;
use crate::scenario::purchase::Purchase;
use crate::scenario::reserve::Reserve;
use crate::scenario::sign_up::{SignIn, SignUp};
use crate::system::SystemError;

/// How many people buy, however many connections there are: each is signed up first, which costs a core a moment.
const BUYERS_MAX: usize = 64;

const BUYERS_QUICK_MAX: usize = 16;

/// How long is measured in a quick look.
const QUICK_SECONDS: f64 = 2.5;

/// How long an order holds its tickets, where nothing depends on it.
const HOLD_SECONDS: u64 = 900;

/// The lists that somebody asks for while others sign up.
const LISTS_BESIDE_PER_SECOND: f64 = 200.0;

/// A scenario, as on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A list of 50 tickets as JSON
    List,
    /// The landing page
    Landing,
    /// A ticket's page
    Page,
    /// New accounts, while others ask for 200 lists a second
    SignUp,
    /// Signing in
    SignIn,
    /// Listing tickets
    Create,
    /// Reserving, each another ticket than those beside it
    Reserve,
    /// Reserving, all from one listing
    ReserveHot,
    /// Reserving at a fixed rate, each order followed until it awaits its payment
    ReservePaced,
    /// Whole purchases: order, payment on the stand-in's page, capture, complete
    Purchase,
    /// A realistic mix of visitors, buyers and sellers
    Mix,
    /// The same for a long time; what grows is what matters
    Soak,
    /// Holds that end unpaid: over a time, then many at once (the system is started here)
    Expiry,
    /// From few tickets to many: what a reservation costs, how long a start takes (the system is started here)
    Scale,
    /// What it takes when nobody asks for anything
    Rest,
}

/// What may be asked for instead of what is usual.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// How many users.
    pub connections: Option<usize>,
    /// Operations a second, in an open loop.
    pub rate: Option<f64>,
    /// How long is measured.
    pub seconds: Option<f64>,
    /// What is not measured before.
    pub warm_up_seconds: Option<f64>,
    /// How many listings.
    pub listings: Option<usize>,
    /// How many holds, or how many tickets to grow to.
    pub count: Option<u64>,
    /// Everything shorter and smaller.
    pub quick: bool,
}

/// Why a scenario could not be run.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The market could not be prepared.
    #[error(transparent)]
    Market(#[from] MarketError),
    /// The system is not there.
    #[error(transparent)]
    System(#[from] SystemError),
    /// It needs a system that it may stop and start.
    #[error(
        "{0} stops and starts the system, and can't do that with one that runs already: leave --base out"
    )]
    NotOurs(&'static str),
    /// Something else.
    #[error("{0}")]
    Failed(String),
}

impl Kind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Landing => "landing",
            Self::Page => "page",
            Self::SignUp => "sign-up",
            Self::SignIn => "sign-in",
            Self::Create => "create",
            Self::Reserve => "reserve",
            Self::ReserveHot => "reserve-hot",
            Self::ReservePaced => "reserve-paced",
            Self::Purchase => "purchase",
            Self::Mix => "mix",
            Self::Soak => "soak",
            Self::Expiry => "expiry",
            Self::Scale => "scale",
            Self::Rest => "rest",
        }
    }

    /// What it is, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::List => "List of 50 tickets as JSON",
            Self::Landing => "Landing page",
            Self::Page => "Ticket page",
            Self::SignUp => "Sign-ups, beside 200 lists a second",
            Self::SignIn => "Sign-ins",
            Self::Create => "Tickets listed",
            Self::Reserve => "Reservations of distinct tickets",
            Self::ReserveHot => "Reservations from one hot listing",
            Self::ReservePaced => "Reservations at a fixed rate, until they await payment",
            Self::Purchase => "Whole purchases",
            Self::Mix => "A realistic mix",
            Self::Soak => "Soak: the mix for a long time",
            Self::Expiry => "Holds that end unpaid",
            Self::Scale => "From few tickets to many",
            Self::Rest => "At rest",
        }
    }

    /// Connections, rate, seconds, listings: what is usual.
    fn usual(self) -> (usize, Option<f64>, f64, usize) {
        match self {
            Self::List | Self::Landing | Self::Page => (64, None, 10.0, 0),
            Self::SignUp | Self::SignIn => (16, None, 10.0, 0),
            Self::Create => (64, None, 10.0, 0),
            Self::Reserve => (64, None, 15.0, 2_000),
            Self::ReserveHot => (64, None, 15.0, 1),
            Self::ReservePaced => (256, Some(1_000.0), 20.0, 2_000),
            Self::Purchase => (64, None, 15.0, 500),
            Self::Mix => (64, None, 15.0, 500),
            Self::Soak => (32, Some(200.0), 1_800.0, 500),
            Self::Expiry => (64, None, 60.0, 50),
            Self::Scale => (64, None, 10.0, 10_000),
            Self::Rest => (0, None, 10.0, 0),
        }
    }

    /// How it is run, given what was asked for.
    pub fn plan(self, asked: &Asked) -> Plan {
        let (connections, rate, seconds, _) = self.usual();
        let seconds = asked.seconds.unwrap_or(match (asked.quick, self) {
            (true, Self::Rest) => 4.0,
            (true, _) => seconds.min(QUICK_SECONDS),
            (false, _) => seconds,
        });
        let warm_up = asked
            .warm_up_seconds
            .unwrap_or(if asked.quick { 0.5 } else { 2.0 });
        Plan {
            connections: asked.connections.unwrap_or(connections),
            pace: match asked.rate.or(rate) {
                Some(per_second) => Pace::Open { per_second },
                None => Pace::Closed,
            },
            warm_up: Duration::from_secs_f64(warm_up),
            measured: Duration::from_secs_f64(seconds),
            drain: Duration::from_secs(DRAIN_SECONDS_MAX),
        }
    }

    fn listings(self, asked: &Asked) -> usize {
        let (_, _, _, listings) = self.usual();
        let fewer = if asked.quick { listings.min(500) } else { listings };
        asked.listings.unwrap_or(fewer)
    }

    /// How long an order of a system that is started for this is to hold its tickets.
    pub fn hold_seconds(self, asked: &Asked) -> u64 {
        if self == Self::Expiry {
            holds::hold_seconds(asked)
        } else {
            HOLD_SECONDS
        }
    }

    /// The limit that it is a share of.
    fn limit(self) -> Option<&'static str> {
        match self {
            Self::List | Self::Landing | Self::Page | Self::Mix => Some(BARE_HTTP),
            Self::SignUp | Self::SignIn => Some(ARGON2ID),
            Self::Create | Self::Reserve | Self::ReserveHot | Self::ReservePaced | Self::Purchase => {
                Some(GROUP_COMMIT)
            }
            Self::Soak | Self::Expiry | Self::Scale | Self::Rest => None,
        }
    }
}

/// Runs a scenario, checks the invariants, and answers what came of it.
///
/// # Errors
/// When it could not be run at all; what went wrong within it is part of the result.
pub async fn run(bench: &mut Bench, kind: Kind, asked: &Asked) -> Result<Run, BenchError> {
    let named = Named {
        name: kind.name(),
        title: kind.title(),
        plan: kind.plan(asked),
    };
    let mut run = match kind {
        Kind::Rest => rest(bench, &named).await,
        Kind::Expiry => holds::run(bench, &named, asked).await?,
        Kind::Scale => scale::run(bench, &named, asked).await?,
        Kind::List
        | Kind::Landing
        | Kind::Page
        | Kind::SignUp
        | Kind::SignIn
        | Kind::Create
        | Kind::Reserve
        | Kind::ReserveHot
        | Kind::ReservePaced
        | Kind::Purchase
        | Kind::Mix
        | Kind::Soak => {
            let buyers_max = if asked.quick { BUYERS_QUICK_MAX } else { BUYERS_MAX };
            let market = bench.market(named.plan.connections.clamp(1, buyers_max)).await?;
            at_market(bench, kind, &named, asked, &market).await?
        }
    };
    if let Some(limit) = kind.limit() {
        run.compare_with(&bench.limits, limit);
    }
    bench.live.ended(&run);
    Ok(run)
}

async fn at_market(
    bench: &mut Bench,
    kind: Kind,
    named: &Named<'_>,
    asked: &Asked,
    market: &Market,
) -> Result<Run, BenchError> {
    bench.live.say("listing tickets");
    let listings = kind.listings(asked);
    match kind {
        Kind::List => look_at(bench, named, market, Look::List).await,
        Kind::Landing => look_at(bench, named, market, Look::Landing).await,
        Kind::Page => look_at(bench, named, market, Look::Ticket).await,
        Kind::SignUp => sign_up(bench, named, market).await,
        Kind::SignIn => Ok(checked(bench, named, Arc::new(SignIn::new(market)), market, None).await),
        Kind::Create => Ok(checked(bench, named, Arc::new(Create::new(market)), market, None).await),
        Kind::Purchase => {
            let scenario = Purchase::prepare(market, listings).await?;
            let listings = scenario.listings();
            Ok(checked(bench, named, Arc::new(scenario), market, Some(listings)).await)
        }
        Kind::Mix | Kind::Soak => {
            let scenario = Mix::prepare(market, listings).await?;
            let listings = scenario.listings();
            Ok(checked(bench, named, Arc::new(scenario), market, Some(listings)).await)
        }
        Kind::Reserve | Kind::ReserveHot | Kind::ReservePaced | Kind::Expiry | Kind::Scale | Kind::Rest => {
            let follows = kind == Kind::ReservePaced;
            let scenario = Reserve::prepare(market, listings, follows).await?;
            let listings = scenario.listings();
            Ok(checked(bench, named, Arc::new(scenario), market, Some(listings)).await)
        }
    }
}

async fn look_at(
    bench: &mut Bench,
    named: &Named<'_>,
    market: &Market,
    look: Look,
) -> Result<Run, BenchError> {
    let scenario = Arc::new(Browse::prepare(market, look).await?);
    Ok(checked(bench, named, scenario, market, None).await)
}

async fn checked<S: Scenario>(
    bench: &mut Bench,
    named: &Named<'_>,
    scenario: Arc<S>,
    market: &Market,
    listings: Option<Arc<Vec<Listing>>>,
) -> Run {
    let mut run = bench.run(named, &scenario).await;
    run.invariants = bench.check(Some(market), listings.as_ref()).await;
    run
}

/// Sign-ups, while somebody else asks for lists at a fixed rate: hashing must slow down nothing else.
async fn sign_up(bench: &mut Bench, named: &Named<'_>, market: &Market) -> Result<Run, BenchError> {
    let lists = Arc::new(Browse::prepare(market, Look::List).await?);
    let beside = Plan {
        connections: 32,
        pace: Pace::Open {
            per_second: LISTS_BESIDE_PER_SECOND,
        },
        ..named.plan
    };
    let place = market.place.clone();
    let beside = tokio::spawn(async move { drive(&lists, &place, &beside, &mut ()).await });
    let mut run = checked(bench, named, Arc::new(SignUp::new(market)), market, None).await;
    let beside = beside
        .await
        .map_err(|error| BenchError::Failed(format!("the lists beside were broken off: {error}")))?;
    run.stories.push(Told {
        name: "beside: GET /api/tickets?limit=50".to_owned(),
        count: beside.kept.operations.count(),
        latency: beside.kept.operations.percentiles(),
    });
    run.failed += beside.kept.failed;
    run.errors.extend(beside.kept.errors);
    Ok(run)
}

/// Nobody asks for anything: what it takes all the same.
async fn rest(bench: &mut Bench, named: &Named<'_>) -> Run {
    bench.live.say("letting it rest");
    let mut meter = Meter::of(bench.system.processes());
    // What a start or the last scenario left to do is not rest.
    tokio::time::sleep(named.plan.warm_up).await;
    meter.begin();
    tokio::time::sleep(named.plan.measured).await;
    let sample = meter.sample();
    let seconds = named.plan.measured.as_secs_f64();
    let mut run = Run {
        scenario: named.name.to_owned(),
        title: named.title.to_owned(),
        mode: "closed".to_owned(),
        seconds: rounded(seconds, 1),
        costs: meter.costs(0.0),
        ..Run::default()
    };
    let me = "boxoffice-bench";
    let cpu: f64 = run
        .costs
        .iter()
        .filter(|cost| cost.process != me)
        .map(|cost| cost.cpu_ms)
        .sum();
    run.facts
        .insert("core_percent".to_owned(), rounded(cpu / seconds / 10.0, 2));
    let mib = float(sample.resident_bytes) / f64::from(1 << 20);
    run.facts.insert("resident_mib".to_owned(), rounded(mib, 1));
    run.invariants = bench.check(None, None).await;
    run
}

/// A count that was asked for, or the usual one.
fn count(asked: &Asked, usual: u64, quick: u64) -> u64 {
    asked.count.unwrap_or(if asked.quick { quick } else { usual })
}

/// A rate at which so many are spread over so long.
fn rate(count: u64, over: Duration) -> f64 {
    float(count) / over.as_secs_f64().max(1.0)
}

/// A count as a number of things in memory.
fn size(count: u64) -> usize {
    usize::try_from(whole(float(count))).unwrap_or(usize::MAX)
}
