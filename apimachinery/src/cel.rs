//! The Common Expression Language, as far as rules of CustomResourceDefinitions speak it.
//!
//! An expression is parsed once ([`Program::compile`]), which refuses what the language does not have: unknown functions,
//! macros with wrong arguments. [`check`](mod@check) finds fields that a schema does not have, [`eval`] computes, step by
//! step, and stops at a budget; [`functions`] has the standard library, the extended strings, lists and sets, and
//! Kubernetes' libraries (regular expressions, URLs, quantities, IP addresses, CIDRs, formats, semantic versions).
//!
//! Values are read from JSON as they are used ([`value`]), so that a rule over one field costs nothing for the others. We
//! own this small interpreter because a rule must be bounded by steps and read its values through a schema (a `number` is
//! a double even where it is written `1`, a `date-time` a timestamp), which no maintained crate does.
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
mod strings;
mod text;
pub mod value;

pub use self::ast::Expr;
pub use self::eval::{Budget, EvalError};
pub use self::value::Val;

/// An expression, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it computes.
    pub expr: Expr,
}

impl Program {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, and where, in cel-go's form (`ERROR: <input>:1:7: …`).
    pub fn compile(source: &str) -> Result<Self, String> {
        let expr = parse::parse(source)?;
        Ok(Self { expr })
    }

    /// Whether a variable occurs in it.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        self.expr.uses(variable)
    }
}

#[cfg(test)]
mod tests;
