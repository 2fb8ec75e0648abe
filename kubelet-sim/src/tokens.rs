//! The tokens of ServiceAccounts in pods' volumes.
//!
//! A token is asked for when its pod starts, bound to the pod, and again once four fifths of its time (24 hours at most)
//! have passed; the volume is written anew then, in one step. Nothing of it is kept in memory: the file is the copy that
//! other changes of the volume take it from, and that a pod comes back with while the API server is away.
//!
//! Follows `pkg/kubelet/token`. A kubelet looks every minute or so whether a token is due; here it is due up to a minute
//! late, by chance, so that the pods of a process do not all ask at once.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use apimachinery::{
    api::core::{Pod, ServiceAccountTokenProjection, Volume},
    object::ObjectKey,
    status::Status,
};
use bytes::Bytes;

use crate::{
    node::NodeContext,
    objects::{Referenced, References},
    volumes,
};

/// How the name of the volume begins that every pod gets.
const ACCOUNT_VOLUME: &str = "kube-api-access-";
/// What it holds of the namespace; a new namespace gets it a moment after its first pods, perhaps.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// The longest that a token is used.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How late a token may be exchanged.
const JITTER_MILLIS: u64 = 60_000;
/// How soon after a failure the next attempt is made, up to [`JITTER_MILLIS`] later: the rest of a token's time is for that.
const RETRY: Duration = Duration::from_secs(30);
/// Where the request says nothing.
const DEFAULT_SECONDS: i64 = 3600;

/// Tokens by volume and path.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<(String, String), Bytes>);

impl Tokens {
    /// The token of a volume at a path.
    #[must_use]
    pub fn get(&self, volume: &str, path: &str) -> Option<&Bytes> {
        self.0.get(&(volume.to_owned(), path.to_owned()))
    }
}

/// Whether this is the volume that every pod gets: its certificate comes with its token.
#[must_use]
pub fn is_account_volume(volume: &Volume) -> bool {
    volume.name.starts_with(ACCOUNT_VOLUME) && has_token(volume)
}

/// Whether a volume holds a token.
#[must_use]
pub fn has_token(volume: &Volume) -> bool {
    projections(volume).next().is_some()
}

fn projections(volume: &Volume) -> impl Iterator<Item = &ServiceAccountTokenProjection> {
    let sources = volume.projected.iter().flat_map(|projected| &projected.sources);
    sources.filter_map(|source| source.service_account_token.as_deref())
}

/// The tokens that a pod's volumes hold now.
#[must_use]
pub fn kept(pod: &Pod, dir: &Path) -> Tokens {
    let mut tokens = Tokens::default();
    for volume in &pod.spec.volumes {
        for token in projections(volume) {
            if let Ok(text) = fs::read(volumes::folder(dir, &volume.name).join(&token.path)) {
                tokens.0.insert((volume.name.clone(), token.path.clone()), text.into());
            }
        }
    }
    tokens
}

/// Asks for all tokens of a pod; also when they are to be exchanged, on the monotonic clock; None: it has none.
///
/// # Errors
/// The API server refuses one, or is away and the pod has none from before.
pub async fn request(
    node: &NodeContext,
    pod: &Pod,
    dir: &Path,
) -> Result<(Tokens, Option<Duration>), String> {
    let mut tokens = Tokens::default();
    let mut due = None;
    for volume in &pod.spec.volumes {
        for wanted in projections(volume) {
            let (text, next) = match ask(node, pod, wanted).await {
                Ok(answer) => answer,
                Err(status) => {
                    let fail = || {
                        format!(
                            "MountVolume.SetUp failed for volume {:?} : failed to fetch token: {}",
                            volume.name, status.message
                        )
                    };
                    let away = client::wire::transport_failure(&status).is_some();
                    let kept = kept(pod, dir);
                    let text = kept.get(&volume.name, &wanted.path).filter(|_| away);
                    (text.ok_or_else(fail)?.clone(), again(node))
                }
            };
            tokens.0.insert((volume.name.clone(), wanted.path.clone()), text);
            due = Some(due.map_or(next, |due: Duration| due.min(next)));
        }
    }
    Ok((tokens, due))
}

async fn ask(
    node: &NodeContext,
    pod: &Pod,
    wanted: &ServiceAccountTokenProjection,
) -> Result<(Bytes, Duration), Status> {
    let metadata = &pod.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let account = ObjectKey {
        namespace: text(&metadata.namespace),
        name: text(&pod.spec.service_account_name),
    };
    let seconds = wanted.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
    let (pod_name, pod_uid) = (text(&metadata.name), text(&metadata.uid));
    let audience = wanted.audience.as_deref().unwrap_or_default();
    let asked = node.client.request_pod_token(&account, (&pod_name, &pod_uid), audience, seconds);
    let token = asked.await?.token.unwrap_or_default();
    let life = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    // One of ten minutes has two left when four fifths are over.
    let due = (life * 4 / 5).min(LONGEST) + jitter(node).min(life / 20);
    Ok((token.into(), node.clock.monotonic() + due))
}

/// When to try again.
fn again(node: &NodeContext) -> Duration {
    node.clock.monotonic() + RETRY + jitter(node)
}

fn jitter(node: &NodeContext) -> Duration {
    Duration::from_millis(node.clock.random_u64() % JITTER_MILLIS)
}

/// Exchanges the tokens of a running pod; gives when the next ones are due.
pub async fn renew(
    node: Arc<NodeContext>,
    pod: Arc<Pod>,
    dir: std::path::PathBuf,
) -> Option<Duration> {
    match try_renew(&node, &pod, &dir).await {
        Ok(due) => due,
        Err(message) => {
            // The pod goes on with the one that it has, as under a kubelet.
            tracing::debug!(pod = pod.metadata.name, message, "cannot exchange a pod's token yet");
            Some(again(&node))
        }
    }
}

async fn try_renew(node: &NodeContext, pod: &Pod, dir: &Path) -> Result<Option<Duration>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let references = References::of(pod.spec.volumes.iter().filter(|volume| has_token(volume)));
    let referenced = node.objects.fetch(namespace, &references).await;
    let referenced = referenced.map_err(|status| status.message)?;
    let (tokens, due) = request(node, pod, dir).await?;
    let referenced = Referenced { tokens, ..referenced };
    let _writing = node.volume_writes.lock();
    for volume in pod.spec.volumes.iter().filter(|volume| has_token(volume)) {
        volumes::set_up_one(pod, volume, dir, &referenced, &node.host_ip, node.clock.now())?;
    }
    Ok(due)
}

#[cfg(test)]
mod tests;
