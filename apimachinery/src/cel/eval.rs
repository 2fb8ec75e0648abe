//! Evaluation, bounded by steps.

use std::{cmp::Ordering, rc::Rc};

use super::{
    ast::{Expr, Fold, Op, Optional},
    functions,
    value::Val,
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
            Expr::Lit(lit) => Ok(Val::lit(lit)),
            Expr::Ident(name) => self.variable(name),
            Expr::Select { of, field, optional, .. } => {
                let of = self.expr(of)?;
                select(&of, &Val::String(field.as_str().into()), *optional)
            }
            Expr::Has { of, field, .. } => self.has(of, field),
            Expr::Index { of, index, optional } => {
                let (of, index) = (self.expr(of)?, self.expr(index)?);
                select(&of, &index, *optional)
            }
            Expr::Call { name, target, args, .. } => self.call(name, target.as_deref(), args),
            Expr::List(items) => self.list(items),
            Expr::Map(entries) => self.map(entries),
            Expr::And(a, b) => self.junction(a, b, false),
            Expr::Or(a, b) => self.junction(a, b, true),
            Expr::Not(of) => match self.expr(of)? {
                Val::Bool(flag) => Ok(Val::Bool(!flag)),
                _ => Err(EvalError::no_overload()),
            },
            Expr::Neg(of) => match self.expr(of)? {
                Val::Int(n) => n.checked_neg().map(Val::Int).ok_or_else(overflow),
                Val::Double(n) => Ok(Val::Double(-n)),
                _ => Err(EvalError::no_overload()),
            },
            Expr::Cond(condition, then, otherwise) => match self.expr(condition)? {
                Val::Bool(true) => self.expr(then),
                Val::Bool(false) => self.expr(otherwise),
                _ => Err(EvalError::no_overload()),
            },
            Expr::Binary { op, left, right, .. } => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                self.budget.spend(cost(*op, &left, &right))?;
                binary(*op, &left, &right)
            }
            Expr::Fold { .. } => self.fold(expr),
            Expr::Bind { var, value, body, optional } => self.bind(var, value, body, *optional),
        }
    }

    fn variable(&self, name: &'a str) -> Outcome<'a> {
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
        Ok(Val::Bool(of.entry(&Val::String(field.into())).is_some()))
    }

    fn call(&mut self, name: &'a str, target: Option<&'a Expr>, args: &'a [Expr]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(args.len() + 1);
        if let Some(target) = target {
            values.push(self.expr(target)?);
        }
        for arg in args {
            values.push(self.expr(arg)?);
        }
        self.budget.spend(values.iter().map(Val::weight).sum())?;
        functions::call(name, target.is_some(), &values, self.budget)
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
            if map.iter().any(|(other, _)| other.equals(&key)) {
                return Err(EvalError::failed("failed with repeated key"));
            }
            map.push((key, value));
        }
        Ok(Val::Map(Rc::new(map)))
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
        let Expr::Fold { fold, over, var, second, condition, body } = expr else {
            return Err(EvalError::no_overload());
        };
        let over = self.expr(over)?;
        let items = over.items().ok_or_else(EvalError::no_overload)?;
        let depth = self.variables.len();
        let mut out = Vec::new();
        let mut satisfied = 0_usize;
        let mut failure = None;
        for (index, item) in items.into_iter().enumerate() {
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
        Op::Eq | Op::Ne | Op::Lt | Op::Le | Op::Gt | Op::Ge => left.weight().min(right.weight()),
        Op::In => right.weight(),
        Op::Add => match (left, right) {
            (Val::Int(_), _) | (Val::Double(_), _) => 0,
            _ => left.weight() + right.weight(),
        },
        Op::Sub | Op::Mul | Op::Div | Op::Rem => 0,
    }
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
            _ => match right.items() {
                Some(items) => Ok(Val::Bool(items.iter().any(|item| item.equals(left)))),
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
