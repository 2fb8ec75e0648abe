//! The real etcd, to compare with: started on a free port, spoken to over gRPC.

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use component_base::clock::Clock;
use http::uri::PathAndQuery;
use tonic::transport::Channel;

use crate::{Result, rate};

/// `etcdserverpb.PutRequest`, as far as we use it.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `etcdserverpb.PutResponse`, of which we need nothing.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

/// A running etcd; killed when dropped.
pub(crate) struct Etcd {
    endpoint: String,
    _process: tokio::process::Child,
}

impl Etcd {
    /// Starts etcd on a data directory. None when it is not installed.
    pub(crate) async fn start(dir: &Path) -> Result<Option<Self>> {
        let endpoint = format!("http://127.0.0.1:{}", free_port()?);
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let spawned = tokio::process::Command::new("etcd")
            .arg("--data-dir")
            .arg(dir)
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(["--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let process = match spawned {
            Ok(process) => process,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let etcd = Self { endpoint, _process: process };
        let clock = Clock::real();
        for attempt in 0.. {
            match etcd.ready().await {
                Ok(()) => break,
                Err(error) if attempt > 100 => return Err(error),
                Err(_) => clock.sleep(Duration::from_millis(100)).await,
            }
        }
        Ok(Some(etcd))
    }

    async fn ready(&self) -> Result<()> {
        let channel = Channel::from_shared(self.endpoint.clone())?.connect().await?;
        put(channel, "ready".into(), Bytes::new()).await
    }

    /// Puts per second by so many writers, over a connection per eight of them.
    pub(crate) async fn put_rate(&self, writers: usize, value: Bytes) -> Result<f64> {
        let mut channels = Vec::new();
        for _ in 0..writers.div_ceil(8) {
            channels.push(Channel::from_shared(self.endpoint.clone())?.connect().await?);
        }
        rate(writers, move |task, n| {
            let key = format!("/registry/pods/default/{writers}-{task}-{n}");
            put(channels[task / 8].clone(), key.into(), value.clone())
        })
        .await
    }
}

async fn put(channel: Channel, key: Bytes, value: Bytes) -> Result<()> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await?;
    let codec = tonic_prost::ProstCodec::<PutRequest, PutResponse>::default();
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
    grpc.unary(tonic::Request::new(PutRequest { key, value }), path, codec).await?;
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
