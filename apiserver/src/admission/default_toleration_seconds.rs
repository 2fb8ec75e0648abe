//! A pod stays for five minutes on a node that is not ready or not reachable, unless it says otherwise.

use apimachinery::status::Status;
use serde_json::{Value, json};

use super::{Operation, Review};

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub(super) fn admit(review: &mut Review<'_>) -> Result<(), Status> {
    if !review.is_pod() || review.operation == Operation::Delete {
        return Ok(());
    }
    let tolerations = review.object.get_list(&["spec", "tolerations"]);
    let missing: Vec<Value> = TAINTS
        .iter()
        .filter(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
        .map(|taint| {
            json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS})
        })
        .collect();
    if !missing.is_empty() {
        let all: Vec<Value> = tolerations.iter().cloned().chain(missing).collect();
        review.object.set(&["spec", "tolerations"], all);
    }
    Ok(())
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or("");
    matches!(text("effect"), "" | "NoExecute") && (text("key") == taint || text("key").is_empty())
}
