//! `metadata.managedFields`: who owns what.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::set::FieldSet;
use crate::{field::go_quote, object::Object, time::Time};

/// More entries of updates than this, and the oldest become one.
const MAX_UPDATERS: usize = 10;
/// The manager of what the oldest updaters did.
const ANCIENT: &str = "ancient-changes";

/// `Apply` or `Update`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Every other write.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// The fields of one manager, written by one operation in one version through one subresource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    /// As it is written; the time of the last write that changed something.
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Entry {
    /// Whether two entries are one manager's: appliers whatever the version.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn seconds(&self) -> i64 {
        let time = self.time.as_deref().and_then(|time| time.parse::<Time>().ok());
        time.map_or(0, |time| time.0.as_second())
    }

    /// How conflicts name the manager.
    pub(super) fn display(&self) -> String {
        let mut text = go_quote(&self.manager);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {}", go_quote(&self.subresource));
        }
        if self.operation == Operation::Update {
            text = format!("{text} using {}", self.api_version);
        }
        text
    }

    fn decode(value: &Value) -> Result<Self, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".into()),
        };
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".into());
        }
        if text("fieldsType") != "FieldsV1" {
            return Err(format!(
                "invalid fieldsType {:?} in managed fields entry",
                text("fieldsType")
            ));
        }
        let none = Value::Object(Map::new());
        let fields = FieldSet::from_value(value.get("fieldsV1").unwrap_or(&none))?;
        Ok(Self {
            manager: text("manager").to_owned(),
            operation,
            api_version: text("apiVersion").to_owned(),
            subresource: text("subresource").to_owned(),
            time: value.get("time").and_then(Value::as_str).map(ToOwned::to_owned),
            fields,
        })
    }

    pub(super) fn encode(self) -> Value {
        let mut entry = Map::new();
        entry.insert("apiVersion".into(), self.api_version.into());
        entry.insert("fieldsType".into(), "FieldsV1".into());
        entry.insert("fieldsV1".into(), Value::Object(self.fields.0));
        if !self.manager.is_empty() {
            entry.insert("manager".into(), self.manager.into());
        }
        entry.insert("operation".into(), self.operation.as_str().into());
        if !self.subresource.is_empty() {
            entry.insert("subresource".into(), self.subresource.into());
        }
        if let Some(time) = self.time {
            entry.insert("time".into(), time.into());
        }
        Value::Object(entry)
    }
}

/// Reads an object's entries.
///
/// # Errors
/// When one of them is malformed.
pub(super) fn decode(object: &Object) -> Result<Vec<Entry>, String> {
    object.get_list(&["metadata", "managedFields"]).iter().map(Entry::decode).collect()
}

/// Whether a writer asks to forget all managers: an empty list, or one empty entry.
pub(super) fn is_reset(object: &Object) -> bool {
    match object.get(&["metadata", "managedFields"]) {
        Some(Value::Array(entries)) => match entries.as_slice() {
            [] => true,
            [only] => only.as_object().is_some_and(Map::is_empty),
            _ => false,
        },
        _ => false,
    }
}

/// Writes the entries in Kubernetes' order; without any the field is dropped.
pub(super) fn encode(object: &mut Object, mut entries: Vec<Entry>) {
    if entries.is_empty() {
        object.remove(&["metadata", "managedFields"]);
        return;
    }
    entries.sort_by(|a, b| {
        let key = |e: &Entry| (e.operation, e.seconds());
        key(a)
            .cmp(&key(b))
            .then_with(|| a.manager.cmp(&b.manager))
            .then_with(|| a.api_version.cmp(&b.api_version))
            .then_with(|| a.subresource.cmp(&b.subresource))
    });
    let entries: Vec<Value> = entries.into_iter().map(Entry::encode).collect();
    object.metadata_mut().insert("managedFields".into(), entries.into());
}

/// Makes one entry of the oldest updaters where there are too many.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let updaters = |entries: &[Entry]| {
        entries.iter().filter(|entry| entry.operation == Operation::Update).count()
    };
    if updaters(entries) <= MAX_UPDATERS {
        return;
    }
    let mut oldest: Vec<Entry> = Vec::new();
    let mut left: Vec<Entry> = Vec::new();
    for entry in entries.drain(..) {
        let of = if entry.operation == Operation::Update { &mut oldest } else { &mut left };
        of.push(entry);
    }
    oldest.sort_by(|a, b| {
        a.seconds().cmp(&b.seconds()).then_with(|| identifier(a).cmp(&identifier(b)))
    });
    let mut count = oldest.len();
    // Per version: the first stays until a second joins it.
    let mut buckets: Vec<Entry> = Vec::new();
    for entry in oldest {
        if count <= MAX_UPDATERS {
            left.push(entry);
            continue;
        }
        match buckets.iter_mut().find(|bucket| bucket.api_version == entry.api_version) {
            None => buckets.push(entry),
            Some(bucket) => {
                bucket.manager = ANCIENT.into();
                bucket.subresource = String::new();
                bucket.fields.union(&entry.fields);
                bucket.time = entry.time;
                count -= 1;
            }
        }
    }
    left.extend(buckets);
    *entries = left;
}

/// What Kubernetes sorts managers by.
pub(super) fn identifier(entry: &Entry) -> String {
    let version = match entry.operation {
        Operation::Apply => String::new(),
        Operation::Update => format!(r#","apiVersion":{}"#, json!(entry.api_version)),
    };
    format!(
        r#"{{"manager":{},"operation":"{}"{version}{}}}"#,
        json!(entry.manager),
        entry.operation.as_str(),
        json!(entry.subresource)
    )
}

/// A time as entries have it.
pub(super) fn stamp(now: Timestamp) -> String {
    Time(now).truncated().to_string()
}
