//! `config set` and `config unset`: single values by dotted names.
//!
//! Four kinds of names are known: `current-context`, and `clusters.NAME.FIELD`, `contexts.NAME.FIELD`,
//! `users.NAME.FIELD`, where the name may itself have dots. `unset` also takes whole entries.

use component_base::kubeconfig::{Cluster, Context as Entry, Kubeconfig, Named, User};

use super::{file_with, read, refuse, unexpected, update};
use crate::{cli::Command, context::Context, errors::CommandError};

/// One value's place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Property {
    CurrentContext,
    Entry { list: &'static str, name: String, field: Option<&'static str> },
}

/// Lists and the fields of their entries.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "clusters",
        &["server", "certificate-authority", "certificate-authority-data", "tls-server-name"],
    ),
    ("contexts", &["cluster", "user", "namespace"]),
    (
        "users",
        &[
            "client-certificate",
            "client-certificate-data",
            "client-key",
            "client-key-data",
            "token",
            "tokenFile",
        ],
    ),
];

impl Property {
    fn parse(text: &str) -> Result<Self, CommandError> {
        if text == "current-context" {
            return Ok(Self::CurrentContext);
        }
        let unknown =
            || CommandError::message(format!("unable to parse {text} after [] at api.Config"));
        let (list, rest) = text.split_once('.').ok_or_else(unknown)?;
        let (list, fields) =
            FIELDS.iter().find(|(name, _)| *name == list).copied().ok_or_else(unknown)?;
        for field in fields {
            if let Some(name) = rest.strip_suffix(field).and_then(|name| name.strip_suffix('.')) {
                return Ok(Self::Entry { list, name: name.to_owned(), field: Some(field) });
            }
        }
        if rest.is_empty() {
            return Err(unknown());
        }
        Ok(Self::Entry { list, name: rest.to_owned(), field: None })
    }

    /// The file whose entry it is.
    fn is_in(&self, config: &Kubeconfig) -> bool {
        match self {
            Self::CurrentContext => !config.current_context.is_empty(),
            Self::Entry { list, name, .. } => match *list {
                "clusters" => config.cluster(name).is_some(),
                "contexts" => config.context(name).is_some(),
                _ => config.user(name).is_some(),
            },
        }
    }

    fn set(&self, config: &mut Kubeconfig, value: Option<&str>) {
        let Self::Entry { list, name, field } = self else {
            config.current_context = value.unwrap_or_default().to_owned();
            return;
        };
        let Some(field) = *field else {
            match *list {
                "clusters" => config.clusters.retain(|entry| entry.name != *name),
                "contexts" => config.contexts.retain(|entry| entry.name != *name),
                _ => config.users.retain(|entry| entry.name != *name),
            }
            return;
        };
        let create = value.is_some();
        match *list {
            "clusters" => {
                entry(&mut config.clusters, name, create).map(|it| set_cluster(it, field, value))
            }
            "contexts" => {
                entry(&mut config.contexts, name, create).map(|it| set_context(it, field, value))
            }
            _ => entry(&mut config.users, name, create).map(|it| set_user(it, field, value)),
        };
    }
}

fn entry<'a, T: Default>(
    entries: &'a mut Vec<Named<T>>,
    name: &str,
    create: bool,
) -> Option<&'a mut T> {
    if create && !entries.iter().any(|entry| entry.name == name) {
        entries.push(Named { name: name.to_owned(), value: T::default() });
    }
    entries.iter_mut().find(|entry| entry.name == name).map(|entry| &mut entry.value)
}

fn set_cluster(cluster: &mut Cluster, field: &str, value: Option<&str>) {
    let text = value.map(ToOwned::to_owned);
    match field {
        "server" => cluster.server = text.unwrap_or_default(),
        "certificate-authority" => cluster.certificate_authority = text.map(Into::into),
        "certificate-authority-data" => cluster.certificate_authority_data = text,
        _ => cluster.tls_server_name = text,
    }
}

fn set_context(context: &mut Entry, field: &str, value: Option<&str>) {
    let text = value.map(ToOwned::to_owned);
    match field {
        "cluster" => context.cluster = text.unwrap_or_default(),
        "user" => context.user = text.unwrap_or_default(),
        _ => context.namespace = text,
    }
}

fn set_user(user: &mut User, field: &str, value: Option<&str>) {
    let text = value.map(ToOwned::to_owned);
    match field {
        "client-certificate" => user.client_certificate = text.map(Into::into),
        "client-certificate-data" => user.client_certificate_data = text,
        "client-key" => user.client_key = text.map(Into::into),
        "client-key-data" => user.client_key_data = text,
        "token" => user.token = text,
        _ => user.token_file = text.map(Into::into),
    }
}

async fn change(
    context: &Context,
    property: &Property,
    value: Option<&str>,
) -> Result<(), CommandError> {
    read(context)?;
    let path = file_with(context, |config| property.is_in(config))?;
    update(context, &path, |config| property.set(config, value)).await
}

/// Sets a value.
#[derive(clap::Args, Clone, Debug)]
pub struct Set {
    /// The property and its value.
    pub arguments: Vec<String>,
}

impl Command for Set {
    const NAME: &'static str = "set";
    const ABOUT: &'static str = "Set an individual value in a kubeconfig file";
    const USAGE: &'static str = "set PROPERTY_NAME PROPERTY_VALUE";
    const EXAMPLES: &'static str =
        "# Set the server field on the my-cluster cluster to https://1.2.3.4
kubectl-mini config set clusters.my-cluster.server https://1.2.3.4";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let [name, value] = self.arguments.as_slice() else {
            return Err(unexpected(&self.arguments));
        };
        let property = Property::parse(name)?;
        if matches!(&property, Property::Entry { field: None, .. }) {
            return refuse(format!("unable to parse {name}: it names no value that can be set"));
        }
        change(context, &property, Some(value)).await?;
        context.print(&format!("Property {name:?} set.\n"))
    }
}

/// Takes a value out.
#[derive(clap::Args, Clone, Debug)]
pub struct Unset {
    /// The property.
    pub arguments: Vec<String>,
}

impl Command for Unset {
    const NAME: &'static str = "unset";
    const ABOUT: &'static str = "Unset an individual value in a kubeconfig file";
    const USAGE: &'static str = "unset PROPERTY_NAME";
    const EXAMPLES: &'static str = "# Unset namespace in foo context
kubectl-mini config unset contexts.foo.namespace";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        let [name] = self.arguments.as_slice() else { return Err(unexpected(&self.arguments)) };
        let property = Property::parse(name)?;
        change(context, &property, None).await?;
        context.print(&format!("Property {name:?} unset.\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read() {
        let check = |text: &str, list: &'static str, name: &str, field: Option<&'static str>| {
            let expected = Property::Entry { list, name: name.to_owned(), field };
            assert_eq!(Property::parse(text).unwrap(), expected, "{text}");
        };
        check("clusters.a.server", "clusters", "a", Some("server"));
        check("clusters.a.b.server", "clusters", "a.b", Some("server"));
        check("contexts.a", "contexts", "a", None);
        check("users.u.client-certificate-data", "users", "u", Some("client-certificate-data"));
        assert_eq!(
            Property::parse("foo.bar").unwrap_err().to_string(),
            "unable to parse foo.bar after [] at api.Config"
        );
    }
}
