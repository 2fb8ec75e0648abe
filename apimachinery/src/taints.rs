//! Taints and tolerations, as `k8s.io/component-helpers` reads them.

use crate::api::core::{Taint, Toleration};

/// Whether the toleration matches the taint: `Toleration.ToleratesTaint`.
///
/// An empty key with `Exists` matches all taints; an empty effect matches all effects.
#[must_use]
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    fn given(text: Option<&String>) -> &str {
        text.map_or("", String::as_str)
    }
    let effect = given(toleration.effect.as_ref());
    let key = given(toleration.key.as_ref());
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match given(toleration.operator.as_ref()) {
        "" | "Equal" => given(toleration.value.as_ref()) == given(taint.value.as_ref()),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_matches_by_key_value_and_effect() {
        let gpu = Taint {
            key: "dedicated".into(),
            value: Some("gpu".into()),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        let check = |key: &str, op: &str, value: &str, effect: &str, expected| {
            let toleration = Toleration {
                key: Some(key.into()),
                operator: Some(op.into()),
                value: Some(value.into()),
                effect: Some(effect.into()),
                ..Toleration::default()
            };
            assert_eq!(tolerates(&toleration, &gpu), expected, "{toleration:?}");
        };
        check("dedicated", "Equal", "gpu", "NoSchedule", true);
        check("dedicated", "", "gpu", "", true);
        check("dedicated", "Equal", "web", "NoSchedule", false);
        check("dedicated", "Exists", "", "NoExecute", false);
        check("dedicated", "Exists", "", "", true);
        check("", "Exists", "", "", true);
        check("other", "Exists", "", "", false);
        check("dedicated", "Odd", "gpu", "", false);
    }
}
