//! Who owns which field of an object: `metadata.managedFields`, and server-side apply.
//!
//! Every write notes what it changed under the name of its manager: [`updated`] for creations, updates and patches,
//! [`apply`] for server-side apply. A manager that applies owns all that it applied last time, whether it changed it or
//! not; what it applies no more is removed, unless somebody else owns it, too. A field that another manager owns and that
//! would get another value is a conflict, unless it is forced.
//!
//! | module | has |
//! |---|---|
//! | [`set`] | sets of field paths in their stored form, `FieldsV1` |
//! | [`item`] | how a value is merged, and what tells the items of a list apart |
//! | [`compare`](mod@compare) | what differs between two versions of an object |
//! | [`applied`] | the fields that a configuration names; whether it fits the schema |
//! | [`merge`] | a configuration laid over an object, and taken out of it |
//! | [`managers`] | the entries of `managedFields` |
//! | [`shape`] | what of a new object decides who owns what |
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff` and of `k8s.io/apimachinery/pkg/util/managedfields`. A
//! kind has one version here, so nothing is converted: an entry in a version that is not served loses nothing and
//! conflicts with nobody.

mod applied;
mod compare;
mod item;
mod managers;
mod merge;
mod set;
mod shape;

use jiff::Timestamp;
use serde_json::{Map, Value};

pub use self::compare::Scope;
pub use self::managers::Operation;
use self::managers::{Entry, cap, decode, encode, identifier, is_reset, stamp};
pub use self::set::FieldSet;
use crate::{
    object::Object,
    schema::Struct,
    status::{Status, StatusCause},
};

/// The manager that kubectl applies as: for it Kubernetes keeps client-side apply's annotation in step.
const KUBECTL: &str = "kubectl";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations together may be this long.
const MAX_ANNOTATIONS: usize = 256 << 10;
/// Who owns what was there before the first apply of an object without managers.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, through what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The field manager's name.
    pub manager: &'a str,
    /// The version of the object's kind.
    pub api_version: &'a str,
    /// The subresource written, empty for the object itself.
    pub subresource: &'a str,
    /// What of the object can be owned through it.
    pub scope: Scope<'a>,
    /// Now.
    pub now: Timestamp,
}

impl Writer<'_> {
    fn entry(&self, operation: Operation) -> Entry {
        let manager = if self.manager.is_empty() { "unknown" } else { self.manager };
        Entry {
            manager: manager.to_owned(),
            operation,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
            time: None,
            fields: FieldSet::default(),
        }
    }
}

/// Notes in a new version of an object who owns what; `old` is what is stored, None for a creation.
pub fn updated(old: Option<&Object>, new: &mut Object, schema: &Struct, writer: &Writer<'_>) {
    let entries = match kept(old, new, writer) {
        Ok(entries) => entries,
        // An object that nobody tracks stays so until it is applied.
        Err(Untracked) => {
            new.remove(&["metadata", "managedFields"]);
            return;
        }
    };
    new.remove(&["metadata", "managedFields"]);
    let entries = update(old, new, schema, writer, entries);
    encode(new, entries);
}

/// What a creation's owners follow from: objects of which this is equal have equal [`creator`]s. None: the object
/// brings owners of its own.
#[must_use]
pub fn shape_of(new: &Object, schema: &Struct, writer: &Writer<'_>) -> Option<Vec<u8>> {
    if new.get(&["metadata", "managedFields"]).is_some() {
        return None;
    }
    let mut shape = Vec::with_capacity(1024);
    shape.extend_from_slice(writer.manager.as_bytes());
    // No manager's name has it.
    shape.push(0xff);
    shape::shape(new, schema, &mut shape);
    Some(shape)
}

/// The one entry of `managedFields` that the creation of an object brings, as it is written but for its time; None: there
/// is nothing to own.
#[must_use]
pub fn creator(new: &Object, schema: &Struct, writer: &Writer<'_>) -> Option<Value> {
    let entry = update(None, new, schema, writer, Vec::new()).pop()?;
    Some(Entry { time: None, ..entry }.encode())
}

/// When the entry of a write of now is from, as it is written.
#[must_use]
pub fn time_of(writer: &Writer<'_>) -> String {
    stamp(writer.now)
}

struct Untracked;

/// The entries from which an update starts: the writer's own, where it brings some, else the stored ones.
fn kept(old: Option<&Object>, new: &Object, writer: &Writer<'_>) -> Result<Vec<Entry>, Untracked> {
    let stored = || old.map(|old| decode(old).unwrap_or_default()).unwrap_or_default();
    let entries = if !writer.subresource.is_empty() {
        stored()
    } else if is_reset(new) {
        Vec::new()
    } else {
        match decode(new) {
            Ok(entries) if !entries.is_empty() => entries,
            _ => stored(),
        }
    };
    if entries.is_empty() && old.is_some() { Err(Untracked) } else { Ok(entries) }
}

fn update(
    old: Option<&Object>,
    new: &Object,
    schema: &Struct,
    writer: &Writer<'_>,
    mut entries: Vec<Entry>,
) -> Vec<Entry> {
    let nothing = Object::default();
    let changes = compare::compare(old.unwrap_or(&nothing), new, schema, writer.scope);
    for entry in &mut entries {
        entry.fields.difference(&changes.set);
        entry.fields.difference(&changes.removed);
    }
    if !changes.set.is_empty() {
        let mut own = writer.entry(Operation::Update);
        let known = entries.iter().position(|entry| entry.is_same(&own));
        if let Some(index) = known {
            own.fields = std::mem::take(&mut entries[index].fields);
            entries.swap_remove(index);
        }
        own.fields.union(&changes.set);
        own.time = Some(stamp(writer.now));
        entries.push(own);
    }
    entries.retain(|entry| !entry.fields.is_empty());
    cap(&mut entries);
    entries
}

/// Why a configuration is not applied.
#[derive(Clone, Debug, PartialEq)]
pub enum ApplyError {
    /// The request itself is wrong.
    BadRequest(String),
    /// The configuration does not fit the schema.
    Mistyped(String),
    /// Other managers own fields that would change: whom, and where.
    Conflicts(Vec<Conflict>),
}

/// A field that would change and that somebody else owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The manager, as messages name it.
    pub manager: String,
    /// The field's path.
    pub path: String,
}

impl ApplyError {
    /// The API's status.
    #[must_use]
    pub fn into_status(self) -> Status {
        let conflicts = match self {
            Self::BadRequest(message) => return Status::bad_request(message),
            Self::Mistyped(message) => {
                return Status { code: 500, message, ..Status::default() };
            }
            Self::Conflicts(conflicts) => conflicts,
        };
        let causes = conflicts
            .iter()
            .map(|conflict| StatusCause {
                reason: "FieldManagerConflict".into(),
                message: format!("conflict with {}", conflict.manager),
                field: conflict.path.clone(),
            })
            .collect();
        Status::apply_conflict(causes, message_of(&conflicts))
    }
}

fn message_of(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, path }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {path}");
    }
    let mut lines: Vec<String> = Vec::new();
    let mut last = "";
    for Conflict { manager, path } in conflicts {
        if manager != last {
            lines.push(format!("conflicts with {manager}:"));
            last = manager;
        }
        lines.push(format!("- {path}"));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

/// Applies a configuration to an object (to an empty one, when `live` is None) and notes who owns what. The outcome is
/// not yet defaulted.
///
/// # Errors
/// A configuration that is none, or conflicts that are not forced.
pub fn apply(
    live: Option<&Object>,
    config: &Object,
    schema: &Struct,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Object, ApplyError> {
    let (version, expected) = (config.api_version(), writer.api_version);
    if version != expected {
        return Err(ApplyError::BadRequest(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {expected}"
        )));
    }
    if config.get(&["metadata", "managedFields"]).is_some_and(|fields| !fields.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".into()));
    }
    applied::check(config, schema).map_err(|why| {
        let (namespace, name, kind) = (config.namespace(), config.name(), config.kind());
        ApplyError::Mistyped(format!(
            "failed to create typed patch object ({namespace}/{name}; {version}, Kind={kind}): {why}"
        ))
    })?;
    let mut object = match attempt(live, config, schema, writer, force) {
        Err(ApplyError::Conflicts(conflicts)) if writer.manager == KUBECTL => {
            let left = not_last_applied(live, schema, conflicts);
            if !left.is_empty() {
                return Err(ApplyError::Conflicts(left));
            }
            attempt(live, config, schema, writer, true)?
        }
        outcome => outcome?,
    };
    if writer.manager == KUBECTL && object.annotation(LAST_APPLIED).is_some() {
        note_last_applied(&mut object, config);
    }
    Ok(object)
}

fn attempt(
    live: Option<&Object>,
    config: &Object,
    schema: &Struct,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Object, ApplyError> {
    let mut bare = live.cloned().unwrap_or_default();
    let mut entries = decode(&bare).unwrap_or_default();
    bare.remove(&["metadata", "managedFields"]);
    if live.is_some() && entries.is_empty() {
        let before = Writer { manager: BEFORE_FIRST_APPLY, subresource: "", ..*writer };
        entries = update(None, &bare, schema, &before, entries);
    }
    let mut own = writer.entry(Operation::Apply);
    let last = entries.iter().position(|entry| entry.is_same(&own)).map(|i| entries.swap_remove(i));
    own.fields = applied::fields_of(config, schema);
    strip_metadata(&mut own.fields);
    writer.scope.limit(&mut own.fields);
    own.time = last.as_ref().and_then(|last| last.time.clone());

    let merged = merge::merge(&bare, config, schema);
    let mut object = match &last {
        Some(last) => prune(merged, &last.fields, &own.fields, &entries, schema),
        None => merged,
    };
    let changes = compare::compare(&bare, &object, schema, writer.scope);
    let mut owners: Vec<(String, &Entry, FieldSet)> = entries
        .iter()
        .map(|entry| (identifier(entry), entry, entry.fields.intersection(&changes.set)))
        .filter(|(_, _, fields)| !fields.is_empty())
        .collect();
    owners.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let conflicts: Vec<Conflict> = owners
        .iter()
        .flat_map(|(_, entry, fields)| {
            let manager = entry.display();
            fields.paths().into_iter().map(move |path| Conflict { manager: manager.clone(), path })
        })
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(conflicts));
    }
    for entry in &mut entries {
        entry.fields.difference(&changes.set);
        entry.fields.difference(&changes.removed);
    }
    if object != bare {
        own.time = Some(stamp(writer.now));
    }
    entries.push(own);
    entries.retain(|entry| !entry.fields.is_empty());
    cap(&mut entries);
    encode(&mut object, entries);
    Ok(object)
}

/// Takes out what the manager applied last time, does not apply now, and nobody else owns.
fn prune(
    merged: Object,
    last: &FieldSet,
    own: &FieldSet,
    others: &[Entry],
    schema: &Struct,
) -> Object {
    if last.is_empty() {
        return merged;
    }
    let named = |set: &FieldSet| merge::with_named(set, schema);
    let fields_of = |object: &Object| named(&applied::fields_of(object, schema));
    let last = named(last);
    let all = fields_of(&merged);

    let pruned = fields_of(&merge::remove(&merged, &last, schema));
    // What somebody owns stays, with the way that leads to it.
    let mut managed = own.clone();
    others.iter().for_each(|entry| managed.union(&entry.fields));
    let mut unowned = all.clone();
    unowned.difference(&pruned);
    unowned.difference(&named(&managed));
    let pruned = fields_of(&merge::remove(&merged, &unowned, schema));
    // And what nobody owns stays, too, unless it was this manager's.
    let mut gone = all;
    gone.difference(&pruned);
    merge::remove(&merged, &gone.intersection(&last), schema)
}

/// Fields of the metadata that nobody owns.
const UNOWNED_METADATA: &[&str] = &[
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// The fields that no manager owns, whatever the kind.
#[must_use]
pub fn unowned() -> FieldSet {
    let paths: Vec<[&str; 2]> = UNOWNED_METADATA.iter().map(|name| ["metadata", name]).collect();
    let paths: Vec<&[&str]> = paths.iter().map(<[&str; 2]>::as_slice).collect();
    FieldSet::of_fields(&paths)
}

fn strip_metadata(fields: &mut FieldSet) {
    fields.difference(&unowned());
    fields.difference(&FieldSet::of_fields(&[&["metadata"]]));
}

/// Drops the conflicts about what client-side apply wrote: kubectl may take over from itself.
fn not_last_applied(
    live: Option<&Object>,
    schema: &Struct,
    conflicts: Vec<Conflict>,
) -> Vec<Conflict> {
    let applied = live
        .and_then(|live| live.annotation(LAST_APPLIED))
        .and_then(|json| Object::from_slice(json.as_bytes()).ok());
    let (Some(live), Some(applied)) = (live, applied) else { return conflicts };
    // Only where the object still has what was applied.
    let mut allowed = applied::fields_of(&applied, schema);
    let changes = compare::compare(live, &merge::merge(live, &applied, schema), schema, Scope::All);
    allowed.difference(&changes.set);
    let mut paths = allowed.paths();
    paths.push(format!(".metadata.annotations.{LAST_APPLIED}"));
    conflicts.into_iter().filter(|conflict| !paths.contains(&conflict.path)).collect()
}

/// Brings client-side apply's annotation in step with what was applied.
fn note_last_applied(object: &mut Object, config: &Object) {
    let mut noted = config.clone();
    noted.remove(&["metadata", "annotations", LAST_APPLIED]);
    let text = format!("{}\n", Value::Object(noted.0));
    let others: usize = object
        .annotations()
        .filter(|(key, _)| *key != LAST_APPLIED)
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if others + LAST_APPLIED.len() + text.len() > MAX_ANNOTATIONS {
        object.remove(&["metadata", "annotations", LAST_APPLIED]);
    } else {
        object.set(&["metadata", "annotations", LAST_APPLIED], text);
    }
}

/// Whether two versions of an object are the same but for the times in `managedFields`: no reason to write.
#[must_use]
pub fn same_but_times(a: &Object, b: &Object) -> bool {
    let others = |object: &Object| -> Vec<(String, Value)> {
        let Some(Value::Object(metadata)) = object.0.get("metadata") else { return Vec::new() };
        let mut metadata: Map<String, Value> = metadata.clone();
        for entry in metadata
            .get_mut("managedFields")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            entry.remove("time");
        }
        metadata.into_iter().collect()
    };
    a.0.len() == b.0.len()
        && a.0.iter().all(|(key, value)| key == "metadata" || b.0.get(key) == Some(value))
        && others(a) == others(b)
}
