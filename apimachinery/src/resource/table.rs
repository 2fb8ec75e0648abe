//! The table itself: one static per kind, and their list.

use super::{ResourceInfo, SubresourceInfo};

const STANDARD: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const NO_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];
const CREATE: &[&str] = &["create"];
const GET: &[&str] = &["get"];
const GET_LIST: &[&str] = &["get", "list"];
const ALL: &[&str] = &["all"];
const EXTENSIONS: &[&str] = &["api-extensions"];

const fn entry(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    singular: &'static str,
    resource: &'static str,
) -> ResourceInfo {
    ResourceInfo {
        group,
        version,
        kind,
        list: "",
        resource,
        singular,
        short_names: &[],
        categories: &[],
        namespaced: true,
        subresources: &[],
        verbs: STANDARD,
        served: false,
        storage_prefix: resource,
    }
}

impl ResourceInfo {
    const fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names;
        self
    }

    const fn categories(mut self, names: &'static [&'static str]) -> Self {
        self.categories = names;
        self
    }

    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }

    const fn sub(mut self, subresources: &'static [SubresourceInfo]) -> Self {
        self.subresources = subresources;
        self
    }

    const fn verbs(mut self, verbs: &'static [&'static str]) -> Self {
        self.verbs = verbs;
        self
    }

    const fn served(mut self) -> Self {
        self.served = true;
        self
    }

    const fn stored_in(mut self, prefix: &'static str) -> Self {
        self.storage_prefix = prefix;
        self
    }
}

const fn sub(
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> SubresourceInfo {
    SubresourceInfo { name, group, version, kind, verbs }
}

const WRITE: &[&str] = &["get", "patch", "update"];
const STREAM: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

const fn status(group: &'static str, kind: &'static str) -> SubresourceInfo {
    sub("status", group, "v1", kind, WRITE)
}

const SCALE: SubresourceInfo = sub("scale", "autoscaling", "v1", "Scale", WRITE);

/// Declares the statics and lists them; each line is `NAME = entry;`.
macro_rules! table {
    ($($name:ident = $entry:expr;)*) => {
        $(
            #[doc = concat!("The resource `", stringify!($name), "`.")]
            pub static $name: ResourceInfo = $entry;
        )*

        /// Every built-in resource, in the order of discovery: core first, then groups by Kubernetes' priority.
        pub static RESOURCES: &[&ResourceInfo] = &[$(&$name),*];
    };
}

table! {
    BINDINGS = entry("", "v1", "Binding", "binding", "bindings").verbs(CREATE);
    COMPONENT_STATUSES = entry("", "v1", "ComponentStatus", "componentstatus", "componentstatuses")
        .short(&["cs"]).cluster().verbs(GET_LIST);
    CONFIG_MAPS = entry("", "v1", "ConfigMap", "configmap", "configmaps").short(&["cm"]).served();
    ENDPOINTS = entry("", "v1", "Endpoints", "endpoints", "endpoints").short(&["ep"])
        .stored_in("services/endpoints").served();
    EVENTS = entry("", "v1", "Event", "event", "events").short(&["ev"]).served();
    LIMIT_RANGES = entry("", "v1", "LimitRange", "limitrange", "limitranges").short(&["limits"]);
    NAMESPACES = entry("", "v1", "Namespace", "namespace", "namespaces").short(&["ns"]).cluster()
        .verbs(NO_COLLECTION)
        .sub(&[sub("finalize", "", "v1", "Namespace", &["update"]), status("", "Namespace")])
        .served();
    NODES = entry("", "v1", "Node", "node", "nodes").short(&["no"]).cluster().stored_in("minions")
        .sub(&[
            sub("network", "kube-mini.dev", "v1", "NodeNetwork", GET),
            sub("probe", "kube-mini.dev", "v1", "NetworkProbe", CREATE),
            sub("proxy", "", "v1", "NodeProxyOptions", PROXY),
            status("", "Node"),
        ])
        .served();
    PERSISTENT_VOLUME_CLAIMS = entry("", "v1", "PersistentVolumeClaim", "persistentvolumeclaim", "persistentvolumeclaims")
        .short(&["pvc"]);
    PERSISTENT_VOLUMES = entry("", "v1", "PersistentVolume", "persistentvolume", "persistentvolumes")
        .short(&["pv"]).cluster();
    PODS = entry("", "v1", "Pod", "pod", "pods").short(&["po"]).categories(ALL)
        .sub(&[
            sub("attach", "", "v1", "PodAttachOptions", STREAM),
            sub("binding", "", "v1", "Binding", CREATE),
            sub("ephemeralcontainers", "", "v1", "Pod", WRITE),
            sub("eviction", "policy", "v1", "Eviction", CREATE),
            sub("exec", "", "v1", "PodExecOptions", STREAM),
            sub("log", "", "v1", "Pod", GET),
            sub("portforward", "", "v1", "PodPortForwardOptions", STREAM),
            sub("proxy", "", "v1", "PodProxyOptions", PROXY),
            sub("scheduling", "kube-mini.dev", "v1", "SchedulingExplanation", GET),
            status("", "Pod"),
        ])
        .served();
    POD_TEMPLATES = entry("", "v1", "PodTemplate", "podtemplate", "podtemplates");
    REPLICATION_CONTROLLERS = entry("", "v1", "ReplicationController", "replicationcontroller", "replicationcontrollers")
        .short(&["rc"]).categories(ALL).stored_in("controllers");
    RESOURCE_QUOTAS = entry("", "v1", "ResourceQuota", "resourcequota", "resourcequotas").short(&["quota"]);
    SECRETS = entry("", "v1", "Secret", "secret", "secrets").served();
    SERVICE_ACCOUNTS = entry("", "v1", "ServiceAccount", "serviceaccount", "serviceaccounts")
        .short(&["sa"]).sub(&[sub("token", "authentication.k8s.io", "v1", "TokenRequest", CREATE)]).served();
    SERVICES = entry("", "v1", "Service", "service", "services").short(&["svc"]).categories(ALL)
        .stored_in("services/specs")
        .sub(&[sub("proxy", "", "v1", "ServiceProxyOptions", PROXY), status("", "Service")]).served();

    API_SERVICES = entry("apiregistration.k8s.io", "v1", "APIService", "apiservice", "apiservices")
        .categories(EXTENSIONS).cluster().stored_in("apiregistration.k8s.io/apiservices");

    CONTROLLER_REVISIONS = entry("apps", "v1", "ControllerRevision", "controllerrevision", "controllerrevisions");
    DAEMON_SETS = entry("apps", "v1", "DaemonSet", "daemonset", "daemonsets").short(&["ds"]).categories(ALL);
    DEPLOYMENTS = entry("apps", "v1", "Deployment", "deployment", "deployments").short(&["deploy"])
        .categories(ALL).sub(&[SCALE, status("apps", "Deployment")]).served();
    REPLICA_SETS = entry("apps", "v1", "ReplicaSet", "replicaset", "replicasets").short(&["rs"])
        .categories(ALL).sub(&[SCALE, status("apps", "ReplicaSet")]).served();
    STATEFUL_SETS = entry("apps", "v1", "StatefulSet", "statefulset", "statefulsets").short(&["sts"])
        .categories(ALL);

    EVENTS_V1 = entry("events.k8s.io", "v1", "Event", "event", "events").short(&["ev"]).served();

    SELF_SUBJECT_REVIEWS = entry("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreview", "selfsubjectreviews")
        .cluster().verbs(CREATE).served();
    TOKEN_REVIEWS = entry("authentication.k8s.io", "v1", "TokenReview", "tokenreview", "tokenreviews")
        .cluster().verbs(CREATE).served();

    LOCAL_SUBJECT_ACCESS_REVIEWS = entry("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreview", "localsubjectaccessreviews")
        .verbs(CREATE).served();
    SELF_SUBJECT_ACCESS_REVIEWS = entry("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreview", "selfsubjectaccessreviews")
        .cluster().verbs(CREATE).served();
    SELF_SUBJECT_RULES_REVIEWS = entry("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreview", "selfsubjectrulesreviews")
        .cluster().verbs(CREATE).served();
    SUBJECT_ACCESS_REVIEWS = entry("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreview", "subjectaccessreviews")
        .cluster().verbs(CREATE).served();

    HORIZONTAL_POD_AUTOSCALERS = entry("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscaler", "horizontalpodautoscalers")
        .short(&["hpa"]).categories(ALL);
    HORIZONTAL_POD_AUTOSCALERS_V1 = entry("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscaler", "horizontalpodautoscalers")
        .short(&["hpa"]).categories(ALL);

    CRON_JOBS = entry("batch", "v1", "CronJob", "cronjob", "cronjobs").short(&["cj"]).categories(ALL);
    JOBS = entry("batch", "v1", "Job", "job", "jobs").categories(ALL);

    CERTIFICATE_SIGNING_REQUESTS = entry("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequest", "certificatesigningrequests")
        .short(&["csr"]).cluster()
        .sub(&[
            sub("approval", "certificates.k8s.io", "v1", "CertificateSigningRequest", WRITE),
            status("certificates.k8s.io", "CertificateSigningRequest"),
        ])
        .served();

    INGRESS_CLASSES = entry("networking.k8s.io", "v1", "IngressClass", "ingressclass", "ingressclasses").cluster().served();
    INGRESSES = entry("networking.k8s.io", "v1", "Ingress", "ingress", "ingresses").short(&["ing"])
        .stored_in("ingress").sub(&[status("networking.k8s.io", "Ingress")]).served();
    IP_ADDRESSES = entry("networking.k8s.io", "v1", "IPAddress", "ipaddress", "ipaddresses").short(&["ip"]).cluster();
    NETWORK_POLICIES = entry("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicy", "networkpolicies")
        .short(&["netpol"]).served();
    SERVICE_CIDRS = entry("networking.k8s.io", "v1", "ServiceCIDR", "servicecidr", "servicecidrs").cluster();

    POD_DISRUPTION_BUDGETS = entry("policy", "v1", "PodDisruptionBudget", "poddisruptionbudget", "poddisruptionbudgets")
        .short(&["pdb"]).sub(&[status("policy", "PodDisruptionBudget")]).served();

    CLUSTER_ROLE_BINDINGS = entry("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebinding", "clusterrolebindings")
        .cluster().served();
    CLUSTER_ROLES = entry("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterrole", "clusterroles")
        .cluster().served();
    ROLE_BINDINGS = entry("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebinding", "rolebindings").served();
    ROLES = entry("rbac.authorization.k8s.io", "v1", "Role", "role", "roles").served();

    CSI_DRIVERS = entry("storage.k8s.io", "v1", "CSIDriver", "csidriver", "csidrivers").cluster();
    CSI_NODES = entry("storage.k8s.io", "v1", "CSINode", "csinode", "csinodes").cluster();
    CSI_STORAGE_CAPACITIES = entry("storage.k8s.io", "v1", "CSIStorageCapacity", "csistoragecapacity", "csistoragecapacities");
    STORAGE_CLASSES = entry("storage.k8s.io", "v1", "StorageClass", "storageclass", "storageclasses")
        .short(&["sc"]).cluster();
    VOLUME_ATTACHMENTS = entry("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachment", "volumeattachments").cluster();
    VOLUME_ATTRIBUTES_CLASSES = entry("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclass", "volumeattributesclasses")
        .short(&["vac"]).cluster();

    MUTATING_ADMISSION_POLICIES = entry("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicy", "mutatingadmissionpolicy", "mutatingadmissionpolicies")
        .categories(EXTENSIONS).cluster();
    MUTATING_ADMISSION_POLICY_BINDINGS = entry("admissionregistration.k8s.io", "v1", "MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybinding", "mutatingadmissionpolicybindings")
        .categories(EXTENSIONS).cluster();
    MUTATING_WEBHOOK_CONFIGURATIONS = entry("admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", "mutatingwebhookconfiguration", "mutatingwebhookconfigurations")
        .categories(EXTENSIONS).cluster();
    VALIDATING_ADMISSION_POLICIES = entry("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicy", "validatingadmissionpolicies")
        .categories(EXTENSIONS).cluster();
    VALIDATING_ADMISSION_POLICY_BINDINGS = entry("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybinding", "validatingadmissionpolicybindings")
        .categories(EXTENSIONS).cluster();
    VALIDATING_WEBHOOK_CONFIGURATIONS = entry("admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", "validatingwebhookconfiguration", "validatingwebhookconfigurations")
        .categories(EXTENSIONS).cluster();

    CUSTOM_RESOURCE_DEFINITIONS = entry("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinition", "customresourcedefinitions")
        .short(&["crd", "crds"]).categories(EXTENSIONS).cluster()
        .sub(&[status("apiextensions.k8s.io", "CustomResourceDefinition")])
        .stored_in("apiextensions.k8s.io/customresourcedefinitions").served();

    PRIORITY_CLASSES = entry("scheduling.k8s.io", "v1", "PriorityClass", "priorityclass", "priorityclasses")
        .short(&["pc"]).cluster().served();

    LEASES = entry("coordination.k8s.io", "v1", "Lease", "lease", "leases").served();

    RUNTIME_CLASSES = entry("node.k8s.io", "v1", "RuntimeClass", "runtimeclass", "runtimeclasses").cluster();

    ENDPOINT_SLICES = entry("discovery.k8s.io", "v1", "EndpointSlice", "endpointslice", "endpointslices").served();

    FLOW_SCHEMAS = entry("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschema", "flowschemas").cluster();
    PRIORITY_LEVEL_CONFIGURATIONS = entry("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration", "prioritylevelconfiguration", "prioritylevelconfigurations")
        .cluster();

    DEVICE_CLASSES = entry("resource.k8s.io", "v1", "DeviceClass", "deviceclass", "deviceclasses").cluster();
    RESOURCE_CLAIM_TEMPLATES = entry("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplate", "resourceclaimtemplates");
    RESOURCE_CLAIMS = entry("resource.k8s.io", "v1", "ResourceClaim", "resourceclaim", "resourceclaims");
    RESOURCE_SLICES = entry("resource.k8s.io", "v1", "ResourceSlice", "resourceslice", "resourceslices").cluster();
}
