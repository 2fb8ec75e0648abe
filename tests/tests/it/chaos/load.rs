//! What users do meanwhile: Deployments with Services come, are scaled, rolled out and deleted; pods are deleted.

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use apimachinery::{
    api::{
        apps::Deployment,
        core::{Pod, Service},
    },
    status::Status,
};
use client::{DeleteOptions, ListOptions, Propagation};
use tests::{TestCluster, eventually};

use super::dice::Dice;

/// Deployments that there may be.
const NAMES: u64 = 6;
const REPLICAS: u64 = 5;
/// How long a user keeps trying while processes die.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a Deployment is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) replicas: u64,
    /// In the pods' annotations: a new one is a rollout.
    pub(super) revision: u64,
}

/// By name; None: it is to be gone.
pub(super) type Wishes = BTreeMap<String, Option<Wanted>>;

pub(super) struct Load<'a> {
    cluster: &'a TestCluster,
    dice: Dice,
    wanted: Wishes,
    operations: u64,
}

impl<'a> Load<'a> {
    pub(super) fn new(cluster: &'a TestCluster, dice: Dice) -> Self {
        Self { cluster, dice, wanted: Wishes::new(), operations: 0 }
    }

    pub(super) fn wanted(&self) -> &Wishes {
        &self.wanted
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations
    }

    /// One operation after the other until it is over. What fails now is made up for by [`Self::insist`].
    pub(super) async fn run(&mut self, over: &Cell<bool>) {
        while !over.get() {
            self.operations += 1;
            let name = format!("app-{}", self.dice.below(NAMES));
            // A failure may be the death of whom it needs.
            let _ = if self.dice.below(5) == 0 {
                self.delete_a_pod(&name).await
            } else {
                let wish = self.wish(&name);
                self.wanted.insert(name.clone(), wish);
                self.fulfil(&name).await
            };
            let pause = Duration::from_millis(20 + self.dice.below(200));
            self.cluster.clock().sleep(pause).await;
        }
    }

    /// Asks for everything once more, until all was heard.
    pub(super) async fn insist(&mut self) {
        let names: Vec<String> = self.wanted.keys().cloned().collect();
        for name in names {
            let what = format!("the API takes {name}");
            eventually(&what, PATIENCE, async || self.fulfil(&name).await).await;
        }
    }

    fn wish(&mut self, name: &str) -> Option<Wanted> {
        let present = self.wanted.get(name).cloned().flatten();
        let replicas = self.dice.below(REPLICAS + 1);
        match (present, self.dice.below(4)) {
            (Some(_), 0) => None,
            (Some(present), 1) => Some(Wanted { replicas, ..present }),
            (Some(present), _) => Some(Wanted { revision: self.operations, ..present }),
            (None, _) => Some(Wanted { replicas, revision: self.operations }),
        }
    }

    async fn fulfil(&self, name: &str) -> anyhow::Result<()> {
        let client = self.cluster.client();
        let Some(wanted) = self.wanted.get(name).cloned().flatten() else {
            let propagation = match self.operations % 3 {
                0 => Propagation::Foreground,
                _ => Propagation::Background,
            };
            let options =
                DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
            absent_is_fine(client.delete::<Deployment>("default", name, &options).await)?;
            let options = DeleteOptions::default();
            absent_is_fine(client.delete::<Service>("default", name, &options).await)?;
            return Ok(());
        };
        // What is on its way out must be gone before its namesake can come.
        match client.get::<Deployment>("default", name).await {
            Ok(old) if old.metadata.deletion_timestamp.is_some() => {
                anyhow::bail!("the old {name} is not gone yet")
            }
            Err(status) if !status.is_not_found() => return Err(status.into()),
            _ => {}
        }
        self.cluster.apply(&manifest(name, &wanted)).await?;
        Ok(())
    }

    async fn delete_a_pod(&mut self, name: &str) -> anyhow::Result<()> {
        let client = self.cluster.client();
        let options = ListOptions::labels(format!("app={name}"));
        let pods = client.list::<Pod>("default", &options).await?.items;
        if pods.is_empty() {
            return Ok(());
        }
        let chosen = self.dice.below(pods.len() as u64);
        let pod = &pods[usize::try_from(chosen)?];
        let options = DeleteOptions::uid(pod.metadata.uid.clone().unwrap());
        let name = pod.metadata.name.as_deref().unwrap();
        absent_is_fine(client.delete::<Pod>("default", name, &options).await)?;
        Ok(())
    }
}

fn absent_is_fine<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if status.is_not_found() || status.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

/// Pods leave a lost node soon, so that a run sees it.
fn manifest(name: &str, wanted: &Wanted) -> String {
    let Wanted { replicas, revision } = wanted;
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  revisionHistoryLimit: 2
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{revision: '{revision}'}}
    spec:
      tolerations:
      - {{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 3}}
      - {{key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 3}}
      containers:
      - name: whoami
        image: traefik/whoami
        ports: [{{containerPort: 80}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  type: NodePort
  selector: {{app: {name}}}
  ports:
  - port: 80
"
    )
}
