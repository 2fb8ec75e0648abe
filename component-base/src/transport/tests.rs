//! Every way in, every identity, and the enemies at the socket.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    http::{Request, Uri},
    routing::get,
};
use futures::{
    Stream, StreamExt,
    stream::{pending, repeat},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tower::ServiceExt;

use super::{
    ConnectionInfo, Endpoint, Limits, Listener, PeerIdentity, TlsEndpoint, channel, serve,
};
use crate::{
    clock::Clock,
    tls::{CertSpec, CertificateAuthority, KeyPair, server_config},
};

const LOCALHOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// Long enough for any machine; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

type Piece = Result<Bytes, Infallible>;

fn piece(length: usize) -> Piece {
    Ok(vec![0; length].into())
}

fn once() -> impl Stream<Item = Piece> {
    futures::stream::once(async { piece(1) })
}

/// A server whose answer is the caller's identity, until dropped.
struct Running {
    tasks: TaskTracker,
    stop: Option<DropGuard>,
}

impl Running {
    fn start(listener: Listener) -> Self {
        let router = Router::new()
            .route(
                "/whoami",
                get(|Extension(info): Extension<ConnectionInfo>| async move {
                    format!("{:?}", info.identity)
                }),
            )
            .route("/forever", get(std::future::pending::<()>))
            .route("/endless", get(async || Body::from_stream(once().chain(pending()))))
            .route("/flood", get(async || Body::from_stream(repeat(piece(64 << 10)))));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        tasks.spawn(serve(listener, router, stop.clone()));
        Self { tasks, stop: Some(stop.drop_guard()) }
    }

    async fn stop(mut self) {
        self.stop = None;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

struct Pki {
    authority: CertificateAuthority,
    serving: KeyPair,
}

impl Pki {
    fn new() -> Self {
        let now = jiff::Timestamp::now();
        let authority = CertificateAuthority::create("kubernetes", now).unwrap();
        let serving = CertSpec::server("api", &["localhost"], &[Ipv4Addr::LOCALHOST.into()]);
        let serving = authority.issue(&serving, now).unwrap();
        Self { authority, serving }
    }

    fn listen(&self) -> Listener {
        let config = server_config(&self.serving, Some(self.authority.cert_pem())).unwrap();
        Listener::bind_tls(LOCALHOST, config).unwrap()
    }

    fn client(&self, user: &str, groups: &[&str]) -> KeyPair {
        self.authority.issue(&CertSpec::client(user, groups), jiff::Timestamp::now()).unwrap()
    }
}

fn tls_endpoint(listener: &Listener, ca: &str, client: Option<&KeyPair>) -> Endpoint {
    let address = listener.local_addr().unwrap().to_string();
    Endpoint::Tls(TlsEndpoint::new(&address, ca, client).unwrap())
}

/// A plain HTTP/2 request over the channel, the way tonic makes its own.
async fn whoami(endpoint: &Endpoint) -> Result<String, String> {
    let request =
        Request::get(Uri::from_static("http://localhost/whoami")).body(tonic::body::Body::empty());
    let answer = channel(endpoint).oneshot(request.unwrap());
    let response = Clock::real().timeout(PATIENCE, answer).await.expect("an answer in time");
    let response = response.map_err(|error| format!("{error:?}"))?;
    let body = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await.unwrap();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn identity_comes_with_each_kind_of_connection() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let pki = Pki::new();
    let mut running = Vec::new();
    let check = async |endpoint: Endpoint, expected: PeerIdentity| {
        assert_eq!(whoami(&endpoint).await.unwrap(), format!("{expected:?}"));
    };

    let listener = pki.listen();
    let ca = pki.authority.cert_pem();
    let admin = pki.client("kubernetes-admin", &["system:masters"]);
    let with_certificate = tls_endpoint(&listener, ca, Some(&admin));
    let anonymous = tls_endpoint(&listener, ca, None);
    running.push(Running::start(listener));
    check(
        with_certificate,
        PeerIdentity::Certificate {
            user: "kubernetes-admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
        },
    )
    .await;
    check(anonymous, PeerIdentity::Anonymous).await;

    running.push(Running::start(Listener::bind_unix(&path).unwrap()));
    let uid = rustix::process::geteuid().as_raw();
    let pid = i32::try_from(std::process::id()).ok();
    check(Endpoint::Unix { path }, PeerIdentity::Unix { uid, pid }).await;

    let (listener, connector) = Listener::in_process();
    running.push(Running::start(listener));
    check(Endpoint::InProcess(connector.clone()), PeerIdentity::Anonymous).await;
    check(
        Endpoint::InProcess(connector.with_identity("system:kube-scheduler", &["g"])),
        PeerIdentity::InProcess {
            user: "system:kube-scheduler".to_owned(),
            groups: vec!["g".to_owned()],
        },
    )
    .await;
    for server in running {
        server.stop().await;
    }
}

#[tokio::test]
async fn another_clusters_certificates_are_refused_on_both_sides() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let listener = ours.listen();
    let stranger = theirs.client("kubernetes-admin", &["system:masters"]);
    let wrong_client = tls_endpoint(&listener, ours.authority.cert_pem(), Some(&stranger));
    let wrong_server = tls_endpoint(&listener, theirs.authority.cert_pem(), None);
    let server_as_client = tls_endpoint(&listener, ours.authority.cert_pem(), Some(&ours.serving));
    let server = Running::start(listener);
    whoami(&wrong_client).await.unwrap_err();
    let error = whoami(&wrong_server).await.unwrap_err();
    assert!(error.contains("UnknownIssuer") || error.contains("BadSignature"), "{error}");
    whoami(&server_as_client).await.unwrap_err();
    server.stop().await;
}

#[tokio::test]
async fn a_channel_connects_again() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::Unix { path: directory.path().join("s") };
    let path: PathBuf = directory.path().join("s");
    let channel = channel(&endpoint);
    let ask = async || {
        let uri = Uri::from_static("http://localhost/whoami");
        let request = Request::get(uri).body(tonic::body::Body::empty()).unwrap();
        channel.clone().oneshot(request).await.is_ok()
    };
    assert!(!ask().await, "nobody listens yet");
    for _ in 0..2 {
        let server = Running::start(Listener::bind_unix(&path).unwrap());
        assert!(ask().await || ask().await, "at most the first call finds the old connection");
        server.stop().await;
        assert!(!path.exists());
    }
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let live = Listener::bind_unix(&path).unwrap();
    let error = Listener::bind_unix(&path).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(path.exists());
    drop(live);
    assert!(!path.exists());
    std::fs::write(&path, "a file").unwrap();
    Listener::bind_unix(&path).unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

/// Opens a TCP connection, sends `bytes`, and tells whether the server closes it in time.
async fn is_closed_after(address: SocketAddr, bytes: &[u8]) -> bool {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut rest = Vec::new();
    Clock::real().timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn slow_peers_are_cut() {
    let hasty = Limits {
        handshake: Duration::from_millis(50),
        headers: Duration::from_millis(50),
        ..Limits::default()
    };
    let tls = Pki::new().listen().with_limits(hasty);
    let plain = Listener::bind_plain(LOCALHOST).unwrap().with_limits(hasty);
    let (tls_address, plain_address) = (tls.local_addr().unwrap(), plain.local_addr().unwrap());
    let servers = [Running::start(tls), Running::start(plain)];
    let check = async |what: &str, address, bytes: &[u8]| {
        assert!(is_closed_after(address, bytes).await, "{what} was not cut");
    };
    check("no handshake", tls_address, b"").await;
    check("half a handshake", tls_address, b"\x16\x03\x01").await;
    check("silence", plain_address, b"").await;
    check("half an HTTP/2 preface", plain_address, b"PRI * HTTP/2.0\r\n").await;
    check("HTTP/2 without a request", plain_address, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    check("half a header", plain_address, b"GET /whoami HTTP/1.1\r\nHost: ").await;
    check(
        "silence after a request",
        plain_address,
        b"GET /whoami HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    for server in servers {
        server.stop().await;
    }
}

/// Connects, asks for `path`, and reads that it is answered.
async fn asks(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"HTTP/1.1 200", "{path}");
    stream
}

/// Reads until the server closes the connection; false if it does not in time.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    Clock::real().timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn newcomers_take_the_place_of_the_idle_and_never_of_the_busy() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let listener = Listener::bind_plain(LOCALHOST).unwrap().with_limits(limits);
    let address = listener.local_addr().unwrap();
    let server = Running::start(listener);
    let mut silent = [TcpStream::connect(address).await.unwrap(), asks(address, "/whoami").await];
    let busy = [asks(address, "/endless").await, asks(address, "/endless").await];
    for idle in &mut silent {
        assert!(is_closed(idle).await, "the idle ones have gone");
    }
    assert!(is_closed_after(address, b"").await, "a third has no place while two are at work");
    drop(busy);
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_silent_connections_shuts_nobody_out() {
    let limits = Limits { connections: 50, ..Limits::default() };
    let listener = Listener::bind_plain(LOCALHOST).unwrap().with_limits(limits);
    let address = listener.local_addr().unwrap();
    let server = Running::start(listener);
    let mut silent = Vec::new();
    for number in 0..500 {
        silent.push(TcpStream::connect(address).await.unwrap());
        if number % 100 == 99 {
            asks(address, "/whoami").await;
        }
    }
    assert!(is_closed(&mut silent[0]).await);
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_read_is_cut() {
    let limits = Limits { reading: Duration::from_millis(200), ..Limits::default() };
    let listener = Listener::bind_plain(LOCALHOST).unwrap().with_limits(limits);
    let address = listener.local_addr().unwrap();
    let server = Running::start(listener);
    // By HTTP/1 the socket is full, by HTTP/2 the request's window is shut while pings are answered.
    let mut unread = asks(address, "/flood").await;
    unread.readable().await.unwrap();
    let mut h2 = TcpStream::connect(address).await.unwrap();
    h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    h2.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    // GET http://localhost/flood: indexed :method and :scheme, literal :path, :authority.
    let headers = b"\x82\x86\x04\x06/flood\x01\x09localhost";
    h2.write_all(&[0, 0, headers.len() as u8, 1, 5, 0, 0, 0, 1]).await.unwrap();
    h2.write_all(headers).await.unwrap();
    assert!(is_closed(&mut h2).await, "HTTP/2");
    // Meanwhile, a watch that has nothing to tell keeps its connection.
    let mut quiet = asks(address, "/endless").await;
    // Reading would free it; writing fails once the other side is gone.
    let cut = async {
        while unread.write_all(b"x").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    Clock::real().timeout(PATIENCE, cut).await.expect("HTTP/1");
    let mut some = [0; 1024];
    loop {
        // Headers and the first piece; afterwards nothing, not even an end.
        match Clock::real().timeout(limits.reading * 4, quiet.read(&mut some)).await {
            Err(_) => break,
            Ok(read) => assert!(read.unwrap() > 0, "a quiet watch was cut"),
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn idle_connections_end() {
    let limits = Limits { idle: Duration::from_millis(100), ..Limits::default() };
    let listener = Listener::bind_plain(LOCALHOST).unwrap().with_limits(limits);
    let address = listener.local_addr().unwrap();
    let server = Running::start(listener);
    let mut kept = asks(address, "/whoami").await;
    assert!(is_closed(&mut kept).await);
    server.stop().await;
}

#[tokio::test]
async fn headers_and_addresses_have_a_size() {
    let listener = Listener::bind_plain(LOCALHOST).unwrap();
    let address = listener.local_addr().unwrap();
    let server = Running::start(listener);
    let check = async |request: String, expected: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may answer and close before it has read all.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {expected}"));
    };
    let long = "x".repeat(70_000);
    check(format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "414").await;
    let huge = "x".repeat(200_000);
    check(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {huge}\r\n\r\n"), "431").await;
    let many: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    check(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), "431").await;
    check("nonsense\r\n\r\n".to_owned(), "400").await;
    server.stop().await;
}

/// HTTP/2's rapid reset: a request and its cancellation, again and again, must not make us work for ever.
#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let listener = Listener::bind_plain(LOCALHOST).unwrap();
    let address = listener.local_addr().unwrap();
    let server = Running::start(listener);
    let mut h2 = TcpStream::connect(address).await.unwrap();
    h2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    h2.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let headers = b"\x82\x86\x04\x08/forever\x01\x09localhost";
    let mut burst = Vec::new();
    for stream in (1_u32..200_000).step_by(2) {
        burst.extend_from_slice(&[0, 0, headers.len() as u8, 1, 5]);
        burst.extend_from_slice(&stream.to_be_bytes());
        burst.extend_from_slice(headers);
        burst.extend_from_slice(&[0, 0, 4, 3, 0]);
        burst.extend_from_slice(&stream.to_be_bytes());
        burst.extend_from_slice(&8_u32.to_be_bytes());
    }
    // Cut long before the end: by an error while writing, or by the end of what can be read.
    let (mut read, mut write) = h2.split();
    let sending = async { write.write_all(&burst).await.is_err() };
    let mut rest = Vec::new();
    let ended = async { read.read_to_end(&mut rest).await };
    let both = async {
        tokio::select! {
            failed = sending => assert!(failed, "100,000 resets were taken"),
            _ = ended => {}
        }
    };
    Clock::real().timeout(PATIENCE, both).await.expect("an end");
    asks(address, "/whoami").await;
    server.stop().await;
}

#[tokio::test]
async fn the_end_cuts_what_does_not_drain() {
    let limits = Limits { drain: Duration::from_millis(20), ..Limits::default() };
    let (listener, connector) = Listener::in_process();
    let server = Running::start(listener.with_limits(limits));
    let channel = channel(&Endpoint::InProcess(connector));
    let request = Request::get(Uri::from_static("http://localhost/forever"));
    let forever = channel.oneshot(request.body(tonic::body::Body::empty()).unwrap());
    let (answer, ()) = tokio::join!(forever, async {
        // The request is under way before the end begins.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        Clock::real().timeout(PATIENCE, server.stop()).await.unwrap();
    });
    answer.unwrap_err();
}
