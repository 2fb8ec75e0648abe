//! `pods/NAME/proxy`, `services/NAME/proxy` and `nodes/NAME/proxy`: HTTP through the API server into the cluster.
//!
//! The chain allows the request and finds the backend ([`crate::handler::proxy`]); the kubelet of the backend's node makes
//! the connection ([`tunnel`]), for the API server is not on the pods' network; HTTP/1.1 is spoken over it. The client's
//! path behind `/proxy`, its query, headers and body are carried, hop-by-hop headers are not, and no credential is: the
//! `Authorization` header and impersonation were for us. What comes back is carried too, as Kubernetes' proxy changes it:
//!
//! | in the answer | is |
//! |---|---|
//! | `Location`, links of HTML pages | rewritten to lead through the proxy ([`location`], [`html`]) |
//! | `Access-Control-*` | taken away: a pod must not open the API to foreign pages |
//! | 101 after an upgrade | the start of raw bytes both ways |
//!
//! Who cannot be reached is a 503 that says why; a path that is empty leads to `/` by a 301, as relative links need it.

mod html;
mod location;
mod page;
mod tunnel;

use std::net::SocketAddr;

use apimachinery::status::Status;
use axum::{body::Body, response::Response};
use component_base::transport::unverified_tls;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request::Parts,
};
use hyper::{body::Incoming, client::conn::http1, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use self::location::Place;
use super::{Inner, text};
use crate::{
    handler::proxy::ProxyTarget,
    request::{RequestContext, Verb},
};

/// What belongs to one connection and is not passed on.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const CORS: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

type Sender = http1::SendRequest<Body>;

impl Inner {
    /// A request for a proxy subresource.
    pub(super) async fn proxy(
        &self,
        mut context: RequestContext,
        parts: Parts,
        body: Body,
        peer: Option<SocketAddr>,
    ) -> Result<Response, Status> {
        let (verb, asked) = match parts.method {
            Method::GET | Method::HEAD => (Verb::Get, "get"),
            Method::POST => (Verb::Create, "create"),
            Method::PUT => (Verb::Update, "update"),
            Method::PATCH => (Verb::Patch, "patch"),
            Method::DELETE => (Verb::Delete, "delete"),
            // No word of RBAC's means it: only who may do everything may do this.
            Method::OPTIONS => (Verb::Get, ""),
            _ => {
                return Err(Status::method_not_allowed(context.resource, parts.method.as_str()));
            }
        };
        context.verb = verb;
        let target = self.handler.proxy_target(&context, asked).await?;
        let (prefix, path) = split(parts.uri.path(), context.resource.namespaced);
        if is_upgrade(&parts.headers) {
            let path = path.to_owned();
            return self.upgraded(&target, &path, parts, body, peer).await;
        }
        if path.is_empty() && matches!(parts.method, Method::GET | Method::HEAD) {
            return Ok(to_root(&parts.uri));
        }
        let place = Place {
            prefix: prefix.to_owned(),
            backend: target.host.clone(),
            host: host_of(&parts),
        };
        let forwarded = location::join(prefix, path);
        let mut request = outgoing(&parts, path, body, peer)?;
        let headers = request.headers_mut();
        strip(headers, &HOP_BY_HOP);
        if let Ok(uri) = HeaderValue::from_str(&forwarded) {
            headers.insert(FORWARDED_URI, uri);
        }
        let unreachable = |why: &str| {
            Status::service_unavailable(format!("error trying to reach service: {why}"))
        };
        let mut backend =
            self.connect(&target).await.map_err(|status| unreachable(&status.message))?;
        let response = backend.send_request(request).await.map_err(|e| unreachable(&told(&e)))?;
        Ok(incoming(response, place))
    }

    /// A connection to the backend that is ready for a request.
    async fn connect(&self, target: &ProxyTarget) -> Result<Sender, Status> {
        let kubelet = self.kubelets.dial(&target.node)?;
        let (stream, carrying) = tunnel::open(kubelet, target.start.clone()).await?;
        self.while_serving(carrying);
        if target.tls {
            // Kubernetes does not ask whose certificate it is either: nobody could have told it.
            let stream =
                unverified_tls(stream, &target.host).await.map_err(Status::service_unavailable)?;
            return self.shake_hands(stream).await;
        }
        self.shake_hands(stream).await
    }

    async fn shake_hands<S>(&self, stream: S) -> Result<Sender, Status>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            shaken.map_err(|error| Status::service_unavailable(told(&error)))?;
        self.while_serving(async {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a proxied connection broke");
            }
        });
        Ok(sender)
    }

    /// Runs a task that ends with the server.
    fn while_serving(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ending = self.streams_end.clone();
        self.streams.spawn(async move {
            tokio::select! {
                () = task => {}
                () = ending.cancelled() => {}
            }
        });
    }

    /// A request that asks for another protocol: passed on as it is, and after the answer the bytes are.
    async fn upgraded(
        &self,
        target: &ProxyTarget,
        path: &str,
        mut parts: Parts,
        body: Body,
        peer: Option<SocketAddr>,
    ) -> Result<Response, Status> {
        let client = parts.extensions.remove::<OnUpgrade>().ok_or_else(|| {
            Status::bad_request("unable to upgrade: only a connection of HTTP/1.1 can be upgraded")
        })?;
        let request = outgoing(&parts, path, body, peer)?;
        let mut backend = self.connect(target).await.map_err(|status| plain(&status.message))?;
        let sent = backend.send_request(request).await;
        let mut response = sent.map_err(|error| plain(&told(&error)))?;
        let code = response.status();
        if code != StatusCode::SWITCHING_PROTOCOLS {
            if code.as_u16() < 400 {
                let code = code.as_u16();
                return Err(plain(&format!("invalid upgrade response: status code {code}")));
            }
            strip(response.headers_mut(), &HOP_BY_HOP);
            return Ok(response.map(Body::new));
        }
        let server = hyper::upgrade::on(&mut response);
        self.while_serving(async {
            let (client, server) = match futures::try_join!(client, server) {
                Ok(both) => both,
                Err(error) => return tracing::debug!(%error, "a proxied upgrade broke"),
            };
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            // Whoever breaks it off ends it for both.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
        Ok(response.map(|_| Body::empty()))
    }
}

/// What Kubernetes makes of an error that has no reason.
fn plain(message: &str) -> Status {
    Status {
        code: 500,
        message: message.to_owned(),
        reason: apimachinery::status::StatusReason::Unknown,
        ..Status::default()
    }
}

/// hyper's error in Go's words.
fn told(error: &hyper::Error) -> String {
    if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
}

/// The path up to `/proxy`, and the server's own path behind it.
fn split(path: &str, namespaced: bool) -> (&str, &str) {
    // /api/v1/namespaces/NAMESPACE/pods/NAME/proxy, /api/v1/nodes/NAME/proxy
    let mut left = if namespaced { 7 } else { 5 };
    let mut within = false;
    for (at, byte) in path.bytes().enumerate() {
        match (byte, within) {
            (b'/', true) => {
                within = false;
                if left == 0 {
                    return path.split_at(at);
                }
            }
            (b'/', false) => {}
            (_, false) => {
                within = true;
                left -= 1;
            }
            (_, true) => {}
        }
    }
    (path, "")
}

fn to_root(uri: &Uri) -> Response {
    let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(to) = HeaderValue::from_str(&format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let tokens = headers.get_all(header::CONNECTION).into_iter();
    let mut tokens = tokens.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
}

fn host_of(parts: &Parts) -> String {
    match text(&parts.headers, header::HOST) {
        "" => parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
        host => host.to_owned(),
    }
}

/// Takes headers away, and those that `Connection` names.
fn strip(headers: &mut HeaderMap, names: &[HeaderName]) {
    let listed: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in listed.iter().chain(names) {
        headers.remove(name);
    }
}

/// The client's request as the backend gets it, hop-by-hop headers still there.
fn outgoing(
    parts: &Parts,
    path: &str,
    body: Body,
    peer: Option<SocketAddr>,
) -> Result<http::Request<Body>, Status> {
    let path = if path.is_empty() { "/" } else { path };
    let query = parts.uri.query().map_or(String::new(), |query| format!("?{query}"));
    let mut request = http::Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = format!("{path}{query}")
        .parse()
        .map_err(|error| Status::bad_request(format!("invalid path {path:?}: {error}")))?;
    let mut headers = parts.headers.clone();
    headers.remove(header::AUTHORIZATION);
    let personal: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in personal {
        headers.remove(name);
    }
    if let Ok(host) = HeaderValue::from_str(&host_of(parts)) {
        headers.insert(header::HOST, host);
    }
    if let Some(peer) = peer {
        let before = headers.get_all(FORWARDED_FOR).into_iter();
        let ip = peer.ip().to_string();
        let all = before.filter_map(|value| value.to_str().ok()).chain([ip.as_str()]);
        let all = all.collect::<Vec<_>>().join(", ");
        if let Ok(all) = HeaderValue::from_str(&all) {
            headers.insert(FORWARDED_FOR, all);
        }
    }
    *request.headers_mut() = headers;
    Ok(request)
}

/// The backend's answer as the client gets it.
fn incoming(response: http::Response<Incoming>, place: Place) -> Response {
    let (mut parts, body) = response.into_parts();
    let headers = &mut parts.headers;
    strip(headers, &HOP_BY_HOP);
    for name in &CORS {
        headers.remove(name);
    }
    let location = text(headers, header::LOCATION).to_owned();
    if !location.is_empty() {
        if let Ok(rewritten) = HeaderValue::from_str(&place.rewrite(&location)) {
            headers.insert(header::LOCATION, rewritten);
        }
        return Response::from_parts(parts, Body::new(body));
    }
    let kind = text(headers, header::CONTENT_TYPE).split(';').next().unwrap_or("").trim();
    if kind != "text/html" {
        return Response::from_parts(parts, Body::new(body));
    }
    let encoding = text(headers, header::CONTENT_ENCODING).to_owned();
    match page::rewritten(body, &encoding, place) {
        Ok(page) => {
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, page)
        }
        Err(body) => Response::from_parts(parts, Body::new(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_path_is_behind_proxy() {
        let check = |path: &str, namespaced, expected: (&str, &str)| {
            assert_eq!(split(path, namespaced), expected, "{path}");
        };
        let pod = "/api/v1/namespaces/a/pods/b:80/proxy";
        check(pod, true, (pod, ""));
        check(&format!("{pod}/"), true, (pod, "/"));
        check(&format!("{pod}/x//y%2Fz/"), true, (pod, "/x//y%2Fz/"));
        check("/api/v1/nodes/n/proxy/pods", false, ("/api/v1/nodes/n/proxy", "/pods"));
        check("//api/v1/nodes/n/proxy", false, ("//api/v1/nodes/n/proxy", ""));
    }
}
