//! The indexes that lists of tickets are read from: by age, date, price, seller and word.
//!
//! They live in memory and are rebuilt when the store is opened. A search walks the index of the order that is
//! asked for, from where the last page ended, and tests the other filters on the way; a rare word drives the search
//! by itself. What one search may look at is bounded ([`ENTRIES_PER_SEARCH_MAX`]): past that, the page ends early
//! and its cursor says where to go on.

mod edition;
mod query;
mod sharing;
mod words;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use events::{OrderId, TicketId, Timestamp, UserId};
use store::{Change, Indexes, Tables};

use crate::domain::{Hold, HoldState, Ticket};
use crate::holds::Counts;

use self::sharing::Sharing;

pub use edition::Edition;
pub use query::{Filter, Found, Place, Sort};
pub use words::words;

/// The most index entries that one search looks at.
pub const ENTRIES_PER_SEARCH_MAX: usize = 20_000;

/// The most tickets that may share a word for that word to drive a search by itself.
const RARE_WORD_TICKETS_MAX: usize = 1_000;

/// The most words of one ticket that are indexed: more than a title and a venue of the longest usually have.
const WORDS_MAX: usize = 64;

/// A ticket on sale, as the searches know it.
#[derive(Debug, PartialEq, Eq)]
struct OnSale {
    facts: Facts,
    /// Its words, spaces in between: so that testing one ticket costs the same however many words there are in all.
    words: Box<str>,
}

/// What searches filter and sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Facts {
    /// When the show begins, in microseconds; the end of time if not said.
    starts_at: i64,
    /// The price in thousandths of a major unit, so that currencies with other decimals compare.
    price: i64,
}

/// How much work one search may be. Tests have smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    entries_per_search_max: usize,
    rare_word_tickets_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            entries_per_search_max: ENTRIES_PER_SEARCH_MAX,
            rare_word_tickets_max: RARE_WORD_TICKETS_MAX,
        }
    }
}

/// The indexes of the tickets store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TicketIndexes {
    bounds: Bounds,
    edition: edition::Current,
    on_sale: HashMap<TicketId, OnSale>,
    by_age: BTreeSet<TicketId>,
    by_date: BTreeSet<(i64, TicketId)>,
    by_price: BTreeSet<(i64, TicketId)>,
    by_word: BTreeMap<Box<str>, Sharing>,
    by_seller: BTreeSet<(UserId, TicketId)>,
    orders: BTreeSet<(TicketId, OrderId)>,
    holds: Counts,
}

impl Indexes for TicketIndexes {
    fn tables() -> Tables {
        service::tables().with::<Ticket>().with::<Hold>()
    }

    fn apply(&mut self, change: &Change<'_>) {
        if let Some((before, after)) = change.of::<Ticket>() {
            let (before_shown, after_shown) = (before.map(Shown::of), after.map(Shown::of));
            // Most changes are reservations, after which every list stays as it was.
            if before_shown != after_shown {
                self.edition.changes();
                if let (Some(ticket), Some(shown)) = (before, before_shown) {
                    self.remove(ticket, &shown);
                }
                if let (Some(ticket), Some(shown)) = (after, after_shown) {
                    self.insert(ticket, &shown);
                }
            }
        } else if let Some((before, after)) = change.of::<Hold>() {
            self.holds.apply(before, after);
            // Its seller never sees an order that got nothing.
            let listed = |hold: &&Hold| hold.state != HoldState::Refused;
            match (before.filter(listed), after.filter(listed)) {
                (None, Some(hold)) => {
                    self.orders.insert((hold.ticket_id, hold.order_id));
                }
                (Some(hold), None) => {
                    self.orders.remove(&(hold.ticket_id, hold.order_id));
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
    }
}

/// What decides in which lists a ticket stands. Borrowed, so that comparing two costs nothing.
#[derive(PartialEq, Eq)]
struct Shown<'a> {
    facts: Facts,
    on_sale: bool,
    listed: bool,
    title: &'a str,
    venue: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(ticket: &'a Ticket) -> Self {
        let starts_at = ticket.details.starts_at.as_ref();
        Self {
            facts: Facts {
                starts_at: starts_at.map_or(i64::MAX, |time| time.at().as_micros()),
                price: price_key(ticket.details.price),
            },
            on_sale: ticket.available() > 0,
            listed: !ticket.deleted,
            title: &ticket.details.title,
            venue: ticket.details.venue.as_deref(),
        }
    }

    fn words(&self) -> BTreeSet<String> {
        words(self.title)
            .chain(self.venue.into_iter().flat_map(words))
            .take(WORDS_MAX)
            .collect()
    }
}

/// A price in thousandths of a major unit: what prices are compared by, whatever their currency.
pub fn price_key(price: events::Money) -> i64 {
    price.minor() * 10_i64.pow(3_u32.saturating_sub(price.currency().decimals()))
}

impl TicketIndexes {
    /// How many tickets are on sale.
    pub fn on_sale_count(&self) -> usize {
        self.on_sale.len()
    }

    /// Which content they have: another one after every change of a list of tickets, one that was taken back included.
    pub fn edition(&self) -> Edition {
        self.edition.get()
    }

    /// How many holds there are in each state.
    pub(crate) fn holds(&self) -> Counts {
        self.holds
    }

    /// A page of the tickets on sale.
    pub fn search(&self, filter: &Filter, sort: Sort, after: Option<Place>, limit: usize) -> Found {
        let rarest = filter
            .words
            .iter()
            .enumerate()
            .min_by_key(|(index, word)| self.spread(filter, *index, word));
        if let Some((index, word)) = rarest
            && self.spread(filter, index, word) <= self.bounds.rare_word_tickets_max
        {
            let mut places: Vec<Place> = self
                .with_word(filter, index, word)
                .filter_map(|id| self.place(sort, id))
                .collect();
            places.sort_unstable_by(|a, b| sort.compare(*a, *b));
            places.dedup();
            let rest = places
                .into_iter()
                .filter(|place| after.is_none_or(|after| sort.compare(*place, after).is_gt()));
            return self.page(filter, rest, limit);
        }
        match sort {
            Sort::Newest => {
                let end = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.id));
                let walk = self.by_age.range((Bound::Unbounded, end)).rev();
                self.page(filter, walk.map(|id| Place { key: 0, id: *id }), limit)
            }
            Sort::Date => {
                let walk = ascending(&self.by_date, filter.from.map(Timestamp::as_micros), after);
                self.page(
                    filter,
                    walk.take_while(|place| filter.to.is_none_or(|to| place.key <= to.as_micros())),
                    limit,
                )
            }
            Sort::Price => {
                let walk = ascending(&self.by_price, filter.min_price, after);
                self.page(
                    filter,
                    walk.take_while(|place| filter.max_price.is_none_or(|max| place.key <= max)),
                    limit,
                )
            }
            Sort::PriceDescending => {
                let top = after.map_or_else(
                    || {
                        filter
                            .max_price
                            .map_or(Bound::Unbounded, |max| Bound::Included((max, LAST_ID)))
                    },
                    |after| Bound::Excluded((after.key, after.id)),
                );
                let walk = self.by_price.range((Bound::Unbounded, top)).rev();
                let places = walk.map(|(key, id)| Place { key: *key, id: *id });
                self.page(
                    filter,
                    places.take_while(|place| filter.min_price.is_none_or(|min| place.key >= min)),
                    limit,
                )
            }
        }
    }

    /// A page of what one person sells, the latest first, sold-out tickets included.
    pub fn of_seller(&self, seller: UserId, after: Option<TicketId>, limit: usize) -> Vec<TicketId> {
        let end = after.map_or(Bound::Included((seller, LAST_ID)), |after| {
            Bound::Excluded((seller, after))
        });
        let walk = self.by_seller.range((Bound::Included((seller, FIRST_ID)), end));
        walk.rev().take(limit).map(|(_, id)| *id).collect()
    }

    /// A page of the orders that hold or held pieces of a ticket, the latest first.
    pub fn orders_of(&self, ticket: TicketId, after: Option<OrderId>, limit: usize) -> Vec<OrderId> {
        let last = OrderId::from_bytes([0xff; 16]);
        let end = after.map_or(Bound::Included((ticket, last)), |after| {
            Bound::Excluded((ticket, after))
        });
        let walk = self
            .orders
            .range((Bound::Included((ticket, OrderId::from_bytes([0; 16]))), end));
        walk.rev().take(limit).map(|(_, id)| *id).collect()
    }

    fn insert(&mut self, ticket: &Ticket, shown: &Shown<'_>) {
        if shown.listed {
            self.by_seller.insert((ticket.seller_id, ticket.id));
        }
        if shown.on_sale {
            let words = shown.words();
            let on_sale = OnSale {
                facts: shown.facts,
                words: Vec::from_iter(words.iter().map(String::as_str)).join(" ").into(),
            };
            self.on_sale.insert(ticket.id, on_sale);
            self.by_age.insert(ticket.id);
            self.by_date.insert((shown.facts.starts_at, ticket.id));
            self.by_price.insert((shown.facts.price, ticket.id));
            for word in words {
                match self.by_word.entry(word.into()) {
                    Entry::Vacant(new) => {
                        new.insert(Sharing::One(ticket.id));
                    }
                    Entry::Occupied(known) => known.into_mut().add(ticket.id),
                }
            }
        }
    }

    fn remove(&mut self, ticket: &Ticket, shown: &Shown<'_>) {
        self.by_seller.remove(&(ticket.seller_id, ticket.id));
        if shown.on_sale {
            self.on_sale.remove(&ticket.id);
            self.by_age.remove(&ticket.id);
            self.by_date.remove(&(shown.facts.starts_at, ticket.id));
            self.by_price.remove(&(shown.facts.price, ticket.id));
            for word in shown.words() {
                if let Some((word, sharing)) = self.by_word.remove_entry(word.as_str())
                    && let Some(others) = sharing.without(ticket.id)
                {
                    self.by_word.insert(word, others);
                }
            }
        }
    }

    /// The words of the index that a word of the query stands for: itself, or, for the last, all it begins.
    fn matching<'a>(
        &'a self,
        filter: &Filter,
        index: usize,
        word: &'a str,
    ) -> impl Iterator<Item = &'a Sharing> + 'a {
        let is_last = index + 1 == filter.words.len();
        let from_here = self
            .by_word
            .range::<str, _>((Bound::Included(word), Bound::Unbounded));
        from_here
            .take_while(move |(key, _)| {
                if is_last {
                    key.starts_with(word)
                } else {
                    key.as_ref() == word
                }
            })
            .map(|(_, tickets)| tickets)
    }

    /// How many tickets a word of the query may stand for, counted no further than needed to call it common.
    fn spread(&self, filter: &Filter, index: usize, word: &str) -> usize {
        let mut count = 0;
        for tickets in self.matching(filter, index, word) {
            count += tickets.count();
            if count > self.bounds.rare_word_tickets_max {
                break;
            }
        }
        count
    }

    fn with_word<'a>(
        &'a self,
        filter: &Filter,
        index: usize,
        word: &'a str,
    ) -> impl Iterator<Item = TicketId> + 'a {
        self.matching(filter, index, word).flat_map(Sharing::iter)
    }

    fn place(&self, sort: Sort, id: TicketId) -> Option<Place> {
        let facts = self.on_sale.get(&id)?.facts;
        let key = match sort {
            Sort::Newest => 0,
            Sort::Date => facts.starts_at,
            Sort::Price | Sort::PriceDescending => facts.price,
        };
        Some(Place { key, id })
    }

    fn fits(&self, filter: &Filter, id: TicketId) -> bool {
        let Some(OnSale { facts, words }) = self.on_sale.get(&id) else {
            return false;
        };
        let dated = facts.starts_at != i64::MAX;
        filter
            .from
            .is_none_or(|from| dated && facts.starts_at >= from.as_micros())
            && filter
                .to
                .is_none_or(|to| dated && facts.starts_at <= to.as_micros())
            && filter.min_price.is_none_or(|min| facts.price >= min)
            && filter.max_price.is_none_or(|max| facts.price <= max)
            && filter.words.iter().enumerate().all(|(index, word)| {
                let is_last = index + 1 == filter.words.len();
                words
                    .split(' ')
                    .any(|known| known == word || (is_last && known.starts_with(word.as_str())))
            })
    }

    fn page(&self, filter: &Filter, places: impl Iterator<Item = Place>, limit: usize) -> Found {
        let mut found = Found::default();
        let mut last = None;
        for (looked_at, place) in places.enumerate() {
            if looked_at == self.bounds.entries_per_search_max {
                found.next = last;
                break;
            }
            if self.fits(filter, place.id) {
                // Only one more that fits tells that there is a next page.
                if found.ids.len() == limit {
                    found.next = last;
                    break;
                }
                found.ids.push(place.id);
            }
            last = Some(place);
        }
        found
    }
}

const FIRST_ID: TicketId = TicketId::from_bytes([0; 16]);
const LAST_ID: TicketId = TicketId::from_bytes([0xff; 16]);

fn ascending(
    index: &BTreeSet<(i64, TicketId)>,
    least: Option<i64>,
    after: Option<Place>,
) -> impl Iterator<Item = Place> + '_ {
    let least = least.map_or(Bound::Unbounded, |least| Bound::Included((least, FIRST_ID)));
    let start = after.map_or(least, |after| Bound::Excluded((after.key, after.id)));
    index
        .range((start, Bound::Unbounded))
        .map(|(key, id)| Place { key: *key, id: *id })
}

#[cfg(test)]
mod tests;
