//! Kubernetes' named formats: `format.dns1123Label().validate(text)` gives the mistakes, or none.

use crate::validation;

/// The formats, by the names of their functions.
pub(super) const NAMES: &[&str] = &[
    "dns1123Label",
    "dns1123LabelPrefix",
    "dns1123Subdomain",
    "dns1123SubdomainPrefix",
    "dns1035Label",
    "dns1035LabelPrefix",
    "qualifiedName",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

/// The mistakes of a text.
pub(super) fn validate(format: &str, text: &str) -> Vec<String> {
    let masked = || match text.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => text.to_owned(),
    };
    match format {
        "dns1123Label" => validation::is_dns1123_label(text),
        "dns1123LabelPrefix" => validation::is_dns1123_label(&masked()),
        "dns1123Subdomain" => validation::is_dns1123_subdomain(text),
        "dns1123SubdomainPrefix" => validation::is_dns1123_subdomain(&masked()),
        "dns1035Label" => validation::is_dns1035_label(text),
        "dns1035LabelPrefix" => validation::is_dns1035_label(&masked()),
        "qualifiedName" => validation::is_qualified_name(text),
        "labelValue" => validation::is_valid_label_value(text),
        other => {
            let other = if other == "datetime" { "date-time" } else { other };
            if crate::structural::is_of_format(other, text) {
                Vec::new()
            } else {
                vec![format!("does not match the {format} format")]
            }
        }
    }
}
