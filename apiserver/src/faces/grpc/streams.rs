//! The streams of a pod: looked at by the chain, carried by the node's kubelet.

use apimachinery::status::Status;
use async_trait::async_trait;
use client::wire::to_tonic;
use futures::StreamExt;
use proto::v1::{
    ExecInput, ExecOutput, LogsChunk, LogsRequest, PodRef, PortForwardInput, PortForwardOutput,
    ResourceRef, exec_input, port_forward_input, streams_client::StreamsClient,
    streams_server::Streams,
};
use tonic::{Request, Response, Streaming, transport::Channel};

use super::{Answered, BoxStream, CallParts, GrpcFace, take_apart};
use crate::{kubelet, request::Verb};

#[async_trait]
impl Streams for GrpcFace {
    type LogsStream = BoxStream<LogsChunk>;
    type ExecStream = BoxStream<ExecOutput>;
    type AttachStream = BoxStream<ExecOutput>;
    type PortForwardStream = BoxStream<PortForwardOutput>;

    async fn logs(&self, request: Request<LogsRequest>) -> Answered<Self::LogsStream> {
        let (parts, mut message) = take_apart(request);
        let (pod, channel) = self
            .dial(&parts, message.pod.as_ref(), Verb::Get, "log")
            .await
            .map_err(|status| to_tonic(&status))?;
        message.pod = Some(pod);
        // A pod without a node has nothing to say yet.
        let Some(channel) = channel else {
            return Ok(Response::new(Box::pin(futures::stream::empty())));
        };
        let stream = StreamsClient::new(channel).logs(message).await?.into_inner();
        Ok(Response::new(Box::pin(stream)))
    }

    async fn exec(&self, request: Request<Streaming<ExecInput>>) -> Answered<Self::ExecStream> {
        let (mut client, input) = self.start_exec(request, "exec").await?;
        Ok(Response::new(Box::pin(client.exec(input).await?.into_inner())))
    }

    async fn attach(&self, request: Request<Streaming<ExecInput>>) -> Answered<Self::AttachStream> {
        let (mut client, input) = self.start_exec(request, "attach").await?;
        Ok(Response::new(Box::pin(client.attach(input).await?.into_inner())))
    }

    async fn port_forward(
        &self,
        request: Request<Streaming<PortForwardInput>>,
    ) -> Answered<Self::PortForwardStream> {
        let (parts, mut messages) = take_apart(request);
        let Some(PortForwardInput { kind: Some(port_forward_input::Kind::Start(mut start)) }) =
            messages.message().await?
        else {
            return Err(to_tonic(&Status::bad_request("the first message must be the start")));
        };
        let (pod, channel) = self
            .dial(&parts, start.pod.as_ref(), Verb::Create, "portforward")
            .await
            .map_err(|status| to_tonic(&status))?;
        let channel = channel.ok_or_else(|| to_tonic(&kubelet::no_host(&pod.name)))?;
        start.pod = Some(pod);
        let first = PortForwardInput { kind: Some(port_forward_input::Kind::Start(start)) };
        let input = futures::stream::once(async { first }).chain(relay(messages));
        let output = StreamsClient::new(channel).port_forward(input).await?.into_inner();
        Ok(Response::new(Box::pin(output)))
    }
}

impl GrpcFace {
    /// Looks at the first message, and gives the kubelet's client with the input that it is to get.
    async fn start_exec(
        &self,
        request: Request<Streaming<ExecInput>>,
        subresource: &str,
    ) -> Result<
        (StreamsClient<Channel>, impl futures::Stream<Item = ExecInput> + Send + 'static + use<>),
        tonic::Status,
    > {
        let (parts, mut messages) = take_apart(request);
        let Some(ExecInput { kind: Some(exec_input::Kind::Start(mut start)) }) =
            messages.message().await?
        else {
            return Err(to_tonic(&Status::bad_request("the first message must be the start")));
        };
        let (pod, channel) = self
            .dial(&parts, start.pod.as_ref(), Verb::Create, subresource)
            .await
            .map_err(|status| to_tonic(&status))?;
        let channel = channel.ok_or_else(|| to_tonic(&kubelet::no_host(&pod.name)))?;
        start.pod = Some(pod);
        let first = ExecInput { kind: Some(exec_input::Kind::Start(start)) };
        let input = futures::stream::once(async { first }).chain(relay(messages));
        Ok((StreamsClient::new(channel), input))
    }

    /// Authorizes a stream, completes the pod's reference, and gives the way to its kubelet, if it has a node.
    async fn dial(
        &self,
        parts: &CallParts,
        pod: Option<&PodRef>,
        verb: Verb,
        subresource: &str,
    ) -> Result<(PodRef, Option<Channel>), Status> {
        let pod = pod.ok_or_else(|| Status::bad_request("the request names no pod"))?;
        let reference = ResourceRef {
            version: "v1".into(),
            resource: "pods".into(),
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            subresource: subresource.to_owned(),
            ..ResourceRef::default()
        };
        let context = self.context(parts, verb, Some(&reference)).await?;
        let target = self.handler.stream_target(&context, &pod.container).await?;
        let channel = match &target.node {
            Some(node) => Some(self.kubelets.dial(node)?),
            None => None,
        };
        Ok((target.pod, channel))
    }
}

/// A client's messages as they come; its end, or its failure, is the end of the input.
fn relay<T: Send + 'static>(stream: Streaming<T>) -> impl futures::Stream<Item = T> + Send {
    stream
        .take_while(|message| futures::future::ready(message.is_ok()))
        .filter_map(|message| futures::future::ready(message.ok()))
}
