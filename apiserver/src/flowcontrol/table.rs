//! Kubernetes' priority levels and flow schemas, as they stand in every new cluster.

use crate::{
    authorization::{Attributes, MASTERS},
    request::UserInfo,
};

/// A priority level: what share of the seats it has, and who may wait.
#[derive(Debug)]
pub(crate) struct Level {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its share of all seats, relative to the others'.
    pub(super) shares: u32,
    /// How much of its share others may use while it does not, in percent.
    pub(super) lendable: u32,
    /// Requests of one flow that may wait, and of all flows; zero: who finds no seat is refused.
    pub(super) waiting: (usize, usize),
}

const fn level(
    name: &'static str,
    shares: u32,
    lendable: u32,
    queues: usize,
    hand_size: usize,
) -> Level {
    // Kubernetes deals each flow `hand_size` of `queues` queues, which hold 50 requests each.
    Level { name, shares, lendable, waiting: (hand_size * 50, queues * 50) }
}

/// The levels whose requests take seats. What is exempt stands in none.
pub(super) static LEVELS: [Level; 7] = [
    level("system", 30, 33, 64, 6),
    level("node-high", 40, 25, 64, 6),
    level("leader-election", 10, 0, 16, 4),
    level("workload-high", 40, 50, 128, 6),
    level("workload-low", 100, 90, 128, 6),
    level("global-default", 20, 50, 128, 6),
    level("catch-all", 5, 0, 0, 0),
];

const SYSTEM: usize = 0;
const NODE_HIGH: usize = 1;
const LEADER_ELECTION: usize = 2;
const WORKLOAD_HIGH: usize = 3;
const WORKLOAD_LOW: usize = 4;
const GLOBAL_DEFAULT: usize = 5;
const CATCH_ALL: usize = 6;

/// Whom a schema is about.
enum Subjects {
    Users(&'static [&'static str]),
    /// Users, and the ServiceAccounts of kube-system (all of them, or those with one of the names).
    KubeSystem(&'static [&'static str], Option<&'static [&'static str]>),
    Group(&'static str),
    Everybody,
}

/// Which requests a schema is about.
enum Requests {
    All,
    /// Objects of leader election; the first: of this namespace alone.
    Elections(Option<&'static str>),
    Endpoints,
    OwnNode,
    Probes,
}

/// What tells the flows of a schema apart.
#[derive(Clone, Copy)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

struct Schema {
    name: &'static str,
    /// None: exempt.
    level: Option<usize>,
    distinguisher: Distinguisher,
    subjects: Subjects,
    requests: Requests,
}

const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const NODES: &str = "system:nodes";
const ENDPOINT_CONTROLLERS: &[&str] = &["endpoint-controller", "endpointslicemirroring-controller"];

const fn schema(
    name: &'static str,
    level: usize,
    distinguisher: Distinguisher,
    subjects: Subjects,
    requests: Requests,
) -> Schema {
    Schema { name, level: Some(level), distinguisher, subjects, requests }
}

/// The schemas, in the order of their precedence; the first that matches counts.
static SCHEMAS: [Schema; 13] = [
    Schema {
        name: "exempt",
        level: None,
        distinguisher: Distinguisher::Nothing,
        subjects: Subjects::Group(MASTERS),
        requests: Requests::All,
    },
    Schema {
        name: "probes",
        level: None,
        distinguisher: Distinguisher::Nothing,
        subjects: Subjects::Everybody,
        requests: Requests::Probes,
    },
    schema(
        "system-leader-election",
        LEADER_ELECTION,
        Distinguisher::User,
        Subjects::KubeSystem(&[CONTROLLER_MANAGER, SCHEDULER], None),
        Requests::Elections(Some("kube-system")),
    ),
    schema(
        "endpoint-controller",
        WORKLOAD_HIGH,
        Distinguisher::User,
        Subjects::KubeSystem(&[CONTROLLER_MANAGER], Some(ENDPOINT_CONTROLLERS)),
        Requests::Endpoints,
    ),
    schema(
        "workload-leader-election",
        LEADER_ELECTION,
        Distinguisher::User,
        Subjects::KubeSystem(&[], None),
        Requests::Elections(None),
    ),
    schema(
        "system-node-high",
        NODE_HIGH,
        Distinguisher::User,
        Subjects::Group(NODES),
        Requests::OwnNode,
    ),
    schema("system-nodes", SYSTEM, Distinguisher::User, Subjects::Group(NODES), Requests::All),
    schema(
        "kube-controller-manager",
        WORKLOAD_HIGH,
        Distinguisher::Namespace,
        Subjects::Users(&[CONTROLLER_MANAGER]),
        Requests::All,
    ),
    schema(
        "kube-scheduler",
        WORKLOAD_HIGH,
        Distinguisher::Namespace,
        Subjects::Users(&[SCHEDULER]),
        Requests::All,
    ),
    schema(
        "kube-system-service-accounts",
        WORKLOAD_HIGH,
        Distinguisher::Namespace,
        Subjects::KubeSystem(&[], None),
        Requests::All,
    ),
    schema(
        "service-accounts",
        WORKLOAD_LOW,
        Distinguisher::User,
        Subjects::Group("system:serviceaccounts"),
        Requests::All,
    ),
    schema(
        "global-default",
        GLOBAL_DEFAULT,
        Distinguisher::User,
        Subjects::Everybody,
        Requests::All,
    ),
    schema("catch-all", CATCH_ALL, Distinguisher::User, Subjects::Everybody, Requests::All),
];

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The schema's name.
    pub(super) schema: &'static str,
    /// Index of the level; None: exempt.
    pub(super) level: Option<usize>,
    /// What tells it from other flows of the schema.
    pub(super) flow: String,
}

/// Finds a request's place.
pub(super) fn place(user: &UserInfo, attributes: &Attributes<'_>) -> Place {
    let found = SCHEMAS
        .iter()
        .find(|schema| schema.subjects.include(user) && schema.requests.include(attributes));
    // Some user is in neither of the two groups that stand for everybody: the last schema takes it.
    let schema = found.unwrap_or(&SCHEMAS[SCHEMAS.len() - 1]);
    let flow = match (schema.distinguisher, attributes) {
        (Distinguisher::User, _) => user.name.clone(),
        (Distinguisher::Namespace, Attributes::Resource { namespace, .. }) => {
            (*namespace).to_owned()
        }
        (Distinguisher::Namespace | Distinguisher::Nothing, _) => String::new(),
    };
    Place { schema: schema.name, level: schema.level, flow }
}

impl Subjects {
    fn include(&self, user: &UserInfo) -> bool {
        let in_group = |name: &str| user.groups.iter().any(|group| group == name);
        match self {
            Self::Users(names) => names.contains(&user.name.as_str()),
            Self::KubeSystem(names, accounts) => {
                let account = user.name.strip_prefix("system:serviceaccount:kube-system:");
                names.contains(&user.name.as_str())
                    || account.is_some_and(|name| accounts.is_none_or(|some| some.contains(&name)))
            }
            Self::Group(name) => in_group(name),
            Self::Everybody => {
                in_group("system:authenticated") || in_group("system:unauthenticated")
            }
        }
    }
}

impl Requests {
    fn include(&self, attributes: &Attributes<'_>) -> bool {
        let (verb, group, resource, subresource, namespace) = match attributes {
            Attributes::Path { verb, path } => {
                return match self {
                    Self::All => true,
                    Self::Probes => {
                        *verb == "get" && ["/healthz", "/livez", "/readyz"].contains(path)
                    }
                    _ => false,
                };
            }
            Attributes::Resource { verb, group, resource, subresource, namespace, .. } => {
                (*verb, *group, *resource, *subresource, *namespace)
            }
        };
        let changes = matches!(verb, "get" | "create" | "update") && subresource.is_empty();
        match self {
            Self::All => true,
            Self::Probes => false,
            Self::Endpoints => changes && group.is_empty() && resource == "endpoints",
            Self::Elections(of) => {
                changes
                    && match group {
                        "" => {
                            matches!(resource, "endpoints" | "configmaps")
                                && of.is_none_or(|of| of == namespace)
                        }
                        "coordination.k8s.io" => resource == "leases",
                        _ => false,
                    }
            }
            Self::OwnNode => match group {
                "" => resource == "nodes" && matches!(subresource, "" | "status"),
                "coordination.k8s.io" => resource == "leases" && subresource.is_empty(),
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_find_kubernetes_schemas() {
        let check = |name: &str, groups: &[&str], what: &str, schema: &str, flow: &str| {
            let groups = groups.iter().map(ToString::to_string).collect();
            let user = UserInfo { name: name.into(), groups, ..UserInfo::default() };
            let attributes = match *what.split(' ').collect::<Vec<_>>() {
                [verb, path] => Attributes::Path { verb, path },
                [verb, group, resource, namespace] => {
                    let (resource, subresource) =
                        resource.split_once('/').unwrap_or((resource, ""));
                    let group = group.trim_matches('-');
                    let namespace = namespace.trim_matches('-');
                    Attributes::Resource { verb, group, resource, subresource, namespace, name: "" }
                }
                _ => panic!("{what}"),
            };
            let found = place(&user, &attributes);
            assert_eq!((found.schema, found.flow.as_str()), (schema, flow), "{name} {what}");
        };
        let everybody = "system:authenticated";
        check("ann", &["system:masters", everybody], "list - pods -", "exempt", "");
        check("ann", &[everybody], "list - pods a", "global-default", "ann");
        check("ann", &[everybody], "get /healthz", "probes", "");
        check("ann", &[everybody], "get /version", "global-default", "ann");
        check("system:anonymous", &["system:unauthenticated"], "get /readyz", "probes", "");
        check("stray", &[], "list - pods a", "catch-all", "stray");
        let node = ["system:nodes", everybody];
        check(
            "system:node:n",
            &node,
            "patch - nodes/status -",
            "system-node-high",
            "system:node:n",
        );
        check(
            "system:node:n",
            &node,
            "update coordination.k8s.io leases kube-node-lease",
            "system-node-high",
            "system:node:n",
        );
        check("system:node:n", &node, "patch - pods/status a", "system-nodes", "system:node:n");
        let lease = "update coordination.k8s.io leases kube-system";
        check(SCHEDULER, &[everybody], lease, "system-leader-election", SCHEDULER);
        check(SCHEDULER, &[everybody], "create - pods/binding a", "kube-scheduler", "a");
        let manager = CONTROLLER_MANAGER;
        check(manager, &[everybody], "update - endpoints a", "endpoint-controller", manager);
        check(manager, &[everybody], "create - pods b", "kube-controller-manager", "b");
        let account = "system:serviceaccount:kube-system:dns";
        let groups = ["system:serviceaccounts", everybody];
        check(account, &groups, "list - services -", "kube-system-service-accounts", "");
        check(account, &groups, lease, "system-leader-election", account);
        check(account, &groups, "get - configmaps other", "workload-leader-election", account);
        let account = "system:serviceaccount:default:bot";
        check(account, &groups, "list - services -", "service-accounts", account);
    }
}
