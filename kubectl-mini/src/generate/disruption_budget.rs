//! `create poddisruptionbudget`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Generated, error, metadata, object, selector::label_selector};

/// What the flags say.
#[derive(Clone, Debug, Default)]
pub struct DisruptionBudget {
    /// Its name.
    pub name: String,
    /// Which pods.
    pub selector: String,
    /// A number, or a percentage.
    pub min_available: String,
    /// A number, or a percentage.
    pub max_unavailable: String,
}

impl DisruptionBudget {
    /// Makes the object.
    ///
    /// # Errors
    /// kubectl's messages.
    pub fn generate(&self) -> Generated {
        if self.selector.is_empty() {
            return error("a selector must be specified");
        }
        let (name, amount) = match (self.min_available.as_str(), self.max_unavailable.as_str()) {
            ("", "") => {
                return error("one of min-available or max-unavailable must be specified");
            }
            ("", amount) => ("maxUnavailable", amount),
            (amount, "") => ("minAvailable", amount),
            _ => {
                return error("min-available and max-unavailable cannot be both specified");
            }
        };
        let digits = amount.strip_suffix('%').unwrap_or(amount);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let flag = if name == "minAvailable" { "min-available" } else { "max-unavailable" };
            return error(format!("invalid format specified for {flag}"));
        }
        let amount = amount.parse::<i32>().map_or_else(|_| Value::from(amount), Value::from);
        let mut budget = object(json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": metadata(&self.name, &BTreeMap::new()),
            "spec": { "selector": label_selector(&self.selector)? },
            "status": {
                "currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0,
            },
        }));
        budget.set(&["spec", name], amount);
        Ok(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_made_of_one_amount() {
        let made = |selector: &str, min: &str, max: &str| {
            DisruptionBudget {
                name: "x".to_owned(),
                selector: selector.to_owned(),
                min_available: min.to_owned(),
                max_unavailable: max.to_owned(),
            }
            .generate()
        };
        let spec = |min: &str, max: &str| made("a=b", min, max).unwrap().get(&["spec"]).cloned();
        let selector = json!({ "matchLabels": { "a": "b" } });
        assert_eq!(spec("1", ""), Some(json!({ "minAvailable": 1, "selector": selector })));
        assert_eq!(spec("", "50%"), Some(json!({ "maxUnavailable": "50%", "selector": selector })));
        assert_eq!(made("", "1", "").unwrap_err().0, "a selector must be specified");
        assert_eq!(
            made("a=b", "-1", "").unwrap_err().0,
            "invalid format specified for min-available"
        );
        assert_eq!(
            made("a=b", "", "x").unwrap_err().0,
            "invalid format specified for max-unavailable"
        );
    }
}
