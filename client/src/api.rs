//! The client: every call of the API, typed and dynamic.
//!
//! [`Client`] holds one channel, one identity and one field manager, and is cheap to clone. Three layers:
//! - typed functions (`client.get::<Pod>(…)`) decode straight from the received frame to the view;
//! - dynamic functions (`client.get_object(&resource::PODS, …)`) give the whole object or a table;
//! - [`ResourceApi`] under both (`client.resource(&resource::PODS)`), with everything a request can say: subresource,
//!   dry run, field validation, warnings.
//!
//! All errors are API statuses; [`wire::transport_failure`] tells those that are not
//! the server's word.

mod dynamic;
mod http;
mod request;
#[cfg(test)]
mod tests;
mod typed;

use std::sync::Arc;

use apimachinery::{resource::ResourceInfo, status::Status};
use bytes::Bytes;
use component_base::transport::{Endpoint, channel};
use proto::v1::{self, resources_client::ResourcesClient, streams_client::StreamsClient};
use tonic::{
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

pub use self::{
    dynamic::{Column, Row, Table},
    request::{Reply, ResourceApi},
};
use crate::wire;

/// The largest message that we take: a table of very many objects is one.
const MAX_MESSAGE: usize = 256 << 20;

type Transport = InterceptedService<Channel, Headers>;

/// A client of the API server; cheap to clone, all clones share one connection.
#[derive(Clone, Debug)]
pub struct Client {
    resources: ResourcesClient<Transport>,
    streams: StreamsClient<Transport>,
    channel: Channel,
    headers: Headers,
    field_manager: Arc<str>,
}

/// One list, or one page of it.
#[derive(Clone, Debug, PartialEq)]
pub struct List<T> {
    /// The objects, in key order.
    pub items: Vec<T>,
    /// The version of this list, from which a watch may go on.
    pub resource_version: String,
    /// For the next page; empty: this was the last.
    pub continue_token: String,
    /// How many objects come after this page, where the server knows.
    pub remaining_item_count: Option<i64>,
}

impl Client {
    /// Makes a client of the server at `endpoint`. Nothing is connected before the first call.
    ///
    /// # Errors
    /// When the endpoint's token cannot stand in a header.
    pub fn new(endpoint: &Endpoint) -> Result<Self, Status> {
        let mut client = Self::from_channel(channel(endpoint));
        if let Some(token) = endpoint.bearer_token() {
            client = client.with_header("authorization", &format!("Bearer {token}"))?;
        }
        Ok(client)
    }

    /// Makes a client over an existing channel.
    #[must_use]
    pub fn from_channel(channel: Channel) -> Self {
        Self::build(channel, Headers::default(), Arc::from("kube-mini"))
    }

    fn build(channel: Channel, headers: Headers, field_manager: Arc<str>) -> Self {
        let transport = InterceptedService::new(channel.clone(), headers.clone());
        Self {
            resources: ResourcesClient::new(transport.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            streams: StreamsClient::new(transport).max_decoding_message_size(MAX_MESSAGE),
            channel,
            headers,
            field_manager,
        }
    }

    /// The same client under this name: its writes bear it as field manager, its requests as user agent.
    ///
    /// # Panics
    /// When `name` cannot stand in a header: it is a component's name, known when it was written.
    #[must_use]
    pub fn with_field_manager(&self, name: &str) -> Self {
        let user_agent = format!("{name}/{}", env!("CARGO_PKG_VERSION"));
        let mut client =
            self.with_header("user-agent", &user_agent).expect("a component's name is plain ASCII");
        client.field_manager = Arc::from(name);
        client
    }

    /// The same client acting as another user, if the server lets it (`kubectl --as`).
    ///
    /// # Errors
    /// When a name cannot stand in a header.
    pub fn impersonating(&self, user: &str, groups: &[String]) -> Result<Self, Status> {
        let mut client = self.with_header("impersonate-user", user)?;
        for group in groups {
            client = client.with_header("impersonate-group", group)?;
        }
        Ok(client)
    }

    fn with_header(&self, name: &'static str, value: &str) -> Result<Self, Status> {
        let value = value.parse::<MetadataValue<Ascii>>().map_err(|_| {
            Status::bad_request(format!("value of {name} cannot stand in a header"))
        })?;
        let mut headers = MetadataMap::clone(&self.headers.0);
        if name == "user-agent" {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
        let headers = Headers(Arc::new(headers));
        Ok(Self::build(self.channel.clone(), headers, Arc::clone(&self.field_manager)))
    }

    /// The name under which this client writes.
    #[must_use]
    pub fn field_manager(&self) -> &str {
        &self.field_manager
    }

    /// Requests about one resource, with everything that a request can say.
    #[must_use]
    pub fn resource(&self, info: &'static ResourceInfo) -> ResourceApi<'_> {
        ResourceApi::new(self, info)
    }

    /// What the server serves: an `APIGroupDiscoveryList`, and its version.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn discovery(&self) -> Result<v1::DiscoveryReply, Status> {
        let reply = self.resources.clone().discovery(v1::DiscoveryRequest::default()).await;
        reply.map(tonic::Response::into_inner).map_err(|status| wire::from_tonic(&status))
    }

    /// The OpenAPI v3 document of a group and version (`api/v1`, `apis/apps/v1`) as JSON, empty if there is none.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn openapi(&self, path: &str) -> Result<Bytes, Status> {
        let request = v1::DiscoveryRequest { openapi: path.to_owned() };
        let reply = self.resources.clone().discovery(request).await;
        reply.map(|reply| reply.into_inner().openapi).map_err(|status| wire::from_tonic(&status))
    }

    /// The streaming subresources: logs, exec, attach, port-forward. Their errors are for
    /// [`wire::from_tonic`].
    #[must_use]
    pub fn streams(&self) -> StreamsClient<InterceptedService<Channel, Headers>> {
        self.streams.clone()
    }
}

/// Puts the client's headers (token, user agent, impersonation) on each request.
#[derive(Clone, Default)]
pub struct Headers(Arc<MetadataMap>);

impl Interceptor for Headers {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        for entry in self.0.iter() {
            if let tonic::metadata::KeyAndValueRef::Ascii(key, value) = entry {
                request.metadata_mut().append(key.clone(), value.clone());
            }
        }
        Ok(request)
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values hold tokens.
        f.debug_list().entries(self.0.keys()).finish()
    }
}
