//! The response headers that keep a page to itself: the same on every answer, error pages included.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::settings::PublicUrl;

/// How long a browser shall insist on https: two years, as the preload list asks.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000; includeSubDomains");

/// The headers of one site, made once.
#[derive(Clone)]
pub(crate) struct SecurityHeaders {
    fixed: Arc<[(HeaderName, HeaderValue)]>,
}

impl SecurityHeaders {
    /// Headers for a site at `public`, whose payment form may lead on to `form_action` origins.
    pub(crate) fn new(public: &PublicUrl, form_action: &[HeaderValue]) -> SecurityHeaders {
        let mut policy = b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
            connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'; form-action 'self'"
            .to_vec();
        for origin in form_action {
            policy.push(b' ');
            policy.extend_from_slice(origin.as_bytes());
        }
        let policy = HeaderValue::from_bytes(&policy).expect("header values joined by spaces are one");
        let mut fixed = vec![
            (header::CONTENT_SECURITY_POLICY, policy),
            (
                header::X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
            (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                HeaderValue::from_static("same-origin"),
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                HeaderValue::from_static("same-origin"),
            ),
            (
                HeaderName::from_static("permissions-policy"),
                HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
            ),
        ];
        if public.is_https() {
            fixed.push((header::STRICT_TRANSPORT_SECURITY, HSTS));
        }
        SecurityHeaders { fixed: fixed.into() }
    }
}

/// Puts the headers on an answer. What nobody said may be kept is not kept: most pages are personal.
pub(crate) async fn apply(State(security): State<SecurityHeaders>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in security.fixed.iter() {
        headers.insert(name.clone(), value.clone());
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
