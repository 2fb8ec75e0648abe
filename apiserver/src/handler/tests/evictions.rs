use super::*;

/// A running pod of `app=web`; `ready` is the status of its condition.
async fn running(chain: &Chain, name: &str, ready: &str) -> Object {
    let mut object = pod(name);
    object["metadata"]["labels"] = json!({"app": "web"});
    object["spec"]["nodeName"] = "node-1".into();
    chain.create(&resource::PODS, object).await.unwrap();
    let status =
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}});
    chain.patch(&resource::PODS, &format!("{name}/status"), PatchType::Merge, status).await.unwrap()
}

/// A budget over `app=web` with its counts.
async fn budget(chain: &Chain, name: &str, spec: Value, status: Value) {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    let object = json!({"metadata": {"name": name}, "spec": spec});
    chain.create(&resource::POD_DISRUPTION_BUDGETS, object).await.unwrap();
    let path = format!("{name}/status");
    let patch = json!({"status": status});
    chain.patch(&resource::POD_DISRUPTION_BUDGETS, &path, PatchType::Merge, patch).await.unwrap();
}

async fn evict(chain: &Chain, pod: &str, options: Value) -> Result<Object, Status> {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}, "deleteOptions": options});
    let context = chain.context(Verb::Create, &resource::PODS, &format!("{pod}/eviction"));
    chain.object(context, Request::Create(eviction.to_string().into())).await
}

async fn allowed(chain: &Chain, name: &str) -> i64 {
    let budget = chain.get(&resource::POD_DISRUPTION_BUDGETS, name).await.unwrap();
    budget.get_i64(&["status", "disruptionsAllowed"]).unwrap()
}

#[tokio::test]
async fn an_eviction_takes_a_disruption_from_the_budget() {
    let chain = Chain::start().await;
    for name in ["web-1", "web-2"] {
        running(&chain, name, "True").await;
    }
    let counts = json!({"observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1});
    budget(&chain, "web", json!({"minAvailable": 1}), counts).await;

    let status = evict(&chain, "web-1", json!({"dryRun": ["All"]})).await.unwrap();
    assert_eq!((status.get_str(&["status"]), status.get_i64(&["code"])), ("Success", Some(201)));
    assert_eq!(allowed(&chain, "web").await, 1);
    let untouched = chain.get(&resource::PODS, "web-1").await.unwrap();
    assert!(untouched.deletion_timestamp().is_none());

    evict(&chain, "web-1", json!({"gracePeriodSeconds": 7})).await.unwrap();
    let gone = chain.get(&resource::PODS, "web-1").await.unwrap();
    assert_eq!(gone.get_i64(&["metadata", "deletionGracePeriodSeconds"]), Some(7));
    let condition = gone
        .get_list(&["status", "conditions"])
        .iter()
        .find(|condition| condition["type"] == "DisruptionTarget")
        .unwrap();
    assert_eq!(condition["status"], "True");
    assert_eq!(condition["reason"], "EvictionByEvictionAPI");
    assert_eq!(condition["message"], "Eviction API: evicting");
    let taken = chain.get(&resource::POD_DISRUPTION_BUDGETS, "web").await.unwrap();
    assert_eq!(taken.get_i64(&["status", "disruptionsAllowed"]), Some(0));
    assert!(taken.get(&["status", "disruptedPods", "web-1"]).is_some());
    assert_eq!(taken.get_list(&["status", "conditions"])[0]["reason"], "InsufficientPods");

    let refused = evict(&chain, "web-2", json!({})).await.unwrap_err();
    assert_eq!((refused.code, refused.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(
        refused.message,
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    let cause = &refused.details.as_ref().unwrap().causes[0];
    assert_eq!(cause.reason, "DisruptionBudget");
    assert_eq!(cause.message, "The disruption budget web needs 1 healthy pods and has 2 currently");
    // What is on its way already disrupts nobody more.
    evict(&chain, "web-1", json!({})).await.unwrap();
}

#[tokio::test]
async fn pods_without_a_say_of_a_budget_go_freely() {
    let chain = Chain::start().await;
    let none = json!({"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 1});
    budget(&chain, "web", json!({"minAvailable": 1}), none).await;
    let mut pending = pod("pending");
    pending["metadata"]["labels"] = json!({"app": "web"});
    chain.create(&resource::PODS, pending).await.unwrap();
    evict(&chain, "pending", json!({})).await.unwrap();
    assert!(chain.get(&resource::PODS, "pending").await.unwrap_err().is_not_found());

    running(&chain, "done", "False").await;
    let over = json!({"status": {"phase": "Succeeded"}});
    chain.patch(&resource::PODS, "done/status", PatchType::Merge, over).await.unwrap();
    evict(&chain, "done", json!({})).await.unwrap();
    assert!(chain.get(&resource::PODS, "done").await.unwrap_err().is_not_found());

    // Not ready, while enough others are healthy.
    running(&chain, "unready", "False").await;
    evict(&chain, "unready", json!({})).await.unwrap();
    assert!(chain.get(&resource::PODS, "unready").await.unwrap().deletion_timestamp().is_some());
    // Not enough others: it counts.
    let few = json!({"status": {"currentHealthy": 0}});
    chain
        .patch(&resource::POD_DISRUPTION_BUDGETS, "web/status", PatchType::Merge, few)
        .await
        .unwrap();
    running(&chain, "needed", "False").await;
    assert!(evict(&chain, "needed", json!({})).await.unwrap_err().is_too_many_requests());
    let always = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    chain.patch(&resource::POD_DISRUPTION_BUDGETS, "web", PatchType::Merge, always).await.unwrap();
    evict(&chain, "needed", json!({})).await.unwrap();
}

#[tokio::test]
async fn evictions_are_refused_in_kubernetes_words() {
    let chain = Chain::start().await;
    let web = running(&chain, "web", "True").await;
    let missing = evict(&chain, "nobody", json!({})).await.unwrap_err();
    assert_eq!(missing.message, "pods \"nobody\" not found");
    let context = chain.context(Verb::Create, &resource::PODS, "web/eviction");
    let other = json!({"metadata": {"name": "other"}});
    let error = chain.object(context, Request::Create(other.to_string().into())).await.unwrap_err();
    assert_eq!(error.message, "name in URL does not match name in Eviction object");
    for (preconditions, message) in [
        (
            json!({"uid": "u"}),
            format!(
                "Operation cannot be fulfilled on Pod \"web\": the UID in the precondition (u) does not match the UID in record ({}). The object might have been deleted and then recreated",
                web.uid()
            ),
        ),
        (
            json!({"resourceVersion": "1"}),
            format!(
                "Operation cannot be fulfilled on Pod \"web\": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record ({}). The object might have been modified",
                web.resource_version()
            ),
        ),
    ] {
        let error = evict(&chain, "web", json!({"preconditions": preconditions})).await;
        assert_eq!(error.unwrap_err().message, message);
    }
    let node = chain.with_user("system:node:node-2", &["system:nodes"]);
    assert_eq!(
        evict(&node, "web", json!({})).await.unwrap_err().message,
        "pods \"web\" is forbidden: node node-2 can only evict pods with spec.nodeName set to itself"
    );
    let counts = json!({"observedGeneration": 0, "disruptionsAllowed": 1});
    budget(&chain, "a", json!({"minAvailable": 1}), counts).await;
    let stale = evict(&chain, "web", json!({})).await.unwrap_err();
    assert_eq!((stale.code, stale.retry_after_seconds()), (429, Some(10)));
    assert_eq!(
        stale.details.unwrap().causes[0].message,
        "The disruption budget a is still being processed by the server."
    );
    budget(&chain, "b", json!({"maxUnavailable": 1}), json!({})).await;
    let several = evict(&chain, "web", json!({})).await.unwrap_err();
    assert_eq!(
        (several.code, several.message.as_str()),
        (
            500,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    );
    for name in ["a", "b"] {
        chain
            .delete(&resource::POD_DISRUPTION_BUDGETS, name, DeleteOptions::default())
            .await
            .unwrap();
    }
    let version = chain.get(&resource::PODS, "web").await.unwrap();
    let exact =
        json!({"preconditions": {"uid": web.uid(), "resourceVersion": version.resource_version()}});
    evict(&chain, "web", exact).await.unwrap();
}
