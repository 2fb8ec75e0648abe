//! Events reach the server counted and combined, and an outage delays but does not lose them.

use std::time::Duration;

use apimachinery::{api::core::Pod, resource, status::Status};
use component_base::shutdown::Shutdown;
use serde_json::{Value, json};

use super::{EventRecorder, EventType};
use crate::testing::Fixture;

fn pod() -> Pod {
    let mut pod = Pod::default();
    pod.metadata.namespace = Some("default".to_owned());
    pod.metadata.name = Some("web".to_owned());
    pod.metadata.uid = Some("uid-web".to_owned());
    pod
}

fn start(fixture: &Fixture) -> EventRecorder {
    EventRecorder::start(
        &fixture.client,
        &fixture.clock,
        "kubelet",
        Some("node-1"),
        &fixture.shutdown,
    )
}

fn events(fixture: &Fixture) -> Vec<Value> {
    fixture.server.objects(&resource::EVENTS)
}

#[tokio::test]
async fn an_event_is_written_whole_and_then_counted() {
    let fixture = Fixture::new();
    let recorder = start(&fixture);
    recorder.record(&pod(), EventType::Normal, "Pulled", "image pulled");
    fixture.test_clock.settle().await;
    let mut event = events(&fixture).remove(0);
    assert_eq!(event["metadata"]["name"], "web.18867251edfa0000");
    event["metadata"] = Value::Null;
    let first = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": null,
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "web", "uid": "uid-web",
        },
        "type": "Normal",
        "reason": "Pulled",
        "message": "image pulled",
        "source": {"component": "kubelet", "host": "node-1"},
        "reportingComponent": "kubelet",
        "reportingInstance": "node-1",
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    });
    assert_eq!(event, first);

    fixture.test_clock.advance(Duration::from_secs(5)).await;
    recorder.record(&pod(), EventType::Normal, "Pulled", "image pulled");
    fixture.test_clock.settle().await;
    let counted = events(&fixture);
    assert_eq!(counted.len(), 1);
    assert_eq!(counted[0]["count"], 2);
    assert_eq!(counted[0]["firstTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(counted[0]["lastTimestamp"], "2026-01-01T00:00:05Z");

    // The Event has expired meanwhile: another takes its place and goes on counting.
    let name = counted[0]["metadata"]["name"].as_str().unwrap();
    fixture.server.remove(&resource::EVENTS, "default", name);
    recorder.record(&pod(), EventType::Normal, "Pulled", "image pulled");
    fixture.test_clock.settle().await;
    assert_eq!(events(&fixture)[0]["count"], 3);
}

#[tokio::test]
async fn similar_events_become_one() {
    let fixture = Fixture::new();
    let recorder = start(&fixture);
    for number in 0..20 {
        recorder.record(&pod(), EventType::Warning, "Failed", format!("attempt {number}"));
        fixture.test_clock.settle().await;
    }
    let events = events(&fixture);
    assert_eq!(events.len(), 10);
    let message = "(combined from similar events): attempt 19";
    let combined: Vec<_> = events.iter().filter(|event| event["message"] == message).collect();
    assert_eq!(combined.len(), 1);
    assert_eq!(combined[0]["count"], 11);
}

#[tokio::test]
async fn what_is_queued_at_the_end_is_still_written() {
    let fixture = Fixture::new();
    let end = Shutdown::new();
    let recorder = EventRecorder::start(&fixture.client, &fixture.clock, "kubelet", None, &end);
    fixture.test_clock.settle().await;
    fixture.server.set_outage(Some(Status::forbidden(&resource::EVENTS, "", "no")));
    recorder.record(&pod(), EventType::Normal, "Refused", "dropped, since the server refuses");
    fixture.test_clock.settle().await;
    fixture.server.set_outage(None);
    recorder.record(&pod(), EventType::Normal, "Killing", "the end");
    end.cancel();
    fixture.test_clock.settle().await;
    let reasons: Vec<_> = events(&fixture).iter().map(|event| event["reason"].clone()).collect();
    assert_eq!(reasons, ["Killing"]);
}
