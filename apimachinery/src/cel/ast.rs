//! Expressions.

use std::collections::BTreeSet;

use crate::regexp::Regexp;

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Lit {
    /// `null`
    Null,
    /// `true`
    Bool(bool),
    /// `1`
    Int(i64),
    /// `1u`
    Uint(u64),
    /// `1.5`
    Double(f64),
    /// `"a"`
    String(String),
    /// `b"a"`
    Bytes(Vec<u8>),
}

/// An operator of two operands that are both evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `in`
    In,
}

impl Op {
    /// cel-go's name of the operator.
    #[must_use]
    pub const fn function(self) -> &'static str {
        match self {
            Self::Add => "_+_",
            Self::Sub => "_-_",
            Self::Mul => "_*_",
            Self::Div => "_/_",
            Self::Rem => "_%_",
            Self::Eq => "_==_",
            Self::Ne => "_!=_",
            Self::Lt => "_<_",
            Self::Le => "_<=_",
            Self::Gt => "_>_",
            Self::Ge => "_>=_",
            Self::In => "@in",
        }
    }
}

/// A macro over the items of a list or the keys of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// All satisfy.
    All,
    /// One satisfies.
    Exists,
    /// Exactly one satisfies.
    ExistsOne,
    /// Those that satisfy.
    Filter,
    /// What becomes of each (of those that satisfy).
    Map,
}

/// An expression. Places are counted in characters of the source, from 1.
///
/// Whatever walks an expression calls itself, so the parser bounds how high one is.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A literal.
    Lit(Lit),
    /// A variable, or the name of a type, and its place.
    Ident(String, usize),
    /// `of.field`, `of.?field`
    Select {
        /// The object.
        of: Box<Self>,
        /// The field.
        field: String,
        /// Gives an optional.
        optional: bool,
        /// Its place.
        at: usize,
    },
    /// `has(of.field)`
    Has {
        /// The object.
        of: Box<Self>,
        /// The field.
        field: String,
        /// Its place.
        at: usize,
    },
    /// `of[index]`, `of[?index]`
    Index {
        /// The list or map.
        of: Box<Self>,
        /// Where.
        index: Box<Self>,
        /// Gives an optional.
        optional: bool,
        /// Its place.
        at: usize,
    },
    /// `f(args)`, `target.f(args)`
    Call {
        /// Its name; qualified (`sets.contains`) where it stands in a namespace.
        name: String,
        /// Of which value it is a method.
        target: Option<Box<Self>>,
        /// Arguments.
        args: Vec<Self>,
        /// The pattern among them, if it is a literal.
        pattern: Option<Box<Regexp>>,
        /// Its place.
        at: usize,
    },
    /// `[a, ?b]`
    List(Vec<(bool, Self)>),
    /// `{k: v, ?k: v}`
    Map(Vec<(bool, Self, Self)>),
    /// `a && b`, and its place.
    And(Box<Self>, Box<Self>, usize),
    /// `a || b`, and its place.
    Or(Box<Self>, Box<Self>, usize),
    /// `!a`, and its place.
    Not(Box<Self>, usize),
    /// `-a`, and its place.
    Neg(Box<Self>, usize),
    /// `a ? b : c`, and its place.
    Cond(Box<Self>, Box<Self>, Box<Self>, usize),
    /// `a < b`
    Binary {
        /// The operator.
        op: Op,
        /// Left.
        left: Box<Self>,
        /// Right.
        right: Box<Self>,
        /// The operator's place.
        at: usize,
    },
    /// `over.all(var, body)`
    Fold {
        /// Which.
        fold: Fold,
        /// The list or map.
        over: Box<Self>,
        /// The item's name.
        var: String,
        /// The name of the value, where `var` is that of the index or key.
        second: Option<String>,
        /// Which items `map` takes.
        condition: Option<Box<Self>>,
        /// What is computed for each.
        body: Box<Self>,
        /// Its place.
        at: usize,
    },
    /// `cel.bind(var, value, body)`; `value.optMap(var, body)`
    Bind {
        /// The name.
        var: String,
        /// What it stands for.
        value: Box<Self>,
        /// Where it does.
        body: Box<Self>,
        /// The value is an optional: without one, so is the outcome.
        optional: Option<Optional>,
    },
}

/// How a binding of an optional's value wraps the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// `optMap`: the body gives a value.
    Map,
    /// `optFlatMap`: the body gives an optional.
    FlatMap,
}

impl Expr {
    /// The expressions right below.
    #[must_use]
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Lit(_) | Self::Ident(..) => Vec::new(),
            Self::Select { of, .. } | Self::Has { of, .. } => vec![of],
            Self::Index { of, index, .. } => vec![of, index],
            Self::Call { target, args, .. } => target.as_deref().into_iter().chain(args).collect(),
            Self::List(items) => items.iter().map(|(_, item)| item).collect(),
            Self::Map(entries) => entries.iter().flat_map(|(_, k, v)| [k, v]).collect(),
            Self::And(a, b, _) | Self::Or(a, b, _) => vec![a, b],
            Self::Not(a, _) | Self::Neg(a, _) => vec![a],
            Self::Cond(a, b, c, _) => vec![a, b, c],
            Self::Binary { left, right, .. } => vec![left, right],
            Self::Fold { over, condition, body, .. } => {
                let mut all: Vec<&Self> = vec![over, body];
                all.extend(condition.as_deref());
                all
            }
            Self::Bind { value, body, .. } => vec![value, body],
        }
    }

    /// How many states its patterns have together.
    #[must_use]
    pub fn states(&self) -> u64 {
        let mut states = 0_u64;
        let mut left = vec![self];
        while let Some(next) = left.pop() {
            if let Self::Call { pattern: Some(pattern), .. } = next {
                states = states.saturating_add(pattern.states);
            }
            left.extend(next.children());
        }
        states
    }

    /// The names that occur in it, of variables and types.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut left = vec![self];
        while let Some(next) = left.pop() {
            if let Self::Ident(name, _) = next {
                names.insert(name.clone());
            }
            left.extend(next.children());
        }
        names
    }
}
