//! `kubectl create token`.

use apimachinery::{object::Object, resource::SERVICE_ACCOUNTS};
use serde_json::{Map, Value, json};

use super::common::one_name;
use crate::{
    changing::{DryRun, Reporter},
    cli::{
        Command,
        values::{Signed, parse_duration},
    },
    context::Context,
    errors::CommandError,
    printers::OutputFlags,
};

/// What a token can be bound to, and the version of its API.
const BOUND_TO: &[(&str, &str)] = &[("Node", "v1"), ("Pod", "v1"), ("Secret", "v1")];

/// Requests a token for a service account.
#[derive(clap::Args, Clone, Debug)]
pub struct Token {
    /// The service account's name.
    pub arguments: Vec<String>,
    /// In which format; the token alone, where none is given.
    #[command(flatten)]
    pub output: OutputFlags,
    /// Audience of the requested token. If unset, the token is for the Kubernetes API server. May be repeated.
    #[arg(long)]
    pub audience: Vec<String>,
    /// Requested lifetime of the issued token. If not set or 0, the server chooses.
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub duration: Signed,
    /// Kind of an object to bind the token to: Node, Pod or Secret.
    #[arg(long, default_value = "")]
    pub bound_object_kind: String,
    /// Name of an object to bind the token to. The token will expire when the object is deleted.
    #[arg(long, default_value = "")]
    pub bound_object_name: String,
    /// UID of an object to bind the token to.
    #[arg(long, default_value = "")]
    pub bound_object_uid: String,
}

impl Command for Token {
    const NAME: &'static str = "token";
    const ABOUT: &'static str = "Request a service account token";
    const USAGE: &'static str = "token SERVICE_ACCOUNT_NAME";
    const EXAMPLES: &'static str =
        "# A token for the service account myapp of the current namespace, for ten minutes
kubectl-mini create token myapp --duration 10m

# A token that is worth nothing when the pod is gone
kubectl-mini create token myapp --bound-object-kind Pod --bound-object-name mypod";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let name = one_name("create token", &self.arguments)?;
        let request = self.request()?;
        let reporter = Reporter::typed(&self.output, DryRun::None)?;
        let namespace = context.namespace()?;
        let client = context.client()?;
        let api = client.resource(&SERVICE_ACCOUNTS).namespace(&namespace).subresource("token");
        let reply = api.create(name, request.to_string().into()).await;
        let reply = reply.map_err(|status| {
            CommandError::message(format!("failed to create token: {}", status.message))
        })?;
        let mut token: Object = reply.object()?;
        // kubectl's type always has it.
        if token.get(&["spec", "boundObjectRef"]).is_none() {
            token.set(&["spec", "boundObjectRef"], Value::Null);
        }
        if !self.output.format().0.is_empty() {
            return reporter.report(context, &token, "");
        }
        match token.get_str(&["status", "token"]) {
            "" => Err(CommandError::message("failed to create token: no token in server response")),
            token => context.print(&format!("{token}\n")),
        }
    }
}

impl Token {
    /// The body of the request, or kubectl's complaint about the flags.
    fn request(&self) -> Result<Value, CommandError> {
        if self.duration.negative {
            return Err(CommandError::message("--duration must be greater than or equal to 0"));
        }
        let seconds = self.duration.magnitude.as_secs();
        let mut spec = Map::new();
        spec.insert("audiences".to_owned(), json!(self.audience));
        if seconds > 0 {
            spec.insert("expirationSeconds".to_owned(), seconds.into());
        }
        if let Some(bound) = self.bound()? {
            spec.insert("boundObjectRef".to_owned(), bound);
        }
        Ok(
            json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec }),
        )
    }

    fn bound(&self) -> Result<Option<Value>, CommandError> {
        let Self {
            bound_object_kind: kind, bound_object_name: name, bound_object_uid: uid, ..
        } = self;
        let refuse = |message: &str| Err(CommandError::message(message));
        if kind.is_empty() {
            if !name.is_empty() {
                return refuse(
                    "--bound-object-name can only be set if --bound-object-kind is provided",
                );
            }
            if !uid.is_empty() {
                return refuse(
                    "--bound-object-uid can only be set if --bound-object-kind is provided",
                );
            }
            return Ok(None);
        }
        let Some((_, version)) = BOUND_TO.iter().find(|(known, _)| known == kind) else {
            return refuse("supported --bound-object-kind values are Node, Pod, Secret");
        };
        if name.is_empty() {
            return refuse("--bound-object-name is required if --bound-object-kind is provided");
        }
        let mut bound = json!({ "apiVersion": version, "kind": kind, "name": name });
        if !uid.is_empty() {
            bound["uid"] = uid.as_str().into();
        }
        Ok(Some(bound))
    }
}
