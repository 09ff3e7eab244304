//! Identifiers as text. Cards, devices and addresses are drawn from the same space for everybody, so
//! their spelling tells nothing.

use std::io::Write;

/// Writes a transaction id: `T` and 14 digits.
pub fn transaction(number: u64, out: &mut Vec<u8>) {
    padded(b'T', number, 14, out);
}

/// Writes a customer id: `C` and 8 digits.
pub fn customer(number: u32, out: &mut Vec<u8>) {
    padded(b'C', number.into(), 8, out);
}

/// Writes a merchant id: `M` and 7 digits.
pub fn merchant(number: u32, out: &mut Vec<u8>) {
    padded(b'M', number.into(), 7, out);
}

/// Writes a card token: `tok_` and 12 hexadecimal digits.
pub fn card(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"tok_");
    hexadecimal(number, out);
}

/// Writes a device id: `dev_` and 12 hexadecimal digits.
pub fn device(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"dev_");
    hexadecimal(number, out);
}

/// Writes an IPv4 address.
pub fn ip(number: u64, out: &mut Vec<u8>) {
    let [a, b, c, d, ..] = number.to_be_bytes();
    // A vector accepts every write.
    let _ = write!(out, "{}.{b}.{c}.{d}", 11 + a % 200);
}

fn padded(letter: u8, mut number: u64, digits: usize, out: &mut Vec<u8>) {
    out.push(letter);
    let start = out.len();
    out.resize(start + digits, b'0');
    for at in (start..start + digits).rev() {
        out[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn hexadecimal(number: u64, out: &mut Vec<u8>) {
    for shift in (0..12).rev() {
        out.push(b"0123456789abcdef"[(number >> (16 + 4 * shift) & 15) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn identifiers_have_their_shape() {
        assert_eq!(text(|out| transaction(42, out)), "T00000000000042");
        assert_eq!(text(|out| customer(7, out)), "C00000007");
        assert_eq!(text(|out| device(u64::MAX, out)), "dev_ffffffffffff");
        assert_eq!(text(|out| ip(0x0102_0304_0000_0000, out)), "12.2.3.4");
    }
}
