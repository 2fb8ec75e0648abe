//! Describes any object, field by field.

use std::collections::BTreeMap;

use apimachinery::object::Object;
use serde_json::{Map, Value};

use super::{Text, related::Related};
use crate::{errors::CommandError, printers::go_value};

/// Fields that stand in the head, or that nobody wants to see.
const SKIPPED: [&str; 5] = [
    ".metadata.managedFields",
    ".metadata.name",
    ".metadata.namespace",
    ".metadata.labels",
    ".metadata.annotations",
];
const ACRONYMS: [&str; 4] = ["API", "URL", "UID", "GUID"];

pub(super) async fn describe<'a>(
    object: &'a Object,
    related: &'a Related<'a>,
    mut text: Text<'a>,
) -> Result<Text<'a>, CommandError> {
    write(object, &mut text);
    text.events(related.events(object).await);
    Ok(text)
}

fn write(object: &Object, text: &mut Text<'_>) {
    text.field(0, "Name", object.name());
    text.field(0, "Namespace", object.namespace());
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    text.labels("Labels", &object.labels().map(owned).collect::<BTreeMap<_, _>>());
    text.annotations("Annotations", &object.annotations().map(owned).collect());
    write_fields(&object.0, 0, "", text);
}

fn write_fields(fields: &Map<String, Value>, level: usize, path: &str, text: &mut Text<'_>) {
    for (name, value) in fields {
        let path = format!("{path}.{name}");
        if SKIPPED.contains(&path.as_str()) {
            continue;
        }
        let label = label_of(name);
        match value {
            Value::Object(fields) => {
                text.line(level, format_args!("{label}:"));
                write_fields(fields, level + 1, &path, text);
            }
            Value::Array(values) => {
                text.line(level, format_args!("{label}:"));
                for value in values {
                    match value {
                        Value::Object(fields) => write_fields(fields, level + 1, &path, text),
                        value => text.line(level + 1, go_value::plain(value)),
                    }
                }
            }
            value => text.field(level, &label, go_value::plain(value)),
        }
    }
}

/// `creationTimestamp` becomes `Creation Timestamp`.
fn label_of(field: &str) -> String {
    if !field.chars().all(|c| c.is_alphabetic() || c == '-') {
        return field.to_owned();
    }
    let words = split_camel_case(field).into_iter().map(|word| {
        let upper = word.to_uppercase();
        if ACRONYMS.contains(&upper.as_str()) {
            return upper;
        }
        let mut chars = word.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Runs of lower case, upper case or other; the last capital before lower case belongs to what follows.
fn split_camel_case(text: &str) -> Vec<String> {
    let class = |c: char| (c.is_lowercase(), c.is_uppercase());
    let mut runs: Vec<String> = Vec::new();
    let mut last = None;
    for c in text.chars() {
        match runs.last_mut() {
            Some(run) if last == Some(class(c)) => run.push(c),
            _ => runs.push(c.to_string()),
        }
        last = Some(class(c));
    }
    for at in 0..runs.len().saturating_sub(1) {
        let upper = runs[at].chars().next().is_some_and(char::is_uppercase);
        let lower = runs[at + 1].chars().next().is_some_and(char::is_lowercase);
        if upper
            && lower
            && let Some(capital) = runs[at].pop()
        {
            runs[at + 1].insert(0, capital);
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::text::tests::written, *};

    #[test]
    fn labels_are_made_of_field_names() {
        let check = |field: &str, expected: &str| assert_eq!(label_of(field), expected);
        check("creationTimestamp", "Creation Timestamp");
        check("apiVersion", "API Version");
        check("uid", "UID");
        check("clusterIP", "Cluster IP");
        check("podIPs", "Pod I Ps");
        check("a.b", "a.b");
        check("f:name", "f:name");
    }

    #[test]
    fn fields_are_indented() {
        let object = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Thing",
            "metadata": { "name": "x", "uid": "u" },
            "spec": { "list": [1, "a"], "items": [{ "k": true }] },
        }))
        .unwrap();
        assert_eq!(
            written(|text| write(&object, text)),
            "Name:         x\nNamespace:    \nLabels:       <none>\nAnnotations:  <none>\nAPI Version:  v1\nKind:         Thing\nMetadata:\n  UID:  u\nSpec:\n  Items:\n    K:  true\n  List:\n    1\n    a\n"
        );
    }
}
