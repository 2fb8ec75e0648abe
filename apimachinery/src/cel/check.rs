//! Types, as far as a schema tells them: fields that are not there, operands that never fit.
//!
//! A type that is not known ([`Ty::Dyn`]) fits everywhere; what it turns out to be is seen at run time.

use super::ast::{Expr, Fold, Lit, Op};
use crate::structural::{Additional, Structural, Type, is_type_or_metadata};

/// A type.
#[derive(Clone, Copy, Debug)]
pub enum Ty<'s> {
    /// Not known.
    Dyn,
    /// A scalar, by cel-go's name.
    Scalar(&'static str),
    /// A value of this schema; the flag: a whole resource.
    Schema(&'s Structural, bool),
}

/// Checks an expression with these variables.
///
/// # Errors
/// What does not fit, in cel-go's form.
pub fn check(expr: &Expr, variables: &[(&str, Ty<'_>)], source: &str) -> Result<(), String> {
    let mut checker = Checker { variables: variables.to_vec() };
    match checker.expr(expr) {
        Ok(Ty::Dyn | Ty::Scalar("bool")) => Ok(()),
        Ok(_) => Err("must evaluate to a bool".to_owned()),
        Err((at, why)) => Err(tell(source, at, &why)),
    }
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
    let mut checker = Checker { variables: variables.to_vec() };
    match checker.expr(expr) {
        Ok(Ty::Dyn | Ty::Scalar("string")) => Ok(()),
        Ok(_) => Err("must evaluate to a string".to_owned()),
        Err((at, why)) => Err(tell(source, at, &why)),
    }
}

fn tell(source: &str, at: usize, why: &str) -> String {
    let line = source.lines().next().unwrap_or_default();
    format!("ERROR: <input>:1:{at}: {why}\n | {line}\n | {}^", ".".repeat(at.saturating_sub(1)))
}

type Failure = (usize, String);

struct Checker<'v, 's> {
    variables: Vec<(&'v str, Ty<'s>)>,
}

impl<'v, 's> Checker<'v, 's> {
    fn expr(&mut self, expr: &'v Expr) -> Result<Ty<'s>, Failure> {
        match expr {
            Expr::Lit(lit) => Ok(literal(lit)),
            Expr::Ident(name) => self.variable(name),
            Expr::Select { of, field, optional, at } => {
                let of = self.expr(of)?;
                let found = select(of, field, *at)?;
                Ok(if *optional { Ty::Dyn } else { found })
            }
            Expr::Has { of, field, at } => {
                let of = self.expr(of)?;
                select(of, field, *at)?;
                Ok(Ty::Scalar("bool"))
            }
            Expr::Index { of, index, optional } => {
                let of = self.expr(of)?;
                self.expr(index)?;
                Ok(if *optional { Ty::Dyn } else { item(of) })
            }
            Expr::And(a, b) | Expr::Or(a, b) => {
                self.expr(a)?;
                self.expr(b)?;
                Ok(Ty::Scalar("bool"))
            }
            Expr::Not(a) => {
                self.expr(a)?;
                Ok(Ty::Scalar("bool"))
            }
            Expr::Cond(condition, a, b) => {
                self.expr(condition)?;
                let (a, b) = (self.expr(a)?, self.expr(b)?);
                Ok(match (a, b) {
                    (Ty::Scalar(a), Ty::Scalar(b)) if a == b => Ty::Scalar(a),
                    _ => Ty::Dyn,
                })
            }
            Expr::Binary { op, left, right, at } => {
                let (left, right) = (self.expr(left)?, self.expr(right)?);
                binary(*op, left, right, *at)
            }
            Expr::Fold { fold, over, var, second, condition, body } => {
                let over = self.expr(over)?;
                let depth = self.variables.len();
                let value = if is_map(over) { Ty::Scalar("string") } else { item(over) };
                match second {
                    None => self.variables.push((var, value)),
                    Some(second) => {
                        self.variables.push((var, Ty::Dyn));
                        self.variables.push((second, item(over)));
                    }
                }
                if let Some(condition) = condition {
                    self.expr(condition)?;
                }
                self.expr(body)?;
                self.variables.truncate(depth);
                Ok(match fold {
                    Fold::All | Fold::Exists | Fold::ExistsOne => Ty::Scalar("bool"),
                    Fold::Filter => over,
                    Fold::Map => Ty::Dyn,
                })
            }
            Expr::Bind { var, value, body, optional } => {
                let value = self.expr(value)?;
                let value = if optional.is_some() { Ty::Dyn } else { value };
                self.variables.push((var, value));
                let outcome = self.expr(body);
                self.variables.pop();
                outcome.map(|ty| if optional.is_some() { Ty::Dyn } else { ty })
            }
            Expr::Call { name, .. } => {
                for child in expr.children() {
                    self.expr(child)?;
                }
                Ok(result_of(name))
            }
            Expr::List(_) | Expr::Map(_) | Expr::Neg(_) => {
                for child in expr.children() {
                    self.expr(child)?;
                }
                Ok(Ty::Dyn)
            }
        }
    }

    fn variable(&self, name: &str) -> Result<Ty<'s>, Failure> {
        let found = self.variables.iter().rev().find(|(other, _)| *other == name);
        match found {
            Some((_, ty)) => Ok(*ty),
            None if super::functions::type_named(name).is_some() => Ok(Ty::Dyn),
            None => Err((1, format!("undeclared reference to '{name}' (in container '')"))),
        }
    }
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
        Ty::Dyn => Ok(Ty::Dyn),
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

fn is_map(ty: Ty<'_>) -> bool {
    matches!(ty, Ty::Schema(schema, _) if schema.kind == Some(Type::Object))
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

fn binary<'s>(op: Op, left: Ty<'s>, right: Ty<'s>, at: usize) -> Result<Ty<'s>, Failure> {
    if let (Ty::Scalar(a), Ty::Scalar(b)) = (left, right) {
        let numbers = |name: &str| matches!(name, "int" | "uint" | "double");
        let times = |name: &str| matches!(name, "timestamp" | "duration");
        let fits = match op {
            Op::Eq | Op::Ne => a == b || a == "null" || b == "null",
            Op::Lt | Op::Le | Op::Gt | Op::Ge => a == b || (numbers(a) && numbers(b)),
            Op::Add | Op::Sub => a == b || (times(a) && times(b)),
            Op::Mul | Op::Div | Op::Rem => a == b && numbers(a),
            Op::In => false,
        };
        if !fits {
            let name = op.function();
            let why = format!("found no matching overload for '{name}' applied to '({a}, {b})'");
            return Err((at, why));
        }
        if matches!(op, Op::Add | Op::Mul | Op::Div | Op::Rem) && a == b {
            return Ok(Ty::Scalar(a));
        }
    }
    Ok(match op {
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => Ty::Dyn,
        _ => Ty::Scalar("bool"),
    })
}

/// The type that a function gives, where it gives only one.
fn result_of<'s>(function: &str) -> Ty<'s> {
    match function {
        "size" => Ty::Scalar("int"),
        "startsWith" | "endsWith" | "contains" | "matches" | "isURL" | "isIP" | "isCIDR"
        | "isQuantity" | "isSemver" | "isSorted" | "hasValue" | "sets.contains"
        | "sets.equivalent" | "sets.intersects" => Ty::Scalar("bool"),
        "string" | "lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" | "join"
        | "format" => Ty::Scalar("string"),
        _ => Ty::Dyn,
    }
}
