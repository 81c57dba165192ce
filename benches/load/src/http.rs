//! A lean HTTP/1.1 client: keep-alive, no TLS, one request at a time on a connection, buffers that are used again.
//!
//! The load generator shares its cores with the system that it measures, so that every microsecond spent here is one
//! that the system does not have. It is no client for anything else: it follows no redirects and keeps no cookies.

mod answer;
mod connection;

pub use answer::Answer;
pub use connection::{Connection, HttpError, REQUEST_SECONDS_MAX};

use std::io::Write as _;

/// What is sent in a body.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// Nothing.
    None,
    /// JSON.
    Json(&'a [u8]),
    /// A form, as a browser sends it.
    Form(&'a [u8]),
}

/// A request, borrowed from whoever makes it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// What goes into `Cookie`, if anything.
    pub cookie: Option<&'a str>,
    /// Further headers.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Body<'a>,
}

impl<'a> Request<'a> {
    /// A GET of anybody's.
    pub fn get(path: &'a str) -> Self {
        Self {
            method: "GET",
            path,
            cookie: None,
            headers: &[],
            body: Body::None,
        }
    }

    /// A POST of JSON.
    pub fn post(path: &'a str, json: &'a [u8]) -> Self {
        Self {
            method: "POST",
            body: Body::Json(json),
            ..Self::get(path)
        }
    }

    /// A POST of a form.
    pub fn form(path: &'a str, form: &'a [u8]) -> Self {
        Self {
            method: "POST",
            body: Body::Form(form),
            ..Self::get(path)
        }
    }

    /// A DELETE.
    pub fn delete(path: &'a str) -> Self {
        Self {
            method: "DELETE",
            ..Self::get(path)
        }
    }

    /// The same, with a cookie.
    #[must_use]
    pub fn cookie(self, cookie: &'a str) -> Self {
        Self {
            cookie: Some(cookie),
            ..self
        }
    }

    /// The same, with these headers.
    #[must_use]
    pub fn headers(self, headers: &'a [(&'a str, &'a str)]) -> Self {
        Self { headers, ..self }
    }

    /// Whether doing it twice is doing it once.
    fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "DELETE" | "PUT")
    }

    /// The bytes on the wire.
    fn write(&self, host: &str, out: &mut Vec<u8>) {
        out.clear();
        let (kind, body): (_, &[u8]) = match self.body {
            Body::None => ("", b""),
            Body::Json(body) => ("application/json", body),
            Body::Form(body) => ("application/x-www-form-urlencoded", body),
        };
        let Self { method, path, .. } = self;
        let written = (|| {
            write!(out, "{method} {path} HTTP/1.1\r\nhost: {host}\r\n")?;
            if let Some(cookie) = self.cookie {
                write!(out, "cookie: {cookie}\r\n")?;
            }
            for (name, value) in self.headers {
                write!(out, "{name}: {value}\r\n")?;
            }
            if !kind.is_empty() {
                write!(out, "content-type: {kind}\r\n")?;
            }
            if *method == "POST" || *method == "PUT" || !body.is_empty() {
                write!(out, "content-length: {}\r\n", body.len())?;
            }
            out.write_all(b"\r\n")?;
            out.write_all(body)
        })();
        written.expect("a vector takes all that is written into it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_on_the_wire() {
        let mut out = Vec::new();
        let headers = [("prefer", "wait=5")];
        let request = Request::post("/api/orders", b"{}")
            .cookie("session=x")
            .headers(&headers);
        request.write("127.0.0.1:80", &mut out);
        let expected = "POST /api/orders HTTP/1.1\r\nhost: 127.0.0.1:80\r\ncookie: session=x\r\nprefer: wait=5\r\n\
                        content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
