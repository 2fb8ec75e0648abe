//! Requests that nobody should send, by the thousand, at a whole API server in this process.
//!
//! Real requests ([`corpus`]) are changed as an enemy would change them ([`mutate`], [`grammar`]): JSON, YAML, protobuf,
//! patches, selectors, CEL, queries, paths, raw bytes on the connection; by REST and by gRPC. Whatever comes, the answer
//! must come in time, be no 5xx, and be well-formed; afterwards the server is healthy, lists what it stores, and has
//! given its memory back.
//!
//! A run is its seed: `KUBE_MINI_FUZZ_SEED=N` runs it again. With `KUBE_MINI_LONG` it lasts `KUBE_MINI_FUZZ_SECONDS`, ten
//! minutes unless told otherwise, from a seed of its own; without, some thousand requests from a fixed one.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]
#![allow(clippy::print_stdout, reason = "a run tells its seed")]

mod corpus;
mod grammar;
mod grpc;
mod mutate;
mod random;
mod table;
mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use apiserver::{Config, Server, kubelet::NodeAnnotationDialer};
use component_base::{clock::Clock, shutdown::Shutdown, transport::Listener};
use serde_json::Value;

use self::{
    random::Random,
    wire::{Answer, Connection, Request},
};

/// Requests of a quick run.
const QUICK: u64 = 1_200;
/// Between two looks at the server's health.
const ROUND: u64 = 250;
/// What the process may have grown by, in bytes: caches and arenas, not requests.
const MEMORY: u64 = 256 << 20;

/// A server on a Unix socket: its user is the administrator, so nothing is refused before it is looked at.
struct World {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    shutdown: Shutdown,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("api.sock");
        let kubelets = Arc::new(NodeAnnotationDialer::new(String::new(), None));
        let listeners = vec![Listener::bind_unix(&socket).unwrap()];
        let config = Config { listeners, ..Config::new(Clock::real(), kubelets) };
        let server = Server::bind(config).await.unwrap();
        let shutdown = Shutdown::new();
        let running = shutdown.clone();
        shutdown.spawn("server", async move { server.run(running).await.unwrap() });
        Self { _folder: folder, socket, shutdown }
    }
}

/// The seed, and for how long: until the time, or that many requests.
fn plan() -> (u64, Option<Duration>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let long = std::env::var_os("KUBE_MINI_LONG").is_some();
    let fresh = if long { Clock::real().random_u64() } else { 1 };
    let time = long.then(|| number("KUBE_MINI_FUZZ_SECONDS").unwrap_or(600));
    (number("KUBE_MINI_FUZZ_SEED").unwrap_or(fresh), time.map(Duration::from_secs))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_request_path_takes_anything() {
    let (seed, time) = plan();
    println!("seed {seed}: run again with KUBE_MINI_FUZZ_SEED={seed}");
    let clock = Clock::real();
    let world = World::start().await;
    let mut connection = Connection::new(world.socket.clone());
    ready(&mut connection, &clock).await;
    corpus::prepare(&mut connection).await;
    let mut grpc = grpc::Caller::new(&world.socket);
    let begun = clock.monotonic();
    let (mut steps, mut memory, mut codes) = (0_u64, 0, std::collections::BTreeMap::new());
    let mut findings: Vec<String> = Vec::new();
    // One is a failure; some more tell what they have in common.
    while findings.len() < 10
        && time.map_or(steps < QUICK, |time| clock.monotonic().saturating_sub(begun) < time)
    {
        steps += 1;
        let random = &mut Random::new(seed.wrapping_add(steps.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        if random.one_in(5) {
            let call = grpc.call(random);
            let answered = clock.timeout(Duration::from_secs(30), call).await;
            answered.unwrap_or_else(|_| panic!("seed {seed}, step {steps}: no answer by gRPC"));
        } else {
            let request = mutate::request(random);
            let answer = clock.timeout(Duration::from_secs(30), connection.send(&request)).await;
            let answer = answer
                .unwrap_or_else(|_| panic!("seed {seed}, step {steps}: no answer to {request}"));
            if let Some(answer) = answer {
                *codes.entry(answer.code).or_insert(0_u64) += 1;
                if let Err(wrong) = judge(&answer) {
                    findings.push(format!("step {steps}: {wrong}\n{request}\n{answer}\n"));
                }
            }
        }
        if steps.is_multiple_of(ROUND) {
            look(&mut connection, seed, steps).await;
            let now = resident();
            if steps == ROUND * 2 {
                memory = now;
            }
            assert!(memory == 0 || now < memory + MEMORY, "seed {seed}: from {memory} to {now}");
        }
    }
    println!(
        "{steps} requests in {:?}, by code: {codes:?}",
        clock.monotonic().saturating_sub(begun)
    );
    world.shutdown.cancel();
    assert!(findings.is_empty(), "seed {seed}:\n{}", findings.join("\n"));
}

async fn ready(connection: &mut Connection, clock: &Clock) {
    let all = clock.timeout(Duration::from_secs(30), async {
        loop {
            let answer = connection.send(&Request::get("/readyz")).await;
            if answer.is_some_and(|answer| answer.code == 200) {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    all.await.expect("the server is ready");
}

/// Errors of server-side apply and of strategic merge patches that Kubernetes passes on without a code.
const KUBERNETES_500: &[&str] = &[
    "\"failed to create typed patch object (",
    "\"unable to find api field in struct ",
    "\"unknown patch type: ",
    " does not contain declared merge key: ",
];

/// What Kubernetes answers with a 5xx although the caller is at fault: kubectl knows it so.
fn as_in_kubernetes(answer: &Answer) -> bool {
    let text = String::from_utf8_lossy(&answer.body);
    let known = match answer.code {
        500 => KUBERNETES_500,
        504 => &["Too large resource version"],
        _ => &[],
    };
    known.iter().any(|words| text.contains(words))
}

/// Whether an answer is what an answer may be.
fn judge(answer: &Answer) -> Result<(), String> {
    if answer.code >= 500 && !as_in_kubernetes(answer) {
        return Err("the server's fault".to_owned());
    }
    if !answer.is_json() {
        // What is refused below the API has no body.
        let plain = answer.body.is_empty() || !answer.content_type.is_empty();
        return if plain { Ok(()) } else { Err("a body of no type".to_owned()) };
    }
    if answer.watch || answer.bodiless {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("the answer is no JSON: {error}"))?;
    if answer.code < 400 {
        return Ok(());
    }
    let fits = body["kind"] == "Status"
        && body["apiVersion"] == "v1"
        && body["status"] == "Failure"
        && body["code"] == answer.code
        && body["message"].as_str().is_some_and(|message| !message.is_empty());
    if fits { Ok(()) } else { Err("the refusal is no Status".to_owned()) }
}

/// The server is healthy and can tell what it stores; what there is too much of goes.
async fn look(connection: &mut Connection, seed: u64, steps: u64) {
    for path in corpus::LISTS {
        let answer = connection.send(&Request::get(path)).await;
        let answer = answer.unwrap_or_else(|| panic!("seed {seed}, step {steps}: {path}"));
        assert_eq!(answer.code, 200, "seed {seed}, step {steps}: {path}: {answer}");
        let list: Value = serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("seed {seed}, step {steps}: {path}: {error}"));
        let Some(items) = list["items"].as_array() else { continue };
        if let Some(name) = items.first().and_then(|item| item["metadata"]["name"].as_str())
            && path.contains("/namespaces/fuzz/")
        {
            let one = connection.send(&Request::get(&format!("{path}/{name}"))).await.unwrap();
            assert_eq!(one.code, 200, "seed {seed}, step {steps}: {path}/{name}: {one}");
        }
        if items.len() > 200 && path.contains("/namespaces/fuzz/") {
            let gone = connection.send(&Request::delete(path)).await.unwrap();
            assert!(gone.code < 500, "seed {seed}, step {steps}: {path}: {gone}");
        }
    }
    let healthy = connection.send(&Request::get("/readyz")).await;
    assert_eq!(healthy.map(|answer| answer.code), Some(200), "seed {seed}, step {steps}");
    corpus::restore(connection).await;
}

/// The process's memory, in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
