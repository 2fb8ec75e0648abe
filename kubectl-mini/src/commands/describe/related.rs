//! What belongs to an object and is fetched beside it.

use apimachinery::{
    api::{Resource, core::Event},
    object::Object,
    status::Status,
};
use client::ListOptions;

use crate::{context::Context, errors::CommandError};

/// Fetches what belongs to an object.
pub(super) struct Related<'a> {
    pub(super) context: &'a Context,
    pub(super) show_events: bool,
    pub(super) chunk_size: i64,
}

impl Related<'_> {
    /// All objects of a type that the selectors choose, in pages.
    pub(super) async fn list<T: Resource>(
        &self,
        namespace: &str,
        mut options: ListOptions,
    ) -> Result<Vec<T>, CommandError> {
        options.limit = self.chunk_size;
        let client = self.context.client()?;
        let mut items = Vec::new();
        loop {
            let page = self.context.request(client.list::<T>(namespace, &options)).await?;
            items.extend(page.items);
            if page.continue_token.is_empty() {
                return Ok(items);
            }
            options.continue_token = page.continue_token;
        }
    }

    /// One object; `None` where there is no such one.
    pub(super) async fn get<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<T, CommandError> {
        self.context.request(self.context.client()?.get::<T>(namespace, name)).await
    }

    /// The events on an object; `None`: none are wanted, or they cannot be read.
    pub(super) async fn events(&self, object: &Object) -> Option<Vec<Event>> {
        self.events_of(object, object.kind(), object.uid()).await
    }

    /// The events on an object under another kind (empty: any) and uid.
    pub(super) async fn events_of(
        &self,
        object: &Object,
        kind: &str,
        uid: &str,
    ) -> Option<Vec<Event>> {
        if !self.show_events {
            return None;
        }
        let mut fields = Vec::new();
        if !kind.is_empty() {
            fields.push(format!("involvedObject.kind={kind}"));
        }
        fields.push(format!("involvedObject.name={}", object.name()));
        fields.push(format!("involvedObject.namespace={}", object.namespace()));
        if !uid.is_empty() {
            fields.push(format!("involvedObject.uid={uid}"));
        }
        self.list(object.namespace(), ListOptions::fields(fields.join(","))).await.ok()
    }
}

/// Reads an object through a view.
pub(super) fn view<T: Resource>(object: &Object) -> Result<T, CommandError> {
    object.view().map_err(|error| {
        Status::internal(format!("unable to decode an object of the API server: {error}")).into()
    })
}
