//! What counts as a word of a title, a venue or a query.

/// The longest part of a word that is indexed, in characters.
const WORD_CHARS_MAX: usize = 24;

/// The words of a text, in lower case, each cut to what is indexed.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            word.chars()
                .flat_map(char::to_lowercase)
                .take(WORD_CHARS_MAX)
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        for (text, expected) in [
            ("", vec![]),
            (" - ,;/ ", vec![]),
            ("Nils Frahm, live!", vec!["nils", "frahm", "live"]),
            ("AC/DC: 2027-05-01", vec!["ac", "dc", "2027", "05", "01"]),
            ("Ólafur ARNALDS", vec!["ólafur", "arnalds"]),
            ("ПРИВЕТ 東京", vec!["привет", "東京"]),
            ("jazz jazz", vec!["jazz", "jazz"]),
        ] {
            assert_eq!(words(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn long_words_are_cut_to_what_is_indexed() {
        let cut: Vec<String> = words(&"Ä".repeat(1_000)).collect();
        assert_eq!(cut, ["ä".repeat(WORD_CHARS_MAX)]);
    }
}
