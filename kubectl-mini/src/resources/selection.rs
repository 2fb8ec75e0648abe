//! kubectl's resource builder: from flags and arguments to targets.

use apimachinery::{
    labels,
    object::Object,
    resource::{self, ResourceInfo},
};

use super::{
    files::{FileFlags, read_manifests},
    resolve_type,
};
use crate::{PROGRAM, context::Context, errors::CommandError};

/// What flags and arguments say about the objects that a command is for.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `-f`, `-R`, `-k`.
    pub files: FileFlags,
    /// `TYPE`, `TYPE NAME…`, `TYPE/NAME…`.
    pub arguments: Vec<String>,
    /// `-l`.
    pub labels: Option<String>,
    /// `--field-selector`.
    pub fields: Option<String>,
    /// `--all`.
    pub all: bool,
    /// `-A`.
    pub all_namespaces: bool,
    /// A type alone means all its objects (get, describe), instead of being refused (delete, scale).
    pub type_means_all: bool,
    /// More than one type is refused.
    pub single_type: bool,
    /// Files are validated before they are sent.
    pub validated: bool,
}

/// One thing to work on.
#[derive(Clone, Debug)]
pub enum Target {
    /// One object, by name.
    Named {
        /// Its type.
        info: &'static ResourceInfo,
        /// Empty for cluster-scoped types.
        namespace: String,
        /// Its name.
        name: String,
        /// Where it stands in a file: the object as read there, and the file's name.
        manifest: Option<(Object, String)>,
    },
    /// All objects of a type, or those that the selectors choose.
    Collection {
        /// Their type.
        info: &'static ResourceInfo,
        /// Empty: all namespaces, or cluster-scoped.
        namespace: String,
        /// Empty: all.
        labels: String,
        /// Empty: all.
        fields: String,
    },
}

impl Target {
    /// The type.
    #[must_use]
    pub fn info(&self) -> &'static ResourceInfo {
        match self {
            Self::Named { info, .. } | Self::Collection { info, .. } => info,
        }
    }
}

/// What a selection stands for.
#[derive(Debug, Default)]
pub struct Targets {
    /// In order.
    pub targets: Vec<Target>,
    /// Files that could not be read, kinds that the server has not: told after the rest is done.
    pub errors: Vec<CommandError>,
    /// One object was named.
    pub single: bool,
}

const MISSING_RESOURCE: &str = "You must provide one or more resources by argument or filename.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'
   '<resource> <name>'
   '<resource>'";

fn refuse<T>(text: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Message(text.into()))
}

/// What the arguments alone say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Arguments {
    types: Vec<String>,
    names: Vec<String>,
    pairs: Vec<(String, String)>,
}

impl Selection {
    /// Finds what is meant.
    ///
    /// # Errors
    /// kubectl's, when the parts make no sense together or a type does not exist.
    pub async fn targets(&self, context: &Context) -> Result<Targets, CommandError> {
        self.files.check()?;
        let mut labels = nonempty(self.labels.as_deref());
        let fields = nonempty(self.fields.as_deref());
        if self.all && (labels.is_some() || fields.is_some()) {
            return refuse("setting 'all' parameter but found a non empty selector. ");
        }
        let files = self.files.read_any(context)?;
        let defined = members_of_categories(context, &self.arguments).await?;
        let arguments = parse_arguments(&self.arguments, defined)?;
        let type_alone = self.arguments.len() == 1 && arguments.pairs.is_empty();
        if self.all || (self.type_means_all && type_alone) {
            labels = labels.or(Some(String::new()));
        }
        if let Some(files) = files {
            return self.by_files(context, files, &arguments, labels).await;
        }
        if labels.is_some() || fields.is_some() {
            return self.by_selector(context, &arguments, labels, fields).await;
        }
        let Arguments { types, names, pairs } = arguments;
        if !pairs.is_empty() {
            return self.by_pairs(context, pairs).await;
        }
        if !names.is_empty() {
            if types.len() > 1 {
                return refuse("you must specify only one resource");
            }
            let pairs = names.into_iter().map(|name| (types[0].clone(), name)).collect();
            return self.by_pairs(context, pairs).await;
        }
        for name in &types {
            resolve_type(context, name).await?;
        }
        if types.is_empty() {
            refuse(MISSING_RESOURCE)
        } else {
            refuse("resource(s) were provided, but no name was specified")
        }
    }

    async fn by_files(
        &self,
        context: &Context,
        files: Vec<super::files::Source>,
        arguments: &Arguments,
        labels: Option<String>,
    ) -> Result<Targets, CommandError> {
        if !arguments.types.is_empty() {
            return refuse(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            );
        }
        if !arguments.pairs.is_empty() {
            return refuse("resource/name arguments cannot be provided when a path is specified");
        }
        let selector = match labels.filter(|labels| !labels.is_empty()) {
            Some(text) => Some(labels::Selector::parse(&text).map_err(|error| {
                CommandError::message(format!(
                    "the provided selector {text:?} is not valid: {error}"
                ))
            })?),
            None => None,
        };
        let single = files.len() == 1 && files[0].is_one_file();
        let mut targets = Targets { single, ..Targets::default() };
        for manifest in read_manifests(context, files, self.validated).await? {
            match manifest {
                Ok(manifest) => {
                    let chosen = selector.as_ref().is_none_or(|selector| {
                        let labels: Vec<(&str, &str)> = manifest.object.labels().collect();
                        selector.matches(labels.as_slice())
                    });
                    if chosen {
                        targets.targets.push(Target::Named {
                            info: manifest.info,
                            namespace: manifest.namespace,
                            name: manifest.object.name().to_owned(),
                            manifest: Some((manifest.object, manifest.source)),
                        });
                    }
                }
                Err(error) => targets.errors.push(error),
            }
        }
        Ok(targets)
    }

    async fn by_selector(
        &self,
        context: &Context,
        arguments: &Arguments,
        labels: Option<String>,
        fields: Option<String>,
    ) -> Result<Targets, CommandError> {
        if !arguments.names.is_empty() {
            return refuse("name cannot be provided when a selector is specified");
        }
        if !arguments.pairs.is_empty() {
            return refuse(
                "selectors and the all flag cannot be used when passing resource/name arguments",
            );
        }
        if arguments.types.is_empty() {
            return refuse("at least one resource must be specified to use a selector");
        }
        if arguments.types.len() > 1 && self.single_type {
            return refuse(MULTIPLE_TYPES);
        }
        let namespace = if self.all_namespaces { String::new() } else { context.namespace()? };
        let mut targets: Vec<Target> = Vec::new();
        for name in &arguments.types {
            let info = resolve_type(context, name).await?;
            if targets.iter().any(|target| target.info() == info) {
                continue;
            }
            targets.push(Target::Collection {
                info,
                namespace: if info.namespaced { namespace.clone() } else { String::new() },
                labels: labels.clone().unwrap_or_default(),
                fields: fields.clone().unwrap_or_default(),
            });
        }
        Ok(Targets { targets, ..Targets::default() })
    }

    async fn by_pairs(
        &self,
        context: &Context,
        pairs: Vec<(String, String)>,
    ) -> Result<Targets, CommandError> {
        let namespace = context.namespace()?;
        let mut targets = Targets { single: pairs.len() == 1, ..Targets::default() };
        for (name_of_type, name) in pairs {
            let info = resolve_type(context, &name_of_type).await?;
            if self.single_type && targets.targets.iter().any(|target| target.info() != info) {
                return refuse(MULTIPLE_TYPES);
            }
            if info.namespaced && self.all_namespaces {
                return refuse("a resource cannot be retrieved by name across all namespaces");
            }
            let namespace = if info.namespaced { namespace.clone() } else { String::new() };
            targets.targets.push(Target::Named { info, namespace, name, manifest: None });
        }
        Ok(targets)
    }
}

const MULTIPLE_TYPES: &str = "you may only specify a single resource type";

fn nonempty(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned)
}

/// Splits at commas, without repetitions.
fn split_types(argument: &str) -> Vec<String> {
    let mut types: Vec<String> = Vec::new();
    for name in argument.split(',') {
        if !types.iter().any(|known| known == name) {
            types.push(name.to_owned());
        }
    }
    types
}

/// Replaces categories by their members.
fn expand_categories(argument: &str, defined: &[&'static ResourceInfo]) -> Vec<String> {
    let expanded = argument.split(',').flat_map(|name| {
        let defined = defined.iter().copied().filter(|info| info.categories.contains(&name));
        let members: Vec<String> =
            resource::category(name).chain(defined).map(ResourceInfo::group_resource).collect();
        if members.is_empty() { vec![name.to_owned()] } else { members }
    });
    split_types(&expanded.collect::<Vec<_>>().join(","))
}

/// The defined kinds, where a category or a name that no built-in kind has asks for them.
async fn members_of_categories<'c>(
    context: &'c Context,
    arguments: &[String],
) -> Result<&'c [&'static ResourceInfo], CommandError> {
    let is_type = |name: &str| resource::resolve(name).is_some();
    let types = arguments.first().filter(|argument| !argument.contains('/'));
    if types.is_none_or(|types| types.split(',').all(is_type)) || context.client().is_err() {
        return Ok(&[]);
    }
    // Whether there is a server is found out by whoever needs one.
    Ok(super::discover(context).await.unwrap_or_default())
}

fn parse_arguments(
    arguments: &[String],
    defined: &[&'static ResourceInfo],
) -> Result<Arguments, CommandError> {
    let mut arguments = arguments.to_vec();
    if let [first, names @ ..] = arguments.as_slice()
        && !names.is_empty()
    {
        let types = split_types(first);
        if types.len() > 1 {
            arguments = types
                .iter()
                .flat_map(|name_of_type| {
                    names.iter().map(move |name| format!("{name_of_type}/{name}"))
                })
                .collect();
        }
    }
    let slashes = arguments.iter().filter(|argument| argument.contains('/')).count();
    if slashes > 0 && slashes != arguments.len() {
        return refuse(format!(
            "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. '{PROGRAM} get resource/<resource_name>' instead of '{PROGRAM} get resource resource/<resource_name>'"
        ));
    }
    let mut parsed = Arguments::default();
    if slashes > 0 {
        for argument in &arguments {
            let Some((name_of_type, name)) = argument.split_once('/') else { continue };
            if name.contains('/') {
                return refuse("arguments in resource/name form may not have more than one slash");
            }
            if name_of_type.is_empty() || name.is_empty() || name_of_type.contains(',') {
                return refuse(
                    "arguments in resource/name form must have a single resource and name",
                );
            }
            parsed.pairs.push((name_of_type.to_owned(), name.to_owned()));
        }
    } else if let [types, names @ ..] = arguments.as_slice() {
        parsed.types = expand_categories(types, defined);
        parsed.names = names.to_vec();
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn arguments_are_types_and_names() {
        let check = |text: &str, types: &str, names: &str, pairs: &[(&str, &str)]| {
            let parsed = parse_arguments(&words(text), &[]).unwrap();
            assert_eq!(parsed.types, words(types), "{text}");
            assert_eq!(parsed.names, words(names), "{text}");
            let given: Vec<(&str, &str)> =
                parsed.pairs.iter().map(|(t, n)| (t.as_str(), n.as_str())).collect();
            assert_eq!(given, pairs, "{text}");
        };
        check("", "", "", &[]);
        check("pods", "pods", "", &[]);
        check("pods,svc,pods", "pods svc", "", &[]);
        check("pods a b", "pods", "a b", &[]);
        check("pods/a svc/b", "", "", &[("pods", "a"), ("svc", "b")]);
        check("po,svc a", "", "", &[("po", "a"), ("svc", "a")]);
        check("all", "pods services deployments.apps replicasets.apps", "", &[]);
    }

    #[test]
    fn wrong_forms_are_refused() {
        let check = |text: &str, expected: &str| {
            let error = parse_arguments(&words(text), &[]).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("pods pods/a", "there is no need to specify a resource type");
        check("pods/", "arguments in resource/name form must have a single resource and name");
        check("a/b/c", "arguments in resource/name form may not have more than one slash");
    }
}
