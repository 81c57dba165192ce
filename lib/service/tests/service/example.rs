//! The smallest services that show how one is laid out: notes (in the place of tickets), and someone who signs
//! people in (in the place of auth).

use std::collections::HashSet;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bus::{Adopted, Applied, Handler, Impossible, NotRecovering, Recovery};
use errors::{FieldErrors, Problem};
use events::{
    Currency, Envelope, Event, EventType, KeyPublished, Money, OrderId, SessionRevoked, Source, TicketId,
    Timestamp, UserId, Version,
};
use invariants::{Fact, Listing};
use serde::{Deserialize, Serialize};
use service::http::{ETag, IfMatch, IfNoneMatch, Json, Path, Prefer};
use service::{Built, Once, OrProblem as _, Parts, Reply, Service, StartError};
use session::{CurrentUser, SigningKey};
use store::codec::{self, DecodeError};
use store::{Change, Indexes, Record, StoredRow, Table, Tables, TransactError, Txn};
use utoipa_axum::router::OpenApiRouter;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct NoOptions {}

/// The text of a note that breaks an invariant.
pub(crate) const SOLD_TWICE: &str = "sold twice";

/// The text of a note that keeps orders from being noted.
pub(crate) const CLOSED: &str = "closed";

/// A note: text with a version.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Note {
    id: TicketId,
    text: String,
    version: u64,
}

impl Note {
    /// To the invariants a note is a ticket of one piece; with the right text, one that was sold twice.
    fn fact(&self) -> Fact {
        let listing = Listing {
            seller_id: UserId::from_bytes(self.id.to_bytes()),
            price: Money::from_minor(100, Currency::Usd).expect("a dollar is an amount"),
            quantity: 1,
            deleted: false,
            words: 0,
        };
        Fact::Ticket(invariants::Ticket {
            id: self.id,
            version: Version(self.version),
            listing,
            reserved: 0,
            sold: if self.text == SOLD_TWICE { 2 } else { 0 },
        })
    }
}

#[derive(bincode::Encode, bincode::Decode)]
struct NoteV1 {
    id: [u8; 16],
    text: String,
    version: u64,
}

impl Record for Note {
    const TABLE: Table = Table(b'n', "note");
    const SCHEMA: u8 = 1;
    type Key = TicketId;

    fn key(&self) -> TicketId {
        self.id
    }

    fn version(&self) -> Version {
        Version(self.version)
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&NoteV1 {
            id: self.id.to_bytes(),
            text: self.text.clone(),
            version: self.version,
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => codec::decode(bytes).map(|row: NoteV1| Self {
                id: TicketId::from_bytes(row.id),
                text: row.text,
                version: row.version,
            }),
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

/// How many notes there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NoteCount(pub(crate) i64);

impl Indexes for NoteCount {
    fn apply(&mut self, change: &Change<'_>) {
        if let Some((before, after)) = change.of::<Note>() {
            self.0 += i64::from(after.is_some()) - i64::from(before.is_some());
        }
    }

    fn tables() -> Tables {
        service::tables().with::<Note>()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

pub(crate) struct Notes;

impl Service for Notes {
    const SOURCE: Source = Source::Tickets;
    const ABOUT: &'static str = "Keeps notes";
    type Indexes = NoteCount;
    type Options = NoOptions;
    type Handler = NotRecovering<Orders>;

    fn fact(row: &StoredRow) -> Option<Fact> {
        row.of::<Note>().map(Note::fact)
    }

    async fn build(parts: Parts<NoteCount>, _options: NoOptions) -> Result<Built<Self::Handler>, StartError> {
        let api = OpenApiRouter::new()
            .route("/notes", axum::routing::post(create).get(count))
            .route("/stall", axum::routing::post(stall))
            .route("/notes/{id}", axum::routing::get(read).put(change))
            .route("/orders/{id}", axum::routing::get(noted_order))
            .with_state(parts);
        Ok(Built::new(api, NotRecovering(Orders)))
    }
}

type AppState = State<Parts<NoteCount>>;

async fn create(State(parts): AppState, user: CurrentUser, once: Once<NewNote>) -> Result<Reply, Problem> {
    let mut wrong = FieldErrors::default();
    let text = once.body.text;
    wrong.require(!text.is_empty(), "text", "Text must not be empty");
    wrong.finish()?;
    let key = once.key.map(|key| key.of(user.id, "POST /notes"));
    let note = Note {
        id: parts.clock.ticket_id(),
        text,
        version: 1,
    };
    parts
        .once(key, move |tx| {
            tx.put(None, note.clone())?;
            Ok::<_, TransactError<Problem>>(Reply::created(&note))
        })
        .await
}

async fn read(
    State(parts): AppState,
    Path(id): Path<TicketId>,
    known: IfNoneMatch,
    prefer: Prefer,
) -> Result<Response, Problem> {
    let note: Note = parts
        .poll(&id, &known, prefer)
        .await?
        .ok_or_else(Problem::not_found)?;
    Ok(known.answer(Record::version(&note), &note))
}

async fn change(
    State(parts): AppState,
    _user: CurrentUser,
    Path(id): Path<TicketId>,
    if_match: IfMatch,
    Json(new): Json<NewNote>,
) -> Result<(ETag, axum::Json<Note>), Problem> {
    let note = parts
        .transact(move |tx| {
            let note: Note = tx
                .get(&id)?
                .ok_or_else(|| TransactError::refuse(Problem::not_found()))?;
            let version = Record::version(&note);
            if !if_match.allows(version) {
                return Err(TransactError::Refused(Problem::precondition_failed()));
            }
            let note = Note {
                text: new.text,
                version: note.version + 1,
                ..note
            };
            tx.put(Some(version), note.clone())?;
            Ok(note)
        })
        .await
        .or_problem()?;
    Ok((ETag(Record::version(&note)), axum::Json(note)))
}

/// How many notes there are.
async fn count(State(parts): AppState) -> axum::Json<i64> {
    axum::Json(parts.store.read(|notes| notes.0))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StallFor {
    millis: u64,
}

/// Plays a slow disk. Not through [`Parts::transact`], which would take it back before its turn.
async fn stall(State(parts): AppState, Json(stall): Json<StallFor>) -> Result<(), Problem> {
    let hold_up = move |_: &mut Txn<'_, NoteCount>| {
        crate::stall::hold_up(Duration::from_millis(stall.millis));
        Ok::<_, TransactError<Infallible>>(())
    };
    let done = parts.store.transact(parts.context(), hold_up).await;
    done.map_err(|error| Problem::internal(error.to_string()))
}

/// Reads what the orders service may just have acknowledged.
async fn noted_order(State(parts): AppState, Path(id): Path<OrderId>) -> Result<axum::Json<Note>, Problem> {
    let key = TicketId::from_bytes(id.to_bytes());
    let note: Option<Note> = parts.appears(&key, id.created_at(), Source::Orders).await?;
    note.map(axum::Json).ok_or_else(Problem::not_found)
}

/// Notes each order that expires.
pub(crate) struct Orders;

impl Handler<NoteCount> for Orders {
    fn concerns(&self, event_type: EventType) -> bool {
        event_type == EventType::OrderNotDue
    }

    fn apply(
        &self,
        tx: &mut Txn<'_, NoteCount>,
        envelope: &Envelope,
    ) -> Result<Applied, TransactError<Impossible>> {
        let Some(id) = envelope.event.order_id() else {
            return Impossible::because("it names no order");
        };
        let closed = |note: &Note| note.text == CLOSED;
        if tx.scan::<Note>(None, usize::MAX)?.iter().any(closed) {
            return Impossible::because("the book is closed");
        }
        let id = TicketId::from_bytes(id.to_bytes());
        if tx.get::<Note>(&id)?.is_some() {
            return Ok(Applied::Stale("noted already"));
        }
        let text = envelope.event.event_type().to_string();
        tx.put(None, Note { id, text, version: 1 })?;
        Ok(Applied::Done)
    }
}

/// Publishes events that a test wants to happen, under any source.
pub(crate) struct Publisher<const SOURCE: u8>;

pub(crate) type SignsIn = Publisher<1>;
pub(crate) type Places = Publisher<3>;

/// Where a test finds what it publishes with.
pub(crate) struct Silent;

impl<I: Indexes> Handler<I> for Silent {
    fn concerns(&self, _: EventType) -> bool {
        false
    }

    fn apply(&self, _: &mut Txn<'_, I>, _: &Envelope) -> Result<Applied, TransactError<Impossible>> {
        Ok(Applied::Done)
    }
}

/// It keeps nothing of what it publishes but what every service keeps.
impl<I: Indexes> Recovery<I> for Silent {
    fn adopt(&self, _: &mut Txn<'_, I>, _: &Envelope) -> Result<Adopted, TransactError<Impossible>> {
        Ok(Adopted::Whole)
    }

    fn restate(&self, _: &StoredRow) -> Option<Event> {
        None
    }

    fn forsake(
        &self,
        _: &mut Txn<'_, I>,
        _: Source,
        _: &HashSet<String>,
    ) -> Result<(), TransactError<Impossible>> {
        Ok(())
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OnlyShared;

impl Indexes for OnlyShared {
    fn apply(&mut self, _: &Change<'_>) {}

    fn tables() -> Tables {
        service::tables()
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Publish {
    key_seed: Option<u8>,
    revoke: Option<SessionRevoked>,
    not_due: Option<OrderId>,
}

impl<const SOURCE: u8> Service for Publisher<SOURCE> {
    const SOURCE: Source = match SOURCE {
        1 => Source::Auth,
        _ => Source::Orders,
    };
    const ABOUT: &'static str = "Publishes";
    type Indexes = OnlyShared;
    type Options = NoOptions;
    type Handler = Silent;

    fn fact(_: &StoredRow) -> Option<Fact> {
        None
    }

    async fn build(
        parts: Parts<OnlyShared>,
        _options: NoOptions,
    ) -> Result<Built<Self::Handler>, StartError> {
        let api = OpenApiRouter::new()
            .route("/publish", axum::routing::post(publish))
            .with_state(parts);
        Ok(Built::new(api, Silent))
    }
}

async fn publish(
    State(parts): State<Parts<OnlyShared>>,
    Json(publish): Json<Publish>,
) -> Result<(), Problem> {
    let mut all = Vec::new();
    if let Some(seed) = publish.key_seed {
        let key = SigningKey::from_seed(&[seed; 32]);
        all.push(Event::KeyPublished(KeyPublished {
            kid: key.kid().into(),
            public_key: key.public_key().into(),
            usable_from: Timestamp::default(),
        }));
    }
    all.extend(publish.revoke.map(Event::SessionRevoked));
    all.extend(publish.not_due.map(|order_id| {
        Event::OrderNotDue(events::OrderNotDue {
            order_id,
            remaining_ms: 1,
        })
    }));
    parts
        .transact(move |tx| {
            for event in all {
                service::stage(tx, &event)?;
                tx.emit(event);
            }
            Ok::<_, TransactError<Problem>>(())
        })
        .await
        .or_problem()
}
