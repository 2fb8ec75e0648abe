//! What lists, watches and stores need to know of an object, whatever it is decoded to.

use apimachinery::{
    api::{Resource, meta::ObjectMeta},
    object::{Object, ObjectKey},
};
use proto::v1::Output;
use serde::Deserialize;

/// An object as a cache holds it: a typed view, the whole JSON, or metadata alone.
pub trait Stored: Send + Sync + Sized + 'static {
    /// In which shape the server should send it.
    const OUTPUT: Output = Output::Object;

    /// Reads the server's JSON.
    ///
    /// # Errors
    /// When it is not such an object.
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error>;

    /// Namespace and name.
    fn key(&self) -> ObjectKey;

    /// The version of this state of the object.
    fn resource_version(&self) -> &str;

    /// What tells the object from a later namesake.
    fn uid(&self) -> &str;
}

impl<T: Resource> Stored for T {
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    fn key(&self) -> ObjectKey {
        key_of(self.metadata())
    }

    fn resource_version(&self) -> &str {
        self.metadata().resource_version.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }
}

/// Any object, as its whole JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct DynamicObject(pub Object);

impl Stored for DynamicObject {
    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json).map(|fields| Self(Object(fields)))
    }

    fn key(&self) -> ObjectKey {
        self.0.key()
    }

    fn resource_version(&self) -> &str {
        self.0.resource_version()
    }

    fn uid(&self) -> &str {
        self.0.uid()
    }
}

/// Any object's metadata alone (`PartialObjectMetadata`): what the garbage collector follows.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PartialObject {
    /// The metadata.
    pub metadata: ObjectMeta,
}

impl Stored for PartialObject {
    const OUTPUT: Output = Output::Metadata;

    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    fn key(&self) -> ObjectKey {
        key_of(&self.metadata)
    }

    fn resource_version(&self) -> &str {
        self.metadata.resource_version.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
}

fn key_of(metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey::new(
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}
