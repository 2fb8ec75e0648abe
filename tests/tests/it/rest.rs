//! The REST face over a cluster's connection: requests as any HTTP client makes them.

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tests::TestCluster;
use tonic::{body::Body, transport::Channel};
use tower::ServiceExt;

/// A client of the REST face.
#[derive(Clone)]
pub(crate) struct Rest(Channel);

impl Rest {
    pub(crate) fn over(channel: Channel) -> Self {
        Self(channel)
    }

    pub(crate) fn admin(cluster: &TestCluster) -> Self {
        Self(cluster.channel_as("kubernetes-admin", &["system:masters"]).unwrap())
    }

    /// Sends a request as it is; the answer, whose body may go on for ever.
    pub(crate) async fn open(&self, request: Request<String>) -> Response<Body> {
        let request = request.map(|text| Body::new(Full::new(Bytes::from(text))));
        self.0.clone().oneshot(request).await.unwrap()
    }

    /// Sends a request; the status code and the text of the answer.
    pub(crate) async fn text(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(body.to_owned())
            .unwrap();
        let answer = self.open(request).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.into()).unwrap())
    }

    /// Sends a request; the status code and the JSON of the answer.
    pub(crate) async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = self.text(method, path, &body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }
}
