//! JSON patch (RFC 6902) with the dialect of `evanphx/json-patch` v4, which Kubernetes applies.
//!
//! Where that library differs from the RFC it is followed: negative indices count from the end,
//! `replace` of an absent member adds it, `copy` of an absent member gives `null`, and the root
//! cannot be replaced.

use serde_json::{Map, Value};

use super::PatchError;

/// Applies a patch; on an error the target is left half-patched and must be thrown away.
///
/// # Errors
/// [`PatchError::Malformed`] when the patch is no list of operations, else
/// [`PatchError::Inapplicable`].
pub fn apply(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Array(operations) = patch else {
        return Err(malformed(patch, "Patch"));
    };
    let operations: Vec<&Map<String, Value>> = operations
        .iter()
        .map(|operation| operation.as_object().ok_or_else(|| malformed(operation, "Operation")))
        .collect::<Result<_, _>>()?;
    for operation in operations {
        step(target, operation).map_err(PatchError::Inapplicable)?;
    }
    Ok(())
}

fn malformed(value: &Value, wanted: &str) -> PatchError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    PatchError::Malformed(format!(
        "json: cannot unmarshal {found} into Go value of type jsonpatch.{wanted}"
    ))
}

fn step(target: &mut Value, operation: &Map<String, Value>) -> Result<(), String> {
    let text = |name| operation.get(name).and_then(Value::as_str);
    let path = || text("path").ok_or("operation missing path field: missing value");
    let from = || text("from").ok_or("operation, missing from field: missing value");
    let value = || operation.get("value").cloned().unwrap_or_default();
    match text("op").unwrap_or("unknown") {
        "add" => {
            let path = path().map_err(|_| "add operation failed to decode path: missing value")?;
            let (container, key) = find(target, path).ok_or_else(|| {
                format!(
                    "add operation does not apply: doc is missing path: \"{path}\": missing value"
                )
            })?;
            add(container, key, value())
                .map_err(|error| format!("error in add for path: '{path}': {error}"))
        }
        "remove" => {
            let path =
                path().map_err(|_| "remove operation failed to decode path: missing value")?;
            let (container, key) = find(target, path).ok_or_else(|| {
                format!(
                    "remove operation does not apply: doc is missing path: \"{path}\": missing value"
                )
            })?;
            remove(container, &key)
                .map(drop)
                .map_err(|error| format!("error in remove for path: '{path}': {error}"))
        }
        "replace" => {
            let path = path()
                .map_err(|error| format!("replace operation failed to decode path: {error}"))?;
            let missing = |what| {
                format!(
                    "replace operation does not apply: doc is missing {what}: {path}: missing value"
                )
            };
            match find(target, path).ok_or_else(|| missing("path"))? {
                (Value::Array(items), key) => {
                    let index = index(&key, items.len()).map_err(|_| missing("key"))?;
                    items[index] = value();
                }
                (container, key) => add(container, key, value())?,
            }
            Ok(())
        }
        "move" => {
            let from =
                from().map_err(|error| format!("move operation failed to decode from: {error}"))?;
            let (container, key) = find(target, from).ok_or_else(|| {
                format!(
                    "move operation does not apply: doc is missing from path: {from}: missing value"
                )
            })?;
            let moved = remove(container, &key)
                .map_err(|error| format!("error in move for path: '{key}': {error}"))?;
            let path =
                path().map_err(|error| format!("move operation failed to decode path: {error}"))?;
            let (container, key) = find(target, path).ok_or_else(|| {
                format!("move operation does not apply: doc is missing destination path: {path}: missing value")
            })?;
            add(container, key, moved)
                .map_err(|error| format!("error in move for path: '{path}': {error}"))
        }
        "copy" => {
            let from =
                from().map_err(|error| format!("copy operation failed to decode from: {error}"))?;
            let (container, key) = find(target, from).ok_or_else(|| {
                format!(
                    "copy operation does not apply: doc is missing from path: {from}: missing value"
                )
            })?;
            let copied = get(container, &key)
                .map_err(|error| format!("error in copy for from: '{from}': {error}"))?
                .cloned()
                .unwrap_or_default();
            let path = path().map_err(|_| "copy operation failed to decode path: missing value")?;
            let (container, key) = find(target, path).ok_or_else(|| {
                format!("copy operation does not apply: doc is missing destination path: {path}: missing value")
            })?;
            add(container, key, copied)
                .map_err(|error| format!("error while adding value during copy: {error}"))
        }
        "test" => {
            let path =
                path().map_err(|error| format!("test operation failed to decode path: {error}"))?;
            let (container, key) = find(target, path).ok_or_else(|| {
                format!("test operation does not apply: is missing path: {path}: missing value")
            })?;
            let found = get(container, &key)
                .map_err(|error| format!("error in test for path: '{path}': {error}"))?;
            let wanted = operation.get("value").unwrap_or(&Value::Null);
            if found.unwrap_or(&Value::Null) == wanted {
                Ok(())
            } else {
                Err(format!("testing value {path} failed: test failed"))
            }
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

/// Finds the object or list that holds the last element of a path, and that element's key. What
/// stands before the first slash is not looked at.
fn find<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let (way, last) = path.rsplit_once('/')?;
    let mut container = target;
    for part in way.split('/').skip(1) {
        let key = unescape(part);
        container = match container {
            Value::Object(fields) => fields.get_mut(&key)?,
            Value::Array(items) => {
                let index = index(&key, items.len()).ok()?;
                &mut items[index]
            }
            _ => return None,
        };
    }
    matches!(container, Value::Object(_) | Value::Array(_)).then(|| (container, unescape(last)))
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

fn get<'a>(container: &'a Value, key: &str) -> Result<Option<&'a Value>, String> {
    match container {
        Value::Array(items) => Ok(Some(&items[index(key, items.len())?])),
        container => Ok(container.get(key)),
    }
}

fn add(container: &mut Value, key: String, value: Value) -> Result<(), String> {
    match container {
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let position = number(&key)
                .map_err(|error| format!("value was not a proper array index: '{key}': {error}"))?;
            items.insert(within(position, items.len() + 1)?, value);
        }
        Value::Object(fields) => {
            fields.insert(key, value);
        }
        _ => {}
    }
    Ok(())
}

fn remove(container: &mut Value, key: &str) -> Result<Value, String> {
    match container {
        Value::Array(items) => {
            let index = index(key, items.len())?;
            Ok(items.remove(index))
        }
        Value::Object(fields) => fields
            .remove(key)
            .ok_or_else(|| format!("Unable to remove nonexistent key: {key}: missing value")),
        _ => Err("missing value".to_owned()),
    }
}

fn index(key: &str, length: usize) -> Result<usize, String> {
    within(number(key)?, length)
}

/// Reads a number as Go's `strconv.Atoi` does.
fn number(key: &str) -> Result<i64, String> {
    let digits = key.strip_prefix(['+', '-']).unwrap_or(key);
    key.parse().map_err(|_| {
        let fault = if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            "value out of range"
        } else {
            "invalid syntax"
        };
        format!("strconv.Atoi: parsing \"{key}\": {fault}")
    })
}

/// Counts a negative index from the end, and refuses what is outside.
fn within(position: i64, length: usize) -> Result<usize, String> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let counted = if position < 0 { position + length } else { position };
    usize::try_from(counted).ok().filter(|_| counted < length).ok_or_else(|| {
        format!("Unable to access invalid index: {position}: invalid index referenced")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({"metadata": {"name": "a", "finalizers": ["a", "b", "c"]}, "spec": {}})
    }

    #[test]
    fn operations_change_the_target() {
        fn check(patch: &Value, expected: &Value) {
            let mut target = pod();
            apply(&mut target, patch).unwrap();
            let mut found = target["metadata"].clone();
            found["spec"] = target["spec"].clone();
            assert_eq!(found, *expected, "{patch}");
        }
        let with = |finalizers: Value| json!({"name": "a", "finalizers": finalizers, "spec": {}});
        let op =
            |op: &str, path: &str, value: Value| json!([{"op": op, "path": path, "value": value}]);
        let list = "/metadata/finalizers";
        check(&op("add", &format!("{list}/-"), json!("d")), &with(json!(["a", "b", "c", "d"])));
        check(&op("add", &format!("{list}/0"), json!("d")), &with(json!(["d", "a", "b", "c"])));
        check(&op("add", &format!("{list}/3"), json!("d")), &with(json!(["a", "b", "c", "d"])));
        check(&op("add", &format!("{list}/-1"), json!("d")), &with(json!(["a", "b", "c", "d"])));
        check(&op("remove", &format!("{list}/-1"), Value::Null), &with(json!(["a", "b"])));
        check(&op("replace", &format!("{list}/1"), json!("d")), &with(json!(["a", "d", "c"])));
        check(&op("test", list, json!(["a", "b", "c"])), &with(json!(["a", "b", "c"])));
        check(&op("test", "/metadata/nope", Value::Null), &with(json!(["a", "b", "c"])));
        check(
            &op("replace", "/spec/new", json!(1)),
            &json!({"name": "a", "finalizers": ["a", "b", "c"], "spec": {"new": 1}}),
        );
        check(
            &op("add", "/spec/a~1b~0c", json!(1)),
            &json!({"name": "a", "finalizers": ["a", "b", "c"], "spec": {"a/b~c": 1}}),
        );
        check(
            &json!([{"op": "move", "from": "/metadata/name", "path": "/spec/name"}]),
            &json!({"finalizers": ["a", "b", "c"], "spec": {"name": "a"}}),
        );
        check(
            &json!([{"op": "copy", "from": "/metadata/finalizers/1", "path": "/spec/x"}]),
            &json!({"name": "a", "finalizers": ["a", "b", "c"], "spec": {"x": "b"}}),
        );
    }

    /// The messages are those of kubectl 1.33 for the same patches.
    #[test]
    fn errors_are_evanphx() {
        fn check(patch: &Value, expected: &str) {
            assert_eq!(apply(&mut pod(), patch).unwrap_err().to_string(), expected, "{patch}");
        }
        let op = |op: &str, path: &str| json!([{"op": op, "path": path, "value": "x"}]);
        check(
            &op("remove", "/spec/foo"),
            "error in remove for path: '/spec/foo': Unable to remove nonexistent key: foo: missing value",
        );
        check(
            &op("remove", "/foo/bar"),
            "remove operation does not apply: doc is missing path: \"/foo/bar\": missing value",
        );
        check(
            &op("add", "/metadata/name/foo"),
            "add operation does not apply: doc is missing path: \"/metadata/name/foo\": missing value",
        );
        check(
            &op("add", "/metadata/finalizers/9"),
            "error in add for path: '/metadata/finalizers/9': Unable to access invalid index: 9: invalid index referenced",
        );
        check(
            &op("add", "/metadata/finalizers/x"),
            "error in add for path: '/metadata/finalizers/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax",
        );
        check(
            &op("remove", "/metadata/finalizers/-9"),
            "error in remove for path: '/metadata/finalizers/-9': Unable to access invalid index: -9: invalid index referenced",
        );
        check(
            &op("replace", "/metadata/finalizers/7"),
            "replace operation does not apply: doc is missing key: /metadata/finalizers/7: missing value",
        );
        check(&op("test", "/metadata/name"), "testing value /metadata/name failed: test failed");
        check(
            &op("test", "/nope/nope"),
            "test operation does not apply: is missing path: /nope/nope: missing value",
        );
        check(
            &json!([{"op": "move", "from": "/spec/x", "path": "/spec/y"}]),
            "error in move for path: 'x': Unable to remove nonexistent key: x: missing value",
        );
        check(
            &json!([{"op": "move", "path": "/a"}]),
            "move operation failed to decode from: operation, missing from field: missing value",
        );
        check(
            &json!([{"op": "replace"}]),
            "replace operation failed to decode path: operation missing path field: missing value",
        );
        check(&json!([{"op": "frob", "path": "/a"}]), "Unexpected kind: frob");
        check(
            &op("add", ""),
            "add operation does not apply: doc is missing path: \"\": missing value",
        );
        check(
            &json!({"op": "add"}),
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        );
        check(
            &json!([1]),
            "json: cannot unmarshal number into Go value of type jsonpatch.Operation",
        );
    }
}
