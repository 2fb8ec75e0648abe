//! The versions of a definition: names, storage, schemas, subresources, columns, selectable fields.

use std::collections::BTreeSet;

use apimachinery::{
    field::{FieldError, Path},
    structural::{MAX_STATES, Structural, Type, rules},
    validation::is_dns1035_label,
};
use serde_json::Value;

use crate::apiextensions::columns::read_path;

/// A definition may let so many fields be selected.
const MAX_SELECTABLE: usize = 8;

pub(super) fn check(spec: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let list = spec["versions"].clone();
    let versions: &[Value] = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let versions_at = at.child("versions");
    let name = |version: &Value| version["name"].as_str().unwrap_or_default().to_owned();
    for (index, version) in versions.iter().enumerate() {
        let mistakes = is_dns1035_label(&name(version));
        if !mistakes.is_empty() {
            let at = versions_at.index(index).child("name");
            errors.push(FieldError::invalid(&at, name(version), mistakes.join(",")));
        }
    }
    let names: BTreeSet<String> = versions.iter().map(name).collect();
    if names.len() < versions.len() {
        let detail = "must contain unique version names";
        errors.push(FieldError::invalid(&versions_at, list.clone(), detail));
    }
    if versions.iter().filter(|version| version["storage"] == true).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(FieldError::invalid(&versions_at, list.clone(), detail));
    }
    let same = |part: &str| versions.windows(2).all(|pair| pair[0].get(part) == pair[1].get(part));
    // Where all say the same, it is told once.
    let each = |part: &str| if same(part) { &versions[..versions.len().min(1)] } else { versions };
    let place = |part: &str, common: &str, index: usize| {
        if same(part) { at.child(common) } else { versions_at.index(index).child(part) }
    };
    // All versions have their patterns at one time.
    let mut states = MAX_STATES;
    for (index, version) in each("schema").iter().enumerate() {
        let schema = version["schema"].get("openAPIV3Schema").unwrap_or(&Value::Null);
        if schema.is_null() {
            let at = versions_at.index(index).child("schema.openAPIV3Schema");
            errors.push(FieldError::required(&at, "schemas are required"));
            continue;
        }
        let at = place("schema", "validation", index).child("openAPIV3Schema");
        let has_status = version["subresources"]["status"].is_object();
        errors.extend(rules::check_within(&at, schema, has_status, &mut states));
    }
    for (index, version) in each("subresources").iter().enumerate() {
        let at = place("subresources", "subresources", index);
        scale(&version["subresources"]["scale"], &at, errors);
    }
    for (index, version) in each("additionalPrinterColumns").iter().enumerate() {
        let at = place("additionalPrinterColumns", "additionalPrinterColumns", index);
        columns(&version["additionalPrinterColumns"], &at, errors);
    }
    for (index, version) in each("selectableFields").iter().enumerate() {
        let at = place("selectableFields", "selectableFields", index);
        selectable(version, &at, errors);
    }
    for (index, version) in versions.iter().enumerate() {
        let warning = version["deprecationWarning"].as_str();
        if warning.is_some() && version["deprecated"] != true {
            let at = versions_at.index(index).child("deprecationWarning");
            let shown = warning.unwrap_or_default();
            errors.push(FieldError::invalid(&at, shown, "can only be set for deprecated versions"));
        }
    }
}

fn scale(scale: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    if !scale.is_object() {
        return;
    }
    for (name, below, required) in [
        ("specReplicasPath", ".spec.", true),
        ("statusReplicasPath", ".status.", true),
        ("labelSelectorPath", "", false),
    ] {
        let at = at.child("scale").child(name);
        let path = scale[name].as_str().unwrap_or_default();
        let good = if below.is_empty() {
            path.starts_with(".spec.") || path.starts_with(".status.")
        } else {
            path.starts_with(below)
        };
        if path.is_empty() {
            if required {
                errors.push(FieldError::required(&at, ""));
            }
        } else if !path.starts_with('.') {
            let detail = "must be a simple json path starting with .";
            errors.push(FieldError::invalid(&at, path, detail));
        } else if !good {
            let detail = match below.trim_end_matches('.') {
                "" => "should be a json path under either .spec or .status".to_owned(),
                below => format!("should be a json path under {below}"),
            };
            errors.push(FieldError::invalid(&at, path, detail));
        }
    }
}

fn columns(columns: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] =
        ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    for (index, column) in columns.as_array().into_iter().flatten().enumerate() {
        let at = at.index(index);
        let text = |name: &str| column[name].as_str().unwrap_or_default();
        if text("name").is_empty() {
            errors.push(FieldError::required(&at.child("name"), ""));
        }
        match text("type") {
            "" => {
                let detail = format!("must be one of {}", TYPES.join(","));
                errors.push(FieldError::required(&at.child("type"), detail));
            }
            kind if !TYPES.contains(&kind) => {
                let detail = format!("must be one of {}", TYPES.join(","));
                errors.push(FieldError::invalid(&at.child("type"), kind, detail));
            }
            _ => {}
        }
        let format = text("format");
        if !format.is_empty() && !FORMATS.contains(&format) {
            let detail = format!("must be one of {}", FORMATS.join(","));
            errors.push(FieldError::invalid(&at.child("format"), format, detail));
        }
        let path = text("jsonPath");
        if path.is_empty() {
            errors.push(FieldError::required(&at.child("JSONPath"), ""));
        } else if let Err(why) = checked_path(path) {
            errors.push(FieldError::invalid(&at.child("JSONPath"), path, why));
        }
    }
}

fn checked_path(path: &str) -> Result<(), String> {
    if !path.starts_with('.') {
        return Err("must be a simple json path starting with .".to_owned());
    }
    read_path(path).map(drop)
}

fn selectable(version: &Value, at: &Path, errors: &mut Vec<FieldError>) {
    let fields = version["selectableFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    if fields.len() > MAX_SELECTABLE {
        errors.push(FieldError::too_many(at, fields.len(), MAX_SELECTABLE));
        return;
    }
    if fields.is_empty() {
        return;
    }
    let schema = Structural::parse(&version["schema"]["openAPIV3Schema"]).unwrap_or_default();
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let at = at.index(index).child("jsonPath");
        let path = field["jsonPath"].as_str().unwrap_or_default();
        if path.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        if seen.contains(&path) {
            errors.push(FieldError::duplicate(&at, path));
        }
        seen.push(path);
        let steps = path.strip_prefix('.').map(|rest| rest.split('.'));
        let found = steps.and_then(|mut steps| {
            steps.try_fold(&schema, |schema, step| schema.properties.get(step))
        });
        match found.map(|schema| schema.kind) {
            None => {
                let detail = "is an invalid path: does not refer to a valid field";
                errors.push(FieldError::invalid(&at, path, detail));
            }
            Some(Some(Type::String | Type::Integer | Type::Boolean)) => {}
            Some(_) => {
                let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                errors.push(FieldError::invalid(&at, path, detail));
            }
        }
    }
}
