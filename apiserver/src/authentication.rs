//! Who asks? The connection says.
//!
//! | connection | user |
//! |---|---|
//! | TLS with a client certificate of the cluster's CA | its common name; its organizations are the groups |
//! | TLS without, but with a bearer token | the token's ServiceAccount ([`token`], [`accounts`]) |
//! | TLS with neither | `system:anonymous`, who may see health and version |
//! | Unix socket, from a process of our own user | the administrator: whoever that is can read the CA's key, too |
//! | in-process | what the connector states |
//!
//! Whoever may `impersonate` can act as somebody else ([`Impersonation`]).
//!
//! A token that is not accepted is refused (401), not taken for anonymous.

pub mod accounts;
pub mod token;

use std::{collections::BTreeMap, sync::Arc};

use apimachinery::{resource::ResourceInfo, status::Status};
use component_base::transport::PeerIdentity;

use self::accounts::Accounts;
use crate::{
    authorization::MASTERS,
    request::{UserInfo, pseudo_resource},
};

/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Finds the user of a request. `authorization` is its header of that name, empty when there is none; a certificate goes
/// before it.
///
/// # Errors
/// Unauthorized, for credentials that are not accepted.
pub async fn authenticate(
    identity: &PeerIdentity,
    authorization: &str,
    accounts: &Accounts,
) -> Result<Arc<UserInfo>, Status> {
    let (name, groups) = match identity {
        PeerIdentity::Anonymous if authorization.is_empty() => {
            return Ok(Arc::new(user(ANONYMOUS, &[], UNAUTHENTICATED)));
        }
        PeerIdentity::Anonymous => {
            let token = bearer(authorization).ok_or_else(Status::unauthorized)?;
            let (user, _) = accounts.user(token, &[]).await.map_err(|reason| {
                tracing::debug!(reason, "a bearer token was refused");
                Status::unauthorized()
            })?;
            return Ok(Arc::new(user));
        }
        PeerIdentity::Certificate { user, groups } | PeerIdentity::InProcess { user, groups } => {
            (user.as_str(), groups.clone())
        }
        PeerIdentity::Unix { .. } => ("kubernetes-admin", vec![MASTERS.to_owned()]),
    };
    Ok(Arc::new(user(name, &groups, AUTHENTICATED)))
}

/// The token of an `Authorization` header.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

fn user(name: &str, groups: &[String], class: &str) -> UserInfo {
    let mut groups = groups.to_vec();
    if !groups.iter().any(|group| group == class) {
        groups.push(class.to_owned());
    }
    UserInfo { name: name.to_owned(), groups, ..UserInfo::default() }
}

/// Whom a request wants to act as: the `Impersonate-*` headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impersonation {
    /// `Impersonate-User`.
    pub user: String,
    /// `Impersonate-Group`, any number of them.
    pub groups: Vec<String>,
    /// `Impersonate-Uid`.
    pub uid: String,
    /// `Impersonate-Extra-…`.
    pub extra: BTreeMap<String, Vec<String>>,
}

const IMPERSONATE: &str = "impersonate-";

impl Impersonation {
    /// Reads the headers; None when there is none of them.
    #[must_use]
    pub fn from_headers<'h>(headers: impl Iterator<Item = (&'h str, &'h str)>) -> Option<Self> {
        let mut found = None;
        for (name, value) in headers {
            let Some(what) = name.strip_prefix(IMPERSONATE) else { continue };
            let wanted = found.get_or_insert_with(Self::default);
            match what {
                "user" => value.clone_into(&mut wanted.user),
                "group" => wanted.groups.push(value.to_owned()),
                "uid" => value.clone_into(&mut wanted.uid),
                _ => {
                    if let Some(key) = what.strip_prefix("extra-") {
                        wanted.extra.entry(key.to_owned()).or_default().push(value.to_owned());
                    }
                }
            }
        }
        found
    }

    /// What the real user must be allowed to impersonate: group, resource, namespace, name.
    pub(crate) fn rights(&self) -> Vec<Right<'_>> {
        let mut rights = Vec::new();
        match service_account(&self.user) {
            Some((namespace, name)) => {
                rights.push(Right { info: &SERVICE_ACCOUNTS, subresource: "", namespace, name });
            }
            None => rights.push(Right::new(&USERS, &self.user)),
        }
        rights.extend(self.groups.iter().map(|group| Right::new(&GROUPS, group)));
        if !self.uid.is_empty() {
            rights.push(Right::new(&UIDS, &self.uid));
        }
        for (key, values) in &self.extra {
            rights.extend(values.iter().map(|value| Right {
                info: &USER_EXTRAS,
                subresource: key,
                namespace: "",
                name: value,
            }));
        }
        rights
    }

    /// The user that the request acts as.
    pub(crate) fn into_user(self) -> UserInfo {
        let mut groups = self.groups;
        if groups.is_empty()
            && let Some((namespace, _)) = service_account(&self.user)
        {
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        let class = if self.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        UserInfo { uid: self.uid, extra: self.extra, ..user(&self.user, &groups, class) }
    }
}

/// Something that may be impersonated.
pub(crate) struct Right<'a> {
    pub(crate) info: &'static ResourceInfo,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Right<'a> {
    fn new(info: &'static ResourceInfo, name: &'a str) -> Self {
        Self { info, subresource: "", namespace: "", name }
    }
}

static USERS: ResourceInfo = pseudo_resource("", "User", "users");
static GROUPS: ResourceInfo = pseudo_resource("", "Group", "groups");
static SERVICE_ACCOUNTS: ResourceInfo = pseudo_resource("", "ServiceAccount", "serviceaccounts");
static UIDS: ResourceInfo = pseudo_resource("authentication.k8s.io", "UID", "uids");
static USER_EXTRAS: ResourceInfo =
    pseudo_resource("authentication.k8s.io", "UserExtra", "userextras");

/// Namespace and name of a ServiceAccount's user name.
fn service_account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_connection_names_the_user() {
        let clock = component_base::clock::Clock::real();
        let engine = crate::storage::engine::memory::MemoryEngine;
        let store =
            crate::storage::Store::open(engine, crate::storage::StoreConfig::new(clock.clone()))
                .unwrap();
        let accounts = Accounts::new(token::TokenKey::generate(), Arc::new(store), clock);
        let check = async |identity: PeerIdentity, name: &str, groups: &[&str]| {
            let user = authenticate(&identity, "", &accounts).await.unwrap();
            assert_eq!(
                (user.name.as_str(), user.groups.iter().map(String::as_str).collect::<Vec<_>>()),
                (name, groups.to_vec())
            );
        };
        check(PeerIdentity::Anonymous, "system:anonymous", &["system:unauthenticated"]).await;
        let (user, groups) = ("system:node:node-1".to_owned(), vec!["system:nodes".to_owned()]);
        check(
            PeerIdentity::Certificate { user, groups },
            "system:node:node-1",
            &["system:nodes", "system:authenticated"],
        )
        .await;
        check(
            PeerIdentity::Unix { uid: 1, pid: None },
            "kubernetes-admin",
            &["system:masters", "system:authenticated"],
        )
        .await;
        for header in ["Bearer x.y.z", "Basic YTpi", "Bearer ", "nonsense"] {
            let refused = authenticate(&PeerIdentity::Anonymous, header, &accounts).await;
            assert!(refused.unwrap_err().is_unauthorized(), "{header}");
        }
    }

    #[test]
    fn impersonation_needs_a_right_for_each_part() {
        let headers = [
            ("impersonate-user", "ann"),
            ("impersonate-group", "devs"),
            ("impersonate-extra-scope", "x"),
            ("accept", "y"),
        ];
        let wanted = Impersonation::from_headers(headers.into_iter()).unwrap();
        let rights: Vec<_> = wanted
            .rights()
            .iter()
            .map(|right| (right.info.resource, right.subresource, right.name))
            .collect();
        assert_eq!(
            rights,
            [("users", "", "ann"), ("groups", "", "devs"), ("userextras", "scope", "x")]
                .map(|(a, b, c)| (a, b, c))
        );
        assert_eq!(wanted.into_user().groups, ["devs", "system:authenticated"]);
        let bot = Impersonation {
            user: "system:serviceaccount:a:bot".into(),
            ..Impersonation::default()
        };
        assert_eq!((bot.rights()[0].namespace, bot.rights()[0].name), ("a", "bot"));
        assert_eq!(
            bot.into_user().groups,
            ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]
        );
        assert_eq!(Impersonation::from_headers([("accept", "x")].into_iter()), None);
    }
}
