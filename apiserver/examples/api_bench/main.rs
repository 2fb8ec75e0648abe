//! Measures the API server: `cargo run --release -p apiserver --example api_bench [-- create|get|list|watch]...`
//!
//! It starts the `kube-apiserver` that lies beside it (build both in release) on a fresh database below `target/api-bench`, and
//! talks to it over TLS from this process. Machines are noisy: compare figures of one run.
#![allow(clippy::print_stdout, reason = "a program whose output is its purpose")]

mod raw;
mod server;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use component_base::{clock::Clock, transport::channel};
use proto::v1::{
    CreateRequest, ListRequest, ResourceRef, WatchRequest, resources_client::ResourcesClient,
};
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use self::{raw::RawClient, server::Server};

const RUN: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|arg| arg == name);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let clock = Clock::real();
        let started = clock.monotonic();
        let server = Server::start(&clock).await?;
        println!("answers {:.0?} after process start", clock.monotonic() - started);
        prepare(&server).await?;
        if wanted("create") {
            for clients in [1, 16, 64] {
                create(&server, &clock, clients).await?;
            }
        }
        if wanted("get") {
            get(&server, &clock, 64).await?;
        }
        if wanted("list") {
            list(&server, &clock).await?;
        }
        if wanted("watch") {
            watch(&server, &clock, 100, 16, 2000).await?;
        }
        println!("resident {:.0} MiB", server.resident_mib());
        Ok(())
    })
}

fn target(resource: &str, namespace: &str) -> ResourceRef {
    ResourceRef {
        version: "v1".into(),
        resource: resource.into(),
        namespace: namespace.into(),
        ..ResourceRef::default()
    }
}

fn client(server: &Server) -> Result<ResourcesClient<Channel>> {
    Ok(ResourcesClient::new(channel(&server.endpoint()?)).max_decoding_message_size(64 << 20))
}

/// A pod as a workload makes it, about 2 KB once stored.
fn pod(name: &str) -> Bytes {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"app":"web","pod-template-hash":"5d8f7c9b6d"}},"annotations":{{"example.com/note":"{}"}}}},"spec":{{"containers":[{{"name":"web","image":"nginx:1.27","ports":[{{"containerPort":80}}],"env":[{{"name":"A","value":"1"}},{{"name":"B","value":"2"}}],"resources":{{"requests":{{"cpu":"100m","memory":"128Mi"}}}}}}]}}}}"#,
        "x".repeat(600)
    )
    .into()
}

async fn prepare(server: &Server) -> Result<()> {
    let mut client = client(server)?;
    let account = r#"{"metadata":{"name":"default"}}"#;
    for (resource, object) in [("serviceaccounts", account)] {
        let request = CreateRequest {
            target: Some(target(resource, "default")),
            object: Bytes::from_static(object.as_bytes()),
            ..CreateRequest::default()
        };
        client.create(request).await?;
    }
    Ok(())
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

async fn create_one(client: &mut ResourcesClient<Channel>) -> Result<()> {
    let name = format!("web-{:07}", NEXT.fetch_add(1, Ordering::Relaxed));
    let request = CreateRequest {
        target: Some(target("pods", "default")),
        object: pod(&name),
        ..CreateRequest::default()
    };
    client.create(request).await.context("create")?;
    Ok(())
}

async fn create(server: &Server, clock: &Clock, clients: usize) -> Result<()> {
    let made = Arc::new(AtomicUsize::new(0));
    let tasks = TaskTracker::new();
    let before = server.cpu_micros();
    let end = clock.monotonic() + RUN;
    // A few connections, as several processes would have.
    let channels: Vec<_> = (0..clients.min(8)).map(|_| client(server)).collect::<Result<_>>()?;
    for n in 0..clients {
        let mut client = channels[n % channels.len()].clone();
        let (made, clock) = (made.clone(), clock.clone());
        tasks.spawn(async move {
            while clock.monotonic() < end {
                create_one(&mut client).await.expect("created");
                made.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tasks.close();
    tasks.wait().await;
    let made = made.load(Ordering::Relaxed) as f64;
    let cost = (server.cpu_micros() - before) / made;
    let rate = made / RUN.as_secs_f64();
    println!("pod creates by {clients:2} clients: {rate:.0}/s, {cost:.0} µs of the server each");
    Ok(())
}

async fn get(server: &Server, clock: &Clock, clients: usize) -> Result<()> {
    let mut first = client(server)?;
    create_one(&mut first).await?;
    let name = format!("web-{:07}", NEXT.load(Ordering::Relaxed) - 1);
    let path = format!("/api/v1/namespaces/default/pods/{name}");
    let done = Arc::new(AtomicUsize::new(0));
    let tasks = TaskTracker::new();
    let mut raw = Vec::new();
    for _ in 0..clients {
        raw.push(RawClient::connect(server, &path).await?);
    }
    let before = server.cpu_micros();
    let end = clock.monotonic() + RUN;
    for mut client in raw {
        let (done, clock) = (done.clone(), clock.clone());
        tasks.spawn(async move {
            while clock.monotonic() < end {
                client.get().await.expect("read");
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tasks.close();
    tasks.wait().await;
    let done = done.load(Ordering::Relaxed) as f64;
    let cost = (server.cpu_micros() - before) / done;
    let rate = done / RUN.as_secs_f64();
    println!(
        "REST GET of one pod by {clients} clients: {rate:.0}/s, {cost:.0} µs of the server each"
    );
    Ok(())
}

async fn list(server: &Server, clock: &Clock) -> Result<()> {
    let mut grpc = client(server)?;
    let all = ListRequest { target: Some(target("pods", "")), ..ListRequest::default() };
    let count = count_items(&mut grpc, all.clone()).await?;
    let missing = 10_000_usize.saturating_sub(count);
    let tasks = TaskTracker::new();
    for n in 0..16 {
        let mut client = grpc.clone();
        let share = missing / 16 + usize::from(n < missing % 16);
        tasks.spawn(async move {
            for _ in 0..share {
                create_one(&mut client).await.expect("created");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
    let limit = count.max(10_000);
    let mut raw = RawClient::connect(server, "/api/v1/pods?limit=10000").await?;
    for _ in 0..3 {
        let started = clock.monotonic();
        let bytes = raw.get().await?;
        println!(
            "REST LIST of 10,000 pods of {limit} ({:.1} MB): {:.0?}",
            bytes as f64 / 1e6,
            clock.monotonic() - started
        );
    }
    for _ in 0..3 {
        let started = clock.monotonic();
        let request = ListRequest { limit: 10_000, ..all.clone() };
        let items = count_items(&mut grpc, request).await?;
        println!("gRPC List of {items} pods: {:.0?}", clock.monotonic() - started);
    }
    Ok(())
}

async fn count_items(client: &mut ResourcesClient<Channel>, request: ListRequest) -> Result<usize> {
    let mut stream = client.list(request).await?.into_inner();
    let mut count = 0;
    while let Some(chunk) = stream.message().await? {
        count += chunk.items.len();
    }
    Ok(count)
}

async fn watch(
    server: &Server,
    clock: &Clock,
    watchers: usize,
    clients: usize,
    pods: usize,
) -> Result<()> {
    let seen = Arc::new(AtomicU64::new(0));
    let tasks = TaskTracker::new();
    let mut grpc = client(server)?;
    let version = {
        let request =
            ListRequest { target: Some(target("pods", "")), limit: 1, ..ListRequest::default() };
        let mut stream = grpc.list(request).await?.into_inner();
        stream.message().await?.context("a list")?.resource_version
    };
    for _ in 0..watchers {
        // As many processes: each watcher has a connection of its own.
        let mut client = client(server)?;
        let seen = seen.clone();
        let request = WatchRequest {
            target: Some(target("pods", "")),
            resource_version: version.clone(),
            ..WatchRequest::default()
        };
        let mut stream = client.watch(request).await?.into_inner();
        tasks.spawn(async move {
            for _ in 0..pods {
                stream.message().await.expect("an event").expect("more events");
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tasks.close();
    let before = server.cpu_micros();
    let started = clock.monotonic();
    let writers = TaskTracker::new();
    for n in 0..clients {
        let mut client = grpc.clone();
        let share = pods / clients + usize::from(n < pods % clients);
        writers.spawn(async move {
            for _ in 0..share {
                create_one(&mut client).await.expect("created");
            }
        });
    }
    writers.close();
    writers.wait().await;
    let written = clock.monotonic() - started;
    clock.timeout(Duration::from_secs(60), tasks.wait()).await?;
    let took = clock.monotonic() - started;
    let cost = (server.cpu_micros() - before) / seen.load(Ordering::Relaxed) as f64;
    println!(
        "{watchers} watchers while {clients} clients create {pods} pods: {:.0} events/s, creates {:.0}/s, last event {:.0?} after the last answer, {cost:.1} µs of the server for each event",
        seen.load(Ordering::Relaxed) as f64 / took.as_secs_f64(),
        pods as f64 / written.as_secs_f64(),
        took - written
    );
    Ok(())
}
