//! Conversions between counts, times and the floats that rates and percentiles are.

use std::time::Duration;

/// A count as a float. Beyond 2^53 it would be rounded, which no count here reaches.
pub fn float(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
    let float = count as f64;
    float
}

/// A length as a float.
pub fn float_len(length: usize) -> f64 {
    float(u64::try_from(length).unwrap_or(u64::MAX))
}

/// A float as a count: nothing for what is negative or no number.
pub fn whole(value: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and that is what is wanted"
    )]
    let whole = value.max(0.0).round() as u64;
    whole
}

/// Whole microseconds of a time.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds as milliseconds.
pub fn millis_of(micros: u64) -> f64 {
    float(micros) / 1_000.0
}

/// So many of these for each of those; nothing where there are none of those.
pub fn per(these: f64, those: f64) -> f64 {
    if those > 0.0 { these / those } else { 0.0 }
}

/// Rounded to `digits` behind the point, so that results are written as exactly as they are known.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_count_becomes_none() {
        assert_eq!(whole(-3.0), 0);
        assert_eq!(whole(f64::NAN), 0);
        assert_eq!(whole(2.5), 3);
        assert!(per(1.0, 0.0).abs() < f64::EPSILON);
        assert!((rounded(1.23456, 2) - 1.23).abs() < 1e-9);
    }
}
