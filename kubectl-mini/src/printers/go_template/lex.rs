//! From a template's text to pieces: literal text, and the tokens of actions.

use super::TemplateError;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Piece {
    Text(String),
    Action { tokens: Vec<Token>, end: usize },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: usize,
    pub(super) end: usize,
    /// Whether white space stands before it.
    pub(super) spaced: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// `.name`
    Field(String),
    /// `.`
    Dot,
    /// `$name`; `$` alone is empty.
    Variable(String),
    Word(String),
    Text(String),
    Int(i64),
    Float(f64),
    Open,
    Close,
    Pipe,
    Declare,
    Assign,
    Comma,
}

pub(super) fn error(source: &str, at: usize, message: impl std::fmt::Display) -> TemplateError {
    let (line, _) = super::place(source, at);
    TemplateError(format!("template: output:{line}: {message}"))
}

/// Cuts the template at its actions.
pub(super) fn pieces(source: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let mut trims = false;
    loop {
        let Some(found) = source[at..].find("{{") else {
            push_text(&mut pieces, &source[at..], trims, false);
            return Ok(pieces);
        };
        let open = at + found;
        let mut inner = open + 2;
        let rest = &source[inner..];
        let trims_before =
            rest.starts_with('-') && rest[1..].starts_with(|c: char| c.is_ascii_whitespace());
        push_text(&mut pieces, &source[at..open], trims, trims_before);
        if trims_before {
            inner += 1;
        }
        let blank = source[inner..].len() - source[inner..].trim_start().len();
        if source[inner + blank..].starts_with("/*") {
            let comment = inner + blank;
            let Some(length) = source[comment..].find("*/") else {
                return Err(error(source, open, "unclosed comment"));
            };
            let after = &source[comment + length + 2..];
            let trimmed = after.trim_start();
            let (closes, trims_after) = match trimmed.strip_prefix("-}}") {
                Some(rest) if trimmed.len() < after.len() => (source.len() - rest.len(), true),
                _ => match after.strip_prefix("}}") {
                    Some(rest) => (source.len() - rest.len(), false),
                    None => {
                        return Err(error(source, open, "comment ends before closing delimiter"));
                    }
                },
            };
            (at, trims) = (closes, trims_after);
            continue;
        }
        let (tokens, end, trims_after) = action(source, open, inner)?;
        pieces.push(Piece::Action { tokens, end });
        (at, trims) = (end, trims_after);
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trims_start: bool, trims_end: bool) {
    let text = if trims_start { text.trim_start() } else { text };
    let text = if trims_end { text.trim_end() } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// The tokens of one action, where it ends, and whether the text behind it is trimmed.
fn action(
    source: &str,
    open: usize,
    mut at: usize,
) -> Result<(Vec<Token>, usize, bool), TemplateError> {
    let mut tokens = Vec::new();
    let mut depth = 0_usize;
    loop {
        let rest = &source[at..];
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let spaced = trimmed.len() < rest.len();
        at += rest.len() - trimmed.len();
        if spaced && trimmed.starts_with("-}}") {
            return closed(source, at, depth).map(|()| (tokens, at + 3, true));
        }
        if trimmed.starts_with("}}") {
            return closed(source, at, depth).map(|()| (tokens, at + 2, false));
        }
        let Some(first) = trimmed.chars().next() else {
            return Err(error(source, open, "unclosed action"));
        };
        let (kind, length) = match first {
            '(' => {
                depth += 1;
                (TokenKind::Open, 1)
            }
            ')' => {
                depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| error(source, at, "unexpected right paren U+0029 ')'"))?;
                (TokenKind::Close, 1)
            }
            '|' => (TokenKind::Pipe, 1),
            ',' => (TokenKind::Comma, 1),
            '=' => (TokenKind::Assign, 1),
            ':' if trimmed.starts_with(":=") => (TokenKind::Declare, 2),
            ':' => return Err(error(source, at, "expected :=")),
            '"' | '\'' => quoted(source, at, trimmed, first)?,
            '`' => {
                let Some(length) = trimmed[1..].find('`') else {
                    return Err(error(source, at, "unterminated raw quoted string"));
                };
                (TokenKind::Text(trimmed[1..=length].to_owned()), length + 2)
            }
            '.' if trimmed[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                number(source, at, trimmed)?
            }
            '.' => match name(&trimmed[1..]) {
                "" => (TokenKind::Dot, 1),
                name => (TokenKind::Field(name.to_owned()), name.len() + 1),
            },
            '$' => {
                let name = name(&trimmed[1..]);
                (TokenKind::Variable(name.to_owned()), name.len() + 1)
            }
            '+' | '-' | '0'..='9' => number(source, at, trimmed)?,
            c if c.is_alphabetic() || c == '_' => {
                let name = name(trimmed);
                (TokenKind::Word(name.to_owned()), name.len())
            }
            c => {
                let told = format!("unexpected unrecognized character in action: {c:?}");
                return Err(error(source, at, told));
            }
        };
        tokens.push(Token { kind, at, end: at + length, spaced });
        at += length;
    }
}

fn closed(source: &str, at: usize, depth: usize) -> Result<(), TemplateError> {
    if depth == 0 { Ok(()) } else { Err(error(source, at, "unclosed left paren")) }
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn number(source: &str, at: usize, text: &str) -> Result<(TokenKind, usize), TemplateError> {
    let sign = usize::from(text.starts_with(['+', '-']));
    let length = text[sign..]
        .find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_'))
        .map_or(text.len(), |length| length + sign);
    let digits = &text[..length];
    let kind = crate::cli::values::parse_i64(digits)
        .map(TokenKind::Int)
        .or_else(|_| digits.parse().map(TokenKind::Float));
    match kind {
        Ok(kind) => Ok((kind, length)),
        Err(_) => Err(error(source, at, format!("bad number syntax: {digits:?}"))),
    }
}

/// A string in double quotes, or a character in single ones, which is a number.
fn quoted(
    source: &str,
    at: usize,
    text: &str,
    quote: char,
) -> Result<(TokenKind, usize), TemplateError> {
    let unterminated = || {
        let what = if quote == '"' { "quoted string" } else { "character constant" };
        error(source, at, format!("unterminated {what}"))
    };
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            c if c == quote => {
                let kind = match (quote, value.chars().next()) {
                    ('\'', Some(c)) => TokenKind::Int(i64::from(u32::from(c))),
                    _ => TokenKind::Text(value),
                };
                return Ok((kind, index + 1));
            }
            '\n' => return Err(unterminated()),
            '\\' => {
                let (_, escaped) = chars.next().ok_or_else(unterminated)?;
                value.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    '\\' | '"' | '\'' => escaped,
                    'x' | 'u' | 'U' => {
                        let digits = match escaped {
                            'x' => 2,
                            'u' => 4,
                            _ => 8,
                        };
                        let code: String =
                            chars.by_ref().take(digits).map(|(_, digit)| digit).collect();
                        let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        code.ok_or_else(|| error(source, at, "invalid syntax"))?
                    }
                    _ => return Err(error(source, at, "invalid syntax")),
                });
            }
            c => value.push(c),
        }
    }
    Err(unterminated())
}
