//! The status of a Node, as a pure function of what the node is told, has and acts out.

use apimachinery::{
    api::core::{
        ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints,
        NodeStatus, NodeSystemInfo,
    },
    time::Time,
};
use jiff::Timestamp;

use super::{NodeSettings, own::SHUTTING_DOWN};
use crate::simulation::NodeSimulation;

/// The version that the kubelet shows.
const KUBELET_VERSION: &str = "v1.36.0";
/// The port that a kubelet tells. Ours is reached through the API server alone: nothing listens there.
const KUBELET_PORT: i32 = 10250;

/// What a status is made from.
pub(crate) struct View<'a> {
    pub(crate) settings: &'a NodeSettings,
    pub(crate) boot_id: &'a str,
    pub(crate) images: Vec<ContainerImage>,
    pub(crate) simulation: &'a NodeSimulation,
    pub(crate) shutting_down: bool,
    /// The status as the API server has it: what stays as it is keeps its transition time.
    pub(crate) current: &'a NodeStatus,
    pub(crate) now: Timestamp,
}

/// The architecture in Go's word.
pub(crate) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The status that the node should have.
pub(crate) fn wanted(view: View<'_>) -> NodeStatus {
    let settings = view.settings;
    let address = |type_: &str, address: &str| NodeAddress {
        type_: type_.to_owned(),
        address: address.to_owned(),
    };
    let external = settings.external_ip.as_deref().map(|ip| address("ExternalIP", ip));
    let addresses = [Some(address("InternalIP", &settings.internal_ip)), external]
        .into_iter()
        .flatten()
        .chain([address("Hostname", &settings.name)])
        .collect();
    NodeStatus {
        addresses,
        capacity: settings.capacity.clone(),
        allocatable: settings.capacity.clone(),
        conditions: conditions(&view),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: KUBELET_PORT }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: arch().to_owned(),
            boot_id: view.boot_id.to_owned(),
            container_runtime_version: "kube-mini://1.36.0".to_owned(),
            kernel_version: "simulated".to_owned(),
            kube_proxy_version: String::new(),
            kubelet_version: KUBELET_VERSION.to_owned(),
            machine_id: settings.name.clone(),
            operating_system: "linux".to_owned(),
            os_image: "kube-mini".to_owned(),
            swap: None,
            system_uuid: settings.name.clone(),
        }),
        images: view.images,
        ..NodeStatus::default()
    }
}

/// A condition: its type, then reason, message and event where it holds, and where it does not.
type Wording = (&'static str, [&'static str; 3], [&'static str; 3]);

/// Those that say what a node lacks, in the order in which they are listed.
const PRESSURES: &[Wording] = &[
    (
        "MemoryPressure",
        [
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
            "NodeHasInsufficientMemory",
        ],
        [
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
            "NodeHasSufficientMemory",
        ],
    ),
    (
        "DiskPressure",
        ["KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"],
        ["KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"],
    ),
    (
        "PIDPressure",
        [
            "KubeletHasInsufficientPID",
            "kubelet has insufficient PID available",
            "NodeHasInsufficientPID",
        ],
        ["KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"],
    ),
];

/// The pressures that the node acts out, by the types of their conditions.
pub(crate) fn pressures(simulation: &NodeSimulation) -> Vec<&'static str> {
    let acted = [simulation.memory_pressure, simulation.disk_pressure, simulation.pid_pressure];
    PRESSURES.iter().zip(acted).filter(|(_, holds)| *holds).map(|((type_, ..), _)| *type_).collect()
}

fn conditions(view: &View<'_>) -> Vec<NodeCondition> {
    let now = Some(Time(view.now).truncated());
    let condition = |type_: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let former =
            view.current.conditions.iter().find(|c| c.type_ == type_ && c.status == status);
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: now,
            last_transition_time: former.map_or(now, |c| c.last_transition_time),
        }
    };
    let acted = pressures(view.simulation);
    let mut all: Vec<NodeCondition> = PRESSURES
        .iter()
        .map(|(type_, yes, no)| {
            let holds = acted.contains(type_);
            let [reason, message, _] = if holds { yes } else { no };
            condition(type_, holds, reason, message)
        })
        .collect();
    let trouble = match &view.simulation.not_ready {
        _ if view.shutting_down => Some(SHUTTING_DOWN),
        trouble => trouble.as_deref(),
    };
    all.push(match trouble {
        None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
        Some(message) => condition("Ready", false, "KubeletNotReady", message),
    });
    all
}

/// The reasons of the events that tell how conditions have changed.
pub(crate) fn events(former: &[NodeCondition], wanted: &[NodeCondition]) -> Vec<&'static str> {
    let turned = wanted
        .iter()
        .filter(|w| !former.iter().any(|f| f.type_ == w.type_ && f.status == w.status));
    turned
        .map(|condition| {
            let holds = condition.status == "True";
            match PRESSURES.iter().find(|(type_, ..)| *type_ == condition.type_) {
                Some((_, yes, no)) => (if holds { yes } else { no })[2],
                None if holds => "NodeReady",
                None => "NodeNotReady",
            }
        })
        .collect()
}

/// Whether the API server has another status than it should, heartbeats aside.
pub(crate) fn differs(current: &NodeStatus, wanted: &NodeStatus) -> bool {
    let same = |w: &NodeCondition| {
        current.conditions.iter().any(|c| {
            (&c.type_, &c.status, &c.reason, &c.message)
                == (&w.type_, &w.status, &w.reason, &w.message)
        })
    };
    !wanted.conditions.iter().all(same)
        || current.addresses != wanted.addresses
        || current.capacity != wanted.capacity
        || current.allocatable != wanted.allocatable
        || current.images != wanted.images
        || current.node_info != wanted.node_info
        || current.daemon_endpoints != wanted.daemon_endpoints
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn settings() -> NodeSettings {
        NodeSettings {
            name: "node-1".into(),
            internal_ip: "192.168.1.101".into(),
            external_ip: None,
            capacity: [("cpu".to_owned(), "8".parse().unwrap())].into(),
            labels: std::collections::BTreeMap::new(),
            state_dir: PathBuf::new(),
            kubelet_endpoint: String::new(),
        }
    }

    fn status(simulation: &NodeSimulation, current: &NodeStatus, at: i64) -> NodeStatus {
        wanted(View {
            settings: &settings(),
            boot_id: "b",
            images: Vec::new(),
            simulation,
            shutting_down: false,
            current,
            now: Timestamp::from_second(at).unwrap(),
        })
    }

    /// Conditions as `type=status reason since`.
    fn lines(status: &NodeStatus) -> Vec<String> {
        let line = |c: &NodeCondition| {
            let since = c.last_transition_time.map_or(0, |t| t.0.as_second());
            format!("{}={} {} {since}", c.type_, c.status, c.reason.as_deref().unwrap_or_default())
        };
        status.conditions.iter().map(line).collect()
    }

    #[test]
    fn conditions_turn_one_by_one_and_are_told() {
        let blank = NodeStatus::default();
        let healthy = status(&NodeSimulation::default(), &blank, 1);
        assert_eq!(
            lines(&healthy),
            [
                "MemoryPressure=False KubeletHasSufficientMemory 1",
                "DiskPressure=False KubeletHasNoDiskPressure 1",
                "PIDPressure=False KubeletHasSufficientPID 1",
                "Ready=True KubeletReady 1",
            ]
        );
        assert_eq!(
            events(&blank.conditions, &healthy.conditions),
            [
                "NodeHasSufficientMemory",
                "NodeHasNoDiskPressure",
                "NodeHasSufficientPID",
                "NodeReady"
            ]
        );
        let acted = NodeSimulation {
            memory_pressure: true,
            not_ready: Some("broken".into()),
            ..NodeSimulation::default()
        };
        let ill = status(&acted, &healthy, 2);
        assert_eq!(
            lines(&ill),
            [
                "MemoryPressure=True KubeletHasInsufficientMemory 2",
                "DiskPressure=False KubeletHasNoDiskPressure 1",
                "PIDPressure=False KubeletHasSufficientPID 1",
                "Ready=False KubeletNotReady 2",
            ]
        );
        assert_eq!(ill.conditions[3].message.as_deref(), Some("broken"));
        let told = events(&healthy.conditions, &ill.conditions);
        assert_eq!(told, ["NodeHasInsufficientMemory", "NodeNotReady"]);
    }

    #[test]
    fn a_heartbeat_alone_is_no_difference() {
        let first = status(&NodeSimulation::default(), &NodeStatus::default(), 1);
        let mut second = status(&NodeSimulation::default(), &first, 2);
        assert!(!differs(&first, &second));
        second.images.push(ContainerImage::default());
        assert!(differs(&first, &second));
        let mut unknown = first.clone();
        unknown.conditions[3].status = "Unknown".into();
        assert!(differs(&unknown, &first));
    }
}
