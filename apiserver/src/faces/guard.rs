//! What every request meets first, whichever face it is for.
//!
//! - An address has a length (414).
//! - A request's body must come in time, and all bodies that are being read or worked on share a bounded memory. A client
//!   may fill as much of it as it leaves free, so that one alone never gets all (429).
//! - A request is recorded, where there is a policy for that ([`crate::audit`]).
//! - A panic in a face is the request's failure (500), as one in the chain is.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use apimachinery::status::Status;
use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use client::wire::from_tonic;
use component_base::{
    clock::Clock,
    transport::{ConnectionInfo, PeerIdentity},
};
use futures::FutureExt;
use http::HeaderValue;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use super::rest::error_response;
use crate::{
    audit::{Audit, Record, Source},
    handler::{panicked, timed_out},
};

/// The longest path with its query.
const MAX_URI: usize = 32 * 1024;
/// Bytes of bodies at one time, of all clients.
const BODIES: usize = 256 * 1024 * 1024;
/// Calls whose bodies are conversations: they take their time, and nothing gathers them.
const CONVERSATIONS: &str = "/kubemini.v1.Streams/";

/// What guards all requests of a server.
pub(crate) struct Guard {
    clock: Clock,
    /// For a body.
    timeout: Duration,
    bodies: Arc<Bodies>,
    audit: Option<Arc<Audit>>,
}

impl Guard {
    pub(crate) fn new(clock: Clock, timeout: Duration, audit: Option<Audit>) -> Self {
        Self { clock, timeout, bodies: Bodies::new(BODIES), audit: audit.map(Arc::new) }
    }

    /// Sets the guard before everything that `router` serves.
    pub(crate) fn before(self, router: Router) -> Router {
        router.layer(from_fn_with_state(Arc::new(self), serve))
    }

    /// The record of a request, which both faces find in its extensions.
    fn record(&self, request: &mut Request) -> Option<Arc<Record>> {
        let audit = self.audit.as_ref()?;
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let address = request.extensions().get::<ConnectionInfo>().and_then(|info| info.peer_addr);
        let record = audit.record(Source {
            uri: request.uri().path_and_query().map_or("/", |uri| uri.as_str()).to_owned(),
            id: header("audit-id").map(ToOwned::to_owned),
            address: address.map(|address| address.ip().to_string()).unwrap_or_default(),
            user_agent: header("user-agent").unwrap_or("").to_owned(),
        });
        request.extensions_mut().insert(record.clone());
        Some(record)
    }

    fn guard_body(&self, request: Request) -> (Request, Arc<Reserved>) {
        let client = Client::of(request.extensions().get::<ConnectionInfo>());
        let reserved =
            Arc::new(Reserved { bodies: self.bodies.clone(), client, held: Mutex::new(0) });
        let conversation = request.uri().path().starts_with(CONVERSATIONS);
        if conversation || request.body().is_end_stream() {
            return (request, reserved);
        }
        let due = self.clock.monotonic() + self.timeout;
        let request = request.map(|body| {
            Body::new(Guarded {
                body,
                clock: self.clock.clone(),
                due,
                late: None,
                reserved: reserved.clone(),
            })
        });
        (request, reserved)
    }
}

async fn serve(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let length = request.uri().path_and_query().map_or(0, |uri| uri.as_str().len());
    if length > MAX_URI {
        return error_response(&Status::uri_too_long(MAX_URI));
    }
    // Held until the answer is known: so long the body may be in memory.
    let (mut request, _reserved) = guard.guard_body(request);
    let record = guard.record(&mut request);
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|_| {
        record.iter().for_each(|record| record.panicked());
        error_response(&panicked())
    });
    match record {
        Some(record) => recorded(answer, record),
        None => answer,
    }
}

/// Tells the record of the answer, which then holds it until it is sent.
fn recorded(mut answer: Response, record: Arc<Record>) -> Response {
    let refused = answer.extensions_mut().remove::<Refused>().map(|Refused(status)| status);
    let by_grpc = || tonic::Status::from_header_map(answer.headers());
    let by_grpc = refused.is_none().then(by_grpc).flatten();
    let failed = by_grpc.filter(|status| status.code() != tonic::Code::Ok);
    if let Some(status) = refused.or_else(|| failed.map(|status| from_tonic(&status))) {
        record.failed(&status);
    }
    record.started(answer.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(record.id()) {
        answer.headers_mut().insert("audit-id", id);
    }
    answer.map(|body| Body::new(Recorded { body, _record: record }))
}

/// The status of an answer that is one, beside its text.
#[derive(Clone)]
pub(super) struct Refused(pub(super) Status);

/// An answer's body that holds the request's record.
struct Recorded {
    body: Body,
    _record: Arc<Record>,
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whose bodies share one part of the memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    User(String),
    Address(Option<IpAddr>),
}

impl Client {
    fn of(connection: Option<&ConnectionInfo>) -> Self {
        match connection.map(|info| (&*info.identity, info.peer_addr)) {
            Some((PeerIdentity::Certificate { user, .. }, _))
            | Some((PeerIdentity::InProcess { user, .. }, _)) => Self::User(user.clone()),
            Some((PeerIdentity::Unix { .. } | PeerIdentity::Anonymous, address)) => {
                Self::Address(address.map(|address| address.ip()))
            }
            None => Self::Address(None),
        }
    }
}

/// The memory of all bodies.
struct Bodies {
    limit: usize,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    all: usize,
    by_client: HashMap<Client, usize>,
}

impl Bodies {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: Mutex::default() })
    }

    /// A client takes more, if that leaves as much free as it then has.
    fn take(&self, client: &Client, more: usize) -> bool {
        let mut used = self.used.lock();
        let own = used.by_client.get(client).copied().unwrap_or(0) + more;
        if used.all + more + own > self.limit {
            return false;
        }
        used.all += more;
        used.by_client.insert(client.clone(), own);
        true
    }

    fn give_back(&self, client: &Client, bytes: usize) {
        let mut used = self.used.lock();
        used.all -= bytes;
        let own = used.by_client.get(client).copied().unwrap_or(0) - bytes;
        if own == 0 {
            used.by_client.remove(client);
        } else {
            used.by_client.insert(client.clone(), own);
        }
    }
}

/// What one request's body holds of the memory.
struct Reserved {
    bodies: Arc<Bodies>,
    client: Client,
    held: Mutex<usize>,
}

impl Reserved {
    fn take(&self, more: usize) -> bool {
        let taken = self.bodies.take(&self.client, more);
        if taken {
            *self.held.lock() += more;
        }
        taken
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let held = *self.held.lock();
        if held > 0 {
            self.bodies.give_back(&self.client, held);
        }
    }
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyRefused {
    /// It did not come in time.
    Late,
    /// Too many bytes of bodies are in memory.
    NoRoom,
}

impl BodyRefused {
    /// The reason behind `error`, if it is one of these.
    pub(super) fn behind(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.find_map(|error| error.downcast_ref::<Self>().copied())
    }

    /// What the client is told.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Late => timed_out(),
            Self::NoRoom => {
                Status::too_many_requests("Too many requests, please try again later.", 1)
            }
        }
    }
}

impl fmt::Display for BodyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Late => "the body did not come in time",
            Self::NoRoom => "there is no room for more bodies",
        })
    }
}

impl std::error::Error for BodyRefused {}

/// A request's body with its deadline and its share of the memory.
struct Guarded {
    body: Body,
    clock: Clock,
    due: Duration,
    /// Made when the body is waited for.
    late: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    reserved: Arc<Reserved>,
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            let length = match &frame {
                Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            if length > 0 && !this.reserved.take(length) {
                return Poll::Ready(Some(Err(axum::Error::new(BodyRefused::NoRoom))));
            }
            return Poll::Ready(frame);
        }
        let late = this.late.get_or_insert_with(|| Box::pin(this.clock.sleep_until(this.due)));
        late.as_mut().poll(context).map(|()| Some(Err(axum::Error::new(BodyRefused::Late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: &Router, request: Request) -> (u16, String) {
        let answer = router.clone().oneshot(request).await.unwrap();
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    fn request(method: &str, path: &str, body: Body) -> Request {
        http::Request::builder().method(method).uri(path).body(body).unwrap()
    }

    /// A server that says how long a body is, or why it was not read.
    fn server(clock: Clock, bodies: usize) -> Router {
        let mut guard = Guard::new(clock, Duration::from_secs(60), None);
        guard.bodies = Bodies::new(bodies);
        let read = async |body: Body| match body.collect().await {
            Ok(body) => body.to_bytes().len().to_string(),
            Err(error) => format!("{:?}", BodyRefused::behind(&error)),
        };
        let routes = Router::new()
            .route("/read", post(read))
            .route("/panic", get(async || -> String { panic!("of a test") }));
        guard.before(routes)
    }

    #[tokio::test]
    async fn a_panic_is_the_requests_failure() {
        let server = server(Clock::real(), 1 << 20);
        let (code, text) = ask(&server, request("GET", "/panic", Body::empty())).await;
        assert_eq!(code, 500);
        assert!(text.contains(r#""reason":"InternalError""#), "{text}");
        assert_eq!(ask(&server, request("POST", "/read", Body::from("abc"))).await.1, "3");
    }

    #[tokio::test]
    async fn addresses_have_a_length() {
        let server = server(Clock::real(), 1 << 20);
        let path = format!("/{}", "x".repeat(MAX_URI));
        let (code, text) = ask(&server, request("GET", &path, Body::empty())).await;
        assert_eq!(code, 414);
        assert!(text.contains(r#""kind":"Status""#), "{text}");
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_not_waited_for() {
        let (clock, time) = Clock::test(jiff::Timestamp::UNIX_EPOCH);
        let server = server(clock, 1 << 20);
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, axum::Error>>());
        let asking = ask(&server, request("POST", "/read", never));
        let ((_, text), ()) = tokio::join!(asking, time.advance(Duration::from_secs(60)));
        assert_eq!(text, "Some(Late)");
    }

    #[tokio::test]
    async fn one_client_never_has_all_the_room() {
        let bodies = Bodies::new(100);
        let reserved = |name: &str| Reserved {
            bodies: bodies.clone(),
            client: Client::User(name.to_owned()),
            held: Mutex::new(0),
        };
        let hog = reserved("hog");
        assert!(hog.take(50) && !hog.take(1));
        let modest = reserved("modest");
        assert!(modest.take(25) && !modest.take(1), "half of what was left");
        drop(hog);
        assert!(modest.take(12));
        drop(modest);
        assert_eq!(bodies.used.lock().all, 0);
        assert!(bodies.used.lock().by_client.is_empty());

        let server = server(Clock::real(), 100);
        let large = request("POST", "/read", Body::from("x".repeat(51)));
        assert_eq!(ask(&server, large).await.1, "Some(NoRoom)");
        // What was taken is given back with the answer.
        for _ in 0..5 {
            let small = request("POST", "/read", Body::from("x".repeat(50)));
            assert_eq!(ask(&server, small).await.1, "50");
        }
    }
}
