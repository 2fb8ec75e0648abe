//! Resource names, quantities, requests and limits.

use apimachinery::{quantity::Quantity, validation::is_qualified_name};
use serde_json::Value;

use super::at::{At, Errors};

/// Names that Kubernetes itself gives a meaning somewhere.
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
/// Names that a container may ask for.
const OF_CONTAINERS: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Names that count whole things.
const INTEGERS: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const HUGE_PAGES: &str = "hugepages-";

/// Reads a quantity from JSON; None where there is none or it is malformed.
pub(crate) fn parse(value: Option<&Value>) -> Option<Quantity> {
    match value? {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && is_qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_huge_page(name: &str) -> bool {
    name.starts_with(HUGE_PAGES)
}

/// Whether more of it may be promised than there is.
fn overcommits(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

fn any_name(name: &str, field: &At<'_>, errors: &mut Errors) -> bool {
    let messages = is_qualified_name(name);
    if !messages.is_empty() {
        errors.each_as(field, name, messages);
        return false;
    }
    if !name.contains('/') && !STANDARD.contains(&name) && !is_huge_page(name) {
        errors.invalid_as(field, name, "must be a standard resource type or fully qualified");
        return false;
    }
    true
}

/// The name of a resource that a container asks for.
fn container_name(name: &str, field: &At<'_>, errors: &mut Errors) {
    any_name(name, field, errors);
    if !name.contains('/') {
        if !OF_CONTAINERS.contains(&name) && !is_huge_page(name) {
            errors.invalid_as(field, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid_as(field, name, "doesn't follow extended resource name standard");
    }
}

/// The name of a resource that a whole pod asks for.
fn pod_name(name: &str, field: &At<'_>, errors: &mut Errors) {
    if any_name(name, field, errors) && !matches!(name, "cpu" | "memory") && !is_huge_page(name) {
        errors.0.push(apimachinery::field::FieldError::not_supported(
            &field.path(),
            name,
            &["cpu", "hugepages-", "memory"],
        ));
    }
}

/// A quantity of a resource: not negative, and whole where things are counted.
pub(crate) fn quantity(name: &str, field: &At<'_>, errors: &mut Errors) -> Option<Quantity> {
    let Some(quantity) = parse(field.raw()) else {
        errors.invalid(
            field,
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
        return None;
    };
    if quantity < Quantity::ZERO {
        errors.invalid_as(field, quantity.to_string(), "must be greater than or equal to 0");
    }
    if (INTEGERS.contains(&name) || is_extended(name)) && quantity.milli_value() % 1000 != 0 {
        errors.invalid_as(field, quantity.to_string(), "must be an integer");
    }
    Some(quantity)
}

/// Requests and limits of one container.
pub(crate) fn of_container(resources: &At<'_>, claims: &[&str], errors: &mut Errors) {
    if resources.is_empty() {
        return;
    }
    requirements(resources, container_name, errors);
    claim_names(&resources.get("claims"), claims, errors);
}

/// Requests and limits of a whole pod.
pub(crate) fn of_pod(resources: &At<'_>, errors: &mut Errors) {
    if resources.has("claims") {
        errors
            .forbidden(&resources.get("claims"), "claims cannot be set for Resources at pod-level");
    }
    requirements(resources, pod_name, errors);
}

/// What a pod costs beyond its containers.
pub(crate) fn overhead(overhead: &At<'_>, errors: &mut Errors) {
    let limits = overhead.get("limits");
    let list = limits.with(overhead.raw());
    for (name, field) in list.entries() {
        container_name(name, &field, errors);
        quantity(name, &field, errors);
    }
}

fn requirements(
    resources: &At<'_>,
    check_name: fn(&str, &At<'_>, &mut Errors),
    errors: &mut Errors,
) {
    let (limits, requests) = (resources.get("limits"), resources.get("requests"));
    let (mut compute, mut huge) = (false, false);
    let mut one = |name: &str, field: &At<'_>, errors: &mut Errors| {
        check_name(name, field, errors);
        let value = quantity(name, field, errors);
        compute |= matches!(name, "cpu" | "memory");
        if is_huge_page(name) {
            huge = true;
            if let Some(value) = value {
                huge_pages(name, value, field, errors);
            }
        }
        value
    };
    for (name, field) in limits.entries() {
        one(name, &field, errors);
    }
    for (name, field) in requests.entries() {
        let request = one(name, &field, errors);
        let limit = parse(limits.raw().and_then(|l| l.get(name)));
        match (request, limit) {
            (Some(request), Some(limit)) => {
                let shown = request.to_string();
                if request != limit && !overcommits(name) {
                    let detail = format!("must be equal to {name} limit of {limit}");
                    errors.invalid_as(&requests, shown, detail);
                } else if request > limit {
                    let detail = format!("must be less than or equal to {name} limit of {limit}");
                    errors.invalid_as(&requests, shown, detail);
                }
            }
            (_, None) if !overcommits(name) => {
                errors.required(&limits, "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
    if huge && !compute {
        errors.forbidden(resources, "HugePages require cpu or memory");
    }
}

fn huge_pages(name: &str, value: Quantity, field: &At<'_>, errors: &mut Errors) {
    let page: Option<Quantity> = name.strip_prefix(HUGE_PAGES).and_then(|size| size.parse().ok());
    let divides = page.is_some_and(|page| {
        let (page, value) = (page.value(), value.value());
        page > 0 && value % page == 0
    });
    if !divides {
        errors.invalid_as(
            field,
            value.to_string(),
            format!("{value} is not positive integer multiple of {name}"),
        );
    }
}

/// Claims must be among the pod's.
fn claim_names(claims: &At<'_>, known: &[&str], errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for claim in claims.items() {
        let name = claim.str("name");
        if name.is_empty() {
            errors.required(&claim, "");
            continue;
        }
        if seen.contains(&name) && claim.str("request").is_empty() {
            errors.duplicate_as(&claim, name);
        }
        seen.push(name);
        if !known.contains(&name) {
            errors.not_found(&claim.with(claim.get("name").raw()));
            if let Some(error) = errors.0.last_mut() {
                let which = if known.is_empty() {
                    " which is empty".to_owned()
                } else {
                    format!(": {}", known.join(", "))
                };
                error.detail =
                    format!("must be one of the names in pod.spec.resourceClaims{which}");
            }
        }
    }
}
