//! Types, as far as a schema tells them: fields that are not there, operands and arguments that never fit.
//!
//! A type that is not known ([`Ty::Dyn`]) fits everywhere; what it turns out to be is seen at run time. What functions and
//! operators take stands in [`super::signatures`].

use super::{
    ast::{Expr, Fold, Lit, Op},
    functions,
    parse::tell,
    signatures,
};
use crate::structural::{Additional, Structural, Type, is_type_or_metadata};

/// A type.
#[derive(Clone, Copy, Debug)]
pub enum Ty<'s> {
    /// Not known.
    Dyn,
    /// A scalar, or a list or map of anything, by cel-go's name.
    Scalar(&'static str),
    /// A value of this schema; the flag: a whole resource.
    Schema(&'s Structural, bool),
}

impl Ty<'_> {
    /// The name under which functions take it; None: not known.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Dyn => None,
            Self::Scalar(name) => Some(name),
            Self::Schema(schema, _) => match schema.kind {
                Some(Type::Array) => Some("list"),
                Some(Type::Object) => Some("map"),
                _ => None,
            },
        }
    }

    /// How mistakes name it: `list(string)`.
    fn shown(self) -> String {
        match self {
            Self::Dyn => "dyn".to_owned(),
            Self::Scalar("list") => "list(dyn)".to_owned(),
            Self::Scalar("map") => "map(dyn, dyn)".to_owned(),
            Self::Scalar(name) => name.to_owned(),
            Self::Schema(schema, _) => match schema.kind {
                Some(Type::Array) => format!("list({})", item(self).shown()),
                _ if schema.additional.schema().is_some() => {
                    format!("map(string, {})", item(self).shown())
                }
                _ => "object".to_owned(),
            },
        }
    }
}

/// Checks an expression with these variables.
///
/// # Errors
/// What does not fit, in cel-go's form.
pub fn check(expr: &Expr, variables: &[(&str, Ty<'_>)], source: &str) -> Result<(), String> {
    gives(expr, variables, source, "bool")
}

/// Checks a message's expression: it gives a text.
///
/// # Errors
/// What does not fit, in cel-go's form.
pub fn check_message(
    expr: &Expr,
    variables: &[(&str, Ty<'_>)],
    source: &str,
) -> Result<(), String> {
    gives(expr, variables, source, "string")
}

fn gives(
    expr: &Expr,
    variables: &[(&str, Ty<'_>)],
    source: &str,
    wanted: &str,
) -> Result<(), String> {
    let mut checker = Checker { variables: variables.to_vec() };
    match checker.expr(expr) {
        Ok(ty) if ty.name().is_none_or(|name| name == wanted) => Ok(()),
        Ok(_) => Err(format!("must evaluate to a {wanted}")),
        Err((at, why)) => Err(tell(source, at, &why)),
    }
}

type Failure = (usize, String);

struct Checker<'v, 's> {
    variables: Vec<(&'v str, Ty<'s>)>,
}

impl<'v, 's> Checker<'v, 's> {
    fn expr(&mut self, expr: &'v Expr) -> Result<Ty<'s>, Failure> {
        match expr {
            Expr::Lit(lit) => Ok(literal(lit)),
            Expr::Ident(name, at) => self.variable(name, *at),
            Expr::Select { of, field, optional, at } => {
                let found = select(self.expr(of)?, field, *at)?;
                Ok(if *optional { Ty::Dyn } else { found })
            }
            Expr::Has { of, field, at } => {
                select(self.expr(of)?, field, *at).map(|_| Ty::Scalar("bool"))
            }
            Expr::Index { of, index, optional, at } => self.index(of, index, *optional, *at),
            Expr::And(a, b, at) => self.operator("_&&_", &[a, b], *at),
            Expr::Or(a, b, at) => self.operator("_||_", &[a, b], *at),
            Expr::Not(a, at) => self.operator("!_", &[a], *at),
            Expr::Neg(a, at) => self.operator("-_", &[a], *at),
            Expr::Cond(condition, a, b, at) => {
                conditional([self.expr(condition)?, self.expr(a)?, self.expr(b)?], *at)
            }
            Expr::Binary { op: op @ (Op::Eq | Op::Ne), left, right, at } => {
                equality(*op, [self.expr(left)?, self.expr(right)?], *at)
            }
            Expr::Binary { op, left, right, at } => {
                self.operator(op.function(), &[left, right], *at)
            }
            Expr::Fold { .. } => self.fold(expr),
            Expr::Bind { var, value, body, optional } => {
                self.bind(var, value, body, optional.is_some())
            }
            Expr::Call { .. } => self.call(expr),
            Expr::List(_) => self.all(expr).map(|()| Ty::Scalar("list")),
            Expr::Map(_) => self.all(expr).map(|()| Ty::Scalar("map")),
        }
    }

    fn all(&mut self, expr: &'v Expr) -> Result<(), Failure> {
        expr.children().into_iter().try_for_each(|child| self.expr(child).map(|_| ()))
    }

    fn index(
        &mut self,
        of: &'v Expr,
        index: &'v Expr,
        optional: bool,
        at: usize,
    ) -> Result<Ty<'s>, Failure> {
        let (of, index) = (self.expr(of)?, self.expr(index)?);
        operator("_[_]", &[of, index], at)?;
        Ok(if optional { Ty::Dyn } else { item(of) })
    }

    fn bind(
        &mut self,
        var: &'v str,
        value: &'v Expr,
        body: &'v Expr,
        optional: bool,
    ) -> Result<Ty<'s>, Failure> {
        let value = self.expr(value)?;
        self.variables.push((var, if optional { Ty::Dyn } else { value }));
        let outcome = self.expr(body);
        self.variables.pop();
        outcome.map(|ty| if optional { Ty::Dyn } else { ty })
    }

    fn operator(
        &mut self,
        name: &str,
        operands: &[&'v Expr],
        at: usize,
    ) -> Result<Ty<'s>, Failure> {
        let mut types = Vec::with_capacity(operands.len());
        for operand in operands {
            types.push(self.expr(operand)?);
        }
        operator(name, &types, at)
    }

    fn fold(&mut self, expr: &'v Expr) -> Result<Ty<'s>, Failure> {
        let Expr::Fold { fold, over, var, second, condition, body, at } = expr else {
            return Ok(Ty::Dyn);
        };
        let over = self.expr(over)?;
        if over.name().is_some_and(|name| !matches!(name, "list" | "map")) {
            let why = format!(
                "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                over.shown()
            );
            return Err((*at, why));
        }
        let depth = self.variables.len();
        let is_map = over.name() == Some("map");
        match second {
            Some(second) => {
                self.variables.push((var, Ty::Dyn));
                self.variables.push((second, item(over)));
            }
            // Keys of a schema's object are texts, those of other maps may be numbers.
            None if is_map && matches!(over, Ty::Schema(..)) => {
                self.variables.push((var, Ty::Scalar("string")));
            }
            None => self.variables.push((var, if is_map { Ty::Dyn } else { item(over) })),
        }
        if let Some(condition) = condition {
            let holds = self.expr(condition)?;
            conditional([holds, Ty::Scalar("list"), Ty::Scalar("list")], *at)?;
        }
        let body = self.expr(body)?;
        self.variables.truncate(depth);
        let (flag, count) = (Ty::Scalar("bool"), Ty::Scalar("int"));
        match fold {
            Fold::All => operator("_&&_", &[flag, body], *at),
            Fold::Exists => operator("_||_", &[flag, body], *at),
            Fold::ExistsOne => conditional([body, count, count], *at).map(|_| flag),
            Fold::Filter => {
                let outcome = if is_map { Ty::Scalar("list") } else { over };
                conditional([body, outcome, outcome], *at).map(|_| outcome)
            }
            Fold::Map => Ok(Ty::Scalar("list")),
        }
    }

    fn call(&mut self, expr: &'v Expr) -> Result<Ty<'s>, Failure> {
        let Expr::Call { name, target, at, .. } = expr else { return Ok(Ty::Dyn) };
        let mut args = Vec::new();
        for child in expr.children() {
            args.push(self.expr(child)?);
        }
        let names: Vec<Option<&str>> = args.iter().map(|arg| arg.name()).collect();
        let found = signatures::function(name, target.is_some(), &names);
        found.map(known).ok_or_else(|| {
            let mut shown: Vec<String> = args.iter().map(|arg| arg.shown()).collect();
            let of = if target.is_some() { format!("{}.", shown.remove(0)) } else { String::new() };
            (*at, no_overload(name, &of, &shown))
        })
    }

    fn variable(&self, name: &str, at: usize) -> Result<Ty<'s>, Failure> {
        let found = self.variables.iter().rev().find(|(other, _)| *other == name);
        match found {
            Some((_, ty)) => Ok(*ty),
            None if functions::type_named(name).is_some() => Ok(Ty::Scalar("type")),
            None => Err((at, format!("undeclared reference to '{name}' (in container '')"))),
        }
    }
}

fn known<'s>(name: Option<&'static str>) -> Ty<'s> {
    name.map_or(Ty::Dyn, Ty::Scalar)
}

fn no_overload(name: &str, of: &str, args: &[String]) -> String {
    format!("found no matching overload for '{name}' applied to '{of}({})'", args.join(", "))
}

fn operator<'s>(name: &str, operands: &[Ty<'s>], at: usize) -> Result<Ty<'s>, Failure> {
    let names: Vec<Option<&str>> = operands.iter().map(|operand| operand.name()).collect();
    signatures::operator(name, &names).map(known).ok_or_else(|| wrong(name, operands, at))
}

fn wrong(name: &str, operands: &[Ty<'_>], at: usize) -> Failure {
    let shown: Vec<String> = operands.iter().map(|operand| operand.shown()).collect();
    (at, no_overload(name, "", &shown))
}

/// Whether values of both types may be one: null stands for any value that is not there.
fn alike(a: Ty<'_>, b: Ty<'_>) -> bool {
    match (a.name(), b.name()) {
        (Some(a), Some(b)) => a == b || a == "null" || b == "null",
        _ => true,
    }
}

/// `condition ? a : b`
fn conditional<'s>(operands: [Ty<'s>; 3], at: usize) -> Result<Ty<'s>, Failure> {
    let [condition, a, b] = operands;
    if condition.name().is_some_and(|name| name != "bool") || !alike(a, b) {
        return Err(wrong("_?_:_", &operands, at));
    }
    Ok(match (a, b) {
        (Ty::Scalar(a), Ty::Scalar(b)) if a == b => Ty::Scalar(a),
        _ => Ty::Dyn,
    })
}

/// `a == b`, `a != b`
fn equality<'s>(op: Op, operands: [Ty<'s>; 2], at: usize) -> Result<Ty<'s>, Failure> {
    if !alike(operands[0], operands[1]) {
        return Err(wrong(op.function(), &operands, at));
    }
    Ok(Ty::Scalar("bool"))
}

fn literal<'s>(lit: &Lit) -> Ty<'s> {
    Ty::Scalar(match lit {
        Lit::Null => "null",
        Lit::Bool(_) => "bool",
        Lit::Int(_) => "int",
        Lit::Uint(_) => "uint",
        Lit::Double(_) => "double",
        Lit::String(_) => "string",
        Lit::Bytes(_) => "bytes",
    })
}

/// The type of values of a schema.
fn of_schema(schema: &Structural) -> Ty<'_> {
    if schema.int_or_string || schema.nullable {
        return match schema.kind {
            Some(Type::Object | Type::Array) if !schema.int_or_string => {
                Ty::Schema(schema, schema.embedded)
            }
            _ => Ty::Dyn,
        };
    }
    match schema.kind {
        None => Ty::Dyn,
        Some(Type::Object | Type::Array) => Ty::Schema(schema, schema.embedded),
        Some(Type::Integer) => Ty::Scalar("int"),
        Some(Type::Number) => Ty::Scalar("double"),
        Some(Type::Boolean) => Ty::Scalar("bool"),
        Some(Type::String) => Ty::Scalar(match schema.limits.format.as_str() {
            "byte" => "bytes",
            "date" | "date-time" => "timestamp",
            "duration" => "duration",
            _ => "string",
        }),
    }
}

fn select<'s>(of: Ty<'s>, field: &str, at: usize) -> Result<Ty<'s>, Failure> {
    match of {
        Ty::Dyn | Ty::Scalar("map") => Ok(Ty::Dyn),
        Ty::Scalar(name) => Err((at, format!("type '{name}' does not support field selection"))),
        Ty::Schema(schema, is_resource) => match schema.field(field) {
            Some(found) => Ok(of_schema(found)),
            None if is_resource && is_type_or_metadata(field) => {
                Ok(if field == "metadata" { Ty::Dyn } else { Ty::Scalar("string") })
            }
            None if matches!(schema.additional, Additional::Allows(true)) => Ok(Ty::Dyn),
            None => Err((at, format!("undefined field '{field}'"))),
        },
    }
}

fn item(of: Ty<'_>) -> Ty<'_> {
    match of {
        Ty::Schema(schema, _) => {
            let item = schema.items.as_deref().or_else(|| schema.additional.schema());
            item.map_or(Ty::Dyn, of_schema)
        }
        _ => Ty::Dyn,
    }
}
