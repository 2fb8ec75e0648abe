//! Streams, with a kubelet that is a few lines.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use async_trait::async_trait;
use component_base::transport::{InProcessConnector, Listener, channel, serve};
use futures::{SinkExt, Stream, StreamExt};
use proto::v1::{
    ExecInput, ExecOutput, ExecStart, LogsChunk, LogsRequest, PodRef, PortForwardInput,
    PortForwardOutput, exec_input, exec_output, port_forward_input,
    streams_server::{Streams, StreamsServer},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{Message, protocol::Role};
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
        let closed = |message: &Result<ExecInput, TonicStatus>| {
            matches!(message, Ok(ExecInput { kind: Some(exec_input::Kind::StdinClosed(_)) }))
        };
        let input = request.into_inner();
        let input = input.take_while(move |message| futures::future::ready(!closed(message)));
        let echo = input.filter_map(|message| async move {
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
        request: tonic::Request<Streaming<PortForwardInput>>,
    ) -> Result<tonic::Response<Self::PortForwardStream>, TonicStatus> {
        let mut input = request.into_inner();
        let first = input.message().await?.unwrap().kind;
        match first {
            Some(port_forward_input::Kind::Start(start)) if start.port == 80 => {}
            _ => return Err(TonicStatus::internal("connection refused")),
        }
        let echo = input.filter_map(|message| async move {
            match message.ok()?.kind? {
                port_forward_input::Kind::Data(data) => Some(Ok(PortForwardOutput { data })),
                port_forward_input::Kind::Start(_) => None,
            }
        });
        Ok(tonic::Response::new(Box::pin(echo)))
    }
}

/// Every node's kubelet is the one in this process.
struct Dialer(InProcessConnector);

impl KubeletDialer for Dialer {
    fn dial(&self, _node: &Object) -> Result<Channel, apimachinery::status::Status> {
        Ok(channel(&Endpoint::InProcess(self.0.clone())))
    }
}

/// A server with one pod, `bound`, whose kubelet is the one above, and one that has no node; and the first one's uid.
async fn running_with_pods() -> (Running, String) {
    let (listener, kubelet) = Listener::in_process();
    let running = Running::start_with(Arc::new(Dialer(kubelet))).await;
    let routes =
        tonic::service::Routes::new(StreamsServer::new(Kubelet)).prepare().into_axum_router();
    let token = running.shutdown.token().clone();
    running.shutdown.spawn("kubelet", serve(listener, routes, token));

    let account = r#"{"metadata": {"name": "default"}}"#;
    running.json("POST", "/api/v1/namespaces/default/serviceaccounts", &[], account).await;
    running.json("POST", "/api/v1/nodes", &[], r#"{"metadata": {"name": "node-1"}}"#).await;
    let pod = |name: &str, node: &str| {
        json!({"metadata": {"name": name}, "spec": {"nodeName": node,
            "containers": [{"name": "c", "image": "nginx"}]}})
        .to_string()
    };
    let (_, bound) = running.json("POST", PODS, &[], &pod("bound", "node-1")).await;
    running.json("POST", PODS, &[], &pod("pending", "")).await;
    let uid = bound["metadata"]["uid"].as_str().unwrap().to_owned();
    (running, uid)
}

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn streams_reach_the_pods_kubelet() {
    let (running, uid) = running_with_pods().await;
    let log = async |path: &str| running.json("GET", &format!("{PODS}/{path}"), &[], "").await;
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
    let stdout = |text: &str| exec_output::Kind::Stdout(text.to_owned().into());
    assert_eq!(said, [stdout(&uid), stdout("hello")]);
    let refused =
        client.streams().exec(futures::stream::iter([start("pending")])).await.unwrap_err();
    assert_eq!(refused.message(), "pod pending does not have a host assigned");
    running.shutdown.cancel();
}

/// Upgrades a connection to a WebSocket as a library would.
async fn websocket(
    running: &Running,
    path: &str,
    protocol: &str,
) -> tokio_tungstenite::WebSocketStream<tokio::io::DuplexStream> {
    let connector = running.connector.with_identity("admin", &["system:masters"]);
    let mut connection = connector.connect().await.unwrap();
    let request = format!(
        "GET {PODS}/{path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: {protocol}\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains(&format!("sec-websocket-protocol: {protocol}\r\n")), "{head}");
    tokio_tungstenite::WebSocketStream::from_raw_socket(connection, Role::Client, None).await
}

/// Everything that comes until the server closes, by channel.
async fn by_channel(
    socket: &mut tokio_tungstenite::WebSocketStream<tokio::io::DuplexStream>,
) -> BTreeMap<u8, Vec<u8>> {
    let mut said = BTreeMap::<u8, Vec<u8>>::new();
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Binary(data) = message {
            said.entry(data[0]).or_default().extend_from_slice(&data[1..]);
        }
    }
    said
}

#[tokio::test]
async fn a_library_runs_a_command_over_channels() {
    let (running, uid) = running_with_pods().await;
    let path = "bound/exec?command=cat&stdin=true&stdout=true";
    let mut socket = websocket(&running, path, "v5.channel.k8s.io").await;
    socket.send(Message::Binary("\0hello".into())).await.unwrap();
    socket.send(Message::Binary(vec![255, 0].into())).await.unwrap();
    // The kubelet's command ends with its input, which is what the last message said.
    let said = by_channel(&mut socket).await;
    assert_eq!(said, BTreeMap::from([(1, format!("{uid}hello").into_bytes())]));
    running.shutdown.cancel();
}

#[tokio::test]
async fn a_library_forwards_ports_over_channels() {
    let (running, _) = running_with_pods().await;
    let path = "bound/portforward?ports=80,81";
    let mut socket = websocket(&running, path, "v4.channel.k8s.io").await;
    socket.send(Message::Binary("\0hello".into())).await.unwrap();
    let mut said = BTreeMap::<u8, Vec<u8>>::new();
    let whole = |said: &BTreeMap<u8, Vec<u8>>, channel: u8, end: &[u8]| {
        said.get(&channel).is_some_and(|data| data.ends_with(end))
    };
    while !whole(&said, 0, b"hello") || !whole(&said, 3, b"refused") {
        if let Message::Binary(data) = socket.next().await.unwrap().unwrap() {
            said.entry(data[0]).or_default().extend_from_slice(&data[1..]);
        }
    }
    assert_eq!(said[&0], b"\x50\x00hello");
    assert_eq!(said[&1], b"\x50\x00");
    assert_eq!(said[&2], b"\x51\x00");
    let refused = String::from_utf8(said[&3][2..].to_vec()).unwrap();
    assert!(refused.starts_with("error forwarding port 81 to pod bound, uid "), "{refused}");
    running.shutdown.cancel();
}

#[tokio::test]
async fn what_cannot_be_upgraded_is_told_why() {
    let (running, _) = running_with_pods().await;
    let check = async |path: &str, headers: &[(&str, &str)], expected: (u16, &str)| {
        let (code, status) = running.json("GET", &format!("{PODS}/{path}"), headers, "").await;
        assert_eq!((code, status["message"].as_str().unwrap()), expected, "{path}");
    };
    let websocket = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "v5.channel.k8s.io"),
    ];
    check("bound/exec?command=ls&stdout=true", &[], (400, "Upgrade request required")).await;
    let streams = (400, "you must specify at least 1 of stdin, stdout, stderr");
    check("bound/exec?command=ls", &websocket, streams).await;
    let no_node = (400, "pod pending does not have a host assigned");
    check("pending/exec?command=ls&stdout=true", &websocket, no_node).await;
    let missing = (404, "pods \"no\" not found");
    check("no/exec?command=ls&stdout=true", &websocket, missing).await;
    running.shutdown.cancel();
}
