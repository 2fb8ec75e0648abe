//! What the chain does for a stream: allow it, and find the kubelet.

use apimachinery::{object::Object, resource, status::Status};
use proto::v1::PodRef;

use super::{Handler, check_name, check_verb};
use crate::{
    kubelet::{StreamTarget, container_of},
    request::{Request, RequestContext},
};

impl Handler {
    /// Authorizes a stream to a pod, and finds the pod, its container and its Node.
    ///
    /// # Errors
    /// Forbidden, not found, or a container that is not clear.
    pub(crate) async fn stream_target(
        &self,
        context: &RequestContext,
        container: &str,
    ) -> Result<StreamTarget, Status> {
        let store = self.store(context.resource)?;
        self.authorize(context, &Request::Get { resource_version: String::new() }).await?;
        check_verb(context)?;
        check_name(&context.name)?;
        let kv = store.get(&context.namespace, &context.name, "").await?;
        let pod = Object::from_slice(&kv.value)?;
        let container = container_of(&pod, container)?;
        let node_name = pod.get_str(&["spec", "nodeName"]);
        let node = if node_name.is_empty() {
            None
        } else {
            let kv = self.store(&resource::NODES)?.get("", node_name, "").await?;
            Some(Object::from_slice(&kv.value)?)
        };
        let pod = PodRef {
            namespace: context.namespace.clone(),
            name: context.name.clone(),
            container,
            uid: pod.uid().to_owned(),
        };
        Ok(StreamTarget { pod, node })
    }
}
