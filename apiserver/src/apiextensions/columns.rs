//! The Table of a defined kind: `additionalPrinterColumns` (`registry/customresource/tableconvertor`).

use apimachinery::{jsonpath::JsonPath, object::Object, resource::dynamic::intern_text};
use jiff::Timestamp;
use serde_json::Value;

use crate::registry::{printers, strategy::Column};

/// The columns of one version, the name first.
#[derive(Debug)]
pub(crate) struct Columns {
    pub(crate) columns: Vec<Column>,
    /// Where the cells after the name come from.
    paths: Vec<JsonPath>,
}

impl Columns {
    /// Reads `additionalPrinterColumns`; without any, there is the age.
    pub(crate) fn parse(columns: Option<&Value>) -> Self {
        let mut parsed = Self { columns: vec![printers::NAME], paths: Vec::new() };
        for column in columns.and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| intern_text(column[name].as_str().unwrap_or_default());
            let Ok(path) = read_path(text("jsonPath")) else { continue };
            let description = match text("description") {
                "" => intern_text(&format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    text("jsonPath")
                )),
                description => description,
            };
            let priority = column["priority"].as_i64().unwrap_or_default();
            parsed.push(
                Column {
                    name: text("name"),
                    kind: text("type"),
                    format: text("format"),
                    description,
                    priority: i32::try_from(priority).unwrap_or(i32::MAX),
                },
                path,
            );
        }
        if parsed.paths.is_empty()
            && let Ok(path) = read_path(".metadata.creationTimestamp")
        {
            let age = Column { kind: "date", ..printers::AGE };
            parsed.push(age, path);
        }
        parsed
    }

    fn push(&mut self, column: Column, path: JsonPath) {
        self.columns.push(column);
        self.paths.push(path);
    }

    /// The cells of an object.
    pub(crate) fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let data = Value::Object(object.0.clone());
        let cells = self.columns[1..].iter().zip(&self.paths).map(|(column, path)| {
            let found = path.find(&data).ok();
            let first = found.and_then(|found| {
                let first: Option<Value> =
                    found.first().and_then(|results| results.iter().next()).map(|v| (**v).clone());
                first
            });
            first.map_or(Value::Null, |value| cell(column.kind, value, now))
        });
        std::iter::once(printers::name(object)).chain(cells).collect()
    }
}

/// Reads a column's path, which is one path in the form `.spec.x`.
///
/// # Errors
/// Why it is none.
pub(crate) fn read_path(path: &str) -> Result<JsonPath, String> {
    JsonPath::parse(&format!("{{{path}}}")).map_err(|error| error.to_string())
}

/// A value as a cell of a column's type; null where it does not fit.
#[allow(clippy::cast_possible_truncation, reason = "a number that is shown as an integer")]
fn cell(kind: &str, value: Value, now: Timestamp) -> Value {
    match (kind, &value) {
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(n) => n.into(),
            None => number.as_f64().map_or(Value::Null, |n| (n as i64).into()),
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value,
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => printers::ago(time, now).into(),
            Err(_) => "<invalid>".into(),
        },
        ("string", Value::String(_)) => value,
        ("string", Value::Null) => "<nil>".into(),
        ("string", other) => other.to_string().into(),
        _ => Value::Null,
    }
}
