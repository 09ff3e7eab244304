//! The words of JSON (RFC 8259): texts, numbers, and values to step over.
//!
//! Strict: no comments, no trailing commas, no NaN, no numbers such as `01` or `.5`, no raw control characters.
//! The caller has already checked that the whole message is UTF-8. Nesting is bounded, nothing allocates.

use super::Fault;
use crate::limits::JSON_DEPTH_MAX;

/// Where the characters of a JSON text are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// As they are in the message, between two offsets.
    Message(usize, usize),
    /// With escapes replaced, between two offsets of the scratch text.
    Scratch(usize, usize),
}

/// A place in a JSON message. A fault leaves it where the fault is.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// At the start of a message.
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Bytes read so far.
    pub const fn offset(&self) -> usize {
        self.at
    }

    /// Goes back to, or on to, an offset that was reported before.
    pub const fn seek(&mut self, offset: usize) {
        self.at = offset;
    }

    /// The message from an offset on; empty beyond its end.
    pub fn from(&self, offset: usize) -> &'a str {
        self.text.get(offset..).unwrap_or_default()
    }

    /// The next byte that is not white space, without taking it.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Takes this byte, after any white space, if it is next.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Takes this byte, after any white space.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.eat(byte) { Ok(()) } else { Err(self.ended_or(Fault::Syntax)) }
    }

    /// A fault here; that the message is cut off, if it ends here.
    pub const fn ended_or(&self, fault: Fault) -> Fault {
        if self.at >= self.text.len() { Fault::Truncated } else { fault }
    }

    /// Takes `null`, if it is next.
    #[inline]
    pub fn null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.literal("null").is_ok()
    }

    /// Takes this word.
    pub fn literal(&mut self, word: &str) -> Result<(), Fault> {
        if self.from(self.at).starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(Fault::Syntax)
        }
    }

    /// Takes a text; the opening quote must be next. Escapes are replaced into `scratch`, which grows.
    #[inline]
    pub fn text(&mut self, scratch: &mut String) -> Result<Span, Fault> {
        self.expect(b'"')?;
        let start = self.at;
        match self.plain()? {
            b'"' => Ok(Span::Message(start, self.at - 1)),
            _ => self.escaped(start, scratch),
        }
    }

    /// Steps over characters that stand for themselves; returns and takes the quote or backslash behind them.
    #[inline]
    fn plain(&mut self) -> Result<u8, Fault> {
        let bytes = self.text.as_bytes();
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'"' | b'\\' => {
                    self.at += 1;
                    return Ok(byte);
                }
                0..0x20 => return Err(Fault::ControlCharacter),
                _ => self.at += 1,
            }
        }
        Err(Fault::Truncated)
    }

    /// The rest of a text after its first backslash.
    #[cold]
    fn escaped(&mut self, start: usize, scratch: &mut String) -> Result<Span, Fault> {
        let from = scratch.len();
        let mut run = start;
        loop {
            scratch.push_str(&self.text[run..self.at - 1]);
            let character = self.escape()?;
            scratch.push(character);
            run = self.at;
            if self.plain()? == b'"' {
                scratch.push_str(&self.text[run..self.at - 1]);
                return Ok(Span::Scratch(from, scratch.len()));
            }
        }
    }

    /// The character of an escape whose backslash was taken.
    fn escape(&mut self) -> Result<char, Fault> {
        let Some(&letter) = self.text.as_bytes().get(self.at) else { return Err(Fault::Truncated) };
        let character = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(Fault::Escape),
        };
        self.at += 1;
        Ok(character)
    }

    /// The character of a `\u` escape with its four digits, or of a pair of surrogates; the `u` was taken.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.hexadecimal()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(Fault::Escape);
        }
        self.literal("\\u").map_err(|_| Fault::Escape)?;
        let second = self.hexadecimal()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(Fault::Escape);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10 | (second - 0xdc00))).ok_or(Fault::Escape)
    }

    fn hexadecimal(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        for _ in 0..4 {
            let byte = self.text.as_bytes().get(self.at).ok_or(Fault::Truncated)?;
            value = value << 4 | char::from(*byte).to_digit(16).ok_or(Fault::Escape)?;
            self.at += 1;
        }
        Ok(value)
    }

    /// Takes a number and returns its spelling, with whether it has neither fraction nor exponent.
    #[inline]
    pub fn number(&mut self) -> Result<(&'a str, bool), Fault> {
        self.peek();
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += usize::from(bytes.get(self.at) == Some(&b'-'));
        let zero = bytes.get(self.at) == Some(&b'0');
        let digits = self.digits()?;
        if zero && digits > 1 {
            self.at -= digits - 1;
            return Err(Fault::Syntax);
        }
        let mut integer = true;
        if bytes.get(self.at) == Some(&b'.') {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            integer = false;
            self.at += 1;
            self.at += usize::from(matches!(bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok((&self.text[start..self.at], integer))
    }

    /// Takes one digit or more and returns how many.
    #[inline]
    fn digits(&mut self) -> Result<usize, Fault> {
        let start = self.at;
        while self.text.as_bytes().get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.ended_or(Fault::Syntax)) } else { Ok(self.at - start) }
    }

    /// Steps over any value.
    pub fn skip(&mut self) -> Result<(), Fault> {
        self.skip_nested(JSON_DEPTH_MAX)
    }

    fn skip_nested(&mut self, depth: u32) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_text(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            Some(b'{' | b'[') if depth == 0 => Err(Fault::TooDeep),
            Some(b'[') => self.skip_members(b']', depth - 1),
            Some(b'{') => self.skip_members(b'}', depth - 1),
            _ => Err(self.ended_or(Fault::Syntax)),
        }
    }

    /// Steps over an array or an object, whose opening bracket is next.
    fn skip_members(&mut self, closing: u8, depth: u32) -> Result<(), Fault> {
        self.at += 1;
        if self.eat(closing) {
            return Ok(());
        }
        loop {
            if closing == b'}' {
                if self.peek() != Some(b'"') {
                    return Err(self.ended_or(Fault::Syntax));
                }
                self.skip_text()?;
                self.expect(b':')?;
            }
            self.skip_nested(depth)?;
            if !self.eat(b',') {
                return self.expect(closing);
            }
        }
    }

    /// Steps over a text whose opening quote is next; half a pair of surrogates is let pass.
    fn skip_text(&mut self) -> Result<(), Fault> {
        self.at += 1;
        while self.plain()? == b'\\' {
            if self.text.as_bytes().get(self.at) == Some(&b'u') {
                self.at += 1;
                self.hexadecimal()?;
            } else {
                self.escape()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_borrowed_unless_they_have_escapes() {
        let mut scratch = String::new();
        assert_eq!(Scanner::new(r#" "ab""#).text(&mut scratch), Ok(Span::Message(2, 4)));
        let text = r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00z""#;
        assert_eq!(Scanner::new(text).text(&mut scratch), Ok(Span::Scratch(0, scratch.len())));
        assert_eq!(scratch, "a\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600}z");
        for (text, fault) in [
            (r#""a"#, Fault::Truncated),
            (r#""\x""#, Fault::Escape),
            (r#""\ud83d""#, Fault::Escape),
            (r#""\ude00""#, Fault::Escape),
            (r#""\ud83dA""#, Fault::Escape),
            (r#""\u12"#, Fault::Truncated),
            ("\"\t\"", Fault::ControlCharacter),
            ("1", Fault::Syntax),
        ] {
            assert_eq!(Scanner::new(text).text(&mut scratch), Err(fault), "{text}");
        }
    }

    #[test]
    fn numbers_keep_their_spelling() {
        for (text, integer) in
            [("0", true), ("-12", true), ("1.50", false), ("1e400", false), ("-0E-1", false)]
        {
            assert_eq!(Scanner::new(text).number(), Ok((text, integer)));
        }
        for text in ["01", "-", ".5", "1.", "1e", "+1", "NaN", "Infinity"] {
            assert!(Scanner::new(text).number().is_err(), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let depth = JSON_DEPTH_MAX as usize;
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(Scanner::new(&nested(depth)).skip(), Ok(()));
        assert_eq!(Scanner::new(&nested(depth + 1)).skip(), Err(Fault::TooDeep));
        assert_eq!(Scanner::new(&"[".repeat(60_000)).skip(), Err(Fault::TooDeep));
    }
}
