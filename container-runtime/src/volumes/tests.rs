use std::time::Duration;

use super::*;

fn payload(files: &[(&str, &str, u32)]) -> BTreeMap<String, FileProjection> {
    let file = |(path, data, mode): &(&str, &str, u32)| {
        let data = Bytes::copy_from_slice(data.as_bytes());
        ((*path).to_owned(), FileProjection { data, mode: *mode })
    };
    files.iter().map(file).collect()
}

fn listing(volume: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(volume)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("..19"))
        .collect();
    names.sort();
    names
}

#[test]
fn volumes_change_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let volume = directory.path().join("config");
    let mut now = Timestamp::UNIX_EPOCH;
    let mut write = |files: &[(&str, &str, u32)]| {
        now += Duration::from_secs(1);
        write_atomically(&volume, &payload(files), now).unwrap()
    };
    let first = [("a", "1", 0o644), ("dir/b", "2", 0o400)];
    assert!(write(&first));
    assert!(!write(&first));
    assert_eq!(fs::read_to_string(volume.join("dir/b")).unwrap(), "2");
    let mode = fs::metadata(volume.join("dir/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o400);
    assert_eq!(fs::read_link(volume.join("a")).unwrap(), Path::new("..data/a"));
    assert_eq!(listing(&volume), ["..data", "a", "dir"]);
    assert!(write(&[("a", "new", 0o644), ("c", "3", 0o644)]));
    assert_eq!(listing(&volume), ["..data", "a", "c"]);
    assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "new");
    assert!(write(&[("a", "new", 0o600), ("c", "3", 0o644)]));
    // One folder of content stays.
    assert_eq!(fs::read_dir(&volume).unwrap().count(), 4);
    assert!(write(&[]));
    assert_eq!(listing(&volume), ["..data"]);
    remove(&volume).unwrap();
    remove(&volume).unwrap();
}

#[test]
fn paths_stay_inside() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["", "/a", "../a", "a/../b", "..data", "a//b"] {
        let written = write_atomically(
            directory.path(),
            &payload(&[(path, "", 0o644)]),
            Timestamp::UNIX_EPOCH,
        );
        assert!(matches!(written, Err(VolumeError::Path(_))), "{path}");
    }
}
