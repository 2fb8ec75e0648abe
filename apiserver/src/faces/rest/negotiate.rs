//! Media types: what the client accepts, what it sends.

use apimachinery::status::Status;

use super::protobuf;
use crate::{
    faces::grpc::include_object,
    request::{OutputShape, PatchType},
};

/// The text form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Yaml,
}

/// What the `Accept` header comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) shape: OutputShape,
    pub(super) format: Format,
    /// Aggregated discovery is wanted.
    pub(super) aggregated: bool,
}

const SERVED: [&str; 2] = ["application/json", "application/yaml"];

const TAKEN: [&str; 3] = ["application/json", "application/yaml", protobuf::CONTENT_TYPE];

/// Takes the first media type of the header that is served.
pub(super) fn accept(header: &str, include: &str) -> Result<Accepted, Status> {
    let default = Accepted { shape: OutputShape::Object, format: Format::Json, aggregated: false };
    if header.is_empty() {
        return Ok(default);
    }
    for part in header.split(',') {
        let mut parameters = part.split(';').map(str::trim);
        let format = match parameters.next().unwrap_or("") {
            "application/json" | "*/*" | "application/*" => Format::Json,
            "application/yaml" => Format::Yaml,
            _ => continue,
        };
        let (mut kind, mut group, mut version, mut stream) = ("", "", "", "");
        for parameter in parameters {
            match parameter.split_once('=') {
                Some(("as", value)) => kind = value,
                Some(("g", value)) => group = value,
                Some(("v", value)) => version = value,
                Some(("stream", value)) => stream = value,
                _ => {}
            }
        }
        if !matches!(stream, "" | "watch") {
            continue;
        }
        let shape = match (kind, group, version) {
            ("", _, _) => OutputShape::Object,
            ("Table", "meta.k8s.io", "v1") => OutputShape::Table(include_object(include)?),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
                OutputShape::Metadata
            }
            ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => {
                return Ok(Accepted { format, aggregated: true, ..default });
            }
            _ => continue,
        };
        return Ok(Accepted { shape, format, aggregated: false });
    }
    Err(Status::not_acceptable(&SERVED))
}

/// The body as JSON: YAML and protobuf are turned into it.
pub(super) fn to_json(content_type: &str, body: bytes::Bytes) -> Result<bytes::Bytes, Status> {
    match content_type.split(';').next().unwrap_or("").trim() {
        "application/json" | "" => Ok(body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let text = std::str::from_utf8(&body).map_err(|error| {
                Status::bad_request(format!("error converting YAML to JSON: {error}"))
            })?;
            let documents = apimachinery::yaml::read(text, "body").map_err(|error| {
                Status::bad_request(format!(
                    "error converting YAML to JSON: {}",
                    error.go_message()
                ))
            })?;
            let first = documents.into_iter().next().map_or(serde_json::Value::Null, |d| d.value);
            Ok(first.to_string().into())
        }
        protobuf::CONTENT_TYPE => protobuf::to_json(&body),
        _ => Err(Status::unsupported_media_type(&TAKEN)),
    }
}

/// The kind of patch that a content type names.
pub(super) fn patch_type(content_type: &str) -> Result<PatchType, Status> {
    match content_type.split(';').next().unwrap_or("").trim() {
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
        "application/apply-patch+yaml" => Ok(PatchType::Apply),
        _ => Err(Status::unsupported_media_type(&[
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
            "application/apply-patch+yaml",
        ])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::IncludeObject;

    #[test]
    fn the_first_served_type_wins() {
        let check = |header: &str, expected: Option<OutputShape>| {
            assert_eq!(
                accept(header, "").ok().map(|accepted| accepted.shape),
                expected,
                "{header}"
            );
        };
        let table = Some(OutputShape::Table(IncludeObject::Metadata));
        check("", Some(OutputShape::Object));
        check("application/json", Some(OutputShape::Object));
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            table,
        );
        check(
            "application/json;as=Table;v=v9;g=meta.k8s.io, application/json",
            Some(OutputShape::Object),
        );
        check("application/vnd.kubernetes.protobuf, */*", Some(OutputShape::Object));
        check("application/vnd.kubernetes.protobuf", None);
        check(
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            Some(OutputShape::Metadata),
        );
        assert!(accept("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json", "").unwrap().aggregated);
        assert_eq!(accept("application/yaml", "").unwrap().format, Format::Yaml);
    }
}
