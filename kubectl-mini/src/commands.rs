//! The table of commands: one file each.

pub mod create;
pub mod describe;
pub mod get;

use crate::cli::{Spec, leaf};

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
        commands: &[leaf::<create::Create>().with(create::SUBCOMMANDS)],
    },
    Group { title: "Basic Commands (Intermediate)", commands: &[leaf::<get::Get>()] },
    Group { title: "Deploy Commands", commands: &[] },
    Group { title: "Cluster Management Commands", commands: &[] },
    Group {
        title: "Troubleshooting and Debugging Commands",
        commands: &[leaf::<describe::Describe>()],
    },
    Group { title: "Advanced Commands", commands: &[] },
    Group { title: "Other Commands", commands: &[] },
];
