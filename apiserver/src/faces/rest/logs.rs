//! `GET …/pods/x/log`: the kubelet's stream as text.

use apimachinery::status::Status;
use axum::{body::Body, response::Response};
use client::wire::from_tonic;
use futures::TryStreamExt;
use http::StatusCode;
use proto::v1::{LogsRequest, streams_client::StreamsClient};

use super::{Inner, query::Query, respond};
use crate::request::{RequestContext, Verb};

impl Inner {
    pub(super) async fn log(
        &self,
        mut context: RequestContext,
        query: &Query,
    ) -> Result<Response, Status> {
        context.verb = Verb::Get;
        if !matches!(query.get("stream"), None | Some("" | "All")) {
            return Err(Status::bad_request(
                "the parameter stream is not supported by this server",
            ));
        }
        let target =
            self.handler.stream_target(&context, query.get("container").unwrap_or("")).await?;
        let Some(node) = &target.node else {
            return Ok(respond::with_type(StatusCode::OK, "text/plain", Body::empty()));
        };
        let request = LogsRequest {
            pod: Some(target.pod),
            follow: query.flag("follow"),
            previous: query.flag("previous"),
            timestamps: query.flag("timestamps"),
            tail_lines: query.number("tailLines")?,
            since_seconds: query.number("sinceSeconds")?,
            since_time: query.get("sinceTime").unwrap_or("").to_owned(),
            limit_bytes: query.number("limitBytes")?,
        };
        let channel = self.kubelets.dial(node)?;
        let stream = StreamsClient::new(channel)
            .logs(request)
            .await
            .map_err(|status| from_tonic(&status))?
            .into_inner();
        let text = stream.map_ok(|chunk| chunk.data).map_err(|status| from_tonic(&status));
        Ok(respond::with_type(StatusCode::OK, "text/plain", Body::from_stream(text)))
    }
}
