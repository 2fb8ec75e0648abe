//! Waiting for something to become of one object.
//!
//! [`until`] shows the object as it is, then every later state of it, until the caller has seen enough or the time is
//! over. It lists and watches by name, and starts anew when the watch breaks off, as client-go's `UntilWithSync` does.

use std::time::Duration;

use apimachinery::{object::Object, resource::ResourceInfo};
use client::{DynamicObject, ListOptions, WatchEvent, WatchOptions};
use futures::StreamExt;

use crate::{context::Context, errors::CommandError};

/// What there is to see.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// The object as it is now.
    Present(&'a Object),
    /// There is none, at the start.
    Absent,
    /// It is gone now; its last state.
    Deleted(&'a Object),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The caller has seen enough.
    Done,
    /// The time was over first.
    TimedOut,
}

/// How long a broken watch waits before it starts anew.
const PAUSE: Duration = Duration::from_secs(1);

/// Shows an object until `check` says true. Without a timeout it waits for ever.
///
/// # Errors
/// What `check` says, or the server of the first look.
pub async fn until(
    context: &Context,
    info: &'static ResourceInfo,
    namespace: &str,
    name: &str,
    timeout: Option<Duration>,
    check: impl FnMut(Seen<'_>) -> Result<bool, CommandError>,
) -> Result<Waited, CommandError> {
    let watch = follow(context, info, namespace, name, check);
    match timeout {
        None => watch.await.map(|()| Waited::Done),
        Some(timeout) => match context.clock.timeout(timeout, watch).await {
            Ok(result) => result.map(|()| Waited::Done),
            Err(_) => Ok(Waited::TimedOut),
        },
    }
}

async fn follow(
    context: &Context,
    info: &'static ResourceInfo,
    namespace: &str,
    name: &str,
    mut check: impl FnMut(Seen<'_>) -> Result<bool, CommandError>,
) -> Result<(), CommandError> {
    let client = context.client()?;
    let selector = format!("metadata.name={name}");
    let mut last_version = String::new();
    let mut first = true;
    loop {
        let list = client.list_objects(info, namespace, &ListOptions::fields(&selector)).await;
        let list = match list {
            Ok(list) => list,
            Err(status) if first => return Err(status.into()),
            Err(_) => {
                context.clock.sleep(PAUSE).await;
                continue;
            }
        };
        let seen = list.items.first();
        // A state that was shown before the watch broke off is no news.
        if first || seen.map_or("", Object::resource_version) != last_version {
            if check(seen.map_or(Seen::Absent, Seen::Present))? {
                return Ok(());
            }
            seen.map_or("", Object::resource_version).clone_into(&mut last_version);
        }
        first = false;
        let options = WatchOptions {
            field_selector: selector.clone(),
            resource_version: list.resource_version,
            ..WatchOptions::default()
        };
        let Ok(mut events) = client.watch_objects(info, namespace, &options).await else {
            context.clock.sleep(PAUSE).await;
            continue;
        };
        while let Some(Ok(event)) = events.next().await {
            let done = match &event {
                WatchEvent::Added(DynamicObject(object))
                | WatchEvent::Modified(DynamicObject(object)) => {
                    object.resource_version().clone_into(&mut last_version);
                    check(Seen::Present(object))?
                }
                WatchEvent::Deleted(DynamicObject(object)) => {
                    last_version.clear();
                    check(Seen::Deleted(object))?
                }
                WatchEvent::Bookmark { .. } => false,
            };
            if done {
                return Ok(());
            }
        }
    }
}
