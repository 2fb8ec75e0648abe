use std::fs;
use std::time::Duration;

use component_base::clock::Clock;

use super::*;

async fn read(path: &Path, options: LogOptions) -> String {
    let all = LogReader::open(path, options, None).unwrap().read_to_end().await.unwrap();
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn options_choose_lines() {
    let directory = tempfile::tempdir().unwrap();
    let path = path(directory.path(), "ns", "pod", "uid", "main", 0);
    assert!(path.ends_with("ns_pod_uid/main/0.log"));
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let (clock, time) = Clock::test(start);
    let writer = LogWriter::open(&path, &clock).unwrap();
    let (out, err) = (writer.sink(LogStream::Stdout), writer.sink(LogStream::Stderr));
    out.write(b"one\ntw").unwrap();
    time.advance(Duration::from_secs(1)).await;
    err.write(b"oops\n").unwrap();
    out.write(b"o\n").unwrap();
    time.advance(Duration::from_secs(1)).await;
    out.write(b"last").unwrap();
    writer.close();
    assert!(out.write(b"x").is_err());
    let file = fs::read_to_string(&path).unwrap();
    assert_eq!(file.lines().next().unwrap(), "2026-01-01T00:00:00.000000000Z stdout F one");
    let check = async |options: LogOptions, expected: &str| {
        assert_eq!(read(&path, options.clone()).await, expected, "{options:?}");
    };
    let options = LogOptions::default;
    check(options(), "one\noops\ntwo\nlast\n").await;
    check(LogOptions { tail_lines: Some(2), ..options() }, "two\nlast\n").await;
    check(LogOptions { tail_lines: Some(0), ..options() }, "").await;
    check(LogOptions { tail_lines: Some(99), ..options() }, "one\noops\ntwo\nlast\n").await;
    check(LogOptions { limit_bytes: Some(6), ..options() }, "one\noo").await;
    check(LogOptions { stream: Some(LogStream::Stderr), ..options() }, "oops\n").await;
    let since = Some(start + Duration::from_secs(2));
    check(LogOptions { since, ..options() }, "last\n").await;
    let timestamps = LogOptions { timestamps: true, tail_lines: Some(1), ..options() };
    check(timestamps, "2026-01-01T00:00:02.000000000Z last\n").await;
}

#[tokio::test]
async fn long_lines_come_out_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    let writer = LogWriter::open(&path, &Clock::real()).unwrap();
    let line = "x".repeat(40_000) + "\n";
    writer.sink(LogStream::Stdout).write(line.as_bytes()).unwrap();
    writer.close();
    let file = fs::read_to_string(&path).unwrap();
    assert_eq!(file.lines().filter(|line| line.contains(" P ")).count(), 2);
    assert_eq!(read(&path, LogOptions::default()).await, line);
}

#[tokio::test]
async fn followers_go_over_rotations() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("0.log");
    let clock = Clock::real();
    let writer = LogWriter::open_with_limit(&path, &clock, 1000).unwrap();
    let sink = writer.sink(LogStream::Stdout);
    let options = LogOptions { follow: true, ..LogOptions::default() };
    let mut reader = LogReader::open(&path, options, Some(&writer)).unwrap();
    let mut followed = String::new();
    for number in 0..200 {
        sink.write(format!("line {number}\n").as_bytes()).unwrap();
        let chunk = reader.next_chunk().await.unwrap().unwrap();
        followed.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    writer.close();
    assert_eq!(reader.next_chunk().await.unwrap(), None);
    assert_eq!(followed.lines().count(), 200);
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, MAX_FILES);
    assert!(fs::metadata(&path).unwrap().len() <= 1000);
}
