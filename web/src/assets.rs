//! The style sheet, the script and the icon: embedded, named by their content, compressed once.
//!
//! A page names an asset by its hashed URL, so a browser may keep it for ever and still never shows a page
//! with yesterday's style. This module serves these few files and nothing else: no directory is exposed.

use std::io::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rust_embed::RustEmbed;

use crate::problem::Failure;

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Bytes of the content's SHA-256 in a file's name: enough that two contents never share one.
const NAME_HASH_BYTES: usize = 9;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Embedded;

struct Asset {
    url: String,
    content_type: &'static str,
    plain: Bytes,
    gzip: Bytes,
}

/// The assets that pages name.
pub(crate) struct Assets {
    style: Asset,
    script: Asset,
    icon: Asset,
}

static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: load("site.css", "text/css; charset=utf-8"),
    script: load("site.js", "text/javascript; charset=utf-8"),
    icon: load("icon.svg", "image/svg+xml"),
});

/// The URL of the style sheet.
pub(crate) fn style_url() -> &'static str {
    &ASSETS.style.url
}

/// The URL of the script.
pub(crate) fn script_url() -> &'static str {
    &ASSETS.script.url
}

/// The URL of the icon.
pub(crate) fn icon_url() -> &'static str {
    &ASSETS.icon.url
}

/// `GET /assets/{name}`
pub(crate) async fn show(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Failure> {
    let assets = &*ASSETS;
    let asset = [&assets.style, &assets.script, &assets.icon]
        .into_iter()
        .find(|asset| asset.url.strip_prefix("/assets/") == Some(name.as_str()))
        .ok_or(Failure::NotFound)?;
    let common = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, IMMUTABLE),
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    if accepts_gzip(&headers) {
        let encoding = [(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"))];
        Ok((common, encoding, asset.gzip.clone()).into_response())
    } else {
        Ok((common, asset.plain.clone()).into_response())
    }
}

/// `GET /favicon.ico`, which browsers ask for unasked.
pub(crate) async fn favicon() -> Response {
    let icon = &ASSETS.icon;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(icon.content_type)),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=86400"),
        ),
    ];
    (headers, icon.plain.clone()).into_response()
}

/// `GET /robots.txt`: what is personal is nothing for a search engine.
pub(crate) async fn robots() -> &'static str {
    "User-agent: *\nDisallow: /orders\nDisallow: /selling\nDisallow: /account\nDisallow: /auth/\nDisallow: /ops\n"
}

fn load(name: &str, content_type: &'static str) -> Asset {
    let plain: Bytes = match Embedded::get(name) {
        Some(file) => file.data.into_owned().into(),
        None => unreachable!("{name} is embedded at build time; a test asks for each asset"),
    };
    let digest = ring::digest::digest(&ring::digest::SHA256, &plain);
    let hash = URL_SAFE_NO_PAD.encode(&digest.as_ref()[..NAME_HASH_BYTES]);
    let (stem, extension) = name.split_once('.').expect("an asset's name has one dot");
    Asset {
        url: format!("/assets/{stem}-{hash}.{extension}"),
        content_type,
        gzip: compress(&plain),
        plain,
    }
}

fn compress(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
        .into()
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offer| {
            let (name, quality) = offer.split_once(';').unwrap_or((offer, ""));
            name.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compressed sizes that are allowed: small enough for a phone on a train.
    const STYLE_BYTES_MAX: usize = 12 * 1024;
    const SCRIPT_BYTES_MAX: usize = 15 * 1024;

    #[test]
    fn assets_stay_small() {
        assert!(
            ASSETS.style.gzip.len() <= STYLE_BYTES_MAX,
            "style is {} bytes",
            ASSETS.style.gzip.len()
        );
        assert!(
            ASSETS.script.gzip.len() <= SCRIPT_BYTES_MAX,
            "script is {} bytes",
            ASSETS.script.gzip.len()
        );
    }

    #[test]
    fn gzip_is_sent_only_where_it_is_wanted() {
        for (offer, wanted) in [
            ("gzip, br", true),
            ("br", false),
            ("gzip;q=0", false),
            ("deflate, GZIP;q=0.5", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(offer));
            assert_eq!(accepts_gzip(&headers), wanted, "{offer}");
        }
    }
}
