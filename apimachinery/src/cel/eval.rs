//! Evaluation, bounded by steps.
//!
//! The walk is a recursion as high as the expression; [`Evaluation::expr`] only sends on, so that its frame is small.
//! Every expression costs a step; what reads or makes more than that is paid for first, by weight ([`Val::weight`]).

use std::{cmp::Ordering, rc::Rc};

use super::{
    ast::{Expr, Fold, Op, Optional},
    functions,
    value::{Text, Val, weight_of},
};

/// One expression may take this many steps, as Kubernetes' per-call limit.
pub const PER_CALL: u64 = 1_000_000;

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// In cel-go's words: `no such key: x`.
    Failed(String),
    /// The budget is used up.
    OverBudget,
}

impl EvalError {
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    pub(super) fn no_overload() -> Self {
        Self::failed("no such overload")
    }
}

impl std::fmt::Display for EvalError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::OverBudget => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}

/// The steps that are left, for one expression and for all of a request.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// For all expressions.
    pub total: u64,
    call: u64,
}

impl Budget {
    /// A budget for all expressions of one request.
    #[must_use]
    pub const fn new(total: u64) -> Self {
        Self { total, call: PER_CALL }
    }

    pub(super) fn spend(&mut self, steps: u64) -> Result<(), EvalError> {
        if steps > self.call || steps > self.total {
            self.call = 0;
            self.total = self.total.saturating_sub(steps);
            return Err(EvalError::OverBudget);
        }
        self.call -= steps;
        self.total -= steps;
        Ok(())
    }
}

/// Evaluates an expression with these variables.
///
/// # Errors
/// What goes wrong at run time, or a budget that does not suffice.
pub fn eval<'a>(
    expr: &'a Expr,
    variables: Vec<(&'a str, Val<'a>)>,
    budget: &mut Budget,
) -> Result<Val<'a>, EvalError> {
    budget.call = PER_CALL;
    Evaluation { variables, budget }.expr(expr)
}

struct Evaluation<'a, 'b> {
    variables: Vec<(&'a str, Val<'a>)>,
    budget: &'b mut Budget,
}

type Outcome<'a> = Result<Val<'a>, EvalError>;

impl<'a> Evaluation<'a, '_> {
    fn expr(&mut self, expr: &'a Expr) -> Outcome<'a> {
        self.budget.spend(1)?;
        match expr {
            Expr::Lit(lit) => self.seen(Val::lit(lit)),
            Expr::Ident(name, _) => self.variable(name),
            Expr::Select { of, field, optional, .. } => self.field(of, field, *optional),
            Expr::Has { of, field, .. } => self.has(of, field),
            Expr::Index { of, index, optional, .. } => self.index(of, index, *optional),
            Expr::Call { .. } => self.call(expr),
            Expr::List(items) => self.list(items),
            Expr::Map(entries) => self.map(entries),
            Expr::And(a, b, _) => self.junction(a, b, false),
            Expr::Or(a, b, _) => self.junction(a, b, true),
            Expr::Not(of, _) => self.not(of),
            Expr::Neg(of, _) => self.negative(of),
            Expr::Cond(condition, then, otherwise, _) => {
                let then = if self.flag(condition)? { then } else { otherwise };
                self.expr(then)
            }
            Expr::Binary { op, left, right, .. } => self.binary(*op, left, right),
            Expr::Fold { .. } => self.fold(expr),
            Expr::Bind { var, value, body, optional } => self.bind(var, value, body, *optional),
        }
    }

    fn field(&mut self, of: &'a Expr, field: &'a str, optional: bool) -> Outcome<'a> {
        let of = self.expr(of)?;
        self.select(&of, &Val::String(Text::Borrowed(field)), optional)
    }

    fn index(&mut self, of: &'a Expr, index: &'a Expr, optional: bool) -> Outcome<'a> {
        let (of, index) = (self.expr(of)?, self.expr(index)?);
        self.select(&of, &index, optional)
    }

    fn flag(&mut self, expr: &'a Expr) -> Result<bool, EvalError> {
        match self.expr(expr)? {
            Val::Bool(flag) => Ok(flag),
            _ => Err(EvalError::no_overload()),
        }
    }

    fn not(&mut self, of: &'a Expr) -> Outcome<'a> {
        self.flag(of).map(|flag| Val::Bool(!flag))
    }

    fn negative(&mut self, of: &'a Expr) -> Outcome<'a> {
        match self.expr(of)? {
            Val::Int(n) => n.checked_neg().map(Val::Int).ok_or_else(overflow),
            Val::Double(n) => Ok(Val::Double(-n)),
            _ => Err(EvalError::no_overload()),
        }
    }

    fn binary(&mut self, op: Op, left: &'a Expr, right: &'a Expr) -> Outcome<'a> {
        let (left, right) = (self.expr(left)?, self.expr(right)?);
        self.budget.spend(cost(op, &left, &right))?;
        binary(op, &left, &right)
    }

    /// A value that has just been read: bytes are decoded each time.
    fn seen(&mut self, value: Val<'a>) -> Outcome<'a> {
        if let Val::Bytes(bytes) = &value {
            self.budget.spend(weight_of(bytes.len()))?;
        }
        Ok(value)
    }

    fn select(&mut self, of: &Val<'a>, index: &Val<'a>, optional: bool) -> Outcome<'a> {
        self.budget.spend(index.size() as u64 / 10)?;
        let found = select(of, index, optional)?;
        self.seen(found)
    }

    fn variable(&mut self, name: &'a str) -> Outcome<'a> {
        self.budget.spend(name.len() as u64 / 10)?;
        let found = self.variables.iter().rev().find(|(other, _)| *other == name);
        match found {
            Some((_, value)) => Ok(value.clone()),
            None => functions::type_named(name)
                .map(Val::Type)
                .ok_or_else(|| EvalError::failed(format!("no such attribute(s): {name}"))),
        }
    }

    fn has(&mut self, of: &'a Expr, field: &'a str) -> Outcome<'a> {
        let of = match self.expr(of)? {
            Val::Optional(None) => return Ok(Val::Bool(false)),
            Val::Optional(Some(of)) => of.as_ref().clone(),
            of => of,
        };
        if !of.is_map() {
            return Err(EvalError::no_overload());
        }
        self.budget.spend(field.len() as u64 / 10)?;
        Ok(Val::Bool(of.entry(&Val::String(Text::Borrowed(field))).is_some()))
    }

    fn call(&mut self, expr: &'a Expr) -> Outcome<'a> {
        let Expr::Call { name, target, args, pattern, .. } = expr else {
            return Err(EvalError::no_overload());
        };
        let target = target.as_deref();
        let mut values = Vec::with_capacity(args.len() + 1);
        if let Some(target) = target {
            values.push(self.expr(target)?);
        }
        for arg in args {
            values.push(self.expr(arg)?);
        }
        let glances = functions::glances(name);
        let weight = |value: &Val<'_>| {
            if glances { weight_of(value.size()) } else { value.weight() }
        };
        self.budget.spend(values.iter().map(weight).fold(0, u64::saturating_add))?;
        functions::call(name, target.is_some(), &values, pattern.as_deref(), self.budget)
    }

    fn list(&mut self, items: &'a [(bool, Expr)]) -> Outcome<'a> {
        let mut list = Vec::with_capacity(items.len());
        for (optional, item) in items {
            match (optional, self.expr(item)?) {
                (false, value) => list.push(value),
                (true, Val::Optional(Some(value))) => list.push(value.as_ref().clone()),
                (true, Val::Optional(None)) => {}
                (true, _) => return Err(EvalError::no_overload()),
            }
        }
        Ok(Val::list(list))
    }

    fn map(&mut self, entries: &'a [(bool, Expr, Expr)]) -> Outcome<'a> {
        let mut map: Vec<(Val<'a>, Val<'a>)> = Vec::with_capacity(entries.len());
        for (optional, key, value) in entries {
            let key = self.expr(key)?;
            let value = match (optional, self.expr(value)?) {
                (false, value) => value,
                (true, Val::Optional(Some(value))) => value.as_ref().clone(),
                (true, Val::Optional(None)) => continue,
                (true, _) => return Err(EvalError::no_overload()),
            };
            map.push((key, value));
        }
        Val::map(map).map_err(EvalError::failed)
    }

    /// `&&` and `||`: one side that decides makes up for a failure of the other.
    fn junction(&mut self, a: &'a Expr, b: &'a Expr, decisive: bool) -> Outcome<'a> {
        let first = match self.expr(a) {
            Ok(Val::Bool(flag)) if flag == decisive => return Ok(Val::Bool(decisive)),
            Err(EvalError::OverBudget) => return Err(EvalError::OverBudget),
            Ok(Val::Bool(_)) => Ok(()),
            Ok(_) => Err(EvalError::no_overload()),
            Err(error) => Err(error),
        };
        match self.expr(b)? {
            Val::Bool(flag) if flag == decisive => Ok(Val::Bool(decisive)),
            Val::Bool(flag) => first.map(|()| Val::Bool(flag)),
            _ => Err(EvalError::no_overload()),
        }
    }

    fn fold(&mut self, expr: &'a Expr) -> Outcome<'a> {
        let Expr::Fold { fold, over, var, second, condition, body, .. } = expr else {
            return Err(EvalError::no_overload());
        };
        let over = self.expr(over)?;
        let items = over.iter().ok_or_else(EvalError::no_overload)?;
        // Fields that a rule may not see are passed over at no step of their own.
        self.budget.spend(over.len().unwrap_or_default() as u64 / 10)?;
        let depth = self.variables.len();
        let mut out = Vec::new();
        let mut satisfied = 0_usize;
        let mut failure = None;
        for (index, item) in items.enumerate() {
            let item = self.seen(item)?;
            self.variables.truncate(depth);
            match second {
                None => self.variables.push((var, item.clone())),
                Some(second) => {
                    let index = Val::Int(i64::try_from(index).unwrap_or(i64::MAX));
                    let (key, value) = match over.entry(&item) {
                        Some(value) if over.is_map() => (item.clone(), value),
                        _ => (index, item.clone()),
                    };
                    self.variables.push((var, key));
                    self.variables.push((second, value));
                }
            }
            if let Some(condition) = condition {
                match self.expr(condition)? {
                    Val::Bool(true) => {}
                    Val::Bool(false) => continue,
                    _ => return Err(EvalError::no_overload()),
                }
            }
            let outcome = self.expr(body);
            if *fold == Fold::Map {
                out.push(outcome?);
                continue;
            }
            let holds = match outcome {
                Ok(Val::Bool(holds)) => holds,
                Ok(_) => return Err(EvalError::no_overload()),
                Err(EvalError::OverBudget) => return Err(EvalError::OverBudget),
                // Another item may decide yet.
                Err(error) if matches!(fold, Fold::All | Fold::Exists) => {
                    failure.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            satisfied += usize::from(holds);
            match fold {
                Fold::All if !holds => failure = None,
                Fold::Exists if holds => failure = None,
                Fold::Filter if holds => out.push(item),
                _ => continue,
            }
            if matches!(fold, Fold::All | Fold::Exists) {
                self.variables.truncate(depth);
                return Ok(Val::Bool(*fold == Fold::Exists));
            }
        }
        self.variables.truncate(depth);
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok(match fold {
            Fold::All => Val::Bool(true),
            Fold::Exists => Val::Bool(false),
            Fold::ExistsOne => Val::Bool(satisfied == 1),
            Fold::Filter | Fold::Map => Val::list(out),
        })
    }

    fn bind(
        &mut self,
        var: &'a str,
        value: &'a Expr,
        body: &'a Expr,
        optional: Option<Optional>,
    ) -> Outcome<'a> {
        let value = match (optional, self.expr(value)?) {
            (None, value) => value,
            (Some(_), Val::Optional(None)) => return Ok(Val::Optional(None)),
            (Some(_), Val::Optional(Some(value))) => value.as_ref().clone(),
            (Some(_), _) => return Err(EvalError::no_overload()),
        };
        self.variables.push((var, value));
        let outcome = self.expr(body);
        self.variables.pop();
        match optional {
            Some(Optional::Map) => Ok(Val::Optional(Some(Rc::new(outcome?)))),
            Some(Optional::FlatMap) | None => outcome,
        }
    }
}

fn select<'a>(of: &Val<'a>, index: &Val<'a>, optional: bool) -> Outcome<'a> {
    let some = |value: Option<Val<'a>>| Ok(Val::Optional(value.map(Rc::new)));
    match of {
        // What is looked for in an optional is an optional itself.
        Val::Optional(None) => Ok(Val::Optional(None)),
        Val::Optional(Some(of)) => select(of, index, true),
        _ if of.is_map() => match (of.entry(index), optional) {
            (found, true) => some(found),
            (Some(value), false) => Ok(value),
            (None, false) => {
                let key = super::text::to_text(index).unwrap_or_default();
                Err(EvalError::failed(format!("no such key: {key}")))
            }
        },
        _ => {
            if !matches!(of, Val::List(_) | Val::Json(_)) {
                return Err(EvalError::no_overload());
            }
            let at = match index {
                Val::Int(n) => usize::try_from(*n).ok(),
                Val::Uint(n) => usize::try_from(*n).ok(),
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole and not negative"
                )]
                Val::Double(n) if n.fract() == 0.0 && *n >= 0.0 => Some(*n as usize),
                _ => return Err(EvalError::no_overload()),
            };
            match (at.and_then(|at| of.nth(at)), optional) {
                (found, true) => some(found),
                (Some(value), false) => Ok(value),
                (None, false) => {
                    let at = super::text::to_text(index).unwrap_or_default();
                    Err(EvalError::failed(format!("index out of bounds: {at}")))
                }
            }
        }
    }
}

fn overflow() -> EvalError {
    EvalError::failed("integer overflow")
}

/// What an operator costs besides its step.
fn cost(op: Op, left: &Val<'_>, right: &Val<'_>) -> u64 {
    match op {
        Op::Eq | Op::Ne => comparison(left, right),
        Op::Lt | Op::Le | Op::Gt | Op::Ge => left.weight().min(right.weight()),
        Op::In if right.is_map() => weight_of(left.size()),
        Op::In => search(right, left),
        Op::Add => match (left, right) {
            (Val::Int(_), _) | (Val::Double(_), _) => 0,
            _ => left.weight().saturating_add(right.weight()),
        },
        Op::Sub | Op::Mul | Op::Div | Op::Rem => 0,
    }
}

fn is_collection(value: &Val<'_>) -> bool {
    matches!(value, Val::List(_) | Val::Map(_) | Val::Json(_) | Val::Optional(_))
}

/// What it costs to see whether two values are equal: lists of different lengths are not.
fn comparison(left: &Val<'_>, right: &Val<'_>) -> u64 {
    if is_collection(left) && is_collection(right) {
        if left.len() != right.len() {
            return 1;
        }
        return left.weight().saturating_add(right.weight());
    }
    match (is_collection(left), is_collection(right)) {
        (true, false) | (false, true) => 1,
        _ => left.weight().min(right.weight()),
    }
}

/// What it costs to look for a value in a list.
pub(super) fn search(list: &Val<'_>, wanted: &Val<'_>) -> u64 {
    let each = if is_collection(wanted) { wanted.weight() } else { 0 };
    let count = list.len().unwrap_or_default() as u64;
    list.weight().saturating_add(count.saturating_mul(each))
}

fn binary<'a>(op: Op, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    let ordered = |wanted: fn(Ordering) -> bool| match left.compare(right) {
        Some(order) => Ok(Val::Bool(order.is_some_and(wanted))),
        None => Err(EvalError::no_overload()),
    };
    match op {
        Op::Eq => Ok(Val::Bool(left.equals(right))),
        Op::Ne => Ok(Val::Bool(!left.equals(right))),
        Op::Lt => ordered(Ordering::is_lt),
        Op::Le => ordered(Ordering::is_le),
        Op::Gt => ordered(Ordering::is_gt),
        Op::Ge => ordered(Ordering::is_ge),
        Op::In => match right {
            _ if right.is_map() => Ok(Val::Bool(right.entry(left).is_some())),
            _ => match right.iter() {
                Some(mut items) => Ok(Val::Bool(items.any(|item| item.equals(left)))),
                None => Err(EvalError::no_overload()),
            },
        },
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => arithmetic(op, left, right),
    }
}

fn arithmetic<'a>(op: Op, left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    let by_zero = || {
        let what = if op == Op::Rem { "modulus by zero" } else { "division by zero" };
        EvalError::failed(what)
    };
    match (left, right) {
        (Val::Int(a), Val::Int(b)) => match op {
            Op::Div | Op::Rem if *b == 0 => Err(by_zero()),
            Op::Add => a.checked_add(*b).map(Val::Int).ok_or_else(overflow),
            Op::Sub => a.checked_sub(*b).map(Val::Int).ok_or_else(overflow),
            Op::Mul => a.checked_mul(*b).map(Val::Int).ok_or_else(overflow),
            Op::Div => a.checked_div(*b).map(Val::Int).ok_or_else(overflow),
            _ => a.checked_rem(*b).map(Val::Int).ok_or_else(overflow),
        },
        (Val::Uint(a), Val::Uint(b)) => match op {
            Op::Div | Op::Rem if *b == 0 => return Err(by_zero()),
            Op::Add => a.checked_add(*b),
            Op::Sub => a.checked_sub(*b),
            Op::Mul => a.checked_mul(*b),
            Op::Div => a.checked_div(*b),
            _ => a.checked_rem(*b),
        }
        .map(Val::Uint)
        .ok_or_else(|| EvalError::failed("unsigned integer overflow")),
        (Val::Double(a), Val::Double(b)) => match op {
            Op::Add => Ok(Val::Double(a + b)),
            Op::Sub => Ok(Val::Double(a - b)),
            Op::Mul => Ok(Val::Double(a * b)),
            Op::Div => Ok(Val::Double(a / b)),
            _ => Err(EvalError::no_overload()),
        },
        (Val::String(a), Val::String(b)) if op == Op::Add => Ok(Val::text(format!("{a}{b}"))),
        (Val::Bytes(a), Val::Bytes(b)) if op == Op::Add => {
            Ok(Val::Bytes([a.as_ref(), b.as_ref()].concat().into()))
        }
        (Val::Timestamp(at), Val::Duration(span)) => match op {
            Op::Add => at.checked_add(*span).map(Val::Timestamp),
            Op::Sub => at.checked_sub(*span).map(Val::Timestamp),
            _ => return Err(EvalError::no_overload()),
        }
        .map_err(|_| EvalError::failed("timestamp overflow")),
        (Val::Duration(span), Val::Timestamp(at)) if op == Op::Add => at
            .checked_add(*span)
            .map(Val::Timestamp)
            .map_err(|_| EvalError::failed("timestamp overflow")),
        (Val::Timestamp(a), Val::Timestamp(b)) if op == Op::Sub => {
            Ok(Val::Duration(a.duration_since(*b)))
        }
        (Val::Duration(a), Val::Duration(b)) => match op {
            Op::Add => a.checked_add(*b),
            Op::Sub => a.checked_sub(*b),
            _ => return Err(EvalError::no_overload()),
        }
        .map(Val::Duration)
        .ok_or_else(|| EvalError::failed("duration overflow")),
        _ if op == Op::Add && !left.is_map() && !right.is_map() => {
            match (left.items(), right.items()) {
                (Some(mut a), Some(b)) => {
                    a.extend(b);
                    Ok(Val::list(a))
                }
                _ => Err(EvalError::no_overload()),
            }
        }
        _ => Err(EvalError::no_overload()),
    }
}

/// The sum of two values.
pub(super) fn add<'a>(left: &Val<'a>, right: &Val<'a>) -> Outcome<'a> {
    arithmetic(Op::Add, left, right)
}
