//! What Kubernetes says of its types and fields, out of the compressed text of `apimachinery`.
//!
//! The text is expanded for as long as documents are made, and dropped.

use std::{collections::HashMap, io::Read};

use flate2::read::ZlibDecoder;

/// The expanded text.
pub(super) struct Text(String);

/// What is said, by type.
pub(super) struct Descriptions<'a>(HashMap<&'a str, Said<'a>>);

/// What is said of one type.
#[derive(Default)]
pub(super) struct Said<'a> {
    /// Of the type.
    pub(super) description: &'a str,
    /// Of its fields, by their JSON names.
    pub(super) fields: HashMap<&'a str, FieldSaid<'a>>,
}

/// What is said of one field.
#[derive(Clone, Copy, Default)]
pub(super) struct FieldSaid<'a> {
    /// The type of what is any JSON to the schema table, in OpenAPI's name; else empty.
    pub(super) opaque: &'a str,
    /// The values of an enumeration, separated by commas; else empty.
    pub(super) values: &'a str,
    /// The description, its line breaks escaped.
    pub(super) description: &'a str,
}

impl Text {
    /// Expands it.
    pub(super) fn expand() -> Self {
        let mut text = String::new();
        ZlibDecoder::new(apimachinery::schema::DESCRIPTIONS)
            .read_to_string(&mut text)
            .expect("the descriptions are part of the program");
        Self(text)
    }

    /// Reads it.
    pub(super) fn read(&self) -> Descriptions<'_> {
        let mut all: HashMap<&str, Said<'_>> = HashMap::new();
        let mut current = "";
        for line in self.0.lines() {
            if let Some(field) = line.strip_prefix('\t') {
                let mut parts = field.splitn(4, '\t');
                let mut next = || parts.next().unwrap_or("");
                let name = next();
                let said = FieldSaid { opaque: next(), values: next(), description: next() };
                all.entry(current).or_default().fields.insert(name, said);
            } else {
                let (name, description) = line.split_once('\t').unwrap_or((line, ""));
                current = name;
                all.entry(name).or_default().description = description;
            }
        }
        Descriptions(all)
    }
}

impl<'a> Descriptions<'a> {
    /// What is said of a type.
    pub(super) fn of(&self, definition: &str) -> Option<&Said<'a>> {
        self.0.get(definition)
    }
}

/// Takes the escapes out of a description.
pub(super) fn plain(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => {}
            },
            (other, false) => out.push(other),
        }
    }
    out
}
