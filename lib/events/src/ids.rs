//! The ids of things: UUIDv7, one type per thing, so that an order's id can't be passed for a ticket's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// A text that is not a UUID of version 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a valid id")]
pub struct IdError;

fn parse(text: &str) -> Result<Uuid, IdError> {
    // Only the hyphenated form is accepted: an id has one spelling, so that it can be compared as text.
    let id = Uuid::try_parse(text).map_err(|_| IdError)?;
    if text.len() == 36 && id.get_version_num() == 7 {
        Ok(id)
    } else {
        Err(IdError)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "Uuid", into = "Uuid")]
        pub struct $name(Uuid);

        impl $name {
            /// The id with these bytes; the caller vouches that they came from [`Self::to_bytes`].
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The sixteen bytes, in the order in which ids sort by age.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// When the id was made, to the millisecond, by the clock of whoever made it.
            pub fn created_at(self) -> Timestamp {
                let bytes = self.0.as_bytes();
                let millis = bytes[..6].iter().fold(0_i64, |acc, byte| (acc << 8) | i64::from(*byte));
                Timestamp::from_millis(millis)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl TryFrom<Uuid> for $name {
            type Error = IdError;
            fn try_from(id: Uuid) -> Result<Self, IdError> {
                if id.get_version_num() == 7 { Ok(Self(id)) } else { Err(IdError) }
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

id!(
    /// A person with an account.
    UserId
);
id!(
    /// A listing: what a seller offers, in one or more pieces.
    TicketId
);
id!(
    /// A buyer's order for pieces of one ticket.
    OrderId
);
id!(
    /// The payment of one order.
    PaymentId
);
id!(
    /// One sign-in of one person; the `sid` of its token.
    SessionId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let text = "019394b6-0c00-7000-8000-000000000001";
        assert_eq!(text.parse::<OrderId>().unwrap().to_string(), text);
        for wrong in [
            "",
            "x",
            "019394b60c0070008000000000000001",
            "5f2b0e9a-7f5c-4f0e-8f6a-0d8f4a1b2c3d",
            "{019394b6-0c00-7000-8000-000000000001}",
        ] {
            assert_eq!(wrong.parse::<OrderId>(), Err(IdError), "{wrong}");
        }
    }

    #[test]
    fn an_id_tells_its_age() {
        let id: TicketId = "019394b6-0c00-7000-8000-000000000001".parse().unwrap();
        assert_eq!(id.created_at().as_millis(), 0x0193_94b6_0c00);
    }
}
