//! A disk that is full: writes are refused, in words that help; everything else goes on, and nothing is lost.
//!
//! The disk is a small tmpfs in a mount namespace of its own, which takes root. Without it there are the storage's own
//! tests of disks that fail.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use apimachinery::{
    api::{core::ConfigMap, meta::ObjectMeta},
    status::Status,
};
use client::{ListOptions, WatchEvent, WatchOptions};
use futures::StreamExt;
use http::Method;
use tempfile::TempDir;
use tests::{Component, Runner, TestCluster, eventually};

use crate::rest::Rest;

const PATIENCE: Duration = Duration::from_secs(60);
/// Where the disk is, inside its namespace.
const DISK: &str = "/mnt";
const DISK_SIZE: &str = "24m";
/// What lies on it at first, and is taken away later.
const BALLAST: usize = 8 << 20;

/// A process that keeps a mount namespace with a small disk alive.
struct SmallDisk {
    keeper: Child,
    programs: TempDir,
}

impl SmallDisk {
    /// None: not allowed here.
    fn make(folder: &Path) -> Option<Self> {
        let script =
            format!("mount -t tmpfs -o size={DISK_SIZE} tmpfs {DISK} && echo ready && cat");
        let mut keeper = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut ready = [0; 5];
        let said = keeper.stdout.as_mut()?.read_exact(&mut ready);
        if said.is_err() {
            let _ = keeper.wait();
            return None;
        }
        // The API server enters the namespace, and finds its database there.
        let programs = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && path.file_name().is_some_and(|name| name != "kube-apiserver") {
                std::os::unix::fs::symlink(&path, programs.path().join(path.file_name().unwrap()))
                    .unwrap();
            }
        }
        let real = folder.join("kube-apiserver");
        let script = format!(
            "#!/bin/sh\nfor argument; do case $argument in --data-dir=*) ;; *) set -- \"$@\" \"$argument\";; esac; shift; done\n\
             exec nsenter --mount --target {} {} --data-dir={DISK}/db \"$@\"\n",
            keeper.id(),
            real.display()
        );
        let program = programs.path().join("kube-apiserver");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { keeper, programs })
    }

    /// A path on the disk, as this process sees it.
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{DISK}/{name}", self.keeper.id()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        data: BTreeMap::from([("text".to_owned(), "x".repeat(100 << 10))]),
        ..ConfigMap::default()
    }
}

/// Creates ConfigMaps until one is refused: how many were acknowledged, and the refusal.
async fn fill(cluster: &TestCluster) -> (usize, Status) {
    for number in 0..1000 {
        if let Err(status) = cluster.client().create(&config_map(&format!("map-{number}"))).await {
            return (number, status);
        }
    }
    panic!("the disk does not get full");
}

async fn maps(cluster: &TestCluster) -> Result<usize, Status> {
    let list = cluster.client().list::<ConfigMap>("default", &ListOptions::default()).await?;
    let ours = |map: &&ConfigMap| map.metadata.name.as_deref().unwrap_or("").starts_with("map-");
    Ok(list.items.iter().filter(ours).count())
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let own = std::env::current_exe().unwrap();
    let has = |dir: &&Path| dir.join("kube-apiserver").is_file();
    let folder = own.ancestors().skip(1).take(3).find(has).expect("the programs are built");
    let Some(disk) = SmallDisk::make(folder) else {
        eprintln!("no mount namespaces here: not tried");
        return;
    };
    fs::write(disk.path("ballast"), vec![0; BALLAST]).unwrap();
    let cluster = TestCluster::builder()
        .runner(Runner::Process)
        .programs(disk.programs.path())
        .nodes(0)
        .start()
        .await
        .unwrap();
    eventually("the API answers", PATIENCE, async || maps(&cluster).await).await;
    assert!(disk.path("db/db").is_file(), "the database is on the small disk");

    let (acknowledged, refusal) = fill(&cluster).await;
    assert!(acknowledged > 20, "{acknowledged} ConfigMaps fit");
    assert_eq!(refusal.code, 500, "{refusal}");
    for part in ["no space left on device", "make room on its disk", "/mnt/db"] {
        assert!(refusal.message.contains(part), "{part}: {}", refusal.message);
    }

    // Reads, lists and watches go on; what waits for the disk is told at once.
    assert_eq!(maps(&cluster).await.unwrap(), acknowledged);
    cluster.client().get::<ConfigMap>("default", "map-0").await.unwrap();
    let mut watch =
        cluster.client().watch::<ConfigMap>("default", &WatchOptions::default()).await.unwrap();
    assert!(matches!(watch.next().await, Some(Ok(WatchEvent::Added(_)))));
    let again = cluster.client().create(&config_map("again")).await.unwrap_err();
    assert_eq!(again.message, refusal.message);
    let rest = Rest::admin(&cluster);
    let (status, text) = rest.text(Method::GET, "/readyz", "").await;
    assert_eq!(status, 500);
    assert!(text.contains("[-]storage-writes failed"), "{text}");
    assert_eq!(rest.text(Method::GET, "/livez", "").await.0, 200, "it still serves");

    // Room again: the process ends, to be started afresh by whoever looks after it.
    fs::remove_file(disk.path("ballast")).unwrap();
    let server = Component::ApiServer;
    eventually("the API server ends for a fresh start", PATIENCE, async || {
        cluster.ended(server).ok_or("it runs")
    })
    .await;
    cluster.kill(server).unwrap();
    cluster.start(server).await.unwrap();
    let found = eventually("the API is back", PATIENCE, async || maps(&cluster).await).await;
    // The one that was refused may have reached the disk all the same.
    assert!((acknowledged..=acknowledged + 1).contains(&found), "{found} of {acknowledged}");
    eventually("writes are taken", PATIENCE, async || {
        cluster.client().create(&config_map("afterwards")).await
    })
    .await;
    let rest = Rest::admin(&cluster);
    eventually("it is ready", PATIENCE, async || {
        match rest.text(Method::GET, "/readyz", "").await {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
