//! The rules of containers.

use super::{Pod, base};
use crate::registry::kinds::testing::{check_create, rows};

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const PORT: &str = "must be between 1 and 65535, inclusive";

#[test]
fn names_and_images() {
    rows! { check_create(&Pod, &base());
        => [];
        "spec.containers" = [] => ["spec.containers: Required value"];
        "spec.containers.0.name" = null => ["spec.containers[0].name: Required value"];
        "spec.containers.0.name" = "Web" => [&format!("spec.containers[0].name: Invalid value: \"Web\": {LABEL}")];
        "spec.containers.0.name" = "a.b" => ["spec.containers[0].name: Invalid value: \"a.b\": must not contain dots"];
        "spec.containers.0.name" = "a123456789012345678901234567890123456789012345678901234567890123"
            => ["spec.containers[0].name: Invalid value: \"a123456789012345678901234567890123456789012345678901234567890123\": must be no more than 63 bytes"];
        "spec.containers.0.image" = "" => ["spec.containers[0].image: Required value"];
        "spec.containers.0.image" = " nginx" => ["spec.containers[0].image: Invalid value: \" nginx\": must not have leading or trailing whitespace"];
        "spec.containers.1" = {"name": "nginx", "image": "x"} => ["spec.containers[1].name: Duplicate value: \"nginx\""];
        "spec.initContainers.0" = {"name": "nginx", "image": "x"} => ["spec.initContainers[0].name: Duplicate value: \"nginx\""];
        "spec.containers.0.imagePullPolicy" = "Sometimes"
            => ["spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\""];
        "spec.containers.0.terminationMessagePolicy" = "x"
            => ["spec.containers[0].terminationMessagePolicy: Unsupported value: \"x\": supported values: \"File\", \"FallbackToLogsOnError\""];
        "spec.containers.0.restartPolicy" = "Always" => [];
        "spec.containers.0.restartPolicy" = "x"
            => ["spec.containers[0].restartPolicy: Unsupported value: \"x\": supported values: \"Always\", \"Never\", \"OnFailure\""];
        "spec.ephemeralContainers.0" = {"name": "e", "image": "x"} => ["spec.ephemeralContainers: Forbidden: cannot be set on create"];
        "spec.ephemeralContainers.0" = {"name": "e", "image": "x", "targetContainerName": "z", "ports": [{"containerPort": 1}]}
            => ["spec.ephemeralContainers[0].targetContainerName: Not found: \"z\"",
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
                "spec.ephemeralContainers: Forbidden: cannot be set on create"];
    }
}

#[test]
fn ports() {
    rows! { check_create(&Pod, &base());
        "spec.containers.0.ports.0.containerPort" = 0 => ["spec.containers[0].ports[0].containerPort: Required value"];
        "spec.containers.0.ports.0.containerPort" = 65535 => [];
        "spec.containers.0.ports.0.containerPort" = 70000
            => [&format!("spec.containers[0].ports[0].containerPort: Invalid value: 70000: {PORT}")];
        "spec.containers.0.ports.0.containerPort" = (-1)
            => [&format!("spec.containers[0].ports[0].containerPort: Invalid value: -1: {PORT}")];
        "spec.containers.0.ports.0" = {"containerPort": 80, "hostPort": 99999}
            => [&format!("spec.containers[0].ports[0].hostPort: Invalid value: 99999: {PORT}")];
        "spec.containers.0.ports.0" = {"containerPort": 80, "protocol": "tcp"}
            => ["spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\""];
        "spec.containers.0.ports.0" = {"containerPort": 80, "name": "80"}
            => ["spec.containers[0].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)"];
        "spec.containers.0.ports.0" = {"containerPort": 80, "name": "a-name-longer-than-it-may-be"}
            => ["spec.containers[0].ports[0].name: Invalid value: \"a-name-longer-than-it-may-be\": must be no more than 15 bytes"];
        "spec.containers.0.ports.0" = {"containerPort": 80, "name": "a--b"}
            => ["spec.containers[0].ports[0].name: Invalid value: \"a--b\": must not contain consecutive hyphens"];
        "spec.containers.0.ports" = [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]
            => ["spec.containers[0].ports[1].name: Duplicate value: \"a\""];
        "spec.containers.0.ports" = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}]
            => ["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//8080\""];
        "spec.containers.0.ports" = [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}] => [];
        "spec.containers.1" = {"name": "b", "image": "x", "ports": [{"containerPort": 1, "hostPort": 1}]},
            "spec.containers.0.ports.0" = {"containerPort": 2, "hostPort": 1}
            => ["spec.containers[1].ports[0].hostPort: Duplicate value: \"TCP//1\""];
        "spec.hostNetwork" = true, "spec.containers.0.ports.0" = {"containerPort": 80, "hostPort": 81}
            => ["spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"];
    }
}

#[test]
fn environment() {
    rows! { check_create(&Pod, &base());
        "spec.containers.0.env.0.name" = "" => ["spec.containers[0].env[0].name: Required value"];
        "spec.containers.0.env.0.name" = "a b.c" => [];
        "spec.containers.0.env.0.name" = "a=b"
            => ["spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='"];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {}}
            => ["spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"];
        "spec.containers.0.env.0" = {"name": "a", "value": "b", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
            => ["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}, "configMapKeyRef": {"name": "s", "key": "k"}}}
            => ["spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not have more than one field specified at a time"];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"secretKeyRef": {"name": "S", "key": ""}}}
            => [&format!("spec.containers[0].env[0].valueFrom.secretKeyRef.name: Invalid value: \"S\": {SUBDOMAIN}"),
                "spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value"];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}} => [];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}} => [];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": ""}}}
            => ["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Required value"];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.whoops"}}}
            => ["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"metadata.whoops\": error converting fieldPath: field label not supported: metadata.whoops"];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "status.phase"}}}
            => ["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}
            => ["spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\""];
        "spec.containers.0.env.0" = {"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "2"}}}
            => ["spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"];
        "spec.containers.0.envFrom.0" = {} => ["spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"];
        "spec.containers.0.envFrom.0.configMapRef" = {} => ["spec.containers[0].envFrom[0].configMapRef.name: Required value"];
        "spec.containers.0.envFrom.0" = {"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}
            => ["spec.containers[0].envFrom: Invalid value: \"\": may not have more than one field specified at a time"];
    }
}

#[test]
fn probes() {
    const P: &str = "spec.containers[0].livenessProbe";
    rows! { check_create(&Pod, &base());
        "spec.containers.0.livenessProbe.httpGet.port" = 80 => [];
        "spec.containers.0.livenessProbe.httpGet.port" = "http" => [];
        "spec.containers.0.livenessProbe" = {} => [&format!("{P}: Required value: must specify a handler type")];
        "spec.containers.0.livenessProbe" = {"exec": {"command": ["a"]}, "httpGet": {"port": 80}}
            => [&format!("{P}.httpGet: Forbidden: may not specify more than 1 handler type")];
        "spec.containers.0.livenessProbe.exec" = {} => [&format!("{P}.exec.command: Required value")];
        "spec.containers.0.livenessProbe.httpGet.port" = 0 => [&format!("{P}.httpGet.port: Invalid value: 0: {PORT}")];
        "spec.containers.0.livenessProbe.tcpSocket.port" = 70000 => [&format!("{P}.tcpSocket.port: Invalid value: 70000: {PORT}")];
        "spec.containers.0.livenessProbe.grpc.port" = 0 => [&format!("{P}.grpc.port: Invalid value: 0: {PORT}")];
        "spec.containers.0.livenessProbe.httpGet.port" = "HTTP_"
            => [&format!("{P}.httpGet.port: Invalid value: \"HTTP_\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"),
                &format!("{P}.httpGet.port: Invalid value: \"HTTP_\": must contain at least one letter (a-z)")];
        "spec.containers.0.livenessProbe.httpGet" = {"port": 80, "scheme": "FTP"}
            => [&format!("{P}.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\"")];
        "spec.containers.0.livenessProbe" = {"httpGet": {"port": 80}, "periodSeconds": (-1)}
            => [&format!("{P}.periodSeconds: Invalid value: -1: must be greater than or equal to 0")];
        "spec.containers.0.livenessProbe" = {"httpGet": {"port": 80}, "successThreshold": 2}
            => [&format!("{P}.successThreshold: Invalid value: 2: must be 1")];
        "spec.containers.0.livenessProbe" = {"httpGet": {"port": 80}, "terminationGracePeriodSeconds": 0}
            => [&format!("{P}.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0")];
        "spec.containers.0.readinessProbe" = {"httpGet": {"port": 80}, "successThreshold": 2} => [];
        "spec.containers.0.readinessProbe" = {"httpGet": {"port": 80}, "terminationGracePeriodSeconds": 1}
            => ["spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes"];
        "spec.containers.0.startupProbe" = {"tcpSocket": {"port": 80}, "successThreshold": 2}
            => ["spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1"];
        "spec.containers.0.lifecycle.preStop.sleep.seconds" = 5 => [];
        "spec.containers.0.lifecycle.preStop.sleep.seconds" = 31
            => ["spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"];
        "spec.containers.0.lifecycle.postStart" = {}
            => ["spec.containers[0].lifecycle.postStart: Required value: must specify a handler type"];
        "spec.initContainers.0" = {"name": "i", "image": "x", "livenessProbe": {"tcpSocket": {"port": 1}}}
            => ["spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"];
        "spec.initContainers.0" = {"name": "i", "image": "x", "restartPolicy": "Always", "livenessProbe": {"tcpSocket": {"port": 1}}} => [];
    }
}

#[test]
fn resources() {
    const R: &str = "spec.containers[0].resources";
    rows! { check_create(&Pod, &base());
        "spec.containers.0.resources.limits" = {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"} => [];
        "spec.containers.0.resources.limits.cpu" = "much"
            => [&format!("{R}.limits[cpu]: Invalid value: \"much\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
                &format!("{R}.requests[cpu]: Invalid value: \"much\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")];
        "spec.containers.0.resources.requests.cpu" = "-1"
            => [&format!("{R}.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to 0")];
        "spec.containers.0.resources" = {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}
            => [&format!("{R}.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1")];
        "spec.containers.0.resources.requests.foo" = "1"
            => [&format!("{R}.requests[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified"),
                &format!("{R}.requests[foo]: Invalid value: \"foo\": must be a standard resource for containers")];
        "spec.containers.0.resources.requests.pods" = "1"
            => [&format!("{R}.requests[pods]: Invalid value: \"pods\": must be a standard resource for containers")];
        "spec.containers.0.resources.requests.example~com/gpu" = "1"
            => [&format!("{R}.limits: Required value: Limit must be set for non overcommitable resources")];
        "spec.containers.0.resources.limits.example~com/gpu" = "1" => [];
        "spec.containers.0.resources.limits.example~com/gpu" = "1500m"
            => [&format!("{R}.limits[example.com/gpu]: Invalid value: \"1500m\": must be an integer"),
                &format!("{R}.requests[example.com/gpu]: Invalid value: \"1500m\": must be an integer")];
        "spec.containers.0.resources" = {"limits": {"example.com/gpu": "2"}, "requests": {"example.com/gpu": "1"}}
            => [&format!("{R}.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2")];
        "spec.containers.0.resources.limits.hugepages-2Mi" = "4Mi" => [&format!("{R}: Forbidden: HugePages require cpu or memory")];
        "spec.containers.0.resources.limits" = {"hugepages-2Mi": "3Mi", "cpu": "1"}
            => [&format!("{R}.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"),
                &format!("{R}.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi")];
        "spec.containers.0.resources.claims.0.name" = "c"
            => [&format!("{R}.claims[0]: Not found: \"c\": must be one of the names in pod.spec.resourceClaims which is empty")];
        "spec.containers.0.resizePolicy.0" = {"resourceName": "disk", "restartPolicy": "NotRequired"}
            => ["spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\""];
    }
}

#[test]
fn mounts() {
    const M: &str = "spec.containers[0].volumeMounts";
    rows! { check_create(&Pod, &base());
        "spec.containers.0.volumeMounts.0" = {"name": "v", "mountPath": "/v"} => [&format!("{M}[0].name: Not found: \"v\"")];
        "spec.containers.0.volumeMounts.0" = {"name": "v", "mountPath": "/v"}, "spec.volumes.0.name" = "v" => [];
        "spec.containers.0.volumeMounts.0" = {"name": "v"}, "spec.volumes.0.name" = "v" => [&format!("{M}[0].mountPath: Required value")];
        "spec.containers.0.volumeMounts" = [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}], "spec.volumes.0.name" = "v"
            => [&format!("{M}[1].mountPath: Invalid value: \"/v\": must be unique")];
        "spec.containers.0.volumeMounts.0" = {"name": "v", "mountPath": "/v", "subPath": "/a"}, "spec.volumes.0.name" = "v"
            => [&format!("{M}.subPath: Invalid value: \"/a\": must be a relative path")];
        "spec.containers.0.volumeMounts.0" = {"name": "v", "mountPath": "/v", "subPath": "a/../b"}, "spec.volumes.0.name" = "v"
            => [&format!("{M}.subPath: Invalid value: \"a/../b\": must not contain '..'")];
        "spec.containers.0.volumeMounts.0" = {"name": "v", "mountPath": "/v", "subPath": "a", "subPathExpr": "b"}, "spec.volumes.0.name" = "v"
            => [&format!("{M}[0].subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive")];
        "spec.containers.0.volumeMounts.0" = {"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}, "spec.volumes.0.name" = "v"
            => [&format!("{M}.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers")];
        "spec.containers.0.volumeMounts.0" = {"name": "v", "mountPath": "/v", "recursiveReadOnly": "Enabled"}, "spec.volumes.0.name" = "v"
            => [&format!("{M}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true")];
        "spec.containers.0.volumeDevices.0" = {"name": "v", "devicePath": "/v"}, "spec.volumes.0.name" = "v"
            => ["spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"];
    }
}

#[test]
fn security_contexts() {
    const S: &str = "spec.containers[0].securityContext";
    rows! { check_create(&Pod, &base());
        "spec.containers.0.securityContext.runAsUser" = (-1)
            => [&format!("{S}.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive")];
        "spec.containers.0.securityContext.procMount" = "x"
            => [&format!("{S}.procMount: Unsupported value: \"x\": supported values: \"Default\", \"Unmasked\"")];
        "spec.containers.0.securityContext.procMount" = "Unmasked"
            => [&format!("{S}.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`")];
        "spec.containers.0.securityContext" = {"privileged": true, "allowPrivilegeEscalation": false}
            => [&format!("{S}: Invalid value: {{\"allowPrivilegeEscalation\":false,\"privileged\":true}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true")];
        "spec.containers.0.securityContext.seccompProfile" = {} => [&format!("{S}.seccompProfile.type: Required value: type is required when seccompProfile is set")];
        "spec.containers.0.securityContext.seccompProfile.type" = "Localhost"
            => [&format!("{S}.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost")];
        "spec.containers.0.securityContext.appArmorProfile.type" = "x"
            => [&format!("{S}.appArmorProfile.type: Unsupported value: \"x\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"")];
        "spec.securityContext.fsGroup" = (-5) => ["spec.securityContext.fsGroup: Invalid value: -5: must be between 0 and 4294967295, inclusive"];
        "spec.securityContext.sysctls.0.name" = "Net/x"
            => ["spec.securityContext.sysctls[0].name: Invalid value: \"Net/x\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"];
        "spec.securityContext.fsGroupChangePolicy" = "x"
            => ["spec.securityContext.fsGroupChangePolicy: Unsupported value: \"x\": supported values: \"Always\", \"OnRootMismatch\""];
    }
}
