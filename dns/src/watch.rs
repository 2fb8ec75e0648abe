//! Following the API: Services, EndpointSlices and Namespaces go into the directory as they come, and its records out.
//!
//! One task hears of everything and owns the directory, so that nothing is locked. Changes that come together are
//! published together. While the API is away the reflectors go on trying, and what was learnt stays in force.

use std::{pin::pin, sync::Arc};

use apimachinery::{
    api::{core::Service, discovery::EndpointSlice},
    object::ObjectKey,
    resource,
};
use client::{
    Client, PartialObject, Stored,
    reflector::{Change, ListWatch, Reflector},
};
use component_base::clock::Clock;
use futures::{Stream, StreamExt as _, stream};

use crate::{records::Directory, server::Published};

/// Changes published together at most.
const BATCH: usize = 1024;

enum Event {
    Services(Box<Change<Service>>),
    Slices(Box<Change<EndpointSlice>>),
    Namespaces(Box<Change<PartialObject>>),
}

/// Keeps `published` current for ever.
pub async fn follow(client: Client, clock: Clock, mut directory: Directory, published: Published) {
    let services = changes(&client, &clock, &resource::SERVICES)
        .map(|change| Event::Services(Box::new(change)));
    let slices = changes(&client, &clock, &resource::ENDPOINT_SLICES)
        .map(|change| Event::Slices(Box::new(change)));
    let namespaces = changes(&client, &clock, &resource::NAMESPACES)
        .map(|change| Event::Namespaces(Box::new(change)));
    let events = stream::select(services, stream::select(slices, namespaces));
    let mut batches = pin!(events.ready_chunks(BATCH));
    while let Some(events) = batches.next().await {
        for event in events {
            take(&mut directory, event);
        }
        // The serial has 32 bits and goes round, as its arithmetic allows.
        let serial = clock.now().as_second() & i64::from(u32::MAX);
        if let Some(records) = directory.publish(u32::try_from(serial).unwrap_or_default()) {
            published.store(Arc::new(records));
        }
    }
}

fn changes<T: Stored>(
    client: &Client,
    clock: &Clock,
    info: &'static resource::ResourceInfo,
) -> impl Stream<Item = Change<T>> + use<T> {
    let reflector = Reflector::new(client.clone(), clock.clone(), ListWatch::all(info));
    let step = async |mut reflector: Reflector<T>| Some((reflector.next().await, reflector));
    stream::unfold(reflector, step)
}

fn take(directory: &mut Directory, event: Event) {
    match event {
        Event::Services(change) => match *change {
            Change::Replaced { objects, .. } => directory.replace_services(&objects),
            Change::Applied(service) => directory.set_service(&service),
            Change::Deleted(service) => directory.remove_service(&service.key()),
            Change::Reached(_) => {}
        },
        Event::Slices(change) => match *change {
            Change::Replaced { objects, .. } => directory.replace_slices(&objects),
            Change::Applied(slice) => directory.set_slice(&slice),
            Change::Deleted(slice) => directory.remove_slice(&slice.key()),
            Change::Reached(_) => {}
        },
        Event::Namespaces(change) => match *change {
            Change::Replaced { objects, .. } => {
                let keys: Vec<ObjectKey> = objects.iter().map(Stored::key).collect();
                directory.replace_namespaces(keys.iter().map(|key| key.name.as_str()));
            }
            Change::Applied(namespace) => directory.set_namespace(&namespace.key().name),
            Change::Deleted(namespace) => directory.remove_namespace(&namespace.key().name),
            Change::Reached(_) => {}
        },
    }
}
