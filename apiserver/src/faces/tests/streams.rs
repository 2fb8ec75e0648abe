//! Streams, with a kubelet that is a few lines.

use std::pin::Pin;

use async_trait::async_trait;
use component_base::transport::{InProcessConnector, channel, serve};
use futures::{Stream, StreamExt};
use proto::v1::{
    ExecInput, ExecOutput, ExecStart, LogsChunk, LogsRequest, PodRef, PortForwardInput,
    PortForwardOutput, exec_input, exec_output,
    streams_server::{Streams, StreamsServer},
};
use tonic::{Status as TonicStatus, Streaming, transport::Channel};

use super::*;
use crate::kubelet::KubeletDialer;

/// Says in its logs which pod was asked for, and echoes standard input.
struct Kubelet;

type Out<T> = Pin<Box<dyn Stream<Item = Result<T, TonicStatus>> + Send>>;

#[async_trait]
impl Streams for Kubelet {
    type LogsStream = Out<LogsChunk>;
    type ExecStream = Out<ExecOutput>;
    type AttachStream = Out<ExecOutput>;
    type PortForwardStream = Out<PortForwardOutput>;

    async fn logs(
        &self,
        request: tonic::Request<LogsRequest>,
    ) -> Result<tonic::Response<Self::LogsStream>, TonicStatus> {
        let request = request.into_inner();
        let pod = request.pod.unwrap();
        let text = format!("{}/{} {:?}\n", pod.name, pod.container, request.tail_lines);
        let chunk = LogsChunk { data: text.into() };
        Ok(tonic::Response::new(Box::pin(futures::stream::iter([Ok(chunk)]))))
    }

    async fn exec(
        &self,
        request: tonic::Request<Streaming<ExecInput>>,
    ) -> Result<tonic::Response<Self::ExecStream>, TonicStatus> {
        let echo = request.into_inner().filter_map(|message| async move {
            match message.ok()?.kind? {
                exec_input::Kind::Start(start) => Some(start.pod.unwrap().uid.into_bytes().into()),
                exec_input::Kind::Stdin(bytes) => Some(bytes),
                _ => None,
            }
        });
        let out = echo.map(|bytes| Ok(ExecOutput { kind: Some(exec_output::Kind::Stdout(bytes)) }));
        Ok(tonic::Response::new(Box::pin(out)))
    }

    async fn attach(
        &self,
        request: tonic::Request<Streaming<ExecInput>>,
    ) -> Result<tonic::Response<Self::AttachStream>, TonicStatus> {
        self.exec(request).await
    }

    async fn port_forward(
        &self,
        _request: tonic::Request<Streaming<PortForwardInput>>,
    ) -> Result<tonic::Response<Self::PortForwardStream>, TonicStatus> {
        Err(TonicStatus::unimplemented("not here"))
    }
}

/// Every node's kubelet is the one in this process.
struct Dialer(InProcessConnector);

impl KubeletDialer for Dialer {
    fn dial(&self, _node: &Object) -> Result<Channel, apimachinery::status::Status> {
        Ok(channel(&Endpoint::InProcess(self.0.clone())))
    }
}

#[tokio::test]
async fn streams_reach_the_pods_kubelet() {
    let (listener, kubelet) = Listener::in_process();
    let running = Running::start_with(Arc::new(Dialer(kubelet))).await;
    let routes =
        tonic::service::Routes::new(StreamsServer::new(Kubelet)).prepare().into_axum_router();
    let token = running.shutdown.token().clone();
    running.shutdown.spawn("kubelet", serve(listener, routes, token));

    let pods = "/api/v1/namespaces/default/pods";
    let account = r#"{"metadata": {"name": "default"}}"#;
    running.json("POST", "/api/v1/namespaces/default/serviceaccounts", &[], account).await;
    running.json("POST", "/api/v1/nodes", &[], r#"{"metadata": {"name": "node-1"}}"#).await;
    let pod = |name: &str, node: &str| {
        json!({"metadata": {"name": name}, "spec": {"nodeName": node,
            "containers": [{"name": "c", "image": "nginx"}]}})
        .to_string()
    };
    let (_, bound) = running.json("POST", pods, &[], &pod("bound", "node-1")).await;
    running.json("POST", pods, &[], &pod("pending", "")).await;

    let log = async |path: &str| running.json("GET", &format!("{pods}/{path}"), &[], "").await;
    assert_eq!(log("bound/log?tailLines=7").await, (200, "bound/c Some(7)\n".into()));
    assert_eq!(log("pending/log").await, (200, "".into()));
    let (code, status) = log("bound/log?container=x").await;
    assert_eq!(
        (code, status["message"].as_str()),
        (400, Some("container x is not valid for pod bound"))
    );

    let endpoint =
        Endpoint::InProcess(running.connector.with_identity("admin", &["system:masters"]));
    let client = client::Client::new(&endpoint).unwrap();
    let start = |name: &str| ExecInput {
        kind: Some(exec_input::Kind::Start(ExecStart {
            pod: Some(PodRef {
                namespace: "default".into(),
                name: name.into(),
                ..PodRef::default()
            }),
            ..ExecStart::default()
        })),
    };
    let stdin = ExecInput { kind: Some(exec_input::Kind::Stdin("hello".into())) };
    let input = futures::stream::iter([start("bound"), stdin]);
    let output = client.streams().exec(input).await.unwrap().into_inner();
    let said: Vec<_> = output.map(|message| message.unwrap().kind.unwrap()).collect().await;
    let uid = bound["metadata"]["uid"].as_str().unwrap();
    let stdout = |text: &str| exec_output::Kind::Stdout(text.to_owned().into());
    assert_eq!(said, [stdout(uid), stdout("hello")]);
    let refused =
        client.streams().exec(futures::stream::iter([start("pending")])).await.unwrap_err();
    assert_eq!(refused.message(), "pod pending does not have a host assigned");
    running.shutdown.cancel();
}
