//! What a list of tickets may be asked for.

use std::str::FromStr as _;

use errors::{FieldErrors, Problem};
use events::{Currency, Money, TicketId, Timestamp};
use serde::{Deserialize, Serialize};
use service::http::{Page, PageQuery};
use utoipa::{IntoParams, ToSchema};

use crate::search::{Filter, Place, Sort, price_key, words};

/// The longest search text, in characters.
const SEARCH_CHARS_MAX: usize = 200;

/// The most words of a search text that are looked for.
const SEARCH_WORDS_MAX: usize = 8;

/// The query of `GET /api/tickets`.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Words that title or venue contain; the last may be the beginning of one
    q: Option<String>,
    /// Shows that begin then or later: a time with a zone, or a date in UTC
    from: Option<String>,
    /// Shows that begin then or earlier; a date includes its whole day
    to: Option<String>,
    /// At least this price, in major units
    min_price: Option<String>,
    /// At most this price, in major units
    max_price: Option<String>,
    /// newest if not said
    #[param(inline)]
    sort: Option<SortName>,
    /// 1 to 100; 20 if not said
    limit: Option<u32>,
    /// From the `Link` of the page before
    after: Option<String>,
    /// `me`: all that one sells, sold-out tickets included
    seller: Option<String>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SortName {
    Newest,
    Date,
    Price,
    #[serde(rename = "-price")]
    PriceDescending,
}

/// What is to be listed.
pub(super) enum Wanted {
    /// What anyone can buy.
    OnSale {
        /// Narrowed to this.
        filter: Filter,
        /// In this order.
        sort: Sort,
        /// This page of it.
        page: Page<SearchCursor>,
    },
    /// What the person who asks sells.
    Own {
        /// This page of it.
        page: Page<TicketId>,
    },
}

/// A [`Place`] as it travels in a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct SearchCursor(pub(super) Place);

impl Serialize for SearchCursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.key, self.0.id).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SearchCursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (key, id) = Deserialize::deserialize(deserializer)?;
        Ok(Self(Place { key, id }))
    }
}

impl ListQuery {
    pub(super) fn parse(&self) -> Result<Wanted, Problem> {
        match self.seller.as_deref().filter(|seller| !seller.is_empty()) {
            None => self.parse_search(),
            Some("me") => self.parse_own(),
            Some(_) => Err(Problem::invalid_field("seller", "Seller can only be me")),
        }
    }

    fn parse_own(&self) -> Result<Wanted, Problem> {
        let filters = [&self.q, &self.from, &self.to, &self.min_price, &self.max_price];
        if filters.into_iter().any(Option::is_some) || self.sort.is_some() {
            return Err(Problem::invalid_field(
                "seller",
                "Seller can't be combined with search, filters or sort",
            ));
        }
        let page = PageQuery {
            limit: self.limit,
            after: self.after.clone(),
        }
        .parse()?;
        Ok(Wanted::Own { page })
    }

    fn parse_search(&self) -> Result<Wanted, Problem> {
        let mut wrong = FieldErrors::default();
        let q = self.q.as_deref().unwrap_or_default();
        let fits = q.chars().count() <= SEARCH_CHARS_MAX;
        wrong.require(
            fits,
            "q",
            format!("Search must have at most {SEARCH_CHARS_MAX} characters"),
        );
        // An empty value is what a form sends for a field that was left alone.
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let moment = |text: Option<String>, last| text.map(|text| moment(&text, last)).transpose();
        let price = |text: Option<String>| text.map(|text| price_bound(&text)).transpose();
        let from = wrong.take("from", "From", moment(given(&self.from), false));
        let to = wrong.take("to", "To", moment(given(&self.to), true));
        let min_price = wrong.take("minPrice", "Minimum price", price(given(&self.min_price)));
        let max_price = wrong.take("maxPrice", "Maximum price", price(given(&self.max_price)));
        let page = Page::parse(self.limit, self.after.as_deref(), &mut wrong);
        let (Some(from), Some(to), Some(min_price), Some(max_price), Some(page), true) =
            (from, to, min_price, max_price, page, wrong.is_empty())
        else {
            return Err(wrong.into_problem());
        };
        let filter = Filter {
            words: words(q).take(SEARCH_WORDS_MAX).collect(),
            from,
            to,
            min_price,
            max_price,
        };
        let sort = match self.sort {
            None | Some(SortName::Newest) => Sort::Newest,
            Some(SortName::Date) => Sort::Date,
            Some(SortName::Price) => Sort::Price,
            Some(SortName::PriceDescending) => Sort::PriceDescending,
        };
        Ok(Wanted::OnSale { filter, sort, page })
    }
}

/// A time with a zone; or a date, which stands for its first or last moment in UTC.
fn moment(text: &str, last: bool) -> Result<Timestamp, &'static str> {
    const WRONG: &str = "must be a date, or a date and time with a zone";
    if text.len() == "2027-05-01".len() {
        let time = if last { "T23:59:59.999999Z" } else { "T00:00:00Z" };
        return Timestamp::from_str(&format!("{text}{time}")).map_err(|_| WRONG);
    }
    text.parse().map_err(|_| WRONG)
}

/// A price in whichever currency, in thousandths of a major unit.
fn price_bound(text: &str) -> Result<i64, events::MoneyError> {
    // A currency with no decimals has room for the largest amounts, one with three for the finest.
    let fine = Money::parse_major(text, Currency::Kwd).or_else(|_| Money::parse_major(text, Currency::Jpy));
    fine.or_else(|_| Money::parse_major(text, Currency::Usd))
        .map(price_key)
}
