//! Shell patterns: `*`, `?`, `[a-z]`, `[!x]`, `[[:digit:]]`; a backslash takes the next character as it is.

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Item>);

#[derive(Clone, Debug)]
enum Item {
    Char(char),
    Any,
    Many,
    Set { negated: bool, members: Vec<(char, char)>, classes: Vec<String> },
}

impl Pattern {
    pub(super) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut items = Vec::new();
        let mut index = 0;
        while let Some(&char) = chars.get(index) {
            index += 1;
            match char {
                '\\' => {
                    if let Some(&escaped) = chars.get(index) {
                        items.push(Item::Char(escaped));
                        index += 1;
                    }
                }
                '*' if matches!(items.last(), Some(Item::Many)) => {}
                '*' => items.push(Item::Many),
                '?' => items.push(Item::Any),
                '[' => match set(&chars[index..]) {
                    Some((item, length)) => {
                        items.push(item);
                        index += length;
                    }
                    None => items.push(Item::Char('[')),
                },
                other => items.push(Item::Char(other)),
            }
        }
        Self(items)
    }

    /// Whether the text has anything but plain characters.
    pub(super) fn is_special(text: &str) -> bool {
        Self::new(text).0.iter().any(|item| !matches!(item, Item::Char(_)))
    }

    /// Matches the whole text, in time proportional to pattern × text.
    pub(super) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        self.matches_chars(&text)
    }

    pub(super) fn matches_chars(&self, text: &[char]) -> bool {
        let (mut item, mut at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let step = match self.0.get(item) {
                Some(Item::Many) => {
                    retry = Some((item + 1, at));
                    item += 1;
                    continue;
                }
                Some(one) => text.get(at).is_some_and(|char| one.matches(*char)),
                None if at == text.len() => return true,
                None => false,
            };
            if step {
                item += 1;
                at += 1;
                continue;
            }
            match retry {
                Some((after, start)) if start < text.len() => {
                    retry = Some((after, start + 1));
                    (item, at) = (after, start + 1);
                }
                _ => return false,
            }
        }
    }

    /// Length in characters of the shortest or longest prefix that matches.
    pub(super) fn prefix(&self, text: &[char], longest: bool) -> Option<usize> {
        let mut ends = 0..=text.len();
        let fits = |end: &usize| self.matches_chars(&text[..*end]);
        if longest { ends.rev().find(fits) } else { ends.find(fits) }
    }

    /// Start of the shortest or longest suffix that matches.
    pub(super) fn suffix(&self, text: &[char], longest: bool) -> Option<usize> {
        let mut starts = 0..=text.len();
        let fits = |start: &usize| self.matches_chars(&text[*start..]);
        if longest { starts.find(fits) } else { starts.rev().find(fits) }
    }
}

impl Item {
    fn matches(&self, char: char) -> bool {
        match self {
            Self::Char(expected) => *expected == char,
            Self::Any => true,
            Self::Many => false,
            Self::Set { negated, members, classes } => {
                let inside = members.iter().any(|(low, high)| (*low..=*high).contains(&char))
                    || classes.iter().any(|class| in_class(class, char));
                inside != *negated
            }
        }
    }
}

/// Reads a set after its `[`; the length includes the `]`.
fn set(chars: &[char]) -> Option<(Item, usize)> {
    let mut index = 0;
    let negated = matches!(chars.first(), Some('!' | '^'));
    if negated {
        index += 1;
    }
    let (mut members, mut classes) = (Vec::new(), Vec::new());
    let first = index;
    loop {
        let char = *chars.get(index)?;
        match char {
            ']' if index > first => {
                return Some((Item::Set { negated, members, classes }, index + 1));
            }
            '[' if chars.get(index + 1) == Some(&':') => {
                let rest = &chars[index + 2..];
                let end = rest.windows(2).position(|pair| pair == [':', ']'])?;
                classes.push(rest[..end].iter().collect());
                index += end + 4;
            }
            _ => {
                let escaped = char == '\\';
                let low = if escaped { *chars.get(index + 1)? } else { char };
                index += if escaped { 2 } else { 1 };
                let range = chars.get(index) == Some(&'-')
                    && chars.get(index + 1).is_some_and(|end| *end != ']');
                let high = if range { chars[index + 1] } else { low };
                index += if range { 2 } else { 0 };
                members.push((low, high));
            }
        }
    }
}

/// POSIX character classes, for ASCII and letters beyond.
pub(super) fn in_class(class: &str, char: char) -> bool {
    match class {
        "alpha" => char.is_alphabetic(),
        "digit" => char.is_ascii_digit(),
        "alnum" => char.is_alphanumeric(),
        "upper" => char.is_uppercase(),
        "lower" => char.is_lowercase(),
        "space" => char.is_whitespace(),
        "blank" => matches!(char, ' ' | '\t'),
        "punct" => char.is_ascii_punctuation(),
        "xdigit" => char.is_ascii_hexdigit(),
        "cntrl" => char.is_control(),
        "print" => !char.is_control(),
        "graph" => !char.is_control() && !char.is_whitespace(),
        _ => false,
    }
}

/// Makes every character of a text stand for itself.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\' | '!' | '-' | '^') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        };
        check("a*c", "abbc", true);
        check("a*c", "ab", false);
        check("*.txt", ".txt", true);
        check("?", "ä", true);
        check("[a-c]x", "bx", true);
        check("[!a-c]x", "bx", false);
        check("[[:digit:]]", "7", true);
        check("[]]", "]", true);
        check("[", "[", true);
        check("\\*", "*", true);
        check("\\*", "a", false);
        check(&"*a".repeat(30), &"a".repeat(29), false);
        check(&escape("a*[b]"), "a*[b]", true);
    }
}
