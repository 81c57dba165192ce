//! Amounts: integers in a currency's smallest unit, as everywhere in the API, and how a person reads them.

/// Stripe's presentment currencies.
const CURRENCIES: &str = "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd \
    bwp byn bzd cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd \
    hkd hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd \
    mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf \
    sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah ugx uyu uzs vnd vuv wst xaf xcd \
    xcg xof xpf yer zar zmw";
const ZERO_DECIMAL: &str = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf";
const THREE_DECIMAL: &str = "bhd jod kwd omr tnd";

/// The largest amount of one charge: eight digits.
pub(crate) const AMOUNT_MINOR_MAX: i64 = 99_999_999;

/// Whether Stripe takes payments in this currency (its lower-case code).
pub(crate) fn is_currency(code: &str) -> bool {
    CURRENCIES.split_whitespace().any(|known| known == code)
}

/// The smallest amount that Stripe charges in a currency.
pub(crate) fn amount_minor_min(currency: &str) -> i64 {
    match currency {
        "gbp" => 30,
        "dkk" => 250,
        "nok" | "sek" => 300,
        "hkd" => 400,
        "mxn" | "thb" => 1_000,
        "czk" => 1_500,
        "huf" => 17_500,
        "aed" | "myr" | "pln" | "ron" => 200,
        _ => 50,
    }
}

/// An amount as a person reads it, for example `$12.50`, or `12.50 CHF` where no sign is common.
pub(crate) fn displayed(amount_minor: i64, currency: &str) -> String {
    let decimals: u32 = if ZERO_DECIMAL.split(' ').any(|code| code == currency) {
        0
    } else if THREE_DECIMAL.split(' ').any(|code| code == currency) {
        3
    } else {
        2
    };
    let scale = 10_u64.pow(decimals);
    let absolute = amount_minor.unsigned_abs();
    let sign = if amount_minor < 0 { "-" } else { "" };
    let major = grouped(absolute / scale);
    let number = if decimals == 0 {
        major
    } else {
        format!("{major}.{:0width$}", absolute % scale, width = decimals as usize)
    };
    match currency {
        "usd" => format!("{sign}${number}"),
        "eur" => format!("{sign}€{number}"),
        "gbp" => format!("{sign}£{number}"),
        "jpy" => format!("{sign}¥{number}"),
        other => format!("{sign}{number} {}", other.to_uppercase()),
    }
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_with_their_currencys_decimals() {
        let table = [
            (1_250, "usd", "$12.50"),
            (5, "eur", "€0.05"),
            (1_234_567, "usd", "$12,345.67"),
            (500, "jpy", "¥500"),
            (1_500, "kwd", "1.500 KWD"),
            (100_000, "chf", "1,000.00 CHF"),
            (-250, "gbp", "-£2.50"),
        ];
        for (amount, currency, expected) in table {
            assert_eq!(displayed(amount, currency), expected);
        }
    }

    #[test]
    fn only_stripes_currencies_are_taken() {
        assert!(is_currency("usd") && is_currency("zmw") && is_currency("xcd"));
        assert!(!is_currency("USD") && !is_currency("xyz") && !is_currency(""));
    }
}
