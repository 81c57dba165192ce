//! Single steps of the agent, on a store that is filled by hand: which notices are read by them.

use std::convert::Infallible;
use std::time::Duration;

use events::{Currency, Money, PaymentId, Source, Version};
use payments::agent::{Agent, StepError, Tries};
use payments::domain::{Authorization, CheckoutRequest, Lapse, Lapsed, Payment, State};
use payments::store::{Notice, PaymentIndexes};
use payments::stripe::{Stripe, StripeAccount, Trouble};
use service::Clock;
use store::{Context, Options, Store};
use testkit::{TempDir, temp_dir};

use crate::world::{STRIPE_KEY, Serving, play_stripe};

struct Bench {
    clock: Clock,
    store: Store<PaymentIndexes>,
    agent: Agent,
    _stripe: Serving,
    _dir: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let (clock, dir) = (Clock::new(), temp_dir());
        // Nobody listens for its notices.
        let nobody = ([127, 0, 0, 1], 9).into();
        let (base, stripe) = play_stripe(nobody, dir.path().join("stripe"), |_| {}).await;
        let store = Store::open(Options::new(Source::Payments, dir.path().join("store"))).expect("it opens");
        let account = StripeAccount {
            secret_key: STRIPE_KEY.to_owned(),
            api_base: Some(base),
            stand_in: payments::StandIn::Allowed,
        };
        let stripe_client = Stripe::new(&account).expect("a good account");
        Self {
            agent: Agent::new(store.clone(), stripe_client, clock.clone()),
            clock,
            store,
            _stripe: stripe,
            _dir: dir,
        }
    }

    /// A payment in that state, with one notice about it that names `session`.
    async fn noticed(&self, state: State, session: Option<&str>) -> PaymentId {
        let (id, now) = (self.clock.payment_id(), self.clock.now());
        let amount = Money::from_minor(1000, Currency::Usd).expect("in range");
        let payment = Payment {
            id,
            version: Version::FIRST,
            published: Version(0),
            order_id: self.clock.order_id(),
            user_id: self.clock.user_id(),
            amount,
            attempt: 1,
            request: CheckoutRequest {
                title: "A show".to_owned(),
                price: amount,
                quantity: 1,
                success_url: "http://site.test/ok".to_owned(),
                cancel_url: "http://site.test/back".to_owned(),
                expires_at: now.plus(Duration::from_secs(2100)),
            },
            state,
            changed_at: now,
        };
        let notice = Notice {
            id: format!("evt_{id}"),
            kind: "charge.updated".to_owned(),
            payment_id: id,
            session: session.map(str::to_owned),
            received_at: now,
            read: false,
        };
        let stored = self.store.transact::<_, Infallible>(Context::new(now), |tx| {
            tx.put_any(payment)?;
            Ok(tx.put_any(notice)?)
        });
        stored.await.expect("the store of a test writes");
        assert_eq!(self.store.read(|indexes| indexes.unread(id)).len(), 1);
        id
    }

    async fn step(&self, id: PaymentId) -> Result<(), StepError> {
        self.agent.step(id, &mut Tries::default()).await.map(drop)
    }

    fn is_urgent(&self, id: PaymentId) -> bool {
        self.store.read(|indexes| indexes.urgent().contains_key(&id))
    }
}

fn lapsed(session: Option<&str>) -> State {
    State::Lapsed(Lapsed {
        session: session.map(str::to_owned),
        why: Lapse::Unanswered,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_about_a_payment_without_a_session_is_read() {
    let bench = Bench::new().await;
    for state in [lapsed(None), State::Closed(None)] {
        let id = bench.noticed(state, None).await;
        bench.step(id).await.expect("nothing is called");
        assert!(!bench.is_urgent(id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_about_a_session_that_stripe_does_not_have_is_read() {
    let bench = Bench::new().await;
    for state in [lapsed(None), State::Closed(None), lapsed(Some("cs_own"))] {
        let id = bench.noticed(state, Some("cs_nowhere")).await;
        bench.step(id).await.expect("that is no trouble");
        assert!(!bench.is_urgent(id));
    }
    let captured = State::Captured(Authorization {
        session: "cs_own".to_owned(),
        intent: "pi_own".to_owned(),
    });
    for (state, session) in [
        (captured, Some("cs_own")),
        (lapsed(Some("cs_own")), Some("cs_own")),
        (lapsed(Some("cs_own")), None),
    ] {
        let id = bench.noticed(state, session).await;
        let error = bench.step(id).await.expect_err("our own session must be there");
        assert!(matches!(error, StepError::Stripe(Trouble::Missing(_))), "{error}");
        assert!(!bench.is_urgent(id));
        bench.step(id).await.expect("nothing more is wanted");
    }
}
