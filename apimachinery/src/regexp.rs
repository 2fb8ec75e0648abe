//! Regular expressions as Go's `regexp` takes them, bounded.
//!
//! The engine is linear in text times pattern, but a repeat unfolds: `((a{100}){100}){100}` would be a million states. Go
//! refuses repeats that come to more than a thousand, one within the other; so does this, and the states of a pattern are
//! counted from its text ([`states`]) before anything is built, so that whoever pays can pay first.

use regex_lite::{Regex, RegexBuilder};

/// As Go: repeats within repeats come to no more than this.
const MAX_REPEAT: u64 = 1000;
/// What one pattern may take, in bytes.
const MAX_BYTES: usize = 2 << 20;

/// A pattern, ready to match, and how large it is.
#[derive(Clone, Debug)]
pub struct Regexp {
    /// Ready to match.
    pub regex: Regex,
    /// How many states it has, about.
    pub states: u64,
}

impl Regexp {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let states = states(pattern)?;
        let regex = RegexBuilder::new(pattern).size_limit(MAX_BYTES).build();
        Ok(Self { regex: regex.map_err(|error| error.to_string())?, states })
    }
}

/// What a part of a pattern unfolds to.
#[derive(Clone, Copy, Default)]
struct Part {
    states: u64,
    /// The most that repeats in it come to.
    repeat: u64,
}

impl Part {
    const ONE: Self = Self { states: 1, repeat: 1 };

    fn then(self, next: Self) -> Self {
        Self {
            states: self.states.saturating_add(next.states),
            repeat: self.repeat.max(next.repeat),
        }
    }
}

/// How many states a pattern unfolds to, about; never fewer than it has characters that match.
///
/// # Errors
/// A repeat that Go refuses.
pub fn states(pattern: &str) -> Result<u64, String> {
    let mut groups = vec![Part::default()];
    // What a repeat would repeat.
    let mut last = Part::default();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let (length, part) = match c {
            '\\' => (escape(rest), Part::ONE),
            '[' => {
                let length = class(rest);
                (length, Part { states: 1 + length as u64 / 8, repeat: 1 })
            }
            '(' => {
                groups.push(last);
                groups.push(Part::default());
                (1, Part::default())
            }
            ')' => {
                let inner = take(&mut groups, last);
                // What stood before the group is its neighbour's again.
                let before = groups.pop().unwrap_or_default();
                add(&mut groups, before);
                (1, inner.then(Part::ONE))
            }
            '{' => match repeat(rest) {
                Some((length, count)) => {
                    let product = last.repeat.max(1).saturating_mul(count.max(1));
                    if count > MAX_REPEAT || product > MAX_REPEAT {
                        let shown = &rest[..length];
                        return Err(format!(
                            "error parsing regexp: invalid repeat count: `{shown}`"
                        ));
                    }
                    last = Part {
                        states: last.states.saturating_add(1).saturating_mul(count.max(1)),
                        repeat: product,
                    };
                    rest = &rest[length..];
                    continue;
                }
                None => (1, Part::ONE),
            },
            _ => (c.len_utf8(), Part::ONE),
        };
        if c != '(' && c != ')' {
            add(&mut groups, last);
        }
        last = part;
        rest = rest.get(length..).unwrap_or_default();
    }
    add(&mut groups, last);
    let all = groups.into_iter().fold(Part::default(), Part::then);
    Ok(all.states)
}

fn add(groups: &mut [Part], part: Part) {
    if let Some(open) = groups.last_mut() {
        *open = open.then(part);
    }
}

/// Closes a group.
fn take(groups: &mut Vec<Part>, last: Part) -> Part {
    add(groups, last);
    // A bracket too many is the engine's to refuse.
    if groups.len() > 1 { groups.pop().unwrap_or_default() } else { Part::default() }
}

/// The length of an escape: `\d`, `\x{10FFFF}`, `\pL`.
fn escape(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    let Some((at, c)) = chars.next() else { return rest.len() };
    let end = at + c.len_utf8();
    if matches!(c, 'x' | 'p' | 'P' | 'u' | 'U') && rest[end..].starts_with('{') {
        return rest.find('}').map_or(rest.len(), |close| close + 1);
    }
    end
}

/// The length of a class with its brackets.
fn class(rest: &str) -> usize {
    let mut at = 1;
    at += usize::from(rest[at..].starts_with('^'));
    at += usize::from(rest[at..].starts_with(']'));
    while let Some(c) = rest.get(at..).and_then(|rest| rest.chars().next()) {
        match c {
            ']' => return at + 1,
            '\\' => at += escape(&rest[at..]),
            '[' if rest[at..].starts_with("[:") => {
                at += rest[at..].find(":]").map_or(1, |close| close + 2);
            }
            c => at += c.len_utf8(),
        }
    }
    rest.len()
}

/// `{n}`, `{n,}`, `{n,m}`: its length, and how often at most, or at least where there is no most.
fn repeat(rest: &str) -> Option<(usize, u64)> {
    let close = rest.find('}')?;
    let (least, most) = match rest[1..close].split_once(',') {
        Some((least, most)) => (least, most),
        None => (&rest[1..close], ""),
    };
    let number = |text: &str| -> Option<u64> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let least = number(least)?;
    let most = if most.is_empty() { least } else { number(most)? };
    Some((close + 1, least.max(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_unfold_and_are_bounded_as_in_go() {
        let check = |pattern: &str, expected: Result<u64, &str>| {
            let found = states(pattern);
            assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected, "{pattern}");
        };
        check("abc", Ok(3));
        check(r"\d{3}", Ok(6));
        check("[a-z]{10}x", Ok(21));
        check("(ab){10}", Ok(40));
        check("x(ab){10}y", Ok(42));
        check("(a(b){2}c){3}", Ok(30));
        check("a{", Ok(2));
        check("a{x}", Ok(4));
        check(r"[\]}{9}]", Ok(2));
        check("a{1000}", Ok(2000));
        check("a{1001}", Err("error parsing regexp: invalid repeat count: `{1001}`"));
        check("((a{100}){100}){100}", Err("error parsing regexp: invalid repeat count: `{100}`"));
        check("(a{10}){2,100}", Ok(2200));
        check("(a{11}b){2,100}", Err("error parsing regexp: invalid repeat count: `{2,100}`"));
        check(
            "a{99999999999999999999}",
            Err("error parsing regexp: invalid repeat count: `{99999999999999999999}`"),
        );
        check(")){2}", Ok(0));
        check("\u{fc}{2}[\u{fc}", Ok(5));
    }

    #[test]
    fn a_pattern_takes_no_more_than_its_bound() {
        assert!(Regexp::new("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$").is_ok());
        assert!(Regexp::new(&"(abcdefghij){1000}".repeat(10)).is_err());
        assert!(Regexp::new("(").is_err());
    }
}
