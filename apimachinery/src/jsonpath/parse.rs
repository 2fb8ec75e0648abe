//! Reads a template: text and actions first, then the ranges' bodies are gathered.

use super::{Item, JsonPathError, Node, Operator};

/// Deepest nesting of filters and unions within each other.
const MAX_DEPTH: usize = 32;

fn error<T>(message: impl Into<String>) -> Result<T, JsonPathError> {
    Err(JsonPathError(message.into()))
}

pub(super) fn parse(template: &str) -> Result<Vec<Item>, JsonPathError> {
    let items = Parser::new(template, 0).template()?;
    let mut items = items.into_iter();
    let mut block = Vec::new();
    while let Some(item) = items.next() {
        nest(item, &mut items, &mut block);
    }
    Ok(block)
}

/// Puts an item into a block; a range takes its body from `rest`. Gives false at the block's end.
fn nest(item: Item, rest: &mut std::vec::IntoIter<Item>, block: &mut Vec<Item>) {
    let Item::Action(nodes) = item else { return block.push(item) };
    let says =
        |word: &str| nodes.iter().any(|n| matches!(n, Node::Identifier(name) if name == word));
    if says("end") {
        block.push(Item::StrayEnd);
    } else if says("range") {
        let mut body = Vec::new();
        // The template's end closes every range that is still open.
        while let Some(item) = rest.next() {
            nest(item, rest, &mut body);
            if body.last() == Some(&Item::StrayEnd) {
                body.pop();
                break;
            }
        }
        block.push(Item::Range(nodes, body));
    } else {
        block.push(Item::Action(nodes));
    }
}

struct Parser<'a> {
    input: &'a str,
    position: usize,
    start: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(input: &'a str, depth: usize) -> Self {
        Self { input, position: 0, start: 0, depth }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }

    /// The text since the last call.
    fn consume(&mut self) -> &'a str {
        let text = &self.input[self.start..self.position];
        self.start = self.position;
        text
    }

    fn template(&mut self) -> Result<Vec<Item>, JsonPathError> {
        let mut items = Vec::new();
        loop {
            match self.rest().find('{') {
                Some(offset) => self.position += offset,
                None => self.position = self.input.len(),
            }
            let text = self.consume();
            if !text.is_empty() {
                items.push(Item::Text(text.to_owned()));
            }
            if self.next().is_none() {
                return Ok(items);
            }
            self.consume();
            items.push(Item::Action(self.action()?));
        }
    }

    /// The steps up to the closing brace, which is consumed.
    fn action(&mut self) -> Result<Vec<Node>, JsonPathError> {
        let mut nodes = Vec::new();
        loop {
            let rest = self.rest();
            if rest.starts_with('}') {
                self.next();
                self.consume();
                return Ok(nodes);
            }
            if rest.starts_with("[?(") {
                nodes.push(self.filter()?);
                continue;
            }
            if rest.starts_with("..") {
                if nodes.last() == Some(&Node::Recursive) {
                    return error("invalid multiple recursive descent");
                }
                self.position += 2;
                self.consume();
                nodes.push(Node::Recursive);
                if self.peek().is_some_and(is_alphanumeric) {
                    nodes.push(self.field());
                }
                continue;
            }
            match self.next() {
                None | Some('\r' | '\n') => return error("unclosed action"),
                Some(' ' | '@' | '$') => {
                    self.consume();
                }
                Some('[') => nodes.extend(self.array()?),
                Some(quote @ ('"' | '\'')) => nodes.push(self.quoted(quote)?),
                Some('.') => {
                    self.consume();
                    nodes.push(self.field());
                }
                Some(c) if c == '+' || c == '-' || c.is_numeric() => nodes.push(self.number()?),
                Some(c) if is_alphanumeric(c) => nodes.push(self.identifier()),
                Some(c) => {
                    return error(format!(
                        "unrecognized character in action: U+{:04X} '{c}'",
                        c as u32
                    ));
                }
            }
        }
    }

    fn identifier(&mut self) -> Node {
        while self.peek().is_some_and(|c| !is_terminator(c)) {
            self.next();
        }
        match self.consume() {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            name => Node::Identifier(name.to_owned()),
        }
    }

    fn number(&mut self) -> Result<Node, JsonPathError> {
        while self.peek().is_some_and(|c| c == '.' || c.is_numeric()) {
            self.next();
        }
        let text = self.consume();
        if let Ok(value) = text.parse() {
            return Ok(Node::Int(value));
        }
        text.parse().map(Node::Float).or_else(|_| error(format!("cannot parse number {text}")))
    }

    fn field(&mut self) -> Node {
        while let Some(c) = self.peek().filter(|c| !is_terminator(*c)) {
            self.next();
            if c == '\\' {
                self.next();
            }
        }
        match self.consume() {
            "*" => Node::Wildcard,
            name => Node::Field(name.replace('\\', "")),
        }
    }

    /// What stands in brackets, of which the first is consumed.
    fn array(&mut self) -> Result<Vec<Node>, JsonPathError> {
        loop {
            match self.next() {
                None | Some('\n') => return error("unterminated array"),
                Some(']') => break,
                Some(_) => {}
            }
        }
        let text = self.consume();
        let text = &text[1..text.len() - 1];
        if text.contains(',') {
            let parts =
                text.split(',').map(|part| self.nested(&format!("[{}]", part.trim_matches(' '))));
            return Ok(vec![Node::Union(parts.collect::<Result<_, _>>()?)]);
        }
        let key = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
        if let Some(key) = key.filter(|k| !k.contains('\'')) {
            return self.nested(&format!(".{key}"));
        }
        let text = if text == "*" { ":" } else { text };
        let invalid = || error(format!("invalid array index {text}"));
        let parts: Vec<&str> = text.split(':').collect();
        let looks_right = |part: &&str| {
            part.strip_prefix('-').unwrap_or(part).bytes().all(|b| b.is_ascii_digit())
        };
        if parts.len() > 3 || !parts.iter().all(looks_right) {
            return invalid();
        }
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip(&parts).filter(|(_, part)| !part.is_empty()) {
            *bound = Some(
                part.parse().or_else(|_| error(format!("array index {part} is not a number")))?,
            );
        }
        Ok(vec![Node::Array(bounds, parts.len() == 1)])
    }

    /// Parses a part of an action as an action of its own.
    fn nested(&self, text: &str) -> Result<Vec<Node>, JsonPathError> {
        if self.depth >= MAX_DEPTH {
            return error("nested too deeply");
        }
        let text = format!("{{{text}}}");
        let mut parser = Parser::new(&text, self.depth + 1);
        parser.next();
        parser.consume();
        parser.action()
    }

    fn filter(&mut self) -> Result<Node, JsonPathError> {
        self.position += "[?(".len();
        self.consume();
        let (mut begun, mut ended, mut pair) = (false, false, ' ');
        let mut previous = ' ';
        loop {
            let c = self.next();
            match c {
                None | Some('\n') => return error("unterminated filter"),
                Some(quote @ ('"' | '\'')) if !begun => {
                    begun = true;
                    pair = quote;
                }
                Some(quote @ ('"' | '\'')) => ended |= previous != '\\' && quote == pair,
                Some(')') if begun == ended => break,
                Some(_) => {}
            }
            previous = c.unwrap_or_default();
        }
        if self.next() != Some(']') {
            return error("unclosed array expect ]");
        }
        let text = self.consume();
        let text = &text[..text.len() - 2];
        let is_operator = |c: char| "!<>=".contains(c);
        // Left side, operator and right side, none of them empty; else the whole is a test of existence.
        let split = text.find(is_operator).filter(|i| *i > 0).and_then(|i| {
            let tail = &text[i..];
            let length = tail.find(|c| !is_operator(c)).unwrap_or(tail.len());
            // The right side gets the operator's last character where nothing else is left for it.
            let length = if length == tail.len() { length - 1 } else { length };
            (length > 0).then(|| (&text[..i], &tail[..length], &tail[length..]))
        });
        let Some((left, operator, right)) = split else {
            return Ok(Node::Filter(self.nested(text)?, Operator::Exists, Vec::new()));
        };
        let operator = match operator {
            "<" => Operator::Less,
            ">" => Operator::Greater,
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<=" => Operator::LessEqual,
            ">=" => Operator::GreaterEqual,
            other => Operator::Unknown(other.to_owned()),
        };
        Ok(Node::Filter(self.nested(left)?, operator, self.nested(right)?))
    }

    fn quoted(&mut self, quote: char) -> Result<Node, JsonPathError> {
        let mut previous = quote;
        loop {
            match self.next() {
                None | Some('\n') => return error("unterminated quoted string"),
                Some(c) if c == quote && previous != '\\' => break,
                Some(c) => previous = c,
            }
        }
        let text = self.consume();
        match unquote(&text[1..text.len() - 1], quote) {
            Some(value) => Ok(Node::Text(value)),
            None => error(format!("unquote string {text} error invalid syntax")),
        }
    }
}

/// Go's escapes; None where Go finds a syntax error.
fn unquote(text: &str, quote: char) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == quote {
            return None;
        }
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next()?;
        rest = &rest[escape.len_utf8()..];
        let mut code = |length: usize, radix: u32| {
            let digits = rest.get(..length)?;
            rest = &rest[length..];
            let valid = digits.chars().all(|d| d.is_digit(radix));
            u32::from_str_radix(digits, radix).ok().filter(|_| valid)
        };
        match escape {
            'a' => out.push(7),
            'b' => out.push(8),
            'f' => out.push(12),
            'n' => out.push(b'\n'),
            'r' => out.push(b'\r'),
            't' => out.push(b'\t'),
            'v' => out.push(11),
            '\\' => out.push(b'\\'),
            'x' => out.push(u8::try_from(code(2, 16)?).ok()?),
            'u' | 'U' => {
                let c = char::from_u32(code(if escape == 'u' { 4 } else { 8 }, 16)?)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            '0'..='7' => {
                let low = code(2, 8)?;
                out.push(u8::try_from(escape.to_digit(8)? * 64 + low).ok()?);
            }
            c if c == quote => out.push(c as u8),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

fn is_terminator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphabetic() || c.is_numeric()
}
