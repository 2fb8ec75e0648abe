//! One request in full: what the typed and dynamic functions are made of.
//!
//! Calls are in boxes: a future has room for the largest thing that it ever awaits, for as long as it lives, and whoever
//! calls the API now and then waits for something else most of the time. A process of a thousand nodes has thousands of
//! such futures.

use apimachinery::{
    object::Object,
    resource::ResourceInfo,
    status::{Status, StatusReason},
};
use bytes::Bytes;
use proto::v1;
use serde::de::DeserializeOwned;

use super::{Client, List};
use crate::{
    options::{DeleteOptions, FieldValidation, ListOptions, Patch, WatchOptions},
    stored::Stored,
    watch::WatchStream,
    wire,
};

/// Requests about one resource; made by [`Client::resource`].
#[derive(Clone, Debug)]
pub struct ResourceApi<'a> {
    client: &'a Client,
    info: &'static ResourceInfo,
    namespace: &'a str,
    subresource: &'a str,
    dry_run: bool,
    field_validation: Option<FieldValidation>,
}

/// An object as the server returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its JSON.
    pub json: Bytes,
    /// What the server wants the user to know.
    pub warnings: Vec<String>,
}

impl Reply {
    /// The whole object.
    ///
    /// # Errors
    /// Internal, when it is no object; the status, when the server answered with a failure.
    pub fn object(&self) -> Result<Object, Status> {
        Object::from_slice(&self.json)
    }

    /// The object through a view.
    ///
    /// # Errors
    /// Internal, when the view does not fit.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, Status> {
        serde_json::from_slice(&self.json).map_err(|error| undecodable(&error))
    }

    fn stored<T: Stored>(&self) -> Result<T, Status> {
        T::decode(&self.json).map_err(|error| undecodable(&error))
    }
}

impl From<v1::ObjectReply> for Reply {
    fn from(reply: v1::ObjectReply) -> Self {
        Self { json: reply.object, warnings: reply.warnings }
    }
}

pub(super) fn undecodable(error: &serde_json::Error) -> Status {
    Status::internal(format!("unable to decode an object of the API server: {error}"))
}

impl<'a> ResourceApi<'a> {
    pub(super) fn new(client: &'a Client, info: &'static ResourceInfo) -> Self {
        Self {
            client,
            info,
            namespace: "",
            subresource: "",
            dry_run: false,
            field_validation: None,
        }
    }

    /// In this namespace; without it, cluster-scoped or over all namespaces.
    #[must_use]
    pub fn namespace(mut self, namespace: &'a str) -> Self {
        self.namespace = namespace;
        self
    }

    /// Of this subresource.
    #[must_use]
    pub fn subresource(mut self, subresource: &'a str) -> Self {
        self.subresource = subresource;
        self
    }

    /// Everything but the write happens.
    #[must_use]
    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// What unknown fields lead to.
    #[must_use]
    pub fn field_validation(mut self, validation: FieldValidation) -> Self {
        self.field_validation = Some(validation);
        self
    }

    fn target(&self, name: &str) -> Option<v1::ResourceRef> {
        Some(v1::ResourceRef {
            group: self.info.group.to_owned(),
            version: self.info.version.to_owned(),
            resource: self.info.resource.to_owned(),
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
            subresource: self.subresource.to_owned(),
        })
    }

    fn write_options(&self, force: bool) -> Option<v1::WriteOptions> {
        Some(v1::WriteOptions {
            field_manager: self.client.field_manager.as_ref().to_owned(),
            field_validation: self.field_validation.map_or("", FieldValidation::as_str).to_owned(),
            dry_run: self.dry_run,
            force,
        })
    }

    /// Reads one object.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn get(&self, name: &str) -> Result<Reply, Status> {
        named(name)?;
        self.get_as(name, v1::Output::Object, "").await
    }

    pub(super) async fn get_as(
        &self,
        name: &str,
        output: v1::Output,
        include_object: &str,
    ) -> Result<Reply, Status> {
        let request = v1::GetRequest {
            target: self.target(name),
            resource_version: String::new(),
            output: output.into(),
            include_object: include_object.to_owned(),
        };
        reply(Box::pin(self.client.resources.clone().get(request)).await)
    }

    /// Reads a collection, decoding it while it arrives.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn list<T: Stored>(&self, options: &ListOptions) -> Result<List<T>, Status> {
        let request = self.list_request(options, T::OUTPUT, "");
        let failed = |status| wire::from_tonic(&status);
        let mut chunks = Box::pin(self.client.resources.clone().list(request))
            .await
            .map_err(failed)?
            .into_inner();
        let mut list = List {
            items: Vec::new(),
            resource_version: String::new(),
            continue_token: String::new(),
            remaining_item_count: None,
        };
        let mut first = true;
        while let Some(chunk) = chunks.message().await.map_err(failed)? {
            if std::mem::take(&mut first) {
                list.resource_version = chunk.resource_version;
                list.continue_token = chunk.continue_token;
                list.remaining_item_count = chunk.remaining_item_count;
            }
            list.items.reserve(chunk.items.len());
            for json in &chunk.items {
                list.items.push(T::decode(json).map_err(|error| undecodable(&error))?);
            }
        }
        Ok(list)
    }

    pub(super) fn list_request(
        &self,
        options: &ListOptions,
        output: v1::Output,
        include_object: &str,
    ) -> v1::ListRequest {
        v1::ListRequest {
            target: self.target(""),
            selectors: selectors(&options.label_selector, &options.field_selector),
            resource_version: options.resource_version.clone(),
            resource_version_match: options.resource_version_match.clone(),
            limit: options.limit,
            continue_token: options.continue_token.clone(),
            output: output.into(),
            include_object: include_object.to_owned(),
        }
    }

    /// Follows a collection.
    ///
    /// # Errors
    /// The server's, or a transport failure; later ones come through the stream.
    pub async fn watch<T: Stored>(&self, options: &WatchOptions) -> Result<WatchStream<T>, Status> {
        self.watch_as(options, T::OUTPUT, "").await.map(WatchStream::new)
    }

    pub(super) async fn watch_as(
        &self,
        options: &WatchOptions,
        output: v1::Output,
        include_object: &str,
    ) -> Result<tonic::Streaming<v1::WatchEvent>, Status> {
        let seconds = options.timeout.map_or(0, |timeout| timeout.as_secs());
        let request = v1::WatchRequest {
            target: self.target(""),
            selectors: selectors(&options.label_selector, &options.field_selector),
            resource_version: options.resource_version.clone(),
            resource_version_match: options.resource_version_match.clone(),
            send_initial_events: options.send_initial_events,
            allow_bookmarks: options.allow_bookmarks,
            timeout_seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
            output: output.into(),
            include_object: include_object.to_owned(),
        };
        let stream = Box::pin(self.client.resources.clone().watch(request)).await;
        stream.map(tonic::Response::into_inner).map_err(|status| wire::from_tonic(&status))
    }

    /// Stores a new object. `name` is empty except for subresources, whose owner it names.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn create(&self, name: &str, json: Bytes) -> Result<Reply, Status> {
        let request = v1::CreateRequest {
            target: self.target(name),
            object: json,
            options: self.write_options(false),
            output: v1::Output::Object.into(),
        };
        reply(Box::pin(self.client.resources.clone().create(request)).await)
    }

    /// Replaces an object, if its resourceVersion is still the one in `json` (or none is there).
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn update(&self, name: &str, json: Bytes) -> Result<Reply, Status> {
        named(name)?;
        let request = v1::UpdateRequest {
            target: self.target(name),
            object: json,
            options: self.write_options(false),
            output: v1::Output::Object.into(),
        };
        reply(Box::pin(self.client.resources.clone().update(request)).await)
    }

    /// Changes an object.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn patch(&self, name: &str, patch: &Patch) -> Result<Reply, Status> {
        named(name)?;
        let (kind, patch, force) = patch.parts();
        let request = v1::PatchRequest {
            target: self.target(name),
            r#type: kind.into(),
            patch: serde_json::to_vec(patch).expect("a JSON value is JSON").into(),
            options: self.write_options(force),
            output: v1::Output::Object.into(),
        };
        reply(Box::pin(self.client.resources.clone().patch(request)).await)
    }

    /// Deletes one object. The reply is its last state, or a status of success.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<Reply, Status> {
        named(name)?;
        let mut options = v1::DeleteOptions::from(options);
        options.dry_run |= self.dry_run;
        let request = v1::DeleteRequest { target: self.target(name), options: Some(options) };
        reply(Box::pin(self.client.resources.clone().delete(request)).await)
    }

    /// Deletes a selection.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn delete_collection(
        &self,
        options: &DeleteOptions,
        selection: &ListOptions,
    ) -> Result<Reply, Status> {
        let mut options = v1::DeleteOptions::from(options);
        options.dry_run |= self.dry_run;
        let request = v1::DeleteCollectionRequest {
            target: self.target(""),
            selectors: selectors(&selection.label_selector, &selection.field_selector),
            options: Some(options),
        };
        reply(Box::pin(self.client.resources.clone().delete_collection(request)).await)
    }

    pub(super) async fn list_chunks(
        &self,
        request: v1::ListRequest,
    ) -> Result<tonic::Streaming<v1::ListChunk>, Status> {
        let stream = Box::pin(self.client.resources.clone().list(request)).await;
        stream.map(tonic::Response::into_inner).map_err(|status| wire::from_tonic(&status))
    }
}

/// Decodes a reply and logs its warnings, which a typed caller has no place for.
pub(super) fn decoded<T: Stored>(reply: &Reply) -> Result<T, Status> {
    for warning in &reply.warnings {
        tracing::debug!(warning, "the API server warns");
    }
    reply.stored()
}

/// client-go's own check: an empty name would turn the request into one about the collection.
fn named(name: &str) -> Result<(), Status> {
    if !name.is_empty() {
        return Ok(());
    }
    Err(Status {
        code: 500,
        reason: StatusReason::InternalError,
        message: "resource name may not be empty".to_owned(),
        ..Status::default()
    })
}

fn reply(result: Result<tonic::Response<v1::ObjectReply>, tonic::Status>) -> Result<Reply, Status> {
    match result {
        Ok(response) => Ok(response.into_inner().into()),
        Err(status) => Err(wire::from_tonic(&status)),
    }
}

fn selectors(labels: &str, fields: &str) -> Option<v1::Selectors> {
    (!labels.is_empty() || !fields.is_empty()).then(|| v1::Selectors {
        label_selector: labels.to_owned(),
        field_selector: fields.to_owned(),
    })
}
