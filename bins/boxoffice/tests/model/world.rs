//! A state of the whole system, and what may happen in it.

mod check;
mod loss;
mod stripe;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use events::{Currency, Event, Money, OrderId, OrderStatus, PaymentId, TicketId, Timestamp, UserId};
use expiration::domain::Deadline;
use orders::domain::{Order, TicketView};
use payments::domain::{self as pay, IntentStatus, Payment, PaymentError, SessionStatus};
use tickets::domain::{Hold, Ticket, TicketError};

use self::stripe::Session;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HOLD: Duration = Duration::from_secs(900);
/// A moment at which every deadline has passed.
const LATER: Timestamp = Timestamp::from_seconds(1_800_010_000);

/// An event on its way. Shared, since each consumer's stream holds it.
type Stream = VecDeque<Arc<Event>>;

/// What exists of one order, in every service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Purchase {
    order: Option<Order>,
    hold: Option<Hold>,
    deadline: Option<Deadline>,
    payable: Option<pay::Order>,
    payment: Option<Payment>,
    session: Option<Session>,
}

/// A state of the whole system.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    purchases: Vec<Purchase>,
    ticket: Ticket,
    ticket_view: TicketView,
    orders_to_tickets: Stream,
    orders_to_payments: Stream,
    orders_to_expiration: Stream,
    tickets_to_orders: Stream,
    payments_to_orders: Stream,
    expiration_to_orders: Stream,
    /// How often the orders service may still be asked too early. Without a bound the alarm could ring for ever while
    /// nobody else is heard, and the streams would grow without end.
    early_alarms_left: u8,
    /// Whether what a call has changed at Stripe is only seen by a later look.
    answers_are_lost: bool,
    /// A deliberate defect, to show that the exploration finds one.
    forgets_to_release: bool,
}

/// Something that may happen.
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) world: World,
    /// It is somebody's choice and may never happen.
    pub(crate) by_people: bool,
}

fn bytes(kind: u8, n: usize) -> [u8; 16] {
    [
        1,
        0x93,
        0x94,
        0xb6,
        0x0c,
        0,
        0x70,
        kind,
        0x80,
        0,
        0,
        0,
        0,
        0,
        0,
        u8::try_from(n).expect("a small model"),
    ]
}

fn order_id(n: usize) -> OrderId {
    OrderId::from_bytes(bytes(1, n))
}

fn usd(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Usd).expect("a small amount")
}

impl World {
    /// One listing of `pieces`, and `buyers` people who may each order one.
    pub(crate) fn new(pieces: u32, buyers: usize) -> Self {
        let details = tickets::domain::Details {
            title: "A show".into(),
            description: String::new(),
            venue: None,
            starts_at: None,
            price: usd(1000),
            quantity: pieces,
        };
        let seller = UserId::from_bytes(bytes(2, 0));
        let listed = tickets::domain::list(TicketId::from_bytes(bytes(3, 0)), seller, details, NOW);
        let ticket = listed.ticket.expect("listing makes a ticket");
        let ticket_view = TicketView::from(&ticket.snapshot());
        Self {
            purchases: vec![Purchase::default(); buyers],
            ticket,
            ticket_view,
            orders_to_tickets: Stream::new(),
            orders_to_payments: Stream::new(),
            orders_to_expiration: Stream::new(),
            tickets_to_orders: Stream::new(),
            payments_to_orders: Stream::new(),
            expiration_to_orders: Stream::new(),
            early_alarms_left: 0,
            answers_are_lost: false,
            forgets_to_release: false,
        }
    }

    /// The same with more that goes wrong: alarms that ring too early, answers of Stripe that are lost.
    pub(crate) fn in_bad_weather(mut self) -> Self {
        self.early_alarms_left = 1;
        self.answers_are_lost = true;
        self
    }

    /// The same with a deliberate defect: the tickets service does not release the holds of cancelled orders.
    pub(crate) fn that_forgets_to_release(mut self) -> Self {
        self.forgets_to_release = true;
        self
    }

    /// Everything that may happen next.
    ///
    /// # Errors
    /// When a service calls impossible what has just happened to it.
    pub(crate) fn steps(&self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        let mut add = |name: String, by_people, world| {
            steps.push(Step {
                name,
                world,
                by_people,
            })
        };
        if let Ok(decision) = tickets::domain::decide(
            Some(&self.ticket),
            None,
            tickets::domain::Command::Delete {
                by: self.ticket.seller_id,
            },
            NOW,
        ) {
            let mut world = self.clone();
            world.ticket = decision.ticket.expect("deleting changes the ticket");
            world.publish_tickets(decision.events);
            add("the seller withdraws".into(), true, world);
        }
        for n in 0..self.purchases.len() {
            for (name, by_people, world) in self.steps_of_buyer(n).into_iter().chain(self.steps_of_stripe(n))
            {
                add(format!("{name} {n}"), by_people, world);
            }
            if let Some(world) = self.alarm(n) {
                add(format!("the alarm rings {n}"), false, world);
            }
        }
        for (name, world) in self.deliveries()? {
            add(name, false, world);
        }
        Ok(steps)
    }

    fn steps_of_buyer(&self, n: usize) -> Vec<(&'static str, bool, Self)> {
        let mut steps = Vec::new();
        let purchase = &self.purchases[n];
        match &purchase.order {
            None => {
                let claimed = self
                    .purchases
                    .iter()
                    .filter_map(|other| other.order.as_ref())
                    .map(Order::claimed)
                    .sum();
                let wish = orders::domain::PlaceOrder {
                    id: order_id(n),
                    user_id: UserId::from_bytes(bytes(4, n)),
                    quantity: 1,
                    seen_price: Some(usd(1000)),
                    hold: HOLD,
                };
                if let Ok(decision) = orders::domain::place(&self.ticket_view, claimed, &wish, NOW) {
                    steps.push(("order", true, self.with_order(n, decision)));
                }
            }
            Some(order) => {
                for (name, command) in [
                    ("cancel", orders::domain::Command::Cancel),
                    ("refund", orders::domain::Command::Refund),
                ] {
                    if let Ok(decision) = orders::domain::decide(order, command, NOW) {
                        steps.push((name, true, self.with_order(n, decision)));
                    }
                }
            }
        }
        if let Some(payable) = &purchase.payable {
            let id = PaymentId::from_bytes(bytes(5, n));
            // A second attempt adds nothing but states: one is enough here, the payments' own tests have several.
            let first = purchase.payment.is_none();
            if let (true, Ok(decision)) = (first, pay::pay(payable, None, id, "http://site", NOW)) {
                steps.push(("open payment", true, self.with_payment(n, decision)));
            }
        }
        if let Some(session) = &purchase.session
            && session.status == SessionStatus::Open
        {
            let paid = Session {
                status: SessionStatus::Complete,
                intent: Some(IntentStatus::RequiresCapture),
                refunded: false,
            };
            steps.push(("pay at Stripe", true, self.with_session(n, paid)));
        }
        steps
    }

    fn alarm(&self, n: usize) -> Option<Self> {
        let deadline = self.purchases[n].deadline.as_ref()?;
        match expiration::domain::decide(Some(deadline), expiration::domain::Command::Fire, LATER) {
            Ok(decision) => Some(self.with_deadline(n, decision)),
            Err(_) => None,
        }
    }

    fn deliveries(&self) -> Result<Vec<(String, Self)>, String> {
        let mut steps = Vec::new();
        if let Some(event) = self.orders_to_tickets.front() {
            let mut world = self.clone();
            world.orders_to_tickets.pop_front();
            steps.push((
                format!("tickets hears {}", event.event_type()),
                world.tickets_hears(event)?,
            ));
        }
        if let Some(event) = self.orders_to_payments.front() {
            let mut world = self.clone();
            world.orders_to_payments.pop_front();
            steps.push((
                format!("payments hears {}", event.event_type()),
                world.payments_hears(event)?,
            ));
        }
        if let Some(event) = self.orders_to_expiration.front() {
            let mut world = self.clone();
            world.orders_to_expiration.pop_front();
            steps.push((
                format!("expiration hears {}", event.event_type()),
                world.expiration_hears(event),
            ));
        }
        for (stream, name) in [
            (&self.tickets_to_orders, "tickets"),
            (&self.payments_to_orders, "payments"),
            (&self.expiration_to_orders, "expiration"),
        ] {
            let Some(event) = stream.front() else { continue };
            let mut world = self.clone();
            match name {
                "tickets" => world.tickets_to_orders.pop_front(),
                "payments" => world.payments_to_orders.pop_front(),
                _ => world.expiration_to_orders.pop_front(),
            };
            // The orders service's clock may stand before the deadline (it is asked too early), or after it.
            if matches!(**event, Event::OrderExpired(_)) && world.early_alarms_left > 0 {
                let mut early = world.clone();
                early.early_alarms_left -= 1;
                let name = format!("orders hears {} early", event.event_type());
                steps.push((name, early.orders_hears(event, NOW)?));
            }
            steps.push((
                format!("orders hears {}", event.event_type()),
                world.orders_hears(event, LATER)?,
            ));
        }
        Ok(steps)
    }

    fn tickets_hears(mut self, event: &Event) -> Result<Self, String> {
        let Some((_, order, command)) = tickets::consumer::command(event) else {
            return Ok(self);
        };
        let n = self.number(order);
        if self.forgets_to_release && matches!(command, tickets::domain::Command::Release(_)) {
            return Ok(self);
        }
        let hold = self.purchases[n].hold.as_ref();
        if loss::shows_to_tickets(hold, &command) {
            return Err(format!("tickets, order {n}: it goes on without its pieces"));
        }
        match tickets::domain::decide(Some(&self.ticket), hold, command, NOW) {
            Ok(decision) => {
                self.ticket = decision.ticket.unwrap_or(self.ticket);
                self.purchases[n].hold = decision.hold.or(self.purchases[n].hold.take());
                self.publish_tickets(decision.events);
                Ok(self)
            }
            Err(TicketError::Stale(_)) => Ok(self),
            Err(error) => Err(format!("tickets, order {n}: {error}")),
        }
    }

    fn orders_hears(mut self, event: &Event, now: Timestamp) -> Result<Self, String> {
        match orders::consumer::meaning(event) {
            None => Ok(self),
            Some(orders::consumer::Meaning::Ticket(ticket)) => {
                self.ticket_view = TicketView::from(ticket);
                Ok(self)
            }
            Some(orders::consumer::Meaning::Order(id, command)) => {
                let n = self.number(id);
                let order = self.purchases[n]
                    .order
                    .as_ref()
                    .ok_or("an event about an order that was never placed")?;
                if loss::shows_to_orders(order, &command) {
                    return Err(format!("orders, order {n}: {command:?} while {:?}", order.status));
                }
                match orders::domain::decide(order, command, now) {
                    Ok(decision) => Ok(self.with_order(n, decision)),
                    Err(orders::domain::OrderError::Stale(_)) => Ok(self),
                    Err(error) => Err(format!("orders, order {n}: {error}")),
                }
            }
        }
    }

    fn payments_hears(mut self, event: &Event) -> Result<Self, String> {
        let Some((snapshot, command)) = payments::consumer::meaning(event) else {
            return Ok(self);
        };
        let n = self.number(snapshot.id);
        if let Some(known) = pay::Order::learn(self.purchases[n].payable.as_ref(), snapshot) {
            self.purchases[n].payable = Some(known);
        }
        let (Some(command), Some(payment)) = (command, &self.purchases[n].payment) else {
            let may_lack_one =
                snapshot.status != OrderStatus::Accepted && snapshot.status != OrderStatus::Refunding;
            return if may_lack_one {
                Ok(self)
            } else {
                Err(format!("payments, order {n}: paid without a payment"))
            };
        };
        if loss::shows_to_payments(payment, &command) {
            return Err(format!(
                "payments, order {n}: {command:?} while {:?}",
                payment.state
            ));
        }
        match pay::decide(payment, command, NOW) {
            Ok(decision) => Ok(self.with_payment(n, decision)),
            Err(PaymentError::Stale(_)) => Ok(self),
            Err(error) => Err(format!("payments, order {n}: {error}")),
        }
    }

    fn expiration_hears(self, event: &Event) -> Self {
        let Some((order, command)) = expiration::consumer::command(event) else {
            return self;
        };
        let n = self.number(order);
        match expiration::domain::decide(self.purchases[n].deadline.as_ref(), command, NOW) {
            Ok(decision) => self.with_deadline(n, decision),
            Err(_) => self,
        }
    }

    fn with_order(&self, n: usize, decision: orders::domain::Decision) -> Self {
        let mut world = self.clone();
        if let Some(order) = decision.order {
            world.purchases[n].order = Some(order);
        }
        for event in decision.events.into_iter().map(Arc::new) {
            // An event that means nothing to a consumer only moves its cursor, which no other step can notice.
            if tickets::consumer::command(&event).is_some() {
                world.orders_to_tickets.push_back(Arc::clone(&event));
            }
            if payments::consumer::meaning(&event).is_some() {
                world.orders_to_payments.push_back(Arc::clone(&event));
            }
            if expiration::consumer::command(&event).is_some() {
                world.orders_to_expiration.push_back(event);
            }
        }
        world
    }

    fn with_payment(&self, n: usize, decision: pay::Decision) -> Self {
        let mut world = self.clone();
        world.purchases[n].payment = Some(decision.payment);
        world
            .payments_to_orders
            .extend(decision.events.into_iter().map(Arc::new));
        world
    }

    fn with_session(&self, n: usize, session: Session) -> Self {
        let mut world = self.clone();
        world.purchases[n].session = Some(session);
        world
    }

    fn with_deadline(&self, n: usize, decision: expiration::domain::Decision) -> Self {
        use expiration::domain::Decision;
        let mut world = self.clone();
        world.purchases[n].deadline = match decision {
            Decision::Watch(deadline) => Some(deadline),
            Decision::Fired(deadline, expired) => {
                world
                    .expiration_to_orders
                    .push_back(Arc::new(Event::OrderExpired(expired)));
                Some(deadline)
            }
            Decision::Forget => None,
        };
        world
    }

    fn publish_tickets(&mut self, events: Vec<Event>) {
        let heard = events
            .into_iter()
            .filter(|event| orders::consumer::meaning(event).is_some());
        self.tickets_to_orders.extend(heard.map(Arc::new));
    }

    fn number(&self, order: OrderId) -> usize {
        (0..self.purchases.len())
            .find(|n| order_id(*n) == order)
            .expect("an order of this model")
    }

    /// How the orders stand, in words.
    pub(crate) fn summary(&self) -> String {
        let status = |purchase: &Purchase| {
            purchase
                .order
                .as_ref()
                .map_or("none", |order| order.status.as_str())
        };
        self.purchases.iter().map(status).collect::<Vec<_>>().join(" ")
    }
}
