//! When a show begins, on the clock of the place where it happens.

use std::fmt;
use std::str::FromStr;

use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::Offset;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Timestamp;

/// The longest text that is read as a show's time.
const TEXT_BYTES_MAX: usize = 96;

/// A moment with the clock that it is read on: RFC 3339 with an offset, or with a named zone as RFC 9557 writes it
/// (`2027-05-01T20:00:00+02:00[Europe/Berlin]`). It is kept in one normal spelling, so that equal times are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ShowTime {
    text: String,
    at: Timestamp,
}

/// A text that is not a date and time with a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a date and time with a zone, such as 2027-05-01T20:00:00+02:00")]
pub struct ShowTimeError;

impl ShowTime {
    /// The moment.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// The clock that it is read on: a zone's name (`Europe/Berlin`) or an offset (`+02:00`); `UTC` for neither.
    pub fn zone(&self) -> &str {
        if let Some((_, name)) = self.text.split_once('[') {
            return name.trim_end_matches(']');
        }
        // After the date, the next sign begins the offset.
        let time = self.text.find('T').map_or(0, |start| start + 1);
        match self.text[time..].find(['+', '-']) {
            Some(offset) => &self.text[time + offset..],
            None => "UTC",
        }
    }

    /// The normal spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ShowTime {
    type Err = ShowTimeError;

    fn from_str(text: &str) -> Result<Self, ShowTimeError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ShowTimeError);
        }
        let pieces = DateTimeParser::new()
            .parse_pieces(text)
            .map_err(|_| ShowTimeError)?;
        let (text, at) = if pieces.time_zone_annotation().is_some() {
            // A zone and an offset that contradict each other are refused here.
            let zoned: jiff::Zoned = text.parse().map_err(|_| ShowTimeError)?;
            (zoned.to_string(), zoned.timestamp())
        } else {
            let at: jiff::Timestamp = text.parse().map_err(|_| ShowTimeError)?;
            let offset = pieces.to_numeric_offset().ok_or(ShowTimeError)?;
            let text = if offset == Offset::UTC {
                at.to_string()
            } else {
                at.display_with_offset(offset).to_string()
            };
            (text, at)
        };
        Ok(Self {
            text,
            at: Timestamp::from_micros(at.as_microsecond()),
        })
    }
}

impl fmt::Display for ShowTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for ShowTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for ShowTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String, String) {
        let time: ShowTime = text.parse().unwrap_or_else(|error| panic!("{text} {error}"));
        (time.to_string(), time.zone().to_owned(), time.at().to_string())
    }

    fn expect(text: &str, normal: &str, zone: &str, at: &str) {
        assert_eq!(read(text), (normal.to_owned(), zone.to_owned(), at.to_owned()));
        assert_eq!(read(normal).0, normal, "the normal spelling is a fixed point");
    }

    #[test]
    fn a_show_keeps_its_clock() {
        expect(
            "2027-05-01T20:00:00+02:00",
            "2027-05-01T20:00:00+02:00",
            "+02:00",
            "2027-05-01T18:00:00Z",
        );
        expect(
            "2027-05-01T20:00-08:00",
            "2027-05-01T20:00:00-08:00",
            "-08:00",
            "2027-05-02T04:00:00Z",
        );
        expect(
            "2027-05-01T20:00:00Z",
            "2027-05-01T20:00:00Z",
            "UTC",
            "2027-05-01T20:00:00Z",
        );
        expect(
            "2027-05-01T20:00:00+00:00",
            "2027-05-01T20:00:00Z",
            "UTC",
            "2027-05-01T20:00:00Z",
        );
        expect(
            "2027-05-01T20:00:00+02:00[Europe/Berlin]",
            "2027-05-01T20:00:00+02:00[Europe/Berlin]",
            "Europe/Berlin",
            "2027-05-01T18:00:00Z",
        );
        expect(
            "2027-05-01T20:00[America/Los_Angeles]",
            "2027-05-01T20:00:00-07:00[America/Los_Angeles]",
            "America/Los_Angeles",
            "2027-05-02T03:00:00Z",
        );
    }

    #[test]
    fn a_time_without_a_clock_is_refused() {
        for wrong in [
            "",
            "tomorrow",
            "2027-05-01",
            "2027-05-01T20:00:00",
            "2027-02-30T20:00:00Z",
            "2027-05-01T20:00:00+05:00[Europe/Berlin]",
            "2027-05-01T20:00:00+02:00[Europe/Atlantis]",
            "20:00+02:00",
        ] {
            assert_eq!(wrong.parse::<ShowTime>(), Err(ShowTimeError), "{wrong}");
        }
        assert_eq!("9".repeat(500).parse::<ShowTime>(), Err(ShowTimeError));
    }
}
