//! The schema of every kind, as data: which fields a type has, of what shape, and how they merge.
//!
//! One table answers all questions about structure: strict decoding ([`check()`]), pruning
//! ([`prune()`]), strategic merge patches ([`crate::patch::strategic`]), list keys of server-side
//! apply, OpenAPI and explain. The built-in kinds are static data in `schema/table`, generated from
//! k8s-openapi's source and a reviewed overlay by `apimachinery/generator`; schemas that only exist
//! at run time are built from the same types with [`Shared::Counted`].
//!
//! A walk goes by [`Struct`] from field to field. Fields are sorted by name, and so are the keys of
//! a JSON object, so a walk over an object without faults neither searches nor allocates.

mod check;
mod go_time;
mod problem;
mod prune;
mod table;
mod times;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value;

pub use self::check::{Checked, check, check_all};
pub use self::problem::Problem;
pub use self::prune::prune;
pub use self::times::rewrite_times;
use crate::resource::ResourceInfo;

/// Something that is either part of the program or counted.
#[derive(Debug)]
pub enum Shared<T: 'static> {
    /// Part of the program.
    Static(&'static T),
    /// Made at run time.
    Counted(Arc<T>),
}

/// A struct of the API.
#[derive(Clone)]
pub struct Struct {
    /// Go's name with its package, `v1.PodSpec`; decoding errors print it.
    pub go_type: Cow<'static, str>,
    /// The fields, sorted by name.
    pub fields: Cow<'static, [Field]>,
    /// Whether server-side apply owns and replaces it as a whole.
    pub atomic: bool,
    /// Whether it may have fields that are not listed; they are merged as their values turn out.
    pub open: bool,
}

/// A field of a struct.
#[derive(Clone, Debug)]
pub struct Field {
    /// The JSON name.
    pub name: Cow<'static, str>,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether Kubernetes' types demand it.
    pub required: bool,
    /// How server-side apply merges it.
    pub list: ListType,
    /// How a strategic merge patch merges it.
    pub patch: Patch,
    /// Go's type where it has a name of its own, `v1.PullPolicy`; else empty.
    pub go_type: Cow<'static, str>,
}

/// The shape of a value. `null` is accepted for every shape and means absent.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A string.
    String,
    /// `true` or `false`.
    Boolean,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number.
    Float64,
    /// Bytes as base64.
    Bytes,
    /// A `resource.Quantity`: string or number.
    Quantity,
    /// A port or a percentage: string or whole number of 32 bits.
    IntOrString,
    /// A time in RFC 3339.
    Time,
    /// A time in RFC 3339 with microseconds.
    MicroTime,
    /// Any JSON at all.
    Any,
    /// An object with known fields.
    Struct(Shared<Struct>),
    /// A list of values of one shape.
    List(Shared<Self>),
    /// An object with free keys and values of one shape.
    Map(Shared<Self>),
}

/// How server-side apply merges the values of two owners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListType {
    /// Not told: lists are replaced as a whole, maps merged, structs as their schema tells.
    Default,
    /// A struct that is merged member by member, whatever its schema tells.
    Granular,
    /// Replaced as a whole.
    Atomic,
    /// A list of distinct scalars, merged.
    Set,
    /// A list of objects told apart by these fields, merged.
    Map(Keys),
}

/// The names of the fields that tell the items of a list apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Part of the program.
    Static(&'static [&'static str]),
    /// Made at run time, with the defaults of the fields.
    Owned(Vec<(String, Option<Value>)>),
}

/// The patch strategy and merge key of a field (`patchStrategy`, `patchMergeKey`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// What happens to the value.
    pub strategy: PatchStrategy,
    /// Whether a `$retainKeys` list says which fields stay.
    pub retain_keys: bool,
    /// The field that tells the items of a merged list apart; empty for scalars.
    pub merge_key: Cow<'static, str>,
}

/// What a strategic merge patch does to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchStrategy {
    /// Objects are merged, lists replaced.
    Default,
    /// Replaced, objects too.
    Replace,
    /// Merged, lists too.
    Merge,
}

/// Finds the schema of a kind, `None` for kinds that are not built in.
#[must_use]
pub fn find(group: &str, version: &str, kind: &str) -> Option<&'static Struct> {
    let kinds = &table::kinds::KINDS;
    kinds
        .binary_search_by(|(g, v, k, _)| (*g, *v, *k).cmp(&(group, version, kind)))
        .ok()
        .map(|index| kinds[index].3)
}

/// Finds the schema of a resource's kind.
#[must_use]
pub fn for_kind(info: &ResourceInfo) -> Option<&'static Struct> {
    find(info.group, info.version, info.kind)
}

/// Returns the group, version and kind of every built-in schema, sorted.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    table::kinds::KINDS.iter().map(|(group, version, kind, _)| (*group, *version, *kind))
}

/// Returns every built-in struct by its name in OpenAPI, `io.k8s.api.core.v1.Pod`, sorted.
pub fn definitions() -> impl Iterator<Item = (&'static str, &'static Struct)> {
    table::definitions::DEFINITIONS.iter().copied()
}

/// What Kubernetes says of its types and fields, as a zlib stream; `apimachinery/generator` tells the form of the text.
///
/// The text is that of Kubernetes' API, under the Apache License 2.0.
pub static DESCRIPTIONS: &[u8] = include_bytes!("schema/descriptions.zz");

/// The schema of `ObjectMeta`, which every kind has, known or not.
#[must_use]
pub fn object_meta() -> &'static Struct {
    &table::meta::V1_OBJECT_META
}

/// The schema of `DeleteOptions`, which is a body of requests in all groups.
#[must_use]
pub fn delete_options() -> &'static Struct {
    &table::meta::V1_DELETE_OPTIONS
}

impl Struct {
    /// Builds a struct whose fields are merged one by one.
    const fn granular(go_type: &'static str, fields: &'static [Field]) -> Self {
        let (go_type, fields) = (Cow::Borrowed(go_type), Cow::Borrowed(fields));
        Self { go_type, fields, atomic: false, open: false }
    }

    /// Builds a struct that is replaced as a whole.
    const fn atomic(go_type: &'static str, fields: &'static [Field]) -> Self {
        let (go_type, fields) = (Cow::Borrowed(go_type), Cow::Borrowed(fields));
        Self { go_type, fields, atomic: true, open: false }
    }

    /// Finds a field by its JSON name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        let index = self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()?;
        Some(&self.fields[index])
    }

    /// The field of that name, or, in an open struct, what stands for one that is not listed.
    #[must_use]
    pub fn field_or_open(&self, name: &str) -> Option<&Field> {
        self.field(name).or_else(|| self.open.then_some(&UNLISTED))
    }

    /// The name without Go's package.
    #[must_use]
    pub fn name(&self) -> &str {
        self.go_type.rsplit('.').next().unwrap_or_default()
    }
}

impl fmt::Debug for Struct {
    /// Prints the name only: schemas may be recursive.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.go_type)
    }
}

impl Field {
    const fn plain(name: &'static str, shape: Shape) -> Self {
        Self::new(name, shape, false, ListType::Default, Patch::NONE, "")
    }

    const fn new(
        name: &'static str,
        shape: Shape,
        required: bool,
        list: ListType,
        patch: Patch,
        go_type: &'static str,
    ) -> Self {
        let (name, go_type) = (Cow::Borrowed(name), Cow::Borrowed(go_type));
        Self { name, shape, required, list, patch, go_type }
    }
}

/// A value without a schema: objects are merged entry by entry, anything else as a whole.
static DEDUCED: Shape = Shape::Map(Shared::Static(&DEDUCED));

/// A field that an open struct does not list.
static UNLISTED: Field = Field::plain("", Shape::Map(Shared::Static(&DEDUCED)));

impl Shape {
    /// A value of any type; objects are merged entry by entry.
    #[must_use]
    pub fn deduced() -> Self {
        Self::Map(Shared::Static(&DEDUCED))
    }

    /// Whether this is [`Shape::deduced`].
    #[must_use]
    pub fn is_deduced(&self) -> bool {
        matches!(self, Self::Map(Shared::Static(item)) if std::ptr::eq(*item, &raw const DEDUCED))
    }

    /// The struct that this is.
    #[must_use]
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Self::Struct(strukt) => Some(strukt),
            _ => None,
        }
    }
}

impl ListType {
    const fn map(keys: &'static [&'static str]) -> Self {
        Self::Map(Keys::Static(keys))
    }
}

impl Keys {
    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (fixed, owned): (&[&str], &[(String, Option<Value>)]) = match self {
            Self::Static(keys) => (keys, &[]),
            Self::Owned(keys) => (&[], keys),
        };
        fixed.iter().copied().chain(owned.iter().map(|(name, _)| name.as_str()))
    }

    /// The value that a key has where an item does not give it, as far as the schema tells.
    #[must_use]
    pub fn default_of(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Static(_) => None,
            Self::Owned(keys) => keys.iter().find(|(key, _)| key == name)?.1.as_ref(),
        }
    }
}

impl Patch {
    /// No strategy told.
    pub const NONE: Self = Self::of(PatchStrategy::Default, false, "");
    const REPLACE: Self = Self::of(PatchStrategy::Replace, false, "");
    const RETAIN_KEYS: Self = Self::of(PatchStrategy::Default, true, "");

    const fn merge(key: &'static str) -> Self {
        Self::of(PatchStrategy::Merge, false, key)
    }

    const fn merge_retain_keys(key: &'static str) -> Self {
        Self::of(PatchStrategy::Merge, true, key)
    }

    const fn of(strategy: PatchStrategy, retain_keys: bool, key: &'static str) -> Self {
        Self { strategy, retain_keys, merge_key: Cow::Borrowed(key) }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Static(value) => value,
            Self::Counted(value) => value,
        }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Static(value) => Self::Static(value),
            Self::Counted(value) => Self::Counted(Arc::clone(value)),
        }
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Self::Counted(Arc::new(value))
    }
}

#[cfg(test)]
mod tests;
