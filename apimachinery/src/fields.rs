//! Field selectors: `metadata.name=web,status.phase!=Running`; `k8s.io/apimachinery/pkg/fields`.
//!
//! Which fields a resource can be selected by is the resource's own matter; here is only the text and the comparison.

use std::fmt;

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// `metadata.name`
    pub field: String,
    /// True for `=` and `==`, false for `!=`.
    pub equal: bool,
    /// The value, unescaped.
    pub value: String,
}

/// A conjunction of comparisons; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// Why a text is no field selector, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No operator, or a misplaced one.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// The whole text.
        selector: String,
        /// The part that makes no sense.
        term: String,
    },
    /// A backslash before something that needs none.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// A `=` or `,` in a value.
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(char),
}

impl Selector {
    /// Selects everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects the objects whose `field` is `value`.
    #[must_use]
    pub fn equals(field: impl Into<String>, value: impl Into<String>) -> Self {
        let requirement = Requirement { field: field.into(), equal: true, value: value.into() };
        Self { requirements: vec![requirement] }
    }

    /// Reads the text form. Empty terms are skipped, as Kubernetes does.
    ///
    /// # Errors
    /// Kubernetes' message.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let requirements = terms
            .into_iter()
            .filter(|term| !term.is_empty())
            .map(|term| {
                let (field, equal, value) = split_term(term).ok_or_else(|| ParseError::Term {
                    selector: text.to_owned(),
                    term: term.to_owned(),
                })?;
                Ok(Requirement { field: field.to_owned(), equal, value: unescape(value)? })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { requirements })
    }

    /// Whether everything is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The comparisons, sorted by text.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The value that `field` must have, if exactly one is asked for.
    #[must_use]
    pub fn requires_exact_match(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.equal && r.field == field).map(|r| r.value.as_str())
    }

    /// Whether an object is selected; `get` gives a field's text, "" where it is absent.
    pub fn matches<'a>(&self, mut get: impl FnMut(&str) -> &'a str) -> bool {
        self.requirements.iter().all(|r| (get(&r.field) == r.value) == r.equal)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if r.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", r.field, escape(&r.value))?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash precedes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// Field, whether equality is asked, value: at the first operator.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    for (i, _) in term.char_indices() {
        let rest = &term[i..];
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..i], equal, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, ParseError> {
    if !value.contains(['\\', ',', '=']) {
        return Ok(value.to_owned());
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(other) => return Err(ParseError::Escape(format!("\\{other}"))),
                None => return Err(ParseError::Escape("\\".to_owned())),
            },
            ',' | '=' => return Err(ParseError::Unescaped(c)),
            other => out.push(other),
        }
    }
    Ok(out)
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_parse_and_print_sorted() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Selector::parse(text).unwrap().to_string(), expected, "{text}");
        };
        check("", "");
        check(",", "");
        check("a=b", "a=b");
        check("a==b", "a=b");
        check("c!=d,a=b", "a=b,c!=d");
        check("a=", "a=");
        check("a=x\\,y\\=z", "a=x\\,y\\=z");
    }

    #[test]
    fn errors_are_kubernetes_own() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Selector::parse(text).unwrap_err().to_string(), expected);
        };
        check("a=b,x", "invalid selector: 'a=b,x'; can't understand 'x'");
        check("a=b=c", "invalid field selector: unescaped character in value: =");
        check("a=\\x", "invalid field selector: invalid escape sequence: \\x");
    }

    #[test]
    fn comparison_is_by_text() {
        let get = |field: &str| if field == "a" { "1" } else { "" };
        let check = |text: &str, expected| {
            assert_eq!(Selector::parse(text).unwrap().matches(get), expected, "{text}");
        };
        check("", true);
        check("a=1", true);
        check("a!=1", false);
        check("a=1,b=", true);
        check("b=1", false);
        let selector = Selector::parse("a=1,b!=2").unwrap();
        assert_eq!(selector.requires_exact_match("a"), Some("1"));
        assert_eq!(selector.requires_exact_match("b"), None);
    }

    proptest! {
        #[test]
        fn any_value_survives_the_text_form(value in "\\PC{0,8}") {
            let selector = Selector::equals("metadata.name", value);
            prop_assert_eq!(Selector::parse(&selector.to_string()).unwrap(), selector);
        }
    }
}
