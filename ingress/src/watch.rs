//! Following the API: what changes goes into the directory as it comes, and its snapshot out.
//!
//! One task hears of everything and owns the directory, so that nothing is locked. Services, EndpointSlices and Secrets
//! are followed from the first Ingress on.

use std::{collections::HashSet, net::SocketAddr, sync::Arc};

use apimachinery::{
    api::{
        core::{Secret, Service},
        discovery::EndpointSlice,
        networking::{Ingress, IngressClass},
    },
    object::ObjectKey,
    resource,
};
use arc_swap::ArcSwap;
use client::{
    Client, Stored,
    reflector::{Change, ListWatch, Reflector},
};
use component_base::clock::Clock;
use container_runtime::stdio::Output;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream, SelectAll},
};
use tokio::sync::watch;

use crate::{
    directory::{Directory, List, OWN_SERVICE, Snapshot},
    pool::Pool,
    status::{Addresses, Wanted},
};

/// Changes published together at most.
const BATCH: usize = 1024;

/// One change, ready to be made.
type Event = Box<dyn FnOnce(&mut State) + Send>;

#[derive(Default)]
struct State {
    directory: Directory,
    addresses: Addresses,
}

/// Keeps `published` current for ever, and tells `statuses` which addresses the Ingresses should show.
pub(crate) async fn follow(
    client: Client,
    clock: Clock,
    published: Arc<ArcSwap<Snapshot>>,
    pool: Pool,
    statuses: watch::Sender<Vec<Wanted>>,
    log: Output,
) {
    let mut state = State::default();
    let mut sources: SelectAll<BoxStream<'static, Event>> = SelectAll::new();
    sources.push(changes(&client, &clock, ListWatch::all(&resource::INGRESSES), ingresses));
    sources.push(changes(&client, &clock, ListWatch::all(&resource::INGRESS_CLASSES), classes));
    let mut batches = sources.ready_chunks(BATCH);
    let mut follows_all = false;
    while let Some(events) = batches.next().await {
        events.into_iter().for_each(|event| event(&mut state));
        if let Some((snapshot, problems)) = state.directory.publish() {
            let serve: HashSet<SocketAddr> = snapshot
                .upstreams
                .values()
                .flat_map(|upstream| upstream.endpoints.iter().copied())
                .collect();
            pool.retain(&serve);
            published.store(Arc::new(snapshot));
            for problem in problems {
                // When nobody reads the log there is nobody to tell.
                drop(log.write_all(format!("W {problem}\n")).await);
            }
        }
        if !follows_all && !state.directory.served().is_empty() {
            follows_all = true;
            let all = |info| ListWatch::all(info);
            let tls = ListWatch {
                field_selector: "type=kubernetes.io/tls".to_owned(),
                ..ListWatch::all(&resource::SECRETS)
            };
            let sources = batches.get_mut();
            sources.push(changes(&client, &clock, all(&resource::SERVICES), services));
            sources.push(changes(&client, &clock, all(&resource::ENDPOINT_SLICES), slices));
            sources.push(changes(&client, &clock, tls, secrets));
        }
        let wanted = state.addresses.wanted(&state.directory);
        statuses.send_if_modified(|known| {
            let differs = *known != wanted;
            *known = wanted;
            differs
        });
    }
}

fn changes<T: Stored>(
    client: &Client,
    clock: &Clock,
    source: ListWatch,
    take: fn(&mut State, Change<T>),
) -> BoxStream<'static, Event> {
    let reflector = Reflector::new(client.clone(), clock.clone(), source);
    let step = async |mut reflector: Reflector<T>| Some((reflector.next().await, reflector));
    let events = stream::unfold(reflector, step);
    events
        .map(move |change| Box::new(move |state: &mut State| take(state, change)) as Event)
        .boxed()
}

fn ingresses(state: &mut State, change: Change<Ingress>) {
    let directory = &mut state.directory;
    match change {
        Change::Replaced { objects, .. } => {
            directory.ingresses =
                objects.into_iter().map(|object| (object.key(), object)).collect();
            directory.listed(List::Ingresses);
        }
        Change::Applied(object) => drop(directory.ingresses.insert(object.key(), object)),
        Change::Deleted(object) => drop(directory.ingresses.remove(&object.key())),
        Change::Reached(_) => return,
    }
    directory.touch_routes();
}

fn classes(state: &mut State, change: Change<IngressClass>) {
    let directory = &mut state.directory;
    match change {
        Change::Replaced { objects, .. } => {
            directory.classes =
                objects.into_iter().map(|object| (object.key().name, object)).collect();
            directory.listed(List::Classes);
        }
        Change::Applied(object) => drop(directory.classes.insert(object.key().name, object)),
        Change::Deleted(object) => drop(directory.classes.remove(&object.key().name)),
        Change::Reached(_) => return,
    }
    directory.touch_routes();
}

fn services(state: &mut State, change: Change<Service>) {
    let own = ObjectKey::new(OWN_SERVICE.0, OWN_SERVICE.1);
    let set = |state: &mut State, service: Service| {
        if service.key() == own {
            state.addresses.learn(Some(&service));
        }
        state.directory.services.set_service(service.key(), &service);
    };
    match change {
        Change::Replaced { objects, .. } => {
            state.directory.services.clear_services();
            state.addresses.learn(None);
            objects.into_iter().for_each(|service| set(state, service));
            state.directory.listed(List::Services);
        }
        Change::Applied(service) => set(state, service),
        Change::Deleted(service) => {
            if service.key() == own {
                state.addresses.learn(None);
            }
            state.directory.services.remove_service(&service.key());
        }
        Change::Reached(_) => {}
    }
}

fn slices(state: &mut State, change: Change<EndpointSlice>) {
    let services = &mut state.directory.services;
    match change {
        Change::Replaced { objects, .. } => {
            services.clear_slices();
            objects.iter().for_each(|slice| services.set_slice(&slice.key(), slice));
            state.directory.listed(List::Slices);
        }
        Change::Applied(slice) => services.set_slice(&slice.key(), &slice),
        Change::Deleted(slice) => services.remove_slice(&slice.key()),
        Change::Reached(_) => {}
    }
}

fn secrets(state: &mut State, change: Change<Secret>) {
    let directory = &mut state.directory;
    match change {
        Change::Replaced { objects, .. } => {
            directory.clear_secrets();
            objects.iter().for_each(|secret| directory.set_secret(secret.key(), secret));
            directory.listed(List::Secrets);
        }
        Change::Applied(secret) => directory.set_secret(secret.key(), &secret),
        Change::Deleted(secret) => directory.remove_secret(&secret.key()),
        Change::Reached(_) => {}
    }
}
