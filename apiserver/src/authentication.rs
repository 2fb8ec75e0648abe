//! Who asks? The connection says.
//!
//! | connection | user |
//! |---|---|
//! | TLS with a client certificate of the cluster's CA | its common name; its organizations are the groups |
//! | TLS without | `system:anonymous`, who may see health and version |
//! | Unix socket, from a process of our own user | the administrator: whoever that is can read the CA's key, too |
//! | in-process | what the connector states |
//!
//! Bearer tokens are not served yet: a request that carries one is refused (401), not taken for anonymous.

use std::sync::Arc;

use apimachinery::status::Status;
use component_base::transport::PeerIdentity;

use crate::{authorization::MASTERS, request::UserInfo};

/// The user of requests without credentials.
pub const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// Finds the user of a request.
///
/// # Errors
/// Unauthorized, for credentials that cannot be checked.
pub fn authenticate(identity: &PeerIdentity, has_token: bool) -> Result<Arc<UserInfo>, Status> {
    if has_token {
        return Err(Status::unauthorized());
    }
    let (name, groups) = match identity {
        PeerIdentity::Anonymous => return Ok(Arc::new(user(ANONYMOUS, &[], UNAUTHENTICATED))),
        PeerIdentity::Certificate { user, groups } | PeerIdentity::InProcess { user, groups } => {
            (user.as_str(), groups.clone())
        }
        PeerIdentity::Unix { .. } => ("kubernetes-admin", vec![MASTERS.to_owned()]),
    };
    Ok(Arc::new(user(name, &groups, AUTHENTICATED)))
}

fn user(name: &str, groups: &[String], class: &str) -> UserInfo {
    let mut groups = groups.to_vec();
    if !groups.iter().any(|group| group == class) {
        groups.push(class.to_owned());
    }
    UserInfo { name: name.to_owned(), groups, ..UserInfo::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_names_the_user() {
        let check = |identity: PeerIdentity, name: &str, groups: &[&str]| {
            let user = authenticate(&identity, false).unwrap();
            assert_eq!(
                (user.name.as_str(), user.groups.iter().map(String::as_str).collect::<Vec<_>>()),
                (name, groups.to_vec())
            );
        };
        check(PeerIdentity::Anonymous, "system:anonymous", &["system:unauthenticated"]);
        let (user, groups) = ("system:node:node-1".to_owned(), vec!["system:nodes".to_owned()]);
        check(
            PeerIdentity::Certificate { user, groups },
            "system:node:node-1",
            &["system:nodes", "system:authenticated"],
        );
        check(
            PeerIdentity::Unix { uid: 1, pid: None },
            "kubernetes-admin",
            &["system:masters", "system:authenticated"],
        );
        assert!(authenticate(&PeerIdentity::Anonymous, true).unwrap_err().is_unauthorized());
    }
}
