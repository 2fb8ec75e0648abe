//! `-o custom-columns`.

use std::{borrow::Cow, fs};

use apimachinery::jsonpath::JsonPath;
use serde_json::Value;

use super::{Layout, go_value};
use crate::errors::CommandError;

/// Columns that the user chose.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<(String, JsonPath)>,
    layout: Layout,
    header_printed: bool,
    pub(super) no_headers: bool,
}

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

impl Columns {
    /// Reads `NAME:.metadata.name,IMAGE:.spec.containers[*].image`.
    pub(super) fn parse(spec: &str) -> Result<Self, CommandError> {
        if spec.is_empty() {
            return refuse("custom-columns format specified but no custom columns given");
        }
        let mut columns = Vec::new();
        for part in spec.split(',') {
            let fields: Vec<&str> = part.splitn(2, ':').collect();
            let [header, path] = fields.as_slice() else {
                return refuse(format!(
                    "unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
                ));
            };
            columns.push(((*header).to_owned(), relaxed(path)?));
        }
        Ok(Self::of(columns))
    }

    /// Reads a file of two lines: headings, and the paths below them.
    pub(super) fn read(path: &str) -> Result<Self, CommandError> {
        if path.is_empty() {
            return refuse("custom-columns-file format specified but no custom columns file given");
        }
        let text = fs::read_to_string(path).map_err(|error| {
            let why = error.to_string();
            let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
            CommandError::message(format!("error reading template {path}, open {path}: {why}"))
        })?;
        let mut lines = text.lines();
        let (Some(headers), Some(paths)) = (lines.next(), lines.next()) else {
            return refuse(
                "invalid template, missing spec line. Expected format is one line of space separated headers, one line of space separated column specs.",
            );
        };
        let headers: Vec<&str> = headers.split_whitespace().collect();
        let paths: Vec<&str> = paths.split_whitespace().collect();
        if headers.len() != paths.len() {
            return refuse(format!(
                "number of headers ({}) and field specifications ({}) don't match",
                headers.len(),
                paths.len()
            ));
        }
        let columns = headers.iter().zip(paths);
        columns
            .map(|(header, path)| Ok(((*header).to_owned(), relaxed(path)?)))
            .collect::<Result<_, _>>()
            .map(Self::of)
    }

    fn of(columns: Vec<(String, JsonPath)>) -> Self {
        Self { columns, layout: Layout::default(), header_printed: false, no_headers: false }
    }

    pub(super) fn print(&mut self, object: &Value) -> Result<String, CommandError> {
        if !self.no_headers && !self.header_printed {
            self.layout.row(self.columns.iter().map(|(header, _)| header.clone()).collect());
            self.header_printed = true;
        }
        match object.get("items").and_then(Value::as_array) {
            Some(items) => items.iter().try_for_each(|item| self.row(item))?,
            None => self.row(object)?,
        }
        Ok(self.layout.flush())
    }

    fn row(&mut self, object: &Value) -> Result<(), CommandError> {
        let cells: Result<Vec<String>, CommandError> = self
            .columns
            .iter()
            .map(|(_, path)| {
                let found = path.find(object).map_err(|error| CommandError::message(error.0))?;
                if found.first().is_none_or(Vec::is_empty) {
                    return Ok("<none>".to_owned());
                }
                let values = found.iter().flatten().map(Cow::as_ref).map(go_value::plain);
                Ok(values.collect::<Vec<_>>().join(","))
            })
            .collect();
        self.layout.row(cells?);
        Ok(())
    }
}

fn relaxed(path: &str) -> Result<JsonPath, CommandError> {
    JsonPath::parse_relaxed(path)
        .map(|path| path.allow_missing_keys(true))
        .map_err(|error| CommandError::message(error.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_print() {
        let mut columns =
            Columns::parse("NAME:.metadata.name,IMAGES:.spec.c[*].image,M:.m").unwrap();
        let list = json!({ "items": [
            { "metadata": { "name": "a" }, "spec": { "c": [{ "image": "x" }, { "image": "y" }] } },
            { "metadata": { "name": "long-name" }, "m": { "k": 1 } },
        ] });
        assert_eq!(
            columns.print(&list).unwrap(),
            "NAME        IMAGES   M\na           x,y      <none>\nlong-name   <none>   map[k:1]\n"
        );
        assert!(Columns::parse("NAME").is_err());
        assert!(Columns::parse("").is_err());
    }
}
