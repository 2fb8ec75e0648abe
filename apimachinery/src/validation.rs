//! Text formats that many fields share, each check giving Kubernetes' messages: `k8s.io/apimachinery`'s
//! `util/validation` and `api/validate/content`.
//!
//! A check returns the list of what is wrong; empty means valid. The patterns are simple enough to be matched by
//! hand, so no regex engine is carried along.

const DNS_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1035_LABEL: &str = "[a-z]([-a-z0-9]*[a-z0-9])?";
const LABEL_KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// Longest DNS label.
pub const DNS1123_LABEL_MAX_LENGTH: usize = 63;
/// Longest DNS name.
pub const DNS1123_SUBDOMAIN_MAX_LENGTH: usize = 253;
/// Longest label value.
pub const LABEL_VALUE_MAX_LENGTH: usize = 63;

fn max_len(length: usize) -> String {
    format!("must be no more than {length} bytes")
}

fn regex_error(message: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{pattern}')");
    }
    let examples: Vec<String> = examples.iter().map(|e| format!("'{e}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{pattern}')", examples.join(" or "))
}

fn is_lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// Starts with `first`, ends with `last`, all between from `middle`.
fn shape(text: &str, first: fn(u8) -> bool, middle: fn(u8) -> bool, last: fn(u8) -> bool) -> bool {
    match text.as_bytes() {
        [] => false,
        [only] => first(*only) && last(*only),
        [a, inner @ .., z] => first(*a) && last(*z) && inner.iter().all(|b| middle(*b)),
    }
}

fn dns_label_shape(text: &str) -> bool {
    shape(text, is_lower, |b| is_lower(b) || b == b'-', is_lower)
}

fn dns_subdomain_shape(text: &str) -> bool {
    text.split('.').all(dns_label_shape)
}

fn label_key_shape(text: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_alphanumeric();
    shape(text, alnum, |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b), alnum)
}

/// A DNS label (RFC 1123): namespaces, most names inside a pod.
#[must_use]
pub fn is_dns1123_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_LABEL_MAX_LENGTH {
        errors.push(max_len(DNS1123_LABEL_MAX_LENGTH));
    }
    if !dns_label_shape(value) {
        errors.push(if dns_subdomain_shape(value) {
            "must not contain dots".to_owned()
        } else {
            regex_error(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                DNS_LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    errors
}

/// A DNS subdomain (RFC 1123): the names of most objects.
#[must_use]
pub fn is_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        errors.push(max_len(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    if !dns_subdomain_shape(value) {
        errors.push(regex_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            &format!("{DNS_LABEL}(\\.{DNS_LABEL})*"),
            &["example.com"],
        ));
    }
    errors
}

/// A wildcard DNS name, `*.example.com`.
#[must_use]
pub fn is_wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        errors.push(max_len(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    if !value.strip_prefix("*.").is_some_and(dns_subdomain_shape) {
        errors.push(regex_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!("\\*\\.{DNS_LABEL}(\\.{DNS_LABEL})*"),
            &["*.example.com"],
        ));
    }
    errors
}

/// A DNS label that starts with a letter (RFC 1035): Services.
#[must_use]
pub fn is_dns1035_label(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_LABEL_MAX_LENGTH {
        errors.push(max_len(DNS1123_LABEL_MAX_LENGTH));
    }
    let letter = |b: u8| b.is_ascii_lowercase();
    if !shape(value, letter, |b| is_lower(b) || b == b'-', is_lower) {
        errors.push(regex_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            DNS1035_LABEL,
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// A label key: `name` or `prefix/name`.
#[must_use]
pub fn is_qualified_name(value: &str) -> Vec<String> {
    const MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    const EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];
    let mut errors = Vec::new();
    let parts: Vec<&str> = value.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                let wrong = is_dns1123_subdomain(prefix);
                errors.extend(wrong.into_iter().map(|e| format!("prefix part {e}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                regex_error(MESSAGE, LABEL_KEY, EXAMPLES)
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", max_len(63)));
    }
    if !label_key_shape(name) {
        errors.push(format!("name part {}", regex_error(MESSAGE, LABEL_KEY, EXAMPLES)));
    }
    errors
}

/// A label value.
#[must_use]
pub fn is_valid_label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_VALUE_MAX_LENGTH {
        errors.push(max_len(LABEL_VALUE_MAX_LENGTH));
    }
    if !value.is_empty() && !label_key_shape(value) {
        errors.push(regex_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({LABEL_KEY})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// A C identifier.
#[must_use]
pub fn is_c_identifier(value: &str) -> Vec<String> {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let rest = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let valid = value.bytes().next().is_some_and(first) && value.bytes().all(rest);
    unless(valid, || {
        regex_error(
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
            "[A-Za-z_][A-Za-z0-9_]*",
            &["my_name", "MY_NAME", "MyName"],
        )
    })
}

/// A port number, 1–65535.
#[must_use]
pub fn is_valid_port_num(port: i64) -> Vec<String> {
    is_in_range(port, 1, 65535)
}

/// A number within bounds, both included.
#[must_use]
pub fn is_in_range(value: i64, min: i64, max: i64) -> Vec<String> {
    unless((min..=max).contains(&value), || format!("must be between {min} and {max}, inclusive"))
}

/// A Unix user id.
#[must_use]
pub fn is_valid_user_id(uid: i64) -> Vec<String> {
    is_in_range(uid, 0, 0xffff_ffff)
}

/// A Unix group id.
#[must_use]
pub fn is_valid_group_id(gid: i64) -> Vec<String> {
    is_in_range(gid, 0, 0xffff_ffff)
}

/// A port's name (RFC 6335, lower case).
#[must_use]
pub fn is_valid_port_name(port: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if port.len() > 15 {
        errors.push(max_len(15));
    }
    if port.is_empty() || !port.bytes().all(|b| is_lower(b) || b == b'-') {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !port.bytes().any(|b| b.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if port.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if port.starts_with('-') || port.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// An IP address in canonical form.
#[must_use]
pub fn is_valid_ip(value: &str) -> Vec<String> {
    unless(value.parse::<std::net::IpAddr>().is_ok(), || {
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()
    })
}

/// An IPv4 address.
#[must_use]
pub fn is_valid_ipv4(value: &str) -> Vec<String> {
    unless(value.parse::<std::net::Ipv4Addr>().is_ok(), || "must be an IPv4 address".to_owned())
}

/// A percentage, `25%`.
#[must_use]
pub fn is_valid_percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    unless(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()), || {
        regex_error(
            "a valid percent string must be a numeric string followed by an ending '%'",
            "[0-9]+%",
            &["1%", "93%"],
        )
    })
}

/// The reason of a `metav1.Condition`.
#[must_use]
pub fn is_valid_condition_reason(value: &str) -> Vec<String> {
    let middle = |b: u8| b.is_ascii_alphanumeric() || b"_,:".contains(&b);
    let last = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    unless(shape(value, |b| b.is_ascii_alphabetic(), middle, last), || {
        regex_error(
            "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
            "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
            &["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"],
        )
    })
}

/// The name of an HTTP header.
#[must_use]
pub fn is_http_header_name(value: &str) -> Vec<String> {
    let valid = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    unless(valid, || {
        regex_error(
            "a valid HTTP header must consist of alphanumeric characters or '-'",
            "[-A-Za-z0-9]+",
            &["X-Header-Name"],
        )
    })
}

/// The name of an environment variable (relaxed since Kubernetes 1.34: any printable ASCII but `=`).
#[must_use]
pub fn is_env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    unless(value.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'='), || {
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .to_owned()
    })
}

/// A key of a ConfigMap or a Secret.
#[must_use]
pub fn is_config_map_key(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > DNS1123_SUBDOMAIN_MAX_LENGTH {
        errors.push(max_len(DNS1123_SUBDOMAIN_MAX_LENGTH));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if value.is_empty() || !value.bytes().all(allowed) {
        errors.push(regex_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match value {
        "." | ".." => errors.push(format!("must not be '{value}'")),
        _ if value.starts_with("..") => errors.push("must not start with '..'".to_owned()),
        _ => {}
    }
    errors
}

/// A segment of a URL path: what any object's name must be at least.
#[must_use]
pub fn is_path_segment_name(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    ["/", "%"]
        .into_iter()
        .filter(|illegal| name.contains(illegal))
        .map(|illegal| format!("may not contain '{illegal}'"))
        .collect()
}

fn unless(valid: bool, message: impl FnOnce() -> String) -> Vec<String> {
    if valid { Vec::new() } else { vec![message()] }
}

#[cfg(test)]
mod tests;
