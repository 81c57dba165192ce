//! Answers in HTML: pages under a strict content security policy, and redirects.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY,
};
use http::{HeaderMap, HeaderName, StatusCode};

/// A page. `nonce` is the one that the page's own style carries; `form_targets` are the addresses to which
/// a form's answer may send a person on.
pub(crate) fn page<T: Template>(
    status: StatusCode,
    template: &T,
    nonce: &str,
    form_targets: &[&str],
) -> Response {
    let (status, body) = match template.render() {
        Ok(body) => (status, body),
        Err(error) => {
            tracing::error!(%error, "a page can't be rendered");
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "This page can't be shown.".to_owned(),
            )
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    // Browsers apply form-action to where a form's answer redirects as well.
    let origins: Vec<&str> = form_targets.iter().filter_map(|target| origin(target)).collect();
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self' {}; base-uri 'none'; frame-ancestors 'none'",
        origins.join(" ")
    );
    put(headers, CONTENT_SECURITY_POLICY, &policy);
    // The page's address is the secret that lets one pay or see it.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// A redirect after a POST.
pub(crate) fn see_other(location: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    put(response.headers_mut(), LOCATION, location);
    response
        .headers_mut()
        .insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Scheme, host and port of an absolute address.
fn origin(url: &str) -> Option<&str> {
    let start = url.find("://")? + "://".len();
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |end| start + end);
    Some(&url[..end])
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            headers.insert(name, value);
        }
        Err(error) => tracing::error!(%error, header = %name, "a header can't be sent"),
    }
}

#[cfg(test)]
mod tests {
    use super::origin;

    #[test]
    fn an_origin_ends_before_path_query_and_fragment() {
        assert_eq!(origin("http://a:1/b/c"), Some("http://a:1"));
        assert_eq!(origin("https://a?b"), Some("https://a"));
        assert_eq!(origin("https://a"), Some("https://a"));
        assert_eq!(origin("nothing"), None);
    }
}
