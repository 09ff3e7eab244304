//! RFC 3339 texts as microseconds since 1970, without allocation.

/// Microseconds since 1970-01-01 UTC of a text such as `2025-01-01T12:30:00.25Z` or `2025-01-01 13:30:00+01:00`.
///
/// The zone is required. Digits beyond the microsecond are cut off; a leap second (`:60`) is refused, because it
/// has no number of its own. `None`: the text is not such an instant.
pub fn parse_micros(text: &[u8]) -> Option<i64> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let clock = rest.get(..9)?;
    if !matches!(clock[0], b'T' | b't' | b' ') || clock[3] != b':' || clock[6] != b':' {
        return None;
    }
    let (hour, minute, second) = (number(&clock[1..3])?, number(&clock[4..6])?, number(&clock[7..])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction_micros, zone) = fraction(&rest[9..])?;
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((seconds - zone_seconds(zone)?) * 1_000_000 + fraction_micros)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits
        .iter()
        .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

/// The fraction of a second in microseconds, and what follows it.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else { return Some((0, text)) };
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let micros = number(&text[..digits.min(6)])? * 10_i64.pow(6 - digits.min(6) as u32);
    (digits > 0).then(|| (micros, &text[digits..]))
}

fn zone_seconds(zone: &[u8]) -> Option<i64> {
    let sign = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let &[h, i, b':', m, n] = &zone[1..] else { return None };
    let (hours, minutes) = (number(&[h, i])?, number(&[m, n])?);
    (hours <= 23 && minutes <= 59).then(|| sign * (hours * 3_600 + minutes * 60))
}

const fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, counting years from March so that a leap day is the last of its year.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_in_every_spelling_of_the_standard() {
        let micros = |text: &str| parse_micros(text.as_bytes());
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("2025-01-01T00:00:00Z"), Some(1_735_689_600_000_000));
        assert_eq!(micros("2025-01-01t01:00:00.25+01:00"), Some(1_735_689_600_250_000));
        assert_eq!(micros("2024-12-31 19:30:00.0000019-04:30"), Some(1_735_689_600_000_001));
        assert_eq!(micros("2000-02-29T12:00:00Z"), Some(951_825_600_000_000));
        assert_eq!(micros("1969-12-31T23:59:59.999999Z"), Some(-1));
        assert_eq!(micros("2099-12-31T23:59:59Z"), Some(4_102_444_799_000_000));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "2025-01-01",
            "2025-01-01T00:00:00",
            "2025-01-01T00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-00-01T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:00:60Z",
            "2025-01-01T00:00:00.Z",
            "2025-01-01T00:00:00+0100",
            "2025-01-01T00:00:00Z ",
            "2025-01-01T00:00:00+25:00",
            "-025-01-01T00:00:00Z",
            "2025-01-01T00:00:00\u{e9}",
        ] {
            assert_eq!(parse_micros(text.as_bytes()), None, "{text}");
        }
    }
}
