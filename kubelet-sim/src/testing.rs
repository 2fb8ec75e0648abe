//! For tests: one node with a real API server in memory, all on a virtual clock.

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Once},
    time::Duration,
};

use apimachinery::{
    api::core::{Namespace, Pod, ServiceAccount},
    object::Object,
    status::Status,
};
use apiserver::kubelet::KubeletDialer;
use bytes::Bytes;
use client::{Client, DeleteOptions, ListOptions};
use cni::{
    network::PodStream,
    userspace::{FabricConfig, HostPorts, LoadBalancers},
};
use component_base::{
    clock::{Clock, TestClock},
    shutdown::Shutdown,
    transport::{Endpoint, InProcessConnector, Listener},
};
use container_runtime::{ContainerContext, ExitStatus, ImageCatalogue};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    Config, GracefulShutdown, NodeSetup, Server,
    node::{NodeSettings, shutdown::GracePeriods},
};

/// The node's name.
const NODE: &str = "node-1";

/// What containers tell of themselves.
pub(crate) type Diary = Arc<Mutex<Vec<Entry>>>;

/// Something that a container did.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    /// Its host name.
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) text: String,
}

/// A node, its API server and their time. Everything ends with it.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) time: TestClock,
    pub(crate) client: Client,
    pub(crate) diary: Diary,
    connector: InProcessConnector,
    catalogue: ImageCatalogue,
    whole: Shutdown,
    kubelet: Shutdown,
    graceful: GracefulShutdown,
    folder: TempDir,
}

struct NoKubelet;

impl KubeletDialer for NoKubelet {
    fn dial(&self, _: &Object) -> Result<Channel, Status> {
        Err(Status::service_unavailable("no kubelet is dialled in these tests"))
    }
}

impl World {
    /// An API server, and a kubelet that runs.
    pub(crate) async fn new() -> Self {
        Self::shutting_down_within(GracePeriods::default()).await
    }

    /// The same; the node takes so long to shut down in order.
    pub(crate) async fn shutting_down_within(periods: GracePeriods) -> Self {
        static LOGS: Once = Once::new();
        LOGS.call_once(|| {
            // A second logger is refused: then the first one does.
            let _ = component_base::logs::init("test", 0);
        });
        let (clock, time) = Clock::test("2026-01-01T00:00:00Z".parse().unwrap());
        let diary = Diary::default();
        let (listener, connector) = Listener::in_process();
        let whole = Shutdown::new();
        let config = apiserver::Config {
            listeners: vec![listener],
            ..apiserver::Config::new(clock.clone(), Arc::new(NoKubelet))
        };
        let server = apiserver::Server::bind(config).await.unwrap();
        let ending = whole.clone();
        whole.spawn("apiserver", async move { server.run(ending).await.unwrap() });
        let admin = connector.with_identity("admin", &["system:masters"]);
        let client = Client::new(&Endpoint::InProcess(admin)).unwrap();
        let mut world = Self {
            catalogue: catalogue(&diary),
            clock,
            time,
            client,
            diary,
            connector,
            whole,
            kubelet: Shutdown::new(),
            graceful: GracefulShutdown { periods, ..GracefulShutdown::default() },
            folder: tempfile::tempdir().unwrap(),
        };
        world.prepare().await;
        world.start_kubelet();
        world
    }

    /// What controllers would have made.
    async fn prepare(&self) {
        self.eventually("the namespace", async || {
            self.client.get::<Namespace>("", "default").await.map_err(|s| s.to_string()).map(drop)
        })
        .await;
        let mut account = ServiceAccount::default();
        account.metadata.name = Some("default".into());
        account.metadata.namespace = Some("default".into());
        // Most pods of these tests have no use for a token, nor anybody who makes its certificate.
        account.automount_service_account_token = Some(false);
        self.time.run(self.client.create(&account)).await.unwrap();
        let dir = self.folder.path().join(NODE);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("pod-cidr"), "10.244.0.0/24\n").unwrap();
    }

    /// Starts the kubelet, as at the boot of its node.
    pub(crate) fn start_kubelet(&mut self) {
        self.graceful.requested = CancellationToken::new();
        let user = format!("system:node:{NODE}");
        let endpoint = Endpoint::InProcess(self.connector.with_identity(&user, &["system:nodes"]));
        let (streams, _) = Listener::in_process();
        let (rules, _) = Listener::in_process();
        let quantity = |text: &str| text.parse().unwrap();
        let config = Config {
            clock: self.clock.clone(),
            nodes: vec![NodeSetup {
                settings: NodeSettings {
                    name: NODE.into(),
                    internal_ip: crate::node_address(1).to_string(),
                    external_ip: Some(Ipv4Addr::LOCALHOST.to_string()),
                    capacity: [
                        ("cpu".to_owned(), quantity("8")),
                        ("memory".to_owned(), quantity("16Gi")),
                        ("pods".to_owned(), quantity("110")),
                    ]
                    .into(),
                    labels: std::collections::BTreeMap::new(),
                    state_dir: self.folder.path().join(NODE),
                    kubelet_endpoint: "unix:///nowhere".into(),
                },
                client: Client::new(&endpoint).unwrap().with_field_manager("kubelet"),
                host_ports: HostPorts {
                    addresses: Vec::new(),
                    shared_loopback: None,
                    load_balancers: LoadBalancers::None,
                },
                rules,
            }],
            fabric: FabricConfig::new(self.clock.clone()),
            catalogue: Arc::new(self.catalogue.clone()),
            names: None,
            streams,
            graceful: self.graceful.clone(),
        };
        self.kubelet = Shutdown::new();
        let server = Server::new(config).unwrap();
        self.kubelet.spawn("kubelet", server.run(self.kubelet.clone()));
    }

    /// Asks the node to shut down in order.
    pub(crate) fn shut_down_node(&self) {
        self.graceful.requested.cancel();
    }

    /// Waits until a node that was asked has shut down.
    pub(crate) async fn await_shutdown(&self) {
        self.time.run(self.kubelet.wait(Duration::from_secs(10))).await.unwrap();
    }

    /// Ends the kubelet and all containers, as a node's crash does.
    pub(crate) async fn stop_kubelet(&self) {
        self.kubelet.cancel();
        self.time.run(self.kubelet.wait(Duration::from_secs(10))).await.unwrap();
    }

    /// Creates a pod on the node; `spec` may leave out what is the same for all.
    pub(crate) async fn create(&self, name: &str, spec: Value) -> Pod {
        let mut pod = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
        pod["spec"]["nodeName"] = NODE.into();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.time.run(self.client.create(&pod)).await.unwrap()
    }

    /// The folder of a pod's volumes.
    pub(crate) fn volumes(&self, uid: &str) -> PathBuf {
        self.folder.path().join(NODE).join("pods").join(uid).join("volumes")
    }

    /// A pod as the API has it.
    pub(crate) async fn pod(&self, name: &str) -> Option<Pod> {
        match self.time.run(self.client.get::<Pod>("default", name)).await {
            Ok(pod) => Some(pod),
            Err(status) if status.is_not_found() => None,
            Err(status) => panic!("{status}"),
        }
    }

    /// Deletes a pod; None: with the pod's own grace period.
    pub(crate) async fn delete(&self, name: &str, grace: Option<i64>) {
        let options = DeleteOptions { grace_period_seconds: grace, ..DeleteOptions::default() };
        self.time.run(self.client.delete::<Pod>("default", name, &options)).await.unwrap();
    }

    /// Waits, in virtual time, until the pod's picture (see [`picture`]) is as expected.
    pub(crate) async fn expect(&self, name: &str, expected: &str) {
        self.eventually(&format!("pod {name}"), async || {
            let pod = self.client.get::<Pod>("default", name).await;
            let seen = match pod {
                Ok(pod) => picture(&pod),
                Err(status) if status.is_not_found() => "gone".to_owned(),
                Err(status) => status.to_string(),
            };
            if seen == expected { Ok(()) } else { Err(format!("{seen}, not {expected}")) }
        })
        .await;
    }

    /// Waits, in virtual time, for 20 minutes at most.
    pub(crate) async fn eventually<T>(
        &self,
        what: &str,
        condition: impl AsyncFn() -> Result<T, String>,
    ) -> T {
        let last = Mutex::new(String::new());
        let waiting = async {
            loop {
                match condition().await {
                    Ok(found) => return found,
                    Err(why) => *last.lock() = why,
                }
                self.clock.sleep(Duration::from_millis(100)).await;
            }
        };
        let waited = self.clock.timeout(Duration::from_secs(1200), waiting);
        match self.time.run(waited).await {
            Ok(found) => found,
            Err(_) => panic!("{what}: {}", last.lock()),
        }
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, seconds: u64) {
        self.time.advance(Duration::from_secs(seconds)).await;
    }

    /// Takes what the containers wrote down, as `second container text`.
    pub(crate) fn take_diary(&self) -> Vec<String> {
        let entries = std::mem::take(&mut *self.diary.lock());
        let line = |e: &Entry| format!("{} {} {}", e.at.as_secs(), e.container, e.text);
        entries.iter().map(line).collect()
    }

    /// Runs a task until the world ends.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let token = self.whole.token().clone();
        self.whole.spawn("observer", async move {
            token.run_until_cancelled(future).await;
        });
    }

    /// The seconds that have passed.
    pub(crate) fn now(&self) -> u64 {
        self.clock.monotonic().as_secs()
    }

    /// A pod's events, as `reason: message`; a second later, for they are written beside everything else.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        self.pass(1).await;
        let options = ListOptions {
            field_selector: format!("involvedObject.name={name}"),
            ..ListOptions::default()
        };
        let listing = self.client.list::<apimachinery::api::core::Event>("default", &options);
        let list = self.time.run(listing).await.unwrap();
        list.items
            .into_iter()
            .map(|e| format!("{}: {}", e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.kubelet.cancel();
        self.whole.cancel();
    }
}

/// A pod in one line: phase, readiness, then each container's state and restarts.
pub(crate) fn picture(pod: &Pod) -> String {
    let status = &pod.status;
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready").map(|c| c.status.as_str());
    let containers = status.init_container_statuses.iter().chain(&status.container_statuses);
    let containers = containers.map(|c| {
        let state = c.state.clone().unwrap_or_default();
        let state = match (state.running, state.waiting, state.terminated) {
            (Some(_), ..) => "running".to_owned(),
            (_, Some(waiting), _) => waiting.reason.unwrap_or_default(),
            (.., Some(ended)) => {
                format!("{} {}", ended.reason.unwrap_or_default(), ended.exit_code)
            }
            _ => "nothing".to_owned(),
        };
        format!("{} {state} x{}", c.name, c.restart_count)
    });
    let phase = status.phase.as_deref().unwrap_or("none");
    let ready = if ready == Some("True") { " ready" } else { "" };
    format!("{phase}{ready}; {}", containers.collect::<Vec<_>>().join(", "))
}

/// Images whose containers behave as their arguments say, and write down what happens to them: `begin`, `term` when
/// SIGTERM comes, `end` where they end themselves.
///
/// | argument | does |
/// |---|---|
/// | `exit CODE SECONDS` | ends after so many seconds; said several times: the first run as the first one says, and so on; `exit - -`: that run goes on |
/// | `on-term SECONDS` | goes on for so long after SIGTERM |
/// | `ends-with CODE` | its exit code after SIGTERM, in place of 0 |
/// | `listen FROM TO` | accepts connections on port 80, in these seconds of its run |
/// | `http FROM TO STATUS` | answers HTTP on port 80 |
/// | `grpc FROM TO STATUS` | answers gRPC health checks on port 80 |
/// | `say TEXT`, `message TEXT` | to the log, as its termination message |
fn catalogue(diary: &Diary) -> ImageCatalogue {
    let mut catalogue = ImageCatalogue::new();
    let diary = diary.clone();
    catalogue
        .register("actor", move |context: ContainerContext| act(context, diary.clone()))
        .unwrap();
    catalogue
}

async fn act(context: ContainerContext, diary: Diary) -> ExitStatus {
    let clock = context.clock.clone();
    let note = |text: &str| {
        diary.lock().push(Entry {
            at: clock.monotonic(),
            pod: context.hostname.to_string(),
            container: context.container.to_string(),
            text: text.to_owned(),
        });
    };
    let begun = |e: &&Entry| {
        (&*e.pod, &*e.container, &*e.text) == (&*context.hostname, &*context.container, "begin")
    };
    let run = diary.lock().iter().filter(begun).count();
    note("begin");
    let words: Vec<&str> = context.args.iter().map(String::as_str).collect();
    let find = |word: &str| words.iter().position(|w| *w == word);
    let after =
        |word: &str, at: usize| -> Option<u64> { words.get(find(word)? + at)?.parse().ok() };
    if let Some(place) = find("say") {
        context.stdout.write_all(format!("{}\n", words[place + 1])).await.unwrap();
    }
    if let Some(place) = find("message") {
        context.set_termination_message(words[place + 1].to_owned()).unwrap();
    }
    for protocol in ["listen", "http", "grpc"] {
        if let (Some(from), Some(to)) = (after(protocol, 1), after(protocol, 2)) {
            let status = after(protocol, 3).unwrap_or(0);
            let seconds = (Duration::from_secs(from), Duration::from_secs(to - from));
            context.spawn(serve(context.clone(), protocol, seconds, status));
        }
    }
    let exits: Vec<usize> = (0..words.len()).filter(|at| words[*at] == "exit").collect();
    let exit = exits.get(run).or(exits.last()).copied();
    let number = |at: usize| -> Option<u64> { words.get(at)?.parse().ok() };
    let exit = async {
        match exit.and_then(|at| Some((number(at + 1)?, number(at + 2)?))) {
            Some((code, seconds)) => {
                clock.sleep(Duration::from_secs(seconds)).await;
                i32::try_from(code).unwrap()
            }
            None => std::future::pending().await,
        }
    };
    let code = tokio::select! {
        code = exit => code,
        () = context.signals.terminated() => {
            note("term");
            clock.sleep(Duration::from_secs(after("on-term", 1).unwrap_or(0))).await;
            after("ends-with", 1).and_then(|code| i32::try_from(code).ok()).unwrap_or(0)
        }
    };
    note("end");
    ExitStatus(code)
}

/// Serves port 80 for a while.
async fn serve(
    context: ContainerContext,
    protocol: &'static str,
    (wait, length): (Duration, Duration),
    status: u64,
) {
    let clock = context.clock.clone();
    clock.sleep(wait).await;
    let listener = context.network.listen_tcp((Ipv4Addr::UNSPECIFIED, 80).into()).await.unwrap();
    let serving = async {
        while let Ok((connection, _)) = listener.accept().await {
            match protocol {
                "http" => context.spawn(answer_http(connection, status)),
                "grpc" => context.spawn(answer_grpc(connection, status)),
                _ => drop(connection),
            }
        }
    };
    let _ = clock.timeout(length, serving).await;
}

async fn answer_http(connection: PodStream, status: u64) {
    let answer = move |_: Request<Incoming>| async move {
        let response = Response::builder().status(u16::try_from(status).unwrap());
        let response = response.header("location", "http://elsewhere/");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from("body"))).unwrap())
    };
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(TokioIo::new(connection), service_fn(answer)).await;
}

async fn answer_grpc(connection: PodStream, status: u64) {
    let answer = move |_: Request<Incoming>| async move {
        let frame = [0, 0, 0, 0, 2, 8, u8::try_from(status).unwrap()];
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = Full::new(Bytes::copy_from_slice(&frame));
        let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
        let response = Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(response.body(body).unwrap())
    };
    let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = http.serve_connection(TokioIo::new(connection), service_fn(answer)).await;
}
