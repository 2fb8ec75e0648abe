//! Where `create configmap` and `create secret` take their data from: literals, files, directories, env files.
//!
//! This is the one module here that reads files.

use std::{fs, io, path::Path};

use super::{GenerateError, error};

/// One key and what stands under it.
pub type Entry = (String, Vec<u8>);

/// What the three `--from-…` flags say.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Of `--from-file`: `PATH` or `KEY=PATH`.
    pub files: Vec<String>,
    /// Of `--from-literal`: `KEY=VALUE`.
    pub literals: Vec<String>,
    /// Of `--from-env-file`: a path.
    pub env_files: Vec<String>,
}

/// What the texts of errors call the object: `configmap`s and `secret`s differ.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// What a directory given as env file is called.
    pub env_file: &'static str,
}

impl Sources {
    /// Whether the flags go together.
    ///
    /// # Errors
    /// An env file stands alone.
    pub fn check(&self) -> Result<(), GenerateError> {
        let others = !self.files.is_empty() || !self.literals.is_empty();
        if others && !self.env_files.is_empty() {
            return error("from-env-file cannot be combined with from-file or from-literal");
        }
        Ok(())
    }

    /// Reads everything and hands it to `add`, key by key.
    ///
    /// # Errors
    /// When a source is malformed or cannot be read, or `add` refuses a key.
    pub fn read(
        &self,
        words: Words,
        mut add: impl FnMut(Entry) -> Result<(), GenerateError>,
    ) -> Result<(), GenerateError> {
        for source in &self.files {
            read_file_source(source, &mut add)?;
        }
        for source in &self.literals {
            add(literal(source)?)?;
        }
        for path in &self.env_files {
            for entry in read_env_file(path, words)? {
                add(entry)?;
            }
        }
        Ok(())
    }
}

fn literal(source: &str) -> Result<Entry, GenerateError> {
    match source.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.as_bytes().to_vec())),
        _ => error(format!("invalid literal source {source}, expected key=value")),
    }
}

fn read_file_source(
    source: &str,
    add: &mut impl FnMut(Entry) -> Result<(), GenerateError>,
) -> Result<(), GenerateError> {
    let (key, path) = file_source(source)?;
    let metadata = fs::metadata(path).map_err(|e| reading(path, &e))?;
    if !metadata.is_dir() {
        return add((key.to_owned(), read(path)?));
    }
    if source.contains('=') {
        return error("cannot give a key name for a directory path");
    }
    let listing =
        |e: &io::Error| GenerateError(format!("error listing files in {path}: {}", go_io_error(e)));
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| listing(&e))? {
        let entry = entry.map_err(|e| listing(&e))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            names.push(entry.file_name());
        }
    }
    names.sort();
    for name in names {
        let file = Path::new(path).join(&name);
        add((name.to_string_lossy().into_owned(), read(&file.to_string_lossy())?))?;
    }
    Ok(())
}

/// Key and path of a `--from-file`.
fn file_source(source: &str) -> Result<(&str, &str), GenerateError> {
    match source.matches('=').count() {
        0 => {
            let trimmed = source.trim_end_matches('/');
            Ok((trimmed.rsplit('/').next().unwrap_or(trimmed), source))
        }
        1 => match source.split_once('=') {
            Some(("", path)) => error(format!("key name for file path {path} missing")),
            Some((key, "")) => error(format!("file path for key name {key} missing")),
            Some((key, path)) => Ok((key, path)),
            None => error("key names or file paths cannot contain '='"),
        },
        _ => error("key names or file paths cannot contain '='"),
    }
}

fn read(path: &str) -> Result<Vec<u8>, GenerateError> {
    fs::read(path).map_err(|e| GenerateError(format!("open {path}: {}", go_io_error(&e))))
}

fn reading(path: &str, error: &io::Error) -> GenerateError {
    GenerateError(format!("error reading {path}: {}", go_io_error(error)))
}

/// An error of the system as Go words it.
#[must_use]
pub fn go_io_error(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        _ => error.to_string(),
    }
}

const VARIABLE_NAME_RULE: &str = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')";

/// Whether kubectl takes it as the name of an environment variable; the server's rule is more tolerant.
#[must_use]
pub fn is_variable_name(name: &str) -> bool {
    let special = |c: char| matches!(c, '-' | '.' | '_');
    name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || special(c))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || special(c))
}

fn read_env_file(path: &str, words: Words) -> Result<Vec<Entry>, GenerateError> {
    let metadata = fs::metadata(path).map_err(|e| reading(path, &e))?;
    if metadata.is_dir() {
        return error(format!("{} cannot be a directory", words.env_file));
    }
    let bytes = read(path)?;
    let mut entries = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let Ok(text) = std::str::from_utf8(line) else {
            return error(format!(
                "env file {path} contains invalid utf8 bytes at line {}: {line:?}",
                number + 1
            ));
        };
        let text = if number == 0 { text.trim_start_matches('\u{feff}') } else { text };
        let text = text.strip_suffix('\r').unwrap_or(text).trim_start();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        if !is_variable_name(key) {
            return error(format!("{key:?} is not a valid key name: {VARIABLE_NAME_RULE}"));
        }
        if !text.contains('=') {
            // kubectl would take it from its own environment, which this library does not read.
            return error(format!(
                "env file {path} has no value for {key:?} at line {}",
                number + 1
            ));
        }
        entries.push((key.to_owned(), value.as_bytes().to_vec()));
    }
    Ok(entries)
}

/// The error for a directory given to a ConfigMap's or a Secret's `--from-env-file`.
pub const CONFIG_MAP_WORDS: Words = Words { env_file: "env config file" };

/// See [`CONFIG_MAP_WORDS`].
pub const SECRET_WORDS: Words = Words { env_file: "env secret file" };
