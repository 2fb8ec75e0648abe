//! JSON merge patch (RFC 7386): objects are merged, `null` removes, all else is replaced.

use serde_json::{Map, Value};

use super::PatchError;

/// Applies a patch.
///
/// # Errors
/// When the patch is no object.
pub fn apply(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    if !patch.is_object() {
        return Err(PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }
    merge(target, patch);
    Ok(())
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// Creates the patch that turns `original` into `modified`.
#[must_use]
pub fn create_two_way(original: &Value, modified: &Value) -> Value {
    match (original, modified) {
        (Value::Object(original), Value::Object(modified)) => {
            Value::Object(difference(original, modified))
        }
        _ => modified.clone(),
    }
}

fn difference(original: &Map<String, Value>, modified: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, value) in original {
        match (value, modified.get(key)) {
            (_, None) => {
                patch.insert(key.clone(), Value::Null);
            }
            (Value::Object(old), Some(Value::Object(new))) => {
                let inner = difference(old, new);
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (old, Some(new)) if old != new => {
                patch.insert(key.clone(), new.clone());
            }
            _ => {}
        }
    }
    for (key, value) in modified {
        if !original.contains_key(key) {
            patch.insert(key.clone(), value.clone());
        }
    }
    patch
}

/// Creates the patch that `kubectl apply` sends for kinds without a schema: `original` is the last
/// applied manifest, `modified` the new one, `current` the live object.
#[must_use]
pub fn create_three_way(original: &Value, modified: &Value, current: &Value) -> Value {
    let changes = keep(&create_two_way(current, modified), false);
    let mut patch = keep(&create_two_way(original, modified), true);
    lay_over(&mut patch, changes);
    patch
}

/// Keeps the removals of a patch (`nulls`), or all but them. Objects that hold nothing else go; an
/// empty object in the patch is a value that is set.
fn keep(patch: &Value, nulls: bool) -> Value {
    let mut kept = Map::new();
    for (key, value) in patch.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                let inner = keep(value, nulls);
                if inner.as_object().is_some_and(|inner| !inner.is_empty()) {
                    kept.insert(key.clone(), inner);
                }
            }
            value if value.is_null() == nulls => {
                kept.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    Value::Object(kept)
}

/// Lays one patch over another; the removals of the lower one stay.
fn lay_over(lower: &mut Value, upper: Value) {
    match (lower, upper) {
        (Value::Object(lower), Value::Object(upper)) => {
            for (key, value) in upper {
                lay_over(lower.entry(key).or_insert(Value::Null), value);
            }
        }
        (lower, upper) => *lower = upper,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The table of RFC 7386, appendix A, where the patch is an object.
    #[test]
    fn the_rfc_holds() {
        fn check(target: &Value, patch: &Value, expected: &Value) {
            let mut found = target.clone();
            apply(&mut found, patch).unwrap();
            assert_eq!(found, *expected, "{target} {patch}");
        }
        check(&json!({"a": "b"}), &json!({"a": "c"}), &json!({"a": "c"}));
        check(&json!({"a": "b"}), &json!({"b": "c"}), &json!({"a": "b", "b": "c"}));
        check(&json!({"a": "b"}), &json!({"a": null}), &json!({}));
        check(&json!({"a": "b", "b": "c"}), &json!({"a": null}), &json!({"b": "c"}));
        check(&json!({"a": ["b"]}), &json!({"a": "c"}), &json!({"a": "c"}));
        check(&json!({"a": "c"}), &json!({"a": ["b"]}), &json!({"a": ["b"]}));
        check(
            &json!({"a": {"b": "c"}}),
            &json!({"a": {"b": "d", "c": null}}),
            &json!({"a": {"b": "d"}}),
        );
        check(&json!({"a": [{"b": "c"}]}), &json!({"a": [1]}), &json!({"a": [1]}));
        check(&json!({"e": null}), &json!({"a": 1}), &json!({"e": null, "a": 1}));
        check(&json!([1, 2]), &json!({"a": "b", "c": null}), &json!({"a": "b"}));
        check(&json!({}), &json!({"a": {"bb": {"ccc": null}}}), &json!({"a": {"bb": {}}}));
        let error = apply(&mut json!({}), &json!([])).unwrap_err();
        assert_eq!(error, PatchError::Malformed("Invalid JSON Patch".to_owned()));
    }

    #[test]
    fn three_ways_meet() {
        fn check(original: &Value, modified: &Value, current: &Value, expected: &Value) {
            assert_eq!(create_three_way(original, modified, current), *expected);
        }
        // Nothing changed; what others added stays.
        check(&json!({"a": 1}), &json!({"a": 1}), &json!({"a": 1, "b": 2}), &json!({}));
        // Taken out of the manifest: removed, also when it is gone already.
        check(
            &json!({"a": 1, "b": 2}),
            &json!({"a": 1}),
            &json!({"a": 1, "b": 2}),
            &json!({"b": null}),
        );
        check(&json!({"a": 1, "b": 2}), &json!({"a": 1}), &json!({"a": 1}), &json!({"b": null}));
        // Changed by others: set back.
        check(&json!({"a": 1}), &json!({"a": 1}), &json!({"a": 3}), &json!({"a": 1}));
        // Both at once, in one object; lists are replaced.
        check(
            &json!({"s": {"x": 1, "y": 2}, "l": [1]}),
            &json!({"s": {"y": 3}, "l": [1, 2]}),
            &json!({"s": {"x": 1, "y": 2, "z": 9}, "l": [1]}),
            &json!({"s": {"x": null, "y": 3}, "l": [1, 2]}),
        );
        // An empty object is a value.
        check(&json!({}), &json!({"e": {}}), &json!({}), &json!({"e": {}}));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            (0..5_i64).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    fn any_object() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-d]", any_json(), 0..4)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn a_two_way_patch_yields_the_other(a in any_object(), b in any_object()) {
            let patch = create_two_way(&a, &b);
            let mut found = a;
            apply(&mut found, &patch).unwrap();
            prop_assert_eq!(found, b);
        }

        #[test]
        fn a_three_way_patch_sets_all_of_the_manifest(
            original in any_object(), modified in any_object(), current in any_object(),
        ) {
            let patch = create_three_way(&original, &modified, &current);
            let mut found = current;
            apply(&mut found, &patch).unwrap();
            // What the manifest says holds: a further patch without removals is empty.
            let rest = keep(&create_two_way(&found, &modified), false);
            prop_assert_eq!(rest, json!({}));
        }
    }
}
