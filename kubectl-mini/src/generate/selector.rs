//! Label selectors of objects, from the text of flags.

use apimachinery::{
    api::meta::{LabelSelector, LabelSelectorRequirement},
    field::go_quote,
    labels::{Operator, Selector},
};

use super::{GenerateError, error};

/// Reads `a=b,c in (d,e)` as an object's selector.
///
/// # Errors
/// kubectl's message, when it is none.
pub fn label_selector(text: &str) -> Result<LabelSelector, GenerateError> {
    let selector = Selector::parse(text).map_err(|problem| {
        GenerateError(format!("couldn't parse the selector string {}: {problem}", go_quote(text)))
    })?;
    let mut read = LabelSelector::default();
    for requirement in selector.requirements().unwrap_or_default() {
        let operator = match requirement.operator() {
            Operator::Equals | Operator::DoubleEquals => {
                let value = requirement.values().first().cloned().unwrap_or_default();
                read.match_labels.insert(requirement.key().to_owned(), value);
                continue;
            }
            Operator::In => "In",
            Operator::NotIn | Operator::NotEquals => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            Operator::GreaterThan | Operator::LessThan => {
                let sign = if requirement.operator() == Operator::LessThan { "lt" } else { "gt" };
                return error(format!("{} is not a valid label selector operator", go_quote(sign)));
            }
        };
        read.match_expressions.push(LabelSelectorRequirement {
            key: requirement.key().to_owned(),
            operator: operator.to_owned(),
            values: requirement.values().to_vec(),
        });
    }
    Ok(read)
}
