//! The releases that one row replaces each other by: the one that ships, and the two after it.
//!
//! The one that ships is the services' own programs, in which there is nothing of the bench. The other two are played by the
//! bench, in which the next releases are compiled in (`events::tomorrow`): as different from those programs as a build of
//! another source would be, and made by the build that is there already.

use std::path::PathBuf;

use testkit::ProcessBuilder;

use crate::layout;
use crate::part::Part;

/// The variable that says which release the part is of that is played.
pub const RELEASE_VARIABLE: &str = "BOXOFFICE_FAULTS_RELEASE";

/// A release of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// The programs that ship.
    Today,
    /// Reads events and rows with a field more, and writes them as today.
    Tomorrow,
    /// Writes them with that field.
    Overmorrow,
}

impl Release {
    const ALL: [Self; 3] = [Self::Today, Self::Tomorrow, Self::Overmorrow];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Today => "today",
            Self::Tomorrow => "tomorrow",
            Self::Overmorrow => "overmorrow",
        }
    }

    /// What the part was started with, as this release of it.
    ///
    /// # Panics
    /// When the program that ships is not there: it is built first.
    pub fn of(self, part: Part, builder: ProcessBuilder) -> ProcessBuilder {
        let program = match self {
            Self::Today => ships(part),
            Self::Tomorrow | Self::Overmorrow => layout::program(),
        };
        builder.by(program).env(RELEASE_VARIABLE, self.name())
    }

    /// This process is of the release of that name from now on.
    ///
    /// # Errors
    /// When there is no such release, or it is not compiled in; a sentence.
    pub fn begin(name: &str) -> Result<(), String> {
        let release = Self::ALL.into_iter().find(|release| release.name() == name);
        release
            .ok_or_else(|| format!("`{name}` is no release"))?
            .begin_compiled_in()
    }

    #[cfg(feature = "failpoints")]
    fn begin_compiled_in(self) -> Result<(), String> {
        match self {
            Self::Today => events::tomorrow::Release::Today,
            Self::Tomorrow => events::tomorrow::Release::Tomorrow,
            Self::Overmorrow => events::tomorrow::Release::Overmorrow,
        }
        .begin();
        Ok(())
    }

    #[cfg(not(feature = "failpoints"))]
    fn begin_compiled_in(self) -> Result<(), String> {
        Err(format!("{} is not compiled in", self.name()))
    }
}

/// The service's own program, beside the bench.
fn ships(part: Part) -> PathBuf {
    let program = layout::program().with_file_name(part.name());
    assert!(
        program.is_file(),
        "the program `{}` is not at {}: build it first with `cargo build -p {0}`, in the profile of the bench",
        part.name(),
        program.display()
    );
    program
}
