//! Messages to the chain's own types.

use std::time::Duration;

use apimachinery::{resource::ResourceInfo, status::Status};
use proto::v1::{self, ListRequest, Output, ResourceRef, Selectors, WatchRequest, WriteOptions};

use crate::request::{
    DeleteOptions, FieldValidation, IncludeObject, ListOptions, OutputShape, Preconditions,
    RequestContext, Verb,
};

/// What a call is about. A name where none belongs, or none where one does, is an error, as it is no path in REST.
pub(super) fn target(
    verb: Verb,
    reference: Option<&ResourceRef>,
    find: &dyn Fn(&str, &str, &str) -> Option<&'static ResourceInfo>,
) -> Result<RequestContext, Status> {
    let reference = reference.ok_or_else(|| Status::bad_request("the request has no target"))?;
    let info = find(&reference.group, &reference.version, &reference.resource)
        .ok_or_else(Status::resource_not_found)?;
    let mut context = RequestContext::new(verb, info);
    context.subresource.clone_from(&reference.subresource);
    context.name.clone_from(&reference.name);
    if info.namespaced {
        context.namespace.clone_from(&reference.namespace);
    } else if !reference.namespace.is_empty() {
        return Err(Status::resource_not_found());
    }
    // The chain looks at the name.
    let namespace = context.namespace.as_str();
    if namespace.contains('/') || matches!(namespace, "." | "..") {
        return Err(Status::bad_request(format!("invalid namespace {namespace:?}")));
    }
    let wants_name = match verb {
        Verb::List | Verb::Watch | Verb::DeleteCollection => false,
        Verb::Create => !context.subresource.is_empty(),
        Verb::Get | Verb::Update | Verb::Patch | Verb::Delete => true,
    };
    if wants_name && context.name.is_empty() {
        return Err(Status::bad_request("name must be provided"));
    }
    if !wants_name && !context.name.is_empty() {
        return Err(Status::bad_request("the request takes no name; use a field selector"));
    }
    let wants_namespace =
        info.namespaced && (wants_name || matches!(verb, Verb::Create | Verb::DeleteCollection));
    if wants_namespace && context.namespace.is_empty() {
        return Err(Status::bad_request("namespace is required"));
    }
    Ok(context)
}

/// The path that the request has by REST, for whoever reads of it.
pub(super) fn path_of(context: &RequestContext) -> String {
    let info = context.resource;
    let mut path = if info.group.is_empty() {
        format!("/api/{}", info.version)
    } else {
        format!("/apis/{}/{}", info.group, info.version)
    };
    if !context.namespace.is_empty() {
        path.push_str("/namespaces/");
        path.push_str(&context.namespace);
    }
    for segment in [info.resource, &context.name, &context.subresource] {
        if !segment.is_empty() {
            path.push('/');
            path.push_str(segment);
        }
    }
    if context.verb == Verb::Watch {
        path.push_str("?watch=true");
    }
    path
}

/// The shape of the answer.
pub(super) fn output(output: i32, include: &str) -> Result<OutputShape, Status> {
    match Output::try_from(output) {
        Ok(Output::Object) => Ok(OutputShape::Object),
        Ok(Output::Metadata) => Ok(OutputShape::Metadata),
        Ok(Output::Table) => include_object(include).map(OutputShape::Table),
        Err(_) => Err(Status::bad_request("unknown output")),
    }
}

/// `includeObject` of a Table.
pub(in crate::faces) fn include_object(text: &str) -> Result<IncludeObject, Status> {
    match text {
        "" | "Metadata" => Ok(IncludeObject::Metadata),
        "None" => Ok(IncludeObject::None),
        "Object" => Ok(IncludeObject::Object),
        _ => Err(Status::bad_request(format!("unrecognized includeObject value: {text:?}"))),
    }
}

/// `fieldValidation`.
pub(in crate::faces) fn field_validation(text: &str) -> Result<FieldValidation, Status> {
    match text {
        "" | "Warn" => Ok(FieldValidation::Warn),
        "Ignore" => Ok(FieldValidation::Ignore),
        "Strict" => Ok(FieldValidation::Strict),
        _ => Err(Status::bad_request(format!(
            "fieldValidation: Unsupported value: {text:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
        ))),
    }
}

pub(super) fn write_options(
    context: &mut RequestContext,
    options: Option<WriteOptions>,
) -> Result<(), Status> {
    let Some(options) = options else { return Ok(()) };
    if !options.field_manager.is_empty() {
        context.field_manager = options.field_manager;
        context.manager_given = true;
    }
    context.field_validation = field_validation(&options.field_validation)?;
    context.dry_run = options.dry_run;
    context.force = options.force;
    Ok(())
}

pub(super) fn list_options(message: ListRequest) -> ListOptions {
    ListOptions {
        resource_version: message.resource_version,
        resource_version_match: message.resource_version_match,
        limit: message.limit,
        continue_token: message.continue_token,
        ..selected(message.selectors)
    }
}

pub(super) fn watch_options(message: WatchRequest) -> ListOptions {
    let seconds = u64::try_from(message.timeout_seconds).unwrap_or(0);
    ListOptions {
        // The message has no "not said": without a version the state comes first, as in Kubernetes.
        send_initial_events: message.send_initial_events.then_some(true),
        resource_version: message.resource_version,
        resource_version_match: message.resource_version_match,
        allow_bookmarks: message.allow_bookmarks,
        timeout: (seconds > 0).then(|| Duration::from_secs(seconds)),
        ..selected(message.selectors)
    }
}

pub(super) fn selected(selectors: Option<Selectors>) -> ListOptions {
    let Selectors { label_selector, field_selector } = selectors.unwrap_or_default();
    ListOptions { label_selector, field_selector, ..ListOptions::default() }
}

pub(super) fn delete_preconditions(context: &mut RequestContext, options: &v1::DeleteOptions) {
    context.dry_run = options.dry_run;
    if let Some(preconditions) = &options.preconditions {
        context.preconditions = Preconditions {
            uid: preconditions.uid.clone(),
            resource_version: preconditions.resource_version.clone(),
        };
    }
}

pub(super) fn delete_options(options: v1::DeleteOptions) -> DeleteOptions {
    DeleteOptions {
        grace_period_seconds: options.grace_period_seconds,
        propagation_policy: options.propagation_policy,
    }
}

/// The header `grpc-timeout`: digits and a unit.
pub(super) fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "M" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::resource;

    use super::*;

    #[test]
    fn timeouts_are_read() {
        let check = |text, expected| assert_eq!(grpc_timeout(text), expected, "{text}");
        check("5S", Some(Duration::from_secs(5)));
        check("250m", Some(Duration::from_millis(250)));
        check("", None);
        check("5", None);
        check("xS", None);
    }

    #[test]
    fn targets_are_checked() {
        let reference = |resource: &str, namespace: &str, name: &str| ResourceRef {
            version: "v1".into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..ResourceRef::default()
        };
        let check = |verb, reference: ResourceRef, ok: bool| {
            let find =
                |g: &str, v: &str, r: &str| resource::find(g, v, r).filter(|info| info.served);
            assert_eq!(target(verb, Some(&reference), &find).is_ok(), ok, "{verb:?} {reference:?}");
        };
        check(Verb::Get, reference("pods", "default", "web"), true);
        check(Verb::Get, reference("pods", "default", ""), false);
        check(Verb::Get, reference("pods", "", "web"), false);
        check(Verb::Get, reference("pods", "../x", "web"), false);
        check(Verb::List, reference("pods", "", ""), true);
        check(Verb::Get, reference("nodes", "default", "x"), false);
        check(Verb::Get, reference("unknown", "default", "x"), false);
    }
}
