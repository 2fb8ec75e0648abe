//! From text to [`Expr`]: precedence climbing, macros expanded on the way.

use super::{
    ast::{Expr, Fold, Lit, Op, Optional},
    functions,
    lex::{Kind, Token, lex},
};

/// Expressions nest no deeper than this.
const MAX_DEPTH: usize = 100;
/// Names that qualify functions.
const NAMESPACES: &[&str] = &["cel", "format", "ip", "optional", "sets"];

/// Reads an expression; an error is told in cel-go's form.
pub(super) fn parse(source: &str) -> Result<Expr, String> {
    let tell = |(at, why): (usize, String)| {
        let line = source.lines().next().unwrap_or_default();
        let place = " ".repeat(at.saturating_sub(1));
        format!("ERROR: <input>:1:{at}: {why}\n | {line}\n | {place}^")
    };
    let tokens = lex(source).map_err(tell)?;
    let mut parser = Parser { tokens, next: 0, depth: 0 };
    let expr = parser.expr().map_err(tell)?;
    let left = parser.peek();
    if left.kind != Kind::End {
        let why = format!("Syntax error: extraneous input {}", shown(&left.kind));
        return Err(tell((left.at, why)));
    }
    Ok(expr)
}

fn shown(kind: &Kind) -> String {
    match kind {
        Kind::End => "'<EOF>'".to_owned(),
        Kind::Sign(sign) => format!("'{sign}'"),
        Kind::Ident(name) => format!("'{name}'"),
        Kind::Lit(_) => "a literal".to_owned(),
    }
}

type Failure = (usize, String);

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek().kind, Kind::Sign(other) if other == sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Failure> {
        if self.take(sign) {
            return Ok(());
        }
        let token = self.peek();
        Err((
            token.at,
            format!("Syntax error: mismatched input {} expecting '{sign}'", shown(&token.kind)),
        ))
    }

    fn expr(&mut self) -> Result<Expr, Failure> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((self.peek().at, "expression recursion limit exceeded".to_owned()));
        }
        let condition = self.or()?;
        let expr = if self.take("?") {
            let then = self.or()?;
            self.expect(":")?;
            let otherwise = self.expr()?;
            Expr::Cond(condition.into(), then.into(), otherwise.into())
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn or(&mut self) -> Result<Expr, Failure> {
        let mut left = self.and()?;
        while self.take("||") {
            left = Expr::Or(left.into(), self.and()?.into());
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, Failure> {
        let mut left = self.relation()?;
        while self.take("&&") {
            left = Expr::And(left.into(), self.relation()?.into());
        }
        Ok(left)
    }

    fn relation(&mut self) -> Result<Expr, Failure> {
        let mut left = self.binary(0)?;
        loop {
            let op = match &self.peek().kind {
                Kind::Sign("==") => Op::Eq,
                Kind::Sign("!=") => Op::Ne,
                Kind::Sign("<") => Op::Lt,
                Kind::Sign("<=") => Op::Le,
                Kind::Sign(">") => Op::Gt,
                Kind::Sign(">=") => Op::Ge,
                Kind::Ident(word) if word == "in" => Op::In,
                _ => return Ok(left),
            };
            let at = self.advance().at;
            let right = self.binary(0)?;
            left = Expr::Binary { op, left: left.into(), right: right.into(), at };
        }
    }

    /// Sums (0) and products (1).
    fn binary(&mut self, level: usize) -> Result<Expr, Failure> {
        let ops: &[(&str, Op)] = match level {
            0 => &[("+", Op::Add), ("-", Op::Sub)],
            1 => &[("*", Op::Mul), ("/", Op::Div), ("%", Op::Rem)],
            _ => return self.unary(),
        };
        let mut left = self.binary(level + 1)?;
        loop {
            let Kind::Sign(sign) = self.peek().kind else { return Ok(left) };
            let Some((_, op)) = ops.iter().find(|(other, _)| *other == sign) else {
                return Ok(left);
            };
            let at = self.advance().at;
            let right = self.binary(level + 1)?;
            left = Expr::Binary { op: *op, left: left.into(), right: right.into(), at };
        }
    }

    fn unary(&mut self) -> Result<Expr, Failure> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err((self.peek().at, "expression recursion limit exceeded".to_owned()));
        }
        let expr = if self.take("!") {
            Expr::Not(self.unary()?.into())
        } else if self.take("-") {
            match self.unary()? {
                Expr::Lit(Lit::Int(n)) => Expr::Lit(Lit::Int(n.wrapping_neg())),
                Expr::Lit(Lit::Double(n)) => Expr::Lit(Lit::Double(-n)),
                other => Expr::Neg(other.into()),
            }
        } else {
            self.member()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn member(&mut self) -> Result<Expr, Failure> {
        let mut expr = self.primary()?;
        loop {
            if self.take(".") {
                let optional = self.take("?");
                let token = self.advance();
                let Kind::Ident(name) = token.kind else {
                    return Err((
                        token.at,
                        format!(
                            "Syntax error: no viable alternative at input {}",
                            shown(&token.kind)
                        ),
                    ));
                };
                let is_call = matches!(self.peek().kind, Kind::Sign("("));
                expr = if is_call && !optional {
                    let args = self.arguments()?;
                    method(expr, name, args, token.at)?
                } else {
                    let at = token.at.saturating_sub(1);
                    Expr::Select { of: expr.into(), field: unescaped(&name), optional, at }
                };
            } else if self.take("[") {
                let optional = self.take("?");
                let index = self.expr()?;
                self.expect("]")?;
                expr = Expr::Index { of: expr.into(), index: index.into(), optional };
            } else {
                return Ok(expr);
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Failure> {
        self.expect("(")?;
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if self.take(")") {
                return Ok(args);
            }
            self.expect(",")?;
        }
    }

    fn primary(&mut self) -> Result<Expr, Failure> {
        let token = self.advance();
        match token.kind {
            Kind::Lit(lit) => Ok(Expr::Lit(lit)),
            Kind::Ident(name) if matches!(self.peek().kind, Kind::Sign("(")) => {
                let args = self.arguments()?;
                function(name, args, token.at)
            }
            Kind::Ident(name) => Ok(Expr::Ident(name)),
            Kind::Sign(".") => self.primary(),
            Kind::Sign("(") => {
                let expr = self.expr()?;
                self.expect(")")?;
                Ok(expr)
            }
            Kind::Sign("[") => self.list(),
            Kind::Sign("{") => self.map(),
            other => Err((
                token.at,
                format!("Syntax error: mismatched input {} expecting an expression", shown(&other)),
            )),
        }
    }

    fn list(&mut self) -> Result<Expr, Failure> {
        let mut items = Vec::new();
        loop {
            if self.take("]") {
                return Ok(Expr::List(items));
            }
            let optional = self.take("?");
            items.push((optional, self.expr()?));
            if !self.take(",") {
                self.expect("]")?;
                return Ok(Expr::List(items));
            }
        }
    }

    fn map(&mut self) -> Result<Expr, Failure> {
        let mut entries = Vec::new();
        loop {
            if self.take("}") {
                return Ok(Expr::Map(entries));
            }
            let optional = self.take("?");
            let key = self.expr()?;
            self.expect(":")?;
            entries.push((optional, key, self.expr()?));
            if !self.take(",") {
                self.expect("}")?;
                return Ok(Expr::Map(entries));
            }
        }
    }
}

/// `name(args)`
fn function(name: String, mut args: Vec<Expr>, at: usize) -> Result<Expr, Failure> {
    if name == "has" {
        return match (args.len(), args.pop()) {
            (1, Some(Expr::Select { of, field, optional: false, at })) => {
                Ok(Expr::Has { of, field, at })
            }
            _ => Err((at + 3, "invalid argument to has() macro".to_owned())),
        };
    }
    known(name, None, args, at)
}

/// `target.name(args)`
fn method(target: Expr, name: String, mut args: Vec<Expr>, at: usize) -> Result<Expr, Failure> {
    if let Expr::Ident(space) = &target
        && NAMESPACES.contains(&space.as_str())
        && (functions::exists(&format!("{space}.{name}"), false) || name == "bind")
    {
        let qualified = format!("{space}.{name}");
        if qualified == "cel.bind" {
            return bind(args, at);
        }
        return known(qualified, None, args, at);
    }
    let fold = match (name.as_str(), args.len()) {
        ("all", 2 | 3) => Fold::All,
        ("exists", 2 | 3) => Fold::Exists,
        ("exists_one" | "existsOne", 2 | 3) => Fold::ExistsOne,
        ("filter", 2) => Fold::Filter,
        ("map", 2 | 3) => Fold::Map,
        ("optMap" | "optFlatMap", 2) => {
            let body = args.pop().map(Box::new);
            let var = args.pop().and_then(variable);
            let (Some(body), Some(var)) = (body, var) else {
                return Err((at, "argument is not an identifier".to_owned()));
            };
            let optional = Some(if name == "optMap" { Optional::Map } else { Optional::FlatMap });
            return Ok(Expr::Bind { var, value: target.into(), body, optional });
        }
        _ => return known(name, Some(target.into()), args, at),
    };
    let not_a_name = || (at, "argument must be a simple name".to_owned());
    let body = args.pop().ok_or_else(not_a_name)?;
    let middle = if args.len() == 2 { args.pop() } else { None };
    let var = args.pop().and_then(variable).ok_or_else(not_a_name)?;
    let (second, condition) = match middle {
        Some(condition) if fold == Fold::Map => (None, Some(Box::new(condition))),
        Some(second) => (Some(variable(second).ok_or_else(not_a_name)?), None),
        None => (None, None),
    };
    Ok(Expr::Fold { fold, over: target.into(), var, second, condition, body: body.into() })
}

fn bind(mut args: Vec<Expr>, at: usize) -> Result<Expr, Failure> {
    let (body, value) = (args.pop(), args.pop());
    let var = args.pop().and_then(variable);
    match (var, value, body) {
        (Some(var), Some(value), Some(body)) if args.is_empty() => {
            Ok(Expr::Bind { var, value: value.into(), body: body.into(), optional: None })
        }
        _ => Err((at, "cel.bind() variable names must be simple identifiers".to_owned())),
    }
}

fn variable(expr: Expr) -> Option<String> {
    match expr {
        Expr::Ident(name) => Some(name),
        _ => None,
    }
}

fn known(
    name: String,
    target: Option<Box<Expr>>,
    args: Vec<Expr>,
    at: usize,
) -> Result<Expr, Failure> {
    if !functions::exists(&name, target.is_some()) {
        return Err((at, format!("undeclared reference to '{name}' (in container '')")));
    }
    Ok(Expr::Call { name, target, args, at })
}

/// Kubernetes escapes names that are no identifiers: `__dash__` for `-`, and keywords as `__if__`.
fn unescaped(name: &str) -> String {
    const PAIRS: &[(&str, &str)] =
        &[("__dot__", "."), ("__dash__", "-"), ("__slash__", "/"), ("__underscores__", "__")];
    const KEYWORDS: &[&str] = &[
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
    ];
    if !name.contains("__") {
        return name.to_owned();
    }
    if let Some(word) = name.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && KEYWORDS.contains(&word)
    {
        return word.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        match PAIRS.iter().find(|(escape, _)| rest.starts_with(escape)) {
            Some((escape, plain)) => {
                out.push_str(plain);
                rest = &rest[escape.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}
