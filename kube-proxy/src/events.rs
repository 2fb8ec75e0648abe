//! Telling on the Service what it wants and does not get: a port that the host refused, a protocol that is not carried.
//!
//! Each problem is told once, when it comes up; one that goes and comes back is told again.

use std::collections::BTreeSet;

use apimachinery::api::core::ObjectReference;
use client::events::{EventRecorder, EventType};
use tracing::warn;

use crate::{compile::Problem, watch::Knowledge};

pub(crate) struct Reporter {
    recorder: EventRecorder,
    known: BTreeSet<Problem>,
}

impl Reporter {
    pub(crate) fn new(recorder: EventRecorder) -> Self {
        Self { recorder, known: BTreeSet::new() }
    }

    /// Takes all problems that there are and tells the new ones.
    pub(crate) fn report(&mut self, knowledge: &Knowledge, problems: BTreeSet<Problem>) {
        for problem in problems.difference(&self.known) {
            let service = &problem.service;
            warn!(%service, reason = problem.reason, "{}", problem.message);
            let about = ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Service".into()),
                namespace: Some(service.namespace.clone()),
                name: Some(service.name.clone()),
                uid: knowledge.service_uid(service),
                ..ObjectReference::default()
            };
            self.recorder.record_about(
                about,
                EventType::Warning,
                &problem.reason,
                &problem.message,
            );
        }
        self.known = problems;
    }
}
