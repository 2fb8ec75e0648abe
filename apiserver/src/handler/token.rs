//! `serviceaccounts/token`: a signed token for an account (`pkg/registry/core/serviceaccount/storage/token.go`).
//!
//! A token may be bound to a pod, a node or a Secret, and then dies with it. One that a pod asks for in the way of every
//! pod's own volume (3607 seconds, for the API server) lives for a year, and says by `warnafter` when it should have
//! been exchanged: clients that read their token once go on working, as in Kubernetes.

use std::sync::Arc;

use apimachinery::{
    api::authentication::{BoundObjectReference, TokenRequest, TokenRequestStatus},
    field::{FieldError, Path, go_quote},
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
    time::Time,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Handler, Reply};
use crate::{
    authentication::{
        accounts::user_name,
        token::{Claims, ISSUER, Named, Private},
    },
    authorization::{Attributes, node::node_name},
    registry::store::Store,
    request::{RequestContext, pseudo_resource},
};

const DEFAULT_SECONDS: i64 = 3600;
const LEAST_SECONDS: i64 = 600;
const MOST_SECONDS: i64 = 1 << 32;
/// What every pod's own volume asks for.
const POD_SECONDS: i64 = 3600 + 7;
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;

impl Handler {
    pub(super) async fn request_token(
        &self,
        store: &Arc<Store>,
        context: &RequestContext,
        request: &Object,
    ) -> Result<Reply, Status> {
        let mut wanted: TokenRequest =
            request.view().map_err(|error| Status::bad_request(error.to_string()))?;
        let seconds = wanted.spec.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        check_seconds(context, seconds)?;
        let account = self.named(&resource::SERVICE_ACCOUNTS, context, &context.name).await?;
        let mut private = Private {
            namespace: context.namespace.clone(),
            serviceaccount: named(&account),
            ..Private::default()
        };
        let bound = wanted.spec.bound_object_ref.as_ref();
        self.check_node(context, bound, &wanted.spec.audiences).await?;
        if let Some(bound) = bound {
            self.bind_token(context, bound, &account, &mut private).await?;
        }
        if wanted.spec.audiences.is_empty() {
            wanted.spec.audiences.push(ISSUER.to_owned());
        }
        let now = self.deps.clock.now();
        let extended = seconds == POD_SECONDS
            && private.pod.is_some()
            && wanted.spec.audiences == [ISSUER.to_owned()];
        if extended {
            private.warnafter = Some(now.as_second() + seconds);
        }
        let lifetime = if extended { EXTENDED_SECONDS } else { seconds };
        let claims = Claims {
            aud: wanted.spec.audiences.clone(),
            exp: now.as_second() + lifetime,
            iat: now.as_second(),
            nbf: now.as_second(),
            iss: ISSUER.to_owned(),
            jti: store.new_uid(),
            sub: user_name(&private.namespace, account.name()),
            private,
        };
        wanted.spec.expiration_seconds = Some(seconds);
        wanted.metadata.name = Some(account.name().to_owned());
        wanted.metadata.namespace = Some(context.namespace.clone());
        wanted.metadata.creation_timestamp = Some(whole_seconds(now));
        let ends = now + SignedDuration::from_secs(seconds);
        wanted.status = TokenRequestStatus {
            token: Some(self.accounts.key.sign(&claims)),
            expiration_timestamp: Some(whole_seconds(ends)),
        };
        let mut answer = Object::from_serialize(&wanted)?;
        answer.set(&["kind"], "TokenRequest");
        answer.set(&["apiVersion"], "authentication.k8s.io/v1");
        Ok(Reply::Object { body: answer.to_bytes(), created: true })
    }

    /// Reads an object that the token is to name, in the request's namespace or in none.
    async fn named(
        &self,
        info: &'static ResourceInfo,
        context: &RequestContext,
        name: &str,
    ) -> Result<Object, Status> {
        let namespace = if info.namespaced { context.namespace.as_str() } else { "" };
        Object::from_slice(&self.store(info)?.get(namespace, name, "").await?.value)
    }

    /// A kubelet gets tokens for its own pods alone: what Kubernetes' NodeRestriction sees to.
    async fn check_node(
        &self,
        context: &RequestContext,
        bound: Option<&BoundObjectReference>,
        audiences: &[String],
    ) -> Result<(), Status> {
        let Some(node) = node_name(&context.user) else { return Ok(()) };
        let refuse = |why: &str| Status::forbidden(context.resource, &context.name, why);
        let bound = bound
            .filter(|bound| bound.kind.as_deref() == Some("Pod"))
            .ok_or_else(|| refuse("node requested token not bound to a pod"))?;
        if bound.uid.as_deref().unwrap_or("").is_empty() {
            return Err(refuse("node requested token with a pod binding without a uid"));
        }
        let pod = self.named(&resource::PODS, context, bound.name.as_deref().unwrap_or("")).await?;
        if pod.get_str(&["spec", "nodeName"]) != node {
            return Err(refuse(
                "node requested token bound to a pod scheduled on a different node",
            ));
        }
        let audience = match audiences {
            [] => "",
            [one] => one,
            _ => return Err(refuse("node may only request 0 or 1 audiences")),
        };
        if mentions(&pod, audience) {
            return Ok(());
        }
        // An administrator may grant a node further audiences.
        let right = Attributes::Resource {
            verb: "request-serviceaccounts-token-audience",
            group: "",
            resource: audience,
            subresource: "",
            namespace: &context.namespace,
            name: &context.name,
        };
        self.authorizer.authorize(&context.user, &right, None).await.map_err(|_| {
            refuse(&format!(
                "audience {} not found in pod spec volume, {} is not authorized to request tokens for this audience",
                go_quote(audience),
                context.user.name
            ))
        })
    }

    async fn bind_token(
        &self,
        context: &RequestContext,
        bound: &BoundObjectReference,
        account: &Object,
        private: &mut Private,
    ) -> Result<(), Status> {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (kind, name, uid) = (text(&bound.kind), text(&bound.name), text(&bound.uid));
        let api_version = text(&bound.api_version);
        let info: &'static ResourceInfo = match (api_version.as_str(), kind.as_str()) {
            ("v1", "Pod") => &resource::PODS,
            ("v1", "Node") => &resource::NODES,
            ("v1", "Secret") => &resource::SECRETS,
            _ => {
                return Err(Status::bad_request(format!(
                    "cannot bind token to object of type {api_version}, Kind={kind}"
                )));
            }
        };
        let object = self.named(info, context, &name).await?;
        if !uid.is_empty() && uid != object.uid() {
            return Err(Status::conflict(
                info,
                &name,
                format!(
                    "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
                ),
            ));
        }
        match kind.as_str() {
            "Pod" => {
                let runs_as = object.get_str(&["spec", "serviceAccountName"]);
                if runs_as != account.name() {
                    return Err(Status::bad_request(format!(
                        "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.",
                        account.name()
                    )));
                }
                let node = object.get_str(&["spec", "nodeName"]);
                if !node.is_empty() {
                    let found = self.named(&resource::NODES, context, node).await;
                    private.node = Some(found.map_or_else(
                        |_| Named { name: node.to_owned(), uid: String::new() },
                        |node| named(&node),
                    ));
                }
                private.pod = Some(named(&object));
            }
            "Node" => private.node = Some(named(&object)),
            _ => private.secret = Some(named(&object)),
        }
        Ok(())
    }
}

/// Whether a volume of the pod wants a token for the audience; none stands for the API server's own.
fn mentions(pod: &Object, audience: &str) -> bool {
    let volumes = pod.get_list(&["spec", "volumes"]).iter();
    let sources = volumes.filter_map(|volume| volume["projected"]["sources"].as_array()).flatten();
    sources
        .filter_map(|source| source["serviceAccountToken"].as_object())
        .any(|token| token.get("audience").and_then(Value::as_str).unwrap_or_default() == audience)
}

fn named(object: &Object) -> Named {
    Named { name: object.name().to_owned(), uid: object.uid().to_owned() }
}

fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// What errors about the request itself are about.
static TOKEN_REQUESTS: ResourceInfo =
    pseudo_resource("authentication.k8s.io", "TokenRequest", "tokenrequests");

fn check_seconds(context: &RequestContext, seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..LEAST_SECONDS => "may not specify a duration less than 10 minutes",
        LEAST_SECONDS..=MOST_SECONDS => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let field = Path::new("spec").child("expirationSeconds");
    let error = FieldError::invalid(&field, seconds, why);
    Err(Status::invalid(&TOKEN_REQUESTS, &context.name, vec![error]))
}
