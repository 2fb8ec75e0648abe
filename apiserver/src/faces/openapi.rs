//! OpenAPI: what the resource table and the schema table say, as documents for clients.
//!
//! - **Version 3** is an index and a document per group and version; the index names each by a hash of its text, so that
//!   clients keep it for good.
//! - **Version 2** is one document of everything, as JSON or as protobuf ([`gnostic`]).
//!
//! A server that nobody asks makes none of them. At the first question all documents of that version are made, one
//! definition at a time, and kept as gzip, in which nearly all clients take them. What comes at run time is added by
//! [`OpenApi::publish`]; [`document`] makes such a document from resources and their schemas.

mod defined;
mod descriptions;
mod gnostic;
mod paths;
mod schemas;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::{Arc, OnceLock},
};

use apimachinery::{
    resource::{self, ResourceInfo},
    schema::{self, Struct},
};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

use self::{
    descriptions::{Descriptions, Text},
    paths::{Paths, References},
    schemas::{Definitions, Dialect},
};
use super::rest::discovery::GIT_VERSION;

const TITLE: &str = "Kubernetes";
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// A finished document, compressed.
#[derive(Debug)]
pub(super) struct Document {
    /// SHA-512 of the text, in upper-case hexadecimal.
    pub(super) hash: String,
    /// The text as gzip.
    pub(super) gzip: Bytes,
}

impl Document {
    fn new(text: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA512, text);
        let hash = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
        encoder.write_all(text).expect("memory takes all");
        Self { hash, gzip: encoder.finish().expect("memory takes all").into() }
    }

    /// The text.
    pub(super) fn text(&self) -> Bytes {
        let mut text = Vec::new();
        GzDecoder::new(&*self.gzip).read_to_end(&mut text).expect("it was compressed here");
        text.into()
    }
}

/// The form of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Protobuf,
}

/// All documents.
#[derive(Debug, Default)]
pub struct OpenApi {
    built_in: OnceLock<BTreeMap<String, Arc<Document>>>,
    version_2: OnceLock<[Document; 2]>,
    published: RwLock<BTreeMap<String, Arc<Document>>>,
    /// The table of defined kinds whose documents are published, by its generation, and their paths.
    followed: Mutex<(u64, Vec<String>)>,
}

impl OpenApi {
    /// The index of version 3: where each document is.
    pub(super) fn index(&self) -> Bytes {
        let mut all = self.built_in().clone();
        all.extend(self.published.read().iter().map(|(path, one)| (path.clone(), Arc::clone(one))));
        let paths: serde_json::Map<String, Value> = all
            .into_iter()
            .map(|(path, document)| {
                let url = format!("/openapi/v3/{path}?hash={}", document.hash);
                (path, json!({"serverRelativeURL": url}))
            })
            .collect();
        json!({"paths": paths}).to_string().into()
    }

    /// The document of a path such as `apis/apps/v1`.
    pub(super) fn version_3(&self, path: &str) -> Option<Arc<Document>> {
        let published = self.published.read().get(path).cloned();
        published.or_else(|| self.built_in().get(path).cloned())
    }

    /// The document of version 2.
    pub(super) fn version_2(&self, form: Form) -> &Document {
        let [json, protobuf] = self.version_2.get_or_init(|| {
            let text = Text::expand();
            let (json, protobuf) = version_2(&text.read());
            [Document::new(json.as_bytes()), Document::new(&protobuf)]
        });
        if form == Form::Json { json } else { protobuf }
    }

    fn built_in(&self) -> &BTreeMap<String, Arc<Document>> {
        self.built_in.get_or_init(|| {
            let text = Text::expand();
            let said = text.read();
            by_version()
                .into_iter()
                .map(|(path, resources)| {
                    let document = version_3(&said, &resources);
                    (path, Arc::new(Document::new(document.as_bytes())))
                })
                .collect()
        })
    }

    /// Shows the document of a group and version that came at run time, in place of an older one.
    pub fn publish(&self, path: &str, document: &str) {
        let document = Arc::new(Document::new(document.as_bytes()));
        self.published.write().insert(path.to_owned(), document);
    }

    /// Takes such a document away.
    pub fn withdraw(&self, path: &str) {
        self.published.write().remove(path);
    }
}

/// Where the schema of a resource comes from.
#[derive(Debug)]
pub enum Schema {
    /// The schema table.
    BuiltIn(&'static Struct),
    /// A schema in OpenAPI v3's own words, with the name of its definition (`com.example.v1.CronTab`).
    Given {
        /// The definition's name.
        name: String,
        /// The definition, with `apiVersion`, `kind` and `metadata` among its properties.
        definition: Value,
    },
}

/// A resource and its schema.
#[derive(Debug)]
pub struct Documented<'a> {
    /// The resource.
    pub info: &'a ResourceInfo,
    /// Its schema.
    pub schema: Schema,
}

/// Makes the OpenAPI v3 document of the resources of one group and version.
#[must_use]
pub fn document(resources: &[Documented<'_>]) -> String {
    let text = Text::expand();
    version_3(&text.read(), resources)
}

/// The path of a resource's group and version: `api/v1`, `apis/apps/v1`.
pub(super) fn path_of(info: &ResourceInfo) -> String {
    if info.group.is_empty() {
        format!("api/{}", info.version)
    } else {
        format!("apis/{}/{}", info.group, info.version)
    }
}

/// The built-in resources by the path of their document.
fn by_version() -> BTreeMap<String, Vec<Documented<'static>>> {
    let mut all: BTreeMap<String, Vec<Documented<'static>>> = BTreeMap::new();
    for info in resource::served() {
        if let Some(strukt) = schema::for_kind(info) {
            let documented = Documented { info, schema: Schema::BuiltIn(strukt) };
            all.entry(path_of(info)).or_default().push(documented);
        }
    }
    all
}

fn version_3(said: &Descriptions<'_>, resources: &[Documented<'_>]) -> String {
    let mut definitions = Definitions::new(Dialect::V3, said);
    let mut paths = Members::default();
    for resource in resources {
        for (path, item) in resource_paths(Dialect::V3, resource, &mut definitions) {
            paths.add(&path, &item);
        }
    }
    let mut schemas = Members::default();
    for (name, definition) in definitions.finish() {
        schemas.add(&name, &definition);
    }
    let info = json!({"title": TITLE, "version": GIT_VERSION});
    let security = json!({"BearerToken": {
        "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header",
    }});
    format!(
        "{{\"openapi\":\"3.0.0\",\"info\":{info},\"paths\":{},\"components\":{{\"schemas\":{},\"securitySchemes\":{security}}}}}",
        paths.finish(),
        schemas.finish(),
    )
}

/// Version 2, as JSON and as protobuf.
fn version_2(said: &Descriptions<'_>) -> (String, Vec<u8>) {
    let mut definitions = Definitions::new(Dialect::V2, said);
    let (mut paths, mut written) = (Members::default(), gnostic::Message::default());
    for resource in by_version().values().flatten() {
        for (path, item) in resource_paths(Dialect::V2, resource, &mut definitions) {
            gnostic::path(&mut written, &path, &item);
            paths.add(&path, &item);
        }
    }
    let mut protobuf = gnostic::head(TITLE, GIT_VERSION);
    protobuf.bytes(8, &written.0);
    let (mut schemas, mut written) = (Members::default(), gnostic::Message::default());
    for (name, definition) in definitions.finish() {
        gnostic::definition(&mut written, &name, &definition);
        schemas.add(&name, &definition);
    }
    protobuf.bytes(9, &written.0);
    let info = json!({"title": TITLE, "version": GIT_VERSION});
    let json = format!(
        "{{\"swagger\":\"2.0\",\"info\":{info},\"paths\":{},\"definitions\":{}}}",
        paths.finish(),
        schemas.finish(),
    );
    (json, protobuf.0)
}

/// The paths of a resource; what they refer to is added to the definitions.
fn resource_paths(
    dialect: Dialect,
    resource: &Documented<'_>,
    definitions: &mut Definitions<'_>,
) -> Vec<(String, Value)> {
    let info = resource.info;
    let (name, kind) = match &resource.schema {
        Schema::BuiltIn(strukt) => {
            let (name, reference) = definitions.struct_of(strukt);
            (name.unwrap_or_default().to_owned(), reference)
        }
        Schema::Given { name, definition } => {
            // Its metadata is the one of all kinds.
            definitions.struct_of(schema::object_meta());
            definitions.give(name, definition.clone());
            (name.clone(), dialect.reference(name))
        }
    };
    let list = if info.has_verb("list") {
        definitions.list_of(&name, info.kind, info.group, info.version)
    } else {
        Value::Null
    };
    let deletes = info.has_verb("delete") || info.has_verb("deletecollection");
    let (mut delete_options, mut status) = (Value::Null, Value::Null);
    if let Some(strukt) = schema::find("", "v1", "Status").filter(|_| deletes) {
        status = definitions.struct_of(strukt).1;
        delete_options = definitions.struct_of(schema::delete_options()).1;
    }
    let patch = if info.has_verb("patch") { patch(dialect, definitions) } else { Value::Null };
    let strategic = matches!(resource.schema, Schema::BuiltIn(_));
    let references = References { kind, list, delete_options, patch, strategic, status };
    let mut kinds = Vec::new();
    for sub in info.subresources {
        let found = schema::find(sub.group, sub.version, sub.kind);
        kinds.push((sub.name, found.map(|strukt| definitions.struct_of(strukt).1)));
    }
    Paths { dialect, info, references: &references }.make(|sub| {
        kinds.iter().find(|(name, _)| *name == sub.name).and_then(|(_, kind)| kind.clone())
    })
}

/// A reference to the definition of a patch's body.
fn patch(dialect: Dialect, definitions: &mut Definitions<'_>) -> Value {
    let name = format!("{META}.Patch");
    let said =
        "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.";
    definitions.give(&name, json!({"description": said, "type": "object"}));
    dialect.reference(&name)
}

/// The members of a JSON object, written as they come.
#[derive(Default)]
struct Members(String);

impl Members {
    fn add(&mut self, name: &str, value: &Value) {
        let separator = if self.0.is_empty() { "" } else { "," };
        let name = Value::from(name);
        self.0.push_str(&format!("{separator}{name}:{value}"));
    }

    fn finish(self) -> String {
        format!("{{{}}}", self.0)
    }
}

#[cfg(test)]
mod tests;
