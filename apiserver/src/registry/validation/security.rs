//! Security contexts of pods and containers, and what an operating system forbids in them.

use apimachinery::validation::{is_dns1123_subdomain, is_valid_group_id, is_valid_user_id};

use super::{
    at::{At, Errors},
    volume::descending_path,
};

const MAX_PROFILE_PATH: usize = 4095;
const MAX_SYSCTL: usize = 253;
const SYSCTL_FORMAT: &str =
    "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const NO_WINDOWS_OPTIONS: &str = "windows options cannot be set for a linux pod";
const NOT_FOR_WINDOWS: &str = "cannot be set for a windows pod";

/// The security context of a pod; `spec` is the whole pod spec.
pub(crate) fn of_pod(spec: &At<'_>, errors: &mut Errors) {
    let context = spec.get("securityContext");
    for (name, check) in [
        ("fsGroup", is_valid_group_id as fn(i64) -> Vec<String>),
        ("runAsUser", is_valid_user_id),
        ("runAsGroup", is_valid_group_id),
    ] {
        id(&context.get(name), check, errors);
    }
    for group in context.get("supplementalGroups").items() {
        id(&group, is_valid_group_id, errors);
    }
    if spec.get("shareProcessNamespace").bool() && spec.get("hostPID").bool() {
        let field = context.get("shareProcessNamespace");
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid_as(&field, true, detail);
    }
    sysctls(&context.get("sysctls"), spec, errors);
    errors.one_of_if_set(&context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]);
    seccomp(&context.get("seccompProfile"), errors);
    windows_options(&context.get("windowsOptions"), errors);
    app_armor(&context.get("appArmorProfile"), errors);
    errors.one_of_if_set(&context.get("supplementalGroupsPolicy"), &["Merge", "Strict"]);
    errors.one_of_if_set(&context.get("seLinuxChangePolicy"), &["MountOption", "Recursive"]);
}

fn id(field: &At<'_>, check: fn(i64) -> Vec<String>, errors: &mut Errors) {
    if field.is_set() {
        errors.each(field, check(field.int()));
    }
}

fn sysctls(sysctls: &At<'_>, spec: &At<'_>, errors: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for sysctl in sysctls.items() {
        let field = sysctl.get("name");
        let name = sysctl.str("name");
        if name.is_empty() {
            errors.required(&field, "");
        } else if !is_sysctl(name) {
            errors.invalid(
                &field,
                format!(
                    "must have at most {MAX_SYSCTL} characters and match regex {SYSCTL_FORMAT}"
                ),
            );
        } else if seen.contains(&name) {
            errors.duplicate(&field);
        }
        let dotted = name.replace('/', ".");
        if spec.get("hostNetwork").bool() && dotted.starts_with("net.") {
            errors.invalid(&field, "may not be specified when 'hostNetwork' is true");
        }
        let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."];
        let ipc = dotted == "kernel.sem" || ipc.iter().any(|prefix| dotted.starts_with(prefix));
        if spec.get("hostIPC").bool() && ipc {
            errors.invalid(&field, "may not be specified when 'hostIPC' is true");
        }
        seen.push(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= MAX_SYSCTL
        && name.split(['.', '/']).all(|segment| {
            segment.starts_with(ends)
                && segment.ends_with(ends)
                && segment.chars().all(|c| ends(c) || c == '-' || c == '_')
        })
}

/// The security context of a container.
pub(crate) fn of_container(context: &At<'_>, host_users: bool, errors: &mut Errors) {
    if context.is_empty() {
        return;
    }
    id(&context.get("runAsUser"), is_valid_user_id, errors);
    id(&context.get("runAsGroup"), is_valid_group_id, errors);
    let proc_mount = context.get("procMount");
    errors.one_of_if_set(&proc_mount, &["Default", "Unmasked"]);
    if host_users && proc_mount.text() == "Unmasked" {
        errors.invalid(&proc_mount, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(&context.get("seccompProfile"), errors);
    let escalation = context.get("allowPrivilegeEscalation");
    if escalation.is_set() && !escalation.bool() {
        if context.get("privileged").bool() {
            errors.invalid(
                context,
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        let capabilities = context.get("capabilities");
        for capability in capabilities.get("add").items() {
            if capability.text() == "CAP_SYS_ADMIN" {
                errors.invalid(
                    context,
                    "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
                );
            }
        }
    }
    windows_options(&context.get("windowsOptions"), errors);
    app_armor(&context.get("appArmorProfile"), errors);
}

fn seccomp(profile: &At<'_>, errors: &mut Errors) {
    if !profile.is_set() {
        return;
    }
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.text() {
        "" => errors.required(&kind, "type is required when seccompProfile is set"),
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        _ => errors.not_supported(&kind, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    match (kind.text() == "Localhost", local.is_set()) {
        (true, false) => {
            errors.required(&local, "must be set when seccomp type is Localhost");
        }
        (true, true) => descending_path(&local, errors),
        (false, true) => {
            let whole = local.with(profile.raw());
            errors.invalid(&whole, "can only be set when seccomp type is Localhost");
        }
        (false, false) => {}
    }
}

fn app_armor(profile: &At<'_>, errors: &mut Errors) {
    if !profile.is_set() {
        return;
    }
    const MUST_BE_SET: &str = "must be set when AppArmor type is Localhost";
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.text() {
        "Localhost" if !local.is_set() => errors.required(&local, MUST_BE_SET),
        "Localhost" => {
            let trimmed = local.text().trim();
            if trimmed != local.text() {
                errors.invalid(&local, "must not be padded with whitespace");
            } else if trimmed.is_empty() {
                errors.required(&local, MUST_BE_SET);
            }
            if local.len() > MAX_PROFILE_PATH {
                errors.too_long(&local, MAX_PROFILE_PATH);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if local.is_set() {
                errors.invalid(&local, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => errors.required(&kind, "type is required when appArmorProfile is set"),
        _ => errors.not_supported(&kind, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

fn windows_options(options: &At<'_>, errors: &mut Errors) {
    let name = options.get("gmsaCredentialSpecName");
    if name.is_set() {
        errors.each(&name, is_dns1123_subdomain(name.text()));
    }
    let spec = options.get("gmsaCredentialSpec");
    if spec.is_set() && spec.is_empty() {
        errors.invalid(&spec, "gmsaCredentialSpec cannot be an empty string");
    } else if spec.len() > 64 << 10 {
        errors.invalid(&spec, "gmsaCredentialSpec size must be under 64 KiB");
    }
    let user = options.get("runAsUserName");
    if user.is_set() && user.is_empty() {
        errors.invalid(&user, "runAsUserName cannot be an empty string");
    } else if user.text().contains(char::is_control) {
        errors.invalid(&user, "runAsUserName cannot contain control characters");
    } else if user.text().matches('\\').count() > 1 {
        errors.invalid(&user, "runAsUserName cannot contain more than one backslash");
    }
}

/// `os`, and the fields that the other operating system owns.
pub(crate) fn os(spec: &At<'_>, errors: &mut Errors) {
    let os = spec.get("os");
    if !os.is_set() {
        return;
    }
    let name = os.get("name");
    match name.text() {
        "" => errors.required(&name, "cannot be empty"),
        "linux" => {
            each_context(
                spec,
                |context, errors| {
                    forbid(context, &["windowsOptions"], NO_WINDOWS_OPTIONS, errors);
                },
                errors,
            );
        }
        "windows" => windows(spec, errors),
        _ => errors.not_supported(&os.with(name.raw()), &["linux", "windows"]),
    }
}

fn windows(spec: &At<'_>, errors: &mut Errors) {
    const OF_SPEC: [&str; 4] = ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"];
    const OF_CONTEXTS: [&str; 16] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
    ];
    forbid(spec, &OF_SPEC, NOT_FOR_WINDOWS, errors);
    each_context(
        spec,
        |context, errors| {
            forbid(context, &OF_CONTEXTS, NOT_FOR_WINDOWS, errors);
        },
        errors,
    );
}

fn forbid(fields: &At<'_>, names: &[&str], why: &str, errors: &mut Errors) {
    for name in names {
        if fields.has(name) {
            errors.forbidden(&fields.get(name), why);
        }
    }
}

/// The security context of the pod, then those of its containers.
fn each_context(spec: &At<'_>, check: fn(&At<'_>, &mut Errors), errors: &mut Errors) {
    check(&spec.get("securityContext"), errors);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec.get(list).items() {
            check(&container.get("securityContext"), errors);
        }
    }
}
