//! serde's errors in the words of the contract: which field, and what it must be.

use std::fmt::Display;

use errors::{FieldError, Problem};

/// What is wrong with a value at `path`, as serde says it in `message`.
pub(crate) fn problem(whole: &str, path: &str, message: &str) -> Problem {
    // serde_json adds where in the text it stopped; for a value that is read but not accepted that says nothing.
    let message = message.rfind(" at line ").map_or(message, |end| &message[..end]);
    let at = |name: &str| match path.strip_suffix(name) {
        // For an unknown or doubled field the path ends with its name already.
        Some("") => name.to_owned(),
        Some(parent) if parent.ends_with('.') && parent.len() > 1 => path.to_owned(),
        _ if path == "." || path.is_empty() => name.to_owned(),
        _ => format!("{path}.{name}"),
    };
    if let Some(name) = quoted_after(message, "missing field `") {
        let field = at(name);
        return Problem::invalid_field(field.clone(), format!("{} is required", label(&field)));
    }
    if let Some(name) = quoted_after(message, "unknown field `") {
        return Problem::invalid_field(at(name), format!("`{name}` is not a known field"));
    }
    if let Some(name) = quoted_after(message, "duplicate field `") {
        let field = at(name);
        return Problem::invalid_field(field.clone(), format!("{} is given twice", label(&field)));
    }
    let root = path == "." || path.is_empty();
    let subject = if root { format!("The {whole}") } else { label(path) };
    let sentence = match message.split_once(", expected ") {
        Some((_, expected)) => format!("{subject} must be {}", expectation(expected)),
        None if is_number_error(message) => format!("{subject} must be a whole number in range"),
        None => format!("{subject} {message}"),
    };
    if root {
        Problem::invalid(vec![FieldError::general(sentence)])
    } else {
        Problem::invalid_field(path, sentence)
    }
}

/// What is wrong with a text that could not be read at all.
pub(crate) fn unreadable(whole: &str, error: impl Display) -> Problem {
    Problem::bad_request(format!("The {whole} can't be read: {error}"))
}

/// A field's name as a person would say it: `startsAt` is "Starts at".
fn label(field: &str) -> String {
    let mut words = String::with_capacity(field.len() + 4);
    for (index, letter) in field.chars().enumerate() {
        if index == 0 {
            words.extend(letter.to_uppercase());
        } else if letter.is_uppercase() {
            words.push(' ');
            words.extend(letter.to_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

fn quoted_after<'a>(message: &'a str, start: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.split('`').next()
}

fn is_number_error(message: &str) -> bool {
    message.contains("invalid digit")
        || message.contains("number too")
        || message.contains("cannot parse integer")
}

fn expectation(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64" | "usize" => "a whole number in range",
        "f32" | "f64" => "a number",
        "a string" | "a borrowed string" | "string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other if other.starts_with("struct ") || other.starts_with("a map") => "an object",
        other => other,
    }
}
