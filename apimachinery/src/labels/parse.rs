//! The text form of label selectors: a lexer and a recursive descent that err in Kubernetes' words.
//!
//! `in` and `notin` are operators after a key and ordinary words elsewhere; values may be missing (`a=`, `a in (,)`).

use std::collections::BTreeSet;

use super::{Operator, Requirement, SelectorError, check_key};
use crate::field::Path;

const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Error,
    End,
    Close,
    Comma,
    Not,
    Operator(Operator),
    Word,
    Open,
}

#[derive(Clone, Debug)]
struct Token {
    kind: Kind,
    text: String,
}

fn symbol(text: &str) -> Option<Kind> {
    Some(match text {
        ")" => Kind::Close,
        "," => Kind::Comma,
        "!" => Kind::Not,
        "(" => Kind::Open,
        "=" => Kind::Operator(Operator::Equals),
        "==" => Kind::Operator(Operator::DoubleEquals),
        "!=" => Kind::Operator(Operator::NotEquals),
        ">" => Kind::Operator(Operator::GreaterThan),
        "<" => Kind::Operator(Operator::LessThan),
        _ => return None,
    })
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn lex(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next().filter(|c| *c != '\0') {
        let token;
        if is_special(first) {
            // The longest symbol: two characters if they are one, else one.
            let length = if rest.get(..2).is_some_and(|s| symbol(s).is_some()) { 2 } else { 1 };
            let (head, tail) = rest.split_at(length);
            let kind = symbol(head).unwrap_or(Kind::Error);
            token = Token { kind, text: head.to_owned() };
            rest = tail;
        } else {
            let end = rest.find(|c| is_special(c) || is_space(c)).unwrap_or(rest.len());
            let (head, tail) = rest.split_at(end);
            let kind = match head {
                "in" => Kind::Operator(Operator::In),
                "notin" => Kind::Operator(Operator::NotIn),
                _ => Kind::Word,
            };
            token = Token { kind, text: head.to_owned() };
            rest = tail;
        }
        tokens.push(token);
        rest = rest.trim_start_matches(is_space);
    }
    tokens.push(Token { kind: Kind::End, text: String::new() });
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

fn error<T>(message: impl Into<String>) -> Result<T, SelectorError> {
    Err(SelectorError(message.into()))
}

/// `in` and `notin` are words where a value or a key may stand.
fn as_value(kind: Kind) -> Kind {
    match kind {
        Kind::Operator(Operator::In | Operator::NotIn) => Kind::Word,
        other => other,
    }
}

impl Parser {
    fn current(&self) -> &Token {
        // The last token is End; nothing is consumed beyond it but errors out.
        &self.tokens[self.position.min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> Kind {
        as_value(self.current().kind)
    }

    fn next(&mut self) -> Token {
        let token = self.current().clone();
        self.position += 1;
        token
    }

    fn next_value(&mut self) -> (Kind, String) {
        let token = self.next();
        (as_value(token.kind), token.text)
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let (mut kind, mut key) = self.next_value();
        let negated = kind == Kind::Not;
        if negated {
            (kind, key) = self.next_value();
        }
        if kind != Kind::Word {
            return error(format!("found '{key}', expected: identifier"));
        }
        if let Some(wrong) = check_key(&key, &Path::root()) {
            return error(wrong.to_string());
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Kind::End | Kind::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        let token = self.next();
        let Kind::Operator(operator) = token.kind else {
            return error(format!("found '{}', expected: {BINARY_OPERATORS}", token.text));
        };
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        Requirement::new(key, operator, values)
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        if matches!(self.peek(), Kind::End | Kind::Comma) {
            return Ok(String::new());
        }
        match self.next_value() {
            (Kind::Word, text) => Ok(text),
            (_, text) => error(format!("found '{text}', expected: identifier")),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        let (kind, text) = self.next_value();
        if kind != Kind::Open {
            return error(format!("found '{text}' expected: '('"));
        }
        match self.peek() {
            Kind::Close => {
                self.next();
                Ok(vec![String::new()])
            }
            Kind::Word | Kind::Comma => {
                let values = self.list()?;
                self.next();
                Ok(values.into_iter().collect())
            }
            _ => {
                error(format!("found '{}', expected: ',', ')' or identifier", self.current().text))
            }
        }
    }

    /// The words up to the closing parenthesis, which stays; sorted and each once.
    fn list(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let mut values = BTreeSet::new();
        loop {
            match self.next_value() {
                (Kind::Word, text) => {
                    values.insert(text);
                    match self.peek() {
                        Kind::Comma => {}
                        Kind::Close => return Ok(values),
                        _ => {
                            let found = &self.current().text;
                            return error(format!("found '{found}', expected: ',' or ')'"));
                        }
                    }
                }
                (Kind::Comma, _) => {
                    // A missing value is the empty one: "(,", ",)" and ",,".
                    if values.is_empty() || self.peek() == Kind::Comma {
                        values.insert(String::new());
                    }
                    if self.peek() == Kind::Close {
                        values.insert(String::new());
                        return Ok(values);
                    }
                }
                (_, text) => {
                    return error(format!("found '{text}', expected: ',', or identifier"));
                }
            }
        }
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser { tokens: lex(text), position: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            Kind::End => return Ok(requirements),
            Kind::Word | Kind::Not => {}
            _ => {
                let found = &parser.current().text;
                return error(format!(
                    "found '{found}', expected: !, identifier, or 'end of string'"
                ));
            }
        }
        let requirement =
            parser.requirement().or_else(|e| error(format!("unable to parse requirement: {e}")))?;
        requirements.push(requirement);
        match parser.next_value() {
            (Kind::End, _) => return Ok(requirements),
            (Kind::Comma, _) => {
                if !matches!(parser.peek(), Kind::Word | Kind::Not) {
                    let found = &parser.current().text;
                    return error(format!("found '{found}', expected: identifier after ','"));
                }
            }
            (_, text) => {
                return error(format!("found '{text}', expected: ',' or 'end of string'"));
            }
        }
    }
}
