//! Someone who operates the system: gives `boxoffice` commands and reads what it says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testkit::Process;

use crate::harness::{Deployment, System};
use crate::layout::{Ingress, OPERATOR_TOKEN};

/// How long a command may take: longer than any of them waits for anything (`rotate-key` waits for two minutes at most), so that
/// a command which has waited in vain can still say so.
const COMMAND_MAX: Duration = Duration::from_secs(200);

/// Where an operator works, and how the services are reached from there.
pub(crate) struct Operator {
    data_dir: PathBuf,
    ingress: Option<Ingress>,
}

/// What a command has said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Operator {
    /// Of a system in one process: over its control socket. Of separate processes: at their addresses, with the token.
    pub(crate) fn of(system: &System, deployment: Deployment) -> Self {
        Self {
            data_dir: system.data_dir().to_owned(),
            ingress: (deployment == Deployment::Separate).then(|| (*system.ingress).clone()),
        }
    }

    /// Of the stores in a directory.
    pub(crate) fn of_stores(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            ingress: None,
        }
    }

    /// Carries out a command: words, split at blanks.
    pub(crate) fn does(&self, command: &str) -> Said {
        let words = command.split_whitespace();
        let mut program = Process::of("boxoffice").env("BOXOFFICE_DATA_DIR", &self.data_dir);
        for word in words {
            program = program.arg(word);
        }
        if let Some(ingress) = &self.ingress {
            program = program
                .env("BOXOFFICE_OPERATOR_TOKEN", OPERATOR_TOKEN)
                .env("AUTH_URL", &ingress.auth)
                .env("TICKETS_URL", &ingress.tickets)
                .env("ORDERS_URL", &ingress.orders)
                .env("EXPIRATION_URL", &ingress.expiration)
                .env("PAYMENTS_URL", &ingress.payments);
        }
        let mut process = program.spawn();
        let status = process.wait(COMMAND_MAX);
        Said {
            code: status.code().expect("a command ends by itself"),
            out: process.stdout(),
            err: process.stderr(),
        }
    }

    /// Verifies, and expects that nothing is wrong.
    #[track_caller]
    pub(crate) fn finds_nothing_wrong(&self) {
        let said = self.does("verify --within 30s");
        assert_eq!(said.code, 0, "{said:#?}");
        assert!(said.out.contains("Nothing is wrong."), "{said:#?}");
    }
}

impl Said {
    /// It ended so, and said all of this.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        for words in words {
            assert!(
                self.out.contains(words) || self.err.contains(words),
                "`{words}` is not in {self:#?}"
            );
        }
    }

    /// What was printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}
