//! The server's tables, decorated: namespace, kind, labels, events of a watch.

use apimachinery::{object::Object, resource::ResourceInfo};
use client::Table;
use serde_json::Value;

use super::{Layout, go_value};

/// How tables are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// `--no-headers`.
    pub no_headers: bool,
    /// `-o wide`.
    pub wide: bool,
    /// A column with the namespace before all others.
    pub with_namespace: bool,
    /// `pod/` before the names.
    pub with_kind: bool,
    /// `--show-labels`.
    pub show_labels: bool,
    /// `-L`.
    pub label_columns: Vec<String>,
}

/// Prints the tables of one type, one after the other.
#[derive(Debug)]
pub struct TablePrinter {
    options: TableOptions,
    kind: String,
    columns: Vec<Heading>,
    headers_printed: bool,
    layout: Layout,
}

/// A column, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heading {
    name: String,
    is_name: bool,
    priority: i32,
}

impl TablePrinter {
    /// A printer of objects of this type.
    #[must_use]
    pub fn new(options: TableOptions, info: &ResourceInfo) -> Self {
        Self {
            options,
            kind: info.group_kind().to_lowercase(),
            columns: Vec::new(),
            headers_printed: false,
            layout: Layout::default(),
        }
    }

    /// Adds a table's rows; `event` (`ADDED`) stands in a column of its own where it is given.
    pub fn add(&mut self, table: Table, event: Option<&str>) {
        let columns: Vec<Heading> = table
            .column_definitions
            .into_iter()
            .map(|column| Heading {
                is_name: column.format == "name" && column.kind == "string",
                name: column.name,
                priority: column.priority,
            })
            .collect();
        let same = columns.is_empty() || columns == self.columns;
        let with_headers = !self.options.no_headers && (!self.headers_printed || !same);
        if !columns.is_empty() {
            self.columns = columns;
        }
        if table.rows.is_empty() {
            return;
        }
        if with_headers {
            self.layout.row(self.headers(event));
            self.headers_printed = true;
        }
        for row in table.rows {
            let object = match row.object {
                Value::Object(fields) => Object(fields),
                _ => Object::default(),
            };
            let cells = self.cells(&row.cells, &object, event);
            self.layout.row(cells);
        }
    }

    /// The text of what was added since the last time.
    pub fn flush(&mut self) -> String {
        self.layout.flush()
    }

    fn shown(&self) -> impl Iterator<Item = (usize, &Heading)> {
        let wide = self.options.wide;
        self.columns.iter().enumerate().filter(move |(_, column)| wide || column.priority == 0)
    }

    fn headers(&self, event: Option<&str>) -> Vec<String> {
        let mut headers = Vec::new();
        if event.is_some() {
            headers.push("EVENT".to_owned());
        }
        if self.options.with_namespace {
            headers.push("NAMESPACE".to_owned());
        }
        headers.extend(self.shown().map(|(_, column)| column.name.to_uppercase()));
        headers.extend(
            self.options
                .label_columns
                .iter()
                .map(|label| label.rsplit('/').next().unwrap_or_default().to_uppercase()),
        );
        if self.options.show_labels {
            headers.push("LABELS".to_owned());
        }
        headers
    }

    fn cells(&self, values: &[Value], object: &Object, event: Option<&str>) -> Vec<String> {
        let mut cells = Vec::new();
        if let Some(event) = event {
            cells.push(format!("{event:<8}"));
        }
        if self.options.with_namespace {
            cells.push(object.namespace().to_owned());
        }
        for (index, column) in self.shown() {
            // A row may be shorter than the columns.
            let Some(value) = values.get(index) else { break };
            let text = cell(value);
            if self.options.with_kind && column.is_name {
                cells.push(format!("{}/{text}", self.kind));
            } else {
                cells.push(text);
            }
        }
        cells.extend(
            self.options
                .label_columns
                .iter()
                .map(|label| object.label(label).unwrap_or_default().to_owned()),
        );
        if self.options.show_labels {
            cells.push(labels(object));
        }
        cells
    }
}

/// `a=b,c=d`, or `<none>`.
#[must_use]
pub fn labels(object: &Object) -> String {
    format_labels(object.labels())
}

/// `a=b,c=d`, or `<none>`.
pub fn format_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let labels: Vec<String> = labels.map(|(key, value)| format!("{key}={value}")).collect();
    if labels.is_empty() { "<none>".to_owned() } else { labels.join(",") }
}

/// The first line of a text, without what a terminal would obey.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        value => go_value::plain(value),
    };
    match text.find(['\u{c}', '\n', '\r']) {
        Some(end) => escape(&text[..end]) + "...",
        None => escape(&text),
    }
}

/// A terminal's escape character is shown, not obeyed.
fn escape(text: &str) -> String {
    text.replace('\u{1b}', "^[").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use apimachinery::resource;
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        serde_json::from_value(json!({
            "columnDefinitions": [
                { "name": "Name", "type": "string", "format": "name" },
                { "name": "Ready", "type": "string" },
                { "name": "Restarts", "type": "integer" },
                { "name": "Node", "type": "string", "priority": 1 },
            ],
            "rows": [{
                "cells": ["web", "1/1", 3, "node-1"],
                "object": { "metadata": { "name": "web", "namespace": "ns", "labels": { "x/app": "a" } } },
            }],
        }))
        .unwrap()
    }

    #[test]
    fn tables_are_decorated() {
        let check = |options: TableOptions, event: Option<&str>, expected: &str| {
            let mut printer = TablePrinter::new(options, &resource::DEPLOYMENTS);
            printer.add(table(), event);
            assert_eq!(printer.flush(), expected);
        };
        let default = TableOptions::default;
        check(default(), None, "NAME   READY   RESTARTS\nweb    1/1     3\n");
        check(
            TableOptions { wide: true, no_headers: true, ..default() },
            None,
            "web   1/1   3     node-1\n",
        );
        check(
            TableOptions { with_namespace: true, with_kind: true, show_labels: true, ..default() },
            None,
            "NAMESPACE   NAME                  READY   RESTARTS   LABELS\nns          deployment.apps/web   1/1     3          x/app=a\n",
        );
        check(
            TableOptions { label_columns: vec!["x/app".into(), "y".into()], ..default() },
            Some("ADDED"),
            "EVENT      NAME   READY   RESTARTS   APP   Y\nADDED      web    1/1     3          a     \n",
        );
    }

    #[test]
    fn headers_come_once_and_without_rows_never() {
        let mut printer = TablePrinter::new(TableOptions::default(), &resource::PODS);
        printer.add(Table { rows: Vec::new(), ..table() }, None);
        assert_eq!(printer.flush(), "");
        printer.add(table(), None);
        printer.add(Table { column_definitions: Vec::new(), ..table() }, None);
        assert_eq!(
            printer.flush(),
            "NAME   READY   RESTARTS\nweb    1/1     3\nweb    1/1     3\n"
        );
    }

    #[test]
    fn cells_are_one_line() {
        assert_eq!(cell(&json!("a\nb")), "a...");
        assert_eq!(cell(&json!("\u{1b}[31m")), "^[[31m");
        assert_eq!(cell(&json!(null)), "");
    }
}
