//! The rules of metadata and of the pod spec outside of containers.

use super::{Pod, base};
use crate::registry::kinds::testing::{check_create, rows};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

#[test]
fn metadata() {
    rows! { check_create(&Pod, &base());
        "metadata.name" = null => ["metadata.name: Required value: name or generateName is required"];
        "metadata.name" = "Web_1" => [&format!("metadata.name: Invalid value: \"Web_1\": {SUBDOMAIN}")];
        "metadata.name" = "a.b-c.1" => [];
        "metadata.generateName" = "web-" => [];
        "metadata.generateName" = "Web-" => [&format!("metadata.generateName: Invalid value: \"Web-\": {SUBDOMAIN}")];
        "metadata.namespace" = null => ["metadata.namespace: Required value"];
        "metadata.namespace" = "a.b" => ["metadata.namespace: Invalid value: \"a.b\": must not contain dots"];
        "metadata.generation" = (-1) => ["metadata.generation: Invalid value: -1: must be greater than or equal to 0"];
        "metadata.labels" = {"a/b": "c", "x": ""} => [];
        "metadata.labels" = {"-a": "b"} => [&format!("metadata.labels: Invalid value: \"-a\": {QUALIFIED}")];
        "metadata.labels" = {"a": "b!"} => [&format!("metadata.labels: Invalid value: \"b!\": {LABEL_VALUE}")];
        "metadata.annotations" = {"A/B": "any!"} => [];
        "metadata.annotations" = {"a b": ""} => [&format!("metadata.annotations: Invalid value: \"a b\": {QUALIFIED}")];
        "metadata.finalizers" = ["a.b/c", "foregroundDeletion"] => [];
        "metadata.finalizers" = ["mine"]
            => ["metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"];
        "metadata.finalizers" = ["orphan", "foregroundDeletion"]
            => ["metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer orphan and foregroundDeletion cannot be both set"];
        "metadata.ownerReferences.0" = {"apiVersion": "v1", "kind": "A", "name": "a", "uid": "u"} => [];
        "metadata.ownerReferences.0" = {"apiVersion": "", "kind": "A", "name": "a", "uid": ""}
            => ["metadata.ownerReferences[0].apiVersion: Invalid value: \"\": version must not be empty",
                "metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty"];
        "metadata.ownerReferences" = [
            {"apiVersion": "v1", "kind": "A", "name": "a", "uid": "u", "controller": true},
            {"apiVersion": "v1", "kind": "A", "name": "b", "uid": "v", "controller": true}]
            => ["metadata.ownerReferences: Invalid value: [{\"apiVersion\":\"v1\",\"controller\":true,\"kind\":\"A\",\"name\":\"a\",\"uid\":\"u\"},{\"apiVersion\":\"v1\",\"controller\":true,\"kind\":\"A\",\"name\":\"b\",\"uid\":\"v\"}]: Only one reference can have Controller set to true. Found \"true\" in references for a and b"];
        "metadata.annotations.controller~kubernetes~io/pod-deletion-cost" = "1" => [];
        "metadata.annotations.controller~kubernetes~io/pod-deletion-cost" = "+1"
            => ["metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer"];
        "metadata.annotations.kubernetes~io/config~mirror" = "x"
            => ["metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set"];
    }
    let much = "x".repeat(256 << 10);
    check_create(
        &Pod,
        &base(),
        &[("metadata.annotations.a", much.into())],
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
}

#[test]
fn simple_fields() {
    rows! { check_create(&Pod, &base());
        "spec.restartPolicy" = "Sometimes"
            => ["spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""];
        "spec.dnsPolicy" = "x"
            => ["spec.dnsPolicy: Unsupported value: \"x\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\""];
        "spec.dnsPolicy" = "None" => ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"];
        "spec.dnsPolicy" = "None", "spec.dnsConfig" = {"searches": ["a"]}
            => ["spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"];
        "spec.dnsConfig.nameservers" = ["1.1.1.1", "x"] => [&format!("spec.dnsConfig.nameservers[1]: Invalid value: \"x\": {IP}")];
        "spec.dnsConfig.nameservers" = ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]
            => ["spec.dnsConfig.nameservers: Invalid value: [\"1.1.1.1\",\"1.1.1.2\",\"1.1.1.3\",\"1.1.1.4\"]: must not have more than 3 nameservers"];
        "spec.dnsConfig" = {"searches": ["a.b.", "_x.y", "."], "options": [{"name": ""}]}
            => ["spec.dnsConfig.options[0]: Required value: must not be empty"];
        "spec.nodeSelector" = {"a": "b c"} => [&format!("spec.nodeSelector: Invalid value: \"b c\": {LABEL_VALUE}")];
        "spec.nodeName" = "Node" => [&format!("spec.nodeName: Invalid value: \"Node\": {SUBDOMAIN}")];
        "spec.serviceAccountName" = "A" => [&format!("spec.serviceAccountName: Invalid value: \"A\": {SUBDOMAIN}")];
        "spec.priorityClassName" = "A" => [&format!("spec.priorityClassName: Invalid value: \"A\": {SUBDOMAIN}")];
        "spec.runtimeClassName" = "A" => [&format!("spec.runtimeClassName: Invalid value: \"A\": {SUBDOMAIN}")];
        "spec.hostname" = "a.b" => ["spec.hostname: Invalid value: \"a.b\": must not contain dots"];
        "spec.subdomain" = "a.b" => ["spec.subdomain: Invalid value: \"a.b\": must not contain dots"];
        "spec.activeDeadlineSeconds" = 0
            => ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"];
        "spec.preemptionPolicy" = "x"
            => ["spec.preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\""];
        "spec.hostAliases.0" = {"ip": "1", "hostnames": ["A"]}
            => [&format!("spec.hostAliases[0].ip: Invalid value: \"1\": {IP}"),
                &format!("spec.hostAliases[0].hostnames[0]: Invalid value: \"A\": {SUBDOMAIN}")];
        "spec.readinessGates.0.conditionType" = "a b" => [&format!("spec.readinessGates[0].conditionType: Invalid value: \"a b\": {QUALIFIED}")];
        "spec.schedulingGates" = [{"name": "a"}, {"name": "a"}] => ["spec.schedulingGates[1]: Duplicate value: \"a\""];
        "spec.schedulingGates" = [{"name": "a"}], "spec.nodeName" = "n"
            => ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"];
        "spec.overhead.foo" = "1"
            => ["spec.overhead.limits[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
                "spec.overhead.limits[foo]: Invalid value: \"foo\": must be a standard resource for containers"];
        "spec.os.name" = "linux" => [];
        "spec.os.name" = "beos" => ["spec.os: Unsupported value: \"beos\": supported values: \"linux\", \"windows\""];
        "spec.os.name" = "windows", "spec.hostPID" = true => ["spec.hostPID: Forbidden: cannot be set for a windows pod"];
        "spec.os.name" = "linux", "spec.securityContext.windowsOptions.runAsUserName" = "a"
            => ["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"];
        "spec.hostUsers" = false, "spec.hostPID" = true => ["spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false"];
        "spec.shareProcessNamespace" = true, "spec.hostPID" = true
            => ["spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"];
        "spec.resourceClaims.0" = {"name": "c"}
            => ["spec.resourceClaims[0]: Invalid value: {\"name\":\"c\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"];
    }
}

#[test]
fn volumes() {
    const V: &str = "spec.volumes[0]";
    rows! { check_create(&Pod, &base());
        "spec.volumes.0" = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}} => [];
        "spec.volumes.0" = {"emptyDir": {}} => [&format!("{V}.name: Required value")];
        "spec.volumes.0" = {"name": "V"} => [&format!("{V}.name: Invalid value: \"V\": {LABEL}")];
        "spec.volumes" = [{"name": "v"}, {"name": "v"}] => ["spec.volumes[1].name: Duplicate value: \"v\""];
        "spec.volumes.0" = {"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}
            => [&format!("{V}.secret: Forbidden: may not specify more than 1 volume type")];
        "spec.volumes.0" = {"name": "v", "secret": {}} => [&format!("{V}.secret.secretName: Required value")];
        "spec.volumes.0" = {"name": "v", "configMap": {"name": "c", "defaultMode": 512}}
            => [&format!("{V}.configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive")];
        "spec.volumes.0" = {"name": "v", "configMap": {"name": "c", "items": [{"key": "", "path": "../x"}]}}
            => [&format!("{V}.configMap.items[0].key: Required value"),
                &format!("{V}.configMap.items[0].path: Invalid value: \"../x\": must not contain '..'")];
        "spec.volumes.0" = {"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "..x"}]}}
            => [&format!("{V}.configMap.items[0].path: Invalid value: \"..x\": must not start with '..'")];
        "spec.volumes.0" = {"name": "v", "hostPath": {}} => [&format!("{V}.hostPath.path: Required value")];
        "spec.volumes.0" = {"name": "v", "hostPath": {"path": "/a/..", "type": "x"}}
            => [&format!("{V}.hostPath.path: Invalid value: \"/a/..\": must not contain '..'"),
                &format!("{V}.hostPath.type: Unsupported value: \"x\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"")];
        "spec.volumes.0" = {"name": "v", "persistentVolumeClaim": {}} => [&format!("{V}.persistentVolumeClaim.claimName: Required value")];
        "spec.volumes.0" = {"name": "v", "nfs": {"server": "s", "path": "p"}} => [&format!("{V}.nfs.path: Invalid value: \"p\": must be an absolute path")];
        "spec.volumes.0" = {"name": "v", "downwardAPI": {"items": [{"path": "p"}]}}
            => [&format!("{V}.downwardAPI: Required value: one of fieldRef and resourceFieldRef is required")];
        "spec.volumes.0" = {"name": "v", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.nodeName"}}]}}
            => [&format!("{V}.downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"")];
        "spec.volumes.0" = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}},
            "spec.serviceAccountName" = "a"
            => [&format!("{V}.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes")];
        "spec.volumes.0" = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
            => [&format!("{V}.projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set")];
        "spec.volumes.0" = {"name": "v", "projected": {"sources": [
            {"configMap": {"name": "a", "items": [{"key": "k", "path": "p"}]}}, {"secret": {"name": "b", "items": [{"key": "k", "path": "p"}]}}]}}
            => [&format!("{V}.projected: Invalid value: \"b\": conflicting duplicate paths")];
    }
}

#[test]
fn scheduling() {
    const REQUIRED: &str =
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
    const T: &str = "spec.tolerations[0]";
    rows! { check_create(&Pod, &base());
        "spec.tolerations.0" = {"operator": "Exists"} => [];
        "spec.tolerations.0" = {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5} => [];
        "spec.tolerations.0" = {"value": "b"}
            => [&format!("{T}.operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"")];
        "spec.tolerations.0" = {"key": "a", "operator": "In"}
            => [&format!("{T}.operator: Unsupported value: \"In\": supported values: \"Equal\", \"Exists\"")];
        "spec.tolerations.0" = {"key": "a", "operator": "Exists", "value": "x"}
            => [&format!("{T}.operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'")];
        "spec.tolerations.0" = {"key": "a", "effect": "x"}
            => [&format!("{T}.effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"")];
        "spec.tolerations.0" = {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}
            => [&format!("{T}.effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set")];
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution" = {"nodeSelectorTerms": []}
            => [&format!("{REQUIRED}.nodeSelectorTerms: Required value: must have at least one node selector term")];
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.0.matchExpressions.0" = {"key": "a", "operator": "In"}
            => [&format!("{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'")];
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.0.matchExpressions.0" = {"key": "a", "operator": "Near"}
            => [&format!("{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator")];
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.0.matchExpressions.0" = {"key": "a", "operator": "Gt", "values": ["1", "2"]}
            => [&format!("{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'")];
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.0.matchFields.0" = {"key": "metadata.uid", "operator": "In", "values": ["a"]}
            => [&format!("{REQUIRED}.nodeSelectorTerms[0].matchFields[0].key: Invalid value: \"metadata.uid\": not a valid field selector key")];
        "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution.0" = {"weight": 101, "preference": {}}
            => ["spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100"];
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution.0" = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}} => [];
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution.0" = {"topologyKey": "z", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}}
            => ["spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'"];
        "spec.topologySpreadConstraints.0" = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"} => [];
        "spec.topologySpreadConstraints.0" = {"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "x"}
            => ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"x\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\""];
        "spec.topologySpreadConstraints" = [
            {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}, {"maxSkew": 2, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]
            => ["spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, DoNotSchedule}\""];
        "spec.topologySpreadConstraints.0" = {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 1}
            => ["spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"];
    }
}
