//! What is kept against what is made anew, over any course of writes and questions; and whoever has written sees it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use events::{Currency, Money, Source, Timestamp, Version};
use proptest::prelude::*;
use proptest::sample::select;
use store::{Context, Options, TransactError, Writer, Wrote};
use testkit::TempDir;

use super::*;
use crate::domain::Details;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// What is asked, again and again. Pages of two, so that what one write changes moves tickets from page to page.
const ASKED: [&str; 6] = [
    "limit=2",
    "limit=100",
    "sort=price&limit=2",
    "sort=-price&minPrice=2&limit=1",
    "q=night&limit=3",
    "q=no&sort=date",
];

fn bytes(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn links(query: &str) -> Links {
    Links::of(format!("/api/tickets?{query}").parse().unwrap())
}

fn ticket(id: u8, title: &str, units: i64, reserved: u32) -> Ticket {
    Ticket {
        id: TicketId::from_bytes(bytes(id)),
        version: Version::FIRST,
        seller_id: UserId::from_bytes(bytes(200)),
        details: Details {
            title: title.into(),
            description: String::new(),
            venue: None,
            starts_at: None,
            price: Money::from_minor(units * 100, Currency::Usd).unwrap(),
            quantity: 2,
        },
        reserved,
        sold: 0,
        deleted: false,
        created_at: NOW,
        updated_at: NOW,
    }
}

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// A ticket comes or changes, or, sold out or not, only in what is left of it; not durable before the next batch.
    Put(Ticket),
    /// The same, but taken back in the end: it is asked for in between, when the indexes are ahead.
    Refused(Ticket, &'static str),
    /// It goes.
    Delete(u8),
    /// What waits is written.
    Write,
    /// Somebody asks.
    Ask(&'static str),
    /// Somebody asks while the next ticket is staged: the indexes are ahead of the rows.
    AskAhead(Ticket, &'static str),
}

fn some_ticket() -> impl Strategy<Value = Ticket> {
    let title = select(["Night", "Nights", "Nothing", "Day"].as_slice());
    (0..5_u8, title, 1..4_i64, 0..=2_u32)
        .prop_map(|(id, title, units, reserved)| ticket(id, title, units, reserved))
}

fn step() -> impl Strategy<Value = Step> {
    let asked = || select(ASKED.as_slice());
    prop_oneof![
        3 => some_ticket().prop_map(Step::Put),
        3 => (some_ticket(), asked()).prop_map(|(ticket, asked)| Step::Refused(ticket, asked)),
        1 => (0..5_u8).prop_map(Step::Delete),
        3 => Just(Step::Write),
        6 => asked().prop_map(Step::Ask),
        2 => (some_ticket(), asked()).prop_map(|(ticket, asked)| Step::AskAhead(ticket, asked)),
    ]
}

struct World {
    store: Store<TicketIndexes>,
    writer: Writer<TicketIndexes>,
    lists: Arc<Lists>,
    _dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = testkit::temp_dir();
        let (store, writer) = Store::open_stepped(Options::new(Source::Tickets, dir.path())).unwrap();
        Self {
            store,
            writer,
            lists: Arc::default(),
            _dir: dir,
        }
    }

    /// A transaction that puts a ticket, does something while it is staged, and then keeps it or not.
    fn submit(&self, ticket: Ticket, kept: bool, meanwhile: impl FnOnce() + Send + 'static) {
        let staged = self.store.submit::<(), ()>(Context::new(NOW), move |tx| {
            tx.put_any(ticket)?;
            meanwhile();
            if kept {
                Ok(())
            } else {
                Err(TransactError::Refused(()))
            }
        });
        // Nobody waits for the answer: what became of it is read.
        drop(staged.unwrap());
    }

    fn asks(&self, asked: &str) -> impl FnOnce() + Send + 'static {
        let (store, lists, links) = (self.store.clone(), Arc::clone(&self.lists), links(asked));
        move || {
            lists.page(&store, None, &links).unwrap();
        }
    }

    fn takes(&mut self, step: Step) {
        match step {
            Step::Put(ticket) => self.submit(ticket, true, || {}),
            Step::Refused(ticket, asked) => self.submit(ticket, false, self.asks(asked)),
            Step::AskAhead(ticket, asked) => self.submit(ticket, true, self.asks(asked)),
            Step::Delete(id) => {
                let gone = self.store.submit::<(), ()>(Context::new(NOW), move |tx| {
                    tx.delete::<Ticket>(&TicketId::from_bytes(bytes(id)))?;
                    Ok(())
                });
                drop(gone.unwrap());
            }
            Step::Write => assert!(matches!(
                self.writer.write_once(),
                Wrote::Nothing | Wrote::Batch { .. }
            )),
            Step::Ask(asked) => self.asks(asked)(),
        }
    }

    /// A question is answered as by somebody who has kept nothing. Only this one: asking fills the place of whatever was
    /// kept when the indexes were ahead.
    fn agrees(&self, asked: &str) -> Result<(), TestCaseError> {
        let page = |lists: &Lists| lists.page(&self.store, None, &links(asked)).unwrap();
        prop_assert_eq!(page(&self.lists), page(&Lists::default()), "{}", asked);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_kept_is_what_would_be_made_anew(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            let asked = if let Step::Ask(asked) = step { Some(asked) } else { None };
            world.takes(step);
            if let Some(asked) = asked {
                world.agrees(asked)?;
            }
        }
        world.takes(Step::Write);
        for asked in ASKED {
            world.agrees(asked)?;
        }
    }
}

#[test]
fn a_page_is_made_once_as_long_as_nothing_changes() {
    let mut world = World::new();
    world.takes(Step::Put(ticket(1, "Night", 1, 0)));
    world.takes(Step::Write);
    let page = || world.lists.page(&world.store, None, &links("limit=2")).unwrap();
    let (first, again) = (page(), page());
    assert_eq!(
        first.body.as_ptr(),
        again.body.as_ptr(),
        "these are the same bytes"
    );
    assert_eq!(first, again);
    let json: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(json[0]["title"], "Night");
    assert_eq!(
        first.into_response().headers()[header::CONTENT_TYPE],
        "application/json"
    );
}

#[test]
fn the_next_page_is_linked_from_a_kept_one_too() {
    let mut world = World::new();
    for id in 1..4 {
        world.takes(Step::Put(ticket(id, "Night", 1, 0)));
    }
    world.takes(Step::Write);
    let link = || {
        let page = world
            .lists
            .page(&world.store, None, &links("q=night&limit=2"))
            .unwrap();
        let response = page.into_response();
        response.headers()[header::LINK].to_str().unwrap().to_owned()
    };
    let first = link();
    assert!(
        first.starts_with("</api/tickets?q=night&limit=2&after="),
        "{first}"
    );
    assert_eq!(link(), first);
}

#[test]
fn one_s_own_are_never_another_s() {
    let mut world = World::new();
    world.takes(Step::Put(ticket(1, "Night", 1, 0)));
    world.takes(Step::Write);
    let own = |user| world.lists.page(&world.store, user, &links("seller=me"));
    let tickets = |user: u8| {
        let page = own(Some(UserId::from_bytes(bytes(user)))).unwrap();
        let json: Vec<serde_json::Value> = serde_json::from_slice(&page.body).unwrap();
        json.len()
    };
    assert_eq!((tickets(200), tickets(201), tickets(200)), (1, 0, 1));
    assert_eq!(own(None).unwrap_err().status(), http::StatusCode::UNAUTHORIZED);
}

#[test]
fn nothing_that_is_kept_outlives_the_store() {
    let mut world = World::new();
    world.takes(Step::Put(ticket(1, "Night", 1, 0)));
    world.takes(Step::Write);
    world.takes(Step::Ask("limit=2"));
    world.store.mark_old("it is behind what it has published");
    let problem = world
        .lists
        .page(&world.store, None, &links("limit=2"))
        .unwrap_err();
    assert_eq!(problem.status(), http::StatusCode::SERVICE_UNAVAILABLE);
}

/// Writers that look for their own ticket as soon as it is acknowledged, among readers who keep what they find.
#[test]
fn whoever_has_just_listed_a_ticket_sees_it() {
    const WRITERS: u8 = 3;
    /// All of them fit on one page.
    const TICKETS_EACH: u8 = 33;
    let dir = testkit::temp_dir();
    let store = Store::open(Options::new(Source::Tickets, dir.path())).unwrap();
    let lists = Lists::default();
    let done = AtomicBool::new(false);
    let titles = || {
        let page = lists.page(&store, None, &links("limit=100")).unwrap();
        let tickets: Vec<serde_json::Value> = serde_json::from_slice(&page.body).unwrap();
        let titles = tickets
            .into_iter()
            .map(|ticket| ticket["title"].as_str().unwrap().to_owned());
        titles.collect::<BTreeSet<_>>()
    };
    std::thread::scope(|scope| {
        let readers = [0, 1].map(|_| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    titles();
                }
            })
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, titles) = (&store, &titles);
                scope.spawn(move || {
                    for number in 0..TICKETS_EACH {
                        let (id, title) = (writer * TICKETS_EACH + number, format!("{writer} {number}"));
                        let listed = ticket(id, &title, 1, 0);
                        let written =
                            store.submit::<(), ()>(Context::new(NOW), |tx| Ok(tx.put(None, listed)?));
                        written.unwrap().blocking_recv().unwrap().unwrap();
                        assert!(titles().contains(&title), "{title} was acknowledged");
                    }
                })
            })
            .collect();
        let wrote: Vec<_> = writers.into_iter().map(|writer| writer.join()).collect();
        done.store(true, Ordering::Relaxed);
        for ended in wrote.into_iter().chain(readers.map(|reader| reader.join())) {
            ended.unwrap();
        }
    });
    store.close();
}
