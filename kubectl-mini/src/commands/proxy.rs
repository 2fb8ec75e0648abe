//! `kubectl proxy`: the API of the cluster, and files, on a port of this machine, with the kubeconfig's credentials.
//!
//! Requests go over the program's one connection; one that wants to be upgraded gets a connection of its own that speaks
//! HTTP/1.1, and after the answer its bytes are carried. Whoever can reach the port acts as the kubeconfig's user, so
//! that a filter ([`Filter`]) asks of each request under which host name, for which path and by which method it comes.

mod files;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use client::Client;
use component_base::transport::{Endpoint, connect_http1};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use regex_lite::Regex;
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::{TcpListener, UnixListener},
};
use tokio_util::task::TaskTracker;

use crate::{
    cli::{Command, values::parse_i64},
    context::Context,
    errors::CommandError,
    generate::sources::go_io_error,
};

const PORT: i64 = 8001;
const ACCEPT_HOSTS: &str = r"^localhost$,^127\.0\.0\.1$,^\[::1\]$";
const ACCEPT_PATHS: &str = "^.*";
const REJECT_PATHS: &str = "^/api/.*/pods/.*/exec,^/api/.*/pods/.*/attach";
const REJECT_METHODS: &str = "^$";

/// Runs a proxy to the Kubernetes API server.
#[derive(clap::Args, Clone, Debug)]
pub struct Proxy {
    /// None that counts.
    pub arguments: Vec<String>,
    /// Regular expression for hosts that the proxy should accept.
    #[arg(long, default_value = ACCEPT_HOSTS)]
    pub accept_hosts: String,
    /// Regular expression for paths that the proxy should accept.
    #[arg(long, default_value = ACCEPT_PATHS)]
    pub accept_paths: String,
    /// The IP address on which to serve on.
    #[arg(long, default_value = "127.0.0.1")]
    pub address: String,
    /// Prefix to serve the proxied API under.
    #[arg(long, default_value = "/")]
    pub api_prefix: String,
    /// If true, disable request filtering in the proxy. This is dangerous, and can leave you vulnerable to XSRF attacks,
    /// when used with an accessible port.
    #[arg(long)]
    pub disable_filter: bool,
    /// The port on which to run the proxy. Set to 0 to pick a random port.
    #[arg(long, short = 'p', default_value_t = PORT, value_parser = parse_i64)]
    pub port: i64,
    /// Regular expression for HTTP methods that the proxy should reject (example
    /// --reject-methods='POST,PUT,PATCH').
    #[arg(long, default_value = REJECT_METHODS)]
    pub reject_methods: String,
    /// Regular expression for paths that the proxy should reject. Paths specified here will be rejected even accepted by
    /// --accept-paths.
    #[arg(long, default_value = REJECT_PATHS)]
    pub reject_paths: String,
    /// Unix socket on which to run the proxy.
    #[arg(long, short = 'u', default_value = "")]
    pub unix_socket: String,
    /// Also serve static files from the given directory under the specified prefix.
    #[arg(long, short = 'w', default_value = "")]
    pub www: String,
    /// Prefix to serve static files under, if static file directory is specified.
    #[arg(long, short = 'P', default_value = "/static/")]
    pub www_prefix: String,
}

impl Command for Proxy {
    const NAME: &'static str = "proxy";
    const ABOUT: &'static str = "Run a proxy to the Kubernetes API server";
    const USAGE: &'static str =
        "proxy [--port=PORT] [--www=static-dir] [--www-prefix=prefix] [--api-prefix=prefix]";
    const HELP: &'static str = "Serve the API of the cluster on a port of this machine, with the kubeconfig's credentials, and static files besides if asked to.";
    const EXAMPLES: &'static str = "# The whole API on port 8001
kubectl-mini proxy

# On any free port, the API below /k8s-api/ and the files of a directory below /static/
kubectl-mini proxy --port=0 --www=./my-files --api-prefix=/k8s-api/";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if self.port != PORT && !self.unix_socket.is_empty() {
            return Err(CommandError::message(
                "cannot set --unix-socket and --port at the same time",
            ));
        }
        let server = Arc::new(Server::new(&self, context)?);
        let tasks = TaskTracker::new();
        if !self.unix_socket.is_empty() {
            let listener = UnixListener::bind(&self.unix_socket).map_err(|error| {
                let why = go_io_error(&error);
                CommandError::message(format!("listen unix {}: bind: {why}", self.unix_socket))
            })?;
            context.print(&format!("Starting to serve on {}\n", self.unix_socket))?;
            loop {
                if let Ok((socket, _)) = listener.accept().await {
                    tasks.spawn(serve(socket, server.clone(), tasks.clone()));
                }
            }
        }
        let ip = self.address.parse().map_err(|_| {
            let address = &self.address;
            CommandError::message(format!("listen tcp: lookup {address}: no such host"))
        })?;
        let port = u16::try_from(self.port).map_err(|_| {
            CommandError::message(format!("listen tcp: address {}: invalid port", self.port))
        })?;
        let address = SocketAddr::new(ip, port);
        let listener = TcpListener::bind(address).await.map_err(|error| {
            CommandError::message(format!("listen tcp {address}: bind: {}", go_io_error(&error)))
        })?;
        let bound = listener.local_addr().unwrap_or(address);
        context.print(&format!("Starting to serve on {bound}\n"))?;
        loop {
            if let Ok((socket, _)) = listener.accept().await {
                tasks.spawn(serve(socket, server.clone(), tasks.clone()));
            }
        }
    }
}

/// Which requests are let through.
struct Filter {
    accept_hosts: Vec<Regex>,
    accept_paths: Vec<Regex>,
    reject_paths: Vec<Regex>,
    reject_methods: Vec<Regex>,
}

impl Filter {
    fn new(proxy: &Proxy) -> Result<Self, CommandError> {
        let read = |texts: &str| -> Result<Vec<Regex>, CommandError> {
            let wrong = |error| CommandError::message(format!("error parsing regexp: {error}"));
            texts.split(',').map(|text| Regex::new(text).map_err(wrong)).collect()
        };
        Ok(Self {
            accept_hosts: read(&proxy.accept_hosts)?,
            accept_paths: read(&proxy.accept_paths)?,
            reject_paths: read(&proxy.reject_paths)?,
            reject_methods: read(&proxy.reject_methods)?,
        })
    }

    fn accepts(&self, method: &str, path: &str, host: &str) -> bool {
        let any = |rules: &[Regex], text: &str| rules.iter().any(|rule| rule.is_match(text));
        !any(&self.reject_paths, path)
            && !any(&self.reject_methods, method)
            && any(&self.accept_hosts, host)
            && any(&self.accept_paths, path)
    }
}

/// The host of a `Host` header without its port.
fn bare_host(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|b| b.is_ascii_digit()) => bare,
        _ => host,
    }
}

struct Server {
    client: Client,
    endpoint: Endpoint,
    filter: Option<Filter>,
    api_prefix: String,
    files: Option<(String, PathBuf)>,
}

type Answer = Response<UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>>;

fn boxed<B>(body: B) -> UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// What Go's `http.Error` writes.
fn error(code: StatusCode, text: &str) -> Answer {
    let mut response = Response::new(boxed(Full::from(format!("{text}\n"))));
    *response.status_mut() = code;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn slashed(prefix: &str) -> String {
    if prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") }
}

impl Server {
    fn new(proxy: &Proxy, context: &Context) -> Result<Self, CommandError> {
        let filter = if proxy.disable_filter { None } else { Some(Filter::new(proxy)?) };
        if filter.is_none() && proxy.unix_socket.is_empty() {
            context.print_err(
                "Request filter disabled, your proxy is vulnerable to XSRF attacks, please be cautious\n",
            )?;
        }
        let files =
            (!proxy.www.is_empty()).then(|| (slashed(&proxy.www_prefix), proxy.www.clone().into()));
        Ok(Self {
            client: context.client()?.clone(),
            endpoint: context.resolved()?.endpoint.clone(),
            filter,
            api_prefix: slashed(&proxy.api_prefix),
            files,
        })
    }

    async fn answer(&self, request: Request<Incoming>, tasks: &TaskTracker) -> Answer {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = bare_host(host.unwrap_or_default());
        let (method, path) = (request.method().as_str(), request.uri().path());
        if let Some((prefix, folder)) = &self.files
            && let Some(name) = path.strip_prefix(prefix.as_str())
            && prefix.len() >= self.api_prefix.len()
        {
            return files::serve(folder, name).await;
        }
        let Some(rest) = api_path(path, &self.api_prefix) else {
            return error(StatusCode::NOT_FOUND, "404 page not found");
        };
        if self.filter.as_ref().is_some_and(|filter| !filter.accepts(method, &rest, host)) {
            return error(StatusCode::FORBIDDEN, "Forbidden");
        }
        let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
        let target = format!("{rest}{query}");
        let answer = if is_upgrade(&request) {
            self.upgraded(request, &target, tasks).await
        } else {
            self.forwarded(request, &target).await
        };
        answer.unwrap_or_else(|why| error(StatusCode::INTERNAL_SERVER_ERROR, &why))
    }

    async fn forwarded(&self, request: Request<Incoming>, target: &str) -> Result<Answer, String> {
        let (mut parts, body) = request.into_parts();
        parts.uri = target.parse().map_err(|error| format!("{error}"))?;
        parts.version = http::Version::HTTP_2;
        for name in HOP_BY_HOP {
            parts.headers.remove(name);
        }
        parts.extensions.clear();
        let request = Request::from_parts(parts, tonic::body::Body::new(body));
        let answer = self.client.http(request).await.map_err(|status| status.message)?;
        Ok(answer.map(boxed))
    }

    /// A connection of its own, whose bytes are carried once both sides have agreed.
    async fn upgraded(
        &self,
        mut request: Request<Incoming>,
        target: &str,
        tasks: &TaskTracker,
    ) -> Result<Answer, String> {
        let wrong = |error: hyper::Error| error.to_string();
        let client = hyper::upgrade::on(&mut request);
        let stream = connect_http1(&self.endpoint).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(wrong)?;
        tasks.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "an upgraded connection broke");
            }
        });
        *request.uri_mut() = target.parse().map_err(|error| format!("{error}"))?;
        self.client.sign(request.headers_mut());
        let mut answer = sender.send_request(request).await.map_err(wrong)?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let server = hyper::upgrade::on(&mut answer);
            tasks.spawn(async move {
                if let Ok((client, server)) = futures::try_join!(client, server) {
                    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
                    // Whoever breaks it off ends it for both.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
        Ok(answer.map(boxed))
    }
}

/// What belongs to one connection and is not passed on.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

fn is_upgrade(request: &Request<Incoming>) -> bool {
    let values = request.headers().get_all(header::CONNECTION).into_iter();
    let mut tokens = values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

/// The API's own path behind the prefix; a prefix that begins like the API's paths stays.
fn api_path(path: &str, prefix: &str) -> Option<String> {
    let rest = path.strip_prefix(prefix)?;
    Some(if prefix.starts_with("/api") { path.to_owned() } else { format!("/{rest}") })
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    server: Arc<Server>,
    tasks: TaskTracker,
) {
    let service = service_fn(|request: Request<Incoming>| {
        let (server, tasks) = (server.clone(), tasks.clone());
        async move { Ok::<_, std::convert::Infallible>(server.answer(request, &tasks).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
    if let Err(error) = connection.with_upgrades().await {
        tracing::debug!(%error, "a client's connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_hosts_and_sessions_are_kept_out() {
        let filter = Filter {
            accept_hosts: ACCEPT_HOSTS.split(',').map(|t| Regex::new(t).unwrap()).collect(),
            accept_paths: vec![Regex::new(ACCEPT_PATHS).unwrap()],
            reject_paths: REJECT_PATHS.split(',').map(|t| Regex::new(t).unwrap()).collect(),
            reject_methods: vec![Regex::new(REJECT_METHODS).unwrap()],
        };
        let check = |method: &str, path: &str, host: &str, expected| {
            assert_eq!(filter.accepts(method, path, bare_host(host)), expected, "{path} {host}");
        };
        check("GET", "/api/v1/pods", "localhost:8001", true);
        check("POST", "/api/v1/pods", "127.0.0.1", true);
        check("GET", "/", "[::1]:8001", true);
        check("GET", "/api/v1/pods", "example.com", false);
        check("GET", "/api/v1/namespaces/a/pods/b/exec", "localhost", false);
        check("GET", "/api/v1/namespaces/a/pods/b/attach?x", "localhost", false);
    }

    #[test]
    fn the_prefix_goes() {
        let check = |path: &str, prefix: &str, expected: Option<&str>| {
            assert_eq!(api_path(path, prefix).as_deref(), expected, "{path} {prefix}");
        };
        check("/api/v1", "/", Some("/api/v1"));
        check("/", "/", Some("/"));
        check("/custom/api/v1", "/custom/", Some("/api/v1"));
        check("/api/v1", "/custom/", None);
        check("/api/v1", "/api/", Some("/api/v1"));
    }
}
