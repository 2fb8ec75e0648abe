//! HTTP/1.1 by hand: a client that sends what no library would.

use std::{fmt, path::PathBuf};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// A request, byte for byte.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: Vec<u8>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The length that is said in place of the true one.
    pub(crate) length: Option<usize>,
}

impl Request {
    pub(crate) fn new(method: &str, target: &str, content_type: &str, body: &[u8]) -> Self {
        let mut headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        if !content_type.is_empty() {
            headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        }
        let (method, target) = (method.to_owned(), target.as_bytes().to_owned());
        Self { method, target, headers, body: body.to_owned(), length: None }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target, "", b"")
    }

    pub(crate) fn delete(target: &str) -> Self {
        Self::new("DELETE", target, "", b"")
    }

    fn is_watch(&self) -> bool {
        let target = String::from_utf8_lossy(&self.target);
        target.contains("watch") || target.contains("follow")
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} ", self.method).into_bytes();
        bytes.extend_from_slice(&self.target);
        bytes.extend_from_slice(b" HTTP/1.1\r\nHost: api\r\n");
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let length = self.length.unwrap_or(self.body.len());
        bytes.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// What can be read of it, within bounds.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]);
        write!(f, "{}", text.escape_debug())
    }
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
    /// It is a stream, of which the beginning was read.
    pub(crate) watch: bool,
    /// It answers HEAD.
    pub(crate) bodiless: bool,
}

impl Answer {
    pub(crate) fn is_json(&self) -> bool {
        self.content_type.starts_with("application/json")
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        write!(f, "{} {}: {}", self.code, self.content_type, text.escape_debug())
    }
}

/// A connection that is made again when it was closed.
pub(crate) struct Connection {
    socket: PathBuf,
    stream: Option<UnixStream>,
}

impl Connection {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, stream: None }
    }

    /// Sends a request and reads its answer; None: the server closed the connection without one, as it may when what came
    /// was no HTTP.
    pub(crate) async fn send(&mut self, request: &Request) -> Option<Answer> {
        let bytes = request.to_bytes();
        // A kept connection may have ended meanwhile.
        for kept in [true, false] {
            let mut stream = match self.stream.take().filter(|_| kept) {
                Some(stream) => stream,
                None => UnixStream::connect(&self.socket).await.expect("the server listens"),
            };
            // The server may answer before it has read all.
            let _ = stream.write_all(&bytes).await;
            if request.length.is_some_and(|length| length > request.body.len()) {
                let _ = stream.shutdown().await;
            }
            let Some((answer, keep)) = read(&mut stream, request).await else { continue };
            if keep && request.length.is_none() {
                self.stream = Some(stream);
            }
            return Some(answer);
        }
        None
    }
}

/// Reads an answer; whether the connection can be used again.
async fn read(stream: &mut UnixStream, request: &Request) -> Option<(Answer, bool)> {
    let mut bytes = Vec::new();
    let (code, headers, start) = loop {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = head {
            let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let code = text.get(9..12)?.parse::<u16>().ok()?;
            if code == 100 {
                bytes.drain(..end + 4);
                continue;
            }
            break (code, text.to_ascii_lowercase(), end + 4);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let header = |name: &str| {
        let line = headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or("").to_owned()
    };
    let closes = header("connection") == "close";
    let mut answer = Answer {
        code,
        content_type: header("content-type"),
        body: bytes.split_off(start),
        watch: code == 101,
        bodiless: request.method == "HEAD",
    };
    if answer.watch || answer.bodiless || matches!(code, 204 | 304) {
        return Some((answer, false));
    }
    if let Ok(length) = header("content-length").parse::<usize>() {
        while answer.body.len() < length {
            if stream.read_buf(&mut answer.body).await.ok()? == 0 {
                return Some((answer, false));
            }
        }
        return Some((answer, !closes));
    }
    // A watch goes on for ever; its beginning is enough.
    if request.is_watch() && code == 200 {
        answer.watch = true;
        return Some((answer, false));
    }
    while !answer.body.ends_with(b"0\r\n\r\n") {
        if stream.read_buf(&mut answer.body).await.ok()? == 0 {
            return Some((answer, false));
        }
    }
    answer.body = unchunked(&answer.body);
    Some((answer, !closes))
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let text = String::from_utf8_lossy(&bytes[..end]);
        let length = usize::from_str_radix(text.trim(), 16).unwrap_or(0);
        let (start, stop) = (end + 2, end + 2 + length);
        if length == 0 || stop > bytes.len() {
            break;
        }
        body.extend_from_slice(&bytes[start..stop]);
        bytes = &bytes[(stop + 2).min(bytes.len())..];
    }
    body
}
