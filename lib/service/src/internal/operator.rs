//! Who may do what an operator does: whoever has the token, or comes over the control socket, which only the owner of
//! the process can open.

use std::fmt;

use axum::Router;
use axum::extract::{FromRef, FromRequestParts, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use errors::Problem;
use http::request::Parts;
use http::{StatusCode, header};
use ring::hmac;
use ring::rand::SystemRandom;

/// How long an operator's token is, at least. It is made by a machine and typed by nobody.
pub const OPERATOR_TOKEN_CHARS_MIN: usize = 16;

const TOKEN_CHARS_MAX: usize = 512;

/// What an operator shows to be let in. Never printed; whether it is fit is looked at when the service starts.
#[derive(Clone, PartialEq, Eq)]
pub struct OperatorToken(String);

/// Why a text is no operator's token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "BOXOFFICE_OPERATOR_TOKEN: a token has {OPERATOR_TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} visible ASCII characters; \
     `openssl rand -hex 32` makes one"
)]
pub(crate) struct UnfitToken;

/// Any text, so that a refusal can be worded without showing it.
impl From<String> for OperatorToken {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for OperatorToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorToken")
    }
}

/// Marks a request that came over the control socket. Only the program that listens on that socket puts it in.
#[derive(Debug, Clone, Copy)]
pub struct OverControlSocket;

/// Knows the operator's token without keeping it, and compares in a time that tells nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard(Option<(hmac::Key, hmac::Tag)>);

impl Guard {
    /// With no token, or an empty one, only the control socket lets anybody in.
    ///
    /// # Errors
    /// When the token is not fit to be one.
    pub(crate) fn new(token: Option<&OperatorToken>) -> Result<Self, UnfitToken> {
        let Some(OperatorToken(token)) = token.filter(|token| !token.0.is_empty()) else {
            return Ok(Self(None));
        };
        let long_enough = (OPERATOR_TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len());
        if !long_enough || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UnfitToken);
        }
        // A key that nobody knows: what is compared has nothing to do with the token, byte by byte.
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .expect("the system has randomness: ids were made of it already");
        let tag = hmac::sign(&key, token.as_bytes());
        Ok(Self(Some((key, tag))))
    }

    fn admit(&self, parts: &Parts) -> Result<(), Problem> {
        if parts.extensions.get::<OverControlSocket>().is_some() {
            return Ok(());
        }
        let Some((key, tag)) = &self.0 else {
            return Err(Problem::forbidden(
                "This service has no operator's token: set BOXOFFICE_OPERATOR_TOKEN, or use the control socket",
            ));
        };
        let shown = parts
            .headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        match shown {
            Some(token) if hmac::verify(key, token.as_bytes(), tag.as_ref()).is_ok() => Ok(()),
            Some(_) => {
                tracing::warn!("someone was turned away who showed a wrong operator's token");
                Err(turned_away("This is not the operator's token"))
            }
            None => Err(turned_away(
                "This is for operators: send Authorization: Bearer with the token of BOXOFFICE_OPERATOR_TOKEN",
            )),
        }
    }
}

fn turned_away(why: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, why)
}

/// Someone who may do what an operator does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operator;

impl<S> FromRequestParts<S> for Operator
where
    S: Send + Sync,
    Guard: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Guard::from_ref(state).admit(parts).map(|()| Self)
    }
}

/// Lets nobody in at these routes but operators.
pub(crate) fn only_for_operators(routes: Router, guard: Guard) -> Router {
    // `route_layer` may not be called on a router without routes, and a layer on nothing would answer for its 404.
    if !routes.has_routes() {
        return routes;
    }
    routes.route_layer(middleware::from_fn_with_state(guard, admit))
}

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    guard.admit(&parts)?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn answer(guard: &Guard, authorization: Option<&str>, over_socket: bool) -> Result<(), StatusCode> {
        let mut request = Request::builder();
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if over_socket {
            request = request.extension(OverControlSocket);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        guard.admit(&parts).map_err(|problem| problem.status())
    }

    #[test]
    fn only_the_token_or_the_socket_lets_in() {
        let token = OperatorToken::from(TOKEN.to_owned());
        let guard = Guard::new(Some(&token)).unwrap();
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(answer(&guard, Some(&bearer), false), Ok(()));
        assert_eq!(answer(&guard, None, true), Ok(()));
        for wrong in [
            "Bearer 0123456789abcdeg",
            "Bearer ",
            "Bearer",
            TOKEN,
            "Basic 0123456789abcdef",
        ] {
            assert_eq!(answer(&guard, Some(wrong), false), Err(StatusCode::UNAUTHORIZED));
        }
        assert_eq!(answer(&guard, None, false), Err(StatusCode::UNAUTHORIZED));

        let none = Guard::new(None).unwrap();
        assert_eq!(answer(&none, Some(&bearer), false), Err(StatusCode::FORBIDDEN));
        assert_eq!(answer(&none, None, true), Ok(()));
    }

    #[test]
    fn a_token_is_long_and_never_shown() {
        let token = |text: &str| OperatorToken::from(text.to_owned());
        for unfit in [
            "short",
            "0123456789abcde",
            "0123456789 abcdef",
            "0123456789abcdeü",
        ] {
            let refused = Guard::new(Some(&token(unfit))).unwrap_err();
            assert!(!refused.to_string().contains(unfit), "{unfit}");
        }
        assert_eq!(
            answer(&Guard::new(Some(&token(""))).unwrap(), None, false),
            Err(StatusCode::FORBIDDEN)
        );
        assert!(!format!("{:?}", token(TOKEN)).contains("0123"));
    }
}
