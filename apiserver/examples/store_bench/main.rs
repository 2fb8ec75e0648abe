//! Measures the store: `cargo run --release -p apiserver --example store_bench [-- txn|open|space|watch]...`
//!
//! Machines differ and are noisy, so what counts are ratios within one run. `txn` therefore runs etcd beside the store, on
//! the same disk, when Debian's `etcd-server` is installed. Everything is kept below `target/store-bench`.

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
    Put, Revision, Storage, Store, StoreConfig, Txn, WatchQuery,
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
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|arg| arg == name);
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
            let before = resident();
            let store = open_sled(Path::new("target/store-bench/open"))?;
            println!("resident {before:.1} -> {:.1}", resident());
            fill_more(&store).await?;
            println!("resident {before:.1} -> {:.1}", resident());
        }
        if wanted("space") {
            space().await?;
        }
        if wanted("watch") {
            watch().await?;
        }
        Ok(())
    })
}

fn fresh_dir(name: &str) -> Result<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/store-bench").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn open_sled(dir: &Path) -> Result<Store> {
    let mut config = StoreConfig::new(Clock::real());
    if let Ok(mib) = std::env::var("HIST") {
        config.retention.base_bytes = mib.parse::<usize>()? << 20;
    }
    Ok(Store::open(SledEngine::open(dir)?, config)?)
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

async fn fill_more(store: &Store) -> Result<()> {
    for n in 0..2000 {
        store.txn(Txn::put(pod(n % 10))).await?;
    }
    Ok(())
}

async fn open() -> Result<()> {
    let dir = fresh_dir("open")?;
    let clock = Clock::real();
    let store = open_sled(&dir)?;
    let start = clock.monotonic();
    fill(&store, 10_000).await?;
    println!(
        "10,000 pods of 2 KB by 16 writers: {:.0} per second",
        10_000.0 / (clock.monotonic() - start).as_secs_f64()
    );
    let after_fill = resident();
    store.close().await;
    drop(store);
    for run in 1..=3 {
        let before = resident();
        let start = clock.monotonic();
        let store = open_sled(&dir)?;
        let took = clock.monotonic() - start;
        let list = store.list(&apiserver::storage::ListQuery::prefix("/registry/pods/")).await?;
        println!(
            "  open {run}: {took:.0?} for {} pods, {:.1} MiB on disk, resident {:.0} -> {:.0} MiB (after filling {:.0})",
            list.items.len(),
            disk(&dir)? as f64 / MIB,
            before,
            resident(),
            after_fill
        );
        let start = clock.monotonic();
        let list = store.list(&apiserver::storage::ListQuery::prefix("/registry/pods/")).await?;
        println!("  list of {}: {:.0?}", list.items.len(), clock.monotonic() - start);
        store.close().await;
    }
    Ok(())
}

const MIB: f64 = 1024.0 * 1024.0;

async fn space() -> Result<()> {
    let dir = fresh_dir("space")?;
    let store = open_sled(&dir)?;
    let clock = Clock::real();
    let lease =
        |n: usize| Put::new(format!("/registry/leases/kube-node-lease/node-{n}"), vec![b'x'; 450]);
    for n in 0..1000 {
        store.txn(Txn::put(lease(n))).await?;
    }
    let before = resident();
    println!("100,000 Lease updates of 450 bytes, by 16 writers; before: {before:.0} MiB resident");
    let tasks = TaskTracker::new();
    let start = clock.monotonic();
    let handles: Vec<_> = (0..16)
        .map(|task| {
            let store = store.clone();
            tasks.spawn(async move {
                for n in (task..100_000).step_by(16) {
                    store.txn(Txn::put(lease(n % 1000))).await?;
                }
                Result::Ok(())
            })
        })
        .collect();
    for handle in handles {
        handle.await??;
    }
    println!("  {:.0} per second", 100_000.0 / (clock.monotonic() - start).as_secs_f64());
    for wait in [0, 3, 15] {
        clock.sleep(Duration::from_secs(wait)).await;
        println!(
            "  {wait} s later: {:.1} MiB on disk, resident +{:.1} MiB",
            disk(&dir)? as f64 / MIB,
            resident() - before
        );
    }
    if std::env::var("COMPACT").is_ok() {
        store.compact(store.current_revision().await?).await?;
        println!("  compacted: resident +{:.1} MiB", resident() - before);
        clock.sleep(Duration::from_secs(1)).await;
        fill(&store, 3).await?;
        println!(
            "  later: resident +{:.1} MiB disk {:.1}",
            resident() - before,
            disk(&dir)? as f64 / MIB
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
                    if let apiserver::storage::TxnResult::Committed { revision, .. } = result {
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
