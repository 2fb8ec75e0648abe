//! kubeconfig files: reading, resolving a context, and merging our own entries into a file that is not ours.
//!
//! Reading follows client-go: several files merge, the first that has an entry wins; relative paths are relative to
//! the file that names them. Fields that we do not know are kept, here and in what we write. Entries that would need
//! what we do not do (exec plugins, passwords, proxies, unverified TLS) are refused when they are used, not ignored.
//!
//! Writing ([`update_file`]) changes single entries under client-go's lock file, so that `kubectl config` and any number
//! of clusters may do it at once, and replaces the file atomically with mode 0600.

mod file;
mod resolve;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

pub use self::{
    file::{load, load_file, update_file},
    resolve::{Overrides, Resolved},
};
use crate::transport::EndpointError;

/// The contents of a kubeconfig file, or of several merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Kubeconfig {
    /// Fields that we do not know (`preferences`, extensions).
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
    /// Clusters by name.
    #[serde(deserialize_with = "null_as_default")]
    pub clusters: Vec<Named<Cluster>>,
    /// Contexts by name.
    #[serde(deserialize_with = "null_as_default")]
    pub contexts: Vec<Named<Context>>,
    /// The context that is used when none is named.
    #[serde(deserialize_with = "null_as_default")]
    pub current_context: String,
    /// Users by name.
    #[serde(deserialize_with = "null_as_default")]
    pub users: Vec<Named<User>>,
}

/// An entry under its name. In the file the value stands under the key that [`Kind::KEY`] names.
#[derive(Clone, PartialEq)]
pub struct Named<T> {
    /// The entry's name.
    pub name: String,
    /// The entry.
    pub value: T,
}

/// The kinds of entries.
pub trait Kind {
    /// The key beside `name` in a list's item.
    const KEY: &'static str;
}

/// How a cluster is reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Cluster {
    /// `https://127.0.0.1:6443`.
    #[serde(deserialize_with = "null_as_default")]
    pub server: String,
    /// The authority's certificate, base64 of PEM; wins over the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    /// The authority's certificate, a PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<PathBuf>,
    /// The name in the server's certificate, where it is not the address's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// Refused when true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insecure_skip_tls_verify: Option<bool>,
    /// Refused when set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<String>,
    /// Fields that we do not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// What proves who we are.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct User {
    /// The client certificate, base64 of PEM; wins over the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_data: Option<String>,
    /// The client certificate, a PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<PathBuf>,
    /// The client's key, base64 of PEM; wins over the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key_data: Option<String>,
    /// The client's key, a PEM file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A file with a bearer token; wins over `token`.
    #[serde(rename = "tokenFile", skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Fields that we do not know; some are refused when used.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// A cluster, a user and a namespace together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Context {
    /// A name among the clusters.
    #[serde(deserialize_with = "null_as_default")]
    pub cluster: String,
    /// A name among the users.
    #[serde(deserialize_with = "null_as_default")]
    pub user: String,
    /// The default namespace of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Fields that we do not know.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Kind for Cluster {
    const KEY: &'static str = "cluster";
}

impl Kind for User {
    const KEY: &'static str = "user";
}

impl Kind for Context {
    const KEY: &'static str = "context";
}

/// Why a kubeconfig cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file cannot be read or written.
    #[error("failed to {operation} {path:?}")]
    File {
        /// "read", "write", "lock".
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A file is no kubeconfig.
    #[error("error loading config file {path:?}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong, with line and column.
        #[source]
        source: serde_yaml::Error,
    },
    /// No context is named, and there is no current one.
    #[error("no current context")]
    NoContext,
    /// A name leads nowhere.
    #[error("{kind} {name:?} does not exist")]
    Missing {
        /// "context", "cluster", "user".
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// An entry holds what cannot be used.
    #[error("invalid {field} of {kind} {name:?}: {problem}")]
    Invalid {
        /// "cluster", "user".
        kind: &'static str,
        /// Its name.
        name: String,
        /// Which field.
        field: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The endpoint that an entry describes cannot be used.
    #[error("invalid cluster {name:?}")]
    Endpoint {
        /// The cluster's name.
        name: String,
        /// What is wrong.
        #[source]
        source: EndpointError,
    },
}

impl Kubeconfig {
    /// The entries of one reachable cluster, under one name for cluster, user and context.
    #[must_use]
    pub fn single(name: &str, cluster: Cluster, user: User) -> Self {
        let context =
            Context { cluster: name.to_owned(), user: name.to_owned(), ..Context::default() };
        let mut config = Self { current_context: name.to_owned(), ..Self::default() };
        put(&mut config.clusters, name, cluster);
        put(&mut config.users, name, user);
        put(&mut config.contexts, name, context);
        config
    }

    /// Takes all entries of `ours`, in place of those of the same names, and its current context where it has one.
    ///
    /// A context's namespace stays where `ours` has none: it is the user's choice (`config set-context --namespace`)
    /// and outlives a restart of the cluster.
    pub fn merge(&mut self, mut ours: Self) {
        for entry in &mut ours.contexts {
            if let Some(present) = self.context(&entry.name) {
                entry.value.namespace =
                    entry.value.namespace.take().or_else(|| present.namespace.clone());
            }
        }
        self.replace_entries(ours);
    }

    fn replace_entries(&mut self, ours: Self) {
        for entry in ours.clusters {
            put(&mut self.clusters, &entry.name, entry.value);
        }
        for entry in ours.users {
            put(&mut self.users, &entry.name, entry.value);
        }
        for entry in ours.contexts {
            put(&mut self.contexts, &entry.name, entry.value);
        }
        if !ours.current_context.is_empty() {
            self.current_context = ours.current_context;
        }
        for (field, value) in ours.other {
            self.other.entry(field).or_insert(value);
        }
    }

    /// Drops cluster, user and context of this name, and unsets the current context if it was this one.
    pub fn remove(&mut self, name: &str) {
        self.clusters.retain(|entry| entry.name != name);
        self.users.retain(|entry| entry.name != name);
        self.contexts.retain(|entry| entry.name != name);
        if self.current_context == name {
            self.current_context.clear();
        }
    }

    /// The context of this name.
    #[must_use]
    pub fn context(&self, name: &str) -> Option<&Context> {
        find(&self.contexts, name)
    }

    /// The context of this name, to change it.
    pub fn context_mut(&mut self, name: &str) -> Option<&mut Context> {
        self.contexts.iter_mut().find(|entry| entry.name == name).map(|entry| &mut entry.value)
    }

    /// The cluster of this name.
    #[must_use]
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        find(&self.clusters, name)
    }

    /// The user of this name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        find(&self.users, name)
    }
}

fn find<'a, T>(entries: &'a [Named<T>], name: &str) -> Option<&'a T> {
    entries.iter().find(|entry| entry.name == name).map(|entry| &entry.value)
}

fn put<T>(entries: &mut Vec<Named<T>>, name: &str, value: T) {
    match entries.iter_mut().find(|entry| entry.name == name) {
        Some(entry) => entry.value = value,
        None => entries.push(Named { name: name.to_owned(), value }),
    }
}

/// Secrets stay out of logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.name, self.value)
    }
}

impl<T: Kind + Serialize> Serialize for Named<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(2))?;
        // kubectl's order: the value first for clusters and contexts, the name first for users. It is alphabetical.
        if T::KEY < "name" {
            map.serialize_entry(T::KEY, &self.value)?;
            map.serialize_entry("name", &self.name)?;
        } else {
            map.serialize_entry("name", &self.name)?;
            map.serialize_entry(T::KEY, &self.value)?;
        }
        map.end()
    }
}

impl<'de, T: Kind + Default + Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Kind + Default + Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a named {}", T::KEY)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Self::Value, A::Error> {
                let (mut name, mut value) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    if key == "name" {
                        name = Some(map.next_value()?);
                    } else if key == T::KEY {
                        value = map.next_value::<Option<T>>()?;
                    } else {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    }
                }
                let name = name.ok_or_else(|| serde::de::Error::missing_field("name"))?;
                Ok(Named { name, value: value.unwrap_or_default() })
            }
        }

        deserializer.deserialize_map(Visitor(std::marker::PhantomData))
    }
}

/// kubectl writes `null` for an empty list.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
