//! From text to [`Expr`]: precedence climbing, macros expanded on the way.
//!
//! Everything after the parser walks expressions by recursion, so the parser refuses what is too long and what is too high:
//! a chain such as `1+1+1…` is as high as it is long, and counts. `&&` and `||` may be long chains: they are balanced. The
//! parser's own recursion takes small frames: what makes nodes stands in functions that call nobody back.

use super::{
    ast::{Expr, Fold, Lit, Op, Optional},
    lex::{Kind, Token, lex},
    signatures,
};
use crate::regexp::Regexp;

/// Expressions are no higher than this; as in cel-go.
const MAX_HEIGHT: usize = 250;
/// Brackets nest no deeper than this: the parser has ten frames for each where the rest has one.
const MAX_NESTING: usize = 100;
/// Expressions have no more characters than this; as in cel-go.
const MAX_SIZE: usize = 100_000;
/// The patterns of one expression have no more states than this.
const MAX_STATES: u64 = 50_000;
/// A line that is longer is not shown with its mistake.
const MAX_SNIPPET: usize = 16_384;
/// Names that qualify functions.
const NAMESPACES: &[&str] = &["cel", "format", "ip", "optional", "sets", "strings"];

/// Reads an expression; an error is told in cel-go's form.
pub(super) fn parse(source: &str) -> Result<Expr, String> {
    let size = source.chars().count();
    if size > MAX_SIZE {
        return Err(format!(
            "ERROR: <input>:-1:0: expression code point size exceeds limit: size: {size}, limit {MAX_SIZE}"
        ));
    }
    let tell = |(at, why): Failure| tell(source, at, &why);
    let tokens = lex(source).map_err(tell)?;
    let mut parser = Parser { tokens, next: 0, depth: 0, states: 0 };
    let node = parser.expr().map_err(tell)?;
    let left = parser.peek();
    if left.kind != Kind::End {
        let why = format!("Syntax error: extraneous input {}", shown(&left.kind));
        return Err(tell((left.at, why)));
    }
    Ok(*node.expr)
}

/// A mistake in cel-go's form, with its line and column and the line itself.
pub(super) fn tell(source: &str, at: usize, why: &str) -> String {
    let before = source.char_indices().nth(at.saturating_sub(1)).map_or(source.len(), |(i, _)| i);
    let line = source[..before].matches('\n').count() + 1;
    let start = source[..before].rfind('\n').map_or(0, |end| end + 1);
    let column = source[start..before].chars().count();
    let text = source[start..].lines().next().unwrap_or_default();
    let told = format!("ERROR: <input>:{line}:{}: {why}", column + 1);
    if text.len() > MAX_SNIPPET {
        return told;
    }
    let text = text.replace('\t', " ");
    format!("{told}\n | {text}\n | {}^", ".".repeat(column))
}

fn shown(kind: &Kind) -> String {
    match kind {
        Kind::End => "'<EOF>'".to_owned(),
        Kind::Sign(sign) => format!("'{sign}'"),
        Kind::Ident(name) => format!("'{name}'"),
        Kind::Lit(_) | Kind::Smallest => "a literal".to_owned(),
    }
}

type Failure = (usize, String);

/// An expression, how high it is, and where it starts.
struct Node {
    expr: Box<Expr>,
    height: usize,
    start: usize,
}

impl Node {
    fn leaf(expr: Expr, start: usize) -> Self {
        Self { expr: Box::new(expr), height: 1, start }
    }

    /// An expression over others, of which the highest has this height.
    fn over(below: usize, start: usize, at: usize, expr: Expr) -> Result<Self, Failure> {
        if below >= MAX_HEIGHT {
            return Err((at, too_deep(MAX_HEIGHT)));
        }
        Ok(Self { expr: Box::new(expr), height: below + 1, start })
    }
}

fn too_deep(limit: usize) -> String {
    format!("expression recursion limit exceeded: {limit}")
}

fn highest<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> usize {
    nodes.into_iter().map(|node| node.height).max().unwrap_or_default()
}

/// An operator between two operands.
#[derive(Clone, Copy, PartialEq)]
enum Infix {
    And,
    Or,
    Op(Op),
}

/// The operators and how tightly they bind.
const INFIXES: &[(&str, Infix, usize)] = &[
    ("||", Infix::Or, 1),
    ("&&", Infix::And, 2),
    ("==", Infix::Op(Op::Eq), 3),
    ("!=", Infix::Op(Op::Ne), 3),
    ("<", Infix::Op(Op::Lt), 3),
    ("<=", Infix::Op(Op::Le), 3),
    (">", Infix::Op(Op::Gt), 3),
    (">=", Infix::Op(Op::Ge), 3),
    ("in", Infix::Op(Op::In), 3),
    ("+", Infix::Op(Op::Add), 4),
    ("-", Infix::Op(Op::Sub), 4),
    ("*", Infix::Op(Op::Mul), 5),
    ("/", Infix::Op(Op::Div), 5),
    ("%", Infix::Op(Op::Rem), 5),
];

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    /// Of the patterns so far.
    states: u64,
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

    /// Where the next token stands, which is passed over.
    fn next_place(&mut self) -> usize {
        let at = self.peek().at;
        self.next += 1;
        at
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

    fn expr(&mut self) -> Result<Node, Failure> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err((self.peek().at, too_deep(MAX_NESTING)));
        }
        let condition = self.binary(1)?;
        let at = self.peek().at;
        let node = if self.take("?") {
            let then = self.binary(1)?;
            self.expect(":")?;
            conditional(condition, then, self.expr()?, at)?
        } else {
            condition
        };
        self.depth -= 1;
        Ok(node)
    }

    fn infix(&self) -> Option<(Infix, usize)> {
        let word = match &self.peek().kind {
            Kind::Sign(sign) => sign,
            Kind::Ident(word) => word.as_str(),
            _ => return None,
        };
        INFIXES.iter().find(|(other, ..)| *other == word).map(|(_, infix, level)| (*infix, *level))
    }

    /// Operands joined by operators that bind at least as tightly as this.
    fn binary(&mut self, lowest: usize) -> Result<Node, Failure> {
        let mut left = self.unary()?;
        while let Some((infix, level)) = self.infix().filter(|(_, level)| *level >= lowest) {
            let Infix::Op(op) = infix else {
                left = self.junction(left, infix, level)?;
                continue;
            };
            let at = self.next_place();
            left = joined(left, Infix::Op(op), self.binary(level + 1)?, at)?;
        }
        Ok(left)
    }

    /// `a && b && …`, balanced.
    fn junction(&mut self, first: Node, infix: Infix, level: usize) -> Result<Node, Failure> {
        let mut operands = vec![first];
        let mut places = Vec::new();
        while self.infix().is_some_and(|(other, _)| other == infix) {
            places.push(self.next_place());
            operands.push(self.binary(level + 1)?);
        }
        balanced(operands, places, infix)
    }

    fn unary(&mut self) -> Result<Node, Failure> {
        let mut signs = Vec::new();
        loop {
            let at = self.peek().at;
            if self.take("!") {
                signs.push((true, at));
            } else if self.take("-") {
                signs.push((false, at));
            } else {
                break;
            }
        }
        // The smallest number is a minus before one that is none by itself.
        if let (Some((false, at)), Kind::Smallest) = (signs.last().copied(), &self.peek().kind) {
            self.next += 1;
            signs.pop();
            return signed(signs, Node::leaf(Expr::Lit(Lit::Int(i64::MIN)), at));
        }
        signed(signs, self.member()?)
    }

    fn member(&mut self) -> Result<Node, Failure> {
        let mut node = self.primary()?;
        loop {
            let sign = self.peek().at;
            if self.take(".") {
                let optional = self.take("?");
                let (name, at) = self.name()?;
                let is_call = !optional && matches!(self.peek().kind, Kind::Sign("("));
                node = if is_call {
                    let call = method(node, name, self.arguments()?, at)?;
                    self.counted(call, at)?
                } else {
                    selected(node, &name, optional, sign)?
                };
            } else if self.take("[") {
                let optional = self.take("?");
                let index = self.expr()?;
                self.expect("]")?;
                node = indexed(node, index, optional, sign)?;
            } else {
                return Ok(node);
            }
        }
    }

    /// The name of a field or method.
    fn name(&mut self) -> Result<(String, usize), Failure> {
        let token = self.advance();
        match token.kind {
            Kind::Ident(name) => Ok((name, token.at)),
            other => {
                let why = shown(&other);
                Err((token.at, format!("Syntax error: no viable alternative at input {why}")))
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Failure> {
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

    fn primary(&mut self) -> Result<Node, Failure> {
        let at = self.peek().at;
        if self.take("(") {
            let node = self.expr()?;
            self.expect(")")?;
            return Ok(node);
        }
        if self.take("[") {
            return self.list(at);
        }
        if self.take("{") {
            return self.map(at);
        }
        let node = self.word()?;
        match (*node.expr, &self.peek().kind) {
            (Expr::Ident(name, at), Kind::Sign("(")) => {
                let call = function(name, self.arguments()?, at)?;
                self.counted(call, at)
            }
            (expr, _) => Ok(Node::leaf(expr, node.start)),
        }
    }

    /// A call whose pattern, if it has one, is not too much.
    fn counted(&mut self, call: Node, at: usize) -> Result<Node, Failure> {
        if let Expr::Call { pattern: Some(pattern), .. } = &*call.expr {
            self.states = self.states.saturating_add(pattern.states);
        }
        if self.states > MAX_STATES {
            return Err((at, "the patterns are too large together".to_owned()));
        }
        Ok(call)
    }

    /// A literal or a name.
    fn word(&mut self) -> Result<Node, Failure> {
        let mut token = self.advance();
        // `.name`: a name that is looked for at the root, where all are.
        if token.kind == Kind::Sign(".") {
            token = self.advance();
            if !matches!(token.kind, Kind::Ident(_)) {
                return Err(unexpected(&token));
            }
        }
        match token.kind {
            Kind::Lit(lit) => Ok(Node::leaf(Expr::Lit(lit), token.at)),
            Kind::Smallest => Err((token.at, "invalid int literal".to_owned())),
            Kind::Ident(name) => Ok(Node::leaf(Expr::Ident(name, token.at), token.at)),
            _ => Err(unexpected(&token)),
        }
    }

    fn list(&mut self, at: usize) -> Result<Node, Failure> {
        let mut items = Vec::new();
        let mut below = 0;
        loop {
            if self.take("]") {
                return Node::over(below, at, at, Expr::List(items));
            }
            let optional = self.take("?");
            let item = self.expr()?;
            below = below.max(item.height);
            items.push((optional, *item.expr));
            if !self.take(",") {
                self.expect("]")?;
                return Node::over(below, at, at, Expr::List(items));
            }
        }
    }

    fn map(&mut self, at: usize) -> Result<Node, Failure> {
        let mut entries = Vec::new();
        let mut below = 0;
        loop {
            if self.take("}") {
                return Node::over(below, at, at, Expr::Map(entries));
            }
            let optional = self.take("?");
            let key = self.expr()?;
            self.expect(":")?;
            let value = self.expr()?;
            below = below.max(highest([&key, &value]));
            entries.push((optional, *key.expr, *value.expr));
            if !self.take(",") {
                self.expect("}")?;
                return Node::over(below, at, at, Expr::Map(entries));
            }
        }
    }
}

fn conditional(condition: Node, then: Node, otherwise: Node, at: usize) -> Result<Node, Failure> {
    let below = highest([&condition, &then, &otherwise]);
    let expr = Expr::Cond(condition.expr, then.expr, otherwise.expr, at);
    Node::over(below, condition.start, at, expr)
}

/// `a op b`
fn joined(left: Node, infix: Infix, right: Node, at: usize) -> Result<Node, Failure> {
    let below = highest([&left, &right]);
    let (a, b) = (left.expr, right.expr);
    let expr = match infix {
        Infix::And => Expr::And(a, b, at),
        Infix::Or => Expr::Or(a, b, at),
        Infix::Op(op) => Expr::Binary { op, left: a, right: b, at },
    };
    Node::over(below, left.start, at, expr)
}

/// Joins neighbours until one is left: as high as the logarithm of their number.
fn balanced(
    mut operands: Vec<Node>,
    mut places: Vec<usize>,
    infix: Infix,
) -> Result<Node, Failure> {
    loop {
        let mut signs = std::mem::take(&mut places).into_iter();
        let mut rest = std::mem::take(&mut operands).into_iter();
        while let Some(a) = rest.next() {
            match (rest.next(), signs.next()) {
                (Some(b), Some(at)) => operands.push(joined(a, infix, b, at)?),
                _ if operands.is_empty() => return Ok(a),
                _ => operands.push(a),
            }
            places.extend(signs.next());
        }
    }
}

/// `!` and `-` before an operand, the last one first; a minus belongs to the number after it.
fn signed(signs: Vec<(bool, usize)>, operand: Node) -> Result<Node, Failure> {
    signs.into_iter().rev().try_fold(operand, |node, (is_not, at)| match *node.expr {
        Expr::Lit(Lit::Int(n)) if !is_not && n >= 0 => Ok(Node::leaf(Expr::Lit(Lit::Int(-n)), at)),
        Expr::Lit(Lit::Double(n)) if !is_not => Ok(Node::leaf(Expr::Lit(Lit::Double(-n)), at)),
        _ if is_not => Node::over(node.height, at, at, Expr::Not(node.expr, at)),
        _ => Node::over(node.height, at, at, Expr::Neg(node.expr, at)),
    })
}

/// `of.field`
fn selected(of: Node, name: &str, optional: bool, at: usize) -> Result<Node, Failure> {
    let expr = Expr::Select { of: of.expr, field: unescaped(name), optional, at };
    Node::over(of.height, of.start, at, expr)
}

/// `of[index]`
fn indexed(of: Node, index: Node, optional: bool, at: usize) -> Result<Node, Failure> {
    let below = highest([&of, &index]);
    let expr = Expr::Index { of: of.expr, index: index.expr, optional, at };
    Node::over(below, of.start, at, expr)
}

fn unexpected(token: &Token) -> Failure {
    let found = shown(&token.kind);
    (token.at, format!("Syntax error: mismatched input {found} expecting an expression"))
}

/// `name(args)`
fn function(name: String, mut args: Vec<Node>, at: usize) -> Result<Node, Failure> {
    if name == "has" {
        let one = if args.len() == 1 { args.pop() } else { None };
        return match one.map(|node| (node.height, *node.expr)) {
            Some((height, Expr::Select { of, field, optional: false, at: dot })) => {
                Node::over(height - 1, at, at, Expr::Has { of, field, at: dot })
            }
            _ => Err((at + 3, "invalid argument to has() macro".to_owned())),
        };
    }
    known(name, None, args, at)
}

/// `target.name(args)`
fn method(target: Node, name: String, mut args: Vec<Node>, at: usize) -> Result<Node, Failure> {
    if let Expr::Ident(space, start) = &*target.expr
        && NAMESPACES.contains(&space.as_str())
        && (signatures::exists(&format!("{space}.{name}"), false) || name == "bind")
    {
        let (qualified, start) = (format!("{space}.{name}"), *start);
        if qualified == "cel.bind" {
            return bind(args, start, at);
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
            let below = highest(args.iter().chain([&target]));
            let body = args.pop().map(|node| node.expr);
            let var = args.pop().and_then(variable);
            let (Some(body), Some(var)) = (body, var) else {
                return Err((at, "argument is not an identifier".to_owned()));
            };
            let optional = Some(if name == "optMap" { Optional::Map } else { Optional::FlatMap });
            let expr = Expr::Bind { var, value: target.expr, body, optional };
            return Node::over(below, target.start, at, expr);
        }
        _ => return known(name, Some(target), args, at),
    };
    let below = highest(args.iter().chain([&target]));
    let not_a_name = || (at, "argument must be a simple name".to_owned());
    let body = args.pop().ok_or_else(not_a_name)?.expr;
    let middle = if args.len() == 2 { args.pop() } else { None };
    let var = args.pop().and_then(variable).ok_or_else(not_a_name)?;
    let (second, condition) = match middle {
        Some(condition) if fold == Fold::Map => (None, Some(condition.expr)),
        Some(second) => (Some(variable(second).ok_or_else(not_a_name)?), None),
        None => (None, None),
    };
    let (start, over) = (target.start, target.expr);
    Node::over(below, start, at, Expr::Fold { fold, over, var, second, condition, body, at })
}

fn bind(mut args: Vec<Node>, start: usize, at: usize) -> Result<Node, Failure> {
    let below = highest(&args);
    let (body, value) = (args.pop(), args.pop());
    let var = args.pop().and_then(variable);
    match (var, value, body) {
        (Some(var), Some(value), Some(body)) if args.is_empty() => {
            let (value, body) = (value.expr, body.expr);
            Node::over(below, start, at, Expr::Bind { var, value, body, optional: None })
        }
        _ => Err((at, "cel.bind() variable names must be simple identifiers".to_owned())),
    }
}

fn variable(node: Node) -> Option<String> {
    match *node.expr {
        Expr::Ident(name, _) => Some(name),
        _ => None,
    }
}

fn known(name: String, target: Option<Node>, args: Vec<Node>, at: usize) -> Result<Node, Failure> {
    if !signatures::exists(&name, target.is_some()) {
        return Err((at, format!("undeclared reference to '{name}' (in container '')")));
    }
    // A pattern that is a literal is read once; one that is none is no rule.
    let literal = args.get(usize::from(target.is_none())).and_then(|node| match &*node.expr {
        Expr::Lit(Lit::String(text)) => Some((node.start, text)),
        _ => None,
    });
    let pattern = match (name.as_str(), literal) {
        ("matches" | "find" | "findAll", Some((start, text))) => {
            let regexp =
                Regexp::new(text).map_err(|_| (start, format!("invalid {name} argument")))?;
            Some(Box::new(regexp))
        }
        _ => None,
    };
    let below = highest(args.iter().chain(&target));
    let start = target.as_ref().map_or(at, |target| target.start);
    let target = target.map(|target| target.expr);
    let args = args.into_iter().map(|node| *node.expr).collect();
    Node::over(below, start, at, Expr::Call { name, target, args, pattern, at })
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
