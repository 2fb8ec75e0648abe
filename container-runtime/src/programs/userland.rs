//! busybox, alpine, curl, netshoot, ubuntu, debian …: a shell and the usual commands.

use std::collections::BTreeMap;

use crate::catalogue::ImageDefinition;
use crate::image::Executables;

fn of(cmd: &[&str], megabytes: i64) -> ImageDefinition {
    ImageDefinition {
        entrypoint: Vec::new(),
        cmd: Vec::new(),
        env: Vec::new(),
        working_dir: "/".to_owned(),
        userland: true,
        executables: Executables::Named(BTreeMap::new()),
        files: Vec::new(),
        size_bytes: 0,
    }
    .cmd(cmd)
    .megabytes(megabytes)
}

const ALPINE: &str = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.22.1\n\
    PRETTY_NAME=\"Alpine Linux v3.22\"\nHOME_URL=\"https://alpinelinux.org/\"\n";
const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\n\
    VERSION_ID=\"13\"\nVERSION=\"13 (trixie)\"\nID=debian\n";
const UBUNTU: &str = "PRETTY_NAME=\"Ubuntu 24.04.3 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n\
    ID=ubuntu\nID_LIKE=debian\n";

pub(super) fn busybox() -> ImageDefinition {
    of(&["sh"], 4)
}

pub(super) fn alpine() -> ImageDefinition {
    of(&["/bin/sh"], 8).file("/etc/os-release", ALPINE)
}

pub(super) fn debian() -> ImageDefinition {
    of(&["bash"], 75).file("/etc/os-release", DEBIAN)
}

pub(super) fn ubuntu() -> ImageDefinition {
    of(&["/bin/bash"], 78).file("/etc/os-release", UBUNTU)
}

/// `curlimages/curl`: the image's entrypoint runs curl with the container's arguments.
pub(super) fn curl() -> ImageDefinition {
    of(&["curl"], 12).entrypoint(&["curl"]).cmd(&[]).file("/etc/os-release", ALPINE)
}

pub(super) fn netshoot() -> ImageDefinition {
    of(&["bash"], 200).file("/etc/os-release", ALPINE)
}
