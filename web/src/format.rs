//! Amounts, dates and URLs as people read them. Pure: text in, text out, the present moment as an argument.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::api::Decimal;

/// Currencies with a sign of their own, and how many decimals each has where that is not two.
const SIGNS: [(&str, &str); 5] = [
    ("usd", "$"),
    ("eur", "€"),
    ("gbp", "£"),
    ("jpy", "¥"),
    ("inr", "₹"),
];
const WITHOUT_DECIMALS: [&str; 16] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof",
    "xpf",
];
const WITH_THREE_DECIMALS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// An amount with its currency, like `$1,250.00` or `CHF 12.50`.
pub(crate) fn money(amount: &Decimal, currency: &str) -> String {
    let currency = currency.to_ascii_lowercase();
    let (negative, digits) = match amount.as_str().strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, amount.as_str()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut out = String::with_capacity(24);
    if negative {
        out.push('−');
    }
    match SIGNS.iter().find(|(code, _)| *code == currency) {
        Some((_, sign)) => out.push_str(sign),
        None => {
            out.push_str(&currency.to_ascii_uppercase());
            out.push('\u{a0}');
        }
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    push_fraction(&mut out, fraction, decimals(&currency));
    out
}

/// An amount as one types it into a form: `1250.00`.
pub(crate) fn plain(amount: &Decimal, currency: &str) -> String {
    let (whole, fraction) = amount.as_str().split_once('.').unwrap_or((amount.as_str(), ""));
    let mut out = whole.to_owned();
    push_fraction(&mut out, fraction, decimals(&currency.to_ascii_lowercase()));
    out
}

/// Digits beyond the currency's own are shown, not cut: a wrong amount must not look right.
fn push_fraction(out: &mut String, fraction: &str, decimals: usize) {
    let fraction = fraction.trim_end_matches('0');
    if decimals > 0 || !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
        for _ in fraction.len()..decimals {
            out.push('0');
        }
    }
}

fn decimals(currency: &str) -> usize {
    if WITHOUT_DECIMALS.contains(&currency) {
        0
    } else if WITH_THREE_DECIMALS.contains(&currency) {
        3
    } else {
        2
    }
}

/// A moment, in the zone that it was given in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    zoned: Zoned,
    zone: String,
}

impl Moment {
    /// Reads RFC 3339, with or without a zone's name in brackets. What cannot be read is no moment.
    pub(crate) fn parse(text: &str) -> Option<Moment> {
        if text.contains('[')
            && let Ok(zoned) = text.parse::<Zoned>()
        {
            return Some(Moment::of(zoned));
        }
        let timestamp: Timestamp = text.parse().ok()?;
        let zone = jiff::fmt::temporal::Pieces::parse(text)
            .ok()
            .and_then(|pieces| pieces.to_numeric_offset())
            .map_or(TimeZone::UTC, TimeZone::fixed);
        Some(Moment::of(timestamp.to_zoned(zone)))
    }

    /// When a show begins, on the clock of its place (a zone's name or an offset like `-08:00`), where said.
    pub(crate) fn of_show(starts_at: Option<&str>, zone: Option<&str>) -> Option<Moment> {
        let moment = Moment::parse(starts_at?)?;
        let Some(zone) = zone.and_then(zone_by_name) else {
            return Some(moment);
        };
        Some(Moment::of(moment.zoned.with_time_zone(zone)))
    }

    fn of(zoned: Zoned) -> Moment {
        let zone =
            if zoned.offset().is_zero() && zoned.time_zone().iana_name().is_none_or(|name| name == "UTC") {
                "UTC".to_owned()
            } else if zoned.time_zone().iana_name().is_some() {
                zoned.strftime("%Z").to_string()
            } else {
                offset_name(zoned.offset().seconds())
            };
        Moment { zoned, zone }
    }

    /// For the `datetime` attribute.
    pub(crate) fn machine(&self) -> String {
        self.zoned.timestamp().to_string()
    }

    /// Like `Sat 12 June 2027, 20:00`.
    pub(crate) fn long(&self) -> String {
        self.zoned.strftime("%a %-d %B %Y, %H:%M").to_string()
    }

    /// Like `12 Jun 2027, 20:00`.
    pub(crate) fn short(&self) -> String {
        self.zoned.strftime("%-d %b %Y, %H:%M").to_string()
    }

    /// Like `20:00`.
    pub(crate) fn clock(&self) -> String {
        self.zoned.strftime("%H:%M").to_string()
    }

    /// Like `Sat`.
    pub(crate) fn weekday(&self) -> String {
        self.zoned.strftime("%a").to_string()
    }

    /// Like `12`.
    pub(crate) fn day(&self) -> String {
        self.zoned.strftime("%-d").to_string()
    }

    /// Like `Jun`.
    pub(crate) fn month(&self) -> String {
        self.zoned.strftime("%b").to_string()
    }

    /// Like `2027`.
    pub(crate) fn year(&self) -> String {
        self.zoned.strftime("%Y").to_string()
    }

    /// The zone's short name, like `CEST`, `UTC` or `UTC+2`.
    pub(crate) fn zone(&self) -> &str {
        &self.zone
    }

    /// The zone's full name where it has one, for a form.
    pub(crate) fn zone_name(&self) -> &str {
        self.zoned.time_zone().iana_name().unwrap_or("UTC")
    }

    /// The same moment as a form's date and time in the zone of [`Moment::zone_name`].
    pub(crate) fn form_value(&self) -> String {
        let zoned = match self.zoned.time_zone().iana_name() {
            Some(_) => self.zoned.clone(),
            None => self.zoned.with_time_zone(TimeZone::UTC),
        };
        zoned.strftime("%Y-%m-%dT%H:%M").to_string()
    }

    /// The moment as a timestamp.
    pub(crate) fn timestamp(&self) -> Timestamp {
        self.zoned.timestamp()
    }
}

/// Like `UTC−8` or `UTC+5:30`, with a minus sign at which no line breaks.
fn offset_name(seconds: i32) -> String {
    let sign = if seconds < 0 { '−' } else { '+' };
    let minutes = seconds.unsigned_abs() / 60;
    match minutes % 60 {
        0 => format!("UTC{sign}{}", minutes / 60),
        rest => format!("UTC{sign}{}:{rest:02}", minutes / 60),
    }
}

/// A zone by its name, or by its offset.
fn zone_by_name(zone: &str) -> Option<TimeZone> {
    if zone == "UTC" {
        return Some(TimeZone::UTC);
    }
    if !zone.starts_with(['+', '-']) {
        return TimeZone::get(zone).ok();
    }
    // An offset is written like a moment's, and read by the same rules.
    let pieces = format!("1970-01-01T00:00:00{zone}");
    let offset = jiff::fmt::temporal::Pieces::parse(&pieces)
        .ok()?
        .to_numeric_offset()?;
    Some(TimeZone::fixed(offset))
}

/// A form's date and time in a named zone, as RFC 3339 with that zone; nothing if either cannot be read.
pub(crate) fn with_zone(local: &str, zone: &str) -> Option<String> {
    let local: DateTime = local.parse().ok()?;
    let zone = TimeZone::get(zone).ok()?;
    Some(local.to_zoned(zone).ok()?.to_string())
}

/// The time that is left, in the words of a page without a script: `12 minutes`, `40 seconds`.
pub(crate) fn time_left(now: Timestamp, until: Timestamp) -> String {
    let seconds = until.as_second() - now.as_second();
    match seconds {
        ..=0 => "no time".to_owned(),
        1 => "1 second".to_owned(),
        2..=119 => format!("{seconds} seconds"),
        120.. => format!("{} minutes", seconds / 60),
    }
}

/// `1 ticket`, `3 tickets`.
pub(crate) fn pieces(count: u64) -> String {
    if count == 1 {
        "1 ticket".to_owned()
    } else {
        format!("{} tickets", grouped(count))
    }
}

/// A number with commas between its thousands.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Percent-encodes a value for a query.
pub(crate) fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&format!("{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Decimal {
        serde_json::from_str(&format!("\"{text}\"")).unwrap()
    }

    #[test]
    fn amounts_are_written_by_their_currency() {
        for (text, currency, shown) in [
            ("45", "usd", "$45.00"),
            ("45.5", "usd", "$45.50"),
            ("1250000.05", "eur", "€1,250,000.05"),
            ("100000.0", "jpy", "¥100,000"),
            ("12.5", "chf", "CHF\u{a0}12.50"),
            ("1.25", "kwd", "KWD\u{a0}1.250"),
            ("0.999", "usd", "$0.999"),
            ("-3", "gbp", "−£3.00"),
        ] {
            assert_eq!(money(&amount(text), currency), shown);
        }
        for (text, currency, typed) in [
            ("1249.5", "usd", "1249.50"),
            ("45", "EUR", "45.00"),
            ("100000", "jpy", "100000"),
        ] {
            assert_eq!(plain(&amount(text), currency), typed);
        }
    }

    #[test]
    fn moments_name_their_zone() {
        let berlin = Moment::parse("2027-06-12T20:00:00+02:00[Europe/Berlin]").unwrap();
        assert_eq!(
            (berlin.long().as_str(), berlin.zone()),
            ("Sat 12 June 2027, 20:00", "CEST")
        );
        assert_eq!(
            (berlin.form_value().as_str(), berlin.zone_name()),
            ("2027-06-12T20:00", "Europe/Berlin")
        );
        assert_eq!(berlin.machine(), "2027-06-12T18:00:00Z");
        let offset = Moment::parse("2027-06-12T20:00:00-05:30").unwrap();
        assert_eq!((offset.clock().as_str(), offset.zone()), ("20:00", "UTC−5:30"));
        assert_eq!(
            (offset.form_value().as_str(), offset.zone_name()),
            ("2027-06-13T01:30", "UTC")
        );
        let utc = Moment::parse("2027-06-12T18:00:00Z").unwrap();
        assert_eq!((utc.short().as_str(), utc.zone()), ("12 Jun 2027, 18:00", "UTC"));
        assert_eq!(Moment::parse("tomorrow"), None);
    }

    #[test]
    fn a_show_is_told_on_the_clock_of_its_place() {
        let show = |zone| Moment::of_show(Some("2027-06-12T18:00:00Z"), zone).unwrap();
        for (zone, clock, name) in [
            (Some("Europe/Oslo"), "20:00", "CEST"),
            (Some("-08:00"), "10:00", "UTC−8"),
            (Some("+05:30"), "23:30", "UTC+5:30"),
            (Some("UTC"), "18:00", "UTC"),
            (Some("Mars/Olympus"), "18:00", "UTC"),
            (Some("+nonsense"), "18:00", "UTC"),
            (None, "18:00", "UTC"),
        ] {
            assert_eq!(
                (show(zone).clock().as_str(), show(zone).zone()),
                (clock, name),
                "{zone:?}"
            );
        }
        assert_eq!(Moment::of_show(None, Some("Europe/Oslo")), None);
    }

    #[test]
    fn a_form_s_time_gets_its_zone() {
        assert_eq!(
            with_zone("2027-06-12T20:00", "Europe/Berlin").as_deref(),
            Some("2027-06-12T20:00:00+02:00[Europe/Berlin]")
        );
        assert_eq!(with_zone("2027-06-12T20:00", "Mars/Olympus"), None);
        assert_eq!(with_zone("soon", "UTC"), None);
    }

    #[test]
    fn time_left_is_told_in_words() {
        let now = Timestamp::from_second(1_000).unwrap();
        for (until, words) in [
            (0, "no time"),
            (1_001, "1 second"),
            (1_090, "90 seconds"),
            (1_899, "14 minutes"),
        ] {
            assert_eq!(time_left(now, Timestamp::from_second(until).unwrap()), words);
        }
    }

    #[test]
    fn values_are_encoded_for_a_query() {
        assert_eq!(encode("a b&c=ü/"), "a%20b%26c%3D%C3%BC%2F");
    }
}
