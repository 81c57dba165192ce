//! Money as whole minor units of one currency. There is no float anywhere in it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The largest amount, in minor units: what Stripe takes in one charge (eight digits).
pub const AMOUNT_MINOR_MAX: i64 = 99_999_999;

/// Why a text is not an amount, or a calculation has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a plain decimal number such as `12.50`.
    #[error("must be a plain decimal number, such as 12.50")]
    Malformed,
    /// More decimals than the currency has.
    #[error("has more decimals than {0} allows ({decimals})", decimals = .0.decimals())]
    TooPrecise(Currency),
    /// Below zero, or above [`AMOUNT_MINOR_MAX`].
    #[error("is out of range")]
    OutOfRange,
    /// Two amounts of different currencies.
    #[error("the currencies differ")]
    CurrencyMismatch,
    /// Not one of [`Currency::ALL`].
    #[error("must be one of the supported currencies, such as usd or eur")]
    UnknownCurrency,
}

macro_rules! currencies {
    ($($(#[$doc:meta])* $name:ident $code:literal $decimals:literal $tag:literal),* $(,)?) => {
        /// A currency that tickets may be priced in, by its ISO 4217 code in lower case.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
        #[serde(rename_all = "lowercase")]
        pub enum Currency { $($(#[$doc])* $name),* }

        impl Currency {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The code in lower case.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            /// How many decimals an amount has: 2 for dollars, 0 for yen, 3 for dinars.
            pub const fn decimals(self) -> u32 {
                match self { $(Self::$name => $decimals),* }
            }

            /// The byte that stands for it in stored rows; never reused for another currency.
            pub const fn code(self) -> u8 {
                match self { $(Self::$name => $tag),* }
            }
        }
    };
}

currencies! {
    /// US dollar
    #[default] Usd "usd" 2 1,
    /// Euro
    Eur "eur" 2 2,
    /// Pound sterling
    Gbp "gbp" 2 3,
    /// Swiss franc
    Chf "chf" 2 4,
    /// Canadian dollar
    Cad "cad" 2 5,
    /// Australian dollar
    Aud "aud" 2 6,
    /// Swedish krona
    Sek "sek" 2 7,
    /// Norwegian krone
    Nok "nok" 2 8,
    /// Danish krone
    Dkk "dkk" 2 9,
    /// Polish złoty
    Pln "pln" 2 10,
    /// Czech koruna
    Czk "czk" 2 11,
    /// Japanese yen
    Jpy "jpy" 0 12,
    /// South Korean won
    Krw "krw" 0 13,
    /// Kuwaiti dinar
    Kwd "kwd" 3 14,
}

impl Currency {
    /// The currency that [`Self::code`] stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|currency| currency.code() == code)
    }

    const fn minor_per_major(self) -> i64 {
        10_i64.pow(self.decimals())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Self::ALL
            .iter()
            .copied()
            .find(|currency| currency.as_str() == text)
            .ok_or(MoneyError::UnknownCurrency)
    }
}

/// An amount of money: zero or more minor units of one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawMoney")]
pub struct Money {
    minor: i64,
    currency: Currency,
}

#[derive(Deserialize)]
struct RawMoney {
    minor: i64,
    currency: Currency,
}

impl TryFrom<RawMoney> for Money {
    type Error = MoneyError;
    fn try_from(raw: RawMoney) -> Result<Self, MoneyError> {
        Self::from_minor(raw.minor, raw.currency)
    }
}

impl Money {
    /// This many minor units.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] below zero or above [`AMOUNT_MINOR_MAX`].
    pub const fn from_minor(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if minor < 0 || minor > AMOUNT_MINOR_MAX {
            Err(MoneyError::OutOfRange)
        } else {
            Ok(Self { minor, currency })
        }
    }

    /// The amount that a stored row or key holds: minor units, and the currency's [`Currency::code`].
    ///
    /// # Errors
    /// When no currency has that code, or the amount is out of range.
    pub fn from_codes(minor: i64, currency_code: u8) -> Result<Self, MoneyError> {
        let currency = Currency::from_code(currency_code).ok_or(MoneyError::UnknownCurrency)?;
        Self::from_minor(minor, currency)
    }

    /// Reads an amount in major units, such as `12.5` dollars, exactly.
    ///
    /// # Errors
    /// When the text is no plain decimal, has more decimals than the currency, or is out of range.
    pub fn parse_major(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if text.starts_with('-') && digits(&whole[1..]) && digits(fraction) && whole.len() > 1 {
            return Err(MoneyError::OutOfRange);
        }
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(MoneyError::Malformed);
        }
        let fraction = fraction.trim_end_matches('0');
        let decimals = currency.decimals() as usize;
        if fraction.len() > decimals {
            return Err(MoneyError::TooPrecise(currency));
        }
        let minor: i64 = format!("{whole}{fraction:0<decimals$}")
            .parse()
            .map_err(|_| MoneyError::OutOfRange)?;
        Self::from_minor(minor, currency)
    }

    /// The minor units: cents for dollars.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// This amount for each of `quantity` pieces.
    ///
    /// # Errors
    /// [`MoneyError::OutOfRange`] above [`AMOUNT_MINOR_MAX`].
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        let minor = self
            .minor
            .checked_mul(i64::from(quantity))
            .ok_or(MoneyError::OutOfRange)?;
        Self::from_minor(minor, self.currency)
    }

    /// The sum.
    ///
    /// # Errors
    /// When the currencies differ or the sum is out of range.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        let minor = self
            .minor
            .checked_add(other.minor)
            .ok_or(MoneyError::OutOfRange)?;
        Self::from_minor(minor, self.currency)
    }

    /// The amount in major units with all the currency's decimals: `12.50`.
    pub fn to_major_string(self) -> String {
        let per = self.currency.minor_per_major();
        let decimals = self.currency.decimals() as usize;
        if decimals == 0 {
            return self.minor.to_string();
        }
        format!("{}.{:0decimals$}", self.minor / per, self.minor % per)
    }

    /// The amount in major units as a JSON number, without trailing zeros: `12.5`, `20`.
    pub fn to_major_number(self) -> serde_json::Number {
        let per = self.currency.minor_per_major();
        if self.minor % per == 0 {
            return (self.minor / per).into();
        }
        // At most eight digits: the nearest double prints as exactly this decimal again.
        #[expect(clippy::cast_precision_loss, reason = "eight digits fit a double exactly")]
        let major = self.minor as f64 / per as f64;
        serde_json::Number::from_f64(major).expect("a quotient of two finite numbers, the second not zero")
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_major_string(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_amounts_exactly() {
        let usd = |text| Money::parse_major(text, Currency::Usd).map(Money::minor);
        assert_eq!(usd("19.99"), Ok(1999));
        assert_eq!(usd("20"), Ok(2000));
        assert_eq!(usd("0.1"), Ok(10));
        assert_eq!(usd("20.5000"), Ok(2050));
        assert_eq!(usd("0"), Ok(0));
        assert_eq!(usd("20.001"), Err(MoneyError::TooPrecise(Currency::Usd)));
        assert_eq!(usd("-1"), Err(MoneyError::OutOfRange));
        assert_eq!(usd("1000000"), Err(MoneyError::OutOfRange));
        assert_eq!(usd("99999999999999999999999"), Err(MoneyError::OutOfRange));
        for wrong in [
            "", ".", "1.", ".5", "1e3", "1,5", "abc", "-", "+1", " 1", "NaN", "0x10",
        ] {
            assert_eq!(usd(wrong), Err(MoneyError::Malformed), "{wrong}");
        }
        assert_eq!(
            Money::parse_major("500", Currency::Jpy).map(Money::minor),
            Ok(500)
        );
        assert_eq!(
            Money::parse_major("500.5", Currency::Jpy),
            Err(MoneyError::TooPrecise(Currency::Jpy))
        );
        assert_eq!(
            Money::parse_major("1.234", Currency::Kwd).map(Money::minor),
            Ok(1234)
        );
    }

    #[test]
    fn a_stored_code_means_one_currency() {
        for currency in Currency::ALL {
            assert_eq!(Currency::from_code(currency.code()), Some(*currency));
            assert_eq!(currency.as_str().parse(), Ok(*currency));
        }
    }

    proptest! {
        #[test]
        fn every_amount_survives_both_spellings(minor in 0..=AMOUNT_MINOR_MAX, index in 0..Currency::ALL.len()) {
            let money = Money::from_minor(minor, Currency::ALL[index]).unwrap();
            prop_assert_eq!(Money::parse_major(&money.to_major_string(), money.currency()), Ok(money));
            prop_assert_eq!(Money::parse_major(&money.to_major_number().to_string(), money.currency()), Ok(money));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
            let _ = Money::parse_major(&text, Currency::Eur);
        }
    }
}
