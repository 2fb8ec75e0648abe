//! `kubectl explain`: what the server's OpenAPI document says of a kind or of one of its fields.

mod text;
mod wrap;

use apimachinery::resource::{self, ResourceInfo, split_api_version};
use serde_json::Value;

use crate::{cli::Command, context::Context, errors::CommandError, resources::resolve_type};

/// Explains a kind or a field.
#[derive(clap::Args, Clone, Debug)]
pub struct Explain {
    /// `pods`, `pods.spec.containers`.
    pub arguments: Vec<String>,
    /// Use given api-version (group/version) of the resource.
    #[arg(long, default_value = "")]
    pub api_version: String,
    /// When true, print the name of all the fields recursively.
    #[arg(long, default_missing_value = "true", num_args = 0..=1, require_equals = true, default_value = "false")]
    pub recursive: bool,
    /// Format in which to render the schema. Valid values are: (plaintext).
    #[arg(long, default_value = "plaintext")]
    pub output: String,
}

impl Command for Explain {
    const NAME: &'static str = "explain";
    const ABOUT: &'static str = "Get documentation for a resource";
    const USAGE: &'static str = "explain TYPE [--recursive=FALSE|TRUE] [--api-version=api-version-group] [--output=plaintext]";
    const HELP: &'static str = "Describe fields and structure of various resources.

 The server tells what it knows of the fields of each kind. A field is named by its path: TYPE.FIELD.FIELD.";
    const EXAMPLES: &'static str = "# What a pod is made of
kubectl-mini explain pods

# One field of it
kubectl-mini explain pods.spec.containers

# All fields by name
kubectl-mini explain deployments --recursive";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let named = match self.arguments.as_slice() {
            [named] => named,
            [] => {
                return Err(CommandError::message(
                    "You must specify the type of resource to explain. Use \"kubectl-mini api-resources\" for a complete list of supported resources.",
                ));
            }
            _ => {
                return Err(CommandError::message("We accept only this format: explain RESOURCE"));
            }
        };
        match self.output.as_str() {
            "plaintext" => {}
            "plaintext-openapiv2" => {
                let message = "the format plaintext-openapiv2 is not supported, use plaintext";
                return Err(CommandError::message(message));
            }
            other => return Err(CommandError::message(format!("unrecognized format: {other}"))),
        }
        let mut words = named.split('.').filter(|word| !word.is_empty());
        let first = words.next().unwrap_or_default();
        let mut fields: Vec<&str> = words.collect();
        let info = self.resource(context, first, &mut fields).await?;
        let client = context.client()?;
        let document = context.request(client.openapi(&document_path(info))).await?;
        let document: Value = serde_json::from_slice(&document).map_err(|error| {
            CommandError::message(format!("unable to read the server's OpenAPI document: {error}"))
        })?;
        context.print(&text::head(info))?;
        match text::explain(&document, info, &fields, self.recursive) {
            Some(text) => context.print(&text),
            None => {
                let field = fields.last().copied().unwrap_or_default();
                Err(CommandError::message(format!("field \"{field}\" does not exist")))
            }
        }
    }
}

impl Explain {
    /// The resource that is named, perhaps with its group, which is then no part of the fields.
    async fn resource(
        &self,
        context: &Context,
        first: &str,
        fields: &mut Vec<&str>,
    ) -> Result<&'static ResourceInfo, CommandError> {
        for count in (1..=fields.len()).rev() {
            let full = format!("{first}.{}", fields[..count].join("."));
            let found = resource::served().find(|info| {
                info.resource == first && !info.group.is_empty() && info.group_resource() == full
            });
            if let Some(info) = found.filter(|_| self.api_version.is_empty()) {
                fields.drain(..count);
                // A kubeconfig that leads nowhere is the first error.
                return resolve_type(context, &info.group_resource()).await;
            }
        }
        // kubectl prints this one error without a word before it.
        let info = resolve_type(context, first).await.map_err(|error| match error {
            CommandError::NoResourceType(_) => CommandError::Verbatim(error.to_string()),
            other => other,
        })?;
        if self.api_version.is_empty() {
            return Ok(info);
        }
        if self.api_version.matches('/').count() > 1 {
            let message = format!("unexpected GroupVersion string: {}", self.api_version);
            return Err(CommandError::message(message));
        }
        let (group, version) = split_api_version(&self.api_version);
        resource::find(group, version, info.resource).filter(|info| info.served).ok_or_else(|| {
            let wanted = format!("{}, Resource={}", self.api_version, info.resource);
            CommandError::message(format!("couldn't find resource for \"{wanted}\""))
        })
    }
}

/// Where the document of a resource is: `api/v1`, `apis/apps/v1`.
fn document_path(info: &ResourceInfo) -> String {
    if info.group.is_empty() {
        format!("api/{}", info.version)
    } else {
        format!("apis/{}/{}", info.group, info.version)
    }
}
