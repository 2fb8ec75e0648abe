//! Requests as they are meant: what is changed into what is not.

use serde_json::{Value, json};

use super::wire::{Connection, Request};

/// A kind: its collection, and an object of it.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) collection: &'static str,
    pub(crate) object: &'static str,
}

const fn kind(collection: &'static str, object: &'static str) -> Kind {
    Kind { collection, object }
}

/// A kind of every form.
pub(crate) const KINDS: &[Kind] = &[
    kind(
        "/api/v1/namespaces/fuzz/configmaps",
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","labels":{"a":"b"},"annotations":{"x":"y"}},"data":{"k":"v"},"binaryData":{"b":"AAEC"},"immutable":false}"#,
    ),
    kind(
        "/api/v1/namespaces/fuzz/secrets",
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"type":"Opaque","stringData":{"k":"v"},"data":{"c":"AAEC"}}"#,
    ),
    kind(
        "/api/v1/namespaces/fuzz/pods",
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"app":"a"},"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"a","uid":"u"}],"finalizers":["example.com/f"]},"spec":{"containers":[{"name":"c","image":"nginx","command":["a"],"env":[{"name":"A","value":"$(B)"},{"name":"S","valueFrom":{"secretKeyRef":{"name":"a","key":"k"}}}],"ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{"requests":{"cpu":"100m","memory":"1Gi"},"limits":{"cpu":"1"}},"livenessProbe":{"httpGet":{"path":"/","port":80},"periodSeconds":5},"volumeMounts":[{"name":"v","mountPath":"/v","subPath":"a/b"}]}],"volumes":[{"name":"v","projected":{"sources":[{"configMap":{"name":"a","items":[{"key":"k","path":"p"}]}}]}}],"tolerations":[{"key":"k","operator":"Exists","effect":"NoExecute","tolerationSeconds":5}],"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"z","labelSelector":{"matchExpressions":[{"key":"a","operator":"In","values":["b"]}]}}]}},"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"a":"b"}}}],"securityContext":{"runAsUser":1,"sysctls":[{"name":"kernel.shm_rmid_forced","value":"1"}]}}}"#,
    ),
    kind(
        "/api/v1/namespaces/fuzz/services",
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"type":"NodePort","selector":{"app":"a"},"ports":[{"name":"p","port":80,"targetPort":"http","nodePort":31234,"protocol":"TCP"}],"clusterIP":"10.96.77.7","sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":5}},"externalTrafficPolicy":"Local","ipFamilies":["IPv4"],"externalIPs":["1.2.3.4"]}}"#,
    ),
    kind(
        "/api/v1/namespaces/fuzz/endpoints",
        r#"{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"a"},"subsets":[{"addresses":[{"ip":"10.1.1.1"}],"ports":[{"port":80}]}]}"#,
    ),
    kind(
        "/apis/discovery.k8s.io/v1/namespaces/fuzz/endpointslices",
        r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"a"},"addressType":"IPv4","endpoints":[{"addresses":["10.1.1.1"],"conditions":{"ready":true},"hints":{"forZones":[{"name":"z"}]}}],"ports":[{"name":"p","port":80}]}"#,
    ),
    kind(
        "/apis/apps/v1/namespaces/fuzz/deployments",
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"a","operator":"Exists"}]},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":"25%","maxUnavailable":1}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
    ),
    kind(
        "/apis/apps/v1/namespaces/fuzz/replicasets",
        r#"{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"a"},"spec":{"replicas":1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}"#,
    ),
    kind(
        "/apis/networking.k8s.io/v1/namespaces/fuzz/networkpolicies",
        r#"{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{"name":"a"},"spec":{"podSelector":{"matchLabels":{"a":"b"}},"policyTypes":["Ingress","Egress"],"ingress":[{"from":[{"ipBlock":{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}},{"namespaceSelector":{}}],"ports":[{"port":80,"endPort":90,"protocol":"TCP"}]}]}}"#,
    ),
    kind(
        "/apis/networking.k8s.io/v1/namespaces/fuzz/ingresses",
        r#"{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"a"},"spec":{"ingressClassName":"x","tls":[{"hosts":["a.b"],"secretName":"s"}],"rules":[{"host":"*.a.b","http":{"paths":[{"path":"/a","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]}}"#,
    ),
    kind(
        "/apis/policy/v1/namespaces/fuzz/poddisruptionbudgets",
        r#"{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{"name":"a"},"spec":{"minAvailable":"50%","selector":{"matchLabels":{"a":"b"}}}}"#,
    ),
    kind(
        "/apis/coordination.k8s.io/v1/namespaces/fuzz/leases",
        r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"a"},"spec":{"holderIdentity":"h","leaseDurationSeconds":15,"renewTime":"2026-01-01T00:00:00.000000Z"}}"#,
    ),
    kind(
        "/api/v1/namespaces/fuzz/events",
        r#"{"apiVersion":"v1","kind":"Event","metadata":{"name":"a","namespace":"fuzz"},"involvedObject":{"kind":"Pod","name":"a","namespace":"fuzz"},"reason":"R","message":"m","type":"Normal","firstTimestamp":"2026-01-01T00:00:00Z","count":1}"#,
    ),
    kind(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/fuzz/roles",
        r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"a"},"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get"],"resourceNames":["a"]}]}"#,
    ),
    kind(
        "/apis/rbac.authorization.k8s.io/v1/namespaces/fuzz/rolebindings",
        r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"a"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"a"},"subjects":[{"kind":"User","name":"u","apiGroup":"rbac.authorization.k8s.io"}]}"#,
    ),
    kind(
        "/api/v1/namespaces/fuzz/serviceaccounts",
        r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"a"},"automountServiceAccountToken":false}"#,
    ),
    kind(
        "/api/v1/nodes",
        r#"{"apiVersion":"v1","kind":"Node","metadata":{"name":"n"},"spec":{"taints":[{"key":"k","effect":"NoSchedule"}],"podCIDR":"10.244.9.0/24"}}"#,
    ),
    kind(
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        r#"{"apiVersion":"scheduling.k8s.io/v1","kind":"PriorityClass","metadata":{"name":"a"},"value":5,"globalDefault":false,"preemptionPolicy":"Never"}"#,
    ),
    kind(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        r#"{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"others.fuzz.example.com"},"spec":{"group":"fuzz.example.com","names":{"kind":"Other","plural":"others","shortNames":["ot"]},"scope":"Namespaced","versions":[{"name":"v1","served":true,"storage":true,"additionalPrinterColumns":[{"name":"N","type":"integer","jsonPath":".spec.n"}],"selectableFields":[{"jsonPath":".spec.s"}],"subresources":{"status":{},"scale":{"specReplicasPath":".spec.n","statusReplicasPath":".status.n"}},"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-validations":[{"rule":"self.n < 5 || string(self.s).matches('^a+$')","message":"m","messageExpression":"'n is ' + string(self.n)"}],"properties":{"n":{"type":"integer","minimum":0,"maximum":9,"default":1},"s":{"type":"string","pattern":"^[a-z]+$","maxLength":9,"format":"byte"},"l":{"type":"array","maxItems":5,"items":{"type":"object","required":["k"],"properties":{"k":{"type":"string"}}},"x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["k"]},"m":{"type":"object","additionalProperties":{"type":"string"}},"o":{"x-kubernetes-int-or-string":true},"p":{"type":"object","x-kubernetes-preserve-unknown-fields":true},"e":{"enum":["a","b"],"type":"string"},"a":{"anyOf":[{"minLength":1}],"not":{"pattern":"x"},"type":"string","nullable":true}}},"status":{"type":"object","properties":{"n":{"type":"integer"}}}}}}}]}}"#,
    ),
    kind(
        "/apis/fuzz.example.com/v1/namespaces/fuzz/things",
        r#"{"apiVersion":"fuzz.example.com/v1","kind":"Thing","metadata":{"name":"a"},"spec":{"n":3,"s":"abcd","l":[{"k":"x"}],"m":{"a":"b"},"o":"5","p":{"any":[1,2]},"e":"a"}}"#,
    ),
];

/// Requests that create nothing, or a part of something.
pub(crate) const OTHERS: &[(&str, &str, &str)] = &[
    (
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"u","groups":["g"],"resourceAttributes":{"verb":"get","resource":"pods","namespace":"fuzz"}}}"#,
    ),
    (
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        r#"{"spec":{"namespace":"fuzz"}}"#,
    ),
    (
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        r#"{"spec":{"token":"a.b.c","audiences":["x"]}}"#,
    ),
    (
        "POST",
        "/api/v1/namespaces/fuzz/serviceaccounts/default/token",
        r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":600,"audiences":["a"],"boundObjectRef":{"kind":"Pod","apiVersion":"v1","name":"a"}}}"#,
    ),
    (
        "POST",
        "/api/v1/namespaces/fuzz/pods/a/eviction",
        r#"{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"a"},"deleteOptions":{"gracePeriodSeconds":0}}"#,
    ),
    (
        "POST",
        "/api/v1/namespaces/fuzz/pods/a/binding",
        r#"{"apiVersion":"v1","kind":"Binding","metadata":{"name":"a"},"target":{"kind":"Node","name":"n"}}"#,
    ),
    (
        "PUT",
        "/apis/apps/v1/namespaces/fuzz/deployments/a/scale",
        r#"{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"a","namespace":"fuzz"},"spec":{"replicas":3}}"#,
    ),
    (
        "PUT",
        "/apis/fuzz.example.com/v1/namespaces/fuzz/things/a/scale",
        r#"{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"a","namespace":"fuzz"},"spec":{"replicas":3}}"#,
    ),
    (
        "PUT",
        "/api/v1/namespaces/fuzz/pods/a/ephemeralcontainers",
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"nginx"}],"ephemeralContainers":[{"name":"d","image":"busybox","targetContainerName":"c"}]}}"#,
    ),
    (
        "DELETE",
        "/api/v1/namespaces/fuzz/configmaps/a",
        r#"{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":5,"propagationPolicy":"Foreground","preconditions":{"uid":"u","resourceVersion":"1"},"dryRun":["All"]}"#,
    ),
    (
        "DELETE",
        "/api/v1/namespaces/fuzz/pods",
        r#"{"kind":"DeleteOptions","orphanDependents":true}"#,
    ),
    ("GET", "/api/v1/namespaces/fuzz/pods/a/log", ""),
    ("GET", "/api/v1/namespaces/fuzz/pods/a/exec", ""),
    ("GET", "/api/v1/namespaces/fuzz/pods/a/portforward", ""),
    ("GET", "/openapi/v3/apis/apps/v1", ""),
    ("GET", "/openapi/v2", ""),
    ("GET", "/apis", ""),
    ("GET", "/metrics", ""),
    ("GET", "/readyz", ""),
];

/// What is listed to see that the server still can.
pub(crate) const LISTS: &[&str] = &[
    "/api/v1/namespaces/fuzz/configmaps",
    "/api/v1/namespaces/fuzz/secrets",
    "/api/v1/namespaces/fuzz/pods",
    "/api/v1/namespaces/fuzz/services",
    "/api/v1/namespaces/fuzz/endpoints",
    "/apis/discovery.k8s.io/v1/namespaces/fuzz/endpointslices",
    "/apis/apps/v1/namespaces/fuzz/deployments",
    "/apis/apps/v1/namespaces/fuzz/replicasets",
    "/apis/networking.k8s.io/v1/namespaces/fuzz/networkpolicies",
    "/apis/networking.k8s.io/v1/namespaces/fuzz/ingresses",
    "/apis/policy/v1/namespaces/fuzz/poddisruptionbudgets",
    "/apis/coordination.k8s.io/v1/namespaces/fuzz/leases",
    "/api/v1/namespaces/fuzz/events",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/fuzz/roles",
    "/apis/fuzz.example.com/v1/namespaces/fuzz/things",
    "/api/v1/nodes",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/openapi/v3",
];

/// Stores one object of every kind.
pub(crate) async fn prepare(connection: &mut Connection) {
    let namespace = json!({"metadata": {"name": "fuzz"}}).to_string();
    connection
        .send(&Request::new("POST", "/api/v1/namespaces", "application/json", namespace.as_bytes()))
        .await;
    restore(connection).await;
    for Kind { collection, object } in KINDS {
        let made = Request::new("POST", collection, "application/json", object.as_bytes());
        let answer = connection.send(&made).await.unwrap();
        assert!(matches!(answer.code, 201 | 409), "{collection}: {answer}");
    }
}

/// Brings back what the rest needs: the defined kind, and that everybody has an account.
pub(crate) async fn restore(connection: &mut Connection) {
    let definition = KINDS.iter().find(|kind| kind.collection.contains("customresource")).unwrap();
    let text = definition
        .object
        .replace("others", "things")
        .replace("Other", "Thing")
        .replace(r#""ot""#, r#""th""#);
    let definition: Value = serde_json::from_str(&text).unwrap();
    for (collection, object) in [
        ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition),
        ("/api/v1/namespaces/fuzz/serviceaccounts", json!({"metadata": {"name": "default"}})),
    ] {
        let body = object.to_string();
        let request = Request::new("POST", collection, "application/json", body.as_bytes());
        let answer = connection.send(&request).await.unwrap();
        assert!(matches!(answer.code, 201 | 409), "{collection}: {answer}");
    }
}
