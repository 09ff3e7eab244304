//! Currencies: exponents of ISO 4217 and exact conversion to the engine's reference currency.
//!
//! Windows add money, so all of it must be in one currency. A rate is an integer (millionths), and the
//! conversion rounds half to even in integers: the same input gives the same sum on every machine.

use super::Violation;
use super::shown::clip;

/// An ISO 4217 code: three capital letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CurrencyCode([u8; 3]);

impl CurrencyCode {
    /// The code of a text, if it has the shape of one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 3] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_uppercase).then_some(Self(bytes))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

/// Digits after the decimal point of a currency: 2 for all but the exceptions of ISO 4217.
pub fn minor_digits(code: CurrencyCode) -> u32 {
    match &code.0 {
        b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
        | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
        b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
        _ => 2,
    }
}

/// Exchange rates to the reference currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrencyTable {
    reference: CurrencyCode,
    /// Sorted by code: value of one major unit in millionths of a major unit of the reference.
    rates: Vec<(CurrencyCode, u64)>,
}

impl CurrencyTable {
    /// A table with a reference currency and `(currency, rate in millionths)` pairs.
    pub fn new(reference: CurrencyCode, mut rates: Vec<(CurrencyCode, u64)>) -> Self {
        rates.retain(|(code, _)| *code != reference);
        rates.sort_unstable();
        Self { reference, rates }
    }

    /// The reference currency.
    pub const fn reference(&self) -> CurrencyCode {
        self.reference
    }

    /// The amount in minor units of the reference currency; no currency means the reference.
    pub(super) fn convert(&self, amount: i64, currency: Option<&str>) -> Result<i64, Violation> {
        let Some(text) = currency else { return Ok(amount) };
        if text.as_bytes() == self.reference.0 {
            return Ok(amount);
        }
        let code = CurrencyCode::parse(text).ok_or_else(|| Violation::CurrencyMalformed(clip(text)))?;
        let at = self.rates.binary_search_by_key(&code, |(code, _)| *code).map_err(|_| {
            Violation::CurrencyWithoutRate {
                currency: text.to_owned(),
                reference: self.reference.as_str().to_owned(),
            }
        })?;
        let numerator =
            i128::from(amount) * i128::from(self.rates[at].1) * 10_i128.pow(minor_digits(self.reference));
        let denominator = 1_000_000 * 10_i128.pow(minor_digits(code));
        Ok(divide_half_even(numerator, denominator) as i64)
    }
}

fn divide_half_even(numerator: i128, denominator: i128) -> i128 {
    let quotient = numerator.div_euclid(denominator);
    let twice = 2 * numerator.rem_euclid(denominator);
    let up = twice > denominator || (twice == denominator && quotient % 2 != 0);
    quotient + i128::from(up)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> CurrencyCode {
        CurrencyCode::parse(text).unwrap()
    }

    #[test]
    fn exponents_follow_the_standard() {
        assert_eq!(minor_digits(code("JPY")), 0);
        assert_eq!(minor_digits(code("KWD")), 3);
        assert_eq!(minor_digits(code("EUR")), 2);
    }

    #[test]
    fn conversion_rescales_between_exponents_and_rounds_half_to_even() {
        let table = CurrencyTable::new(code("EUR"), vec![(code("JPY"), 6_250), (code("USD"), 500_000)]);
        assert_eq!(table.convert(1_000, Some("JPY")), Ok(625));
        assert_eq!(table.convert(1, Some("USD")), Ok(0));
        assert_eq!(table.convert(3, Some("USD")), Ok(2));
        assert_eq!(table.convert(7, None), Ok(7));
        assert_eq!(table.convert(7, Some("EUR")), Ok(7));
    }

    #[test]
    fn unknown_and_malformed_currencies_are_named() {
        let table = CurrencyTable::new(code("EUR"), Vec::new());
        assert!(matches!(table.convert(1, Some("euro")), Err(Violation::CurrencyMalformed(_))));
        let error = table.convert(1, Some("USD")).unwrap_err();
        assert_eq!(error.to_string(), "currency USD has no exchange rate to the reference currency EUR");
    }
}
