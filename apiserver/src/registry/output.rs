//! The shapes in which objects leave: themselves, their metadata, a Table.

use std::sync::Arc;

use apimachinery::{object::Object, resource::ResourceInfo, status::Status};
use bytes::{BufMut, Bytes, BytesMut};
use component_base::clock::Clock;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::strategy::Strategy;
use crate::{
    request::{IncludeObject, OutputShape},
    storage::KeyValue,
};

/// Brings stored objects into the shape that a request asked for.
#[derive(Clone)]
pub(crate) struct Shaper {
    strategy: Arc<dyn Strategy>,
    output: OutputShape,
    clock: Clock,
    /// A watch's first Table carries the columns, the others do not.
    columns_sent: bool,
}

#[derive(Deserialize)]
struct MetadataOnly<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

impl Shaper {
    pub(crate) fn new(strategy: Arc<dyn Strategy>, output: OutputShape, clock: Clock) -> Self {
        Self { strategy, output, clock, columns_sent: false }
    }

    fn info(&self) -> &'static ResourceInfo {
        self.strategy.resource()
    }

    /// What is stored in the form in which it is served.
    pub(crate) fn served(&self, bytes: &Bytes) -> Result<Bytes, Status> {
        if !self.strategy.converts_on_read() {
            return Ok(bytes.clone());
        }
        let object = Object::from_slice(bytes)?;
        Ok(self.strategy.on_read(&object).map_or_else(|| bytes.clone(), |served| served.to_bytes()))
    }

    /// One object.
    pub(crate) fn object(&self, bytes: &Bytes) -> Result<Bytes, Status> {
        let bytes = self.served(bytes)?;
        match self.output {
            OutputShape::Object => Ok(bytes),
            OutputShape::Metadata => partial(&bytes),
            OutputShape::Table(include) => {
                let object = Object::from_slice(&bytes)?;
                let version = object.resource_version().to_owned();
                let rows = [self.row(&object, &bytes, include)?];
                Ok(self.table(&json!({"resourceVersion": version}), &rows, true))
            }
        }
    }

    /// The object of a watch event.
    pub(crate) fn event(&mut self, bytes: &Bytes) -> Result<Bytes, Status> {
        let OutputShape::Table(include) = self.output else { return self.object(bytes) };
        let bytes = self.served(bytes)?;
        let object = Object::from_slice(&bytes)?;
        let version = object.resource_version().to_owned();
        let rows = [self.row(&object, &bytes, include)?];
        let with_columns = !std::mem::replace(&mut self.columns_sent, true);
        Ok(self.table(&json!({"resourceVersion": version}), &rows, with_columns))
    }

    /// The object of a bookmark.
    pub(crate) fn bookmark(&self, metadata: &Value) -> Bytes {
        let info = self.info();
        let object = match self.output {
            OutputShape::Object => {
                json!({"kind": info.kind, "apiVersion": info.api_version(), "metadata": metadata})
            }
            OutputShape::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            OutputShape::Table(_) => return self.table(metadata, &[], false),
        };
        object.to_string().into()
    }

    /// The items of a list; for a Table, one document instead ([`Shaper::table_list`]).
    pub(crate) fn items(&self, items: &[Arc<KeyValue>]) -> Result<Vec<Bytes>, Status> {
        items.iter().map(|kv| self.object(&kv.value)).collect()
    }

    /// A list as a Table.
    pub(crate) fn table_list(
        &self,
        metadata: &Value,
        items: &[Arc<KeyValue>],
        include: IncludeObject,
    ) -> Result<Bytes, Status> {
        let rows: Vec<Bytes> = items
            .iter()
            .map(|kv| {
                let bytes = self.served(&kv.value)?;
                self.row(&Object::from_slice(&bytes)?, &bytes, include)
            })
            .collect::<Result<_, Status>>()?;
        Ok(self.table(metadata, &rows, true))
    }

    fn row(&self, object: &Object, bytes: &Bytes, include: IncludeObject) -> Result<Bytes, Status> {
        let cells = self.strategy.row(object, self.clock.now());
        let mut row = BytesMut::with_capacity(512);
        row.put_slice(b"{\"cells\":");
        row.put_slice(&serde_json::to_vec(&cells).expect("cells are JSON"));
        match include {
            IncludeObject::None => row.put_slice(b",\"object\":null"),
            IncludeObject::Object => {
                row.put_slice(b",\"object\":");
                row.put_slice(bytes);
            }
            IncludeObject::Metadata => {
                row.put_slice(b",\"object\":");
                row.put_slice(&partial(bytes)?);
            }
        }
        row.put_u8(b'}');
        Ok(row.freeze())
    }

    fn table(&self, metadata: &Value, rows: &[Bytes], with_columns: bool) -> Bytes {
        let columns: Vec<Value> = if with_columns {
            self.strategy
                .columns()
                .iter()
                .map(|column| {
                    json!({
                        "name": column.name, "type": column.kind, "format": column.format,
                        "description": column.description, "priority": column.priority,
                    })
                })
                .collect()
        } else {
            Vec::new()
        };
        let mut out =
            BytesMut::with_capacity(1024 + rows.iter().map(|row| row.len() + 1).sum::<usize>());
        out.put_slice(b"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":");
        out.put_slice(metadata.to_string().as_bytes());
        out.put_slice(b",\"columnDefinitions\":");
        out.put_slice(Value::Array(columns).to_string().as_bytes());
        out.put_slice(b",\"rows\":[");
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                out.put_u8(b',');
            }
            out.put_slice(row);
        }
        out.put_slice(b"]}");
        out.freeze()
    }
}

/// `PartialObjectMetadata` of an object, its metadata copied as it stands.
pub(crate) fn partial(bytes: &[u8]) -> Result<Bytes, Status> {
    let object: MetadataOnly<'_> =
        serde_json::from_slice(bytes).map_err(|error| Status::internal(error.to_string()))?;
    let metadata = object.metadata.get().as_bytes();
    let mut out = BytesMut::with_capacity(metadata.len() + 96);
    out.put_slice(
        b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":",
    );
    out.put_slice(metadata);
    out.put_u8(b'}');
    Ok(out.freeze())
}

/// `ListMeta` as JSON.
pub(crate) fn list_meta(version: &str, token: &str, remaining: Option<i64>) -> Value {
    let mut metadata = json!({"resourceVersion": version});
    if !token.is_empty() {
        metadata["continue"] = token.into();
    }
    if let Some(remaining) = remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}
