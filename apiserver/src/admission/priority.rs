//! A pod's PriorityClass becomes its number.

use apimachinery::{object::Object, status::Status};

use super::{Operation, Review};

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    if !review.is_pod() {
        return Ok(());
    }
    match review.operation {
        Operation::Create => {}
        // An old client may leave out what it does not know.
        Operation::Update => {
            if let Some(old) = review.old {
                for field in ["priority", "preemptionPolicy"] {
                    if review.object.get(&["spec", field]).is_none()
                        && let Some(value) = old.get(&["spec", field]).cloned()
                    {
                        review.object.set(&["spec", field], value);
                    }
                }
            }
            return Ok(());
        }
        Operation::Delete => return Ok(()),
    }
    let classes = &review.facts.priority_classes;
    let name = review.object.get_str(&["spec", "priorityClassName"]);
    let class = if name.is_empty() {
        classes
            .iter()
            .filter(|class| class.get_bool(&["globalDefault"]).unwrap_or(false))
            .min_by_key(|class| value(class))
    } else {
        let found = classes.iter().find(|class| class.name() == name);
        if found.is_none() {
            return Err(review.forbidden(format!("no PriorityClass with name {name} was found")));
        }
        found
    };
    let priority = class.map_or(0, |class| value(class));
    let policy = class
        .map(|class| class.get_str(&["preemptionPolicy"]))
        .filter(|policy| !policy.is_empty())
        .unwrap_or("PreemptLowerPriority");
    for (field, computed, text) in [
        ("priority", serde_json::Value::from(priority), "the integer value of priority"),
        ("preemptionPolicy", policy.into(), "the string value of PreemptionPolicy"),
    ] {
        if let Some(given) = review.object.get(&["spec", field])
            && *given != computed
        {
            let shown = |value: &serde_json::Value| {
                value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
            };
            return Err(review.forbidden(format!(
                "{text} ({}) must not be provided in pod spec; priority admission controller computed {} from the given PriorityClass name",
                shown(given),
                shown(&computed)
            )));
        }
    }
    let class_name = class.map(|class| class.name().to_owned());
    if let Some(class_name) = class_name {
        review.object.set(&["spec", "priorityClassName"], class_name);
    }
    let policy = policy.to_owned();
    review.object.set(&["spec", "priority"], priority);
    review.object.set(&["spec", "preemptionPolicy"], policy);
    Ok(())
}

fn value(class: &Object) -> i64 {
    class.get_i64(&["value"]).unwrap_or(0)
}
