//! Measures the store: `cargo run --release -p apiserver --example store_bench [-- txn|open|space|churn|watch]...`
//!
//! A number among the arguments is how many updates `space` and `churn` make, instead of 100,000.
//!
//! Machines differ and are noisy, so what counts are ratios within one run. `txn` therefore runs etcd beside the store, on
//! the same disk, when Debian's `etcd-server` is installed. Everything is kept below `target/store-bench`.
#![allow(clippy::print_stdout, reason = "a program whose output is its purpose")]

mod etcd;

use std::{
    error::Error,
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use apiserver::storage::{
    ListQuery, Put, Revision, Storage, Store, StoreConfig, Txn, TxnResult, WatchQuery,
    engine::{memory::MemoryEngine, sled::SledEngine},
};
use bytes::Bytes;
use component_base::clock::Clock;
use tokio_util::task::TaskTracker;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const WRITERS: [usize; 3] = [1, 16, 64];
const RUN: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let updates = asked.iter().find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    let all = asked.iter().all(|arg| arg.parse::<usize>().is_ok());
    let wanted = |name: &str| all || asked.iter().any(|arg| arg == name);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if wanted("txn") {
            txn().await?;
        }
        if wanted("open") {
            open().await?;
        }
        if asked.iter().any(|arg| arg == "load") {
            load().await?;
        }
        if wanted("space") {
            space(updates).await?;
        }
        if wanted("churn") {
            churn(updates).await?;
        }
        if wanted("watch") {
            watch().await?;
        }
        Ok(())
    })
}

fn bench_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/store-bench").join(name)
}

fn fresh_dir(name: &str) -> Result<PathBuf> {
    let dir = bench_dir(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn open_sled(dir: &Path) -> Result<Store> {
    Ok(Store::open(SledEngine::open(dir)?, StoreConfig::new(Clock::real()))?)
}

/// Runs `writers` tasks that call `write(task, n)` for [`RUN`], and tells the calls per second.
pub(crate) async fn rate<F, Fut>(writers: usize, write: F) -> Result<f64>
where
    F: Fn(usize, usize) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<()>> + Send,
{
    let clock = Clock::real();
    let start = clock.monotonic();
    let tasks = TaskTracker::new();
    let handles: Vec<_> = (0..writers)
        .map(|task| {
            let (clock, write) = (clock.clone(), write.clone());
            tasks.spawn(async move {
                let mut calls = 0;
                while clock.monotonic() - start < RUN {
                    write(task, calls).await?;
                    calls += 1;
                }
                Result::Ok(calls)
            })
        })
        .collect();
    let mut total = 0;
    for handle in handles {
        total += handle.await??;
    }
    Ok(total as f64 / (clock.monotonic() - start).as_secs_f64())
}

async fn txn() -> Result<()> {
    println!("durable transactions of 1 KB, per second");
    let value = Bytes::from(vec![b'x'; 1024]);
    let etcd = etcd::Etcd::start(&fresh_dir("etcd")?).await?;
    if etcd.is_none() {
        println!(
            "!!! ETCD IS NOT INSTALLED (apt-get install etcd-server): NOTHING TO COMPARE WITH !!!"
        );
    }
    for writers in WRITERS {
        let dir = fresh_dir("txn")?;
        let store = open_sled(&dir)?;
        let (handle, bytes) = (store.clone(), value.clone());
        let ours = rate(writers, move |task, n| {
            let put = Put::new(format!("/registry/pods/default/{task}-{n}"), bytes.clone());
            let store = handle.clone();
            async move {
                store.txn(Txn::create(put)).await?;
                Ok(())
            }
        })
        .await?;
        let groups = store.metrics().groups.get();
        let txns = store.metrics().txns.get();
        store.close().await;
        let theirs = match &etcd {
            Some(etcd) => Some(etcd.put_rate(writers, value.clone()).await?),
            None => None,
        };
        let ratio = theirs.map_or("no etcd".to_owned(), |theirs| {
            format!("etcd {theirs:.0}: {:.2}x", ours / theirs)
        });
        let size = txns as f64 / groups as f64;
        println!("  {writers:2} writers: {ours:.0} ({size:.1} per group), {ratio}");
    }
    Ok(())
}

/// A stand-in for a pod of about 2 KB.
fn pod(n: usize) -> Put {
    let spec = "x".repeat(1950);
    let value =
        format!(r#"{{"metadata":{{"name":"web-{n}","resourceVersion":""}},"spec":"{spec}"}}"#);
    let slot = value.find(r#"Version":""#).expect("it is there") + r#"Version":""#.len();
    Put::new(format!("/registry/pods/default/web-{n}"), value)
        .slot(slot)
        .index(format!("node-{}", n % 100))
}

async fn fill(store: &Store, pods: usize) -> Result<()> {
    let tasks = TaskTracker::new();
    let handles: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tasks.spawn(async move {
                for n in (task..pods).step_by(16) {
                    store.txn(Txn::create(pod(n))).await?;
                }
                Result::Ok(())
            })
        })
        .collect();
    for handle in handles {
        handle.await??;
    }
    Ok(())
}

async fn open() -> Result<()> {
    let dir = fresh_dir("open")?;
    let clock = Clock::real();
    let store = open_sled(&dir)?;
    let start = clock.monotonic();
    fill(&store, 10_000).await?;
    let took = clock.monotonic() - start;
    println!("10,000 pods of 2 KB by 16 writers: {:.0} per second", 10_000.0 / took.as_secs_f64());
    println!("  resident {:.1} MiB, {:.1} MiB on disk", resident(), disk(&dir)? as f64 / MIB);
    store.close().await;
    drop(store);
    // In a process of its own, so that what it needs can be told.
    for _ in 0..3 {
        let status =
            tokio::process::Command::new(std::env::current_exe()?).arg("load").status().await?;
        assert!(status.success(), "the other process failed");
    }
    Ok(())
}

async fn load() -> Result<()> {
    let dir = bench_dir("open");
    let clock = Clock::real();
    let before = resident();
    let start = clock.monotonic();
    let store = open_sled(&dir)?;
    let opened = clock.monotonic() - start;
    let start = clock.monotonic();
    let list = store.list(&ListQuery::prefix("/registry/pods/")).await?;
    let listed = clock.monotonic() - start;
    println!(
        "  opened in {opened:.0?}, resident {before:.1} -> {:.1} MiB; list of {} in {listed:.0?}",
        resident(),
        list.items.len()
    );
    store.close().await;
    Ok(())
}

const MIB: f64 = 1024.0 * 1024.0;

async fn space(updates: usize) -> Result<()> {
    let dir = fresh_dir("space")?;
    let store = open_sled(&dir)?;
    let clock = Clock::real();
    let lease =
        |n: usize| Put::new(format!("/registry/leases/kube-node-lease/node-{n}"), vec![b'x'; 450]);
    for n in 0..1000 {
        store.txn(Txn::put(lease(n))).await?;
    }
    let before = resident();
    println!(
        "{updates} Lease updates of 450 bytes, by 16 writers; before: {before:.0} MiB resident"
    );
    let tasks = TaskTracker::new();
    let start = clock.monotonic();
    let handles: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tasks.spawn(async move {
                for n in (task..updates).step_by(16) {
                    store.txn(Txn::put(lease(n % 1000))).await?;
                }
                Result::Ok(())
            })
        })
        .collect();
    for handle in handles {
        handle.await??;
    }
    println!("  {:.0} per second", updates as f64 / (clock.monotonic() - start).as_secs_f64());
    for wait in [0, 3, 15] {
        clock.sleep(Duration::from_secs(wait)).await;
        println!(
            "  {wait} s later: {:.1} MiB on disk, resident +{:.1} MiB",
            disk(&dir)? as f64 / MIB,
            resident() - before
        );
    }
    store.close().await;
    drop(store);
    println!("  closed: {:.1} MiB on disk", disk(&dir)? as f64 / MIB);
    let start = clock.monotonic();
    let store = open_sled(&dir)?;
    println!(
        "  open: {:.0?}, {:.1} MiB on disk",
        clock.monotonic() - start,
        disk(&dir)? as f64 / MIB
    );
    store.close().await;
    Ok(())
}

/// Updates of random pods among 10,000: long-lived records between short-lived ones, the worst for a log's collector.
async fn churn(updates: usize) -> Result<()> {
    let dir = fresh_dir("churn")?;
    let store = open_sled(&dir)?;
    fill(&store, 10_000).await?;
    println!("{updates} updates among 10,000 pods of 2 KB, by 16 writers");
    println!(
        "  before: {:.1} MiB on disk, resident {:.1} MiB",
        disk(&dir)? as f64 / MIB,
        resident()
    );
    let clock = Clock::real();
    let start = clock.monotonic();
    let tasks = TaskTracker::new();
    let handles: Vec<_> = (0..16)
        .map(|task| {
            let (store, clock) = (store.clone(), clock.clone());
            tasks.spawn(async move {
                for _ in (task..updates).step_by(16) {
                    let n = clock.random_u64() % 10_000;
                    store.txn(Txn::put(pod(n as usize))).await?;
                }
                Result::Ok(())
            })
        })
        .collect();
    for handle in handles {
        handle.await??;
    }
    println!("  {:.0} per second", updates as f64 / (clock.monotonic() - start).as_secs_f64());
    println!(
        "  after: {:.1} MiB on disk, resident {:.1} MiB",
        disk(&dir)? as f64 / MIB,
        resident()
    );
    store.close().await;
    let start = clock.monotonic();
    let store = open_sled(&dir)?;
    println!(
        "  open: {:.0?}, {:.1} MiB on disk",
        clock.monotonic() - start,
        disk(&dir)? as f64 / MIB
    );
    store.close().await;
    Ok(())
}

async fn watch() -> Result<()> {
    for durable in [false, true] {
        let store = if durable {
            open_sled(&fresh_dir("watch")?)?
        } else {
            Store::open(MemoryEngine, StoreConfig::new(Clock::real()))?
        };
        fan_out(store, if durable { "sled" } else { "memory" }).await?;
    }
    Ok(())
}

/// 100 watchers while 16 clients create 2,000 pods each.
async fn fan_out(store: Store, engine: &str) -> Result<()> {
    const WATCHERS: usize = 100;
    const PODS: usize = 16 * 2000;
    let clock = Clock::real();
    let answered = Arc::new(parking_lot::Mutex::new(vec![Duration::ZERO; PODS + 1]));
    let tasks = TaskTracker::new();
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let mut watch = store.watch(WatchQuery::prefix("/registry/pods/", Revision::ZERO)).await?;
        let clock = clock.clone();
        watchers.push(tasks.spawn(async move {
            let mut seen = Vec::with_capacity(PODS);
            while seen.len() < PODS {
                let Some(batch) = watch.next().await else { break };
                let now = clock.monotonic();
                seen.extend(batch?.iter().map(|event| (event.revision().0 as usize, now)));
            }
            Result::Ok(seen)
        }));
    }
    let start = clock.monotonic();
    let writers: Vec<_> = (0..16)
        .map(|task| {
            let (store, answered, clock) = (store.clone(), answered.clone(), clock.clone());
            tasks.spawn(async move {
                for n in (task..PODS).step_by(16) {
                    let result = store.txn(Txn::create(pod(n))).await?;
                    let now = clock.monotonic();
                    if let TxnResult::Committed { revision, .. } = result {
                        answered.lock()[revision.0 as usize] = now;
                    }
                }
                Result::Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let wrote = clock.monotonic() - start;
    let mut delays = Vec::with_capacity(PODS * WATCHERS);
    for watcher in watchers {
        let answered = answered.lock().clone();
        let seen = watcher.await??;
        delays.extend(seen.iter().map(|(revision, at)| at.saturating_sub(answered[*revision])));
    }
    let took = clock.monotonic() - start;
    delays.sort_unstable();
    println!(
        "{WATCHERS} watchers, 16 writers ({engine}): {:.0} creates/s, {:.0} events/s, delay p50 {:.1?} p99 {:.1?} max {:.1?}",
        PODS as f64 / wrote.as_secs_f64(),
        delays.len() as f64 / took.as_secs_f64(),
        delays[delays.len() / 2],
        delays[delays.len() * 99 / 100],
        delays[delays.len() - 1]
    );
    store.close().await;
    Ok(())
}

fn disk(dir: &Path) -> Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let metadata = entry?.metadata()?;
        total += if metadata.is_dir() { 0 } else { metadata.len() };
    }
    Ok(total)
}

/// MiB of this process in memory.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1024.0
}
