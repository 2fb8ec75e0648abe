//! Follows the API into the loop.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use apimachinery::{api::Resource, resource::ResourceInfo};
use client::{
    Client,
    reflector::{Change as Listed, ListWatch, Reflector},
};
use component_base::{clock::Clock, shutdown::Shutdown};
use tokio::sync::mpsc;

use super::Heard;
use crate::scheduler::{Change, Input};

/// Follows a resource into the loop; what vanished unseen is told as a deletion.
pub(super) fn follow<T: Resource>(
    client: &Client,
    clock: &Clock,
    shutdown: &Shutdown,
    sender: &mpsc::Sender<Heard>,
    wrap: fn(Change<T>) -> Input,
) {
    let info: &'static ResourceInfo = T::INFO;
    let mut reflector: Reflector<T> =
        Reflector::new(client.clone(), clock.clone(), ListWatch::all(info));
    let (sender, token) = (sender.clone(), shutdown.token().clone());
    let following = async move {
        let mut known: HashMap<String, Arc<T>> = HashMap::new();
        let mut listed = false;
        let uid = |object: &T| object.metadata().uid.clone().unwrap_or_default();
        loop {
            let mut changes = Vec::new();
            let mut first_list = false;
            match reflector.next().await {
                Listed::Replaced { objects, .. } => {
                    first_list = !std::mem::replace(&mut listed, true);
                    let present: HashSet<String> = objects.iter().map(uid).collect();
                    let gone: Vec<String> =
                        known.keys().filter(|uid| !present.contains(*uid)).cloned().collect();
                    for uid in gone {
                        changes.extend(known.remove(&uid).map(Change::Deleted));
                    }
                    for object in objects.into_iter().map(Arc::new) {
                        known.insert(uid(&object), object.clone());
                        changes.push(Change::Applied(object));
                    }
                }
                Listed::Applied(object) => {
                    let object = Arc::new(object);
                    known.insert(uid(&object), object.clone());
                    changes.push(Change::Applied(object));
                }
                Listed::Deleted(object) => {
                    known.remove(&uid(&object));
                    changes.push(Change::Deleted(Arc::new(object)));
                }
                Listed::Reached(_) => {}
            }
            for change in changes {
                if sender.send(Heard::Change(wrap(change))).await.is_err() {
                    return;
                }
            }
            if first_list && sender.send(Heard::Listed).await.is_err() {
                return;
            }
        }
    };
    shutdown.spawn(info.resource, async move {
        token.run_until_cancelled(following).await;
    });
}
