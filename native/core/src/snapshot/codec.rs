//! Fixed little-endian reading and writing, with a bound on every length that is read.

use super::SnapshotError;

/// Appends values to bytes.
#[derive(Debug, Default)]
pub struct Writer {
    /// What has been written.
    pub bytes: Vec<u8>,
}

/// Takes values from bytes; never reads past the end and never trusts a length.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

/// Declares a pair of methods for one number type.
macro_rules! numbers {
    ($($name:ident: $type:ty),+) => {
        impl Writer {
            $(
                #[doc = concat!("Appends a `", stringify!($type), "`.")]
                pub fn $name(&mut self, value: $type) {
                    self.bytes.extend_from_slice(&value.to_le_bytes());
                }
            )+
        }

        impl Reader<'_> {
            $(
                #[doc = concat!("Takes a `", stringify!($type), "`.")]
                pub fn $name(&mut self) -> Result<$type, SnapshotError> {
                    let (head, rest) =
                        self.bytes.split_first_chunk().ok_or(SnapshotError::Truncated)?;
                    self.bytes = rest;
                    Ok(<$type>::from_le_bytes(*head))
                }
            )+
        }
    };
}

numbers!(u8: u8, u16: u16, u32: u32, u64: u64, i64: i64, i128: i128, f32: f32);

impl<'a> Reader<'a> {
    /// Reads from these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Takes `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], SnapshotError> {
        let (head, rest) = self.bytes.split_at_checked(count).ok_or(SnapshotError::Truncated)?;
        self.bytes = rest;
        Ok(head)
    }

    /// What has not been taken yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes a length that must not exceed `max`.
    pub fn length(&mut self, what: &'static str, max: usize) -> Result<usize, SnapshotError> {
        let value = self.u32()? as usize;
        if value > max {
            return Err(SnapshotError::OutOfRange { what, value: value as i64 });
        }
        Ok(value)
    }

    /// Refuses bytes that nobody asked for.
    pub fn finish(&self) -> Result<(), SnapshotError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(SnapshotError::TrailingBytes(self.bytes.len())) }
    }
}
