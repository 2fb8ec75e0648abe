//! `kubectl describe`.
//!
//! A describer is a pure function from an object, and what belongs to it, to text ([`Text`]); [`DESCRIBERS`] is the
//! table of them. What belongs to an object (events, pods, endpoint slices, …) is fetched beside it, in [`related`].
//! Kinds without a describer are printed field by field ([`generic`]).

pub(crate) mod access;
mod certificate;
mod config;
mod containers;
mod endpoints;
mod generic;
mod networking;
mod node;
mod pod;
mod related;
mod service;
mod text;
mod volumes;
mod workloads;

use apimachinery::{
    api::core::PodTemplateSpec,
    object::Object,
    resource::{self, ResourceInfo},
};
use futures::future::LocalBoxFuture;
use jiff::tz::TimeZone;

use self::{related::Related, text::Text};
use crate::{
    PROGRAM,
    cli::{Command, values::parse_i64},
    context::Context,
    errors::CommandError,
    resources::{FileFlags, Item, Selection, fetch},
};

/// Shows details of a specific object or group of objects.
#[derive(clap::Args, Clone, Debug)]
pub struct Describe {
    /// The types, and names.
    pub arguments: Vec<String>,
    /// Which files name the objects.
    #[command(flatten)]
    pub files: FileFlags,
    /// If present, list the requested object(s) across all namespaces. Namespace in current context is ignored even if
    /// specified with --namespace.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Return large lists in chunks rather than all at once. Pass 0 to disable.
    #[arg(long, default_value = "500", value_parser = parse_i64)]
    pub chunk_size: i64,
    /// Selector (label query) to filter on, supports '=', '==', '!=', 'in', 'notin'.(e.g. -l
    /// key1=value1,key2=value2,key3 in (value3)). Matching objects must satisfy all of the specified label constraints.
    #[arg(long, short = 'l')]
    pub selector: Option<String>,
    /// If true, display events related to the described object.
    #[arg(long, action = clap::ArgAction::Set, default_value_t = true)]
    pub show_events: bool,
}

/// Describes an object of one kind.
type Describer = for<'a> fn(
    &'a Object,
    &'a Related<'a>,
    Text<'a>,
) -> LocalBoxFuture<'a, Result<Text<'a>, CommandError>>;

/// The describers, by type.
static DESCRIBERS: &[(&ResourceInfo, Describer)] = &[
    (&resource::PODS, |object, related, text| Box::pin(pod::describe(object, related, text))),
    (&resource::NODES, |object, related, text| Box::pin(node::describe(object, related, text))),
    (&resource::SERVICES, |object, related, text| {
        Box::pin(service::describe(object, related, text))
    }),
    (&resource::DEPLOYMENTS, |object, related, text| {
        Box::pin(workloads::deployment(object, related, text))
    }),
    (&resource::REPLICA_SETS, |object, related, text| {
        Box::pin(workloads::replica_set(object, related, text))
    }),
    (&resource::CONFIG_MAPS, |object, related, text| {
        Box::pin(config::config_map(object, related, text))
    }),
    (&resource::SECRETS, |object, _, text| Box::pin(config::secret(object, text))),
    (&resource::NAMESPACES, |object, _, text| Box::pin(config::namespace(object, text))),
    (&resource::SERVICE_ACCOUNTS, |object, related, text| {
        Box::pin(access::service_account(object, related, text))
    }),
    (&resource::PRIORITY_CLASSES, |object, related, text| {
        Box::pin(config::priority_class(object, related, text))
    }),
    (&resource::POD_DISRUPTION_BUDGETS, |object, related, text| {
        Box::pin(config::disruption_budget(object, related, text))
    }),
    (&resource::INGRESSES, |object, related, text| {
        Box::pin(networking::ingress(object, related, text))
    }),
    (&resource::INGRESS_CLASSES, |object, related, text| {
        Box::pin(networking::ingress_class(object, related, text))
    }),
    (&resource::NETWORK_POLICIES, |object, _, text| {
        Box::pin(networking::network_policy(object, text))
    }),
    (&resource::CERTIFICATE_SIGNING_REQUESTS, |object, related, text| {
        Box::pin(certificate::describe(object, related, text))
    }),
    (&resource::ENDPOINTS, |object, related, text| {
        Box::pin(endpoints::endpoints(object, related, text))
    }),
    (&resource::ENDPOINT_SLICES, |object, related, text| {
        Box::pin(endpoints::endpoint_slice(object, related, text))
    }),
    (&resource::ROLES, |object, _, text| Box::pin(access::role(object, text))),
    (&resource::CLUSTER_ROLES, |object, _, text| Box::pin(access::role(object, text))),
    (&resource::ROLE_BINDINGS, |object, _, text| Box::pin(access::binding(object, text))),
    (&resource::CLUSTER_ROLE_BINDINGS, |object, _, text| Box::pin(access::binding(object, text))),
];

/// A pod template as `rollout history` prints it: its cells separated by tabs.
pub(crate) fn pod_template(template: &PodTemplateSpec, context: &Context) -> String {
    let zone = TimeZone::UTC;
    let mut text = Text::new(context.clock.now(), &zone);
    pod::write_template(template, &mut text);
    text.unaligned()
}

impl Command for Describe {
    const NAME: &'static str = "describe";
    const ABOUT: &'static str = "Show details of a specific resource or group of resources";
    const USAGE: &'static str =
        "describe (-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME)";
    const HELP: &'static str = "Show details of a specific resource or group of resources.

 Print a detailed description of the selected resources, including related resources such as events or controllers. You may select a single object by name, all objects of that type, provide a name prefix, or label selector.";
    const EXAMPLES: &'static str = "# Describe a node
kubectl-mini describe nodes node-1

# Describe a pod
kubectl-mini describe pods/nginx

# Describe all pods
kubectl-mini describe pods

# Describe pods by label name=myLabel
kubectl-mini describe pods -l name=myLabel";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if self.arguments.is_empty() && self.files.is_empty() {
            return Err(CommandError::message(format!(
                "You must specify the type of resource to describe. Use \"{PROGRAM} api-resources\" for a complete list of supported resources."
            )));
        }
        let found = self.selection(&self.arguments).targets(context).await?;
        let mut errors = found.errors;
        let mut items = Vec::new();
        for target in &found.targets {
            match fetch(context, target, self.chunk_size).await {
                Ok(fetched) => items.extend(fetched),
                Err(error) => errors.push(error),
            }
        }
        if let [error] = errors.as_slice()
            && items.is_empty()
            && error.is_not_found()
            && self.arguments.len() == 2
        {
            let error = errors.remove(0);
            return self.describe_matching(context, error).await;
        }
        let mut first = true;
        let nothing = items.is_empty() && errors.is_empty();
        for item in &items {
            match self.describe(context, item).await {
                Ok(text) => {
                    let separator = if std::mem::take(&mut first) { "" } else { "\n\n" };
                    context.print(&format!("{separator}{text}"))?;
                }
                Err(error) => errors.push(error),
            }
        }
        if nothing {
            context.print_err(&if self.all_namespaces {
                "No resources found\n".to_owned()
            } else {
                format!("No resources found in {} namespace.\n", context.namespace()?)
            })?;
        }
        CommandError::list(errors)
    }
}

impl Describe {
    fn selection(&self, arguments: &[String]) -> Selection {
        Selection {
            files: self.files.clone(),
            arguments: arguments.to_vec(),
            labels: self.selector.clone(),
            all_namespaces: self.all_namespaces,
            type_means_all: true,
            ..Selection::default()
        }
    }

    async fn describe(&self, context: &Context, item: &Item) -> Result<String, CommandError> {
        let related =
            Related { context, show_events: self.show_events, chunk_size: self.chunk_size };
        let text = Text::new(context.clock.now(), &context.environment.time_zone);
        let describer = DESCRIBERS.iter().find(|(info, _)| *info == item.info);
        let text = match describer {
            Some((_, describe)) => describe(&item.object, &related, text).await?,
            None => generic::describe(&item.object, &related, text).await?,
        };
        Ok(text.finish())
    }

    /// No object has that name: those whose names begin with it are meant.
    async fn describe_matching(
        &self,
        context: &Context,
        original: CommandError,
    ) -> Result<(), CommandError> {
        let found = self.selection(&self.arguments[..1]).targets(context).await?;
        let mut matched = false;
        for target in &found.targets {
            for item in fetch(context, target, self.chunk_size).await? {
                if item.object.name().starts_with(&self.arguments[1]) {
                    matched = true;
                    context.print(&format!("{}\n", self.describe(context, &item).await?))?;
                }
            }
        }
        if matched { Ok(()) } else { Err(original) }
    }
}
