//! Why the bytes of a record are refused, in a form for dead letters, counters and people.

use std::fmt;

use fraudengine_core::event::may_hold_card_number;
use thiserror::Error;

use crate::limits::{GROUP_DEPTH_MAX, JSON_DEPTH_MAX, MESSAGE_BYTES_MAX, SHOWN_CHARACTERS_MAX};
use crate::wire::DeadLetterReason;

/// A kind of fault. Its text completes the sentence "FIELD ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// More bytes than are looked at.
    #[error("has more than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
    /// The framing starts with a version other than 0.
    #[error("starts with a framing version that is not known")]
    FramingVersion,
    /// The framing is cut off or its message indexes make no sense.
    #[error("has a broken schema registry framing")]
    FramingBroken,
    /// The bytes end before the value does.
    #[error("is cut off")]
    Truncated,
    /// A varint of more than 64 bits.
    #[error("has a varint of more than 64 bits")]
    VarintTooLong,
    /// A field key that no message can contain.
    #[error("has an impossible field key")]
    Key,
    /// A known field in the encoding of another type.
    #[error("is encoded as another type")]
    WireType,
    /// The end of a group that was not opened.
    #[error("ends a group that was not opened")]
    GroupEnd,
    /// Values nested deeper than is followed.
    #[error("is nested too deep (groups {GROUP_DEPTH_MAX}, JSON {JSON_DEPTH_MAX})")]
    TooDeep,
    /// A text that is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A JSON value does not start, or does not go on, as JSON does.
    #[error("is not JSON")]
    Syntax,
    /// The JSON value is not an object.
    #[error("is not a JSON object")]
    NotAnObject,
    /// Something follows the JSON object.
    #[error("goes on behind the JSON object")]
    Trailing,
    /// A control character in a JSON text.
    #[error("has a control character that is not escaped")]
    ControlCharacter,
    /// An escape that JSON does not have, or half a pair of surrogates.
    #[error("has an escape that is not valid")]
    Escape,
    /// The same field twice in one JSON object.
    #[error("appears twice")]
    Duplicate,
    /// Something other than a JSON text.
    #[error("must be text")]
    NotText,
    /// Something other than a JSON integer of 64 bits.
    #[error("must be an integer of 64 bits, without fraction or exponent")]
    NotInteger,
    /// Something other than a JSON number, or one beyond all finite numbers.
    #[error("must be a finite number")]
    NotNumber,
    /// Something other than an integer or an RFC 3339 text.
    #[error("must be microseconds since 1970 or an RFC 3339 text with a zone")]
    NotTime,
    /// Something other than a verdict.
    #[error("must be 0, 1, true or false")]
    NotVerdict,
    /// A label that says nothing.
    #[error("is required and missing")]
    VerdictMissing,
    /// A number that is no channel of the schema.
    #[error("is not a channel of the schema")]
    ChannelUnknown,
}

impl Fault {
    /// A stable code for counters.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::FramingVersion => "framing_version",
            Self::FramingBroken => "framing_broken",
            Self::Truncated => "truncated",
            Self::VarintTooLong => "varint_too_long",
            Self::Key => "field_key",
            Self::WireType => "wire_type",
            Self::GroupEnd => "group_end",
            Self::TooDeep => "too_deep",
            Self::NotUtf8 => "not_utf8",
            Self::Syntax => "syntax",
            Self::NotAnObject => "not_an_object",
            Self::Trailing => "trailing",
            Self::ControlCharacter => "control_character",
            Self::Escape => "escape",
            Self::Duplicate => "duplicate_field",
            Self::NotText => "not_text",
            Self::NotInteger => "not_integer",
            Self::NotNumber => "not_number",
            Self::NotTime => "not_time",
            Self::NotVerdict => "not_verdict",
            Self::VerdictMissing => "verdict_missing",
            Self::ChannelUnknown => "channel_unknown",
        }
    }
}

/// Bytes that are not a record of their topic. Its text is one line and never shows a card field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub fault: Fault,
    /// The schema's field at fault; `None`: the message as a whole, or a field that is not ours.
    pub field: Option<&'static str>,
    /// Where it was noticed: bytes from the start of the record's value (its length, if it is too long).
    pub offset: usize,
    /// The start of the value at fault, where it is a number's and safe to show.
    pub shown: Option<String>,
}

impl Malformed {
    /// A fault of the message as a whole.
    pub(super) const fn message(fault: Fault, offset: usize) -> Self {
        Self { fault, field: None, offset, shown: None }
    }

    /// A fault of one field.
    pub(super) const fn field(fault: Fault, field: &'static str, offset: usize) -> Self {
        Self { fault, field: Some(field), offset, shown: None }
    }

    /// The same fault with the value of a number field. Control characters are escaped; a run of digits
    /// as long as a card number is left out, because people put numbers into wrong columns.
    #[must_use]
    pub(super) fn showing(mut self, value: &str) -> Self {
        let clipped: String = value.chars().take(SHOWN_CHARACTERS_MAX).flat_map(char::escape_debug).collect();
        self.shown =
            Some(if may_hold_card_number(value) { "a long run of digits".to_owned() } else { clipped });
        self
    }

    /// The same fault, with `bytes` of framing before the message counted in its offset.
    #[must_use]
    pub(super) const fn behind(mut self, bytes: usize) -> Self {
        self.offset += bytes;
        self
    }

    /// The reason for the dead letter: bytes that are no message at all, or a field that cannot be right.
    pub const fn reason(&self) -> DeadLetterReason {
        match self.fault {
            Fault::TooLarge => DeadLetterReason::TooLarge,
            Fault::NotText
            | Fault::NotInteger
            | Fault::NotNumber
            | Fault::NotTime
            | Fault::NotVerdict
            | Fault::VerdictMissing
            | Fault::ChannelUnknown => DeadLetterReason::Invalid,
            _ => DeadLetterReason::Malformed,
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field.unwrap_or("the message"), self.fault)?;
        if let Some(shown) = &self.shown {
            write!(f, ", not {shown}")?;
        }
        write!(f, " (byte {})", self.offset)
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_field_value_and_place_in_one_line() {
        let fault = Malformed::field(Fault::NotInteger, "amount_minor", 34).showing("1e400\n");
        assert_eq!(
            fault.to_string(),
            "amount_minor must be an integer of 64 bits, without fraction or exponent, not 1e400\\n (byte 34)"
        );
        assert_eq!(Malformed::message(Fault::Truncated, 7).to_string(), "the message is cut off (byte 7)");
    }

    #[test]
    fn what_may_be_a_card_number_is_not_shown() {
        for value in ["4111111111111111", "\"5500 0055 5555 5559\"", "x 3400-0000-0000-009"] {
            let fault = Malformed::field(Fault::NotInteger, "amount_minor", 0).showing(value);
            assert_eq!(fault.shown.as_deref(), Some("a long run of digits"), "{value}");
        }
        let time = Malformed::field(Fault::NotTime, "event_time", 0).showing("1735689600000000.5");
        assert_eq!(time.shown.as_deref(), Some("1735689600000000.5"));
    }
}
