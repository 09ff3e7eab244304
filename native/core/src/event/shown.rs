//! Outside values as messages show them: short, and never what may be a card number.
//!
//! People put numbers into wrong columns, and messages end up in logs and in dead letters.

use std::fmt::Display;

use super::is_card_number;

const CHARACTERS_MAX: usize = 16;
const HIDDEN: &str = "a long run of digits";

/// Whether some part of the text has the length and the start of a card number. It need not pass Luhn, because a text
/// may be cut off.
pub fn may_hold_card_number(text: &str) -> bool {
    let runs = text.split(|c: char| !c.is_ascii_digit() && c != ' ' && c != '-');
    runs.map(|run| run.trim_matches([' ', '-'])).any(|run| {
        run.starts_with(['2', '3', '4', '5', '6']) && run.bytes().filter(u8::is_ascii_digit).count() >= 13
    })
}

/// At most the first 16 characters of a text.
pub(super) fn clip(text: &str) -> String {
    if may_hold_card_number(text) {
        return HIDDEN.to_owned();
    }
    text.chars().take(CHARACTERS_MAX).collect()
}

/// A number, unless its digits are those of a card.
pub(super) fn number(value: impl Display) -> String {
    let text = value.to_string();
    if is_card_number(text.trim_start_matches('-').as_bytes()) { HIDDEN.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_card_number_is_hidden() {
        for text in ["x4111111111111111", "5500 0055 5555 5559", "no. 3400-0000-0000-009!", "411111111111111"]
        {
            assert_eq!(clip(text), HIDDEN, "{text}");
        }
        assert_eq!(number(4_111_111_111_111_111_i64), HIDDEN);
        assert_eq!(number(-4_111_111_111_111_111_i64), HIDDEN);
        assert_eq!(number(4_111_111_111_111_111.0_f64), HIDDEN);
    }

    #[test]
    fn other_values_are_shown() {
        assert_eq!(clip("euro"), "euro");
        assert_eq!(clip("a country that does not exist"), "a country that d");
        assert_eq!(clip("20260101-1234"), "20260101-1234");
        assert_eq!(number(4_102_444_800_000_002_i64), "4102444800000002");
        assert_eq!(number(91.5), "91.5");
    }
}
