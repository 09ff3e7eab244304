//! The framing of schema registries (Confluent, Apicurio in its compatible mode, Redpanda).
//!
//! Version 0: a zero byte, the schema's id in four bytes, for protobuf the path of the message within its file
//! (zigzag varints: their number, then each; a single 0 stands for the first message), then the message. Neither
//! a protobuf message nor a JSON text can start with a byte below 8 that is not white space, so the framing is
//! recognised by its first byte. Version 1 keeps the id in a header of the record and leaves the value bare, so
//! there is nothing to strip; a value that starts with 1 to 7 is refused. The id itself is not looked up:
//! unknown fields are skipped and the message is checked field by field.

use super::protobuf::Cursor;
use super::{Fault, Format, Malformed};
use crate::limits::MESSAGE_INDEXES_MAX;

const HEAD_BYTES: usize = 5;

/// The message behind the framing; the value itself where there is none.
pub fn strip(format: Format, value: &[u8]) -> Result<&[u8], Malformed> {
    match value.first() {
        Some(0) => {}
        Some(1..8) => return Err(Malformed::message(Fault::FramingVersion, 0)),
        _ => return Ok(value),
    }
    let broken = |offset| Malformed::message(Fault::FramingBroken, offset);
    let body = value.get(HEAD_BYTES..).ok_or_else(|| broken(value.len()))?;
    if format == Format::Json {
        return Ok(body);
    }
    let mut cursor = Cursor::new(body);
    let fault = |cursor: &Cursor<'_>| broken(HEAD_BYTES + cursor.offset());
    let count = unzigzag(cursor.varint().map_err(|_| fault(&cursor))?);
    if !(0..=MESSAGE_INDEXES_MAX as i64).contains(&count) {
        return Err(fault(&cursor));
    }
    for _ in 0..count {
        let index = unzigzag(cursor.varint().map_err(|_| fault(&cursor))?);
        if index < 0 {
            return Err(fault(&cursor));
        }
    }
    Ok(cursor.rest())
}

/// Appends the framing of version 0 for the first message of a schema.
pub fn append(format: Format, schema_id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&schema_id.to_be_bytes());
    if format == Format::Protobuf {
        out.push(0);
    }
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_message_is_left_alone() {
        for format in [Format::Protobuf, Format::Json] {
            assert_eq!(strip(format, b""), Ok(&b""[..]));
            assert_eq!(strip(format, b"\x0a\x01x"), Ok(&b"\x0a\x01x"[..]));
            assert_eq!(strip(format, b"{}"), Ok(&b"{}"[..]));
        }
    }

    #[test]
    fn the_framing_is_stripped_with_its_indexes() {
        assert_eq!(strip(Format::Json, b"\0\0\0\0\x07{}"), Ok(&b"{}"[..]));
        assert_eq!(strip(Format::Protobuf, b"\0\0\0\0\x07\0\x0a\x01x"), Ok(&b"\x0a\x01x"[..]));
        assert_eq!(strip(Format::Protobuf, b"\0\0\0\0\x07\x04\x02\x00\x0a\x01x"), Ok(&b"\x0a\x01x"[..]));
        let mut framed = Vec::new();
        append(Format::Protobuf, 300, &mut framed);
        framed.extend(b"\x0a\x01x");
        assert_eq!(strip(Format::Protobuf, &framed), Ok(&b"\x0a\x01x"[..]));
    }

    #[test]
    fn a_broken_framing_is_named() {
        let fault = |value: &[u8]| strip(Format::Protobuf, value).map(|_| ()).map_err(|error| error.fault);
        assert_eq!(fault(b"\x01\0\0\0\x07\0"), Err(Fault::FramingVersion));
        assert_eq!(fault(b"\0\0\0"), Err(Fault::FramingBroken));
        assert_eq!(fault(b"\0\0\0\0\x07"), Err(Fault::FramingBroken));
        assert_eq!(fault(b"\0\0\0\0\x07\x03\0"), Err(Fault::FramingBroken), "a negative number of indexes");
        assert_eq!(fault(b"\0\0\0\0\x07\xfe\xff\x03"), Err(Fault::FramingBroken), "too many indexes");
        assert_eq!(fault(b"\0\0\0\0\x07\x02\x01"), Err(Fault::FramingBroken), "a negative index");
    }
}
