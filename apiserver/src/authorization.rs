//! May this user do this? Node authorizer, then RBAC; who none of them allows is refused.
//!
//! `system:masters` passes before both, as Kubernetes' privileged-group authorizer lets it. Each authorizer may give a
//! reason why it does not allow, and the refusal carries them in order, so that a node learns
//! `no relationship found between node 'node-1' and this object`.
//!
//! Policy is read from the watch cache, which may be a moment behind the store. A refusal is therefore only given
//! after the cache has caught up with the store: whoever has just been granted a right can use it at once.

mod authorizer;
pub(crate) mod bootstrap_policy;
pub mod node;
pub mod rbac;

use apimachinery::{
    field::go_quote,
    resource::{self, ResourceInfo},
    status::Status,
};

pub use self::authorizer::Authorizer;
use crate::request::{RequestContext, UserInfo};

/// The group whose members may do everything.
pub const MASTERS: &str = "system:masters";

/// What authorization looks at: `k8s.io/apiserver`'s `authorizer.Attributes` without the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attributes<'a> {
    /// A request about a resource, or a question about any resource, known here or not.
    Resource {
        /// Lower-case verb.
        verb: &'a str,
        /// API group, "" for the core group.
        group: &'a str,
        /// Plural name.
        resource: &'a str,
        /// "" or the subresource.
        subresource: &'a str,
        /// "" at cluster scope.
        namespace: &'a str,
        /// "" for a collection.
        name: &'a str,
    },
    /// A request for anything else.
    Path {
        /// Lower-case HTTP method.
        verb: &'a str,
        /// The URL's path.
        path: &'a str,
    },
}

impl<'a> Attributes<'a> {
    /// The attributes of a request about a resource.
    #[must_use]
    pub fn of(context: &'a RequestContext) -> Self {
        // A namespace lies in itself, so that a Role may let somebody read their own.
        let own = std::ptr::eq(context.resource, &raw const resource::NAMESPACES);
        let namespace = if own { &context.name } else { &context.namespace };
        Self::Resource {
            verb: context.verb.as_str(),
            group: context.resource.group,
            resource: context.resource.resource,
            subresource: &context.subresource,
            namespace,
            name: &context.name,
        }
    }
}

/// The refusal, in Kubernetes' words; `reason` is what the authorizers said, or empty.
#[must_use]
pub fn forbidden(
    user: &UserInfo,
    attributes: &Attributes<'_>,
    info: &ResourceInfo,
    reason: &str,
) -> Status {
    let user = go_quote(&user.name);
    let mut message = match attributes {
        Attributes::Path { verb, path } => {
            format!("User {user} cannot {verb} path {}", go_quote(path))
        }
        Attributes::Resource { verb, group, resource, subresource, namespace, .. } => {
            let resource = if subresource.is_empty() {
                go_quote(resource)
            } else {
                go_quote(&format!("{resource}/{subresource}"))
            };
            let scope = if namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {}", go_quote(namespace))
            };
            format!(
                "User {user} cannot {verb} resource {resource} in API group {} {scope}",
                go_quote(group)
            )
        }
    };
    if !reason.is_empty() {
        message.push_str(": ");
        message.push_str(reason);
    }
    match attributes {
        Attributes::Path { .. } => Status::forbidden_path(message),
        Attributes::Resource { name, .. } => Status::forbidden(info, name, message),
    }
}
