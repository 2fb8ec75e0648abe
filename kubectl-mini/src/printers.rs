//! How objects are printed.
//!
//! [`OutputFlags`] are `-o` and its company; [`OutputFlags::printer`] gives the [`Printer`] of a format that prints
//! objects. What people read by default are tables ([`table`]), made by the server and decorated here.

mod columns;
mod event;
pub mod go_sort;
mod go_template;
pub(crate) mod go_value;
mod layout;
pub mod sort;
pub mod table;

use std::{
    cell::{Cell, RefCell},
    fs,
};

use apimachinery::{
    field::go_quote,
    json,
    jsonpath::JsonPath,
    resource::{self, ResourceInfo},
    yaml,
};
use serde_json::{Value, json};

use self::columns::Columns;
pub use self::{event::event_age, layout::Layout};
use crate::errors::CommandError;

/// The flags about output of every command that prints objects.
#[derive(clap::Args, Clone, Debug)]
pub struct OutputFlags {
    /// Output format. One of: (json, yaml, name, jsonpath, jsonpath-as-json, jsonpath-file); get knows custom-columns,
    /// custom-columns-file and wide besides.
    #[arg(long, short)]
    pub output: Option<String>,
    /// Template string or path to template file to use when -o=jsonpath, -o=jsonpath-file.
    #[arg(long)]
    pub template: Option<String>,
    /// If true, ignore any errors in templates when a field or map key is missing in the template.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true)]
    pub allow_missing_template_keys: bool,
    /// If true, keep the managedFields when printing objects in JSON or YAML format.
    #[arg(long)]
    pub show_managed_fields: bool,
}

impl Default for OutputFlags {
    /// As if none was given.
    fn default() -> Self {
        Self {
            output: None,
            template: None,
            allow_missing_template_keys: true,
            show_managed_fields: false,
        }
    }
}

/// What formats a command knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formats {
    /// JSON, YAML, names and templates.
    Common,
    /// Those, and custom columns and `wide`: get.
    WithTables,
}

impl Formats {
    fn allowed(self) -> String {
        let mut all = vec![
            "go-template",
            "go-template-file",
            "json",
            "jsonpath",
            "jsonpath-as-json",
            "jsonpath-file",
            "name",
            "template",
            "templatefile",
            "yaml",
        ];
        if self == Self::WithTables {
            all.extend(["custom-columns", "custom-columns-file", "wide"]);
        }
        all.sort_unstable();
        all.join(",")
    }
}

impl OutputFlags {
    /// The format in lower case up to its `=`, and what follows; empty: the command's default.
    #[must_use]
    pub fn format(&self) -> (String, Option<&str>) {
        let output = self.output.as_deref().unwrap_or_default();
        match output.split_once('=') {
            Some((name, argument)) => (name.to_lowercase(), Some(argument)),
            None => (output.to_lowercase(), None),
        }
    }

    /// The printer of the format; `None`: no format is given, so that the command prints its own text.
    ///
    /// # Errors
    /// kubectl's, when there is no such format or its template cannot be read.
    pub fn printer(&self, formats: Formats) -> Result<Option<Printer>, CommandError> {
        let (name, argument) = self.format();
        let template = argument.or(self.template.as_deref());
        let plain = |shape| match argument {
            None => Ok(shape),
            Some(_) => Err(self.no_printer(formats)),
        };
        let shape = match name.as_str() {
            "" if self.template.is_some() => Shape::GoTemplate(self.go_template(given(template)?)?),
            "" => return Ok(None),
            "json" => plain(Shape::Json)?,
            "yaml" => plain(Shape::Yaml)?,
            "name" => plain(Shape::Name)?,
            "jsonpath" => Shape::Path(self.path(given(template)?)?),
            "jsonpath-as-json" => Shape::PathAsJson(self.path(given(template)?)?),
            "jsonpath-file" => {
                let path = given(template)?;
                Shape::Path(self.path(&read_template(path)?)?)
            }
            "custom-columns" if formats == Formats::WithTables => {
                Shape::Columns(RefCell::new(Columns::parse(template.unwrap_or_default())?))
            }
            "custom-columns-file" if formats == Formats::WithTables => {
                Shape::Columns(RefCell::new(Columns::read(template.unwrap_or_default())?))
            }
            "go-template" | "template" => Shape::GoTemplate(self.go_template(given(template)?)?),
            "go-template-file" | "templatefile" => {
                Shape::GoTemplate(self.go_template(&read_template(given(template)?)?)?)
            }
            _ => return Err(self.no_printer(formats)),
        };
        Ok(Some(Printer {
            shape,
            show_managed_fields: self.show_managed_fields,
            printed: Cell::new(0),
        }))
    }

    fn no_printer(&self, formats: Formats) -> CommandError {
        CommandError::message(format!(
            "unable to match a printer suitable for the output format {}, allowed formats are: {}",
            go_quote(self.output.as_deref().unwrap_or_default()),
            formats.allowed()
        ))
    }

    fn go_template(&self, text: &str) -> Result<go_template::Template, CommandError> {
        go_template::Template::parse(text, self.allow_missing_template_keys)
    }

    fn path(&self, template: &str) -> Result<Template, CommandError> {
        let path = JsonPath::parse(template).map_err(|error| {
            CommandError::message(format!("error parsing jsonpath {template}, {error}"))
        })?;
        Ok(Template {
            text: template.to_owned(),
            path: path.allow_missing_keys(self.allow_missing_template_keys),
        })
    }
}

fn given(template: Option<&str>) -> Result<&str, CommandError> {
    template
        .filter(|template| !template.is_empty())
        .ok_or_else(|| CommandError::message("template format specified but no template given"))
}

fn read_template(path: &str) -> Result<String, CommandError> {
    fs::read_to_string(path).map_err(|error| {
        let why = error.to_string();
        let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
        CommandError::message(format!("error reading --template {path}, open {path}: {why}"))
    })
}

/// Prints objects in one format.
#[derive(Debug)]
pub struct Printer {
    shape: Shape,
    show_managed_fields: bool,
    printed: Cell<usize>,
}

#[derive(Debug)]
enum Shape {
    Json,
    Yaml,
    Name,
    GoTemplate(go_template::Template),
    Path(Template),
    PathAsJson(Template),
    Columns(RefCell<Columns>),
}

#[derive(Debug)]
struct Template {
    text: String,
    path: JsonPath,
}

impl Printer {
    /// Whether it prints `TYPE/NAME` lines.
    #[must_use]
    pub fn is_name(&self) -> bool {
        matches!(self.shape, Shape::Name)
    }

    /// The text of one object, or of a list of them.
    ///
    /// # Errors
    /// When a template does not fit the object.
    pub fn print(&self, object: &Value) -> Result<String, CommandError> {
        let cleaned;
        // Templates see everything, as kubectl's do.
        let whole = !matches!(self.shape, Shape::Json | Shape::Yaml);
        let object = if whole || self.show_managed_fields || !has_managed_fields(object) {
            object
        } else {
            cleaned = without_managed_fields(object.clone());
            &cleaned
        };
        let first = self.printed.replace(self.printed.get() + 1) == 0;
        match &self.shape {
            Shape::Json => Ok(json::to_string_pretty(object) + "\n"),
            Shape::Yaml => {
                let separator = if first { "" } else { "---\n" };
                Ok(format!("{separator}{}", yaml::emit(object)))
            }
            Shape::Name => Ok(names(object)),
            Shape::Path(template) => template.explain(template.path.execute(object), object),
            Shape::PathAsJson(template) => {
                template.explain(template.path.execute_as_json(object), object)
            }
            Shape::GoTemplate(template) => template.print(object).map_err(|(printed, error)| {
                CommandError::AfterOutput { printed, error: Box::new(error) }
            }),
            Shape::Columns(columns) => columns.borrow_mut().print(object),
        }
    }

    /// The text of an event of a watch: `kind` is `ADDED`, `MODIFIED` or `DELETED`.
    ///
    /// # Errors
    /// When a template does not fit the event.
    pub fn print_event(&self, kind: &str, object: Value) -> Result<String, CommandError> {
        match self.shape {
            Shape::Name => self.print(&object),
            Shape::Json => {
                let object =
                    if self.show_managed_fields { object } else { without_managed_fields(object) };
                Ok(format!("{{\"type\":\"{kind}\",\"object\":{}}}\n", json::to_string(&object)))
            }
            _ => self.print(&json!({ "object": object, "type": kind })),
        }
    }

    /// Leaves out headings, where the format has any.
    #[must_use]
    pub fn without_headers(self, without: bool) -> Self {
        if let Shape::Columns(columns) = &self.shape {
            columns.borrow_mut().no_headers = without;
        }
        self
    }
}

impl Template {
    fn explain(
        &self,
        result: Result<String, apimachinery::jsonpath::JsonPathError>,
        object: &Value,
    ) -> Result<String, CommandError> {
        result.map_err(|error| {
            CommandError::message(format!(
                "error executing jsonpath {}: Error executing template: {error}. Printing more information for debugging the template:\n\ttemplate was:\n\t\t{}\n\tobject given to jsonpath engine was:\n\t\t{}\n\n\n",
                go_quote(&self.text),
                self.text,
                go_value::syntax(object)
            ))
        })
    }
}

fn has_managed_fields(object: &Value) -> bool {
    object.pointer("/metadata/managedFields").is_some()
        || object
            .get("items")
            .and_then(Value::as_array)
            .is_some_and(|items| items.iter().any(has_managed_fields))
        || object.get("object").is_some_and(has_managed_fields)
}

/// The object, or all of a list's, without what is told of fields' managers.
pub(crate) fn without_managed_fields(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    if let Some(items) = object.get_mut("items").and_then(Value::as_array_mut) {
        for item in items {
            *item = without_managed_fields(item.take());
        }
    }
    if let Some(inner) = object.get_mut("object") {
        *inner = without_managed_fields(inner.take());
    }
    object
}

/// `pod/web`, `deployment.apps/web`: a line per object.
fn names(object: &Value) -> String {
    if let Some(items) = object.get("items").and_then(Value::as_array) {
        return items.iter().map(names).collect();
    }
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (group, _) = resource::split_api_version(text("apiVersion"));
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let mut kind = text("kind").to_lowercase();
    if !group.is_empty() {
        kind = format!("{kind}.{group}");
    }
    format!("{kind}/{name}\n")
}

/// `pod/web`, `deployment.apps/web`: how messages about an object name it.
#[must_use]
pub fn type_and_name(info: &ResourceInfo, name: &str) -> String {
    format!("{}/{name}", info.group_kind().to_lowercase())
}

/// The list that several objects are printed as.
#[must_use]
pub fn list(items: Vec<Value>) -> Value {
    let mut list =
        json!({ "apiVersion": "v1", "kind": "List", "metadata": { "resourceVersion": "" } });
    list["items"] = Value::Array(items);
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(output: &str) -> OutputFlags {
        OutputFlags {
            output: Some(output.to_owned()),
            template: None,
            allow_missing_template_keys: true,
            show_managed_fields: false,
        }
    }

    #[test]
    fn objects_print_in_each_format() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "web", "managedFields": [] }, "spec": { "count": 1 },
        });
        let check = |output: &str, expected: &str| {
            let printer = flags(output).printer(Formats::WithTables).unwrap().unwrap();
            assert_eq!(printer.print(&pod).unwrap(), expected);
        };
        check("name", "pod/web\n");
        check("yaml", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n  count: 1\n");
        check("jsonpath={.metadata.name}", "web");
        check("go-template={{.metadata.name}} {{.spec.count}}", "web 1");
        check("custom-columns=NAME:.metadata.name,X:.x", "NAME   X\nweb    <none>\n");
        check(
            "JSON",
            "{\n    \"apiVersion\": \"v1\",\n    \"kind\": \"Pod\",\n    \"metadata\": {\n        \"name\": \"web\"\n    },\n    \"spec\": {\n        \"count\": 1\n    }\n}\n",
        );
    }

    #[test]
    fn unknown_formats_are_refused() {
        let check = |output: &str, expected: &str| {
            let error = flags(output).printer(Formats::Common).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        let unknown = |format: &str| {
            format!(
                "unable to match a printer suitable for the output format \"{format}\", allowed formats are: go-template,"
            )
        };
        check("foo", &unknown("foo"));
        check("json=x", &unknown("json=x"));
        check("custom-columns=A:.a", &unknown("custom-columns=A:.a"));
        check("jsonpath", "template format specified but no template given");
        check("jsonpath={.a", "error parsing jsonpath {.a, unclosed action");
        check("go-template={{.a}", "error parsing template {{.a}, template: output:1: un");
        check("jsonpath-file=/nonex", "error reading --template /nonex, open /nonex: no such file");
    }

    #[test]
    fn several_yaml_objects_are_separated() {
        let printer = flags("yaml").printer(Formats::Common).unwrap().unwrap();
        let text: String = (0..2).map(|n| printer.print(&json!({ "a": n })).unwrap()).collect();
        assert_eq!(text, "a: 0\n---\na: 1\n");
    }
}
