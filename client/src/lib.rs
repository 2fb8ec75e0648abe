//! What client-go is: the way to the API server, and the machinery of controllers.
//!
//! | module | gives |
//! |---|---|
//! | [`api`] | [`Client`]: every call, typed and dynamic, over gRPC |
//! | [`options`] | what a caller may say about a request |
//! | [`watch`] | a watch as a stream of events |
//! | [`wire`] | the API error on the wire, both ways; also the server's |
//! | [`retry`] | trying again after conflicts and failures |
//! | [`reflector`], [`store`], [`informer`] | a local copy of a collection, kept current, shared by its users |
//! | [`workqueue`], [`controller`] | keys to be worked on, and the workers |
//! | [`leader_election`] | one leader among several processes |
//! | [`events`] | events on objects, counted and combined |
//!
//! Everything takes its time from a [`Clock`](component_base::clock::Clock), so that a controller can be tested on virtual time.
//!
//! **Invariant:** this crate knows no component and no storage; objects come and go as JSON, and a view is only read.

pub mod api;
pub mod controller;
pub mod events;
pub mod informer;
pub mod leader_election;
pub mod options;
pub mod reflector;
pub mod retry;
pub mod store;
pub mod stored;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod watch;
pub mod wire;
pub mod workqueue;

pub use self::{
    api::{Client, List, Reply, ResourceApi, Table},
    controller::Action,
    events::{EventRecorder, EventType},
    informer::{Informer, Informers},
    options::{
        DeleteOptions, FieldValidation, IncludeObject, ListOptions, Patch, Propagation,
        WatchOptions,
    },
    reflector::ListWatch,
    retry::{Backoff, retry_on_conflict},
    store::{Delta, Store},
    stored::{DynamicObject, PartialObject, Stored},
    watch::{WatchEvent, WatchStream},
    workqueue::WorkQueue,
};
