//! One HTTP request from the host, each on a connection of its own, as `curl` makes it.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

/// GET of a plain `http://` URL.
///
/// # Errors
/// The connection fails, or the answer is no HTTP.
pub async fn get(url: &str) -> anyhow::Result<Response> {
    let rest = url.strip_prefix("http://").with_context(|| format!("{url} is no http:// URL"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address =
        if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let mut stream =
        TcpStream::connect(&address).await.with_context(|| format!("connect to {address}"))?;
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: test\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.context("send the request")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("read the answer")?;
    parse(&String::from_utf8_lossy(&answer))
}

/// Reads a whole answer.
///
/// # Errors
/// It is no HTTP.
pub fn parse(answer: &str) -> anyhow::Result<Response> {
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {answer:?}"))?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok())
        .with_context(|| format!("no status line: {head:?}"))?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    if let Some(length) = headers.get("content-length").and_then(|l| l.parse::<usize>().ok()) {
        anyhow::ensure!(body.len() == length, "{} bytes of {length} came", body.len());
    }
    Ok(Response { status, headers, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let whole = parse("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!((whole.status, whole.body.as_str()), (200, "hi"));
        assert!(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi").is_err());
        assert!(parse("").is_err());
    }
}
