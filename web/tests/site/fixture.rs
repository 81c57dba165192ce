//! A small Boxoffice in memory that speaks the contract: just enough of each service for the pages to be
//! seen in every state. It is no second implementation: it has no events, no deadlines of its own, and
//! believes every password. What really happens between services is tested where the services are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The moment at which every test takes place.
pub(crate) const NOW: &str = "2027-05-01T12:00:00Z";

type Params = Query<BTreeMap<String, String>>;

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) people: BTreeMap<String, (String, String)>,
    pub(crate) sessions: BTreeMap<String, String>,
    pub(crate) tickets: BTreeMap<String, Value>,
    pub(crate) orders: BTreeMap<String, Value>,
    keys: BTreeMap<String, String>,
    /// Path prefixes that answer with this status and body instead.
    broken: Vec<(String, StatusCode, String)>,
    /// What was asked: method, path, and the headers that matter.
    pub(crate) asked: Vec<String>,
    next: u64,
}

#[derive(Clone)]
pub(crate) struct World {
    books: Arc<Mutex<Books>>,
    changed: watch::Sender<u64>,
}

pub(crate) fn id(number: u64) -> String {
    format!("0193e5a0-0000-7000-8000-{number:012}")
}

impl World {
    pub(crate) fn new() -> World {
        World {
            books: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books
            .lock()
            .expect("no test panics while it holds the books")
    }

    /// Changes something and wakes who waits for news.
    pub(crate) fn change(&self, act: impl FnOnce(&mut Books)) {
        act(&mut self.books());
        self.changed.send_modify(|count| *count += 1);
    }

    /// Makes every path with this prefix answer so.
    pub(crate) fn break_path(&self, prefix: &str, status: u16, body: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        self.books()
            .broken
            .push((prefix.to_owned(), status, body.to_owned()));
    }

    /// A person who has signed up; returns the session's token.
    pub(crate) fn person(&self, number: u64, email: &str) -> String {
        let mut books = self.books();
        books
            .people
            .insert(email.to_owned(), (id(number), "correct horse".to_owned()));
        let token = format!("token-of.{number}");
        books.sessions.insert(token.clone(), email.to_owned());
        token
    }

    /// A ticket of a seller; `extra` replaces fields.
    pub(crate) fn ticket(&self, number: u64, seller: u64, extra: &Value) -> String {
        let mut ticket = json!({
            "id": id(number), "title": "The Lighthouse Keepers", "description": "", "price": 45, "currency": "usd",
            "quantity": 1, "available": 1, "venue": "Old Harbour Hall, Bergen",
            "startsAt": "2027-06-12T20:00:00+02:00[Europe/Oslo]", "userId": id(seller), "version": 1,
            "createdAt": NOW, "updatedAt": NOW,
        });
        for (name, value) in extra.as_object().unwrap() {
            ticket[name] = value.clone();
        }
        self.books().tickets.insert(id(number), ticket);
        id(number)
    }

    /// An order of a buyer; `extra` replaces fields.
    pub(crate) fn order(&self, number: u64, buyer: u64, ticket: &str, extra: &Value) -> String {
        let mut books = self.books();
        let mut order = order_of(&books.tickets[ticket], number, &id(buyer), 1);
        for (name, value) in extra.as_object().unwrap() {
            order[name] = value.clone();
        }
        books.orders.insert(id(number), order);
        id(number)
    }

    /// Moves an order on.
    pub(crate) fn set_order(&self, order: &str, status: &str) {
        self.change(|books| {
            let order = books.orders.get_mut(order).unwrap();
            order["status"] = json!(status);
            order["version"] = json!(order["version"].as_u64().unwrap() + 1);
        });
    }

    pub(crate) fn api(&self) -> Router {
        Router::new()
            .route("/api/users/signup", post(sign_up))
            .route("/api/users/signin", post(sign_in))
            .route("/api/users/signout", post(sign_out))
            .route("/api/users/password", put(change_password))
            .route("/api/users/currentuser", get(current_user))
            .route("/api/tickets", get(list_tickets).post(create_ticket))
            .route(
                "/api/tickets/{id}",
                get(show_ticket).put(update_ticket).delete(delete_ticket),
            )
            .route("/api/tickets/{id}/orders", get(ticket_orders))
            .route("/api/orders", get(list_orders).post(create_order))
            .route("/api/orders/{id}", get(show_order).merge(delete(cancel_order)))
            .route("/api/orders/{id}/refund", post(refund))
            .route("/api/payments", post(create_payment))
            .fallback(async || problem(404, "Not found", None))
            .layer(from_fn_with_state(self.clone(), watch_over))
            .with_state(self.clone())
    }
}

async fn watch_over(State(world): State<World>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let broken = {
        let mut books = world.books();
        books.asked.push(told(&request));
        books
            .broken
            .iter()
            .find(|(prefix, _, _)| path.starts_with(prefix.as_str()))
            .cloned()
    };
    match broken {
        Some((_, status, body)) => (status, [(header::RETRY_AFTER, "7")], body).into_response(),
        None => next.run(request).await,
    }
}

fn told(request: &Request) -> String {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let key = header("idempotency-key").map_or("none", |_| "given");
    let known = header("if-match").unwrap_or("none");
    format!(
        "{} {} if-match={known} idempotency-key={key}",
        request.method(),
        request.uri()
    )
}

pub(crate) fn problem(status: u16, message: &str, field: Option<&str>) -> Response {
    let mut error = json!({"message": message});
    if let Some(field) = field {
        error["field"] = json!(field);
    }
    let body =
        json!({"type": "about:blank", "title": "No", "status": status, "detail": message, "errors": [error]});
    let headers = [(header::CONTENT_TYPE, "application/problem+json")];
    (StatusCode::from_u16(status).unwrap(), headers, body.to_string()).into_response()
}

fn who(books: &Books, headers: &HeaderMap) -> Option<(String, String)> {
    let token = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .strip_prefix("Bearer ")?;
    let email = books.sessions.get(token)?;
    Some((books.people[email].0.clone(), email.clone()))
}

fn session_answer(books: &mut Books, status: StatusCode, email: &str) -> Response {
    books.next += 1;
    let token = format!("token-of.session-{}", books.next);
    books.sessions.insert(token.clone(), email.to_owned());
    let cookie = format!("session={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=43200");
    let body = json!({"id": books.people[email].0, "email": email});
    (status, [(header::SET_COOKIE, cookie)], Json(body)).into_response()
}

async fn sign_up(State(world): State<World>, Json(body): Json<Value>) -> Response {
    let mut books = world.books();
    let (email, password) = (
        body["email"].as_str().unwrap(),
        body["password"].as_str().unwrap(),
    );
    if !email.contains('@') {
        return problem(400, "Enter an address like name@example.com", Some("email"));
    }
    if password.len() < 8 {
        return problem(400, "Use at least 8 characters", Some("password"));
    }
    if books.people.contains_key(email) {
        return problem(409, "Email in use", None);
    }
    let number = 900 + books.people.len() as u64;
    books
        .people
        .insert(email.to_owned(), (id(number), password.to_owned()));
    session_answer(&mut books, StatusCode::CREATED, email)
}

async fn sign_in(State(world): State<World>, Json(body): Json<Value>) -> Response {
    let mut books = world.books();
    let email = body["email"].as_str().unwrap();
    match books.people.get(email) {
        Some((_, password)) if body["password"] == json!(password) => {
            session_answer(&mut books, StatusCode::OK, email)
        }
        _ => problem(400, "Invalid credentials", None),
    }
}

async fn sign_out(State(world): State<World>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut books = world.books();
    if let Some((_, email)) = who(&books, &headers) {
        let token = headers[header::AUTHORIZATION]
            .to_str()
            .unwrap()
            .replacen("Bearer ", "", 1);
        books.sessions.retain(|held, owner| {
            if body["everywhere"] == json!(true) {
                *owner != email
            } else {
                *held != token
            }
        });
    }
    (
        [(
            header::SET_COOKIE,
            "session=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0",
        )],
        Json(json!({})),
    )
        .into_response()
}

async fn change_password(
    State(world): State<World>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let mut books = world.books();
    let Some((_, email)) = who(&books, &headers) else {
        return problem(401, "Not signed in", None);
    };
    let person = books.people.get_mut(&email).unwrap();
    if body["current"] != json!(person.1) {
        return problem(400, "That is not your password", Some("current"));
    }
    if body["new"].as_str().unwrap().len() < 8 {
        return problem(400, "Use at least 8 characters", Some("new"));
    }
    person.1 = body["new"].as_str().unwrap().to_owned();
    Json(json!({})).into_response()
}

async fn current_user(State(world): State<World>, headers: HeaderMap) -> Json<Value> {
    let person = who(&world.books(), &headers).map(|(id, email)| json!({"id": id, "email": email, "iat": 1}));
    Json(json!({ "currentUser": person }))
}

async fn list_tickets(State(world): State<World>, headers: HeaderMap, Query(query): Params) -> Response {
    let books = world.books();
    for name in ["minPrice", "maxPrice"] {
        if query.get(name).is_some_and(|price| price.parse::<f64>().is_err()) {
            return problem(400, "Enter an amount like 12.50", Some(name));
        }
    }
    let seller = match query.get("seller") {
        None => None,
        Some(_) => match who(&books, &headers) {
            Some((id, _)) => Some(id),
            None => return problem(401, "Not signed in", None),
        },
    };
    let wanted = query.get("q").map(|q| q.to_lowercase()).unwrap_or_default();
    let limit: usize = query
        .get("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(20);
    let from: usize = query
        .get("after")
        .and_then(|after| after.parse().ok())
        .unwrap_or(0);
    let mut all = books.tickets.values().filter(|ticket| match &seller {
        Some(seller) => ticket["userId"] == json!(seller),
        None => ticket["available"] != json!(0),
    });
    let mut found: Vec<&Value> = all
        .by_ref()
        .filter(|ticket| ticket["title"].as_str().unwrap().to_lowercase().contains(&wanted))
        .collect();
    let more = found.len() > from + limit;
    found = found.into_iter().skip(from).take(limit).collect();
    let body = Json(json!(found));
    if more {
        let link = format!(
            "</api/tickets?limit={limit}&after={}>; rel=\"next\"",
            from + limit
        );
        ([(header::LINK, link)], body).into_response()
    } else {
        body.into_response()
    }
}

fn entity(status: StatusCode, value: &Value) -> Response {
    (
        status,
        [(header::ETAG, format!("\"{}\"", value["version"]))],
        Json(value.clone()),
    )
        .into_response()
}

/// Answers at once, or when the version is no longer the one that the client knows, or when time is up.
async fn entity_or_wait(
    world: &World,
    headers: &HeaderMap,
    find: impl Fn(&Books) -> Option<Value>,
) -> Response {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("")
            .to_owned()
    };
    let known = text("if-none-match");
    let seconds = text("prefer")
        .strip_prefix("wait=")
        .and_then(|wait| wait.parse().ok())
        .unwrap_or(0);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut changed = world.changed.subscribe();
    loop {
        let Some(value) = find(&world.books()) else {
            return problem(404, "Not found", None);
        };
        if format!("\"{}\"", value["version"]) != known {
            return entity(StatusCode::OK, &value);
        }
        if tokio::time::timeout_at(deadline, changed.changed())
            .await
            .is_err()
        {
            return StatusCode::NOT_MODIFIED.into_response();
        }
    }
}

async fn show_ticket(State(world): State<World>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    entity_or_wait(&world, &headers, |books| books.tickets.get(&id).cloned()).await
}

async fn create_ticket(State(world): State<World>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let seller = match who(&world.books(), &headers) {
        Some((seller, _)) => seller,
        None => return problem(401, "Not signed in", None),
    };
    if body["price"]
        .as_str()
        .is_none_or(|price| price.parse::<f64>().is_err())
    {
        return problem(400, "Enter a price like 12.50", Some("price"));
    }
    let number = 500 + world.books().tickets.len() as u64;
    let price: Value = serde_json::from_str(body["price"].as_str().unwrap()).unwrap();
    world.ticket(number, 0, &json!({}));
    let mut books = world.books();
    let ticket = books.tickets.get_mut(&id(number)).unwrap();
    for (name, value) in body.as_object().unwrap() {
        ticket[name] = value.clone();
    }
    ticket["price"] = price;
    ticket["userId"] = json!(seller);
    ticket["available"] = ticket["quantity"].clone();
    entity(StatusCode::CREATED, ticket)
}

async fn update_ticket(
    State(world): State<World>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Json(body): Json<Value>,
) -> Response {
    let mut books = world.books();
    let Some((person, _)) = who(&books, &headers) else {
        return problem(401, "Not signed in", None);
    };
    let Some(ticket) = books.tickets.get_mut(&id) else {
        return problem(404, "Not found", None);
    };
    if ticket["userId"] != json!(person) {
        return problem(403, "Not your ticket", None);
    }
    if headers
        .get(header::IF_MATCH)
        .is_some_and(|known| *known != *format!("\"{}\"", ticket["version"]))
    {
        return problem(412, "The ticket has another version", None);
    }
    if ticket["available"] != ticket["quantity"] {
        return problem(409, "Cannot edit a reserved ticket", None);
    }
    for (name, value) in body.as_object().unwrap() {
        ticket[name] = value.clone();
    }
    ticket["available"] = ticket["quantity"].clone();
    ticket["version"] = json!(ticket["version"].as_u64().unwrap() + 1);
    entity(StatusCode::OK, ticket)
}

async fn delete_ticket(State(world): State<World>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let mut books = world.books();
    let Some((person, _)) = who(&books, &headers) else {
        return problem(401, "Not signed in", None);
    };
    match books.tickets.get(&id) {
        None => problem(404, "Not found", None),
        Some(ticket) if ticket["userId"] != json!(person) => problem(403, "Not your ticket", None),
        Some(ticket) if ticket["available"] != ticket["quantity"] => {
            problem(409, "Cannot delete a reserved ticket", None)
        }
        Some(_) => {
            books.tickets.remove(&id);
            StatusCode::NO_CONTENT.into_response()
        }
    }
}

async fn ticket_orders(State(world): State<World>, Path(id): Path<String>) -> Json<Value> {
    let books = world.books();
    let orders = books
        .orders
        .values()
        .filter(|order| order["ticket"]["id"] == json!(id));
    Json(json!(orders.collect::<Vec<_>>()))
}

fn order_of(ticket: &Value, number: u64, buyer: &str, quantity: u64) -> Value {
    let total = ticket["price"].as_f64().unwrap() * f64::from(u32::try_from(quantity).unwrap());
    json!({
        "id": id(number), "userId": buyer, "status": "awaiting:payment", "quantity": quantity, "total": total,
        "currency": ticket["currency"], "expiresAt": "2027-05-01T12:15:00Z", "version": 2, "createdAt": NOW,
        "ticket": {"id": ticket["id"], "title": ticket["title"], "price": ticket["price"],
            "version": ticket["version"], "venue": ticket["venue"], "startsAt": ticket["startsAt"]},
    })
}

async fn list_orders(State(world): State<World>, headers: HeaderMap) -> Response {
    let books = world.books();
    let Some((person, _)) = who(&books, &headers) else {
        return problem(401, "Not signed in", None);
    };
    let orders: Vec<_> = books
        .orders
        .values()
        .filter(|order| order["userId"] == json!(person))
        .collect();
    Json(json!(orders)).into_response()
}

async fn create_order(State(world): State<World>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut books = world.books();
    let Some((person, _)) = who(&books, &headers) else {
        return problem(401, "Not signed in", None);
    };
    let key = headers
        .get("idempotency-key")
        .map(|key| key.to_str().unwrap().to_owned());
    if let Some(known) = key.as_ref().and_then(|key| books.keys.get(key)) {
        return entity(StatusCode::CREATED, &books.orders[known]);
    }
    let wanted = body["quantity"].as_u64().unwrap();
    let Some(ticket) = books.tickets.get_mut(body["ticketId"].as_str().unwrap()) else {
        return problem(404, "Not found", None);
    };
    if ticket["userId"] == json!(person) {
        return problem(409, "This is your own ticket", None);
    }
    if body["price"]
        .as_str()
        .is_some_and(|price| price != ticket["price"].to_string())
    {
        return problem(409, "Price changed", None);
    }
    match ticket["available"].as_u64().unwrap() {
        0 => return problem(409, "Ticket is already reserved", None),
        left if left < wanted => return problem(409, &format!("Only {left} left"), None),
        left => ticket["available"] = json!(left - wanted),
    }
    ticket["version"] = json!(ticket["version"].as_u64().unwrap() + 1);
    let ticket = ticket.clone();
    let number = 700 + books.orders.len() as u64;
    let order = order_of(&ticket, number, &person, wanted);
    books.orders.insert(id(number), order.clone());
    if let Some(key) = key {
        books.keys.insert(key, id(number));
    }
    entity(StatusCode::CREATED, &order)
}

async fn show_order(State(world): State<World>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let person = match who(&world.books(), &headers) {
        Some((person, _)) => person,
        None => return problem(401, "Not signed in", None),
    };
    let find = |books: &Books| {
        books
            .orders
            .get(&id)
            .filter(|order| order["userId"] == json!(person))
            .cloned()
    };
    entity_or_wait(&world, &headers, find).await
}

async fn cancel_order(State(world): State<World>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let mut books = world.books();
    let Some((person, _)) = who(&books, &headers) else {
        return problem(401, "Not signed in", None);
    };
    let Some(order) = books
        .orders
        .get_mut(&id)
        .filter(|order| order["userId"] == json!(person))
    else {
        return problem(404, "Not found", None);
    };
    if !["created", "awaiting:payment"].contains(&order["status"].as_str().unwrap()) {
        return problem(409, "The order is already paid", None);
    }
    order["status"] = json!("cancelled");
    order["reason"] = json!("buyer");
    StatusCode::NO_CONTENT.into_response()
}

async fn refund(State(world): State<World>, Path(id): Path<String>) -> Response {
    let mut books = world.books();
    let Some(order) = books.orders.get_mut(&id) else {
        return problem(404, "Not found", None);
    };
    if order["status"] != json!("complete") {
        return problem(409, "Only a paid order can be refunded", None);
    }
    order["status"] = json!("refunding");
    StatusCode::ACCEPTED.into_response()
}

async fn create_payment(State(world): State<World>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let books = world.books();
    if who(&books, &headers).is_none() {
        return problem(401, "Not signed in", None);
    }
    match books.orders.get(body["orderId"].as_str().unwrap()) {
        None => problem(404, "Not found", None),
        Some(order) if order["status"] == json!("awaiting:payment") => {
            let url = "https://checkout.stripe.com/c/pay/cs_test_1";
            let body = json!({"id": id(800), "orderId": order["id"], "status": "open", "url": url});
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Some(_) => problem(409, "The order cannot be paid any more", None),
    }
}
