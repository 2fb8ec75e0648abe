//! Where the leader answers why a pod goes where: the service `Scheduling` on a Unix socket.
//!
//! The API server finds the socket by the annotation [`ANNOTATION`] on the leader's Lease. Who may ask is its matter; the
//! socket itself lets nobody in but processes of our own user.

use std::path::Path;

use apimachinery::{object::ObjectKey, resource::PODS, status::Status};
use component_base::{
    shutdown::Shutdown,
    transport::{self, Listener},
};
use proto::v1::{
    ExplainRequest, ExplainResponse,
    scheduling_server::{Scheduling, SchedulingServer},
};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response};

use crate::{explain::Explanation, scheduler::Scheduler};

/// The annotation of the Lease `kube-system/kube-scheduler` that tells where its holder explains.
pub(super) const ANNOTATION: &str = "kube-mini.dev/scheduler-endpoint";

/// The socket as [`ANNOTATION`] tells it.
pub(super) fn address(path: &Path) -> String {
    format!("unix://{}", path.display())
}

/// Someone wants to know about a pod.
pub(super) struct Question {
    pod: ObjectKey,
    reply: oneshot::Sender<Option<Explanation>>,
}

impl Question {
    /// Answers it; who asked may be gone.
    pub(super) fn answer(self, scheduler: &mut Scheduler) {
        let _ = self.reply.send(scheduler.explain(&self.pod));
    }
}

/// Serves until `tasks` end. Without the socket the scheduler does its work all the same: only nobody can ask.
pub(super) fn serve(path: &Path, asker: mpsc::Sender<Question>, tasks: &Shutdown) {
    let listener = match Listener::bind_unix(path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot listen for questions");
            return;
        }
    };
    let routes = tonic::service::Routes::new(SchedulingServer::new(Endpoint { asker }));
    let router = routes.into_axum_router();
    tasks.spawn("endpoint", transport::serve(listener, router, tasks.token().clone()));
}

struct Endpoint {
    asker: mpsc::Sender<Question>,
}

#[tonic::async_trait]
impl Scheduling for Endpoint {
    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, tonic::Status> {
        let ExplainRequest { namespace, name } = request.into_inner();
        let ending = || tonic::Status::unavailable("the scheduler is ending");
        let (reply, answer) = oneshot::channel();
        let pod = ObjectKey { namespace, name: name.clone() };
        self.asker.send(Question { pod, reply }).await.map_err(|_| ending())?;
        let explanation = answer.await.map_err(|_| ending())?;
        let explanation =
            explanation.ok_or_else(|| client::wire::to_tonic(&Status::not_found(&PODS, &name)))?;
        let explanation = serde_json::to_vec(&explanation)
            .map_err(|error| tonic::Status::internal(error.to_string()))?;
        Ok(Response::new(ExplainResponse { explanation: explanation.into() }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use component_base::transport::{Endpoint as Address, channel};
    use proto::v1::scheduling_client::SchedulingClient;
    use serde_json::{Value, json};
    use tonic::Code;

    use super::*;
    use crate::testing::{node, pod};

    #[tokio::test]
    async fn questions_are_answered_on_the_socket_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let tasks = Shutdown::new();
        let (asker, mut questions) = mpsc::channel::<Question>(1);
        serve(&path, asker, &tasks);
        tasks.spawn("scheduler", async move {
            let mut scheduler = Scheduler::new("default-scheduler", 1);
            scheduler.handle(node("a", "4", json!({})), Duration::ZERO);
            scheduler.handle(pod("p", json!({})), Duration::ZERO);
            for _ in 0..2 {
                questions.recv().await.unwrap().answer(&mut scheduler);
            }
        });
        let mut client = SchedulingClient::new(channel(&Address::Unix { path: path.clone() }));
        let mut ask = async |name: &str| {
            let request = ExplainRequest { namespace: "default".into(), name: name.into() };
            client.explain(request).await.map(|reply| reply.into_inner().explanation)
        };
        let told: Value = serde_json::from_slice(&ask("p").await.unwrap()).unwrap();
        assert_eq!(told["status"]["selected"], "a");
        assert_eq!(ask("q").await.unwrap_err().code(), Code::NotFound);
        assert_eq!(ask("p").await.unwrap_err().code(), Code::Unavailable, "the loop has ended");
        tasks.cancel();
        tasks.wait(Duration::from_secs(5)).await.unwrap();
        assert!(!path.exists(), "the next leader may listen there");
    }
}
