//! `kubectl expose`.

use std::collections::BTreeMap;

use apimachinery::{
    object::Object, patch::strategic, resource, resource::ResourceInfo, schema, yaml,
};

use crate::{
    changing::{DryRun, DryRunFlag, Place, Reporter, Writer, annotate_last_applied},
    cli::Command,
    context::Context,
    errors::CommandError,
    generate::service::{Exposed, join, ports_of, selector_of},
    printers::OutputFlags,
    resources::{FileFlags, Item, Selection, Target, fetch},
};

/// Makes services of objects.
#[derive(clap::Args, Clone, Debug)]
pub struct Expose {
    /// The type, and name.
    pub arguments: Vec<String>,
    /// Which files.
    #[command(flatten)]
    pub files: FileFlags,
    /// How far to go.
    #[command(flatten)]
    pub dry_run: DryRunFlag,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// ClusterIP to be assigned to the service. Leave empty to auto-allocate, or set to 'None' to create a headless
    /// service.
    #[arg(long, default_value = "")]
    pub cluster_ip: String,
    /// Additional external IP address (not managed by Kubernetes) to accept for the service.
    #[arg(long, default_value = "")]
    pub external_ip: String,
    /// Name of the manager used to track field ownership.
    #[arg(long, default_value = "kubectl-expose")]
    pub field_manager: String,
    /// Labels to apply to the service created by this call.
    #[arg(long, short = 'l', default_value = "")]
    pub labels: String,
    /// IP to assign to the LoadBalancer. If empty, an ephemeral IP will be created and used.
    #[arg(long, default_value = "")]
    pub load_balancer_ip: String,
    /// The name for the newly created object.
    #[arg(long, default_value = "")]
    pub name: String,
    /// An inline JSON override for the generated object. If this is non-empty, it is used to override the generated
    /// object.
    #[arg(long, default_value = "")]
    pub overrides: String,
    /// The port that the service should serve on. Copied from the resource being exposed, if unspecified
    #[arg(long, default_value = "")]
    pub port: String,
    /// The network protocol for the service to be created. Default is 'TCP'.
    #[arg(long, default_value = "")]
    pub protocol: String,
    /// If true, the configuration of current object will be saved in its annotation.
    #[arg(long)]
    pub save_config: bool,
    /// A label selector to use for this service. Only equality-based selector requirements are supported. If empty (the
    /// default) infer the selector from the replication controller or replica set.)
    #[arg(long, default_value = "")]
    pub selector: String,
    /// If non-empty, set the session affinity for the service to this; legal values: 'None', 'ClientIP'
    #[arg(long, default_value = "")]
    pub session_affinity: String,
    /// Name or number for the port on the container that the service should direct traffic to. Optional.
    #[arg(long, default_value = "")]
    pub target_port: String,
    /// Type for this service: ClusterIP, NodePort, LoadBalancer, or ExternalName. Default is 'ClusterIP'.
    #[arg(long = "type", default_value = "")]
    pub service_type: String,
}

/// The longest name that a service may have.
const LONGEST_NAME: usize = 63;

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

impl Command for Expose {
    const NAME: &'static str = "expose";
    const ABOUT: &'static str = "Take a replication controller, service, deployment or pod and expose it as a new Kubernetes service";
    const USAGE: &'static str = "expose (-f FILENAME | TYPE NAME) [--port=port] [--protocol=TCP|UDP|SCTP] [--target-port=number-or-name] [--name=name] [--external-ip=external-ip-of-service] [--type=type]";
    const EXAMPLES: &'static str = "# Create a service for an nginx deployment, which serves on port 80 and connects to the containers on port 8000
kubectl-mini expose deployment nginx --port=80 --target-port=8000

# Create a service for a pod valid-pod, which serves on port 444 with the name \"frontend\"
kubectl-mini expose pod valid-pod --port=444 --name=frontend";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let dry_run = self.dry_run.get(context)?;
        let reporter = Reporter::typed(&self.output, dry_run)?;
        let selection = Selection {
            files: self.files.clone(),
            arguments: self.arguments.clone(),
            ..Selection::default()
        };
        let targets = selection.targets(context).await?;
        let mut errors = targets.errors;
        for target in targets.targets {
            let exposed = match look_up(context, target).await {
                Ok(items) => self.expose_all(context, &reporter, dry_run, items).await,
                Err(error) => Err(error),
            };
            if let Err(error) = exposed {
                errors.push(error);
            }
        }
        CommandError::gather(errors)
    }
}

/// What files describe is taken as they describe it.
async fn look_up(context: &Context, target: Target) -> Result<Vec<Item>, CommandError> {
    match target {
        Target::Named { info, manifest: Some((object, _)), .. } => Ok(vec![Item { info, object }]),
        target => fetch(context, &target, 500).await,
    }
}

impl Expose {
    async fn expose_all(
        &self,
        context: &Context,
        reporter: &Reporter,
        dry_run: DryRun,
        items: Vec<Item>,
    ) -> Result<(), CommandError> {
        for Item { info, object } in items {
            let mut service = self.service(info, &object)?;
            let namespace = context.namespace()?;
            if dry_run == DryRun::Client {
                if context.namespace_is_enforced() {
                    service.set(&["metadata", "namespace"], namespace.as_str());
                }
            } else {
                if self.save_config {
                    annotate_last_applied(&mut service, true);
                }
                let writer = Writer::new(context, &self.field_manager, dry_run)?;
                let place = Place::new(&resource::SERVICES, &namespace, service.name());
                service = writer.create(place, &service).await?;
            }
            reporter.report(context, &service, "exposed")?;
        }
        Ok(())
    }

    fn service(&self, info: &ResourceInfo, object: &Object) -> Result<Object, CommandError> {
        if !matches!(
            info.kind,
            "Pod" | "Service" | "ReplicationController" | "Deployment" | "ReplicaSet"
        ) {
            return refuse(format!("cannot expose a {}", info.group_kind()));
        }
        let selector = if self.selector.is_empty() {
            selector_of(object).map_err(|error| {
                CommandError::message(format!(
                    "couldn't retrieve selectors via --selector flag or introspection: {error}"
                ))
            })?
        } else {
            self.selector.clone()
        };
        let found = ports_of(object);
        let ports = if self.port.is_empty() { distinct(&found) } else { self.port.clone() };
        if ports.is_empty() && self.cluster_ip != "None" {
            return refuse("couldn't find port via --port flag or introspection");
        }
        let mut protocols: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (port, protocol) in found {
            protocols.entry(port).or_default().push(protocol);
        }
        let labels =
            if self.labels.is_empty() { join(object.labels()) } else { self.labels.clone() };
        let name = if self.name.is_empty() { object.name() } else { &self.name };
        let service = Exposed {
            name: name.chars().take(LONGEST_NAME).collect(),
            selector,
            labels,
            ports,
            protocol: self.protocol.clone(),
            protocols,
            target_port: self.target_port.clone(),
            service_type: self.service_type.clone(),
            external_ip: self.external_ip.clone(),
            load_balancer_ip: self.load_balancer_ip.clone(),
            session_affinity: self.session_affinity.clone(),
            cluster_ip: self.cluster_ip.clone(),
        }
        .generate()?;
        overridden(service, &self.overrides, &resource::SERVICES)
    }
}

fn distinct(ports: &[(String, String)]) -> String {
    let mut numbers: Vec<&str> = Vec::new();
    for (port, _) in ports {
        if !numbers.contains(&port.as_str()) {
            numbers.push(port);
        }
    }
    numbers.join(",")
}

/// Lays `--overrides` over a generated object.
///
/// # Errors
/// When it is no JSON object or does not fit.
pub fn overridden(
    object: Object,
    overrides: &str,
    info: &ResourceInfo,
) -> Result<Object, CommandError> {
    if overrides.is_empty() {
        return Ok(object);
    }
    let invalid = |text: String| CommandError::message(format!("Invalid JSON Patch: {text}"));
    let documents =
        yaml::read_forgiving(overrides, "").map_err(|error| invalid(error.go_message()))?;
    let Some(document) = documents.into_iter().next() else { return Ok(object) };
    let mut value = serde_json::Value::Object(object.0);
    let schema = schema::for_kind(info).expect("a built-in kind has a schema");
    strategic::apply(&mut value, &document.value, schema).map_err(|e| invalid(e.to_string()))?;
    Ok(Object::from_value(value)?)
}
