//! `wget`, busybox' one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::http_client::{
    HttpError, Request, Response, Transport, Url, UrlError, exchange, start_tls,
};
use super::network::hint;
use super::{Outcome, Parsed, fail, getopt, io_text};
use crate::files::join;
use crate::program::ContainerContext;
use crate::stdio::Output;

/// busybox' default of `-T`.
const TIMEOUT: Duration = Duration::from_secs(900);
const MAX_REDIRECTS: u32 = 20;

const LONG: &[(&str, char)] = &[
    ("header", 'h'),
    ("no-check-certificate", 'k'),
    ("no-verbose", 'q'),
    ("output-document", 'O'),
    ("post-data", 'd'),
    ("quiet", 'q'),
    ("server-response", 'S'),
    ("spider", 's'),
    ("timeout", 'T'),
    ("user-agent", 'U'),
];

pub(super) async fn wget(context: ContainerContext) -> Outcome {
    let parsed = match getopt(&context, "qO:T:SU:h:d:ks", LONG) {
        Ok(parsed) => parsed,
        Err(message) => return fail(&context, 1, message).await,
    };
    if parsed.operands.is_empty() {
        return fail(&context, 1, "wget: missing URL").await;
    }
    let mut status = 0;
    for url in &parsed.operands {
        if let Err(message) = Box::pin(fetch(&context, &parsed, url)).await? {
            status = fail(&context, 1, format!("wget: {message}")).await?;
        }
    }
    Ok(status)
}

async fn fetch(
    context: &ContainerContext,
    parsed: &Parsed,
    url: &str,
) -> io::Result<Result<(), String>> {
    let mut url = match Url::parse(url) {
        Ok(url) => url,
        Err(UrlError::Scheme(_) | UrlError::Malformed) => {
            return Ok(Err(format!("not an http or ftp url: {url}")));
        }
    };
    let wait =
        parsed.value('T').and_then(|text| text.parse().ok()).map_or(TIMEOUT, Duration::from_secs);
    let loud = !parsed.has('q');
    for _ in 0..MAX_REDIRECTS {
        let asked = context.clock.timeout(wait, ask(context, parsed, &url, loud)).await;
        let response = match asked {
            Err(_) => return Ok(Err("download timed out".to_owned())),
            Ok(Ok(response)) => response,
            Ok(Err(message)) => return Ok(Err(message)),
        };
        let line = response.head.lines().next().unwrap_or_default().to_owned();
        if parsed.has('S') {
            let head: String = response
                .head
                .lines()
                .filter(|line| !line.is_empty())
                .flat_map(|line| ["  ", line, "\n"])
                .collect();
            context.stderr.write_all(head).await?;
        }
        match response.status {
            200..=299 => {
                if parsed.has('s') {
                    if loud {
                        context.stderr.write_all("remote file exists\n").await?;
                    }
                    return Ok(Ok(()));
                }
                return save(context, parsed, &url, response, wait, loud).await;
            }
            301 | 302 | 303 | 307 | 308 => {
                let location = response.header("location").unwrap_or_default();
                match url.join(location) {
                    Ok(next) => url = next,
                    Err(_) => return Ok(Err(format!("bad redirection: {location}"))),
                }
            }
            _ => return Ok(Err(format!("server returned error: {line}"))),
        }
    }
    Ok(Err("too many redirections".to_owned()))
}

async fn ask(
    context: &ContainerContext,
    parsed: &Parsed,
    url: &Url,
    loud: bool,
) -> Result<Response, String> {
    let bad = |hint: String| format!("bad address '{}'{hint}", url.host);
    let addresses = context.network.resolve(&url.host).await.map_err(|error| bad(hint(&error)))?;
    let address = *addresses.first().ok_or_else(|| bad(String::new()))?;
    let target = SocketAddr::new(address, url.port);
    if loud {
        let line = format!("Connecting to {}:{} ({target})\n", url.host, url.port);
        // Progress is for people; the answer is what matters.
        let _ = context.stderr.write_all(line).await;
    }
    let stream = context.network.connect_tcp(target).await.map_err(|error| {
        format!("can't connect to remote host ({address}): {}", io_text(&error))
    })?;
    let stream: Box<dyn Transport> = match url.is_tls() {
        // As busybox' wget, which checks no certificate.
        true => {
            start_tls(stream, &url.host, None, true).await.map_err(|error| error.to_string())?
        }
        false => Box::new(stream),
    };
    let body = parsed.value('d').map(|body| bytes::Bytes::from(body.to_owned()));
    let method = if body.is_some() { "POST" } else { "GET" };
    let method = if parsed.has('s') { "HEAD" } else { method };
    let agent = parsed.value('U').unwrap_or("Wget");
    let mut headers = vec![
        ("Host".to_owned(), url.authority()),
        ("User-Agent".to_owned(), agent.to_owned()),
        ("Connection".to_owned(), "close".to_owned()),
    ];
    for header in parsed.values('h') {
        if let Some((name, value)) = header.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    if let Some(body) = &body {
        headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        headers.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    let request = Request { method: method.to_owned(), target: url.target.clone(), headers, body };
    exchange(stream, &request).await.map_err(|error| explain(&error))
}

fn explain(error: &HttpError) -> String {
    match error {
        HttpError::Empty => "error getting response".to_owned(),
        HttpError::Protocol => "error getting response: bad header line".to_owned(),
        HttpError::Short(_) => "connection closed prematurely".to_owned(),
        HttpError::Io(error) => format!("error getting response: {}", io_text(error)),
    }
}

async fn save(
    context: &ContainerContext,
    parsed: &Parsed,
    url: &Url,
    mut response: Response,
    wait: Duration,
    loud: bool,
) -> io::Result<Result<(), String>> {
    let path = url.target.split('?').next().unwrap_or_default();
    let own = path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("index.html");
    let name = parsed.value('O').unwrap_or(own);
    let full = join(&context.working_dir, name);
    let output = match name {
        "-" => context.stdout.clone(),
        _ if full == "/dev/null" => Output::null(),
        _ if parsed.value('O').is_none() && context.files.exists(&full) => {
            return Ok(Err(format!("can't open '{name}': File exists")));
        }
        _ => match context.files.open(&full, true) {
            Ok(file) => Output::file(file),
            Err(error) => return Ok(Err(format!("can't open '{name}': {error}"))),
        },
    };
    if loud {
        let text = if name == "-" {
            "writing to stdout\n".to_owned()
        } else {
            format!("saving to '{name}'\n")
        };
        context.stderr.write_all(text).await?;
    }
    let mut size = 0;
    loop {
        match context.clock.timeout(wait, response.next()).await {
            Err(_) => return Ok(Err("download timed out".to_owned())),
            Ok(Err(error)) => return Ok(Err(explain(&error))),
            Ok(Ok(None)) => break,
            Ok(Ok(Some(chunk))) => {
                size += chunk.len();
                output.write_all(&chunk).await?;
            }
        }
    }
    if loud {
        let label: String = name.chars().take(20).collect();
        let mut text = format!("{label:<20} 100% |{}| {size:>5}  0:00:00 ETA\n", "*".repeat(32));
        match name {
            "-" => text.push_str("written to stdout\n"),
            name => text.push_str(&format!("'{name}' saved\n")),
        }
        context.stderr.write_all(text).await?;
    }
    Ok(Ok(()))
}
