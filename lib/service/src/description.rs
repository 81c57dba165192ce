//! What is true of every route of a service and so need not be said at each: how errors look, and how one signs in.

use errors::PROBLEM_JSON;
use session::Cookies;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Info, OpenApi, Ref, RefOr, Response};

/// What routes that need someone who is signed in name as their security.
const COOKIE_SCHEME: &str = "session";

/// What is added to it: the same token in a header.
const BEARER_SCHEME: &str = "bearer";

/// Where every status that a route does not list itself is described.
const ANY_OTHER_STATUS: &str = "default";

/// The description of a service's routes, made whole.
pub(crate) fn complete(mut api: OpenApi, about: &str, cookies: Cookies) -> OpenApi {
    api.info = Info::new("Boxoffice", env!("CARGO_PKG_VERSION"));
    api.info.description = Some(about.to_owned());
    let components = api.components.get_or_insert_default();
    let cookie = ApiKeyValue::with_description(cookies.name(), "Set by signing up and signing in");
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("The same token, for programs"));
    let schemes = [
        (COOKIE_SCHEME, SecurityScheme::ApiKey(ApiKey::Cookie(cookie))),
        (BEARER_SCHEME, SecurityScheme::Http(bearer.build())),
    ];
    for (name, scheme) in schemes {
        components
            .security_schemes
            .insert(name.to_owned(), RefOr::T(scheme));
    }
    for operation in api.paths.paths.values_mut().flat_map(operations) {
        complete_operation(operation);
    }
    api
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        delete,
        ..
    } = item;
    [get, put, post, delete].into_iter().flatten()
}

fn complete_operation(operation: &mut Operation) {
    // Where a session will do, its token will do as well.
    if let Some(ways) = &mut operation.security
        && !ways.is_empty()
    {
        ways.push(SecurityRequirement::new(BEARER_SCHEME, [""; 0]));
    }
    let responses = &mut operation.responses.responses;
    for (status, response) in responses.iter_mut() {
        let RefOr::T(response) = response else { continue };
        if status.starts_with(['4', '5']) {
            describe_error(response);
        }
        // The standard requires one, and utoipa leaves out an empty one.
        if response.description.is_empty() {
            let status = http::StatusCode::from_bytes(status.as_bytes()).ok();
            let reason = status.and_then(|status| status.canonical_reason());
            response.description = reason.unwrap_or("An answer").to_owned();
        }
    }
    // 413, 415, 429 and 503 may come from anywhere.
    let mut other = Response::new("Whatever else goes wrong");
    other.content.insert(
        PROBLEM_JSON.to_owned(),
        RefOr::T(Content::new(Some(Ref::from_schema_name("Problem")))),
    );
    responses.insert(ANY_OTHER_STATUS.to_owned(), RefOr::T(other));
}

/// An error's body is a problem, and has its media type.
fn describe_error(response: &mut Response) {
    response.content = std::mem::take(&mut response.content)
        .into_values()
        .map(|content| (PROBLEM_JSON.to_owned(), content))
        .collect();
}
