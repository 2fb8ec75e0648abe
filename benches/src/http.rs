//! HTTP/1.1 over TLS as a load generator wants it: one connection, one request at a time, little work per request.
//!
//! It reads what our API server sends (a length, or chunks), no more.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::{Buf, Bytes, BytesMut};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Where the server is, and who we are.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) tls: Arc<ClientConfig>,
}

/// A connection.
pub(crate) struct Http {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    request: Vec<u8>,
}

/// An answer, read whole.
pub(crate) struct Response {
    pub(crate) code: u16,
    pub(crate) body: Bytes,
}

impl Response {
    /// For messages.
    pub(crate) fn text(&self) -> String {
        format!("{}: {}", self.code, String::from_utf8_lossy(&self.body))
    }
}

enum Length {
    Known(usize),
    Chunked,
}

impl Http {
    /// Connects and shakes hands.
    pub(crate) async fn connect(target: &Target) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", target.port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(target.tls.clone()).connect(name, stream).await?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(64 << 10), request: Vec::new() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Response> {
        self.send("GET", path, b"").await?;
        self.response().await
    }

    pub(crate) async fn post(&mut self, path: &str, body: &[u8]) -> anyhow::Result<Response> {
        self.send("POST", path, body).await?;
        self.response().await
    }

    pub(crate) async fn put(&mut self, path: &str, body: &[u8]) -> anyhow::Result<Response> {
        self.send("PUT", path, body).await?;
        self.response().await
    }

    /// Reads an answer away; gives the length of its body.
    pub(crate) async fn get_length(&mut self, path: &str) -> anyhow::Result<usize> {
        self.send("GET", path, b"").await?;
        let (code, length) = self.head().await?;
        let Length::Known(length) = length else { anyhow::bail!("the answer has no length") };
        anyhow::ensure!(code == 200, "GET {path}: {code}");
        let mut left = length - self.buffer.len();
        self.buffer.clear();
        let mut piece = vec![0; 256 << 10];
        while left > 0 {
            let read = self.stream.read(&mut piece).await?;
            anyhow::ensure!(read > 0, "the connection ended");
            left -= read;
        }
        Ok(length)
    }

    /// Starts a watch, whose lines [`Lines`] reads.
    pub(crate) async fn watch(mut self, path: &str) -> anyhow::Result<Lines> {
        self.send("GET", path, b"").await?;
        let (code, length) = self.head().await?;
        anyhow::ensure!(code == 200 && matches!(length, Length::Chunked), "watch: {code}");
        Ok(Lines { http: self, chunk: 0, text: BytesMut::new() })
    }

    async fn send(&mut self, method: &str, path: &str, body: &[u8]) -> anyhow::Result<()> {
        use std::io::Write as _;
        self.request.clear();
        write!(
            self.request,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n"
        )?;
        if !body.is_empty() {
            let length = body.len();
            write!(self.request, "content-type: application/json\r\ncontent-length: {length}\r\n")?;
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(body);
        self.stream.write_all(&self.request).await?;
        Ok(self.stream.flush().await?)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        self.buffer.reserve(16 << 10);
        let read = self.stream.read_buf(&mut self.buffer).await?;
        anyhow::ensure!(read > 0, "the connection ended");
        Ok(())
    }

    async fn head(&mut self) -> anyhow::Result<(u16, Length)> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            self.more().await?;
        };
        let head = self.buffer.split_to(end + 4);
        let head = std::str::from_utf8(&head)?;
        let code = head.get(9..12).context("no status")?.parse()?;
        let header = |name: &str| {
            head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let length = match header("content-length") {
            Some(length) => Length::Known(length.parse()?),
            None => Length::Chunked,
        };
        Ok((code, length))
    }

    async fn response(&mut self) -> anyhow::Result<Response> {
        let (code, length) = self.head().await?;
        let Length::Known(length) = length else { anyhow::bail!("the answer has no length") };
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(Response { code, body: self.buffer.split_to(length).freeze() })
    }
}

/// The lines of a watch.
pub(crate) struct Lines {
    http: Http,
    /// What is left of the chunk under way.
    chunk: usize,
    text: BytesMut,
}

impl Lines {
    /// Waits for text, and gives all whole lines that have come.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Bytes> {
        loop {
            self.unchunk()?;
            if let Some(end) = self.text.iter().rposition(|byte| *byte == b'\n') {
                return Ok(self.text.split_to(end + 1).freeze());
            }
            self.http.more().await?;
        }
    }

    fn unchunk(&mut self) -> anyhow::Result<()> {
        let buffer = &mut self.http.buffer;
        loop {
            if self.chunk > 0 {
                let take = self.chunk.min(buffer.len());
                self.text.extend_from_slice(&buffer[..take]);
                buffer.advance(take);
                self.chunk -= take;
                if self.chunk > 0 {
                    return Ok(());
                }
            }
            // The end of the last chunk, if there was one, and the size of the next.
            let skip = if buffer.starts_with(b"\r\n") { 2 } else { 0 };
            let Some(end) = find(&buffer[skip..], b"\r\n") else { return Ok(()) };
            let size = std::str::from_utf8(&buffer[skip..skip + end])?;
            self.chunk = usize::from_str_radix(size, 16).context("the size of a chunk")?;
            anyhow::ensure!(self.chunk > 0, "the watch ended");
            buffer.advance(skip + end + 2);
        }
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
