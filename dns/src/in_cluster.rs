//! The way to the API from inside a pod: TLS over the pod's own network to the `kubernetes` Service.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use client::Client;
use cni::network::Sandbox;
use component_base::{
    clock::Clock,
    tls::{self, KeyPair, TlsError},
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

/// For reaching the server and the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that is silent while requests are open is pinged this often, and has the second duration to answer.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15));
/// What a server may send ahead on one call, and on all.
const WINDOWS: (u32, u32) = (8 << 20, 32 << 20);

/// Who a pod is to the API server, and whom it trusts.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The API server's address in the cluster, `10.96.0.1:443`; its certificate is for this address.
    pub server: SocketAddr,
    /// The cluster's authority.
    pub ca_pem: String,
    /// The client certificate.
    pub client: KeyPair,
}

/// Makes a client that dials from inside `sandbox`. It connects at the first call, and again after the connection was
/// lost.
///
/// # Errors
/// When a PEM is not what it should be.
pub fn client(sandbox: &Sandbox, credentials: &Credentials) -> Result<Client, TlsError> {
    let config = tls::client_config(&credentials.ca_pem, Some(&credentials.client))?;
    let connector = TlsConnector::from(Arc::clone(&config));
    let (sandbox, server) = (sandbox.clone(), credentials.server);
    let settings = tonic::transport::Endpoint::from_static("http://kubernetes")
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .http2_keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let channel = settings.connect_with_connector_lazy(tower::service_fn(move |_| {
        let (connector, sandbox) = (connector.clone(), sandbox.clone());
        async move {
            let connect = async {
                let stream = sandbox.connect_tcp(server).await?;
                connector.connect(ServerName::from(server.ip()), stream).await
            };
            let connected = Clock::real().timeout(CONNECT_TIMEOUT, connect).await;
            connected.unwrap_or_else(|_| Err(cni::network::timed_out())).map(TokioIo::new)
        }
    }));
    Ok(Client::from_channel(channel))
}
