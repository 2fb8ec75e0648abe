//! What one request carries through the whole chain, whichever face it came in by.
//!
//! Faces (REST, gRPC) build a [`RequestContext`] and a [`Request`]; the chain authenticates, authorizes, admits and
//! hands both to the registry. Nothing below the faces looks at HTTP or at protobuf.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::resource::ResourceInfo;
use bytes::Bytes;

use crate::audit::Record;

/// Who asks: `k8s.io/apiserver`'s `user.Info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The name that RBAC subjects of kind User name.
    pub name: String,
    /// Identifies the user across renames; a ServiceAccount's uid.
    pub uid: String,
    /// Group names, `system:authenticated` or `system:unauthenticated` included.
    pub groups: Vec<String>,
    /// Further attributes, such as the pod that a token is bound to.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A resource that is only a name in errors and in authorization: `users`, `ListOptions`.
pub(crate) const fn pseudo_resource(
    group: &'static str,
    kind: &'static str,
    resource: &'static str,
) -> ResourceInfo {
    ResourceInfo {
        group,
        version: "v1",
        kind,
        list: "",
        resource,
        singular: "",
        short_names: &[],
        categories: &[],
        namespaced: false,
        subresources: &[],
        verbs: &[],
        served: false,
        storage_prefix: "",
    }
}

/// The verb of an API request, as authorization and audit name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Reads one object.
    Get,
    /// Reads a collection.
    List,
    /// Follows a collection.
    Watch,
    /// Stores a new object.
    Create,
    /// Replaces an object.
    Update,
    /// Changes an object by a patch.
    Patch,
    /// Deletes one object.
    Delete,
    /// Deletes a selection.
    DeleteCollection,
}

impl Verb {
    /// The word that RBAC rules use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// `fieldValidation`: what to do about unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them and send a warning; Kubernetes' default.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// The shape in which the caller wants objects back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputShape {
    /// The object itself.
    #[default]
    Object,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `meta.k8s.io/v1` Table; rows carry this much of the object.
    Table(IncludeObject),
}

/// `includeObject` of a Table request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Rows carry no object.
    None,
    /// Rows carry `PartialObjectMetadata`; Kubernetes' default.
    #[default]
    Metadata,
    /// Rows carry the whole object.
    Object,
}

/// `metav1.Preconditions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// The object must have this uid.
    pub uid: Option<String>,
    /// The object must be at this resourceVersion.
    pub resource_version: Option<String>,
}

/// Everything about a request that is not its body, made once by a face.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The user that acts (the impersonated one, where impersonation is in force).
    pub user: Arc<UserInfo>,
    /// The real user behind an impersonation.
    pub impersonator: Option<Arc<UserInfo>>,
    /// What is asked.
    pub verb: Verb,
    /// Of which resource.
    pub resource: &'static ResourceInfo,
    /// Empty, or "status", "scale", "binding", "log", "exec", …
    pub subresource: String,
    /// Empty for cluster-scoped resources and for lists over all namespaces.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// `fieldManager`, or the default made from the user agent.
    pub field_manager: String,
    /// Whether the caller named the field manager itself.
    pub manager_given: bool,
    /// What unknown fields lead to.
    pub field_validation: FieldValidation,
    /// `dryRun=All`: everything but the write happens.
    pub dry_run: bool,
    /// `force=true` of server-side apply.
    pub force: bool,
    /// Conditions on the object as stored.
    pub preconditions: Preconditions,
    /// The accepted output.
    pub output: OutputShape,
    /// The client's `User-Agent`.
    pub user_agent: String,
    /// How long the caller will wait, from the request's start.
    pub deadline: Option<Duration>,
    /// Where the request is recorded, if it is.
    pub(crate) audit: Option<Arc<Record>>,
}

impl RequestContext {
    /// A request of nobody for a whole collection, to be filled in.
    #[must_use]
    pub fn new(verb: Verb, resource: &'static ResourceInfo) -> Self {
        Self {
            user: Arc::default(),
            impersonator: None,
            verb,
            resource,
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            field_manager: String::new(),
            manager_given: false,
            field_validation: FieldValidation::default(),
            dry_run: false,
            force: false,
            preconditions: Preconditions::default(),
            output: OutputShape::default(),
            user_agent: String::new(),
            deadline: None,
            audit: None,
        }
    }
}

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' strategic merge patch.
    Strategic,
    /// Server-side apply.
    Apply,
}

/// Selection, paging and consistency of a list or a watch: `metav1.ListOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Label selector in its text form.
    pub label_selector: String,
    /// Field selector in its text form.
    pub field_selector: String,
    /// As sent: empty, "0" or a revision.
    pub resource_version: String,
    /// Empty, `Exact` or `NotOlderThan`.
    pub resource_version_match: String,
    /// 0: no limit.
    pub limit: i64,
    /// Empty, or a token of an earlier page.
    pub continue_token: String,
    /// Watch: start with the present state.
    pub send_initial_events: Option<bool>,
    /// Watch: send bookmarks.
    pub allow_bookmarks: bool,
    /// Watch: end after this long.
    pub timeout: Option<Duration>,
}

/// `metav1.DeleteOptions` beyond the preconditions, which the context carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds of grace; None means the resource's default.
    pub grace_period_seconds: Option<i64>,
    /// Empty, `Orphan`, `Background` or `Foreground`.
    pub propagation_policy: String,
}

/// The operation itself, with its body.
#[derive(Clone, Debug)]
pub enum Request {
    /// Reads one object; the text is `resourceVersion`.
    Get {
        /// Empty, "0" or a revision.
        resource_version: String,
    },
    /// Reads a collection.
    List(ListOptions),
    /// Follows a collection.
    Watch(ListOptions),
    /// Stores a new object from its JSON.
    Create(Bytes),
    /// Replaces an object by this JSON.
    Update(Bytes),
    /// Patches an object.
    Patch(PatchType, Bytes),
    /// Deletes one object.
    Delete(DeleteOptions),
    /// Deletes a selection.
    DeleteCollection(ListOptions, DeleteOptions),
}
