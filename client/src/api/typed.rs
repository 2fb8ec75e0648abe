//! The typed functions: `client.get::<Pod>("default", "web")`.
//!
//! A view may know fewer fields than the server: `update` therefore is for objects that our own code made and owns
//! whole; to change anyone else's, send a [`Patch`].

use apimachinery::{
    api::{
        Resource,
        authentication::{TokenRequest, TokenRequestStatus},
        core,
    },
    object::ObjectKey,
    resource,
    status::Status,
};
use bytes::Bytes;
use serde_json::json;

use super::{
    Client, List,
    request::{ResourceApi, decoded},
};
use crate::{
    options::{DeleteOptions, ListOptions, Patch, WatchOptions},
    watch::WatchStream,
};

impl Client {
    fn of<'a, T: Resource>(&'a self, namespace: &'a str) -> ResourceApi<'a> {
        self.resource(T::INFO).namespace(namespace)
    }

    /// Reads one object.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn get<T: Resource>(&self, namespace: &str, name: &str) -> Result<T, Status> {
        decoded(&self.of::<T>(namespace).get(name).await?)
    }

    /// Reads a collection; the empty namespace means all of them.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn list<T: Resource>(
        &self,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<List<T>, Status> {
        self.of::<T>(namespace).list(options).await
    }

    /// Follows a collection; the empty namespace means all of them.
    ///
    /// # Errors
    /// The server's, or a transport failure; later ones come through the stream.
    pub async fn watch<T: Resource>(
        &self,
        namespace: &str,
        options: &WatchOptions,
    ) -> Result<WatchStream<T>, Status> {
        self.of::<T>(namespace).watch(options).await
    }

    /// Stores a new object, in the namespace that its metadata names.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn create<T: Resource>(&self, object: &T) -> Result<T, Status> {
        let namespace = object.metadata().namespace.as_deref().unwrap_or_default();
        decoded(&self.of::<T>(namespace).create("", encode(object)).await?)
    }

    /// Replaces an object that we own whole.
    ///
    /// # Errors
    /// The server's (a conflict, when it changed since it was read), or a transport failure.
    pub async fn update<T: Resource>(&self, object: &T) -> Result<T, Status> {
        self.replace(object, "").await
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    /// The server's (a conflict, when it changed since it was read), or a transport failure.
    pub async fn update_status<T: Resource>(&self, object: &T) -> Result<T, Status> {
        self.replace(object, "status").await
    }

    /// Replaces an object through one of its subresources.
    ///
    /// # Errors
    /// The API's; a conflict where somebody else has changed it.
    pub async fn update_subresource<T: Resource>(
        &self,
        object: &T,
        subresource: &str,
    ) -> Result<T, Status> {
        self.replace(object, subresource).await
    }

    async fn replace<T: Resource>(&self, object: &T, subresource: &str) -> Result<T, Status> {
        let metadata = object.metadata();
        let name = metadata.name.as_deref().unwrap_or_default();
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let api = self.of::<T>(namespace).subresource(subresource);
        decoded(&api.update(name, encode(object)).await?)
    }

    /// Changes an object, or its `subresource` where that is not empty.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn patch<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        patch: &Patch,
        subresource: &str,
    ) -> Result<T, Status> {
        decoded(&self.of::<T>(namespace).subresource(subresource).patch(name, patch).await?)
    }

    /// Deletes one object.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn delete<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        self.of::<T>(namespace).delete(name, options).await.map(drop)
    }

    /// Deletes a selection.
    ///
    /// # Errors
    /// The server's, or a transport failure.
    pub async fn delete_collection<T: Resource>(
        &self,
        namespace: &str,
        options: &DeleteOptions,
        selection: &ListOptions,
    ) -> Result<(), Status> {
        self.of::<T>(namespace).delete_collection(options, selection).await.map(drop)
    }

    /// Binds a pod to a node, if it still is the pod of this uid (empty: whichever bears the name).
    ///
    /// # Errors
    /// The server's (a conflict, when the pod is bound already), or a transport failure.
    pub async fn bind(&self, pod: &ObjectKey, uid: &str, node: &str) -> Result<(), Status> {
        let mut metadata = json!({"name": pod.name, "namespace": pod.namespace});
        if !uid.is_empty() {
            metadata["uid"] = uid.into();
        }
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": metadata,
            "target": {"kind": "Node", "name": node},
        });
        let json = serde_json::to_vec(&binding).expect("a JSON value is JSON");
        let pods = self.of::<core::Pod>(&pod.namespace).subresource("binding");
        pods.create(&pod.name, json.into()).await.map(drop)
    }

    /// Asks for a token of an account, bound to a pod by its name and uid; an empty audience is the API server.
    ///
    /// # Errors
    /// The server's (the account or the pod is not found, or another one by now), or a transport failure.
    pub async fn request_pod_token(
        &self,
        account: &ObjectKey,
        (pod, uid): (&str, &str),
        audience: &str,
        seconds: i64,
    ) -> Result<TokenRequestStatus, Status> {
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid});
        let mut request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [], "boundObjectRef": bound, "expirationSeconds": seconds},
        });
        if !audience.is_empty() {
            request["spec"]["audiences"] = json!([audience]);
        }
        let json = serde_json::to_vec(&request).expect("a JSON value is JSON");
        let accounts = self.of::<core::ServiceAccount>(&account.namespace).subresource("token");
        let reply = accounts.create(&account.name, json.into()).await?;
        Ok(reply.view::<TokenRequest>()?.status)
    }

    /// Evicts a pod: a deletion that disruption budgets may forbid.
    ///
    /// # Errors
    /// The server's (too many requests, when a budget forbids it), or a transport failure.
    pub async fn evict(&self, pod: &ObjectKey, options: &DeleteOptions) -> Result<(), Status> {
        let mut delete_options = serde_json::Map::new();
        if let Some(seconds) = options.grace_period_seconds {
            delete_options.insert("gracePeriodSeconds".to_owned(), seconds.into());
        }
        if let Some(propagation) = options.propagation {
            delete_options.insert("propagationPolicy".to_owned(), propagation.as_str().into());
        }
        if options.uid.is_some() || options.resource_version.is_some() {
            let mut preconditions = serde_json::Map::new();
            for (field, value) in
                [("uid", &options.uid), ("resourceVersion", &options.resource_version)]
            {
                if let Some(value) = value {
                    preconditions.insert(field.to_owned(), value.as_str().into());
                }
            }
            delete_options.insert("preconditions".to_owned(), preconditions.into());
        }
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": delete_options,
        });
        let json = serde_json::to_vec(&eviction).expect("a JSON value is JSON");
        let pods = self.resource(&resource::PODS).namespace(&pod.namespace).subresource("eviction");
        pods.dry_run(options.dry_run).create(&pod.name, json.into()).await.map(drop)
    }
}

/// The view's JSON with `apiVersion` and `kind` before it.
fn encode<T: Resource>(object: &T) -> Bytes {
    let (separator, group) = if T::INFO.group.is_empty() { ("", "") } else { ("/", T::INFO.group) };
    let head = format!(
        r#"{{"apiVersion":"{group}{separator}{}","kind":"{}","#,
        T::INFO.version,
        T::INFO.kind
    );
    let mut json = Vec::with_capacity(1024);
    json.extend_from_slice(head.as_bytes());
    let start = json.len() - 1;
    serde_json::to_writer(&mut json, object).expect("views are JSON: their map keys are strings");
    // `…,{"metadata":…}`: the view's opening brace becomes our comma.
    let opening = json.remove(start + 1);
    debug_assert_eq!(opening, b'{');
    if json[start + 1..] == *b"}" {
        json.remove(start);
    }
    json.into()
}

#[cfg(test)]
mod tests {
    use apimachinery::api::{apps::Deployment, core::Pod};

    use super::*;

    #[test]
    fn views_are_sent_with_their_kind() {
        fn check<T: Resource>(object: &T) {
            let sent: serde_json::Value = serde_json::from_slice(&encode(object)).unwrap();
            assert_eq!(sent, object.to_object().into_value());
        }
        let mut pod = Pod::default();
        check(&pod);
        pod.metadata.name = Some("web".to_owned());
        check(&pod);
        check(&Deployment::default());
    }
}
