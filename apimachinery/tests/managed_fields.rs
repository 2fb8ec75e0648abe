//! Server-side apply and ownership, by a table: `managed_fields.yaml` has live objects with their managers, a write, and
//! what comes of it, after the published semantics of structured-merge-diff.
//!
//! A case stands at a *place*: a kind and a path in it, so that objects and fields are told relative to that. A manager
//! whose name begins with a capital letter applies, others update.

use std::{collections::BTreeMap, fs, path::Path};

use apimachinery::{
    managed_fields::{ApplyError, FieldSet, Scope, Writer, apply, unowned, updated},
    object::Object,
    resource::split_api_version,
    schema, yaml,
};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    version: String,
    kind: String,
    at: Vec<String>,
    /// What the live object has besides.
    #[serde(default)]
    besides: Value,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(rename = "in")]
    place: String,
    why: String,
    /// None: there is no object yet.
    #[serde(default)]
    live: Option<Value>,
    #[serde(default)]
    owners: BTreeMap<String, Value>,
    by: String,
    #[serde(default)]
    apply: Option<Value>,
    #[serde(default)]
    update: Option<Value>,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    is: Option<Value>,
    #[serde(default)]
    then: BTreeMap<String, Value>,
    #[serde(default)]
    conflict: Vec<String>,
    #[serde(default)]
    error: Option<String>,
}

const NOW: &str = "2026-05-01T12:00:00Z";

fn wrap(place: &Place, value: &Value) -> Object {
    let mut object = Object::from_value(json!({
        "apiVersion": place.version, "kind": place.kind, "metadata": {"name": "x", "namespace": "default"},
    }))
    .expect("an object");
    let path: Vec<&str> = place.at.iter().map(String::as_str).collect();
    object.set(&path, value.clone());
    object
}

fn operation(manager: &str) -> &'static str {
    if manager.starts_with(char::is_uppercase) { "Apply" } else { "Update" }
}

/// A field set below the place, made one of the whole object.
fn whole_set(place: &Place, fields: &Value) -> Value {
    place.at.iter().rev().fold(fields.clone(), |inner, step| json!({format!("f:{step}"): inner}))
}

/// The other way; what is not below the place is told as it is.
fn relative(place: &Place, fields: &Value) -> Value {
    let mut inner = fields;
    for step in &place.at {
        match inner.as_object().filter(|o| o.len() == 1).and_then(|o| o.get(&format!("f:{step}"))) {
            Some(next) => inner = next,
            None => return fields.clone(),
        }
    }
    inner.clone()
}

fn run(place: &Place, case: &Case) -> Case {
    let (group, version) = split_api_version(&place.version);
    let schema = schema::find(group, version, &place.kind).expect("a built-in kind");
    let mut live = case.live.as_ref().map(|live| {
        let mut object = wrap(place, live);
        if let Value::Object(besides) = &place.besides {
            for (key, value) in besides {
                object.set(&key.split('.').collect::<Vec<_>>(), value.clone());
            }
        }
        object
    });
    if let Some(live) = &mut live {
        let entries: Vec<Value> = case
            .owners
            .iter()
            .map(|(manager, fields)| {
                json!({"apiVersion": place.version, "fieldsType": "FieldsV1", "fieldsV1": whole_set(place, fields),
                    "manager": manager, "operation": operation(manager), "time": "2026-01-01T00:00:00Z"})
            })
            .collect();
        if !entries.is_empty() {
            live.set(&["metadata", "managedFields"], entries);
        }
    }
    let nobodys = unowned();
    let writer = Writer {
        manager: &case.by,
        api_version: &place.version,
        subresource: "",
        scope: Scope::Except(&nobodys),
        now: NOW.parse().expect("a time"),
    };
    let mut outcome =
        Case { is: None, then: BTreeMap::new(), conflict: vec![], error: None, ..case.clone() };
    let object = if let Some(config) = &case.apply {
        apply(live.as_ref(), &wrap(place, config), schema, &writer, case.force)
    } else {
        let mut object = wrap(place, case.update.as_ref().expect("apply or update"));
        updated(live.as_ref(), &mut object, schema, &writer);
        Ok(object)
    };
    match object {
        Ok(object) => {
            let path: Vec<&str> = place.at.iter().map(String::as_str).collect();
            outcome.is = Some(object.get(&path).cloned().unwrap_or_default());
            for entry in object.get_list(&["metadata", "managedFields"]) {
                let manager = entry["manager"].as_str().expect("a manager");
                assert_eq!(entry["operation"], operation(manager), "{}", case.why);
                FieldSet::from_value(&entry["fieldsV1"]).expect("a field set");
                outcome.then.insert(manager.to_owned(), relative(place, &entry["fieldsV1"]));
            }
        }
        Err(ApplyError::Conflicts(conflicts)) => {
            outcome.conflict =
                conflicts.iter().map(|c| format!("{}: {}", c.manager, c.path)).collect();
        }
        Err(error) => outcome.error = Some(error.into_status().message),
    }
    outcome
}

fn read() -> (BTreeMap<String, Place>, Vec<Case>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/managed_fields.yaml");
    let text = fs::read_to_string(path).expect("the table");
    let mut documents = yaml::read(&text, "managed_fields.yaml").expect("YAML").into_iter();
    let mut next = || documents.next().expect("two documents").value;
    let places = serde_json::from_value(next()).expect("places");
    (places, serde_json::from_value(next()).expect("cases"))
}

#[test]
fn ownership_follows_the_published_semantics() {
    let (places, cases) = read();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let place = places.get(&case.place).unwrap_or_else(|| panic!("no place {}", case.place));
        let told = |case: &Case| json!({"is": case.is, "then": case.then, "conflict": case.conflict, "error": case.error});
        let (found, wanted) = (told(&run(place, case)), told(case));
        if found != wanted {
            wrong.push(format!(
                "{} / {}\n  found  {found}\n  wanted {wanted}",
                case.place, case.why
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
