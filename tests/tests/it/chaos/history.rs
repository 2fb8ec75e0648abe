//! What a watch of all pods tells of a whole run.

use std::{collections::BTreeMap, time::Duration};

use apimachinery::api::core::Pod;
use client::{DeleteOptions, ListOptions, WatchEvent, WatchOptions};
use futures::StreamExt;
use tests::{TestCluster, eventually};

/// The pod that ends the history; nobody schedules it.
const LAST: &str = "the-end-of-history";
const PATIENCE: Duration = Duration::from_secs(30);

/// A pod as last seen.
#[derive(Default)]
struct Seen {
    name: String,
    node: Option<String>,
}

pub(super) struct History<'a> {
    cluster: &'a TestCluster,
    from: String,
    pods: BTreeMap<String, Seen>,
    /// Which pod has an address, by uid.
    holders: BTreeMap<String, String>,
    faults: Vec<String>,
}

impl<'a> History<'a> {
    pub(super) async fn begin(cluster: &'a TestCluster) -> Self {
        let list = cluster.client().list::<Pod>("default", &ListOptions::default()).await.unwrap();
        assert!(list.items.is_empty(), "the history begins without pods");
        Self {
            cluster,
            from: list.resource_version,
            pods: BTreeMap::new(),
            holders: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// Follows all pods up to [`finish`]; a watch that breaks is resumed where it was.
    pub(super) async fn follow(mut self) -> Self {
        loop {
            let options = WatchOptions {
                resource_version: self.from.clone(),
                allow_bookmarks: true,
                ..WatchOptions::default()
            };
            let Ok(mut stream) = self.cluster.client().watch::<Pod>("default", &options).await
            else {
                self.cluster.clock().sleep(Duration::from_millis(5)).await;
                continue;
            };
            while let Some(event) = stream.next().await {
                match event {
                    Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) => {
                        if pod.metadata.name.as_deref() == Some(LAST) {
                            return self;
                        }
                        self.see(&pod);
                    }
                    Ok(WatchEvent::Deleted(pod)) => {
                        self.see(&pod);
                        let uid = pod.metadata.uid.unwrap();
                        self.holders.retain(|_, holder| *holder != uid);
                    }
                    Ok(WatchEvent::Bookmark { resource_version, .. }) => {
                        self.from = resource_version;
                    }
                    Err(status) => {
                        if client::wire::transport_failure(&status).is_none() && status.code == 410
                        {
                            panic!("the history from {} is lost: {status}", self.from);
                        }
                        break;
                    }
                }
            }
        }
    }

    fn see(&mut self, pod: &Pod) {
        let meta = &pod.metadata;
        let (uid, version) = (meta.uid.clone().unwrap(), meta.resource_version.clone().unwrap());
        let seen = self.pods.entry(uid.clone()).or_default();
        seen.name = meta.name.clone().unwrap();
        match (&seen.node, &pod.spec.node_name) {
            (Some(old), new) if new.as_ref() != Some(old) => {
                self.faults.push(format!("{} went from {old} to {new:?} at {version}", seen.name));
            }
            (None, Some(node)) => seen.node = Some(node.clone()),
            _ => {}
        }
        let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        match &pod.status.pod_ip {
            Some(address) if !ended => {
                let before = self.holders.insert(address.clone(), uid.clone());
                if let Some(before) = before.filter(|before| *before != uid) {
                    let (other, this) = (&self.pods[&before].name, &self.pods[&uid].name);
                    self.faults.push(format!("{address} of {other} went to {this} at {version}"));
                }
            }
            _ => self.holders.retain(|_, holder| *holder != uid),
        }
        self.from = version;
    }

    pub(super) fn pods(&self) -> usize {
        self.pods.len()
    }

    pub(super) fn check(&self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}

/// Ends the history.
pub(super) async fn finish(cluster: &TestCluster) {
    let last = format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {LAST}}}
spec:
  schedulerName: nobody
  containers: [{{name: c, image: busybox}}]
"
    );
    cluster.apply(&last).await.unwrap();
    let client = cluster.client();
    client.delete::<Pod>("default", LAST, &DeleteOptions::default()).await.unwrap();
    eventually("the last pod is gone", PATIENCE, async || {
        match client.get::<Pod>("default", LAST).await {
            Err(status) if status.is_not_found() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
