//! Pods: defaults, rules, updates, warnings.

mod containers;
mod print;
mod spec;
mod updates;

use serde_json::{Value, json};

use super::{Pod, qos};
use crate::registry::kinds::testing::{
    check_default, check_warnings, created, defaults, edited, rows,
};

/// A pod as a user writes it.
fn base() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [{"name": "nginx", "image": "nginx"}]},
    })
}

#[test]
fn what_is_left_out_is_filled_in() {
    defaults! { &Pod, &base();
        "metadata.creationTimestamp" = null => "metadata" = {"name": "web", "namespace": "default"};
        "status" = {} => "spec" = {
            "containers": [{
                "name": "nginx", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        };
        "spec.terminationGracePeriodSeconds" = 0 => "spec.terminationGracePeriodSeconds" = 0;
        "spec.enableServiceLinks" = false => "spec.enableServiceLinks" = false;
        "spec.hostNetwork" = false, "spec.nodeName" = "" => "spec.hostNetwork" = null, "spec.nodeName" = null;
        "spec.serviceAccountName" = "a" => "spec.serviceAccount" = "a";
        "spec.serviceAccount" = "b" => "spec.serviceAccountName" = "b";
        "spec.serviceAccountName" = "a", "spec.serviceAccount" = "b" => "spec.serviceAccount" = "a";
        "spec.volumes.0.name" = "v" => "spec.volumes.0" = {"name": "v", "emptyDir": {}};
        "spec.volumes.0.emptyDir" = {"medium": "", "sizeLimit": "1024Mi"} => "spec.volumes.0.emptyDir" = {"sizeLimit": "1Gi"};
        "spec.volumes.0.secret.secretName" = "s" => "spec.volumes.0.secret.defaultMode" = 420;
        "spec.volumes.0.configMap" = {"name": "c", "defaultMode": 256} => "spec.volumes.0.configMap.defaultMode" = 256;
        "spec.volumes.0.downwardAPI.items.0.fieldRef.fieldPath" = "metadata.name"
            => "spec.volumes.0.downwardAPI.defaultMode" = 420, "spec.volumes.0.downwardAPI.items.0.fieldRef.apiVersion" = "v1";
        "spec.volumes.0.projected.sources.0.serviceAccountToken.path" = "token"
            => "spec.volumes.0.projected" = {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]};
        "spec.volumes.0.hostPath.path" = "/x" => "spec.volumes.0.hostPath.type" = "";
        "spec.volumes.0.image.reference" = "x:1" => "spec.volumes.0.image.pullPolicy" = "IfNotPresent";
        "status.podIP" = "1.1.1.1" => "status.podIPs" = [{"ip": "1.1.1.1"}];
        "status.podIPs.0.ip" = "1.1.1.1" => "status.podIP" = "1.1.1.1";
        "status" = {"podIP": "1.1.1.1", "podIPs": [{"ip": "2.2.2.2"}]} => "status.podIPs" = [{"ip": "1.1.1.1"}];
        "spec.overhead.cpu" = "0.25" => "spec.overhead.cpu" = "250m";
    }
}

#[test]
fn containers_are_filled_in() {
    defaults! { &Pod, &base();
        "spec.containers.0.image" = "nginx:1.27" => "spec.containers.0.imagePullPolicy" = "IfNotPresent";
        "spec.containers.0.image" = "nginx:latest" => "spec.containers.0.imagePullPolicy" = "Always";
        "spec.containers.0.image" = "host:5000/a/nginx" => "spec.containers.0.imagePullPolicy" = "Always";
        "spec.containers.0.image" = "host:5000/a/nginx:2" => "spec.containers.0.imagePullPolicy" = "IfNotPresent";
        "spec.containers.0.image" = "nginx@sha256:0000" => "spec.containers.0.imagePullPolicy" = "IfNotPresent";
        "spec.containers.0.imagePullPolicy" = "Never" => "spec.containers.0.imagePullPolicy" = "Never";
        "spec.containers.0.ports.0.containerPort" = 80 => "spec.containers.0.ports.0" = {"containerPort": 80, "protocol": "TCP"};
        "spec.containers.0.ports.0" = {"containerPort": 53, "protocol": "UDP", "hostPort": 0}
            => "spec.containers.0.ports.0" = {"containerPort": 53, "protocol": "UDP"};
        "spec.hostNetwork" = true, "spec.containers.0.ports.0.containerPort" = 80 => "spec.containers.0.ports.0.hostPort" = 80;
        "spec.containers.0.resources.limits" = {"cpu": 1, "memory": "1048576Ki"}
            => "spec.containers.0.resources" = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}};
        "spec.containers.0.resources" = {"limits": {"cpu": "2"}, "requests": {"cpu": "0.5", "memory": "1.5Gi"}}
            => "spec.containers.0.resources" = {"limits": {"cpu": "2"}, "requests": {"cpu": "500m", "memory": "1536Mi"}};
        "spec.containers.0.resources.requests.cpu" = "0.1234567" => "spec.containers.0.resources.requests.cpu" = "124m";
        "spec.containers.0.livenessProbe.httpGet.port" = 80 => "spec.containers.0.livenessProbe" = {
            "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
            "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1,
        };
        "spec.containers.0.readinessProbe" = {"grpc": {"port": 1}, "periodSeconds": 5, "initialDelaySeconds": 0}
            => "spec.containers.0.readinessProbe" = {
            "grpc": {"port": 1, "service": ""},
            "failureThreshold": 3, "periodSeconds": 5, "successThreshold": 1, "timeoutSeconds": 1,
        };
        "spec.containers.0.lifecycle.preStop.httpGet.port" = 80 => "spec.containers.0.lifecycle.preStop.httpGet.path" = "/";
        "spec.containers.0.env.0" = {"name": "A", "value": ""} => "spec.containers.0.env.0" = {"name": "A"};
        "spec.containers.0.env.0.valueFrom.fieldRef.fieldPath" = "metadata.name"
            => "spec.containers.0.env.0.valueFrom.fieldRef.apiVersion" = "v1";
        "spec.containers.0.env.0.valueFrom.resourceFieldRef.resource" = "limits.cpu"
            => "spec.containers.0.env.0.valueFrom.resourceFieldRef.divisor" = "0";
        "spec.initContainers.0" = {"name": "i", "image": "a:1"} => "spec.initContainers.0.imagePullPolicy" = "IfNotPresent";
        "spec.containers.0.tty" = false, "spec.containers.0.stdin" = true
            => "spec.containers.0.tty" = null, "spec.containers.0.stdin" = true;
    }
}

#[test]
fn the_server_owns_the_status() {
    let pod =
        created(&Pod, &base(), &[("status", json!({"phase": "Running", "podIP": "1.2.3.4"}))]);
    assert_eq!(pod.get(&["status"]), Some(&json!({"phase": "Pending", "qosClass": "BestEffort"})));
    let gated = created(&Pod, &base(), &[("spec.schedulingGates.0.name", json!("a.b/c"))]);
    assert_eq!(gated.get_list(&["status", "conditions"])[0]["reason"], "SchedulingGated");
}

#[test]
fn quality_of_service_follows_requests_and_limits() {
    let check = |resources: Value, expected: &str| {
        let pod = edited(&base(), &[("spec.containers.0.resources", resources.clone())]);
        assert_eq!(qos::class(&pod), expected, "{resources}");
    };
    let all = json!({"cpu": "1", "memory": "1Gi"});
    check(json!({}), "BestEffort");
    check(json!({"requests": {"cpu": "0"}}), "BestEffort");
    check(json!({"requests": {"example.com/gpu": "1"}}), "BestEffort");
    check(json!({"requests": all, "limits": all}), "Guaranteed");
    check(json!({"requests": {"cpu": "1"}}), "Burstable");
    check(json!({"limits": all}), "Burstable");
    check(json!({"requests": all, "limits": {"cpu": "2", "memory": "1Gi"}}), "Burstable");
    check(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}), "Burstable");
    let mut two = base();
    two["spec"]["containers"][0]["resources"] = json!({"requests": all, "limits": all});
    two["spec"]["initContainers"] = json!([{"name": "i"}]);
    assert_eq!(qos::class(&edited(&two, &[])), "Burstable");
}

#[test]
fn warnings_name_what_is_deprecated_or_without_effect() {
    let effect =
        |field: &str, why: &str| format!("spec.{field}: has no effect in kube-mini: {why}");
    rows! { check_warnings(&Pod, &base());
        => [];
        "metadata.name" = "a.b"
            => ["metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]"];
        "metadata.uid" = "u", "spec.hostPID" = true => [];
        "spec.hostPID" = true => [&effect("hostPID", "containers are no processes of the host")];
        "spec.hostPID" = false => [];
        "spec.hostNetwork" = true => [];
        "spec.dnsConfig.searches.0" = "a.b" => [&effect("dnsConfig", "names are resolved by the pod's hosts file")];
        "spec.securityContext.fsGroup" = 1 => [&effect("securityContext", "containers are no processes of the host")];
        "spec.containers.0.env.0" = {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}
            => [&effect("containers[0].env[0].valueFrom.fileKeyRef", "variables are not read from files")];
        "spec.containers.0.ports.0" = {"containerPort": 80, "hostPort": 80} => [];
        "spec.containers.0.securityContext.runAsUser" = 0
            => [&effect("containers[0].securityContext", "containers are no processes of the host")];
        "spec.volumes.0" = {"name": "v", "hostPath": {"path": "/"}}
            => ["spec.volumes[0].hostPath: cannot be mounted in kube-mini: a pod with this volume does not start"];
        "spec.volumes.0" = {"name": "v", "emptyDir": {}} => [];
        "spec.volumes.0" = {"name": "v", "gitRepo": {"repository": "x"}}
            => ["spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"];
        "spec.nodeSelector.beta~kubernetes~io/os" = "linux"
            => ["spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"];
        "metadata.annotations.scheduler~alpha~kubernetes~io/critical-pod" = ""
            => ["metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead"];
        "spec.containers.0.env" = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
            => ["spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply"];
        "spec.containers.0.env" = [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}] => [];
        "spec.containers.0.resources.requests.memory" = "100m"
            => ["spec.containers[0].resources.requests[memory]: fractional byte value \"100m\" is invalid, must be an integer"];
        "spec.containers.0.ports" = [{"containerPort": 80}, {"containerPort": 80}]
            => ["spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"];
        "spec.containers.0.ports" = [{"containerPort": 80}, {"containerPort": 80, "hostPort": 1}]
            => ["spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]"];
        "spec.containers.0.ports" = [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}] => [];
        "spec.hostAliases" = [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}] => ["spec.hostAliases[1].ip: duplicate ip \"1.1.1.1\""];
        "spec.terminationGracePeriodSeconds" = (-1)
            => ["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"];
    }
}
