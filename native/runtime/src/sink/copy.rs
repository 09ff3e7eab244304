//! Postgres's binary COPY format: rows into one buffer that is reused.
//!
//! Numbers are big-endian, every field has its length before it, -1 is NULL. Times are microseconds since 2000.
//! A text with a NUL character, which Postgres cannot hold, gets U+FFFD in its place.

/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_2000_MICROS: i64 = 946_684_800_000_000;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Object id of `real`, the elements of a feature array.
const REAL_OID: i32 = 700;

/// Rows in the format of `COPY ... WITH (FORMAT binary)`.
#[derive(Debug)]
pub(super) struct CopyBuffer {
    bytes: Vec<u8>,
    rows: u64,
}

impl Default for CopyBuffer {
    fn default() -> Self {
        Self { bytes: SIGNATURE.to_vec(), rows: 0 }
    }
}

impl CopyBuffer {
    /// Forgets the rows, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.truncate(SIGNATURE.len());
        self.rows = 0;
    }

    /// Number of rows.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// What to send; a trailer is not needed, the end of the copy says it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a row of so many fields.
    #[inline]
    pub fn row(&mut self, fields: u16) {
        self.rows += 1;
        self.bytes.extend_from_slice(&fields.to_be_bytes());
    }

    #[inline]
    fn length(&mut self, length: i32) {
        self.bytes.extend_from_slice(&length.to_be_bytes());
    }

    /// A NULL.
    #[inline]
    pub fn null(&mut self) {
        self.length(-1);
    }

    /// `smallint`.
    #[inline]
    pub fn int2(&mut self, value: i16) {
        self.length(2);
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// `integer`.
    #[inline]
    pub fn int4(&mut self, value: i32) {
        self.length(4);
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// `bigint`.
    #[inline]
    pub fn int8(&mut self, value: i64) {
        self.length(8);
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// `timestamptz`, from microseconds since 1970.
    #[inline]
    pub fn time(&mut self, micros: i64) {
        self.int8(micros.saturating_sub(EPOCH_2000_MICROS));
    }

    /// `boolean`.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.length(1);
        self.bytes.push(u8::from(value));
    }

    /// `real`; a missing score, which is NaN, is NULL.
    #[inline]
    pub fn real(&mut self, value: f32) {
        if value.is_nan() {
            return self.null();
        }
        self.length(4);
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// `double precision`.
    #[inline]
    pub fn double(&mut self, value: Option<f64>) {
        let Some(value) = value else { return self.null() };
        self.length(8);
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// `text`.
    #[inline]
    pub fn text(&mut self, text: Option<&str>) {
        let Some(text) = text else { return self.null() };
        if text.as_bytes().contains(&0) {
            return self.raw(text.replace('\0', "\u{fffd}").as_bytes());
        }
        self.raw(text.as_bytes());
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.length(bytes.len() as i32);
        self.bytes.extend_from_slice(bytes);
    }

    /// `jsonb`, from its text, which must not contain `\u0000`.
    pub fn jsonb(&mut self, json: &[u8]) {
        self.length(json.len() as i32 + 1);
        self.bytes.push(1);
        self.bytes.extend_from_slice(json);
    }

    /// `real[]`; an empty one is NULL, NaN stays NaN.
    pub fn reals(&mut self, values: impl ExactSizeIterator<Item = f32>) {
        let count = values.len() as i32;
        if count == 0 {
            return self.null();
        }
        self.length(20 + 8 * count);
        // One dimension, no NULLs inside, from index 1.
        for word in [1, 0, REAL_OID, count, 1] {
            self.length(word);
        }
        for value in values {
            self.length(4);
            self.bytes.extend_from_slice(&value.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_carry_their_length_and_nothing_is_minus_one() {
        let mut copy = CopyBuffer::default();
        copy.row(3);
        copy.text(Some("a\0b"));
        copy.real(f32::NAN);
        copy.time(EPOCH_2000_MICROS + 1);
        let row = &copy.bytes()[SIGNATURE.len()..];
        assert_eq!(row[..6], [0, 3, 0, 0, 0, 5]);
        assert_eq!(&row[6..11], "a\u{fffd}b".as_bytes());
        assert_eq!(row[11..15], [0xff; 4]);
        assert_eq!(row[15..], [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
        copy.clear();
        assert_eq!((copy.rows(), copy.bytes()), (0, SIGNATURE));
    }
}
