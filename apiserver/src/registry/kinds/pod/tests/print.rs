//! The word in the STATUS column, and the other cells.

use serde_json::{Value, json};

use super::Pod;
use crate::registry::kinds::testing::{cells, check_row};

fn running() -> Value {
    json!({
        "metadata": {"name": "web", "creationTimestamp": "2026-05-01T11:55:00Z"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "a"}, {"name": "b"}]},
        "status": {
            "phase": "Running", "podIPs": [{"ip": "10.244.1.2"}],
            "containerStatuses": [
                {"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}},
                {"name": "b", "ready": true, "restartCount": 0, "state": {"running": {}}},
            ],
        },
    })
}

fn initializing() -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}, {"name": "j"}]},
        "status": {"phase": "Pending", "initContainerStatuses": [
            {"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 0}}},
            {"name": "j", "restartCount": 3, "state": {"waiting": {"reason": "PodInitializing"}}},
        ]},
    })
}

#[test]
fn pods_of_running_containers() {
    const TAIL: &str = "5m|10.244.1.2|node-1|<none>|<none>";
    assert_eq!(TAIL.split('|').count(), 5);
    cells! { &Pod, &running();
        => "web|2/2|Running|0|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.1.ready" = false => "web|1/2|Running|0|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.0.restartCount" = 3 => "web|2/2|Running|3|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.0" = {"name": "a", "ready": true, "restartCount": 3, "state": {"running": {}},
            "lastState": {"terminated": {"finishedAt": "2026-05-01T11:58:00Z"}}}
            => "web|2/2|Running|3 (2m ago)|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.0" = {"name": "a", "ready": false, "restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
            => "web|1/2|CrashLoopBackOff|1|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.0.state" = {"terminated": {"exitCode": 1}}
            => "web|1/2|ExitCode:1|0|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.0.state" = {"terminated": {"exitCode": 137, "signal": 9}}
            => "web|1/2|Signal:9|0|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.0.state" = {"terminated": {"exitCode": 1, "reason": "Error"}}
            => "web|1/2|Error|0|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.0.state" = {"terminated": {"exitCode": 0, "reason": "Completed"}}
            => "web|1/2|NotReady|0|5m|10.244.1.2|node-1|<none>|<none>";
        "status.containerStatuses.0.state" = {"terminated": {"exitCode": 0, "reason": "Completed"}},
            "status.conditions.0" = {"type": "Ready", "status": "True"}
            => "web|1/2|Running|0|5m|10.244.1.2|node-1|<none>|<none>";
        "metadata.deletionTimestamp" = "2026-05-01T12:00:00Z" => "web|2/2|Terminating|0|5m|10.244.1.2|node-1|<none>|<none>";
        "metadata.deletionTimestamp" = "2026-05-01T12:00:00Z", "status.reason" = "NodeLost"
            => "web|2/2|Unknown|0|5m|10.244.1.2|node-1|<none>|<none>";
        "status.reason" = "Evicted", "status.phase" = "Failed", "status.containerStatuses" = []
            => "web|0/2|Evicted|0|5m|10.244.1.2|node-1|<none>|<none>";
        "spec.readinessGates" = [{"conditionType": "x/y"}, {"conditionType": "z"}], "status.conditions.0" = {"type": "z", "status": "True"}
            => "web|2/2|Running|0|5m|10.244.1.2|node-1|<none>|1/2";
    }
}

#[test]
fn pods_that_do_not_run_yet() {
    cells! { &Pod, &json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Pending"}});
        => "web|0/1|Pending|0|<unknown>|<none>|<none>|<none>|<none>";
        "status.conditions.0" = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
            => "web|0/1|SchedulingGated|0|<unknown>|<none>|<none>|<none>|<none>";
        "status.containerStatuses.0" = {"name": "a", "state": {"waiting": {"reason": "ContainerCreating"}}}
            => "web|0/1|ContainerCreating|0|<unknown>|<none>|<none>|<none>|<none>";
        "status.containerStatuses.0" = {"name": "a", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
            => "web|0/1|ImagePullBackOff|0|<unknown>|<none>|<none>|<none>|<none>";
        "status.phase" = "Succeeded", "status.containerStatuses.0" = {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
            => "web|0/1|Completed|0|<unknown>|<none>|<none>|<none>|<none>";
        "status.nominatedNodeName" = "n" => "web|0/1|Pending|0|<unknown>|<none>|<none>|n|<none>";
    }
}

#[test]
fn pods_that_initialize() {
    cells! { &Pod, &initializing();
        => "web|0/1|Init:1/2|5|<unknown>|<none>|<none>|<none>|<none>";
        "status.initContainerStatuses.1.state" = {"waiting": {"reason": "CrashLoopBackOff"}}
            => "web|0/1|Init:CrashLoopBackOff|5|<unknown>|<none>|<none>|<none>|<none>";
        "status.initContainerStatuses.1.state" = {"terminated": {"exitCode": 3, "reason": "Error"}}
            => "web|0/1|Init:Error|5|<unknown>|<none>|<none>|<none>|<none>";
        "status.initContainerStatuses.1.state" = {"terminated": {"exitCode": 3}}
            => "web|0/1|Init:ExitCode:3|5|<unknown>|<none>|<none>|<none>|<none>";
        "status.initContainerStatuses.1.state" = {"terminated": {"exitCode": 3, "signal": 15}}
            => "web|0/1|Init:Signal:15|5|<unknown>|<none>|<none>|<none>|<none>";
        "status.initContainerStatuses.1.state" = {"terminated": {"exitCode": 0}},
            "status.containerStatuses.0" = {"name": "a", "ready": true, "restartCount": 1, "state": {"running": {}}}, "status.phase" = "Running"
            => "web|1/1|Running|1|<unknown>|<none>|<none>|<none>|<none>";
        "spec.initContainers.1.restartPolicy" = "Always",
            "status.initContainerStatuses.1" = {"name": "j", "restartCount": 4, "started": true, "ready": true, "state": {"running": {}}},
            "status.containerStatuses.0" = {"name": "a", "ready": true, "restartCount": 1, "state": {"running": {}}}, "status.phase" = "Running"
            => "web|2/2|Running|5|<unknown>|<none>|<none>|<none>|<none>";
    }
}
