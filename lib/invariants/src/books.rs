//! The books: what is checked.

use events::Source;
use serde::{Deserialize, Serialize};

use crate::{Account, Fact};

/// Accounts and facts of one service or of several.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Books {
    /// One for each service whose books these are.
    pub accounts: Vec<Account>,
    /// What their rows say.
    pub facts: Vec<Fact>,
}

/// One page of a service's books, as `/internal/books` answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Page {
    /// On the first page only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// What the rows of this page say.
    pub facts: Vec<Fact>,
    /// What to ask for next as `after`; nothing on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Books {
    /// Adds a page of a service's books.
    pub fn add(&mut self, page: Page) {
        self.accounts.extend(page.account);
        self.facts.extend(page.facts);
    }

    /// A service's account, if its books are among these.
    pub fn account(&self, source: Source) -> Option<&Account> {
        self.accounts.iter().find(|account| account.source == source)
    }

    /// Whether these are the books of a service that serves. Only then does the absence of a fact say anything.
    pub fn knows(&self, source: Source) -> bool {
        self.account(source).is_some_and(|account| account.serving)
    }
}
