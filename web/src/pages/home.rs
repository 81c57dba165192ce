//! `/`: what is on sale, with search, filters and paging.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::Site;
use crate::format::encode;
use crate::forms::Form;
use crate::pages::cards::Cards;
use crate::problem::{Failure, Refusal};
use crate::session::Visit;
use crate::upstream::{Answer, Call};
use crate::view::{self, Section, Shell};

/// Tickets on one page: fills rows of one, two and three cards.
const PAGE_TICKETS: usize = 18;
/// The filters, named as the contract names them.
const FILTERS: [&str; 6] = ["q", "from", "to", "minPrice", "maxPrice", "sort"];

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    shell: Shell,
    form: Form,
    cards: Cards,
    filtered: bool,
    refined: bool,
    paged: bool,
    first_page: String,
    next_page: Option<String>,
}

/// `GET /`
pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    visit: Visit,
    query: Result<Query<BTreeMap<String, String>>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let query = query.map(|Query(query)| query).unwrap_or_default();
    let mut form = Form::default();
    for name in FILTERS {
        if let Some(value) = query
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
        {
            form.set(name, value);
        }
    }
    let after = query.get("after").filter(|after| !after.is_empty());
    let list = list_path(&form, after);
    let call = Call::get(list.as_str());
    let (person, answer) = tokio::join!(visit.person(&site), site.send(&visit, call));
    // Who is asking is a nicety here: the list is for everyone, and stands also while auth does not answer.
    let answer = answer?;
    let mut status = StatusCode::OK;
    let (cards, next) = if answer.status == StatusCode::BAD_REQUEST {
        let refusal = Refusal::read(&answer, &visit.here)?;
        status = refusal.status;
        form.refuse_all(refusal);
        (Cards::default(), None)
    } else {
        (
            site.cards.of(&site, &visit, &list, &answer)?,
            next_cursor(&answer),
        )
    };
    let filters = filter_query(&form);
    let refined = FILTERS[1..].iter().any(|name| !form.value(name).is_empty());
    let title = if form.value("q").is_empty() {
        "Tickets on sale".to_owned()
    } else {
        format!("Tickets for “{}”", form.value("q"))
    };
    let shell = Shell::for_whoever(&site, &visit, &person, Section::Tickets, &title);
    let page = HomePage {
        shell: Shell {
            notice: view::notice(query.get("done").map(String::as_str)),
            ..shell
        }
        .with_errors(!form.is_clean()),
        cards,
        filtered: refined || !form.value("q").is_empty(),
        refined,
        paged: after.is_some(),
        first_page: format!("/?{}", filters.trim_end_matches('&')),
        next_page: next.map(|next| format!("/?{filters}after={next}")),
        form,
    };
    let mut response = view::render(status, &page);
    if !visit.has_session() {
        // Nothing personal is on it, so going back may show it again without asking.
        response.headers_mut().insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        );
    }
    Ok(response)
}

/// The path of the list that these filters ask for. A day without a time stands for the whole day in UTC.
fn list_path(form: &Form, after: Option<&String>) -> String {
    let mut path = format!("/api/tickets?limit={PAGE_TICKETS}");
    for name in FILTERS {
        let value = form.value(name);
        if value.is_empty() {
            continue;
        }
        let value = match name {
            "from" if is_day(value) => format!("{value}T00:00:00Z"),
            "to" if is_day(value) => format!("{value}T23:59:59Z"),
            _ => value.to_owned(),
        };
        path.push_str(&format!("&{name}={}", encode(&value)));
    }
    if let Some(after) = after {
        path.push_str(&format!("&after={}", encode(after)));
    }
    path
}

fn is_day(value: &str) -> bool {
    value.parse::<jiff::civil::Date>().is_ok() && value.len() == "2027-06-12".len()
}

/// The filters as a query, each followed by `&`.
fn filter_query(form: &Form) -> String {
    let mut query = String::new();
    for name in FILTERS {
        let value = form.value(name);
        if !value.is_empty() {
            query.push_str(&format!("{name}={}&", encode(value)));
        }
    }
    query
}

/// The `after` of the next page, still percent-encoded, from `Link: <…?after=…>; rel="next"`.
pub(crate) fn next_cursor(answer: &Answer) -> Option<String> {
    let link = answer.headers.get(header::LINK)?.to_str().ok()?;
    let next = link
        .split(',')
        .find(|part| part.contains("rel=\"next\"") || part.contains("rel=next"))?;
    let url = next.trim().strip_prefix('<')?.split('>').next()?;
    let query = url.split_once('?')?.1;
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("after="))
        .map(|after| {
            // It goes into an attribute of ours: only what a query may hold passes.
            after
                .chars()
                .filter(|character| character.is_ascii_graphic() && !"\"<>'".contains(*character))
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    #[test]
    fn the_next_page_is_read_from_the_link() {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::LINK,
            HeaderValue::from_static("</api/tickets?limit=18&after=abc%3D&q=x>; rel=\"next\""),
        );
        let answer = Answer {
            status: StatusCode::OK,
            headers,
            body: bytes::Bytes::new(),
        };
        assert_eq!(next_cursor(&answer).as_deref(), Some("abc%3D"));
    }

    #[test]
    fn a_day_stands_for_all_of_it() {
        let form = Form::filled([
            ("from", "2027-06-12".into()),
            ("to", "2027-06-12".into()),
            ("q", "a&b".into()),
        ]);
        assert_eq!(
            list_path(&form, None),
            "/api/tickets?limit=18&q=a%26b&from=2027-06-12T00%3A00%3A00Z&to=2027-06-12T23%3A59%3A59Z"
        );
    }
}
