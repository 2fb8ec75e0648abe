//! Tokens.

use super::ast::Lit;

/// A token and where it starts: the number of its first character, from 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Lit(Lit),
    /// 2⁶³: a number only after a minus.
    Smallest,
    Ident(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "+", "-", "*", "/", "%", "<", ">", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];

/// Takes a text apart.
pub(super) fn lex(source: &str) -> Result<Vec<Token>, (usize, String)> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    // Up to which byte characters have been counted.
    let (mut counted, mut place) = (0, 1);
    loop {
        lexer.skip();
        place += source[counted..lexer.at].chars().count();
        counted = lexer.at;
        let kind = lexer.token().map_err(|why| (place, why))?;
        let end = kind == Kind::End;
        tokens.push(Token { kind, at: place });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn token(&mut self) -> Result<Kind, String> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Kind::End) };
        if let Some((prefix, quote)) = string_start(rest) {
            return self.string(prefix, quote);
        }
        let digit_follows = rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if first.is_ascii_digit() || (first == '.' && digit_follows) {
            return self.number();
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let word = rest[..end.unwrap_or(rest.len())].to_owned();
            self.at += word.len();
            return Ok(match word.as_str() {
                "true" => Kind::Lit(Lit::Bool(true)),
                "false" => Kind::Lit(Lit::Bool(false)),
                "null" => Kind::Lit(Lit::Null),
                _ => Kind::Ident(word),
            });
        }
        if first == '`' {
            // A field whose name is no identifier.
            let end = rest[1..].find('`').ok_or("unterminated quoted field")?;
            let name = rest[1..=end].to_owned();
            self.at += end + 2;
            return Ok(Kind::Ident(name));
        }
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        let sign =
            sign.ok_or_else(|| format!("Syntax error: token recognition error at: '{first}'"))?;
        self.at += sign.len();
        Ok(Kind::Sign(sign))
    }

    fn number(&mut self) -> Result<Kind, String> {
        let rest = self.rest();
        if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            let digits = hex[..end].to_owned();
            let unsigned = hex[end..].starts_with(['u', 'U']);
            self.at += 2 + end + usize::from(unsigned);
            return integer(&digits, 16, unsigned);
        }
        let bytes = rest.as_bytes();
        let mut end = 0;
        let mut is_double = false;
        while let Some(byte) = bytes.get(end) {
            let next = bytes.get(end + 1);
            match byte {
                b'0'..=b'9' => {}
                b'.' if !is_double && next.is_some_and(u8::is_ascii_digit) => is_double = true,
                b'e' | b'E'
                    if next.is_some_and(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-')) =>
                {
                    is_double = true;
                    end += 1;
                }
                _ => break,
            }
            end += 1;
        }
        let text = rest[..end].to_owned();
        let unsigned = !is_double && rest[end..].starts_with(['u', 'U']);
        self.at += end + usize::from(unsigned);
        if is_double {
            return text.parse().map(|n| Kind::Lit(Lit::Double(n))).map_err(|e| e.to_string());
        }
        integer(&text, 10, unsigned)
    }

    fn string(&mut self, prefix: usize, quote: &'static str) -> Result<Kind, String> {
        let head = self.rest()[..prefix].to_ascii_lowercase();
        let (raw, bytes) = (head.contains('r'), head.contains('b'));
        self.at += prefix + quote.len();
        let mut out: Vec<u8> = Vec::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(quote) {
                self.at += quote.len();
                break;
            }
            let Some(c) = rest.chars().next() else {
                return Err("Syntax error: unterminated string".to_owned());
            };
            if c == '\n' && quote.len() == 1 {
                return Err("Syntax error: unterminated string".to_owned());
            }
            self.at += c.len_utf8();
            if c == '\\' && !raw {
                self.escape(bytes, &mut out)?;
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(Kind::Lit(if bytes {
            Lit::Bytes(out)
        } else {
            Lit::String(String::from_utf8(out).map_err(|e| e.to_string())?)
        }))
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Result<(), String> {
        let c = self.rest().chars().next().ok_or("Syntax error: unterminated string")?;
        self.at += c.len_utf8();
        let plain = match c {
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(11),
            '\\' | '\'' | '"' | '`' | '?' => Some(c as u8),
            _ => None,
        };
        if let Some(byte) = plain {
            out.push(byte);
            return Ok(());
        }
        let (radix, length) = match c {
            'x' | 'X' => (16, 2),
            'u' => (16, 4),
            'U' => (16, 8),
            '0'..='3' => {
                self.at -= 1;
                (8, 3)
            }
            _ => return Err(format!("Syntax error: invalid escape sequence \\{c}")),
        };
        let digits = self.rest().get(..length).ok_or("Syntax error: short escape sequence")?;
        let code = u32::from_str_radix(digits, radix)
            .ok()
            .filter(|_| !digits.starts_with('+'))
            .ok_or_else(|| format!("Syntax error: invalid escape sequence \\{c}{digits}"))?;
        self.at += length;
        match u8::try_from(code) {
            Ok(byte) if bytes => out.push(byte),
            _ => {
                let c = char::from_u32(code).ok_or("Syntax error: invalid code point")?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(())
    }
}

/// The length of a string's prefix, and its quote.
fn string_start(rest: &str) -> Option<(usize, &'static str)> {
    let prefix = rest.bytes().take_while(|b| matches!(b, b'r' | b'R' | b'b' | b'B')).count();
    if prefix > 2 {
        return None;
    }
    let quotes = ["\"\"\"", "'''", "\"", "'"];
    let quote = quotes.into_iter().find(|quote| rest[prefix..].starts_with(*quote))?;
    Some((prefix, quote))
}

fn integer(digits: &str, radix: u32, unsigned: bool) -> Result<Kind, String> {
    if unsigned {
        let value = u64::from_str_radix(digits, radix);
        return value.map(|n| Kind::Lit(Lit::Uint(n))).map_err(|_| "invalid uint literal".into());
    }
    match u64::from_str_radix(digits, radix) {
        Ok(value) if value == 1 << 63 => Ok(Kind::Smallest),
        Ok(value) => i64::try_from(value)
            .map(|n| Kind::Lit(Lit::Int(n)))
            .map_err(|_| "invalid int literal".into()),
        Err(_) => Err("invalid int literal".into()),
    }
}
