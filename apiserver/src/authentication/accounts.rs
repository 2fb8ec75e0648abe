//! Bearer tokens: who holds one, and whether what it was bound to still lives.
//!
//! A token dies with its account, and with the pod, node or Secret that it names: each is looked up, by uid, on every
//! request, in the store's memory. Only the signature's check is remembered, for it is the costly part and never
//! changes.

use std::{collections::HashMap, sync::Arc};

use apimachinery::{object::Object, resource, resource::ResourceInfo};
use component_base::clock::Clock;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};

use super::{
    AUTHENTICATED,
    token::{Claims, ISSUER, Named, TokenError, TokenKey},
};
use crate::{registry::store_prefix, request::UserInfo, storage::Storage};

/// A pod's token is good for this long after the pod should have ended, in seconds.
const LEEWAY: i64 = 60;
/// More checked tokens than this, and the memory of them starts afresh.
const MAX_CHECKED: usize = 4096;

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// The checker of bearer tokens.
pub struct Accounts {
    /// What signs them.
    pub key: TokenKey,
    storage: Arc<dyn Storage>,
    clock: Clock,
    checked: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl Accounts {
    /// A checker of this key's tokens.
    #[must_use]
    pub fn new(key: TokenKey, storage: Arc<dyn Storage>, clock: Clock) -> Self {
        Self { key, storage, clock, checked: Mutex::default() }
    }

    /// Finds the user of a token for any of `audiences` (none: the API server itself), and for which of them it is.
    ///
    /// # Errors
    /// Why the token is not accepted.
    pub async fn user(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(UserInfo, Vec<String>), String> {
        let now = self.clock.now().as_second();
        let claims = self.claims(token, now).map_err(|error| error.to_string())?;
        let own = [ISSUER.to_owned()];
        let wanted = if audiences.is_empty() { &own } else { audiences };
        let matching: Vec<String> =
            wanted.iter().filter(|audience| claims.aud.contains(audience)).cloned().collect();
        if matching.is_empty() {
            return Err(format!(
                "token audiences {:?} is invalid for the target audiences {wanted:?}",
                claims.aud
            ));
        }
        self.alive(&claims, now).await?;
        Ok((user_of(&claims), matching))
    }

    fn claims(&self, token: &str, now: i64) -> Result<Arc<Claims>, TokenError> {
        let key = <[u8; 32]>::try_from(digest(&SHA256, token.as_bytes()).as_ref())
            .expect("SHA-256 has 32 bytes");
        let known = self.checked.lock().get(&key).cloned();
        if let Some(claims) = known {
            return if now < claims.exp { Ok(claims) } else { Err(TokenError::Expired) };
        }
        let claims = Arc::new(self.key.verify(token, now)?);
        let mut checked = self.checked.lock();
        if checked.len() >= MAX_CHECKED {
            checked.clear();
        }
        checked.insert(key, claims.clone());
        Ok(claims)
    }

    /// Everything that the token names is there, and the same object as when it was issued.
    async fn alive(&self, claims: &Claims, now: i64) -> Result<(), String> {
        let private = &claims.private;
        let namespace = &private.namespace;
        let account = &private.serviceaccount;
        self.same(&resource::SERVICE_ACCOUNTS, namespace, account, now).await?;
        if let Some(pod) = &private.pod {
            self.same(&resource::PODS, namespace, pod, now).await?;
        } else if let Some(node) = &private.node {
            self.same(&resource::NODES, "", node, now).await?;
        }
        if let Some(secret) = &private.secret {
            self.same(&resource::SECRETS, namespace, secret, now).await?;
        }
        Ok(())
    }

    async fn same(
        &self,
        info: &'static ResourceInfo,
        namespace: &str,
        named: &Named,
        now: i64,
    ) -> Result<(), String> {
        let prefix = store_prefix(info);
        let key = if info.namespaced {
            format!("{prefix}{namespace}/{}", named.name)
        } else {
            format!("{prefix}{}", named.name)
        };
        let kv = self.storage.get(&key).await.map_err(|error| error.to_string())?;
        let object = kv.and_then(|kv| Object::from_slice(&kv.value).ok());
        let Some(object) = object.filter(|object| object.uid() == named.uid) else {
            return Err("service account token has been invalidated".to_owned());
        };
        let deleted = object.deletion_timestamp().map(|time| time.0.as_second());
        if deleted.is_some_and(|moment| moment + LEEWAY < now) {
            return Err("service account token has been invalidated".to_owned());
        }
        Ok(())
    }
}

/// The user that a token stands for.
fn user_of(claims: &Claims) -> UserInfo {
    let private = &claims.private;
    let mut extra = std::collections::BTreeMap::new();
    let mut tell = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(key.to_owned(), vec![value.to_owned()]);
        }
    };
    if !claims.jti.is_empty() {
        tell(CREDENTIAL, &format!("JTI={}", claims.jti));
    }
    if let Some(pod) = &private.pod {
        tell(POD_NAME, &pod.name);
        tell(POD_UID, &pod.uid);
    }
    if let Some(node) = &private.node {
        tell(NODE_NAME, &node.name);
        tell(NODE_UID, &node.uid);
    }
    UserInfo {
        name: user_name(&private.namespace, &private.serviceaccount.name),
        uid: private.serviceaccount.uid.clone(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", private.namespace),
            AUTHENTICATED.to_owned(),
        ],
        extra,
    }
}

/// The user name of an account.
#[must_use]
pub fn user_name(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}
