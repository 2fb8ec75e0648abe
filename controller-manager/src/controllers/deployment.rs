//! The Deployment controller: rolls ReplicaSets forward and back so that the pods become those of the template.
//!
//! One sync reads the Deployment, its ReplicaSets and their pods from the caches, lets [`plan::plan`] decide, and
//! carries the actions out in order. A plan makes one step of a rollout; what it changes comes back as events of the
//! ReplicaSets, which lead to the next step. Follows `pkg/controller/deployment` of Kubernetes.
//!
//! | module | decides |
//! |---|---|
//! | [`plan`] | the step: adoption, pause, scaling or rollout |
//! | [`revision`] | which ReplicaSet is the new one, revisions and their annotations, the template's hash |
//! | [`rollback`] | going back at the wish of an annotation |
//! | [`rolling`] | RollingUpdate and proportional scaling: the arithmetic of surge and unavailability |
//! | [`status`] | the status, its conditions, the progress deadline |

pub mod act;
pub mod plan;
pub mod revision;
mod rollback;
pub mod rolling;
pub mod status;
