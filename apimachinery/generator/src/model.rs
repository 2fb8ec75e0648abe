//! What the generator knows of the Kubernetes API: structs, their fields and their merge rules.

use std::collections::{BTreeMap, BTreeSet};

/// Every struct of the API by its path below the version module, `api::core::v1::Container`.
#[derive(Debug, Default)]
pub struct Model {
    /// The structs by path.
    pub structs: BTreeMap<String, Struct>,
    /// What is said of each type that is no struct (`Quantity`, `FieldsV1`), by its path.
    pub opaque: BTreeMap<String, String>,
}

/// A struct of the API.
#[derive(Debug)]
pub struct Struct {
    /// Its name, which is also Go's.
    pub name: String,
    /// Its fields in the source's order, without `apiVersion` and `kind`.
    pub fields: Vec<Field>,
    /// Set when objects of this type stand alone.
    pub kind: Option<Kind>,
    /// What Kubernetes says of it.
    pub description: String,
    /// What it says of `apiVersion` and `kind`, by name.
    pub identity: BTreeMap<String, String>,
}

/// The identity of a top-level type.
#[derive(Debug, Clone)]
pub struct Kind {
    /// The API group, empty for core.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The kind.
    pub kind: String,
}

/// A field of a struct.
#[derive(Debug)]
pub struct Field {
    /// The Rust name.
    pub ident: String,
    /// The JSON name.
    pub json: String,
    /// The type, without the `Option` around it.
    pub ty: Type,
    /// Whether the field may be absent.
    pub optional: bool,
    /// How two values are merged, as far as k8s-openapi tells.
    pub merge: Merge,
    /// The path of the type that is no struct and that this is or contains.
    pub opaque: Option<String>,
    /// What Kubernetes says of it.
    pub description: String,
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// A string.
    String,
    /// A boolean.
    Boolean,
    /// Go's int32.
    Int32,
    /// Go's int64.
    Int64,
    /// Go's float64.
    Float64,
    /// Bytes, base64 in JSON.
    Bytes,
    /// `resource.Quantity`.
    Quantity,
    /// `intstr.IntOrString`.
    IntOrString,
    /// `metav1.Time`.
    Time,
    /// `metav1.MicroTime`.
    MicroTime,
    /// Any JSON.
    Raw,
    /// Another struct, by its path.
    Struct(String),
    /// A list.
    List(Box<Self>),
    /// A map with string keys.
    Map(Box<Self>),
}

/// A merge rule of k8s-openapi.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merge {
    /// Nothing special: scalars are replaced, structs merged.
    Plain,
    /// A list or map that is replaced as a whole.
    Atomic,
    /// A list without duplicates.
    Set,
    /// A list whose items are told apart by these Rust fields.
    ListMap(Vec<String>),
    /// A map whose values are merged.
    Granular,
}

impl Type {
    /// Returns the path of the struct that this type is or contains.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Struct(path) => Some(path),
            Self::List(inner) | Self::Map(inner) => inner.target(),
            _ => None,
        }
    }
}

impl Model {
    /// Returns the paths of all structs reachable from the roots, the roots included.
    #[must_use]
    pub fn closure<'a>(&'a self, roots: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = roots.into_iter().collect();
        while let Some(path) = open.pop() {
            if let Some(strukt) = self.structs.get(path)
                && found.insert(path)
            {
                open.extend(strukt.fields.iter().filter_map(|field| field.ty.target()));
            }
        }
        found
    }
}
