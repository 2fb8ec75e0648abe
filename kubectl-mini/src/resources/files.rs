//! Manifests: `-f` files, directories and standard input.
//!
//! Documents are read one after the other, lists are flattened into their items, and each manifest knows where it
//! stands, for messages. Directories give their `.json`, `.yaml` and `.yml` files in order. URLs and kustomizations are
//! refused: this program speaks to its cluster only.

use std::{
    fs,
    path::{Path, PathBuf},
};

use apimachinery::{
    field::go_quote,
    object::Object,
    resource::ResourceInfo,
    yaml::{self, Document},
};
use serde_json::Value;

use super::{syntax, type_of};
use crate::{context::Context, errors::CommandError};

/// `-f`, `-R` and `-k`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct FileFlags {
    /// The files that contain the resources: files, directories, or - for standard input.
    #[arg(long, short = 'f', value_delimiter = ',')]
    pub filename: Vec<String>,
    /// Process the directory used in -f, --filename recursively. Useful when you want to manage related manifests
    /// organized within the same directory.
    #[arg(long, short = 'R')]
    pub recursive: bool,
    /// Refused: kustomizations are not supported.
    #[arg(long, short = 'k')]
    pub kustomize: Option<String>,
}

/// One object of a file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The object; with its namespace, where it is namespaced.
    pub object: Object,
    /// Its type.
    pub info: &'static ResourceInfo,
    /// Empty for cluster-scoped types.
    pub namespace: String,
    /// The file's name, or `STDIN`.
    pub source: String,
}

/// Where manifests are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A file that was named.
    File(PathBuf),
    /// A file found in a directory that was named.
    Found(PathBuf),
}

impl Source {
    /// Whether it was named by itself, so that one object is expected.
    #[must_use]
    pub fn is_one_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];

impl FileFlags {
    /// Whether any file was named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filename.is_empty() && self.kustomize.is_none()
    }

    /// Refuses what cannot be done.
    ///
    /// # Errors
    /// kubectl's where it refuses too, ours for kustomizations and URLs.
    pub fn check(&self) -> Result<(), CommandError> {
        if self.kustomize.is_some() {
            if !self.filename.is_empty() {
                return Err(CommandError::message("only one of -f or -k can be specified"));
            }
            if self.recursive {
                return Err(CommandError::message("the -k flag can't be used with -f or -R"));
            }
            return Err(CommandError::message("kustomizations (-k) are not supported"));
        }
        for name in &self.filename {
            if name.starts_with("http://") || name.starts_with("https://") {
                return Err(CommandError::message(format!(
                    "reading manifests from URLs is not supported: {name}; download the file and name it with -f"
                )));
            }
        }
        Ok(())
    }

    /// The files, where any were named.
    ///
    /// # Errors
    /// When a path does not exist, or nothing in a directory is a manifest.
    pub(super) fn read_any(&self, _: &Context) -> Result<Option<Vec<Source>>, CommandError> {
        if self.filename.is_empty() { Ok(None) } else { self.sources().map(Some) }
    }

    /// The files.
    ///
    /// # Errors
    /// When a path does not exist, or nothing in a directory is a manifest.
    pub fn sources(&self) -> Result<Vec<Source>, CommandError> {
        let mut sources = Vec::new();
        for name in &self.filename {
            if name == "-" {
                if sources.contains(&Source::Stdin) {
                    return Err(CommandError::message(
                        "standard input cannot be used for multiple arguments",
                    ));
                }
                sources.push(Source::Stdin);
                continue;
            }
            for path in matching(name)? {
                if path.is_dir() {
                    let found = directory(&path, self.recursive)
                        .map_err(|error| unreadable(&path, &error))?;
                    if found.is_empty() {
                        let extensions =
                            EXTENSIONS.map(|extension| format!(".{extension}")).join(" ");
                        return Err(CommandError::message(format!(
                            "error reading [{}]: recognized file extensions are [{extensions}]",
                            path.display()
                        )));
                    }
                    sources.extend(found.into_iter().map(Source::Found));
                } else {
                    sources.push(Source::File(path));
                }
            }
        }
        Ok(sources)
    }
}

/// The path, or what its pattern matches.
fn matching(name: &str) -> Result<Vec<PathBuf>, CommandError> {
    let path = PathBuf::from(name);
    if path.exists() {
        return Ok(vec![path]);
    }
    let found = match (path.parent(), path.file_name().and_then(|name| name.to_str())) {
        (Some(directory), Some(pattern)) if pattern.contains(['*', '?']) => {
            let directory =
                if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            let names = fs::read_dir(directory).into_iter().flatten().flatten();
            let mut found: Vec<PathBuf> = names
                .filter(|entry| entry.file_name().to_str().is_some_and(|name| glob(pattern, name)))
                .map(|entry| path.with_file_name(entry.file_name()))
                .collect();
            found.sort();
            found
        }
        _ => Vec::new(),
    };
    if found.is_empty() {
        return Err(CommandError::message(format!("the path {} does not exist", go_quote(name))));
    }
    Ok(found)
}

/// `*` and `?`.
fn glob(pattern: &str, name: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    match pattern_chars.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = pattern_chars.as_str();
            name.char_indices()
                .map(|(at, _)| at)
                .chain([name.len()])
                .any(|at| glob(rest, &name[at..]))
        }
        Some(wanted) => {
            let mut chars = name.chars();
            chars.next().is_some_and(|given| wanted == '?' || wanted == given)
                && glob(pattern_chars.as_str(), chars.as_str())
        }
    }
}

fn directory(path: &Path, recursive: bool) -> std::io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            if recursive {
                found.extend(directory(&entry, true)?);
            }
        } else if entry
            .extension()
            .and_then(|extension| extension.to_str())
            .is_some_and(|extension| EXTENSIONS.contains(&extension))
        {
            found.push(entry);
        }
    }
    Ok(found)
}

fn unreadable(path: &Path, error: &std::io::Error) -> CommandError {
    let why = error.to_string();
    let why = why.split(" (os error").next().unwrap_or_default().to_lowercase();
    CommandError::message(format!("open {}: {why}", path.display()))
}

/// Reads the manifests of the files, in order. One that cannot be understood is an error in its place; where they are
/// `validated`, it is worded as one of validation.
///
/// # Errors
/// When the namespace cannot be found out.
pub async fn read_manifests(
    context: &Context,
    sources: Vec<Source>,
    validated: bool,
) -> Result<Vec<Result<Manifest, CommandError>>, CommandError> {
    let mut objects = Vec::new();
    for source in sources {
        let (name, text) = match source {
            Source::Stdin => ("STDIN".to_owned(), context.read_stdin()),
            Source::File(path) | Source::Found(path) => (
                path.display().to_string(),
                fs::read_to_string(&path).map_err(|error| unreadable(&path, &error)),
            ),
        };
        match text.and_then(|text| parse(&text, &name, validated)) {
            Err(error) => objects.push((Err(error), name)),
            Ok(documents) => {
                objects.extend(documents.into_iter().map(|object| (object, name.clone())));
            }
        }
    }
    manifests(context, objects).await
}

/// Makes manifests of objects, each with its source.
async fn manifests(
    context: &Context,
    objects: Vec<(Result<Object, CommandError>, String)>,
) -> Result<Vec<Result<Manifest, CommandError>>, CommandError> {
    let namespace = context.namespace()?;
    let built_in = |object: &Object| super::built_in(object).is_some();
    if objects.iter().any(|(object, _)| object.as_ref().is_ok_and(|object| !built_in(object))) {
        // Where the server does not answer, the kind is as good as unknown.
        let _ = super::discover(context).await;
    }
    let made = objects.into_iter().map(|(object, name)| {
        object.and_then(|object| manifest(context, object, &name, &namespace))
    });
    Ok(made.collect())
}

/// Reads the manifests of a text that stands in no file; messages call it `name`.
///
/// # Errors
/// When the namespace cannot be found out, or the text is no YAML.
pub async fn read_text(
    context: &Context,
    text: &str,
    name: &str,
) -> Result<Vec<Result<Manifest, CommandError>>, CommandError> {
    let objects = parse(text, name, false)?;
    let objects = objects.into_iter().map(|object| (object, name.to_owned())).collect();
    manifests(context, objects).await
}

/// What kubectl says of an object that belongs to another namespace than the command.
#[must_use]
pub fn wrong_namespace(given: &str, expected: &str) -> CommandError {
    CommandError::message(format!(
        "the namespace from the provided object {} does not match the namespace {}. You must pass '--namespace={given}' to perform this operation.",
        go_quote(given),
        go_quote(expected),
    ))
}

/// The objects of a text; a list gives its items.
fn parse(
    text: &str,
    name: &str,
    validated: bool,
) -> Result<Vec<Result<Object, CommandError>>, CommandError> {
    let unreadable = |told: String| CommandError::message(format!("error parsing {name}: {told}"));
    let documents = yaml::read_forgiving(text, name)
        .map_err(|error| unreadable(syntax::explain(text, &error)))?;
    if let Some(separator) = syntax::bad_separator(text) {
        return Err(unreadable(format!("invalid Yaml document separator: {separator}")));
    }
    let mut objects = Vec::new();
    for Document { value, .. } in documents {
        if validated && let Err(why) = syntax::check_object(Some(&value)) {
            objects.push(Err(CommandError::message(format!(
                "error validating {}: error validating data: {why}; if you choose to ignore these errors, turn validation off with --validate=false",
                go_quote(name)
            ))));
            continue;
        }
        flatten(value, name, &mut objects);
    }
    Ok(objects)
}

fn flatten(value: Value, name: &str, objects: &mut Vec<Result<Object, CommandError>>) {
    let undecodable = |problem: &str| {
        CommandError::message(format!("unable to decode {}: {problem}", go_quote(name)))
    };
    let Value::Object(fields) = value else {
        let problem = format!(
            "json: cannot unmarshal {} into Go value of type unstructured.detector",
            apimachinery::object::json_type(&value)
        );
        objects.push(Err(undecodable(&problem)));
        return;
    };
    let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind.is_empty() {
        let value = Value::Object(fields);
        let problem =
            format!("Object 'Kind' is missing in '{}'", apimachinery::json::to_string(&value));
        objects.push(Err(undecodable(&problem)));
        return;
    }
    if kind.ends_with("List") && fields.get("items").is_some_and(Value::is_array) {
        if let Some(Value::Array(items)) =
            fields.into_iter().find_map(|(k, v)| (k == "items").then_some(v))
        {
            items.into_iter().for_each(|item| flatten(item, name, objects));
        }
        return;
    }
    if fields.get("apiVersion").and_then(Value::as_str).unwrap_or_default().is_empty() {
        let value = Value::Object(fields);
        let problem = format!(
            "Object 'apiVersion' is missing in '{}'",
            apimachinery::json::to_string(&value)
        );
        objects.push(Err(undecodable(&problem)));
        return;
    }
    objects.push(Ok(Object(fields)));
}

/// What Go says of metadata of another type than it decodes into.
fn check_metadata(object: &Object) -> Result<(), String> {
    let wrong = |name: &str, value: &Value| {
        format!(
            "json: cannot unmarshal {} into Go struct field ObjectMeta.metadata.{name} of type string",
            apimachinery::object::json_type(value)
        )
    };
    for name in ["name", "generateName", "namespace"] {
        match object.get(&["metadata", name]) {
            None | Some(Value::String(_) | Value::Null) => {}
            Some(value) => return Err(wrong(name, value)),
        }
    }
    for name in ["labels", "annotations"] {
        let values = object.get(&["metadata", name]).and_then(Value::as_object);
        let bad = values.into_iter().flat_map(serde_json::Map::values);
        if let Some(value) = bad.into_iter().find(|value| !value.is_string() && !value.is_null()) {
            return Err(wrong(name, value));
        }
    }
    Ok(())
}

fn manifest(
    context: &Context,
    mut object: Object,
    source: &str,
    default_namespace: &str,
) -> Result<Manifest, CommandError> {
    check_metadata(&object).map_err(|why| {
        CommandError::message(format!("unable to decode {}: {why}", go_quote(source)))
    })?;
    let info = type_of(context, &object).map_err(|no_match| {
        let name = object.name().to_owned();
        let namespace = object.namespace().to_owned();
        CommandError::message(format!(
            "resource mapping not found for name: {} namespace: {} from {}: {no_match}\nensure CRDs are installed first",
            go_quote(&name),
            go_quote(&namespace),
            go_quote(source),
        ))
    })?;
    let mut namespace = String::new();
    if info.namespaced {
        if object.namespace().is_empty() {
            object.set(&["metadata", "namespace"], default_namespace);
        } else if context.namespace_is_enforced() && object.namespace() != default_namespace {
            return Err(wrong_namespace(object.namespace(), default_namespace));
        }
        object.namespace().clone_into(&mut namespace);
    }
    Ok(Manifest { object, info, namespace, source: source.to_owned() })
}
