//! curl's command line: one table of options.

use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::files::join;
use crate::program::ContainerContext;
use crate::shell::commands::http_client::Url;

/// Largest body that a request carries.
const BODY_LIMIT: usize = 64 * 1024 * 1024;

/// A parsed command line.
#[derive(Default)]
pub(super) struct Options {
    pub(super) urls: Vec<String>,
    pub(super) method: Option<String>,
    pub(super) head: bool,
    pub(super) get: bool,
    pub(super) body: Option<Bytes>,
    pub(super) upload: bool,
    pub(super) query: Option<String>,
    pub(super) content_type: &'static str,
    /// Name and value; no value removes a header of curl's own.
    pub(super) headers: Vec<(String, Option<String>)>,
    pub(super) user: Option<String>,
    pub(super) silent: bool,
    pub(super) show_error: bool,
    pub(super) verbose: bool,
    pub(super) include: bool,
    pub(super) follow: bool,
    pub(super) fail: bool,
    pub(super) fail_with_body: bool,
    pub(super) insecure: bool,
    pub(super) version: bool,
    pub(super) cacert: Option<String>,
    outputs: Vec<String>,
    remote_name: bool,
    pub(super) dump_header: Option<String>,
    pub(super) write_out: Option<String>,
    pub(super) max_time: Option<Duration>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) resolve: Vec<(String, u16, IpAddr)>,
    pub(super) connect_to: Option<(String, Option<u16>)>,
}

impl Options {
    pub(super) fn method(&self) -> String {
        match &self.method {
            Some(method) => method.clone(),
            None if self.head => "HEAD".to_owned(),
            None if self.upload => "PUT".to_owned(),
            None if self.body.is_some() => "POST".to_owned(),
            None => "GET".to_owned(),
        }
    }

    /// The file for the answer of a URL.
    pub(super) fn output(&self, index: usize, url: &Url) -> Option<String> {
        if let Some(path) = self.outputs.get(index) {
            return Some(path.clone());
        }
        let path = url.target.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        self.remote_name
            .then(|| if name.is_empty() { "curl_response".to_owned() } else { name.to_owned() })
    }
}

/// Long name, letter (or a space), and whether a value follows.
const TABLE: &[(&str, char, bool)] = &[
    ("cacert", ' ', true),
    ("connect-timeout", ' ', true),
    ("connect-to", ' ', true),
    ("data", 'd', true),
    ("data-binary", ' ', true),
    ("data-raw", ' ', true),
    ("data-urlencode", ' ', true),
    ("dump-header", 'D', true),
    ("fail", 'f', false),
    ("fail-with-body", ' ', false),
    ("get", 'G', false),
    ("globoff", 'g', false),
    ("head", 'I', false),
    ("header", 'H', true),
    ("http1.1", ' ', false),
    ("include", 'i', false),
    ("insecure", 'k', false),
    ("ipv4", '4', false),
    ("json", ' ', true),
    ("location", 'L', false),
    ("max-time", 'm', true),
    ("no-buffer", 'N', false),
    ("no-progress-meter", ' ', false),
    ("noproxy", ' ', true),
    ("oauth2-bearer", ' ', true),
    ("output", 'o', true),
    ("referer", 'e', true),
    ("remote-name", 'O', false),
    ("request", 'X', true),
    ("resolve", ' ', true),
    ("show-error", 'S', false),
    ("silent", 's', false),
    ("upload-file", 'T', true),
    ("url", ' ', true),
    ("user", 'u', true),
    ("user-agent", 'A', true),
    ("verbose", 'v', false),
    ("version", 'V', false),
    ("write-out", 'w', true),
    ("cookie", 'b', true),
];

/// Reads the command line; the error is curl's text.
pub(super) async fn parse(context: &ContainerContext) -> Result<Options, String> {
    const MORE: &str = "curl: try 'curl --help' or 'curl --manual' for more information\n";
    let mut options =
        Options { content_type: "application/x-www-form-urlencoded", ..Options::default() };
    let mut body: Option<BytesMut> = None;
    let mut words = context.args[1..].iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let Some((name, _, takes)) = TABLE.iter().find(|(name, ..)| *name == long) else {
                return Err(format!("curl: option {word}: is unknown\n{MORE}"));
            };
            let value = if *takes { words.next().cloned() } else { Some(String::new()) };
            let value =
                value.ok_or_else(|| format!("curl: option {word}: requires parameter\n{MORE}"))?;
            apply(context, &mut options, &mut body, name, value).await?;
            continue;
        }
        let Some(cluster) = word.strip_prefix('-').filter(|cluster| !cluster.is_empty()) else {
            options.urls.push(word.clone());
            continue;
        };
        for (index, letter) in cluster.char_indices() {
            let known = TABLE.iter().find(|(_, known, _)| *known == letter && letter != ' ');
            let Some((name, _, takes)) = known else {
                return Err(format!("curl: option -{letter}: is unknown\n{MORE}"));
            };
            if !takes {
                apply(context, &mut options, &mut body, name, String::new()).await?;
                continue;
            }
            let rest = &cluster[index + letter.len_utf8()..];
            let value = if rest.is_empty() { words.next().cloned() } else { Some(rest.to_owned()) };
            let value = value
                .ok_or_else(|| format!("curl: option -{letter}: requires parameter\n{MORE}"))?;
            apply(context, &mut options, &mut body, name, value).await?;
            break;
        }
    }
    if options.urls.is_empty() && !options.version {
        return Err(format!("curl: (2) no URL specified\n{MORE}"));
    }
    options.body = body.map(BytesMut::freeze);
    if options.get {
        let query = options.body.take();
        options.query = query.map(|query| String::from_utf8_lossy(&query).into_owned());
    }
    Ok(options)
}

async fn apply(
    context: &ContainerContext,
    options: &mut Options,
    body: &mut Option<BytesMut>,
    name: &str,
    value: String,
) -> Result<(), String> {
    let bad =
        |name: &str| format!("curl: option --{name}: expected a proper numerical parameter\n");
    let seconds = |value: &str| {
        let seconds = value.parse::<f64>().ok();
        seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| bad(name))
    };
    match name {
        "cacert" => options.cacert = Some(value),
        "connect-timeout" => options.connect_timeout = Some(seconds(&value)?),
        "max-time" => options.max_time = Some(seconds(&value)?),
        "connect-to" => {
            let parts: Vec<&str> = value.split(':').collect();
            let [_, _, host, port] = parts.as_slice() else {
                return Err("curl: (49) Couldn't parse CURLOPT_CONNECT_TO entry\n".to_owned());
            };
            options.connect_to = Some(((*host).to_owned(), port.parse().ok()));
        }
        "data" | "data-raw" | "data-binary" | "data-urlencode" | "json" => {
            let part = data(context, name, &value).await?;
            let all = body.get_or_insert_default();
            if !all.is_empty() && name != "json" {
                all.extend_from_slice(b"&");
            }
            if all.len() + part.len() > BODY_LIMIT {
                return Err("curl: (27) Out of memory\n".to_owned());
            }
            all.extend_from_slice(&part);
            if name == "json" {
                options.content_type = "application/json";
                options.headers.push(("Accept".to_owned(), Some("application/json".to_owned())));
            }
        }
        "upload-file" => {
            options.upload = true;
            *body = Some(data(context, "data-binary", &format!("@{value}")).await?.into());
            options.content_type = "application/octet-stream";
        }
        "header" => match value.split_once(':') {
            Some((name, "")) => options.headers.push((name.to_owned(), None)),
            Some((name, text)) => {
                options.headers.push((name.trim().to_owned(), Some(text.trim().to_owned())));
            }
            None => match value.strip_suffix(';') {
                Some(name) => options.headers.push((name.to_owned(), Some(String::new()))),
                None => return Err(format!("curl: option -H: not a header: {value}\n")),
            },
        },
        "user-agent" => options.headers.push(("User-Agent".to_owned(), Some(value))),
        "referer" => options.headers.push(("Referer".to_owned(), Some(value))),
        "cookie" => options.headers.push(("Cookie".to_owned(), Some(value))),
        "oauth2-bearer" => {
            options.headers.push(("Authorization".to_owned(), Some(format!("Bearer {value}"))));
        }
        "resolve" => {
            let parts: Vec<&str> = value.splitn(3, ':').collect();
            let parsed = match parts.as_slice() {
                [host, port, address] => port
                    .parse()
                    .ok()
                    .zip(address.parse().ok())
                    .map(|(port, address)| ((*host).to_owned(), port, address)),
                _ => None,
            };
            let text = || format!("curl: (49) Couldn't parse CURLOPT_RESOLVE entry '{value}'\n");
            options.resolve.push(parsed.ok_or_else(text)?);
        }
        "request" => options.method = Some(value),
        "user" => options.user = Some(value),
        "output" => options.outputs.push(value),
        "dump-header" => options.dump_header = Some(value),
        "write-out" => options.write_out = Some(value),
        "url" => options.urls.push(value),
        "fail" => options.fail = true,
        "fail-with-body" => options.fail_with_body = true,
        "get" => options.get = true,
        "head" => (options.head, options.include) = (true, true),
        "include" => options.include = true,
        "insecure" => options.insecure = true,
        "location" => options.follow = true,
        "remote-name" => options.remote_name = true,
        "show-error" => options.show_error = true,
        "silent" => options.silent = true,
        "no-progress-meter" => (options.silent, options.show_error) = (true, true),
        "verbose" => options.verbose = true,
        "version" => options.version = true,
        // What is asked for is what happens anyway: HTTP/1.1, IPv4, no proxy, no buffering, no globs.
        _ => {}
    }
    Ok(())
}

/// A body's text, or the content of `@file`.
async fn data(context: &ContainerContext, name: &str, value: &str) -> Result<Bytes, String> {
    if name == "data-urlencode" {
        let encoded = match value.split_once('=') {
            Some((key, value)) => format!("{key}={}", percent_encode(value)),
            None => percent_encode(value),
        };
        return Ok(encoded.trim_start_matches('=').to_owned().into());
    }
    let Some(path) = value.strip_prefix('@').filter(|_| name != "data-raw") else {
        return Ok(value.to_owned().into());
    };
    let content = match path {
        "-" => {
            context.stdin.read_to_end(BODY_LIMIT).await.map_err(|_| "curl: (27) Out of memory\n")?
        }
        path => context.files.read(&join(&context.working_dir, path)).map_err(|_| {
            format!("curl: option --{name}: error encountered when reading a file\n")
        })?,
    };
    if name != "data" {
        return Ok(content);
    }
    Ok(content.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
