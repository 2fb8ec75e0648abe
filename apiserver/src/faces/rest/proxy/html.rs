//! The links of an HTML page, rewritten while it passes.
//!
//! Kubernetes' proxy reads a page as tokens and writes every start tag anew: names in lower case, values in double
//! quotes, URLs rewritten in the attributes of [`LINKS`]; all else passes as it is. So does this one, by a scanner that
//! knows tags, comments and elements of raw text and builds no document. What a page has not closed yet waits for the next
//! piece; a tag longer than [`MAX_TAG`] passes unread.

use std::borrow::Cow;

/// The longest tag or comment that is waited for.
const MAX_TAG: usize = 64 * 1024;

/// The attributes that hold URLs, by element.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("track", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text up to their end tag.
const RAW: &[&str] =
    &["iframe", "noembed", "noframes", "noscript", "script", "style", "textarea", "title", "xmp"];

/// Rewrites a page that comes in pieces.
pub(super) struct Rewriter<F> {
    rewrite: F,
    waiting: Vec<u8>,
    /// The element of raw text that is open.
    raw: Option<String>,
    /// `<plaintext>` never ends.
    plaintext: bool,
}

/// How much of the input is one token.
enum Token {
    Text(usize),
    /// A start tag of this length.
    Start(usize),
    /// More input is needed.
    Open,
}

impl<F: Fn(&str) -> String> Rewriter<F> {
    pub(super) fn new(rewrite: F) -> Self {
        Self { rewrite, waiting: Vec::new(), raw: None, plaintext: false }
    }

    /// Takes a piece, and gives what is settled.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.waiting.extend_from_slice(piece);
        let input = std::mem::take(&mut self.waiting);
        let mut out = Vec::with_capacity(input.len() + 64);
        let mut at = 0;
        while at < input.len() {
            let rest = &input[at..];
            match self.token(rest) {
                Token::Text(length) => {
                    out.extend_from_slice(&rest[..length]);
                    at += length;
                }
                Token::Start(length) => {
                    self.start_tag(&rest[..length], &mut out);
                    at += length;
                }
                Token::Open if rest.len() > MAX_TAG => {
                    out.extend_from_slice(rest);
                    at = input.len();
                }
                Token::Open => break,
            }
        }
        self.waiting = input[at..].to_vec();
        out
    }

    /// What was never closed.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.waiting)
    }

    fn token(&mut self, rest: &[u8]) -> Token {
        if self.plaintext {
            return Token::Text(rest.len());
        }
        if let Some(name) = &self.raw {
            return match end_of_raw(rest, name) {
                Ok(0) => {
                    self.raw = None;
                    self.token(rest)
                }
                Ok(length) => Token::Text(length),
                Err(0) => Token::Open,
                Err(settled) => Token::Text(settled),
            };
        }
        if rest[0] != b'<' {
            let length = rest.iter().position(|byte| *byte == b'<').unwrap_or(rest.len());
            return Token::Text(length);
        }
        let until = |end: &[u8], from: usize| match find(&rest[from.min(rest.len())..], end) {
            Some(at) => Token::Text(from + at + end.len()),
            None => Token::Open,
        };
        match rest.get(1) {
            None => Token::Open,
            Some(b'!') if rest.len() < 4 => Token::Open,
            Some(b'!') if rest.starts_with(b"<!--") => until(b"-->", 4),
            Some(b'!' | b'?') => until(b">", 2),
            Some(b'/') => until(b">", 2),
            Some(byte) if byte.is_ascii_alphabetic() => match tag_length(rest) {
                Some(length) => Token::Start(length),
                None => Token::Open,
            },
            Some(_) => Token::Text(1),
        }
    }

    /// Writes a start tag anew.
    fn start_tag(&mut self, tag: &[u8], out: &mut Vec<u8>) {
        let Ok(text) = std::str::from_utf8(tag) else {
            out.extend_from_slice(tag);
            return;
        };
        let inner = &text[1..text.len() - 1];
        let end = inner.find(|c: char| c.is_ascii_whitespace() || c == '/').unwrap_or(inner.len());
        let name = inner[..end].to_ascii_lowercase();
        let (attributes, closed) = attributes(&inner[end..]);
        let urls = LINKS.iter().find(|(element, _)| *element == name).map_or(&[][..], |(_, a)| *a);
        let mut written = format!("<{name}");
        for (key, value) in attributes {
            let key = key.to_ascii_lowercase();
            let value = match (urls.contains(&key.as_str()), unescape(value)) {
                (true, Some(url)) => escape(&(self.rewrite)(&url)).into_owned(),
                (_, Some(text)) => escape(&text).into_owned(),
                // It names a character that is not known here: it stays.
                (_, None) => value.replace('"', "&#34;"),
            };
            written += &format!(" {key}=\"{value}\"");
        }
        written += if closed { "/>" } else { ">" };
        out.extend_from_slice(written.as_bytes());
        self.plaintext = name == "plaintext";
        if RAW.contains(&name.as_str()) && !closed {
            self.raw = Some(name);
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// Where the end tag of an element of raw text begins; else how much is settled to be text.
fn end_of_raw(rest: &[u8], name: &str) -> Result<usize, usize> {
    let mut from = 0;
    while let Some(at) = rest[from..].iter().position(|byte| *byte == b'<') {
        let at = from + at;
        let tail = &rest[at..];
        if tail.len() < name.len() + 3 {
            return Err(at);
        }
        let named =
            tail[1] == b'/' && tail[2..2 + name.len()].eq_ignore_ascii_case(name.as_bytes());
        let after = tail[2 + name.len()];
        if named && (after.is_ascii_whitespace() || matches!(after, b'/' | b'>')) {
            return Ok(at);
        }
        from = at + 1;
    }
    Err(rest.len())
}

/// The length of a start tag with its `>`, quotes respected.
fn tag_length(rest: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut before_value = false;
    for (at, byte) in rest.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if before_value => quote = Some(byte),
            (None, b'>') => return Some(at + 1),
            (None, _) => {}
        }
        before_value = *byte == b'=' || (before_value && byte.is_ascii_whitespace());
    }
    None
}

/// The attributes of a tag as written, and whether it closes itself.
fn attributes(text: &str) -> (Vec<(&str, &str)>, bool) {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if rest == "/" {
            return (found, true);
        }
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return (found, text.ends_with('/'));
        }
        let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '=' | '/');
        // A name may begin with an equals sign, of all things.
        let end = rest[1.min(rest.len())..].find(ends).map_or(rest.len(), |end| end + 1);
        let end = if rest.is_char_boundary(end) { end } else { rest.len() };
        let (key, after) = rest.split_at(end);
        let spaced = after.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let Some(value) = spaced.strip_prefix('=') else {
            found.push((key, ""));
            rest = after;
            continue;
        };
        let value = value.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            _ => {
                let end = value.find(|c: char| c.is_ascii_whitespace()).unwrap_or(value.len());
                value.split_at(end)
            }
        };
        found.push((key, value));
        rest = after;
    }
}

const NAMED: &[(&str, &str)] =
    &[("amp", "&"), ("lt", "<"), ("gt", ">"), ("quot", "\""), ("apos", "'"), ("nbsp", "\u{a0}")];

/// A value with its character references resolved; None where one is named that is not known here.
fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('&') {
        return Some(text.into());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '#');
        let (name, tail) = after.split_at(end.unwrap_or(after.len()));
        let terminated = tail.starts_with(';');
        let number = name.strip_prefix('#').and_then(|digits| {
            let hex = digits.strip_prefix(['x', 'X']);
            let code = hex.map_or_else(|| digits.parse().ok(), |h| u32::from_str_radix(h, 16).ok());
            code.and_then(char::from_u32)
        });
        let named = NAMED.iter().find(|(known, _)| *known == name).map(|(_, c)| *c);
        match (number, named) {
            (Some(c), _) => out.push(c),
            (None, Some(c)) if terminated => out.push_str(c),
            // `a?b=c&d=e` holds no reference.
            _ if !terminated => {
                out.push('&');
                rest = after;
                continue;
            }
            _ => return None,
        }
        rest = tail.strip_prefix(';').unwrap_or(tail);
    }
    out.push_str(rest);
    Some(out.into())
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '\'', '<', '>', '"', '\r']) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(pieces: &[&str]) -> String {
        let mut rewriter = Rewriter::new(|url: &str| format!("[{url}]"));
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(rewriter.push(piece.as_bytes()));
        }
        out.extend(rewriter.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links_are_rewritten_and_the_rest_passes() {
        let check = |page: &str, expected: &str| {
            assert_eq!(rewritten(&[page]), expected, "{page}");
            // However it is cut, it comes out the same.
            let cut: Vec<String> = page.chars().map(String::from).collect();
            let cut: Vec<&str> = cut.iter().map(String::as_str).collect();
            assert_eq!(rewritten(&cut), expected, "{page}, cut");
        };
        check("<a href=/x>X</a>", "<a href=\"[/x]\">X</a>");
        check("<A HREF='/x' Class=y>", "<a href=\"[/x]\" class=\"y\">");
        check(
            "<img src = \"/a?b=c&amp;d\" alt=\"it's\"/>",
            "<img src=\"[/a?b=c&amp;d]\" alt=\"it&#39;s\"/>",
        );
        check("<a href=\"/a?b=c&d=e\">", "<a href=\"[/a?b=c&amp;d=e]\">");
        check("<input disabled value=\"a>b\">", "<input disabled=\"\" value=\"a&gt;b\">");
        check("<p title=&copy;>", "<p title=\"&copy;\">");
        check("<div href=/x>", "<div href=\"/x\">");
        check("<!DOCTYPE html><!-- <a href=/x> -->", "<!DOCTYPE html><!-- <a href=/x> -->");
        check(
            "<script>a < b; '<a href=/x>'</script><a href=/y>",
            "<script>a < b; '<a href=/x>'</script><a href=\"[/y]\">",
        );
        check("<script src=/s></script>", "<script src=\"[/s]\"></script>");
        check("1 < 2 & 3", "1 < 2 & 3");
        check("<a href=\"/x", "<a href=\"/x");
        check("<br/><br>", "<br/><br>");
        check("<plaintext><a href=/x>", "<plaintext><a href=/x>");
        check("é<a href=/é>", "é<a href=\"[/é]\">");
    }

    #[test]
    fn a_tag_without_end_does_not_wait_for_ever() {
        let mut rewriter = Rewriter::new(str::to_owned);
        let mut passed = rewriter.push(b"<a ").len();
        for _ in 0..3000 {
            passed += rewriter.push(&[b'x'; 1000]).len();
        }
        assert!(passed > 2_000_000 && rewriter.waiting.len() <= MAX_TAG);
    }
}
