//! Image names as the kubelet shows them.

/// The name in a container status: the normalised reference, as container runtimes report it.
#[must_use]
pub fn display_name(image: &str) -> String {
    match container_runtime::ImageReference::parse(image) {
        Ok(reference) => reference.to_string(),
        Err(_) => image.to_owned(),
    }
}
