//! Telling on the Service what it wants and does not get: a port that the host refused, a protocol that is not carried.
//!
//! Each problem is told once, when it comes up; one that goes and comes back is told again. Events are best effort: the
//! network does not wait for them, and nobody tries again.

use std::{collections::BTreeSet, time::Duration};

use apimachinery::{
    api::{
        core::{Event, EventSource, ObjectReference},
        meta::ObjectMeta,
    },
    time::Time,
};
use client::Client;
use component_base::{clock::Clock, shutdown::Shutdown};
use tracing::{debug, warn};

use crate::{compile::Problem, watch::Knowledge};

const COMPONENT: &str = "kube-proxy";
/// How long the API may take to take an Event.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Reporter {
    client: Client,
    clock: Clock,
    shutdown: Shutdown,
    node: String,
    known: BTreeSet<Problem>,
}

impl Reporter {
    pub(crate) fn new(client: &Client, clock: &Clock, shutdown: &Shutdown, node: &str) -> Self {
        Self {
            client: client.clone(),
            clock: clock.clone(),
            shutdown: shutdown.clone(),
            node: node.to_owned(),
            known: BTreeSet::new(),
        }
    }

    /// Takes all problems that there are and tells the new ones.
    pub(crate) fn report(&mut self, knowledge: &Knowledge, problems: BTreeSet<Problem>) {
        for problem in problems.difference(&self.known) {
            warn!(service = %problem.service, reason = problem.reason, "{}", problem.message);
            self.tell(self.event(problem, knowledge.service_uid(&problem.service)));
        }
        self.known = problems;
    }

    fn event(&self, problem: &Problem, uid: Option<String>) -> Event {
        let now = Some(Time(self.clock.now()));
        let service = &problem.service;
        let unique = format!("{}.{:016x}", service.name, self.clock.random_u64());
        Event {
            metadata: ObjectMeta {
                name: Some(unique),
                namespace: Some(service.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Service".into()),
                namespace: Some(service.namespace.clone()),
                name: Some(service.name.clone()),
                uid,
                ..ObjectReference::default()
            },
            type_: Some("Warning".into()),
            reason: Some(problem.reason.clone()),
            message: Some(problem.message.clone()),
            count: Some(1),
            first_timestamp: now,
            last_timestamp: now,
            source: Some(EventSource {
                component: Some(COMPONENT.into()),
                host: Some(self.node.clone()),
            }),
            reporting_component: Some(COMPONENT.into()),
            reporting_instance: Some(self.node.clone()),
            ..Event::default()
        }
    }

    fn tell(&self, event: Event) {
        let (client, clock, token) =
            (self.client.clone(), self.clock.clone(), self.shutdown.token().clone());
        self.shutdown.spawn("event", async move {
            let told = clock.timeout(PATIENCE, client.create(&event));
            match token.run_until_cancelled(told).await {
                Some(Ok(Err(error))) => debug!(%error, "cannot record an event"),
                Some(Err(error)) => debug!(%error, "cannot record an event"),
                Some(Ok(Ok(_))) | None => {}
            }
        });
    }
}
