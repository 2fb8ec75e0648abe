//! The dynamic functions: any resource, whole objects, tables.

use apimachinery::{
    object::{Object, ObjectKey},
    resource::{ResourceInfo, dynamic::from_discovery},
    status::Status,
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use proto::v1;
use serde::Deserialize;
use serde_json::Value;

use super::{Client, List, ResourceApi, request::undecodable};
use crate::{
    options::{DeleteOptions, IncludeObject, ListOptions, Patch, WatchOptions},
    stored::{DynamicObject, Stored},
    watch::{WatchEvent, WatchStream},
    wire,
};

/// A list as the server prints it: `meta.k8s.io/v1` Table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Table {
    /// The list's metadata.
    pub metadata: TableMeta,
    /// The columns. In a watch, only the first event's table has them.
    pub column_definitions: Vec<Column>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// The metadata of a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TableMeta {
    /// The version of the list.
    pub resource_version: String,
    /// For the next page.
    #[serde(rename = "continue")]
    pub continue_token: String,
    /// How many objects come after this page.
    pub remaining_item_count: Option<i64>,
}

/// A column of a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// `string`, `integer`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `name` marks the object's name.
    pub format: String,
    /// In words.
    pub description: String,
    /// 0: always shown; above: with `-o wide`.
    pub priority: i32,
}

/// A row of a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Row {
    /// One value per column.
    pub cells: Vec<Value>,
    /// The object behind the row, as far as was asked for.
    pub object: Value,
}

impl Client {
    /// The resources that the server serves, defined ones included, in discovery's order.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn discover(&self) -> Result<Vec<&'static ResourceInfo>, Status> {
        let reply = self.discovery().await?;
        let groups: Value = serde_json::from_slice(&reply.groups)
            .map_err(|error| Status::internal(format!("undecodable discovery: {error}")))?;
        Ok(from_discovery(&groups))
    }

    /// Reads one object.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn get_object(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        name: &str,
    ) -> Result<Object, Status> {
        self.resource(info).namespace(namespace).get(name).await?.object()
    }

    /// Reads a collection; the empty namespace means all of them.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn list_objects(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<List<Object>, Status> {
        let list: List<DynamicObject> =
            self.resource(info).namespace(namespace).list(options).await?;
        Ok(List {
            items: list.items.into_iter().map(|object| object.0).collect(),
            resource_version: list.resource_version,
            continue_token: list.continue_token,
            remaining_item_count: list.remaining_item_count,
        })
    }

    /// Follows a collection; the empty namespace means all of them.
    ///
    /// # Errors
    /// The server's, or a transport failure; later ones come through the stream.
    pub async fn watch_objects(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<WatchStream<DynamicObject>, Status> {
        self.resource(info).namespace(namespace).watch(options).await
    }

    /// Stores a new object, in the namespace that its metadata names.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn create_object(
        &self,
        info: &'static ResourceInfo,
        object: &Object,
    ) -> Result<Object, Status> {
        let api = self.resource(info).namespace(object.namespace());
        api.create("", object.to_bytes()).await?.object()
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// The server's (a conflict, when it changed since it was read), or a transport failure.
    pub async fn update_object(
        &self,
        info: &'static ResourceInfo,
        object: &Object,
        subresource: &str,
    ) -> Result<Object, Status> {
        let ObjectKey { namespace, name } = object.key();
        let api = self.resource(info).namespace(&namespace).subresource(subresource);
        api.update(&name, object.to_bytes()).await?.object()
    }

    /// Changes an object, or its `subresource` where that is not empty.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn patch_object(
        &self,
        info: &'static ResourceInfo,
        key: &ObjectKey,
        patch: &Patch,
        subresource: &str,
    ) -> Result<Object, Status> {
        let api = self.resource(info).namespace(&key.namespace).subresource(subresource);
        api.patch(&key.name, patch).await?.object()
    }

    /// Deletes one object.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn delete_object(
        &self,
        info: &'static ResourceInfo,
        key: &ObjectKey,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        self.resource(info).namespace(&key.namespace).delete(&key.name, options).await.map(drop)
    }

    /// Reads one object as a table of one row.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn get_table(
        &self,
        info: &'static ResourceInfo,
        key: &ObjectKey,
        include: IncludeObject,
    ) -> Result<Table, Status> {
        self.resource(info).namespace(&key.namespace).get_table(&key.name, include).await
    }

    /// Reads a collection as the server prints it.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn list_table(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        options: &ListOptions,
        include: IncludeObject,
    ) -> Result<Table, Status> {
        let api = self.resource(info).namespace(namespace);
        let request = api.list_request(options, v1::Output::Table, include.as_str());
        let mut chunks = api.list_chunks(request).await?;
        let mut table: Option<Table> = None;
        while let Some(chunk) =
            chunks.message().await.map_err(|status| wire::from_tonic(&status))?
        {
            let part = decode_table(&chunk.table)?;
            match &mut table {
                None => table = Some(part),
                Some(table) => table.rows.extend(part.rows),
            }
        }
        Ok(table.unwrap_or_default())
    }

    /// Follows a collection in tables of one row.
    ///
    /// # Errors
    /// The server's, or a transport failure; later ones come through the stream.
    pub async fn watch_table(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        options: &WatchOptions,
        include: IncludeObject,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Table>, Status>> + use<>, Status> {
        let api = self.resource(info).namespace(namespace);
        let events = api.watch_as(options, v1::Output::Table, include.as_str()).await?;
        Ok(WatchStream::<TableEvent>::new(events).map(|event| {
            Ok(match event? {
                WatchEvent::Added(TableEvent(table)) => WatchEvent::Added(table),
                WatchEvent::Modified(TableEvent(table)) => WatchEvent::Modified(table),
                WatchEvent::Deleted(TableEvent(table)) => WatchEvent::Deleted(table),
                WatchEvent::Bookmark { resource_version, initial_events_end } => {
                    WatchEvent::Bookmark { resource_version, initial_events_end }
                }
            })
        }))
    }
}

impl ResourceApi<'_> {
    /// Reads one object, or its subresource, as a table of one row.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn get_table(&self, name: &str, include: IncludeObject) -> Result<Table, Status> {
        self.get_as(name, v1::Output::Table, include.as_str()).await?.view()
    }
}

fn decode_table(json: &Bytes) -> Result<Table, Status> {
    serde_json::from_slice(json).map_err(|error| undecodable(&error))
}

/// Lets a watch decode tables; they are never stored, so that they have no key.
struct TableEvent(Table);

impl Stored for TableEvent {
    const OUTPUT: v1::Output = v1::Output::Table;

    fn decode(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json).map(Self)
    }

    fn key(&self) -> ObjectKey {
        ObjectKey::cluster("")
    }

    fn resource_version(&self) -> &str {
        &self.0.metadata.resource_version
    }

    fn uid(&self) -> &str {
        ""
    }
}
