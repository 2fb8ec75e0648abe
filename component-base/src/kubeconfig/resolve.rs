//! From a context's name to an endpoint.

use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Cluster, Context, Kubeconfig, KubeconfigError, User};
use crate::{
    tls::KeyPair,
    transport::{Endpoint, TlsEndpoint},
};

/// Ways to authenticate that we do not know.
const UNSUPPORTED: [&str; 6] = ["auth-provider", "exec", "password", "username", "as", "as-groups"];

/// What a command line says over the file: `--context`, `--cluster`, `--user`, `--server`, `--token`, `--namespace`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// The context, in place of the current one.
    pub context: Option<String>,
    /// The cluster, in place of the context's.
    pub cluster: Option<String>,
    /// The user, in place of the context's.
    pub user: Option<String>,
    /// The server, in place of the cluster's.
    pub server: Option<String>,
    /// The namespace, in place of the context's.
    pub namespace: Option<String>,
}

/// A context with everything that it leads to.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// How to reach the API server, and as whom.
    pub endpoint: Endpoint,
    /// The server's URL as the file has it, for messages.
    pub server: String,
    /// The default namespace; `default` where none is set.
    pub namespace: String,
    /// Whether the namespace was chosen, not defaulted.
    pub namespace_is_set: bool,
    /// The context's name; empty where overrides made one up.
    pub context: String,
    /// The cluster's name.
    pub cluster: String,
}

impl Kubeconfig {
    /// Finds the context (the current one, unless `overrides` names another) and what it leads to.
    ///
    /// # Errors
    /// When a name leads nowhere, a file cannot be read, or an entry needs what we do not do.
    pub fn resolve(&self, overrides: &Overrides) -> Result<Resolved, KubeconfigError> {
        let name = overrides.context.as_deref().unwrap_or(&self.current_context);
        let context = match self.context(name) {
            Some(context) => context.clone(),
            None if name.is_empty() && overrides.cluster.is_some() => Context::default(),
            None if name.is_empty() => return Err(KubeconfigError::NoContext),
            None => return Err(missing("context", name)),
        };
        let cluster_name = overrides.cluster.as_deref().unwrap_or(&context.cluster);
        let cluster = self.cluster(cluster_name).ok_or_else(|| missing("cluster", cluster_name))?;
        let user_name = overrides.user.as_deref().unwrap_or(&context.user);
        let user = match self.user(user_name) {
            Some(user) => user.clone(),
            None if user_name.is_empty() => User::default(),
            None => return Err(missing("user", user_name)),
        };
        let server = overrides.server.as_deref().unwrap_or(&cluster.server);
        let namespace = overrides.namespace.clone().or(context.namespace);
        let namespace = namespace.filter(|namespace| !namespace.is_empty());
        Ok(Resolved {
            endpoint: endpoint(cluster_name, cluster, server, user_name, &user)?,
            server: server.to_owned(),
            namespace_is_set: namespace.is_some(),
            namespace: namespace.unwrap_or_else(|| "default".to_owned()),
            context: name.to_owned(),
            cluster: cluster_name.to_owned(),
        })
    }
}

fn missing(kind: &'static str, name: &str) -> KubeconfigError {
    KubeconfigError::Missing { kind, name: name.to_owned() }
}

fn endpoint(
    name: &str,
    cluster: &Cluster,
    server: &str,
    user_name: &str,
    user: &User,
) -> Result<Endpoint, KubeconfigError> {
    let invalid = |field, problem: &str| KubeconfigError::Invalid {
        kind: "cluster",
        name: name.to_owned(),
        field,
        problem: problem.to_owned(),
    };
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(invalid("insecure-skip-tls-verify", "unverified TLS is not supported"));
    }
    if cluster.proxy_url.as_ref().is_some_and(|url| !url.is_empty()) {
        return Err(invalid("proxy-url", "proxies are not supported"));
    }
    let address = server
        .strip_prefix("https://")
        .ok_or_else(|| invalid("server", &format!("{server:?} is not an https:// URL")))?;
    let address = address.trim_end_matches('/');
    if address.contains('/') {
        return Err(invalid("server", "paths are not supported"));
    }
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        !port.ends_with(']') && (!host.contains(':') || host.ends_with(']'))
    });
    let address = if has_port { address.to_owned() } else { format!("{address}:443") };
    let ca = pem(
        ("cluster", name, "certificate-authority"),
        cluster.certificate_authority_data.as_deref(),
        cluster.certificate_authority.as_deref(),
    )?
    .ok_or_else(|| invalid("certificate-authority", "there is none"))?;

    let key_pair = client_key_pair(user_name, user)?;
    let failed = |source| KubeconfigError::Endpoint { name: name.to_owned(), source };
    let mut endpoint = TlsEndpoint::new(&address, &ca, key_pair.as_ref()).map_err(failed)?;
    if let Some(server_name) = &cluster.tls_server_name {
        endpoint = endpoint.with_server_name(server_name).map_err(failed)?;
    }
    if let Some(token) = token(user)? {
        endpoint = endpoint.with_bearer_token(token);
    }
    Ok(Endpoint::Tls(endpoint))
}

fn client_key_pair(name: &str, user: &User) -> Result<Option<KeyPair>, KubeconfigError> {
    let invalid = |field, problem: &str| KubeconfigError::Invalid {
        kind: "user",
        name: name.to_owned(),
        field,
        problem: problem.to_owned(),
    };
    for field in UNSUPPORTED {
        if user.other.get(field).is_some_and(|value| !value.is_null()) {
            return Err(invalid(field, "this way to authenticate is not supported"));
        }
    }
    let certificate = pem(
        ("user", name, "client-certificate"),
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
    )?;
    let key = pem(
        ("user", name, "client-key"),
        user.client_key_data.as_deref(),
        user.client_key.as_deref(),
    )?;
    match (certificate, key) {
        (Some(cert_pem), Some(key_pem)) => Ok(Some(KeyPair { cert_pem, key_pem })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(invalid("client-key", "there is none for the client certificate")),
        (None, Some(_)) => Err(invalid("client-certificate", "there is none for the client key")),
    }
}

fn token(user: &User) -> Result<Option<String>, KubeconfigError> {
    let token = match &user.token_file {
        Some(path) => Some(read(path)?.trim().to_owned()),
        None => user.token.clone(),
    };
    Ok(token.filter(|token| !token.is_empty()))
}

/// PEM from the `…-data` field, else from the file.
fn pem(
    (kind, name, field): (&'static str, &str, &'static str),
    data: Option<&str>,
    path: Option<&Path>,
) -> Result<Option<String>, KubeconfigError> {
    match (data.filter(|data| !data.is_empty()), path) {
        (Some(data), _) => {
            let invalid = |problem: String| KubeconfigError::Invalid {
                kind,
                name: name.to_owned(),
                field,
                problem,
            };
            let bytes = STANDARD.decode(data).map_err(|error| invalid(error.to_string()))?;
            String::from_utf8(bytes).map(Some).map_err(|_| invalid("not PEM".to_owned()))
        }
        (None, Some(path)) if !path.as_os_str().is_empty() => read(path).map(Some),
        (None, _) => Ok(None),
    }
}

fn read(path: &Path) -> Result<String, KubeconfigError> {
    fs::read_to_string(path).map_err(|source| KubeconfigError::File {
        operation: "read",
        path: path.to_owned(),
        source,
    })
}

impl Cluster {
    /// A cluster at `server` (`https://host:port`) whose certificates `ca_pem` signs.
    #[must_use]
    pub fn with_authority(server: &str, ca_pem: &str) -> Self {
        Self {
            server: server.to_owned(),
            certificate_authority_data: Some(STANDARD.encode(ca_pem)),
            ..Self::default()
        }
    }
}

impl User {
    /// The holder of a client certificate.
    #[must_use]
    pub fn with_certificate(key_pair: &KeyPair) -> Self {
        Self {
            client_certificate_data: Some(STANDARD.encode(&key_pair.cert_pem)),
            client_key_data: Some(STANDARD.encode(&key_pair.key_pem)),
            ..Self::default()
        }
    }
}
