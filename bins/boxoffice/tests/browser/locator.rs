//! How tests point at things on a page and at keys: by the words that a person sees.

use serde_json::{Value, json};

/// How a person finds something on a page.
#[derive(Debug, Clone)]
pub(crate) enum By {
    /// A selector, for what has no words of its own.
    Css(String),
    /// A button, by what it says.
    Button(String),
    /// A link, by what it says.
    Link(String),
    /// A field, by its label.
    Field(&'static str),
    /// What unfolds, by its summary.
    Unfold(&'static str),
}

/// A key without a letter, as WebDriver numbers them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key(pub(crate) char);

impl Key {
    pub(crate) const ENTER: Self = Self('\u{E007}');
    pub(crate) const TAB: Self = Self('\u{E004}');
}

impl By {
    pub(crate) fn css(selector: impl Into<String>) -> Self {
        Self::Css(selector.into())
    }

    pub(crate) fn button(text: impl Into<String>) -> Self {
        Self::Button(text.into())
    }

    pub(crate) fn link(text: impl Into<String>) -> Self {
        Self::Link(text.into())
    }

    /// The same in WebDriver's words.
    pub(crate) fn locator(&self) -> Value {
        let xpath = |path: String| json!({ "using": "xpath", "value": path });
        match self {
            Self::Css(selector) => json!({ "using": "css selector", "value": selector }),
            Self::Button(text) => xpath(format!("//button[normalize-space()={}]", quoted(text))),
            Self::Link(text) => xpath(format!("//a[normalize-space()={}]", quoted(text))),
            Self::Field(label) => xpath(format!(
                "//*[@id=//label[normalize-space()={}]/@for]",
                quoted(label)
            )),
            Self::Unfold(text) => xpath(format!("//summary[normalize-space()={}]", quoted(text))),
        }
    }
}

/// A text as XPath writes it; none of ours has both kinds of quotes.
fn quoted(text: &str) -> String {
    if text.contains('\'') {
        format!("\"{text}\"")
    } else {
        format!("'{text}'")
    }
}
