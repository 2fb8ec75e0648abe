use std::fs;
use std::os::unix::fs::symlink;

use component_base::clock::Clock;

use super::*;

fn image() -> Arc<ImageFiles> {
    let mut files = ImageFiles::new();
    files.file("/etc/passwd", "root\n").file("/usr/share/a/b", "image");
    files.add("/var/run", Kind::Symlink("/run".to_owned()), 0o777);
    files.add("/run", Kind::Directory, 0o755);
    Arc::new(files)
}

fn host(path: &str, root: &std::path::Path, sub_path: Option<&str>, read_only: bool) -> Mount {
    let source = MountSource::Host { root: root.to_owned(), sub_path: sub_path.map(str::to_owned) };
    Mount { path: path.to_owned(), source, read_only }
}

fn names(files: &FileSystem, path: &str) -> String {
    let entries = files.read_dir(path).unwrap();
    entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>().join(" ")
}

#[test]
fn layers_answer_in_order() {
    let files = FileSystem::new(image(), Vec::new(), Clock::real()).unwrap();
    assert_eq!(files.read_to_string("/etc/../etc/./passwd").unwrap(), "root\n");
    files.write("/etc/passwd", "mine").unwrap();
    files.append("/etc/passwd", "!").unwrap();
    assert_eq!(files.read_to_string("/etc/passwd").unwrap(), "mine!");
    files.remove_file("/etc/passwd").unwrap();
    let error = |result: FsResult<()>| result.unwrap_err().to_string();
    assert_eq!(error(files.read("/etc/passwd").map(drop)), "No such file or directory");
    assert_eq!(names(&files, "/etc"), "");
    files.write("/var/run/x", "1").unwrap();
    assert_eq!(names(&files, "/run"), "x");
    files.rename("/usr/share", "/moved").unwrap();
    assert_eq!(files.read_to_string("/moved/a/b").unwrap(), "image");
    assert_eq!(names(&files, "/usr"), "");
    assert_eq!(error(files.write("/nope/x", "")), "No such file or directory");
    assert_eq!(error(files.write("/moved", "")), "Is a directory");
    assert_eq!(error(files.create_dir("/moved")), "File exists");
    assert_eq!(error(files.remove_dir("/moved")), "Directory not empty");
    assert_eq!(error(files.rename("/moved", "/moved/a/c")), "Invalid argument");
    files.symlink("/loop", "/loop").unwrap();
    assert_eq!(error(files.read("/loop").map(drop)), "Too many levels of symbolic links");
    let large = vec![0; UPPER_LIMIT];
    assert_eq!(error(files.write("/large", &large)), "No space left on device");
    let other = FileSystem::new(image(), Vec::new(), Clock::real()).unwrap();
    assert_eq!(other.read_to_string("/etc/passwd").unwrap(), "root\n");
}

#[test]
fn volumes_hold_what_is_in_them_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let volume = directory.path().join("volume");
    fs::create_dir_all(volume.join("sub/deep")).unwrap();
    fs::write(directory.path().join("secret"), "host").unwrap();
    fs::write(volume.join("file"), "one").unwrap();
    symlink("/etc/passwd", volume.join("absolute")).unwrap();
    symlink("../secret", volume.join("up")).unwrap();
    symlink("sub", volume.join("link")).unwrap();
    let mounts = vec![
        host("/data", &volume, None, false),
        host("/ro", &volume, None, true),
        host("/one", &volume, Some("file"), false),
        host("/new", &volume, Some("made/here"), false),
    ];
    let files = FileSystem::new(image(), mounts, Clock::real()).unwrap();
    // Links mean what they mean in the container.
    assert_eq!(files.read_to_string("/data/absolute").unwrap(), "root\n");
    assert!(files.read("/data/up").unwrap_err().is_not_found());
    files.write("/data/link/x", "through").unwrap();
    assert_eq!(fs::read_to_string(volume.join("sub/x")).unwrap(), "through");
    assert_eq!(files.read_to_string("/ro/sub/x").unwrap(), "through");
    let read_only = files.write("/ro/sub/x", "").unwrap_err();
    assert_eq!(read_only.to_string(), "Read-only file system");
    files.write("/one", "two").unwrap();
    assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "two");
    assert_eq!(names(&files, "/data"), "absolute file link made sub up");
    files.write("/new/f", "x").unwrap();
    assert!(volume.join("made/here/f").exists());
    files.symlink("/", "/data/root").unwrap();
    files.write("/data/root/etc/new", "x").unwrap();
    assert!(!std::path::Path::new("/etc/new").exists());
    assert_eq!(files.read_to_string("/etc/new").unwrap(), "x");
    assert_eq!(
        files.rename("/data/file", "/f").unwrap_err().to_string(),
        "Invalid cross-device link"
    );
    files.rename("/data/file", "/data/sub/file").unwrap();
    assert!(volume.join("sub/file").exists());
    files.remove_file("/data/link").unwrap();
    assert!(volume.join("sub").exists());
    assert_eq!(files.remove_dir("/data").unwrap_err().to_string(), "Directory not empty");
    // A folder that turns into a link under the container's feet leads nowhere.
    fs::rename(volume.join("sub"), volume.join("old")).unwrap();
    symlink(directory.path(), volume.join("sub")).unwrap();
    assert!(files.read("/data/sub/secret").is_err());
}

#[test]
fn escaping_sub_paths_stay_inside() {
    let directory = tempfile::tempdir().unwrap();
    let volume = directory.path().join("volume");
    fs::create_dir(&volume).unwrap();
    symlink("/etc", volume.join("out")).unwrap();
    symlink("../..", volume.join("up")).unwrap();
    let open = |sub: &str| {
        FileSystem::new(image(), vec![host("/m", &volume, Some(sub), false)], Clock::real())
    };
    assert!(open("out").is_err());
    let files = open("up/../..").unwrap();
    assert_eq!(names(&files, "/m"), "out up");
}

/// A process has tens of thousands of volumes, and no such number of files.
#[cfg(target_os = "linux")]
#[test]
fn only_sub_paths_hold_a_descriptor() {
    let directory = tempfile::tempdir().unwrap();
    let volume = directory.path().join("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    let held = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
        links
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .filter(|to| to.starts_with(&volume))
            .count()
    };
    let whole = FileSystem::new(image(), vec![host("/m", &volume, None, false)], Clock::real());
    let whole = whole.unwrap();
    assert_eq!(held(), 0);
    let mounts = vec![host("/m", &volume, Some("sub"), false)];
    let part = FileSystem::new(image(), mounts, Clock::real()).unwrap();
    assert_eq!(held(), 1);
    // What is mounted of a volume stays where it was found, whatever its name leads to by now.
    fs::rename(volume.join("sub"), volume.join("old")).unwrap();
    symlink("/", volume.join("sub")).unwrap();
    part.write("/m/file", "x").unwrap();
    assert_eq!(whole.read_to_string("/m/old/file").unwrap(), "x");
    assert!(whole.read("/m/sub/etc/hostname").is_err());
}

#[test]
fn a_file_that_is_mounted_alone_stays_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let volume = directory.path().join("volume");
    let write = |text: &'static str| {
        let file = crate::volumes::FileProjection { data: text.into(), mode: 0o640 };
        let payload = [("key".to_owned(), file)].into();
        crate::volumes::write_atomically(&volume, &payload, Clock::real().now()).unwrap();
    };
    write("old");
    let mounts = vec![host("/all", &volume, None, true), host("/one", &volume, Some("key"), true)];
    let files = FileSystem::new(image(), mounts, Clock::real()).unwrap();
    write("newer");
    assert_eq!(files.read_to_string("/all/key").unwrap(), "newer");
    assert_eq!(files.read_to_string("/one").unwrap(), "old");
    let found = files.metadata("/one").unwrap();
    assert_eq!((found.size, found.mode), (3, 0o640));
}
