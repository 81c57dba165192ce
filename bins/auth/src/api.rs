//! The routes of `/api/users`: parse, decide and commit, answer.

use ::store::TransactError;
use axum::extract::{ConnectInfo, FromRef, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use errors::{FieldError, FieldErrors, Problem, ProblemBody};
use events::{Event, SessionRevoked, Timestamp, UserId};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use service::http::Json;
use service::{KeyRow, OrProblem as _};
use session::{Access, Claims, CurrentUser, OptionalUser, PublicJwk, TOKEN_SECONDS};
use std::net::SocketAddr;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::App;
use crate::domain::{self, Email, EmailInUse, PASSWORD_CHARS_MAX, SignOut, User};
use crate::passwords;

/// How long a token is good.
const TOKEN_LIFE: Duration = Duration::from_secs(TOKEN_SECONDS);

/// How many keys the JWKS document shows; rotation leaves two.
const KEYS_SHOWN_MAX: usize = 100;

pub(crate) fn router(app: App) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(sign_up))
        .routes(routes!(sign_in))
        .routes(routes!(sign_out))
        .routes(routes!(change_password))
        .routes(routes!(current_user))
        .routes(routes!(jwks))
        .layer(middleware::map_response(not_stored))
        .with_state(app)
}

impl FromRef<App> for Access {
    fn from_ref(app: &App) -> Self {
        app.parts.access.clone()
    }
}

impl From<EmailInUse> for Problem {
    fn from(_: EmailInUse) -> Self {
        Self::conflict("Email in use")
    }
}

/// How someone signs up or in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    #[schema(required, max_length = 254, format = Email)]
    email: Option<String>,
    /// 8 to 128 characters, not a common one.
    #[schema(required, min_length = 8, max_length = 128, format = Password)]
    password: Option<String>,
}

/// How someone signs out.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignOutRequest {
    /// All sessions of this person, and not only this one.
    #[serde(default)]
    everywhere: bool,
}

/// How someone changes a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    /// The present one.
    #[schema(required, format = Password)]
    current: Option<String>,
    /// 8 to 128 characters, not a common one.
    #[schema(required, min_length = 8, max_length = 128, format = Password)]
    new: Option<String>,
}

/// A person with an account.
#[derive(Debug, Serialize, ToSchema)]
struct Account {
    #[schema(value_type = uuid::Uuid)]
    id: UserId,
    email: String,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WhoAmI {
    current_user: Option<SignedIn>,
}

/// A person who is signed in.
#[derive(Debug, Serialize, ToSchema)]
struct SignedIn {
    #[schema(value_type = uuid::Uuid)]
    id: UserId,
    email: String,
    /// When they signed in, in seconds since 1970.
    iat: i64,
}

/// The public keys (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
struct Jwks {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<PublicJwk>,
}

/// Nothing.
#[derive(Debug, Serialize, ToSchema)]
struct Empty {}

/// Sign up.
#[utoipa::path(post, path = "/api/users/signup", tag = "users", request_body = Credentials, responses(
    (status = 201, description = "Signed up and in", body = Account),
    (status = 400, description = "Not valid", body = ProblemBody),
    (status = 409, description = "Email in use", body = ProblemBody),
))]
async fn sign_up(State(app): State<App>, Json(new): Json<Credentials>) -> Result<Response, Problem> {
    let mut wrong = FieldErrors::default();
    let email = wrong.present("email", "Email", new.email);
    let email = email.and_then(|email| wrong.take("email", "Email", Email::parse(&email)));
    let password = wrong.present("password", "Password", new.password);
    let password = password.and_then(|password| {
        let checked = domain::check_password(&password, email.as_ref(), passwords::is_common);
        wrong.take("password", "Password", checked.map(|()| password))
    });
    let (Some(email), Some(password)) = (email, password) else {
        return Err(wrong.into_problem());
    };
    // Looked up before the slow hash, and decided after it.
    if app.parts.store.read(|people| people.with_email(&email)).is_some() {
        // Indexes are ahead of the disk by a batch, and a full disk takes that batch back. A refusal of the writer's
        // is only answered once what it rests on is there for good.
        let email = email.clone();
        app.parts
            .transact(move |tx| match tx.indexes().with_email(&email) {
                Some(_) => Err(TransactError::Refused(EmailInUse)),
                None => Ok(()),
            })
            .await
            .or_problem()?;
    }
    // Nobody is registered who could not be signed in: the next try would find the address in use.
    app.keys.key().await?;
    let hash = app.hasher.hash(password).await?;
    let id = app.parts.clock.user_id();
    let user = app
        .parts
        .transact(move |tx| {
            let holder = tx.indexes().with_email(&email);
            let (user, registered) =
                domain::register(holder, id, email, hash, tx.now()).map_err(TransactError::Refused)?;
            tx.put(None, user.clone())?;
            tx.emit(Event::UserRegistered(registered));
            Ok::<_, TransactError<EmailInUse>>(user)
        })
        .await
        .or_problem()?;
    signed_in(&app, StatusCode::CREATED, &user).await
}

/// Sign in. Whether there is such a person shows neither in the answer nor in the time that it takes.
#[utoipa::path(post, path = "/api/users/signin", tag = "users", request_body = Credentials, responses(
    (status = 200, description = "Signed in", body = Account),
    (status = 400, description = "Invalid credentials", body = ProblemBody),
    (status = 429, description = "Too many tries", body = ProblemBody),
))]
async fn sign_in(
    State(app): State<App>,
    peer: Option<axum::Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Json(given): Json<Credentials>,
) -> Result<Response, Problem> {
    let mut wrong = FieldErrors::default();
    let email = wrong.present("email", "Email", given.email);
    let email = email.and_then(|email| wrong.take("email", "Email", Email::parse(&email)));
    let password = wrong.present("password", "Password", given.password);
    let (Some(email), Some(password)) = (email, password) else {
        return Err(wrong.into_problem());
    };
    let peer = peer.map(|axum::Extension(ConnectInfo(peer))| peer);
    app.throttle
        .sign_in(&email, peer, &headers, app.parts.clock.now())?;
    // What nobody can have chosen need not be hashed, whoever it is for.
    if password.chars().count() > PASSWORD_CHARS_MAX {
        return Err(invalid_credentials());
    }
    let user = find(&app, &email)?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let right = app.hasher.verify(password, hash).await?;
    let Some(user) = user.filter(|_| right) else {
        return Err(invalid_credentials());
    };
    app.throttle.signed_in(&email, peer, &headers);
    let answer = signed_in(&app, StatusCode::OK, &user).await?;
    // The password may have been changed while the old one was being verified. Sessions begun before a change
    // have ended, so it is looked again now that this one has begun.
    match find(&app, &email)? {
        Some(now) if now.version == user.version => Ok(answer),
        Some(_) | None => Err(invalid_credentials()),
    }
}

/// Sign out, of this session or of all.
#[utoipa::path(post, path = "/api/users/signout", tag = "users", request_body = Option<SignOutRequest>, responses(
    (status = 200, description = "Signed out", body = Empty),
))]
async fn sign_out(
    State(app): State<App>,
    OptionalUser(user): OptionalUser,
    request: Option<Json<SignOutRequest>>,
) -> Result<Response, Problem> {
    let Json(request) = request.unwrap_or_default();
    if let Some(user) = user {
        let what = if request.everywhere {
            SignOut::Everywhere
        } else {
            SignOut::Session(user.session, user.expires_at)
        };
        let revoked = domain::sign_out(user.id, what, TOKEN_LIFE, app.parts.clock.now());
        revoke(&app, revoked, |_| Ok(())).await?;
    }
    let cleared = app.parts.access.cookies.clear();
    Ok(([(header::SET_COOKIE, cleared)], axum::Json(Empty {})).into_response())
}

/// Change the password. All other sessions end.
#[utoipa::path(put, path = "/api/users/password", tag = "users", request_body = PasswordChange, responses(
    (status = 200, description = "Changed", body = Empty),
    (status = 400, description = "Not valid", body = ProblemBody),
    (status = 401, description = "Not signed in", body = ProblemBody),
    (status = 429, description = "Too many tries", body = ProblemBody),
))]
async fn change_password(
    State(app): State<App>,
    signed_in: CurrentUser,
    Json(change): Json<PasswordChange>,
) -> Result<axum::Json<Empty>, Problem> {
    let user = app
        .parts
        .store
        .get::<User>(&signed_in.id)
        .or_problem()?
        .ok_or_else(Problem::unauthorized)?;
    let mut wrong = FieldErrors::default();
    let current = wrong.present("current", "Current password", change.current);
    let new = wrong.present("new", "New password", change.new);
    let new = new.and_then(|new| {
        let checked = domain::check_password(&new, Some(&user.email), passwords::is_common);
        wrong.take("new", "New password", checked.map(|()| new))
    });
    let (Some(current), Some(new)) = (current, new) else {
        return Err(wrong.into_problem());
    };
    app.throttle.password(&user.email, app.parts.clock.now())?;
    let is_right = current.chars().count() <= PASSWORD_CHARS_MAX
        && app
            .hasher
            .verify(current, Some(user.password_hash.clone()))
            .await?;
    if !is_right {
        return Err(Problem::invalid(vec![FieldError::new(
            "current",
            "Current password is wrong",
        )]));
    }
    app.throttle.password_was_right(&user.email);
    let hash = app.hasher.hash(new).await?;
    let now = app.parts.clock.now();
    let (changed, revoked) = domain::change_password(&user, hash, signed_in.session, TOKEN_LIFE, now);
    revoke(&app, revoked, move |tx| tx.put(Some(user.version), changed)).await?;
    Ok(axum::Json(Empty {}))
}

/// Who is signed in, if someone is.
#[utoipa::path(get, path = "/api/users/currentuser", tag = "users", responses(
    (status = 200, description = "Who is signed in, or null", body = WhoAmI),
))]
async fn current_user(OptionalUser(user): OptionalUser) -> axum::Json<WhoAmI> {
    axum::Json(WhoAmI {
        current_user: user.map(|user| SignedIn {
            id: user.id,
            iat: user.issued_at.as_seconds(),
            email: user.email,
        }),
    })
}

/// The public keys that tokens are verified with.
#[utoipa::path(get, path = "/api/users/jwks.json", tag = "users", responses(
    (status = 200, description = "The key set", body = Jwks),
))]
async fn jwks(State(app): State<App>) -> Result<axum::Json<Jwks>, Problem> {
    let rows: Vec<KeyRow> = app.parts.store.scan(None, KEYS_SHOWN_MAX).or_problem()?;
    let keys = rows
        .iter()
        .map(|key| PublicJwk::new(&key.kid, &key.public_key))
        .collect::<Result<_, _>>()
        .map_err(|error| Problem::internal(format!("a stored key: {error}")))?;
    Ok(axum::Json(Jwks { keys }))
}

fn find(app: &App, email: &Email) -> Result<Option<User>, Problem> {
    match app.parts.store.read(|people| people.with_email(email)) {
        Some(id) => app.parts.store.get(&id).or_problem(),
        None => Ok(None),
    }
}

/// The answer to someone who has just signed up or in: a new session, its token in the cookie.
async fn signed_in(app: &App, status: StatusCode, user: &User) -> Result<Response, Problem> {
    let now: Timestamp = app.parts.clock.now();
    let email = user.email.as_str();
    let claims = Claims::new(user.id, email, app.parts.clock.session_id(), now);
    let token = app.keys.key().await?.sign(&claims);
    let cookie = app.parts.access.cookies.set(&token);
    let account = Account {
        id: user.id,
        email: email.to_owned(),
    };
    Ok((status, [(header::SET_COOKIE, cookie)], axum::Json(account)).into_response())
}

/// Ends sessions: stored and published in one step with what led to it, then refused here at once.
async fn revoke(
    app: &App,
    revoked: SessionRevoked,
    stage: impl FnOnce(&mut ::store::Txn<'_, crate::store::People>) -> Result<(), ::store::TxnError>
    + Send
    + 'static,
) -> Result<(), Problem> {
    let event = Event::SessionRevoked(revoked.clone());
    app.parts
        .transact(move |tx| {
            stage(tx)?;
            service::stage(tx, &event)?;
            tx.emit(event);
            Ok::<_, TransactError<Problem>>(())
        })
        .await
        .or_problem()?;
    app.parts.access.verifier.revoke(&revoked);
    Ok(())
}

fn invalid_credentials() -> Problem {
    Problem::bad_request("Invalid credentials")
}

/// Answers about people are nobody else's: no cache may keep them.
async fn not_stored(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
