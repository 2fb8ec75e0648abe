//! What a caller may say about a request.

use std::time::Duration;

use proto::v1;
use serde_json::Value;

/// Selection, paging and consistency of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// `a=b,c in (x,y)`; empty: everything.
    pub label_selector: String,
    /// `spec.nodeName=node-1`; empty: everything.
    pub field_selector: String,
    /// Empty: the newest state; "0": any; else at least this version (see `resource_version_match`).
    pub resource_version: String,
    /// Empty, `Exact` or `NotOlderThan`.
    pub resource_version_match: String,
    /// At most so many objects; 0: all.
    pub limit: i64,
    /// Goes on where the list with this token ended.
    pub continue_token: String,
}

impl ListOptions {
    /// Selects by labels.
    #[must_use]
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: selector.into(), ..Self::default() }
    }

    /// Selects by fields.
    #[must_use]
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: selector.into(), ..Self::default() }
    }
}

/// What a watch follows, and from where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// `a=b,c in (x,y)`; empty: everything.
    pub label_selector: String,
    /// `spec.nodeName=node-1`; empty: everything.
    pub field_selector: String,
    /// Events after this version; empty: the present state first, as synthetic additions.
    pub resource_version: String,
    /// Needed with `send_initial_events`: `NotOlderThan`.
    pub resource_version_match: String,
    /// The present state first, its end marked by a bookmark.
    pub send_initial_events: bool,
    /// Send bookmarks.
    pub allow_bookmarks: bool,
    /// The server ends the watch after this long; None: the server's default.
    pub timeout: Option<Duration>,
}

/// How an object goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds of grace; None: the object's own.
    pub grace_period_seconds: Option<i64>,
    /// What becomes of dependents; None: the resource's default.
    pub propagation: Option<Propagation>,
    /// Only this very object, not its namesake.
    pub uid: Option<String>,
    /// Only if unchanged.
    pub resource_version: Option<String>,
    /// Everything but the write happens.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Only the object of this uid.
    #[must_use]
    pub fn uid(uid: impl Into<String>) -> Self {
        Self { uid: Some(uid.into()), ..Self::default() }
    }
}

/// `propagationPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Dependents stay.
    Orphan,
    /// Dependents go after the owner.
    Background,
    /// Dependents go before the owner.
    Foreground,
}

impl Propagation {
    /// Kubernetes' word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orphan => "Orphan",
            Self::Background => "Background",
            Self::Foreground => "Foreground",
        }
    }
}

/// What to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and warn: Kubernetes' default.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

impl FieldValidation {
    /// Kubernetes' word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ignore => "Ignore",
            Self::Warn => "Warn",
            Self::Strict => "Strict",
        }
    }
}

/// A change of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' strategic merge.
    Strategic(Value),
    /// Server-side apply; `force` takes fields from other managers.
    Apply {
        /// The applied configuration.
        object: Value,
        /// Whether conflicts are won.
        force: bool,
    },
}

impl Patch {
    pub(crate) fn parts(&self) -> (v1::patch_request::Type, &Value, bool) {
        use v1::patch_request::Type;
        match self {
            Self::Json(value) => (Type::Json, value, false),
            Self::Merge(value) => (Type::Merge, value, false),
            Self::Strategic(value) => (Type::StrategicMerge, value, false),
            Self::Apply { object, force } => (Type::Apply, object, *force),
        }
    }
}

/// How much of the object the rows of a table carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Object => "Object",
        }
    }
}

impl From<&DeleteOptions> for v1::DeleteOptions {
    fn from(options: &DeleteOptions) -> Self {
        let preconditions =
            (options.uid.is_some() || options.resource_version.is_some()).then(|| {
                v1::Preconditions {
                    uid: options.uid.clone(),
                    resource_version: options.resource_version.clone(),
                }
            });
        Self {
            grace_period_seconds: options.grace_period_seconds,
            propagation_policy: options.propagation.map_or("", Propagation::as_str).to_owned(),
            preconditions,
            dry_run: options.dry_run,
        }
    }
}
