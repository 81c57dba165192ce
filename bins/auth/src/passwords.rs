//! The passwords that everybody tries first.

/// Sorted by bytes, one a line, in lower case; see data/README.md.
static COMMON: &str = include_str!("../data/common-passwords.txt");

/// Whether a password, in lower case, is among the 10,000 most common ones.
pub(crate) fn is_common(lower: &str) -> bool {
    let bytes = COMMON.as_bytes();
    let (mut from, mut to) = (0, bytes.len());
    // A binary search over the text itself: any position is moved to the start of its line.
    while from < to {
        let middle = from.midpoint(to);
        let start = bytes[from..middle]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(from, |newline| from + newline + 1);
        let end = bytes[middle..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(bytes.len(), |newline| middle + newline);
        match bytes[start..end].cmp(lower.as_bytes()) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => from = end + 1,
            std::cmp::Ordering::Greater => to = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_and_nothing_else() {
        assert!(COMMON.lines().is_sorted());
        assert_eq!(COMMON.lines().count(), 10_000);
        for password in COMMON.lines() {
            assert!(is_common(password), "{password}");
            assert!(!is_common(&format!("{password}~")), "{password}~");
        }
        for password in ["", "a", "correct horse battery staple", "~~~~~~~~~", "passwor"] {
            assert!(!is_common(password), "{password}");
        }
    }
}
