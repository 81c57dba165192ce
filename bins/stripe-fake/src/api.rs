//! `/v1`: authentication, idempotency and faults around the operations.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{HeaderName, Method, StatusCode};
use ring::digest;

use crate::StripeFake;
use crate::error::ApiError;
use crate::faults::{Fault, Kind};
use crate::idempotency::{self, Verdict};
use crate::model::{Record, StoredAnswer};
use crate::operation::Operation;
use crate::params::Params;

/// The largest body that is read.
const BODY_BYTES_MAX: usize = 256 * 1024;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Answers any request below `/v1`.
pub(crate) async fn serve(State(fake): State<StripeFake>, request: Request) -> Response {
    // A task of its own: a client that goes away does not stop the work, as it does not at Stripe.
    match tokio::spawn(serve_one(fake, request)).await {
        Ok(response) => response,
        Err(error) => {
            tracing::error!(%error, "a request panicked");
            Answer::from(&ApiError::internal("An unexpected error occurred."))
                .into_response("req_unknown", None)
        }
    }
}

/// Whether the secret key is in the Authorization header, as a bearer token or as basic auth's user name.
pub(crate) fn authenticate(fake: &StripeFake, headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = given.and_then(|given| match given.split_once(' ')? {
        (scheme, token) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim().to_owned()),
        (scheme, token) if scheme.eq_ignore_ascii_case("basic") => {
            let decoded = String::from_utf8(BASE64.decode(token.trim()).ok()?).ok()?;
            Some(decoded.split(':').next().unwrap_or_default().to_owned())
        }
        _ => None,
    });
    // Hashes are compared, so that the time it takes says nothing about the key.
    let hash = |key: &str| digest::digest(&digest::SHA256, key.as_bytes());
    match key {
        Some(key) if hash(&key).as_ref() == hash(&fake.config().secret_key).as_ref() => Ok(()),
        other => Err(ApiError::unauthorized(other.is_some())),
    }
}

/// A request that is worth deciding about.
struct Call {
    id: String,
    path: String,
    operation: Operation,
    params: Params,
    /// Only what changes something can have one.
    key: Option<String>,
}

/// What a fault does to the work itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    AsAsked,
    DoneButError,
    UndoneButStored,
}

struct Answer {
    status: u16,
    body: String,
    /// The request whose answer this repeats.
    original: Option<String>,
}

impl From<&ApiError> for Answer {
    fn from(error: &ApiError) -> Self {
        Self {
            status: error.status,
            body: error.body().to_string(),
            original: None,
        }
    }
}

impl Answer {
    fn into_response(self, request_id: &str, key: Option<&str>) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut put = |name: &'static str, value: &str| {
            // A client's key may hold bytes that a header can't carry back; then it is left out.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put("request-id", request_id);
        if let Some(key) = key {
            put(IDEMPOTENCY_KEY, key);
        }
        if let Some(original) = &self.original {
            put("original-request", original);
            put("idempotent-replayed", "true");
        }
        response
    }
}

async fn serve_one(fake: StripeFake, request: Request) -> Response {
    let id = fake.ids().object("req_");
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let call = match read(&fake, id.clone(), request).await {
        Ok(call) => call,
        Err(error) => return Answer::from(&error).into_response(&id, None),
    };
    let fault = if fake.config().faults_enabled {
        fake.faults().for_request(method.as_str(), &path)
    } else {
        None
    };
    let kind = fault.as_ref().map(|fault| fault.kind);
    let answer = match kind {
        Some(Kind::ErrorBefore) => {
            Answer::from(&ApiError::internal("A fault was asked for: nothing was done."))
        }
        Some(Kind::RateLimited) => Answer::from(&ApiError::rate_limited()),
        Some(Kind::Conflict) => Answer::from(&ApiError::in_use(call.key.as_deref().unwrap_or("none"))),
        Some(Kind::ErrorAfter) => execute(&fake, &call, Work::DoneButError).await,
        Some(Kind::ErrorStored) => execute(&fake, &call, Work::UndoneButStored).await,
        Some(Kind::HangBefore) => execute_late(&fake, &call, fault.as_ref()).await,
        Some(
            Kind::AnswerLost
            | Kind::Garbage
            | Kind::Hang
            | Kind::Hold
            | Kind::Double
            | Kind::Reorder
            | Kind::Drop,
        )
        | None => execute(&fake, &call, Work::AsAsked).await,
    };
    let response = answer.into_response(&call.id, call.key.as_deref());
    match (kind, fault) {
        (Some(Kind::AnswerLost), _) => response.map(|_| Body::new(BrokenBody)),
        (Some(Kind::Garbage), _) => Response::new(Body::from(
            "<html><body>We're having trouble, please try again.</body></html>",
        )),
        (Some(Kind::Hang), Some(fault)) => {
            tokio::time::sleep(Duration::from_secs(fault.seconds)).await;
            response
        }
        _ => response,
    }
}

async fn read(fake: &StripeFake, id: String, request: Request) -> Result<Call, ApiError> {
    let (parts, body) = request.into_parts();
    authenticate(fake, &parts.headers)?;
    let path = parts.uri.path().to_owned();
    let operation = Operation::parse(&parts.method, &path)?;
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| ApiError::too_large())?;
    let params = if parts.method == Method::POST {
        let content_type = parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if !body.is_empty() && !content_type.starts_with("application/x-www-form-urlencoded") {
            return Err(ApiError::invalid(
                "Invalid request: parameters are sent as application/x-www-form-urlencoded.".to_owned(),
            ));
        }
        Params::parse(&body)?
    } else {
        Params::parse(parts.uri.query().unwrap_or_default().as_bytes())?
    };
    let key = match parts.headers.get(IDEMPOTENCY_KEY) {
        Some(value) if parts.method == Method::POST => {
            let value = value.to_str().map_err(|_| {
                ApiError::idempotency(
                    "Idempotency keys must consist of printable ASCII characters.".to_owned(),
                )
            })?;
            Some(value.to_owned())
        }
        Some(_) | None => None,
    };
    Ok(Call {
        id,
        path,
        operation,
        params,
        key,
    })
}

async fn execute_late(fake: &StripeFake, call: &Call, fault: Option<&Fault>) -> Answer {
    let in_flight = match enter(fake, call).await {
        Ok(in_flight) => in_flight,
        Err(answer) => return answer,
    };
    if let Some(fault) = fault {
        tokio::time::sleep(Duration::from_secs(fault.seconds)).await;
    }
    let answer = finish(fake, call, Work::AsAsked).await;
    drop(in_flight);
    answer
}

async fn execute(fake: &StripeFake, call: &Call, work: Work) -> Answer {
    let in_flight = match enter(fake, call).await {
        Ok(in_flight) => in_flight,
        Err(answer) => return answer,
    };
    let answer = finish(fake, call, work).await;
    drop(in_flight);
    answer
}

/// An idempotency key that is in use as long as this lives.
struct InFlight<'a> {
    fake: &'a StripeFake,
    key: String,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.fake.books().in_flight.remove(&self.key);
    }
}

/// Takes the call's key, or says what is to be answered instead.
async fn enter<'a>(fake: &'a StripeFake, call: &Call) -> Result<Option<InFlight<'a>>, Answer> {
    let Some(key) = &call.key else { return Ok(None) };
    let (answer, number) = {
        let mut books = fake.books();
        let verdict = idempotency::judge(
            &books.book,
            &books.in_flight,
            key,
            &call.path,
            &call.params.hash(),
            fake.now(),
        );
        let answer = match verdict {
            Verdict::Fresh => {
                books.in_flight.insert(key.clone());
                return Ok(Some(InFlight {
                    fake,
                    key: key.clone(),
                }));
            }
            Verdict::Repeated(stored) => Answer {
                status: stored.status,
                body: stored.body.clone(),
                original: Some(stored.request.clone()),
            },
            Verdict::Refused(error) => Answer::from(&error),
        };
        (answer, books.last())
    };
    Err(when_synced(fake, answer, number).await)
}

/// Decides, puts the changes into the books, and waits until they are on the disk.
async fn finish(fake: &StripeFake, call: &Call, work: Work) -> Answer {
    let (answer, number) = {
        let mut books = fake.books();
        if books.is_full() {
            return Answer::from(&ApiError::internal(
                "The disk is behind. Nothing was done: try again.",
            ));
        }
        let moment = fake.moment(Some(&call.id), call.key.as_deref());
        let outcome = match work {
            Work::AsAsked | Work::DoneButError => call.operation.decide(&books.book, &call.params, &moment),
            Work::UndoneButStored => Err(ApiError::internal_stored(
                "A fault was asked for: nothing was done, and this answer is remembered.",
            )),
        };
        let (mut records, mut status, mut body, stored) = match outcome {
            Ok(decision) => (decision.records, decision.status, decision.body.to_string(), true),
            Err(error) => (Vec::new(), error.status, error.body().to_string(), error.stored),
        };
        if work == Work::DoneButError {
            let error = ApiError::internal("A fault was asked for: the work was done.");
            (status, body) = (error.status, error.body().to_string());
        }
        if let (Some(key), true) = (&call.key, stored) {
            records.push(Record::Answer(Box::new(StoredAnswer {
                key: key.clone(),
                at: moment.now,
                path: call.path.clone(),
                params: call.params.hash(),
                request: call.id.clone(),
                status,
                body: body.clone(),
            })));
        }
        let number = fake.commit(&mut books, records);
        (
            Answer {
                status,
                body,
                original: None,
            },
            number,
        )
    };
    when_synced(fake, answer, number).await
}

/// What was read must be on the disk too before anybody hears of it.
async fn when_synced(fake: &StripeFake, answer: Answer, number: u64) -> Answer {
    match fake.synced().wait(number).await {
        Ok(()) => answer,
        Err(_) => Answer::from(&ApiError::internal(
            "The disk did not answer in time: the outcome is unknown.",
        )),
    }
}

/// A body that breaks the connection instead of coming.
struct BrokenBody;

impl hyper::body::Body for BrokenBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Err(std::io::Error::new(
            std::io::ErrorKind::ConnectionAborted,
            "a fault was asked for: the answer is lost",
        ))))
    }
}
