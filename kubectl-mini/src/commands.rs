//! The table of commands: one file each.

pub mod apply;
pub mod attach;
pub mod auth;
pub mod certificate;
pub mod completion;
pub mod config;
pub mod cordon;
pub mod cp;
pub mod create;
pub mod delete;
pub mod describe;
pub mod diff;
pub mod doctor;
pub mod drain;
pub mod edit;
pub mod events;
pub mod exec;
pub mod explain;
pub mod explain_schedule;
pub mod expose;
pub mod get;
pub mod label;
pub mod logs;
pub mod node;
pub mod patch;
pub mod port_forward;
pub mod proxy;
pub mod replace;
pub mod rollout;
pub mod run;
pub mod scale;
pub mod set;
pub mod taint;
pub mod top;
pub mod trace;
pub mod version;
pub mod wait;

use crate::cli::{Spec, group, leaf};

/// Commands under one heading of the help.
pub struct Group {
    /// The heading.
    pub title: &'static str,
    /// The commands.
    pub commands: &'static [Spec],
}

/// All commands, in kubectl's order.
pub static COMMANDS: &[Group] = &[
    Group {
        title: "Basic Commands (Beginner)",
        commands: &[
            leaf::<create::Create>().with(create::SUBCOMMANDS),
            leaf::<expose::Expose>(),
            leaf::<run::Run>(),
            group("set", "Set specific features on objects", set::USAGE, set::SUBCOMMANDS),
        ],
    },
    Group {
        title: "Basic Commands (Intermediate)",
        commands: &[
            leaf::<explain::Explain>(),
            leaf::<get::Get>(),
            leaf::<edit::Edit>(),
            leaf::<delete::Delete>(),
        ],
    },
    Group {
        title: "Deploy Commands",
        commands: &[
            group(
                "rollout",
                "Manage the rollout of a resource",
                rollout::USAGE,
                rollout::SUBCOMMANDS,
            ),
            leaf::<scale::Scale>(),
        ],
    },
    Group {
        title: "Cluster Management Commands",
        commands: &[
            group(
                "certificate",
                "Modify certificate resources",
                certificate::USAGE,
                certificate::SUBCOMMANDS,
            ),
            leaf::<version::ClusterInfo>(),
            group("top", "Display resource (CPU/memory) usage", top::USAGE, top::SUBCOMMANDS),
            leaf::<cordon::Cordon>(),
            leaf::<cordon::Uncordon>(),
            leaf::<drain::Drain>(),
            leaf::<taint::Taint>(),
        ],
    },
    Group {
        title: "Troubleshooting and Debugging Commands",
        commands: &[
            leaf::<describe::Describe>(),
            leaf::<logs::Logs>(),
            leaf::<attach::Attach>(),
            leaf::<exec::Exec>(),
            leaf::<port_forward::PortForward>(),
            leaf::<proxy::Proxy>(),
            leaf::<cp::Cp>(),
            group("auth", "Inspect authorization", auth::USAGE, auth::SUBCOMMANDS),
            leaf::<events::Events>(),
            leaf::<explain_schedule::ExplainSchedule>(),
            leaf::<trace::Trace>(),
            leaf::<doctor::Doctor>(),
            group("node", "Look into a node", node::USAGE, node::SUBCOMMANDS),
        ],
    },
    Group {
        title: "Advanced Commands",
        commands: &[
            leaf::<diff::Diff>(),
            leaf::<apply::Apply>(),
            leaf::<patch::Patch>(),
            leaf::<replace::Replace>(),
            leaf::<wait::Wait>(),
        ],
    },
    Group {
        title: "Settings Commands",
        commands: &[
            leaf::<label::Label>(),
            leaf::<label::Annotate>(),
            leaf::<completion::Completion>(),
        ],
    },
    Group {
        title: "Other Commands",
        commands: &[
            leaf::<version::ApiResources>(),
            leaf::<version::ApiVersions>(),
            group("config", "Modify kubeconfig files", config::USAGE, config::SUBCOMMANDS),
            leaf::<version::Options>(),
            leaf::<version::Version>(),
        ],
    },
];
