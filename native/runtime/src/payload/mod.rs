//! From the bytes of a record to the engine's raw types, and from decisions back to bytes.
//!
//! Nothing here is trusted and nothing is coerced: a record either becomes a [`RawTransaction`] (or a
//! [`RawLabel`]) that borrows from its bytes, or a [`Malformed`] that says what is wrong and where. Decoding
//! does not allocate; a JSON text with escapes is written into [`Scratch`], which keeps its memory. The limits
//! of single fields (lengths, ranges, required or not) are the engine's: see `fraudengine_core::event::check`.

pub mod encode;
pub mod framing;
mod instant;
pub mod json;
mod malformed;
pub mod protobuf;
pub mod reasons;
pub mod record;
mod scan;
#[cfg(test)]
mod test_support;

pub use malformed::{Fault, Malformed};

use fraudengine_core::event::{RawLabel, RawTransaction};
use serde::Deserialize;

use crate::limits::MESSAGE_BYTES_MAX;

/// How the values of a topic are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Messages of `proto/fraudengine/v1`, bare or behind a schema registry's framing.
    Protobuf,
    /// One JSON object a record, bare or behind a schema registry's framing.
    Json,
}

impl Format {
    /// The format of a name in the settings: `protobuf` or `json`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "protobuf" => Some(Self::Protobuf),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Memory that decoding reuses from record to record. Its content means nothing between two records.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    /// Texts of the current record whose escapes had to be replaced.
    text: String,
}

/// The value without a schema registry's framing: the message itself.
///
/// Of a protobuf record these bytes can be embedded in a decision as they are.
pub fn message(format: Format, value: &[u8]) -> Result<&[u8], Malformed> {
    if value.len() > MESSAGE_BYTES_MAX {
        return Err(Malformed::message(Fault::TooLarge, value.len()));
    }
    framing::strip(format, value)
}

/// Decodes the value of a record of `transactions`.
///
/// Absent fields are `None`; whether a required one is missing is for `fraudengine_core::event::check` to say.
pub fn decode_transaction<'a>(
    format: Format,
    value: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<RawTransaction<'a>, Malformed> {
    let message = message(format, value)?;
    let decoded = match format {
        Format::Protobuf => protobuf::transaction(message),
        Format::Json => json::transaction(message, scratch),
    };
    decoded.map_err(|malformed| malformed.behind(value.len() - message.len()))
}

/// Decodes the value of a record of `labels`. A label without a verdict is refused.
pub fn decode_label<'a>(
    format: Format,
    value: &'a [u8],
    scratch: &'a mut Scratch,
) -> Result<RawLabel<'a>, Malformed> {
    let message = message(format, value)?;
    let decoded = match format {
        Format::Protobuf => protobuf::label(message),
        Format::Json => json::label(message, scratch),
    };
    decoded.map_err(|malformed| malformed.behind(value.len() - message.len()))
}
