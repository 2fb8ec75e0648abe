//! The files every image has, and those of images with a shell.

use crate::files::{Device, ImageFiles, Kind};
use crate::image::Executables;
use crate::shell;

const OS_RELEASE: &str = "PRETTY_NAME=\"kube-mini userland\"\nNAME=\"kube-mini userland\"\n\
    ID=kube-mini\nVERSION_ID=\"1\"\n";

/// Commands that are found below `/bin` alone, as in busybox; others are below `/usr/bin` too.
const IN_BIN: &[&str] = &[
    "ash", "bash", "cat", "chmod", "chown", "cp", "date", "echo", "egrep", "false", "fgrep",
    "grep", "hostname", "ip", "kill", "ln", "ls", "mkdir", "mktemp", "mv", "ping", "ps", "pwd",
    "rm", "rmdir", "sed", "sh", "sleep", "stat", "sync", "touch", "true", "uname",
];

/// The base of all images.
pub(crate) fn files(userland: bool) -> ImageFiles {
    let mut files = ImageFiles::new();
    for path in ["/dev", "/etc", "/proc", "/run", "/sys", "/usr", "/var/log", "/var/run"] {
        files.add(path, Kind::Directory, 0o755);
    }
    let devices = [
        ("null", Device::Null),
        ("zero", Device::Zero),
        ("random", Device::Random),
        ("urandom", Device::Random),
        ("stdin", Device::Stdin),
        ("stdout", Device::Stdout),
        ("stderr", Device::Stderr),
    ];
    for (name, device) in devices {
        files.add(&format!("/dev/{name}"), Kind::Device(device), 0o666);
    }
    files.file("/dev/termination-log", "");
    files.file(
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    );
    files.file("/etc/group", "root:x:0:\nnobody:x:65534:\n");
    files.file("/proc/version", "Linux version 6.12.0 (kube-mini) #1 SMP\n");
    files.add("/tmp", Kind::Directory, 0o1777);
    if userland {
        for path in
            ["/home", "/mnt", "/opt", "/root", "/sbin", "/srv", "/usr/bin", "/usr/local/bin"]
        {
            files.add(path, Kind::Directory, 0o755);
        }
        files.file("/etc/os-release", OS_RELEASE);
        for name in shell::command_names() {
            command(&mut files, name);
        }
    }
    files
}

/// The executable of a command.
pub(crate) fn command(files: &mut ImageFiles, name: &str) {
    files.add(&format!("/bin/{name}"), Kind::Executable, 0o755);
    if !IN_BIN.contains(&name) {
        files.add(&format!("/usr/bin/{name}"), Kind::Executable, 0o755);
    }
}

/// The image's own executables.
pub(crate) fn executables(files: &mut ImageFiles, executables: &Executables) {
    if let Executables::Named(programs) = executables {
        for name in programs.keys() {
            let path = format!("/usr/local/bin/{name}");
            files.add(&path, Kind::Executable, 0o755);
        }
    }
}
