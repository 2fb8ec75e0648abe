//! The lessons of `examples/lessons`, as they are typed: every claim in them holds.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use crate::{launcher::User, support::project};

fn folder() -> PathBuf {
    project().join("examples/lessons")
}

/// Takes a lesson on a machine of its own.
fn take(name: &str) {
    let mut user = User::new();
    user.clusters.push("lessons".to_owned());
    let Output { status, stdout, stderr } = Command::new("sh")
        .arg(folder().join(name))
        .arg(&user.programs)
        .current_dir(project())
        .env("HOME", user.home.path())
        .env_remove("KUBECONFIG")
        .env_remove("XDG_STATE_HOME")
        .env_remove("LESSONS_CLUSTER")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&stdout);
    assert!(status.success(), "{told}\n{}", String::from_utf8_lossy(&stderr));
    assert!(told.matches("holds").count() > 10, "it claims little:\n{told}");
}

/// A test of each lesson.
macro_rules! lessons {
    ($($test:ident: $name:literal,)*) => {
        const LESSONS: &[&str] = &[$($name),*];

        $(
            #[test]
            fn $test() {
                take($name);
            }
        )*
    };
}

lessons! {
    how_networking_works: "0-how-networking-works.sh",
    networking_and_services: "1-networking-and-services.sh",
    networking_fundamentals: "2-networking-fundamentals.sh",
    networking_internals: "3-networking-internals.sh",
    services_and_concepts: "4-services-and-concepts.sh",
}

#[test]
fn the_readme_names_each_lesson_and_each_is_taken() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lib.sh")
        .collect();
    files.sort();
    assert_eq!(files, LESSONS);
    let readme = std::fs::read_to_string(project().join("README.md")).unwrap();
    for name in LESSONS {
        assert!(readme.contains(&format!("(examples/lessons/{name})")), "{name}");
    }
}
