//! The ingress controller: from a client on the host to the pods behind an Ingress.

use std::{net::SocketAddr, sync::Arc};

use apimachinery::api::{apps::Deployment, networking::Ingress};
use bytes::Bytes;
use component_base::{
    clock::Clock,
    tls::{self, CertSpec, CertificateAuthority},
};
use container_runtime::ContainerContext;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls_pki_types::ServerName;
use serde_json::json;
use tests::{Runner, TestCluster, http::Response};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{field, size, whoami};

/// Sends a request as it stands and reads until the end.
async fn exchange<S>(mut stream: S, request: &str) -> anyhow::Result<Response>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    tests::http::parse(&String::from_utf8_lossy(&answer))
}

fn request(host: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

async fn get(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<Response> {
    exchange(TcpStream::connect(address).await?, &request(host, path)).await
}

/// Who answers for a path of a host: the name of a whoami Deployment, or a status.
async fn who(address: SocketAddr, host: &str, path: &str) -> Result<String, String> {
    let answer = get(address, host, path).await.map_err(|error| format!("{error:#}"))?;
    if answer.status != 200 {
        return Ok(answer.status.to_string());
    }
    let pod = field(&answer.body, "Hostname");
    let parts: Vec<&str> = pod.rsplitn(3, '-').collect();
    Ok(parts.last().copied().unwrap_or(pod).to_owned())
}

async fn expect(cluster: &TestCluster, address: SocketAddr, rows: &[(&str, &str, &str)]) {
    for (host, path, expected) in rows {
        cluster
            .eventually(&format!("{host}{path} is {expected}"), async || {
                let found = who(address, host, path).await?;
                if found == *expected { Ok(()) } else { Err(found) }
            })
            .await;
    }
}

/// The documents' cases: paths of one site, and sites by name.
const SHOP: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
  - http:
      paths:
      - {path: /products, pathType: Prefix, backend: {service: {name: products, port: {number: 80}}}}
      - {path: /cart, pathType: Prefix, backend: {service: {name: cart, port: {name: http}}}}
      - {path: /gone, pathType: Exact, backend: {service: {name: nobody, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: sites}
spec:
  ingressClassName: kube-mini
  rules:
  - host: api.myapp.local
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: products, port: {number: 80}}}}]}
  - host: app.myapp.local
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: cart, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: others}
spec:
  ingressClassName: nginx
  defaultBackend: {service: {name: cart, port: {number: 80}}}
";

async fn the_documents_cases(runner: Runner) {
    let cluster = TestCluster::builder().runner(runner).nodes(2).ingress().start().await.unwrap();
    let [plain, _] = cluster.ingress_address().await;
    let named =
        |name: &str| whoami(name, 2, None).replace("- port: 80", "- port: 80\n    name: http");
    cluster.apply(&named("products")).await.unwrap();
    cluster.apply(&named("cart")).await.unwrap();
    expect(&cluster, plain, &[("any", "/products", "404")]).await;
    cluster.apply(SHOP).await.unwrap();
    for name in ["products", "cart"] {
        cluster.wait_ready(name).await;
    }
    expect(
        &cluster,
        plain,
        &[
            ("127.0.0.1", "/products", "products"),
            ("127.0.0.1", "/cart/7", "cart"),
            ("127.0.0.1", "/carts", "404"),
            ("127.0.0.1", "/", "404"),
            ("127.0.0.1", "/gone", "503"),
            ("api.myapp.local", "/x", "products"),
            ("app.myapp.local:8080", "/x", "cart"),
        ],
    )
    .await;

    let answer = get(plain, "api.myapp.local:8080", "/a/b?c=d").await.unwrap().body;
    assert!(answer.contains("GET /a/b?c=d HTTP/1.1"), "{answer}");
    let told = [
        ("Host", "api.myapp.local:8080"),
        ("X-Forwarded-Host", "api.myapp.local:8080"),
        ("X-Forwarded-Port", "8080"),
        ("X-Forwarded-Proto", "http"),
    ];
    for (name, value) in told {
        assert_eq!(field(&answer, name), value, "{answer}");
    }
    assert!(field(&answer, "X-Forwarded-For").starts_with("192.168.1.10"), "{answer}");

    // The default class was given, the status tells where, another's Ingress is left alone.
    let shop = cluster
        .wait_for::<Ingress>("shop", |ingress| {
            let status = ingress.status.load_balancer.as_ref();
            let ip = status.and_then(|status| status.ingress.first()?.ip.clone());
            if ip == Some(plain.ip().to_string()) { Ok(()) } else { Err(format!("{ip:?}")) }
        })
        .await;
    assert_eq!(shop.spec.ingress_class_name.as_deref(), Some("kube-mini"));
    let others: Ingress = cluster.client().get("default", "others").await.unwrap();
    assert!(others.status.load_balancer.is_none_or(|status| status.ingress.is_empty()));

    // Both pods of a Service have their turns, on one connection of the client's.
    let mut stream = TcpStream::connect(plain).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..6 {
        stream.write_all(b"GET /products HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let mut chunk = [0; 4096];
        while !String::from_utf8_lossy(&answer).contains("X-Scheme: http") {
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "the connection is kept: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&chunk[..count]);
        }
        seen.insert(field(&String::from_utf8_lossy(&answer), "Hostname").to_owned());
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}

#[tokio::test]
async fn the_documents_cases_in_process() {
    the_documents_cases(Runner::InProcess).await;
}

#[tokio::test]
async fn the_documents_cases_as_processes() {
    the_documents_cases(Runner::Process).await;
}

/// A certificate of our own authority, as a Secret of type kubernetes.io/tls.
fn secret(authority: &CertificateAuthority, name: &str, host: &str) -> String {
    let pair = authority.issue(&CertSpec::server(host, &[host], &[]), Clock::real().now()).unwrap();
    let object = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": name},
        "stringData": {"tls.crt": pair.cert_pem, "tls.key": pair.key_pem},
    });
    object.to_string()
}

async fn get_tls(
    address: SocketAddr,
    authority: &CertificateAuthority,
    host: &str,
) -> anyhow::Result<Response> {
    let mut config = (*tls::client_config(authority.cert_pem(), None)?).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = TcpStream::connect(address).await?;
    let stream = connector.connect(ServerName::try_from(host.to_owned())?, stream).await?;
    exchange(stream, &request(host, "/x")).await
}

#[tokio::test]
async fn tls_is_chosen_by_name_and_reloaded() {
    let cluster = TestCluster::builder().ingress().start().await.unwrap();
    let [plain, encrypted] = cluster.ingress_address().await;
    let now = Clock::real().now();
    let authority = CertificateAuthority::create("first", now).unwrap();
    let later = CertificateAuthority::create("later", now).unwrap();
    cluster.apply(&whoami("web", 1, None)).await.unwrap();
    cluster.apply(&secret(&authority, "own", "a.example")).await.unwrap();
    cluster.apply(&secret(&authority, "wild", "*.b.example")).await.unwrap();
    cluster
        .apply(
            "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  tls:
  - {hosts: [a.example], secretName: own}
  - {hosts: ['*.b.example'], secretName: wild}
  defaultBackend: {service: {name: web, port: {number: 80}}}
",
        )
        .await
        .unwrap();
    cluster.wait_ready("web").await;
    for host in ["a.example", "x.b.example"] {
        let answer = cluster
            .eventually(host, async || {
                let answer = get_tls(encrypted, &authority, host).await?;
                anyhow::ensure!(answer.status == 200, "{answer:?}");
                Ok(answer)
            })
            .await;
        assert_eq!(field(&answer.body, "X-Forwarded-Proto"), "https");
    }
    // Without TLS these hosts are sent to it, others are served.
    let sent = get(plain, "a.example:8080", "/x?y=z").await.unwrap();
    assert_eq!(sent.status, 308);
    assert_eq!(sent.headers["location"], "https://a.example:8443/x?y=z");
    expect(&cluster, plain, &[("c.example", "/", "web")]).await;
    // A name without a certificate gets one that nobody trusts.
    let error = format!("{:#}", get_tls(encrypted, &authority, "c.example").await.unwrap_err());
    assert!(error.contains("certificate"), "{error}");

    cluster.apply(&secret(&later, "own", "a.example")).await.unwrap();
    cluster
        .eventually("the new certificate", async || {
            get_tls(encrypted, &later, "a.example").await.map(drop)
        })
        .await;
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// A server of all that a proxy must not stand in the way of: `/ws` shouts back what follows an upgrade, everything else
/// is echoed as it comes, with trailers at its end.
async fn protocols(context: ContainerContext) {
    let listener = context.network.listen_tcp("0.0.0.0:8080".parse().unwrap()).await.unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let spawner = context.clone();
        context.spawn(async move {
            let service = service_fn(|request| answer(spawner.clone(), request));
            let server = auto::Builder::new(TokioExecutor::new());
            let io = TokioIo::new(stream);
            let _ = server.serve_connection_with_upgrades(io, service).await;
        });
    }
}

async fn answer(
    context: ContainerContext,
    mut request: http::Request<Incoming>,
) -> Result<http::Response<Body>, std::convert::Infallible> {
    let version = format!("{:?}", request.version());
    if request.uri().path() == "/ws" {
        let upgraded = hyper::upgrade::on(&mut request);
        context.spawn(async move {
            let mut stream = TokioIo::new(upgraded.await.unwrap());
            let mut chunk = [0; 64];
            while let Ok(count @ 1..) = stream.read(&mut chunk).await {
                stream.write_all(chunk[..count].to_ascii_uppercase().as_slice()).await.unwrap();
            }
        });
        let response = http::Response::builder()
            .status(101)
            .header("connection", "upgrade")
            .header("upgrade", "shout");
        return Ok(response
            .body(Empty::new().map_err(|never| match never {}).boxed_unsync())
            .unwrap());
    }
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    let body = request.into_body().with_trailers(async move { Some(Ok(trailers)) });
    let kind = "application/grpc";
    let response =
        http::Response::builder().header("x-version", version).header("content-type", kind);
    Ok(response.body(body.boxed_unsync()).unwrap())
}

const PROTOCOLS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: protocols, labels: {app: protocols}}
spec: {containers: [{name: server, image: example.com/protocols, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: protocols}
spec: {selector: {app: protocols}, ports: [{port: 80, targetPort: 8080, appProtocol: kubernetes.io/h2c}]}
---
apiVersion: v1
kind: Service
metadata: {name: closed}
spec: {selector: {app: protocols}, ports: [{port: 80, targetPort: 9999}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: protocols}
spec:
  defaultBackend: {service: {name: protocols, port: {number: 80}}}
  rules:
  - http: {paths: [{path: /closed, pathType: Prefix, backend: {service: {name: closed, port: {number: 80}}}}]}
";

#[tokio::test]
async fn upgrades_streams_and_trailers_pass_through() {
    let cluster = TestCluster::builder()
        .ingress()
        .register_image("example.com/protocols", protocols)
        .unwrap()
        .start()
        .await
        .unwrap();
    let [plain, _] = cluster.ingress_address().await;
    cluster.apply(PROTOCOLS).await.unwrap();
    cluster.wait_pod_ready("protocols").await;
    cluster
        .eventually("a route", async || {
            let status = get(plain, "h", "/").await?.status;
            anyhow::ensure!(status == 200, "{status}");
            Ok(())
        })
        .await;
    // Who listens at no port refuses: the gateway is bad.
    assert_eq!(get(plain, "h", "/closed").await.unwrap().status, 502);

    // An upgrade: what follows belongs to the two ends.
    let mut stream = TcpStream::connect(plain).await.unwrap();
    let upgrade = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let mut chunk = [0; 1024];
    while !read.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut chunk).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&read));
        read.extend_from_slice(&chunk[..count]);
    }
    let head = String::from_utf8_lossy(&read).to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: shout"), "{head}");
    for word in ["hello", "again"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        stream.read_exact(&mut chunk[..5]).await.unwrap();
        assert_eq!(chunk[..5], *word.to_uppercase().as_bytes());
    }

    // gRPC: HTTP/2 to the end, frames both ways as they are sent, trailers last.
    let io = TokioIo::new(TcpStream::connect(plain).await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let driver = async move {
        let _ = connection.await;
    };
    let talk = async {
        let (frames, receiver) =
            tokio::sync::mpsc::channel::<Result<Frame<Bytes>, hyper::Error>>(1);
        let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        let request = http::Request::post("http://h/a.B/C")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.headers()["x-version"], "HTTP/2.0");
        let mut answer = response.into_body();
        for word in ["one", "two"] {
            frames.send(Ok(Frame::data(Bytes::from_static(word.as_bytes())))).await.unwrap();
            let frame = answer.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), word, "an echo before the next is sent");
        }
        drop(frames);
        let trailers = answer.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
    };
    tokio::select! {
        () = driver => panic!("the connection ended"),
        () = talk => {}
    }
}

/// Pods come and go; requests do not notice.
#[tokio::test]
async fn a_rollout_loses_no_request() {
    let cluster = TestCluster::builder().nodes(2).ingress().start().await.unwrap();
    let [plain, _] = cluster.ingress_address().await;
    cluster.apply(&whoami("products", 3, None)).await.unwrap();
    cluster.apply(&whoami("cart", 1, None)).await.unwrap();
    cluster.apply(SHOP).await.unwrap();
    cluster.wait_ready("products").await;
    expect(&cluster, plain, &[("x", "/products", "products")]).await;
    let rollouts = async {
        for round in 0..3 {
            let annotation = json!({"spec": {"template": {"metadata": {"annotations": {"round": round.to_string()}}}}});
            let patch = client::Patch::Merge(annotation);
            let deployments = cluster.client();
            deployments.patch::<Deployment>("default", "products", &patch, "").await.unwrap();
            cluster.wait_ready("products").await;
        }
    };
    let mut served = 0;
    let requests = async {
        loop {
            let found = who(plain, "x", "/products").await;
            assert_eq!(found.as_deref(), Ok("products"), "request {served}");
            served += 1;
        }
    };
    tokio::select! {
        () = rollouts => {}
        () = requests => {}
    }
    assert!(served >= 20, "{served}");
}

/// Who says nothing, half of something or nonsense keeps nobody else waiting.
#[tokio::test]
async fn garbage_and_silence_hinder_nobody() {
    let cluster = TestCluster::builder().ingress().start().await.unwrap();
    let [plain, encrypted] = cluster.ingress_address().await;
    cluster.apply(&whoami("products", 1, None)).await.unwrap();
    cluster.apply(SHOP).await.unwrap();
    expect(&cluster, plain, &[("x", "/products", "products")]).await;
    let said: [&[u8]; 5] = [
        b"",
        b"GET /cart HTTP/1.1\r\nHost: x\r\nX-Half: ",
        b"POST /cart HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nfew",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00\xff\xfe nonsense \r\n\r\n",
    ];
    let mut open = Vec::new();
    for number in 0..size(400, 5_000) {
        let address = if number % 4 == 3 { encrypted } else { plain };
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said[number % said.len()]).await.unwrap();
        open.push(stream);
    }
    for _ in 0..20 {
        let patience = std::time::Duration::from_secs(5);
        let answer = Clock::real().timeout(patience, get(plain, "x", "/products")).await;
        assert_eq!(answer.unwrap().unwrap().status, 200);
    }
    for bad in ["GET / HTTP/1.1\r\n\r\n", "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n"] {
        let stream = TcpStream::connect(plain).await.unwrap();
        let closing = bad.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let refused = exchange(stream, &closing).await.unwrap();
        assert_eq!(refused.status, 400, "{bad}");
    }
}
