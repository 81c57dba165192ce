//! The cookie that carries a token between a browser and the services.

use http::{HeaderMap, HeaderValue, header};

use crate::claims::TOKEN_SECONDS;

/// How the session cookie is called and protected; it depends on whether the site is served over https.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookies {
    secure: bool,
}

impl Cookies {
    /// The cookies of a site at `public_url`: `__Host-session; Secure` under https, `session` otherwise (a
    /// browser drops a Secure cookie that comes over plain http from anywhere but localhost).
    pub fn for_site(public_url: &str) -> Self {
        let scheme = public_url.get(..8).unwrap_or_default();
        Self {
            secure: scheme.eq_ignore_ascii_case("https://"),
        }
    }

    /// The cookie's name.
    pub const fn name(self) -> &'static str {
        if self.secure { "__Host-session" } else { "session" }
    }

    /// The `Set-Cookie` that signs a browser in. The token must be one that this system has made.
    pub fn set(self, token: &str) -> HeaderValue {
        self.header(token, TOKEN_SECONDS)
    }

    /// The `Set-Cookie` that signs a browser out.
    pub fn clear(self) -> HeaderValue {
        self.header("", 0)
    }

    /// The token in a request's cookies, if there is one.
    pub(crate) fn find(self, headers: &HeaderMap) -> Option<&str> {
        headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(name, value)| *name == self.name() && !value.is_empty())
            .map(|(_, value)| value)
    }

    fn header(self, value: &str, seconds: u64) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}",
            self.name()
        );
        HeaderValue::from_str(&text).expect("a JWT is base64url and dots, which a header may hold")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_gets_the_host_prefix() {
        let plain = Cookies::for_site("http://localhost:8080").set("a.b.c");
        assert_eq!(
            plain,
            "session=a.b.c; HttpOnly; SameSite=Lax; Path=/; Max-Age=43200"
        );
        let secure = Cookies::for_site("HTTPS://tickets.example").set("a.b.c");
        assert_eq!(
            secure,
            "__Host-session=a.b.c; HttpOnly; SameSite=Lax; Path=/; Max-Age=43200; Secure"
        );
        assert_eq!(
            Cookies::for_site("").clear(),
            "session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"
        );
    }

    #[test]
    fn only_the_site_s_own_cookie_is_read() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("visitor=1; session=plain"),
        );
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-session=secure"));
        assert_eq!(Cookies::for_site("http://x").find(&headers), Some("plain"));
        assert_eq!(Cookies::for_site("https://x").find(&headers), Some("secure"));
    }
}
