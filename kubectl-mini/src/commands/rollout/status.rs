//! `rollout status`.

use apimachinery::object::Object;
use serde_json::Value;

use super::{Flags, REVISION, is_deployment, refuse};
use crate::{
    cli::{
        Command,
        values::{Signed, parse_duration, parse_i64},
    },
    context::Context,
    errors::CommandError,
    resources::Item,
    waiting::{Seen, Waited, until},
};

/// Shows how far a rollout is, and waits for its end.
#[derive(clap::Args, Clone, Debug)]
pub struct RolloutStatus {
    /// What names the objects.
    #[command(flatten)]
    pub flags: Flags,
    /// Pin to a specific revision for showing its status. Defaults to 0 (last revision).
    #[arg(long, default_value = "0", value_parser = parse_i64)]
    pub revision: i64,
    /// The length of time to wait before ending watch, zero means never. Any other values should contain a
    /// corresponding time unit (e.g. 1s, 2m, 3h).
    #[arg(long, default_value = "0s", value_parser = parse_duration)]
    pub timeout: Signed,
    /// Watch the status of the rollout until it's done.
    #[arg(long, short, action = clap::ArgAction::Set, default_value_t = true)]
    pub watch: bool,
}

impl Command for RolloutStatus {
    const NAME: &'static str = "status";
    const ABOUT: &'static str = "Show the status of the rollout";
    const USAGE: &'static str = "status (TYPE NAME | TYPE/NAME) [flags]";
    const EXAMPLES: &'static str = "# Watch the rollout status of a deployment
kubectl-mini rollout status deployment/nginx";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if self.revision < 0 {
            return refuse(format!("revision must be a positive integer: {}", self.revision));
        }
        let (items, errors) = self.flags.items(context).await?;
        CommandError::gather(errors)?;
        for item in &items {
            self.follow(context, item).await?;
        }
        Ok(())
    }
}

impl RolloutStatus {
    async fn follow(&self, context: &Context, item: &Item) -> Result<(), CommandError> {
        if !is_deployment(item) {
            return refuse(format!(
                "no status viewer has been implemented for {}",
                item.info.group_kind()
            ));
        }
        let key = item.object.key();
        let timeout = self.timeout.is_positive().then_some(self.timeout.magnitude);
        let waited =
            until(context, item.info, &key.namespace, &key.name, timeout, |seen| match seen {
                Seen::Present(deployment) => {
                    let (text, done) = status(deployment, self.revision)?;
                    context.print(&text)?;
                    Ok(done || !self.watch)
                }
                Seen::Absent => Ok(false),
                Seen::Deleted(_) => refuse("object has been deleted"),
            })
            .await?;
        match waited {
            Waited::Done => Ok(()),
            Waited::TimedOut => refuse("timed out waiting for the condition"),
        }
    }
}

/// How far the rollout is, and whether that is its end.
fn status(deployment: &Object, revision: i64) -> Result<(String, bool), CommandError> {
    let name = deployment.name();
    if revision > 0 {
        let running: i64 =
            deployment.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or_default();
        if running != revision {
            return refuse(format!(
                "desired revision ({revision}) is different from the running revision ({running})"
            ));
        }
    }
    let count = |field: &str| deployment.get_i64(&["status", field]).unwrap_or_default();
    if deployment.generation() > count("observedGeneration") {
        return Ok(("Waiting for deployment spec update to be observed...\n".to_owned(), false));
    }
    let late = deployment.get_list(&["status", "conditions"]).iter().any(|condition| {
        let text = |key: &str| condition.get(key).and_then(Value::as_str);
        text("type") == Some("Progressing") && text("reason") == Some("ProgressDeadlineExceeded")
    });
    if late {
        return refuse(format!("deployment {name:?} exceeded its progress deadline"));
    }
    let (updated, available) = (count("updatedReplicas"), count("availableReplicas"));
    let waiting = |what: String| {
        Ok((format!("Waiting for deployment {name:?} rollout to finish: {what}...\n"), false))
    };
    if let Some(wanted) = deployment.get_i64(&["spec", "replicas"]).filter(|n| updated < *n) {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    let replicas = count("replicas");
    if replicas > updated {
        return waiting(format!("{} old replicas are pending termination", replicas - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Ok((format!("deployment {name:?} successfully rolled out\n"), true))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_passes_through_its_states() {
        let check = |status_of: Value, expected: Result<(&str, bool), &str>| {
            let deployment = Object::from_value(json!({
                "metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3}, "status": status_of,
            }))
            .unwrap();
            let result = status(&deployment, 0).map_err(|error| error.to_string());
            let expected =
                expected.map(|(text, done)| (text.to_owned(), done)).map_err(ToOwned::to_owned);
            assert_eq!(result, expected);
        };
        check(
            json!({"observedGeneration": 1}),
            Ok(("Waiting for deployment spec update to be observed...\n", false)),
        );
        check(
            json!({"observedGeneration": 2, "updatedReplicas": 1}),
            Ok((
                "Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...\n",
                false,
            )),
        );
        check(
            json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4}),
            Ok((
                "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...\n",
                false,
            )),
        );
        check(
            json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
            Ok((
                "Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...\n",
                false,
            )),
        );
        check(
            json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
            Ok(("deployment \"web\" successfully rolled out\n", true)),
        );
        check(
            json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
            Err("deployment \"web\" exceeded its progress deadline"),
        );
    }
}
