//! The searches against a naive model, page by page, within any bounds; and indexes that can be taken back.

use std::time::Duration;

use events::{Currency, Money, OrderStatus, Version};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::domain::{Details, HoldState};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// Words that share beginnings, so that many tickets fit what is looked for.
const VOCABULARY: [&str; 8] = [
    "Jazz", "jazzy", "JAZZFEST", "rock", "Nächte", "night", "nights", "n",
];

fn bytes(n: u8) -> [u8; 16] {
    [1, 0x93, 0x94, 0xb6, 0x0c, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, n]
}

fn ticket_id(n: u8) -> TicketId {
    TicketId::from_bytes(bytes(n))
}

fn hour(n: u8) -> Timestamp {
    NOW.plus(Duration::from_secs(3600 * u64::from(n)))
}

fn price() -> impl Strategy<Value = Money> {
    let amount =
        |currency, unit| (1..6_i64).prop_map(move |units| Money::from_minor(units * unit, currency).unwrap());
    // From 10 to 50 in each, so that prices in different currencies are equal and lie in between.
    prop_oneof![
        amount(Currency::Usd, 1_000),
        amount(Currency::Jpy, 10),
        amount(Currency::Kwd, 10_000)
    ]
}

fn text(words_max: usize) -> impl Strategy<Value = String> {
    let words = proptest::collection::vec(select(VOCABULARY.as_slice()), 0..=words_max);
    (words, select([" ", "-", ", "].as_slice())).prop_map(|(words, between)| words.join(between))
}

prop_compose! {
    fn ticket(ids: u8)(
        id in 0..ids,
        seller in 0..3_u8,
        title in text(3),
        venue in proptest::option::of(text(2)),
        starts_at in proptest::option::of(0..6_u8),
        price in price(),
        reserved in 0..3_u32,
        deleted in proptest::bool::weighted(0.1),
    ) -> Ticket {
        Ticket {
            id: ticket_id(id),
            version: Version::FIRST,
            seller_id: UserId::from_bytes(bytes(200 + seller)),
            details: Details {
                title,
                description: "rock".into(),
                venue,
                starts_at: starts_at.map(|n| hour(n).to_string().parse().unwrap()),
                price,
                quantity: 2,
            },
            reserved,
            sold: 0,
            deleted,
            created_at: NOW,
            updated_at: NOW,
        }
    }
}

prop_compose! {
    fn filter()(
        query in proptest::collection::vec((select(VOCABULARY.as_slice()), 1..9_usize), 0..3),
        from in proptest::option::weighted(0.3, 0..6_u8),
        to in proptest::option::weighted(0.3, 0..6_u8),
        min_price in proptest::option::weighted(0.3, 1..6_i64),
        max_price in proptest::option::weighted(0.3, 1..6_i64),
    ) -> Filter {
        // Whole words or only their beginnings, whatever place they stand in.
        let cut = query.iter().flat_map(|(word, chars)| words(&word.chars().take(*chars).collect::<String>()).collect::<Vec<_>>());
        Filter {
            words: cut.collect(),
            from: from.map(hour),
            to: to.map(hour),
            min_price: min_price.map(|units| units * 10_000),
            max_price: max_price.map(|units| units * 10_000),
        }
    }
}

fn sort() -> impl Strategy<Value = Sort> {
    select([Sort::Newest, Sort::Date, Sort::Price, Sort::PriceDescending].as_slice())
}

fn thousandths(price: Money) -> i64 {
    match price.currency().decimals() {
        0 => price.minor() * 1_000,
        2 => price.minor() * 10,
        _ => price.minor(),
    }
}

/// What the list must be: every ticket looked at, those that fit, sorted.
fn naive(tickets: &[Ticket], filter: &Filter, sort: Sort) -> Vec<TicketId> {
    let starts_at = |ticket: &Ticket| ticket.details.starts_at.as_ref().map(|time| time.at());
    let fits = |ticket: &&Ticket| {
        let venue = ticket.details.venue.as_deref().unwrap_or_default();
        let text = format!("{} {venue}", ticket.details.title).to_lowercase();
        let known: Vec<&str> = text.split([' ', '-', ',']).collect();
        let (last, whole) = match filter.words.split_last() {
            Some((last, whole)) => (last.as_str(), whole),
            None => ("", [].as_slice()),
        };
        ticket.available() > 0
            && whole.iter().all(|word| known.contains(&word.as_str()))
            && known.iter().any(|word| word.starts_with(last))
            && filter
                .from
                .is_none_or(|from| starts_at(ticket).is_some_and(|at| at >= from))
            && filter
                .to
                .is_none_or(|to| starts_at(ticket).is_some_and(|at| at <= to))
            && filter
                .min_price
                .is_none_or(|min| thousandths(ticket.details.price) >= min)
            && filter
                .max_price
                .is_none_or(|max| thousandths(ticket.details.price) <= max)
    };
    let mut found: Vec<&Ticket> = tickets.iter().filter(fits).collect();
    found.sort_by_key(|ticket| ticket.id);
    match sort {
        Sort::Newest => found.reverse(),
        Sort::Date => {
            found.sort_by_key(|ticket| starts_at(ticket).map_or((1, NOW), |at| (0, at)));
        }
        Sort::Price => found.sort_by_key(|ticket| thousandths(ticket.details.price)),
        Sort::PriceDescending => {
            found.sort_by_key(|ticket| thousandths(ticket.details.price));
            found.reverse();
        }
    }
    found.into_iter().map(|ticket| ticket.id).collect()
}

/// Different tickets: of those with the same id the last.
fn distinct(tickets: Vec<Ticket>) -> Vec<Ticket> {
    let by_id: BTreeMap<TicketId, Ticket> = tickets.into_iter().map(|ticket| (ticket.id, ticket)).collect();
    by_id.into_values().collect()
}

fn indexed<'a>(tickets: impl IntoIterator<Item = &'a Ticket>, bounds: Bounds) -> TicketIndexes {
    let mut indexes = TicketIndexes {
        bounds,
        ..TicketIndexes::default()
    };
    for ticket in tickets {
        indexes.apply(&Change::new(None, Some(ticket)));
    }
    indexes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn paging_to_the_end_finds_what_fits_once_and_in_order(
        tickets in proptest::collection::vec(ticket(60), 0..40),
        filter in filter(),
        sort in sort(),
        limit in 1..12_usize,
        entries_per_search_max in prop_oneof![1..10_usize, Just(ENTRIES_PER_SEARCH_MAX)],
        rare_word_tickets_max in prop_oneof![0..10_usize, Just(RARE_WORD_TICKETS_MAX)],
    ) {
        let tickets = distinct(tickets);
        let indexes = indexed(&tickets, Bounds { entries_per_search_max, rare_word_tickets_max });
        let expected = naive(&tickets, &filter, sort);
        let mut found: Vec<TicketId> = Vec::new();
        let mut after = None;
        loop {
            let page = indexes.search(&filter, sort, after, limit);
            prop_assert!(page.ids.len() <= limit.min(entries_per_search_max));
            found.extend(&page.ids);
            let Some(next) = page.next else { break };
            prop_assert!(after.is_none_or(|after| sort.compare(next, after).is_gt()), "each page goes on");
            if entries_per_search_max >= tickets.len() {
                prop_assert_eq!(page.ids.len(), limit, "a page that is not full is the last");
                prop_assert!(found.len() < expected.len(), "there is a next page");
            }
            after = Some(next);
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_place_out_of_nowhere_does_no_harm(
        tickets in proptest::collection::vec(ticket(60), 0..20),
        filter in filter(),
        sort in sort(),
        (key, id) in (any::<i64>(), any::<[u8; 16]>()),
        rare_word_tickets_max in 0..10_usize,
    ) {
        let tickets = distinct(tickets);
        let bounds = Bounds { rare_word_tickets_max, ..Bounds::default() };
        let after = Place { key, id: TicketId::from_bytes(id) };
        let page = indexed(&tickets, bounds).search(&filter, sort, Some(after), 100);
        let expected = naive(&tickets, &filter, sort);
        prop_assert!(page.ids.iter().all(|id| expected.contains(id)));
    }
}

#[derive(Debug, Clone)]
enum Row {
    Ticket(Ticket),
    NoTicket(u8),
    Hold { ticket: u8, order: u8, state: HoldState },
}

fn row() -> impl Strategy<Value = Row> {
    let state = select([HoldState::Held, HoldState::Sold, HoldState::Released].as_slice());
    prop_oneof![
        6 => ticket(6).prop_map(Row::Ticket),
        1 => (0..6_u8).prop_map(Row::NoTicket),
        3 => (0..6_u8, 0..4_u8, state).prop_map(|(ticket, order, state)| Row::Hold { ticket, order, state }),
    ]
}

fn hold(ticket: u8, order: u8, state: HoldState) -> Hold {
    Hold {
        ticket_id: ticket_id(ticket),
        order_id: OrderId::from_bytes(bytes(100 + order)),
        quantity: 1,
        state,
        order_status: OrderStatus::AwaitingPayment,
        total: Money::from_minor(1, Currency::Usd).unwrap(),
        ordered_at: NOW,
    }
}

proptest! {
    #[test]
    fn changes_lead_to_what_a_rebuild_gives_and_can_be_taken_back(
        changes in proptest::collection::vec(row(), 1..40),
        limit in 1..5_usize,
    ) {
        let mut indexes = TicketIndexes::default();
        let mut tickets: BTreeMap<TicketId, Ticket> = BTreeMap::new();
        let mut holds: BTreeMap<(TicketId, OrderId), Hold> = BTreeMap::new();
        let (mut ticket_history, mut hold_history) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Row::Ticket(ticket) => {
                    let before = tickets.insert(ticket.id, ticket.clone());
                    // Nobody else ever sells it.
                    let seller_id = before.as_ref().map_or(ticket.seller_id, |before| before.seller_id);
                    let ticket = Ticket { seller_id, ..ticket };
                    tickets.insert(ticket.id, ticket.clone());
                    indexes.apply(&Change::new(before.as_ref(), Some(&ticket)));
                    ticket_history.push((before, Some(ticket)));
                }
                Row::NoTicket(id) => {
                    let before = tickets.remove(&ticket_id(id));
                    indexes.apply(&Change::new(before.as_ref(), None));
                    ticket_history.push((before, None));
                }
                Row::Hold { ticket, order, state } => {
                    let hold = hold(ticket, order, state);
                    let before = holds.insert((hold.ticket_id, hold.order_id), hold.clone());
                    indexes.apply(&Change::new(before.as_ref(), Some(&hold)));
                    hold_history.push((before, hold));
                }
            }
            let mut rebuilt = indexed(tickets.values(), Bounds::default());
            for hold in holds.values() {
                rebuilt.apply(&Change::new(None, Some(hold)));
            }
            prop_assert_eq!(&indexes, &rebuilt);
        }
        for seller in 0..3_u8 {
            let seller = UserId::from_bytes(bytes(200 + seller));
            let listed = tickets.values().rev().filter(|ticket| ticket.seller_id == seller && !ticket.deleted);
            let expected: Vec<TicketId> = listed.map(|ticket| ticket.id).collect();
            let paged = pages(limit, |after, limit| indexes.of_seller(seller, after, limit));
            prop_assert_eq!(paged, expected);
        }
        for ticket in 0..6_u8 {
            let of_ticket = holds.keys().rev().filter(|(id, _)| *id == ticket_id(ticket));
            let expected: Vec<OrderId> = of_ticket.map(|(_, order)| *order).collect();
            let paged = pages(limit, |after, limit| indexes.orders_of(ticket_id(ticket), after, limit));
            prop_assert_eq!(paged, expected);
        }
        let on_sale = tickets.values().filter(|ticket| ticket.available() > 0).count();
        prop_assert_eq!(indexes.on_sale_count(), on_sale);
        let in_state = |state| holds.values().filter(|hold| hold.state == state).count();
        let counted = Counts {
            open: in_state(HoldState::Held),
            sold: in_state(HoldState::Sold),
            released: in_state(HoldState::Released),
            refused: in_state(HoldState::Refused),
        };
        prop_assert_eq!(indexes.holds(), counted);

        for (before, after) in ticket_history.iter().rev() {
            indexes.apply(&Change::new(after.as_ref(), before.as_ref()));
        }
        for (before, after) in hold_history.iter().rev() {
            indexes.apply(&Change::new(Some(after), before.as_ref()));
        }
        prop_assert_eq!(indexes, TicketIndexes::default());
    }
}

/// All pages of a list, one after the other.
fn pages<T: Copy>(limit: usize, page: impl Fn(Option<T>, usize) -> Vec<T>) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    loop {
        let next = page(all.last().copied(), limit);
        if next.is_empty() {
            return all;
        }
        all.extend(next);
    }
}

#[test]
fn the_words_of_a_long_title_are_bounded() {
    let title: Vec<String> = (0..2 * WORDS_MAX).map(|n| format!("w{n:04}")).collect();
    let ticket = Ticket {
        details: Details {
            title: title.join(" "),
            description: String::new(),
            venue: None,
            starts_at: None,
            price: Money::from_minor(1, Currency::Usd).unwrap(),
            quantity: 1,
        },
        id: ticket_id(1),
        version: Version::FIRST,
        seller_id: UserId::from_bytes(bytes(200)),
        reserved: 0,
        sold: 0,
        deleted: false,
        created_at: NOW,
        updated_at: NOW,
    };
    let indexes = indexed([&ticket], Bounds::default());
    let finds = |word: &String| {
        let filter = Filter {
            words: vec![word.clone()],
            ..Filter::default()
        };
        indexes.search(&filter, Sort::Newest, None, 1).ids.len() == 1
    };
    let (indexed, beyond) = title.split_at(WORDS_MAX);
    assert!(indexed.iter().all(finds));
    assert!(!beyond.iter().any(finds));
}
