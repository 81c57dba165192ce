//! Stripe's test cards: which numbers there are and how the bank behind each answers.
//!
//! A card's number passes through here and is forgotten: what is kept is its brand and its last four digits.

use crate::clock::Seconds;
use crate::model::CardFailure;

/// How the bank behind a test card answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Approved,
    /// Approved, but only after its holder has confirmed the payment to the bank (3-D Secure).
    NeedsConfirmation,
    /// Approved now; the capture that follows is refused.
    FailsAtCapture,
    Declined(Decline),
}

/// How a bank says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decline {
    code: &'static str,
    decline_code: Option<&'static str>,
    message: &'static str,
}

impl Decline {
    pub(crate) fn failure(self) -> CardFailure {
        CardFailure {
            code: self.code.to_owned(),
            decline_code: self.decline_code.map(str::to_owned),
            message: self.message.to_owned(),
        }
    }
}

/// One of the cards that the payment page lists.
#[derive(Debug)]
pub(crate) struct TestCard {
    pub(crate) number: &'static str,
    pub(crate) brand: &'static str,
    pub(crate) effect: &'static str,
    pub(crate) outcome: Outcome,
}

const fn declined(code: &'static str, decline_code: Option<&'static str>, message: &'static str) -> Outcome {
    Outcome::Declined(Decline {
        code,
        decline_code,
        message,
    })
}

/// The cards that are known; the first is the one that the page has filled in.
pub(crate) const TEST_CARDS: &[TestCard] = &[
    TestCard {
        number: "4242424242424242",
        brand: "visa",
        effect: "Succeeds",
        outcome: Outcome::Approved,
    },
    TestCard {
        number: "5555555555554444",
        brand: "mastercard",
        effect: "Succeeds",
        outcome: Outcome::Approved,
    },
    TestCard {
        number: "4000000000003220",
        brand: "visa",
        effect: "Asks for confirmation (3-D Secure)",
        outcome: Outcome::NeedsConfirmation,
    },
    TestCard {
        number: "4000000000000002",
        brand: "visa",
        effect: "Declined",
        outcome: declined(
            "card_declined",
            Some("generic_decline"),
            "Your card was declined.",
        ),
    },
    TestCard {
        number: "4000000000009995",
        brand: "visa",
        effect: "Insufficient funds",
        outcome: declined(
            "card_declined",
            Some("insufficient_funds"),
            "Your card has insufficient funds.",
        ),
    },
    TestCard {
        number: "4000000000000069",
        brand: "visa",
        effect: "Expired card",
        outcome: declined("expired_card", None, "Your card has expired."),
    },
    TestCard {
        number: "4000000000000127",
        brand: "visa",
        effect: "Wrong security code",
        outcome: declined("incorrect_cvc", None, "Your card's security code is incorrect."),
    },
    TestCard {
        number: "4000000000000119",
        brand: "visa",
        effect: "Processing error",
        outcome: declined(
            "processing_error",
            None,
            "An error occurred while processing your card. Try again in a little bit.",
        ),
    },
    TestCard {
        number: "4000000000000341",
        brand: "visa",
        effect: "Authorised now, capture fails later",
        outcome: Outcome::FailsAtCapture,
    },
];

/// What Stripe says of a real card in test mode.
const NOT_A_TEST_CARD: Decline = Decline {
    code: "card_declined",
    decline_code: Some("test_mode_live_card"),
    message: "Your card was declined. Your request was in test mode, but used a non test card.",
};

/// What a person typed into the payment page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) number: String,
    pub(crate) expiry: String,
    pub(crate) cvc: String,
}

/// A card that looks like one: what is kept of it, and how its bank will answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Presented {
    pub(crate) brand: &'static str,
    pub(crate) last4: String,
    pub(crate) exp_month: i64,
    pub(crate) exp_year: i64,
    pub(crate) outcome: Outcome,
}

/// What is wrong with what was typed, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldErrors {
    pub(crate) number: Option<&'static str>,
    pub(crate) expiry: Option<&'static str>,
    pub(crate) cvc: Option<&'static str>,
}

const CARD_DIGITS_MIN: usize = 12;
const CARD_DIGITS_MAX: usize = 19;

/// Reads what was typed. Only a card that passes here reaches its bank.
pub(crate) fn presented(typed: &Typed, now: Seconds) -> Result<Presented, FieldErrors> {
    let number: String = typed.number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    let cvc = typed.cvc.trim();
    let expiry = parsed_expiry(&typed.expiry);
    let errors = FieldErrors {
        number: number_error(&number),
        expiry: expiry_error(expiry, now),
        cvc: (!matches!(cvc.len(), 3 | 4) || !cvc.bytes().all(|c| c.is_ascii_digit()))
            .then_some("Enter the security code: the 3 or 4 digits on the back of the card."),
    };
    let (Some((exp_month, exp_year)), true) = (expiry, errors == FieldErrors::default()) else {
        return Err(errors);
    };
    let known = TEST_CARDS.iter().find(|card| card.number == number);
    Ok(Presented {
        brand: known.map_or("unknown", |card| card.brand),
        last4: number[number.len() - 4..].to_owned(),
        exp_month,
        exp_year,
        outcome: known.map_or(Outcome::Declined(NOT_A_TEST_CARD), |card| card.outcome),
    })
}

/// What the page has filled in: a card that succeeds, and that is still valid whenever the page is shown.
pub(crate) fn prefilled(now: Seconds) -> Typed {
    let (year, _) = year_and_month(now);
    Typed {
        number: spaced(TEST_CARDS[0].number),
        expiry: format!("12 / {:02}", (year + 3) % 100),
        cvc: "123".to_owned(),
    }
}

/// A card's number in groups of four.
pub(crate) fn spaced(number: &str) -> String {
    let mut spaced = String::with_capacity(number.len() + number.len() / 4);
    for (position, digit) in number.chars().enumerate() {
        if position > 0 && position % 4 == 0 {
            spaced.push(' ');
        }
        spaced.push(digit);
    }
    spaced
}

fn number_error(number: &str) -> Option<&'static str> {
    if number.is_empty() {
        Some("Enter a card number.")
    } else if !(CARD_DIGITS_MIN..=CARD_DIGITS_MAX).contains(&number.len())
        || !number.bytes().all(|c| c.is_ascii_digit())
        || !passes_luhn(number)
    {
        Some("Your card number is invalid.")
    } else {
        None
    }
}

fn expiry_error(expiry: Option<(i64, i64)>, now: Seconds) -> Option<&'static str> {
    match expiry {
        None => Some("Enter the expiry date as month and year, for example 12 / 34."),
        Some((month, year)) if (year, month) < year_and_month(now) => {
            Some("Your card's expiry date is in the past.")
        }
        Some(_) => None,
    }
}

/// Month and four-digit year.
fn parsed_expiry(typed: &str) -> Option<(i64, i64)> {
    let (month, year) = typed.split_once('/')?;
    let (month, year) = (month.trim(), year.trim());
    if !(1..=2).contains(&month.len()) || !matches!(year.len(), 2 | 4) {
        return None;
    }
    let all_digits = month.bytes().chain(year.bytes()).all(|c| c.is_ascii_digit());
    let (month, year): (i64, i64) = (month.parse().ok()?, year.parse().ok()?);
    let year = if year < 100 { year + 2_000 } else { year };
    (all_digits && (1..=12).contains(&month)).then_some((month, year))
}

/// The check digit that every card number has.
fn passes_luhn(number: &str) -> bool {
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(position, digit)| {
            let digit = u32::from(digit - b'0');
            match (position % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) if doubled > 9 => doubled - 9,
                (_, doubled) => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Year and month in UTC (the civil-from-days algorithm over the Gregorian calendar's 400-year cycles).
fn year_and_month(now: Seconds) -> (i64, i64) {
    const DAY_SECONDS: i64 = 86_400;
    const CYCLE_DAYS: i64 = 146_097;
    // Counted from 1 March of year 0, so that a leap day ends its year.
    let days = now.div_euclid(DAY_SECONDS) + 719_468;
    let cycle = days.div_euclid(CYCLE_DAYS);
    let day_of_cycle = days.rem_euclid(CYCLE_DAYS);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_cycle + cycle * 400 + i64::from(month <= 2);
    (year, month)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAY_2026: Seconds = 1_778_000_000;

    fn typed(number: &str, expiry: &str, cvc: &str) -> Typed {
        Typed {
            number: number.to_owned(),
            expiry: expiry.to_owned(),
            cvc: cvc.to_owned(),
        }
    }

    #[test]
    fn every_test_card_has_a_valid_number_and_is_found_by_it() {
        for card in TEST_CARDS {
            let presented =
                presented(&typed(&spaced(card.number), "12/34", "123"), MAY_2026).expect(card.number);
            assert_eq!(presented.outcome, card.outcome, "{}", card.number);
            assert!(card.number.ends_with(&presented.last4));
        }
    }

    #[test]
    fn a_real_card_is_declined_in_test_mode() {
        let presented = presented(&typed("4111111111111111", "12/34", "123"), MAY_2026).expect("well formed");
        assert_eq!(presented.outcome, Outcome::Declined(NOT_A_TEST_CARD));
    }

    #[test]
    fn what_is_mistyped_is_named_by_field() {
        let bad_numbers = [
            "",
            "4242",
            "4242424242424241",
            "4242x24242424242",
            "42424242424242424242424242",
        ];
        for number in bad_numbers {
            let errors = presented(&typed(number, "12/34", "123"), MAY_2026).expect_err(number);
            assert!(
                errors.number.is_some() && errors.expiry.is_none() && errors.cvc.is_none(),
                "{number}"
            );
        }
        for expiry in [
            "", "12", "13/34", "00/34", "1/1", "ab/cd", "12/345", "+1/34", "04/26", "12/2025",
        ] {
            let errors = presented(&typed("4242424242424242", expiry, "123"), MAY_2026).expect_err(expiry);
            assert!(
                errors.number.is_none() && errors.expiry.is_some() && errors.cvc.is_none(),
                "{expiry}"
            );
        }
        for cvc in ["", "12", "12345", "12a"] {
            let errors = presented(&typed("4242424242424242", "12/34", cvc), MAY_2026).expect_err(cvc);
            assert!(
                errors.number.is_none() && errors.expiry.is_none() && errors.cvc.is_some(),
                "{cvc}"
            );
        }
        for expiry in ["05/26", "5 / 2026", "1/27"] {
            assert!(
                presented(&typed("4242424242424242", expiry, "1234"), MAY_2026).is_ok(),
                "{expiry}"
            );
        }
    }

    #[test]
    fn what_the_page_fills_in_always_passes() {
        for now in [0, MAY_2026, 2_000_000_000, 4_000_000_000] {
            assert!(presented(&prefilled(now), now).is_ok(), "{now}");
        }
    }

    #[test]
    fn year_and_month_follow_the_calendar() {
        let table = [
            (0, (1970, 1)),
            (951_782_399, (2000, 2)),
            (951_782_400, (2000, 2)),
            (951_868_800, (2000, 3)),
            (1_772_323_199, (2026, 2)),
            (1_772_323_200, (2026, 3)),
            (1_798_761_599, (2026, 12)),
            (1_798_761_600, (2027, 1)),
        ];
        for (now, expected) in table {
            assert_eq!(year_and_month(now), expected, "{now}");
        }
    }
}
