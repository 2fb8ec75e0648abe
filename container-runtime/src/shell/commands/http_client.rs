//! HTTP/1.1 as a client, for `curl` and `wget`.
//!
//! Written out rather than taken from a library, since these commands print heads as they went over
//! the wire, tell an empty reply from a reset connection, and pass bodies on as they arrive.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use cni::network::PodStream;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

/// Longest head of a response.
const HEAD_LIMIT: usize = 256 * 1024;
/// Body bytes handed on at once.
const CHUNK: usize = 64 * 1024;

/// A URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: String,
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) explicit_port: bool,
    /// Path and query.
    pub(super) target: String,
}

/// Why a text is no URL that can be fetched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum UrlError {
    Malformed,
    Scheme(String),
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None => ("http".to_owned(), text),
        };
        if scheme != "http" && scheme != "https" {
            return Err(UrlError::Scheme(scheme));
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.to_owned()), authority),
            None => (None, authority),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                let port = match port {
                    "" => None,
                    port => Some(port.parse::<u16>().map_err(|_| UrlError::Malformed)?),
                };
                (host, port)
            }
            _ => (authority, None),
        };
        let bad = |char: char| char.is_whitespace() || char.is_control();
        if host.is_empty() || text.contains(bad) {
            return Err(UrlError::Malformed);
        }
        let default = if scheme == "https" { 443 } else { 80 };
        Ok(Self {
            scheme,
            user,
            host: host.to_owned(),
            port: port.unwrap_or(default),
            explicit_port: port.is_some_and(|port| port != default),
            target,
        })
    }

    /// A `Location` as this URL sees it.
    pub(super) fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let mut next = self.clone();
        next.target = match location.strip_prefix('/') {
            Some(_) => location.to_owned(),
            None => {
                let path = self.target.split('?').next().unwrap_or("/");
                let base = &path[..path.rfind('/').map_or(0, |end| end + 1)];
                format!("{base}{location}")
            }
        };
        Ok(next)
    }

    /// `host` or `host:port`, as `Host:` wants it.
    pub(super) fn authority(&self) -> String {
        match self.explicit_port {
            true => format!("{}:{}", self.host, self.port),
            false => self.host.clone(),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.scheme == "https"
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority(), self.target)
    }
}

/// A byte stream of either kind.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// Starts TLS on a connection: with the certificates that are trusted, or trusting anyone.
pub(super) async fn start_tls(
    stream: PodStream,
    host: &str,
    trusted: Option<&[u8]>,
    insecure: bool,
) -> io::Result<Box<dyn Transport>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = match insecure {
        true => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustAnyone(provider)))
            .with_no_client_auth(),
        false => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(trusted.unwrap_or_default()) {
                roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    let name = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await?))
}

/// `curl -k`: the peer proves that it holds its key, not who it is.
#[derive(Debug)]
struct TrustAnyone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Bytes>,
}

impl Request {
    pub(super) fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }
}

/// How the length of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    ToTheEnd,
}

/// A response whose body is still to be read.
pub(super) struct Response {
    /// The head as it came, with its empty line.
    pub(super) head: String,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    reader: BufReader<Box<dyn Transport>>,
    framing: Framing,
    left: u64,
}

/// Why there is no response.
#[derive(Debug)]
pub(super) enum HttpError {
    /// The peer closed without a byte.
    Empty,
    /// The body ended early, by so many bytes.
    Short(u64),
    /// Not HTTP.
    Protocol,
    Io(io::Error),
}

impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Sends a request and reads the head of its response.
pub(super) async fn exchange(
    mut stream: Box<dyn Transport>,
    request: &Request,
) -> Result<Response, HttpError> {
    let mut message = request.head().into_bytes();
    message.extend_from_slice(request.body.as_deref().unwrap_or_default());
    // A server may answer and close before it has read everything.
    let sent = stream.write_all(&message).await;
    if sent.is_ok() {
        stream.flush().await?;
    }
    let mut reader = BufReader::new(stream);
    loop {
        let response = read_head(&mut reader, request).await?;
        if !(100..200).contains(&response.1) || response.1 == 101 {
            let (head, status, headers, framing) = response;
            let left = if let Framing::Length(length) = framing { length } else { 0 };
            return Ok(Response { head, status, headers, reader, framing, left });
        }
    }
}

type Head = (String, u16, Vec<(String, String)>, Framing);

async fn read_head(
    reader: &mut BufReader<Box<dyn Transport>>,
    request: &Request,
) -> Result<Head, HttpError> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        let mut limited = (&mut *reader).take((HEAD_LIMIT - before) as u64);
        if limited.read_until(b'\n', &mut head).await? == 0 {
            return Err(if before == 0 { HttpError::Empty } else { HttpError::Protocol });
        }
        if matches!(&head[before..], b"\r\n" | b"\n") {
            break;
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    let status: u16 = status.and_then(|code| code.parse().ok()).ok_or(HttpError::Protocol)?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let find = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    let framing = if request.method == "HEAD" || matches!(status, 204 | 304) || status < 200 {
        Framing::None
    } else if find("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        Framing::Chunked
    } else if let Some(length) = find("content-length") {
        Framing::Length(length.parse().map_err(|_| HttpError::Protocol)?)
    } else {
        Framing::ToTheEnd
    };
    Ok((head, status, headers, framing))
}

impl Response {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Length of the body where the head tells it.
    pub(super) fn length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::None => Some(0),
            Framing::Chunked | Framing::ToTheEnd => None,
        }
    }

    /// The next bytes of the body; `None` at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        match self.framing {
            Framing::None => Ok(None),
            Framing::Length(_) if self.left == 0 => Ok(None),
            Framing::Length(_) => self.read_left().await.map(Some),
            Framing::Chunked => {
                if self.left == 0 {
                    let size = self.line().await?;
                    let size = size.split(';').next().unwrap_or_default().trim();
                    self.left = u64::from_str_radix(size, 16).map_err(|_| HttpError::Protocol)?;
                    if self.left == 0 {
                        while !self.line().await?.trim().is_empty() {}
                        self.framing = Framing::None;
                        return Ok(None);
                    }
                }
                let chunk = self.read_left().await?;
                if self.left == 0 {
                    self.line().await?;
                }
                Ok(Some(chunk))
            }
            Framing::ToTheEnd => {
                let mut buffer = vec![0; CHUNK];
                let count = self.reader.read(&mut buffer).await?;
                buffer.truncate(count);
                Ok((count > 0).then(|| buffer.into()))
            }
        }
    }

    async fn read_left(&mut self) -> Result<Bytes, HttpError> {
        let most = usize::try_from(self.left).unwrap_or(CHUNK).min(CHUNK);
        let mut buffer = vec![0; most];
        let count = self.reader.read(&mut buffer).await?;
        if count == 0 {
            return Err(HttpError::Short(self.left));
        }
        self.left -= count as u64;
        buffer.truncate(count);
        Ok(buffer.into())
    }

    async fn line(&mut self) -> Result<String, HttpError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.reader).take(HEAD_LIMIT as u64);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Err(HttpError::Short(0));
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_parts() {
        let check = |text: &str, expected: Result<&str, UrlError>| {
            let parsed = Url::parse(text).map(|url| url.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{text}");
        };
        check("10.0.0.1", Ok("http://10.0.0.1/"));
        check("http://a:80/x?y#z", Ok("http://a/x?y"));
        check("https://a:80", Ok("https://a:80/"));
        check("a?b", Ok("http://a/?b"));
        check("ftp://a", Err(UrlError::Scheme("ftp".to_owned())));
        check("http://", Err(UrlError::Malformed));
        check("http://a:99999/", Err(UrlError::Malformed));
        check("http://a b/", Err(UrlError::Malformed));
        let base = Url::parse("http://a/b/c?d").unwrap();
        assert_eq!(base.join("e").unwrap().to_string(), "http://a/b/e");
        assert_eq!(base.join("/e").unwrap().to_string(), "http://a/e");
    }
}
