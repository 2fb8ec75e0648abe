//! `$((…))`: evaluation of an arithmetic expression on the shell's variables, in wrapping 64 bits.

use brush_parser::ast::{
    ArithmeticExpr, ArithmeticTarget, BinaryOperator, UnaryAssignmentOperator, UnaryOperator,
};

use super::Shell;
use super::parse;

/// Variables whose values name variables whose values …
const MAX_INDIRECTION: u32 = 32;

impl Shell {
    /// Evaluates the text of an expression whose `$` parts have been expanded.
    pub(super) fn arithmetic(&mut self, text: &str) -> Result<i64, String> {
        self.arithmetic_at(text, 0)
    }

    fn arithmetic_at(&mut self, text: &str, depth: u32) -> Result<i64, String> {
        if depth > MAX_INDIRECTION {
            return Err("arithmetic: expression recursion loop detected".to_owned());
        }
        let text = text.trim();
        if text.is_empty() {
            return Ok(0);
        }
        if let Ok(number) = text.parse::<i64>()
            && !(text.len() > 1 && text.trim_start_matches('-').starts_with('0'))
        {
            return Ok(number);
        }
        let expression = parse::arithmetic(text)?;
        self.calculate(&expression, depth)
    }

    fn calculate(&mut self, expression: &ArithmeticExpr, depth: u32) -> Result<i64, String> {
        match expression {
            ArithmeticExpr::Literal(value) => Ok(*value),
            ArithmeticExpr::Reference(target) => self.load(target, depth),
            ArithmeticExpr::UnaryOp(operator, operand) => {
                let value = self.calculate(operand, depth)?;
                Ok(match operator {
                    UnaryOperator::UnaryPlus => value,
                    UnaryOperator::UnaryMinus => value.wrapping_neg(),
                    UnaryOperator::BitwiseNot => !value,
                    UnaryOperator::LogicalNot => i64::from(value == 0),
                })
            }
            ArithmeticExpr::BinaryOp(operator, left, right) => {
                let left = self.calculate(left, depth)?;
                match operator {
                    BinaryOperator::LogicalAnd if left == 0 => return Ok(0),
                    BinaryOperator::LogicalOr if left != 0 => return Ok(1),
                    _ => {}
                }
                let right = self.calculate(right, depth)?;
                operate(operator, left, right)
            }
            ArithmeticExpr::Conditional(condition, then, otherwise) => {
                match self.calculate(condition, depth)? {
                    0 => self.calculate(otherwise, depth),
                    _ => self.calculate(then, depth),
                }
            }
            ArithmeticExpr::Assignment(target, value) => {
                let value = self.calculate(value, depth)?;
                self.store(target, value)
            }
            ArithmeticExpr::BinaryAssignment(operator, target, value) => {
                let old = self.load(target, depth)?;
                let value = self.calculate(value, depth)?;
                let value = operate(operator, old, value)?;
                self.store(target, value)
            }
            ArithmeticExpr::UnaryAssignment(operator, target) => {
                let old = self.load(target, depth)?;
                let (new, result_is_new) = match operator {
                    UnaryAssignmentOperator::PrefixIncrement => (old.wrapping_add(1), true),
                    UnaryAssignmentOperator::PrefixDecrement => (old.wrapping_sub(1), true),
                    UnaryAssignmentOperator::PostfixIncrement => (old.wrapping_add(1), false),
                    UnaryAssignmentOperator::PostfixDecrement => (old.wrapping_sub(1), false),
                };
                self.store(target, new)?;
                Ok(if result_is_new { new } else { old })
            }
        }
    }

    fn load(&mut self, target: &ArithmeticTarget, depth: u32) -> Result<i64, String> {
        let ArithmeticTarget::Variable(name) = target else {
            return Err("arrays are not supported".to_owned());
        };
        match self.get(name).map(str::to_owned) {
            Some(value) => self.arithmetic_at(&value, depth + 1),
            None if self.options.nounset => Err(format!("{name}: parameter not set")),
            None => Ok(0),
        }
    }

    fn store(&mut self, target: &ArithmeticTarget, value: i64) -> Result<i64, String> {
        let ArithmeticTarget::Variable(name) = target else {
            return Err("arrays are not supported".to_owned());
        };
        self.set(name, value.to_string())?;
        Ok(value)
    }
}

fn operate(operator: &BinaryOperator, left: i64, right: i64) -> Result<i64, String> {
    let shift = || u32::try_from(right & 63).unwrap_or(0);
    Ok(match operator {
        BinaryOperator::Divide | BinaryOperator::Modulo if right == 0 => {
            return Err("divide by zero".to_owned());
        }
        BinaryOperator::Divide => left.wrapping_div(right),
        BinaryOperator::Modulo => left.wrapping_rem(right),
        BinaryOperator::Power => {
            let exponent = u32::try_from(right).map_err(|_| "exponent less than 0".to_owned())?;
            left.wrapping_pow(exponent)
        }
        BinaryOperator::Multiply => left.wrapping_mul(right),
        BinaryOperator::Comma => right,
        BinaryOperator::Add => left.wrapping_add(right),
        BinaryOperator::Subtract => left.wrapping_sub(right),
        BinaryOperator::ShiftLeft => left.wrapping_shl(shift()),
        BinaryOperator::ShiftRight => left.wrapping_shr(shift()),
        BinaryOperator::LessThan => i64::from(left < right),
        BinaryOperator::LessThanOrEqualTo => i64::from(left <= right),
        BinaryOperator::GreaterThan => i64::from(left > right),
        BinaryOperator::GreaterThanOrEqualTo => i64::from(left >= right),
        BinaryOperator::Equals => i64::from(left == right),
        BinaryOperator::NotEquals => i64::from(left != right),
        BinaryOperator::BitwiseAnd => left & right,
        BinaryOperator::BitwiseXor => left ^ right,
        BinaryOperator::BitwiseOr => left | right,
        BinaryOperator::LogicalAnd => i64::from(left != 0 && right != 0),
        BinaryOperator::LogicalOr => i64::from(left != 0 || right != 0),
    })
}
