//! Probes and lifecycle hooks.

use apimachinery::validation::{is_http_header_name, is_valid_port_num};

use super::{
    at::{At, Errors},
    net,
};

/// The three probes of a container that runs until it is told to stop.
pub(crate) fn all(container: &At<'_>, grace: Option<i64>, errors: &mut Errors) {
    let liveness = container.get("livenessProbe");
    if liveness.is_set() {
        probe(&liveness, grace, errors);
        success_once(&liveness, errors);
    }
    let readiness = container.get("readinessProbe");
    if readiness.is_set() {
        probe(&readiness, grace, errors);
        let field = readiness.get("terminationGracePeriodSeconds");
        if field.is_set() {
            errors.invalid(&field, "must not be set for readinessProbes");
        }
    }
    let startup = container.get("startupProbe");
    if startup.is_set() {
        probe(&startup, grace, errors);
        success_once(&startup, errors);
    }
}

fn success_once(probe: &At<'_>, errors: &mut Errors) {
    let threshold = probe.get("successThreshold");
    if threshold.int() != 1 {
        errors.invalid_as(&threshold, threshold.int(), "must be 1");
    }
}

fn probe(probe: &At<'_>, grace: Option<i64>, errors: &mut Errors) {
    handler(probe, grace, errors);
    for name in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        errors.non_negative(&probe.get(name));
    }
    let own_grace = probe.get("terminationGracePeriodSeconds");
    if own_grace.is_set() && own_grace.int() <= 0 {
        errors.invalid(&own_grace, "must be greater than 0");
    }
}

/// The hooks of a container.
pub(crate) fn lifecycle(lifecycle: &At<'_>, grace: Option<i64>, errors: &mut Errors) {
    for name in ["postStart", "preStop"] {
        let hook = lifecycle.get(name);
        if hook.is_set() {
            handler(&hook, grace, errors);
        }
    }
}

/// Exactly one way of doing it.
fn handler(handler: &At<'_>, grace: Option<i64>, errors: &mut Errors) {
    type Check = fn(&At<'_>, Option<i64>, &mut Errors);
    const HANDLERS: [(&str, Check); 5] = [
        ("exec", |at, _, errors| {
            if at.get("command").is_empty() {
                errors.required(&at.get("command"), "");
            }
        }),
        ("httpGet", |at, _, errors| http_get(at, errors)),
        ("tcpSocket", |at, _, errors| net::port_number_or_name(&at.get("port"), errors)),
        ("grpc", |at, _, errors| {
            let port = at.get("port");
            errors.each_as(&port, port.int(), is_valid_port_num(port.int()));
        }),
        ("sleep", sleep),
    ];
    let mut found = false;
    for (name, check) in HANDLERS {
        let action = handler.get(name);
        if !action.is_set() {
            continue;
        }
        if found {
            errors.forbidden(&action, "may not specify more than 1 handler type");
        } else {
            found = true;
            check(&action, grace, errors);
        }
    }
    if !found {
        errors.required(handler, "must specify a handler type");
    }
}

fn http_get(get: &At<'_>, errors: &mut Errors) {
    if get.str("path").is_empty() {
        errors.required(&get.get("path"), "");
    }
    net::port_number_or_name(&get.get("port"), errors);
    let scheme = get.get("scheme");
    if !matches!(scheme.text(), "HTTP" | "HTTPS") {
        errors.not_supported(&scheme, &["HTTP", "HTTPS"]);
    }
    let headers = get.get("httpHeaders");
    for header in headers.items() {
        let name = header.str("name");
        errors.each_as(&headers, name, is_http_header_name(name));
    }
}

fn sleep(sleep: &At<'_>, grace: Option<i64>, errors: &mut Errors) {
    let seconds = sleep.get("seconds").int();
    if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
        errors.invalid_as(
            sleep,
            seconds,
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
        );
    }
}
