//! HTTP/1.1 over TLS with as little of a client as can be, so that the server is what is measured.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use component_base::tls;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::Server;

/// One connection that asks for one path, again and again.
pub(crate) struct RawClient {
    stream: TlsStream<TcpStream>,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl RawClient {
    pub(crate) async fn connect(server: &Server, path: &str) -> Result<Self> {
        let mut config = (*tls::client_config(&server.ca_pem, Some(&server.admin))?).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(&server.address).await?;
        tcp.set_nodelay(true)?;
        let stream =
            TlsConnector::from(Arc::new(config)).connect("127.0.0.1".try_into()?, tcp).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: kubernetes\r\naccept: application/json\r\nuser-agent: bench\r\n\r\n"
        );
        Ok(Self { stream, request: request.into_bytes(), buffer: vec![0; 256 * 1024] })
    }

    /// Asks, and reads the whole answer; gives the body's length.
    pub(crate) async fn get(&mut self) -> Result<usize> {
        self.stream.write_all(&self.request).await?;
        let mut filled = 0;
        let (head, length) = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                bail!("closed by the server");
            }
            filled += read;
            if let Some(end) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.buffer[..end])?;
                if !head.starts_with("HTTP/1.1 200") {
                    bail!("{}", head.lines().next().unwrap_or(""));
                }
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "))
                    .context("no length")?;
                break (end + 4, length.parse::<usize>()?);
            }
        };
        let mut body = filled - head;
        while body < length {
            let read = self.stream.read(&mut self.buffer).await?;
            if read == 0 {
                bail!("closed by the server");
            }
            body += read;
        }
        Ok(length)
    }
}
