//! From pieces to a tree.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::{
    Branch, Command, Node, Operand, OperandKind, Pipeline, TemplateError,
    functions::is_function,
    lex::{Piece, Token, TokenKind, error, pieces},
};

type Parsed = (Vec<Node>, BTreeMap<String, Vec<Node>>);

/// Reads a whole template: its body, and the templates that it defines.
pub(super) fn parse(source: &str) -> Result<Parsed, TemplateError> {
    let mut parser =
        Parser { source, pieces: pieces(source)?.into_iter(), defined: BTreeMap::new(), loops: 0 };
    let (body, end) = parser.list()?;
    match end {
        Ended::Eof => Ok((body, parser.defined)),
        Ended::End(at) => Err(error(source, at, "unexpected {{end}}")),
        Ended::Else(_, at) => Err(error(source, at, "unexpected {{else}}")),
    }
}

struct Parser<'a> {
    source: &'a str,
    pieces: std::vec::IntoIter<Piece>,
    defined: BTreeMap<String, Vec<Node>>,
    /// Ranges around the present place.
    loops: usize,
}

/// What ended a list of nodes.
enum Ended {
    Eof,
    End(usize),
    /// With what follows the word: `if …`, or nothing.
    Else(Vec<Token>, usize),
}

impl Parser<'_> {
    fn error<T>(&self, at: usize, message: impl std::fmt::Display) -> Result<T, TemplateError> {
        Err(error(self.source, at, message))
    }

    fn list(&mut self) -> Result<(Vec<Node>, Ended), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let (tokens, end) = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action { tokens, end } => (tokens, end),
            };
            let Some(Token { kind, at, .. }) = tokens.first().cloned() else {
                return self.error(end, "missing value for command");
            };
            let word = if let TokenKind::Word(word) = kind { word } else { String::new() };
            let rest = &tokens[1..];
            match word.as_str() {
                "end" => return self.no_more(rest, "end").map(|()| (nodes, Ended::End(at))),
                "else" => return Ok((nodes, Ended::Else(rest.to_vec(), at))),
                "if" => nodes.push(Node::If(self.branch(rest, "if", end)?)),
                "with" => nodes.push(Node::With(self.branch(rest, "with", end)?)),
                "range" => {
                    self.loops += 1;
                    nodes.push(Node::Range(self.branch(rest, "range", end)?));
                    self.loops -= 1;
                }
                "break" | "continue" => {
                    self.no_more(rest, &word)?;
                    if self.loops == 0 {
                        return self.error(at, format!("{{{{{word}}}}} outside {{{{range}}}}"));
                    }
                    nodes.push(if word == "break" { Node::Break } else { Node::Continue });
                }
                "define" => {
                    let (name, _) = self.name(rest, at, "define clause")?;
                    self.define(name, at)?;
                }
                "template" => {
                    let (name, rest) = self.name(rest, at, "template clause")?;
                    let pipeline = self.optional_pipeline(rest, end)?;
                    nodes.push(Node::Call(name, pipeline, at));
                }
                "block" => {
                    let (name, rest) = self.name(rest, at, "block clause")?;
                    let pipeline = self.optional_pipeline(rest, end)?;
                    self.define(name.clone(), at)?;
                    nodes.push(Node::Call(name, pipeline, at));
                }
                _ => nodes.push(Node::Action(self.pipeline(&tokens, end)?)),
            }
        }
        Ok((nodes, Ended::Eof))
    }

    fn no_more(&self, rest: &[Token], word: &str) -> Result<(), TemplateError> {
        match rest.first() {
            None => Ok(()),
            Some(token) => {
                let text = &self.source[token.at..token.end];
                self.error(token.at, format!("unexpected {text:?} in {word}"))
            }
        }
    }

    fn name<'t>(
        &self,
        tokens: &'t [Token],
        at: usize,
        clause: &str,
    ) -> Result<(String, &'t [Token]), TemplateError> {
        match tokens.split_first() {
            Some((Token { kind: TokenKind::Text(name), .. }, rest)) => Ok((name.clone(), rest)),
            _ => self.error(at, format!("unexpected token in {clause}")),
        }
    }

    fn define(&mut self, name: String, at: usize) -> Result<(), TemplateError> {
        let loops = std::mem::take(&mut self.loops);
        let (body, end) = self.list()?;
        self.loops = loops;
        match end {
            Ended::End(_) => {
                self.defined.insert(name, body);
                Ok(())
            }
            Ended::Else(_, at) => self.error(at, "unexpected {{else}} in define clause"),
            Ended::Eof => self.error(at, "unexpected EOF"),
        }
    }

    fn branch(
        &mut self,
        tokens: &[Token],
        word: &str,
        end: usize,
    ) -> Result<Branch, TemplateError> {
        if tokens.is_empty() {
            return self.error(end, format!("missing value for {word}"));
        }
        let pipeline = self.pipeline(tokens, end)?;
        let (then, ended) = self.list()?;
        let otherwise = match ended {
            Ended::End(_) => Vec::new(),
            Ended::Else(rest, at) => match rest.split_first() {
                None => match self.list()? {
                    (otherwise, Ended::End(_)) => otherwise,
                    (_, Ended::Else(_, at)) => return self.error(at, "unexpected {{else}}"),
                    (_, Ended::Eof) => return self.error(self.source.len(), "unexpected EOF"),
                },
                Some((Token { kind: TokenKind::Word(next), .. }, rest))
                    if next == word && word != "range" =>
                {
                    let nested = self.branch(rest, word, at)?;
                    vec![if word == "if" { Node::If(nested) } else { Node::With(nested) }]
                }
                Some((token, _)) => {
                    let text = &self.source[token.at..token.end];
                    return self.error(token.at, format!("unexpected {text:?} in else"));
                }
            },
            Ended::Eof => return self.error(self.source.len(), "unexpected EOF"),
        };
        Ok(Branch { pipeline, then, otherwise })
    }

    fn optional_pipeline(
        &self,
        tokens: &[Token],
        end: usize,
    ) -> Result<Option<Pipeline>, TemplateError> {
        if tokens.is_empty() { Ok(None) } else { self.pipeline(tokens, end).map(Some) }
    }

    fn pipeline(&self, tokens: &[Token], end: usize) -> Result<Pipeline, TemplateError> {
        let kinds: Vec<&TokenKind> = tokens.iter().map(|token| &token.kind).collect();
        let name = |name: &String| name.clone();
        let (variables, assigns, rest) = match kinds.as_slice() {
            [TokenKind::Variable(a), TokenKind::Declare, ..] => (vec![name(a)], false, 2),
            [TokenKind::Variable(a), TokenKind::Assign, ..] => (vec![name(a)], true, 2),
            [
                TokenKind::Variable(a),
                TokenKind::Comma,
                TokenKind::Variable(b),
                sign @ (TokenKind::Declare | TokenKind::Assign),
                ..,
            ] => (vec![name(a), name(b)], **sign == TokenKind::Assign, 4),
            _ => (Vec::new(), false, 0),
        };
        let mut commands = Vec::new();
        let mut depth = 0;
        let mut from = rest;
        for (index, token) in tokens.iter().enumerate().skip(rest) {
            match token.kind {
                TokenKind::Open => depth += 1,
                TokenKind::Close => depth -= 1,
                TokenKind::Pipe if depth == 0 => {
                    commands.push(self.command(&tokens[from..index], token.at)?);
                    from = index + 1;
                }
                _ => {}
            }
        }
        commands.push(self.command(&tokens[from..], end)?);
        Ok(Pipeline { variables, assigns, commands })
    }

    fn command(&self, tokens: &[Token], end: usize) -> Result<Command, TemplateError> {
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            return self.error(end, "missing value for command");
        };
        let text = self.source[first.at..last.end].to_owned();
        let mut operands = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let (operand, next) = self.operand(tokens, at)?;
            if !operands.is_empty() && !tokens[at].spaced && tokens[at].kind != TokenKind::Open {
                let text = &self.source[tokens[at].at..tokens[at].end];
                return self.error(tokens[at].at, format!("unexpected {text:?} in operand"));
            }
            operands.push(operand);
            at = next;
        }
        Ok(Command { operands, text })
    }

    fn operand(&self, tokens: &[Token], at: usize) -> Result<(Operand, usize), TemplateError> {
        let token = &tokens[at];
        let mut next = at + 1;
        let mut place = token.at;
        let integer = |value: i64| OperandKind::Literal(Value::from(value));
        let mut kind = match &token.kind {
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Field(name) => OperandKind::Field(vec![name.clone()]),
            TokenKind::Variable(name) => OperandKind::Variable(name.clone(), Vec::new()),
            TokenKind::Text(text) => OperandKind::Literal(Value::from(text.clone())),
            TokenKind::Int(value) => integer(*value),
            TokenKind::Float(value) => {
                OperandKind::Literal(Number::from_f64(*value).map_or(Value::Null, Value::Number))
            }
            TokenKind::Word(word) => match word.as_str() {
                "true" | "false" => OperandKind::Literal(Value::Bool(word == "true")),
                "nil" => OperandKind::Nil,
                word if is_function(word) => OperandKind::Function(word.to_owned()),
                word => return self.error(token.at, format!("function {word:?} not defined")),
            },
            TokenKind::Open => {
                let mut depth = 1;
                let mut close = next;
                while depth > 0 {
                    match tokens[close].kind {
                        TokenKind::Open => depth += 1,
                        TokenKind::Close => depth -= 1,
                        _ => {}
                    }
                    close += 1;
                }
                let inner = self.pipeline(&tokens[next..close - 1], tokens[close - 1].at)?;
                next = close;
                OperandKind::Nested(Box::new(inner), Vec::new())
            }
            _ => {
                let text = &self.source[token.at..token.end];
                return self.error(token.at, format!("unexpected {text:?} in operand"));
            }
        };
        // `.a.b`, `$x.a`, `(…).a`: fields without a space between.
        let mut first = true;
        while let Some(Token { kind: TokenKind::Field(name), at, spaced: false, .. }) =
            tokens.get(next)
        {
            match &mut kind {
                OperandKind::Field(path)
                | OperandKind::Variable(_, path)
                | OperandKind::Nested(_, path) => path.push(name.clone()),
                _ => {
                    let text = &self.source[token.at..token.end];
                    return self.error(token.at, format!("unexpected . after term {text:?}"));
                }
            }
            // Go places a chain where its second part stands.
            if std::mem::take(&mut first) {
                place = *at;
            }
            next += 1;
        }
        let text = self.source[token.at..tokens[next - 1].end].to_owned();
        Ok((Operand { kind, at: place, text }, next))
    }
}
