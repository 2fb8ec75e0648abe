//! One request's way: find its route, connect to an endpoint, forward, answer.
//!
//! | what happens | the client gets |
//! |---|---|
//! | no route | 404 |
//! | the route's Service has no endpoint, or does not exist | 503 |
//! | every endpoint refuses, or one breaks off | 502 |
//! | no endpoint can be reached in time, or one is silent for too long | 504 |
//! | the client does not send the rest of its request | 408 |
//! | a host with TLS is asked for without | 308 to the same on TLS |
//!
//! An endpoint that takes no connection is passed over for the next. A request of which nothing was sent is sent again;
//! one that may have arrived only if that does no harm: its method is idempotent and it has no body.

use std::{io, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use component_base::clock::Clock;
use http::{HeaderValue, Request, Response, StatusCode, header, request};
use http_body::Body as _;
use hyper::{body::Incoming, upgrade::OnUpgrade};

use crate::{
    access_log::AccessLog,
    activity::{Connection, Exchange},
    body::{Answer, Sent},
    decision::Decision,
    directory::Snapshot,
    headers::{self, Client},
    pool::{Failed, Lease, Pool},
    routes::{BackendPort, Route, bare_host},
    tunnel,
    upstreams::Upstream,
};

/// Endpoints that are tried for one request.
const TRIES: usize = 5;

/// What all connections share.
pub(crate) struct Proxy {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) pool: Pool,
    pub(crate) clock: Clock,
    pub(crate) log: AccessLog,
    pub(crate) spawn: Box<dyn Fn(futures::future::BoxFuture<'static, ()>) + Send + Sync>,
}

/// Why there is no answer of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusal(StatusCode, &'static str);

const BAD_REQUEST: Refusal = Refusal(StatusCode::BAD_REQUEST, "400 Bad Request\n");
const NO_ROUTE: Refusal = Refusal(StatusCode::NOT_FOUND, "default backend - 404\n");
const UNAVAILABLE: Refusal =
    Refusal(StatusCode::SERVICE_UNAVAILABLE, "503 Service Temporarily Unavailable\n");
const BAD_GATEWAY: Refusal = Refusal(StatusCode::BAD_GATEWAY, "502 Bad Gateway\n");
const TOO_SLOW: Refusal = Refusal(StatusCode::REQUEST_TIMEOUT, "408 Request Time-out\n");
const TOO_LATE: Refusal = Refusal(StatusCode::GATEWAY_TIMEOUT, "504 Gateway Time-out\n");

impl Refusal {
    fn answer(self) -> Response<Answer> {
        let mut response = Response::new(Answer::text(self.1));
        *response.status_mut() = self.0;
        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}

impl Proxy {
    /// Answers a request.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        client: &Client,
        connection: &Arc<Connection>,
    ) -> Response<Answer> {
        let exchange = connection.begin();
        let (mut head, body) = request.into_parts();
        let asked = self.log.asked(client.ip, &head.method, &head.uri, head.version, &head.headers);
        let snapshot = self.snapshot.load_full();
        let mut upstream = String::new();
        let mut endpoint = None;
        let response = match self.decide(&snapshot, &head, client) {
            Taken::Answer(response) => *response,
            Taken::Forward(host, route, target) => {
                upstream = upstream_name(&route);
                let to = Destination { host: &host, client, upstream: &target };
                let forwarded = self.forward(&mut head, body, to, &exchange, &mut endpoint).await;
                forwarded.unwrap_or_else(Refusal::answer)
            }
        };
        let mut entry = self.log.entry(asked, response.status());
        entry.upstream = upstream;
        entry.endpoint = endpoint;
        response.map(|body| body.logged(entry, exchange))
    }

    fn decide(&self, snapshot: &Snapshot, head: &request::Parts, client: &Client) -> Taken {
        let refuse = |refusal: Refusal| Taken::Answer(Box::new(refusal.answer()));
        // A tunnel is not what an Ingress offers.
        let host = headers::host_of(head).filter(|_| head.method != http::Method::CONNECT);
        let Some(host) = host else { return refuse(BAD_REQUEST) };
        match Decision::of(snapshot, host, head.uri.path(), client.tls) {
            Decision::Redirect => Taken::Answer(Box::new(redirect(snapshot, head, host))),
            Decision::NoRoute => refuse(NO_ROUTE),
            Decision::Unavailable(_) => refuse(UNAVAILABLE),
            Decision::Forward(route, upstream) => Taken::Forward(host.to_owned(), route, upstream),
        }
    }

    async fn forward(
        &self,
        head: &mut request::Parts,
        body: Incoming,
        to: Destination<'_>,
        exchange: &Exchange,
        tried: &mut Option<SocketAddr>,
    ) -> Result<Response<Answer>, Refusal> {
        let upgrade = headers::upgrade_of(head);
        let h2c = upgrade.is_none() && to.upstream.h2c;
        let ours = head.extensions.remove::<OnUpgrade>();
        headers::forward(head, to.host, to.client, upgrade.as_ref(), h2c);
        let is_empty = body.is_end_stream();
        let repeatable = is_empty && headers::is_idempotent(head) && upgrade.is_none();
        let sent = if is_empty { Sent::Nothing } else { Sent::Client(body, exchange.clone()) };
        if is_empty {
            exchange.sent();
        }
        let mut request = Request::from_parts(head.clone(), sent);
        let mut refusal = BAD_GATEWAY;
        for endpoint in to.upstream.rotation().take(TRIES) {
            *tried = Some(endpoint);
            // A connection that was kept may just have been closed at its other end: then a new one.
            for keep in [true, false] {
                let connection = if keep {
                    let Some(kept) = self.pool.kept(endpoint, h2c).await else { continue };
                    kept
                } else {
                    match self.pool.open(endpoint, h2c).await {
                        Ok(connection) => connection,
                        Err(error) => {
                            let late = error.kind() == io::ErrorKind::TimedOut;
                            refusal = if late { TOO_LATE } else { BAD_GATEWAY };
                            break;
                        }
                    }
                };
                exchange.touch();
                let sent = tokio::select! {
                    sent = self.pool.send(endpoint, connection, request, exchange) => sent,
                    () = exchange.silent_for(exchange.limits().silence) => {
                        return Err(if exchange.waits_for_client() { TOO_SLOW } else { TOO_LATE });
                    }
                };
                match sent {
                    Ok((response, lease)) => {
                        return Ok(self.pass_on(response, lease, ours, exchange));
                    }
                    Err(Failed::Unsent(whole)) => request = *whole,
                    Err(Failed::Sent(error)) => {
                        tracing::debug!(%endpoint, %error, "an endpoint broke off");
                        if !repeatable {
                            return Err(BAD_GATEWAY);
                        }
                        request = Request::from_parts(head.clone(), Sent::Nothing);
                        refusal = BAD_GATEWAY;
                    }
                }
            }
        }
        Err(refusal)
    }

    /// Makes an endpoint's answer the client's.
    fn pass_on(
        &self,
        mut response: Response<Incoming>,
        lease: Lease,
        ours: Option<OnUpgrade>,
        exchange: &Exchange,
    ) -> Response<Answer> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let theirs = hyper::upgrade::on(&mut response);
            let Some(ours) = ours else { return BAD_GATEWAY.answer() };
            // The tunnel keeps the client's place.
            (self.spawn)(Box::pin(tunnel::join(ours, theirs, exchange.clone())));
            // `Connection` and `Upgrade` go on: they are what was agreed.
            return response.map(|_| Answer::nothing());
        }
        headers::strip(response.headers_mut());
        response.map(|body| Answer::endpoint(body, lease))
    }
}

/// Where a request goes, and from whom.
#[derive(Clone, Copy)]
struct Destination<'a> {
    host: &'a str,
    client: &'a Client,
    upstream: &'a Upstream,
}

/// [`Decision`], with what the proxy does of it.
enum Taken {
    Answer(Box<Response<Answer>>),
    Forward(String, Arc<Route>, Arc<Upstream>),
}

/// The same URL on TLS: at the port where that is reached, if the request came by a port that it names.
fn redirect(snapshot: &Snapshot, head: &request::Parts, host: &str) -> Response<Answer> {
    let named = headers::port_of(host).is_some_and(|port| port != 80);
    let port = snapshot.ports[1].filter(|port| named && *port != 443);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let location = HeaderValue::from_str(&format!("https://{}{port}{path}", bare_host(host)));
    let Ok(location) = location else { return BAD_REQUEST.answer() };
    let mut response = Refusal(StatusCode::PERMANENT_REDIRECT, "308 Permanent Redirect\n").answer();
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn upstream_name(route: &Route) -> String {
    let Some(backend) = &route.backend else { return String::new() };
    let port = match &backend.port {
        BackendPort::Name(name) => name.clone(),
        BackendPort::Number(number) => number.to_string(),
    };
    format!("{}-{}-{port}", backend.service.namespace, backend.service.name)
}
