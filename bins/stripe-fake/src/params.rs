//! Stripe's parameters: a form body (or a query) whose names nest with brackets, as in
//! `line_items[0][price_data][unit_amount]=1250`.
//!
//! They stay flat here, ordered by name: what an operation asks for it asks by its full name.

use std::collections::BTreeMap;

use ring::digest;

use crate::error::ApiError;
use crate::model::Metadata;

/// How many parameters one request may have.
const PARAMS_MAX: usize = 500;
/// Stripe's limits on metadata.
const METADATA_KEYS_MAX: usize = 50;
const METADATA_KEY_CHARACTERS_MAX: usize = 40;
const METADATA_VALUE_CHARACTERS_MAX: usize = 500;

/// The parameters of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(BTreeMap<String, String>);

impl Params {
    /// Parses a form body or a query.
    pub(crate) fn parse(encoded: &[u8]) -> Result<Self, ApiError> {
        let mut params = BTreeMap::new();
        let pairs = encoded
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty());
        for (position, pair) in pairs.enumerate() {
            if position >= PARAMS_MAX {
                return Err(ApiError::invalid(format!(
                    "A request may have at most {PARAMS_MAX} parameters."
                )));
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = percent_decoded(halves.next().unwrap_or_default())?;
            let value = percent_decoded(halves.next().unwrap_or_default())?;
            // `expand[]=a&expand[]=b`: nameless positions are numbered as they come.
            let name = match name.strip_suffix("[]") {
                Some(list) => format!("{list}[{position}]"),
                None => name,
            };
            params.insert(name, value);
        }
        Ok(Self(params))
    }

    /// The value of a parameter; an empty one counts as absent, as it does at Stripe.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The value of a parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| {
            ApiError::parameter(
                "parameter_missing",
                name,
                format!("Missing required param: {name}."),
            )
        })
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        self.get(name)
            .map(|value| {
                value.parse().map_err(|_| {
                    ApiError::parameter(
                        "parameter_invalid_integer",
                        name,
                        format!("Invalid integer: {value}"),
                    )
                })
            })
            .transpose()
    }

    /// Whether anything below `name[...]` was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        let nested = format!("{name}[");
        self.0.contains_key(name) || self.0.keys().any(|key| key.starts_with(&nested))
    }

    /// The positions `N` for which something like `name[N]...` was given, in order.
    pub(crate) fn positions(&self, name: &str) -> Vec<usize> {
        let nested = format!("{name}[");
        let mut positions: Vec<usize> = self
            .0
            .keys()
            .filter_map(|key| key.strip_prefix(&nested)?.split(']').next()?.parse().ok())
            .collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// The values of a plain list such as `expand[0]`, `expand[1]`.
    pub(crate) fn list(&self, name: &str) -> Vec<&str> {
        self.positions(name)
            .into_iter()
            .filter_map(|position| self.get(&format!("{name}[{position}]")))
            .collect()
    }

    /// The key and value pairs of `name[key]=value`.
    pub(crate) fn metadata(&self, name: &str) -> Result<Metadata, ApiError> {
        let nested = format!("{name}[");
        let mut metadata = Metadata::new();
        for (key, value) in &self.0 {
            let Some(key) = key.strip_prefix(&nested).and_then(|key| key.strip_suffix(']')) else {
                continue;
            };
            if key.chars().count() > METADATA_KEY_CHARACTERS_MAX {
                let limit = METADATA_KEY_CHARACTERS_MAX;
                return Err(ApiError::parameter_invalid(
                    name,
                    format!("Invalid metadata: keys must be at most {limit} characters long."),
                ));
            }
            if value.chars().count() > METADATA_VALUE_CHARACTERS_MAX {
                let limit = METADATA_VALUE_CHARACTERS_MAX;
                return Err(ApiError::parameter_invalid(
                    name,
                    format!("Invalid metadata: values must be at most {limit} characters long."),
                ));
            }
            if !value.is_empty() {
                metadata.insert(key.to_owned(), value.clone());
            }
        }
        if metadata.len() > METADATA_KEYS_MAX {
            let limit = METADATA_KEYS_MAX;
            return Err(ApiError::parameter_invalid(
                name,
                format!("Metadata can have at most {limit} keys."),
            ));
        }
        Ok(metadata)
    }

    /// Refuses any parameter whose outermost name is not one of these: Stripe does, and so a misspelt
    /// name is found here and not with a customer's money.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        for key in self.0.keys() {
            let outermost = key.split('[').next().unwrap_or(key);
            if !known.contains(&outermost) {
                return Err(ApiError::parameter(
                    "parameter_unknown",
                    outermost,
                    format!("Received unknown parameter: {outermost}"),
                ));
            }
        }
        Ok(())
    }

    /// A hash of all names and values, to tell whether two requests ask for the same thing.
    pub(crate) fn hash(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        for (name, value) in &self.0 {
            // Lengths keep `a=bc` and `ab=c` apart.
            context.update(format!("{}:{};", name.len(), value.len()).as_bytes());
            context.update(name.as_bytes());
            context.update(value.as_bytes());
        }
        hex(context.finish().as_ref())
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}

/// Undoes form encoding: `+` is a space and `%XX` a byte.
fn percent_decoded(encoded: &[u8]) -> Result<String, ApiError> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let Some(value) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
                    return Err(ApiError::invalid(
                        "Invalid request: a percent sign that encodes nothing.".to_owned(),
                    ));
                };
                decoded.push(value);
                rest = &after[2..];
            }
            other => decoded.push(*other),
        }
    }
    String::from_utf8(decoded)
        .map_err(|_| ApiError::invalid("Invalid request: the body is not UTF-8.".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_names_and_encoded_values_are_read() {
        let params = Params::parse(
            b"line_items%5B0%5D[price_data][product_data][name]=Caf%C3%A9+%26+bar&mode=payment&x=",
        )
        .expect("parses");
        assert_eq!(
            params.get("line_items[0][price_data][product_data][name]"),
            Some("Café & bar")
        );
        assert_eq!(params.positions("line_items"), vec![0]);
        assert_eq!(params.get("x"), None, "an empty value counts as absent");
        assert!(params.has("line_items"));
        assert!(!params.has("line"));
    }

    #[test]
    fn lists_come_with_and_without_positions() {
        let params = Params::parse(b"expand[]=a&expand[]=b").expect("parses");
        assert_eq!(params.list("expand"), vec!["a", "b"]);
        let params = Params::parse(b"expand[1]=b&expand[0]=a").expect("parses");
        assert_eq!(params.list("expand"), vec!["a", "b"]);
    }

    #[test]
    fn broken_encodings_are_refused() {
        for broken in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"%=1"] {
            assert!(Params::parse(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn the_hash_depends_on_names_and_values_and_not_on_their_order() {
        let hash = |body: &[u8]| Params::parse(body).expect("parses").hash();
        assert_eq!(hash(b"a=1&b=2"), hash(b"b=2&a=1"));
        assert_ne!(hash(b"a=1&b=2"), hash(b"a=1&b=3"));
        assert_ne!(hash(b"a=bc"), hash(b"ab=c"));
    }

    #[test]
    fn metadata_has_stripes_limits() {
        let long = format!("metadata[k]={}", "v".repeat(501));
        assert!(
            Params::parse(long.as_bytes())
                .expect("parses")
                .metadata("metadata")
                .is_err()
        );
        let long = format!("metadata[{}]=v", "k".repeat(41));
        assert!(
            Params::parse(long.as_bytes())
                .expect("parses")
                .metadata("metadata")
                .is_err()
        );
        let many: Vec<String> = (0..51).map(|n| format!("metadata[k{n}]=v")).collect();
        assert!(
            Params::parse(many.join("&").as_bytes())
                .expect("parses")
                .metadata("metadata")
                .is_err()
        );
        let good = Params::parse(b"metadata[order_id]=o1&metadata[x]=").expect("parses");
        assert_eq!(
            good.metadata("metadata")
                .expect("valid")
                .get("order_id")
                .map(String::as_str),
            Some("o1")
        );
    }
}
