//! The Common Expression Language, as far as rules of CustomResourceDefinitions speak it.
//!
//! An expression is parsed once ([`Program::compile`]), which refuses what the language does not have: unknown functions,
//! macros with wrong arguments. [`check`](mod@check) finds fields that a schema does not have and operands that never fit
//! ([`signatures`] has what functions take and give), [`eval`] computes, step by step, and stops at a budget;
//! [`functions`] has the standard library, the extended strings, lists and sets, and Kubernetes' libraries (regular
//! expressions, URLs, quantities, IP addresses, CIDRs, formats, semantic versions).
//!
//! Values are read from JSON as they are used ([`value`]), so that a rule over one field costs nothing for the others. We
//! own this small interpreter because a rule must be bounded by steps and read its values through a schema (a `number` is
//! a double even where it is written `1`, a `date-time` a timestamp), which no maintained crate does.
//!
//! # What it may cost
//! Rules come from users and run where no deadline stops them, so time and memory are bounded here:
//! - an expression has no more than 100,000 characters and is no higher than 250, because everything walks it by recursion;
//! - work is paid for before it is done ([`Budget`]): what a function reads, by the weight of its arguments, and what it
//!   makes, by the size of the outcome;
//! - a list or map that an expression made knows its weight ([`value::Made`]), so that shared parts are not counted by
//!   unfolding them; texts are shared, not copied;
//! - what could be quadratic is not: sets and map lists are compared by keys, texts searched in linear time;
//! - a pattern is paid for by its states, and read once where it is a literal ([`crate::regexp`]).
//!
//! What differs from cel-go: types are checked where the schema tells them and at run time otherwise; a rule's cost is not
//! estimated ahead, only counted while it runs.

mod ast;
pub mod check;
pub mod eval;
mod format;
mod functions;
mod lex;
mod net;
mod parse;
mod semver;
mod signatures;
mod strings;
mod text;
pub mod value;

use std::collections::BTreeSet;

pub use self::ast::Expr;
pub use self::eval::{Budget, EvalError};
pub use self::value::Val;

/// An expression, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it computes.
    pub expr: Expr,
    /// The names in it.
    names: BTreeSet<String>,
}

impl Program {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where, in cel-go's form (`ERROR: <input>:1:7: …`).
    pub fn compile(source: &str) -> Result<Self, String> {
        let expr = parse::parse(source)?;
        let names = expr.names();
        Ok(Self { expr, names })
    }

    /// Whether a variable occurs in it.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        self.names.contains(variable)
    }
}

#[cfg(test)]
mod tests;
