//! Reviews: resources that are answered, not stored. Who am I, what may I do, what may they do?
//!
//! Each line of [`REVIEWS`] is a resource and the function that fills its status. The chain has authorized the question
//! itself (`system:basic-user` may ask about itself) before it is answered, and the answer is the authorizers' own, by
//! the same call that allows requests.

use apimachinery::{
    api::{
        authentication::{self, SelfSubjectReviewStatus, TokenReview, TokenReviewStatus},
        authorization::{
            FieldSelectorAttributes, LocalSubjectAccessReview, NonResourceAttributes,
            NonResourceRule, ResourceAttributes, ResourceRule, SelfSubjectAccessReview,
            SelfSubjectRulesReview, SubjectAccessReview, SubjectAccessReviewSpec,
            SubjectAccessReviewStatus, SubjectRulesReviewStatus,
        },
    },
    field::{FieldError, FieldErrors, Path},
    fields,
    object::Object,
    resource::{self, ResourceInfo},
    status::Status,
};
use futures::{FutureExt, future::BoxFuture};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Answer, Handler, Reply};
use crate::{
    authorization::{Attributes, node::node_name},
    request::{Request, RequestContext, UserInfo},
};

/// Fills the status of a review.
type Fill =
    for<'a> fn(&'a Handler, &'a RequestContext, &'a Object) -> BoxFuture<'a, Result<Value, Status>>;

const REVIEWS: &[(&ResourceInfo, Fill)] = &[
    (&resource::SELF_SUBJECT_REVIEWS, |_, context, _| {
        std::future::ready(status(&whoami(&context.user))).boxed()
    }),
    (&resource::SELF_SUBJECT_ACCESS_REVIEWS, |handler, context, object| {
        handler.review_self(context, object).boxed()
    }),
    (&resource::SUBJECT_ACCESS_REVIEWS, |handler, context, object| {
        handler.review_subject(context, object).boxed()
    }),
    (&resource::LOCAL_SUBJECT_ACCESS_REVIEWS, |handler, context, object| {
        handler.review_local_subject(context, object).boxed()
    }),
    (&resource::TOKEN_REVIEWS, |handler, _, object| handler.review_token(object).boxed()),
    (&resource::SELF_SUBJECT_RULES_REVIEWS, |handler, context, object| {
        handler.review_rules(context, object).boxed()
    }),
];

/// The review that a resource is, if it is one.
fn fill_of(info: &ResourceInfo) -> Option<Fill> {
    let same = |known: &&ResourceInfo| (known.group, known.resource) == (info.group, info.resource);
    REVIEWS.iter().find(|(known, _)| same(known)).map(|(_, fill)| *fill)
}

/// Whether a resource is a review.
pub(crate) fn is_review(info: &ResourceInfo) -> bool {
    fill_of(info).is_some()
}

fn status(status: &impl Serialize) -> Result<Value, Status> {
    serde_json::to_value(status).map_err(Status::internal)
}

fn view<T: DeserializeOwned>(object: &Object) -> Result<T, Status> {
    object.view().map_err(|error| Status::bad_request(error.to_string()))
}

fn whoami(user: &UserInfo) -> SelfSubjectReviewStatus {
    SelfSubjectReviewStatus { user_info: Some(user_info(user)) }
}

fn user_info(user: &UserInfo) -> authentication::UserInfo {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    authentication::UserInfo {
        username: some(&user.name),
        uid: some(&user.uid),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
    }
}

impl Handler {
    /// Answers a review: the object as it came, with its status.
    pub(super) async fn review(
        &self,
        context: &RequestContext,
        request: Request,
    ) -> Result<Answer, Status> {
        let Request::Create(body) = request else {
            return Err(Status::method_not_allowed(context.resource, context.verb.as_str()));
        };
        let mut warnings = Vec::new();
        let mut object = self.read_object(context.resource, None, context, &body, &mut warnings)?;
        // A review has no identity that could be given to it.
        object.metadata_mut().remove("managedFields");
        let (name, namespace) = (object.name(), object.namespace());
        let local = context.resource.namespaced;
        if !name.is_empty() || (!local && !namespace.is_empty()) {
            let error = FieldError::invalid(&Path::new("metadata"), Value::Null, "must be empty");
            return Err(Status::invalid(context.resource, "", vec![error]));
        }
        let fill = fill_of(context.resource).ok_or_else(Status::resource_not_found)?;
        let filled = fill(self, context, &object).await?;
        object.set(&["status"], filled);
        Ok(Answer { reply: Reply::Object { body: object.to_bytes(), created: true }, warnings })
    }

    async fn review_self(
        &self,
        context: &RequestContext,
        object: &Object,
    ) -> Result<Value, Status> {
        let review: SelfSubjectAccessReview = view(object)?;
        let question = Question {
            resource: review.spec.resource_attributes.as_ref(),
            path: review.spec.non_resource_attributes.as_ref(),
        };
        refuse(context.resource, question.errors())?;
        status(&self.ask(&context.user, &question).await?)
    }

    async fn review_subject(
        &self,
        context: &RequestContext,
        object: &Object,
    ) -> Result<Value, Status> {
        let review: SubjectAccessReview = view(object)?;
        self.review_other(context, &review.spec, Vec::new()).await
    }

    async fn review_local_subject(
        &self,
        context: &RequestContext,
        object: &Object,
    ) -> Result<Value, Status> {
        let review: LocalSubjectAccessReview = view(object)?;
        let mut errors = Vec::new();
        let spec = Path::new("spec");
        let asked = review.spec.resource_attributes.as_ref();
        let namespace = asked.and_then(|asked| asked.namespace.as_deref()).unwrap_or("");
        if asked.is_some() && namespace != context.namespace {
            let field = spec.child("resourceAttributes").child("namespace");
            let why = "must match metadata.namespace";
            errors.push(FieldError::invalid(&field, namespace, why));
        }
        if review.spec.non_resource_attributes.is_some() {
            let field = spec.child("nonResourceAttributes");
            let why = "disallowed on this kind of request";
            errors.push(FieldError::invalid(&field, Value::Null, why));
        }
        self.review_other(context, &review.spec, errors).await
    }

    async fn review_other(
        &self,
        context: &RequestContext,
        spec: &SubjectAccessReviewSpec,
        mut errors: FieldErrors,
    ) -> Result<Value, Status> {
        let question = Question {
            resource: spec.resource_attributes.as_ref(),
            path: spec.non_resource_attributes.as_ref(),
        };
        errors.extend(question.errors());
        let name = spec.user.clone().unwrap_or_default();
        if name.is_empty() && spec.groups.is_empty() {
            let why = "at least one of user or group must be specified";
            errors.push(FieldError::invalid(&Path::new("spec").child("user"), "", why));
        }
        refuse(context.resource, errors)?;
        let user = UserInfo {
            name,
            uid: spec.uid.clone().unwrap_or_default(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
        };
        status(&self.ask(&user, &question).await?)
    }

    async fn ask(
        &self,
        user: &UserInfo,
        question: &Question<'_>,
    ) -> Result<SubjectAccessReviewStatus, Status> {
        let attributes = question.attributes();
        let selector = question
            .resource
            .and_then(|asked| asked.field_selector.as_ref())
            .and_then(field_selector);
        let decision = self.authorizer.authorize(user, &attributes, selector.as_ref()).await;
        let (allowed, reason) = match decision {
            Ok(()) => (true, self.authorizer.reason(user, &attributes)),
            Err(reason) => (false, reason),
        };
        let reason = (!reason.is_empty()).then_some(reason);
        Ok(SubjectAccessReviewStatus { allowed, reason, ..SubjectAccessReviewStatus::default() })
    }

    async fn review_token(&self, object: &Object) -> Result<Value, Status> {
        let review: TokenReview = view(object)?;
        if review.spec.token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let mut answer = TokenReviewStatus::default();
        match self.accounts.user(&review.spec.token, &review.spec.audiences).await {
            Ok((user, audiences)) => {
                answer.authenticated = Some(true);
                answer.user = Some(user_info(&user));
                answer.audiences = audiences;
            }
            Err(reason) => answer.error = Some(reason),
        }
        status(&answer)
    }

    async fn review_rules(
        &self,
        context: &RequestContext,
        object: &Object,
    ) -> Result<Value, Status> {
        let review: SelfSubjectRulesReview = view(object)?;
        let namespace = review.spec.namespace.unwrap_or_default();
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let user = &context.user;
        let (mut resource_rules, mut non_resource_rules) = (Vec::new(), Vec::new());
        for rule in self.authorizer.rules(user, &namespace).await {
            if !rule.resources.is_empty() {
                resource_rules.push(ResourceRule {
                    verbs: rule.verbs.clone(),
                    api_groups: rule.api_groups,
                    resources: rule.resources,
                    resource_names: rule.resource_names,
                });
            }
            if !rule.non_resource_urls.is_empty() {
                non_resource_rules.push(NonResourceRule {
                    verbs: rule.verbs,
                    non_resource_urls: rule.non_resource_urls,
                });
            }
        }
        // What a node may do depends on its pods, which no list of rules tells.
        let incomplete = node_name(user).is_some();
        let evaluation_error =
            incomplete.then(|| "node authorizer does not support user rule resolution".to_owned());
        status(&SubjectRulesReviewStatus {
            resource_rules,
            non_resource_rules,
            incomplete,
            evaluation_error,
        })
    }
}

fn refuse(info: &ResourceInfo, errors: FieldErrors) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(info, "", errors)) }
}

/// What an access review asks about: exactly one of the two.
struct Question<'a> {
    resource: Option<&'a ResourceAttributes>,
    path: Option<&'a NonResourceAttributes>,
}

impl Question<'_> {
    fn errors(&self) -> FieldErrors {
        let spec = Path::new("spec");
        let error = |field: &str, why: &str| {
            vec![FieldError::invalid(&spec.child(field), Value::Null, why)]
        };
        match (self.resource, self.path) {
            (Some(_), Some(_)) => error(
                "nonResourceAttributes",
                "cannot be specified in combination with resourceAttributes",
            ),
            (None, None) => error(
                "resourceAttributes",
                "exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ),
            _ => Vec::new(),
        }
    }

    fn attributes(&self) -> Attributes<'_> {
        fn text(field: &Option<String>) -> &str {
            field.as_deref().unwrap_or("")
        }
        match (self.resource, self.path) {
            (Some(asked), _) => Attributes::Resource {
                verb: text(&asked.verb),
                group: text(&asked.group),
                resource: text(&asked.resource),
                subresource: text(&asked.subresource),
                namespace: text(&asked.namespace),
                name: text(&asked.name),
            },
            (None, Some(asked)) => {
                Attributes::Path { verb: text(&asked.verb), path: text(&asked.path) }
            }
            (None, None) => Attributes::Path { verb: "", path: "" },
        }
    }
}

/// The selector that a question carries; one that cannot be read restricts nothing, as in Kubernetes.
fn field_selector(asked: &FieldSelectorAttributes) -> Option<fields::Selector> {
    let text = asked.raw_selector.clone().unwrap_or_else(|| {
        let exact = asked.requirements.iter().filter_map(|requirement| {
            let operator = match requirement.operator.as_str() {
                "In" => "=",
                "NotIn" => "!=",
                _ => return None,
            };
            let [value] = requirement.values.as_slice() else { return None };
            Some(format!("{}{operator}{value}", requirement.key))
        });
        exact.collect::<Vec<_>>().join(",")
    });
    fields::Selector::parse(&text).ok()
}
