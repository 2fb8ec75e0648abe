//! The text of a description: lines of cells that are aligned at the end.

use std::{collections::BTreeMap, fmt::Display};

use apimachinery::{
    api::{core::Event, meta::ObjectMeta},
    duration::HumanDuration,
    time::Time,
};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    printers::{event_age, go_sort},
    tabwriter::align,
};

/// An annotation, key included, longer than this stands on lines of its own, cut.
const LONGEST_ANNOTATION: usize = 140;
/// What `kubectl apply` remembers is nothing to look at.
const SKIPPED_ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A description that is being written.
pub(super) struct Text<'a> {
    cells: String,
    now: Timestamp,
    zone: &'a TimeZone,
}

impl<'a> Text<'a> {
    pub(super) fn new(now: Timestamp, zone: &'a TimeZone) -> Self {
        Self { cells: String::new(), now, zone }
    }

    /// The whole, aligned.
    pub(super) fn finish(self) -> String {
        align(&self.cells.replace('\u{1b}', "^["), 0, 2)
    }

    /// The whole as it was written, its cells separated by tabs.
    pub(super) fn unaligned(self) -> String {
        self.cells
    }

    /// Where times are told.
    pub(super) fn zone(&self) -> &TimeZone {
        self.zone
    }

    /// Adds text as it is.
    pub(super) fn raw(&mut self, text: &str) {
        self.cells.push_str(text);
    }

    /// Adds a line; cells are separated by tabs.
    pub(super) fn line(&mut self, level: usize, text: impl Display) {
        self.cells.extend(std::iter::repeat_n("  ", level));
        self.cells.push_str(&text.to_string());
        self.cells.push('\n');
    }

    /// Adds `name:` and its value.
    pub(super) fn field(&mut self, level: usize, name: &str, value: impl Display) {
        self.line(level, format_args!("{name}:\t{value}"));
    }

    /// Adds `name:` and its value, where there is one.
    pub(super) fn optional(&mut self, level: usize, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.field(level, name, value);
        }
    }

    /// Adds a title and one line for each of `lines`.
    pub(super) fn multiline(&mut self, title: &str, lines: &[String]) {
        self.raw(&format!("{title}:\t"));
        if lines.is_empty() {
            self.raw("<none>\n");
        }
        for (index, line) in lines.iter().enumerate() {
            let indent = if index > 0 { "\t" } else { "" };
            self.raw(&format!("{indent}{line}\n"));
        }
    }

    /// Adds labels, or a node selector.
    pub(super) fn labels(&mut self, title: &str, labels: &BTreeMap<String, String>) {
        let lines: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.multiline(title, &lines);
    }

    /// Adds annotations; long ones are cut.
    pub(super) fn annotations(&mut self, title: &str, annotations: &BTreeMap<String, String>) {
        let mut lines = Vec::new();
        for (key, value) in annotations.iter().filter(|(key, _)| *key != SKIPPED_ANNOTATION) {
            let value = value.strip_suffix('\n').unwrap_or(value);
            if value.len() + key.len() + 2 > LONGEST_ANNOTATION || value.contains('\n') {
                lines.push(format!("{key}:"));
                let parts = value.split('\n').map(|part| shorten(part, LONGEST_ANNOTATION - 2));
                lines.extend(parts.map(|part| format!("  {part}")));
            } else {
                lines.push(format!("{key}: {value}"));
            }
        }
        self.multiline(title, &lines);
    }

    /// Adds name, namespace (where it has one), labels and annotations: the head of most descriptions.
    pub(super) fn head(&mut self, metadata: &ObjectMeta) {
        self.field(0, "Name", metadata.name.as_deref().unwrap_or_default());
        self.field(0, "Namespace", metadata.namespace.as_deref().unwrap_or_default());
        self.labels("Labels", &metadata.labels);
        self.annotations("Annotations", &metadata.annotations);
    }

    /// The same with a selector after the namespace.
    pub(super) fn head_with_selector(&mut self, metadata: &ObjectMeta, selector: &str) {
        self.field(0, "Name", metadata.name.as_deref().unwrap_or_default());
        self.field(0, "Namespace", metadata.namespace.as_deref().unwrap_or_default());
        self.field(0, "Selector", selector);
        self.labels("Labels", &metadata.labels);
        self.annotations("Annotations", &metadata.annotations);
    }

    /// A time of day, as Go's RFC1123Z.
    pub(super) fn date(&self, time: Timestamp) -> String {
        let zoned = time.to_zoned(self.zone.clone());
        zoned.strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
    }

    /// A time of an object; one that is missing is Go's zero time.
    pub(super) fn time(&self, time: Option<Time>) -> String {
        time.map_or_else(|| "Mon, 01 Jan 0001 00:00:00 +0000".to_owned(), |time| self.date(time.0))
    }

    /// A time of an object, as Go prints times unasked.
    pub(super) fn go_time(&self, time: Option<Time>) -> String {
        let Some(time) = time else { return "0001-01-01 00:00:00 +0000 UTC".to_owned() };
        time.0.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
    }

    /// How long ago it was.
    pub(super) fn age(&self, time: Option<Time>) -> String {
        self.since(time.map(|time| time.0))
    }

    fn since(&self, time: Option<Timestamp>) -> String {
        time.map_or_else(
            || "<unknown>".to_owned(),
            |time| HumanDuration::between(time, self.now).to_string(),
        )
    }

    /// Adds the events, oldest first; `None`: none are wanted.
    pub(super) fn events(&mut self, events: Option<Vec<Event>>) {
        let Some(mut events) = events else { return };
        if events.is_empty() {
            self.raw("Events:\t<none>\n");
            return;
        }
        let time = |event: &Event| event.last_timestamp.map(|time| time.0);
        go_sort::sort(&mut events, |a, b| time(a) < time(b));
        self.raw("Events:\n  Type\tReason\tAge\tFrom\tMessage\n");
        self.line(1, "----\t------\t----\t----\t-------");
        for event in &events {
            let age = event_age(event, self.now);
            let component = event.source.as_ref().and_then(|source| source.component.as_deref());
            let from = component
                .filter(|component| !component.is_empty())
                .or(event.reporting_component.as_deref())
                .unwrap_or_default();
            let message = event.message.as_deref().unwrap_or_default().trim();
            let kind = event.type_.as_deref().unwrap_or_default();
            let reason = event.reason.as_deref().unwrap_or_default();
            let line = format!("{kind}\t{reason}\t{age}\t{from}\t{message}");
            self.line(1, line);
        }
    }
}

/// The value of an absent or empty text.
pub(super) fn or_none(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("<none>")
}

/// `Kind/name` of the controller.
pub(super) fn controlled_by(metadata: &ObjectMeta) -> Option<String> {
    let owner = metadata.owner_references.iter().find(|owner| owner.controller == Some(true))?;
    Some(format!("{}/{}", owner.kind, owner.name))
}

fn shorten(text: &str, longest: usize) -> String {
    if text.len() > longest {
        format!("{}...", &text[..text.floor_char_boundary(longest)])
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use apimachinery::api::core::{EventSource, ObjectReference};

    use super::*;

    pub(in super::super) const NOW: &str = "2026-01-02T03:04:05Z";

    /// What `write` writes at [`NOW`], in UTC.
    pub(in super::super) fn written(write: impl FnOnce(&mut Text<'_>)) -> String {
        let zone = TimeZone::UTC;
        let mut text = Text::new(NOW.parse().unwrap(), &zone);
        write(&mut text);
        text.finish()
    }

    fn ago(seconds: i64) -> Option<Time> {
        let now: Timestamp = NOW.parse().unwrap();
        Some(Time(now - jiff::SignedDuration::from_secs(seconds)))
    }

    #[test]
    fn heads_are_aligned() {
        let metadata = ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("default".to_owned()),
            labels: [("a", "b"), ("c", "d")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            annotations: [
                (SKIPPED_ANNOTATION.to_owned(), "x".to_owned()),
                ("long".to_owned(), "y".repeat(150)),
            ]
            .into(),
            ..ObjectMeta::default()
        };
        let expected = format!(
            "Name:         web\nNamespace:    default\nLabels:       a=b\n              c=d\nAnnotations:  long:\n                {}...\n",
            "y".repeat(138)
        );
        assert_eq!(written(|text| text.head(&metadata)), expected);
    }

    #[test]
    fn events_stand_in_a_table() {
        let event = |reason: &str, last: i64, count: i32| Event {
            type_: Some("Normal".to_owned()),
            reason: Some(reason.to_owned()),
            first_timestamp: ago(300),
            last_timestamp: ago(last),
            count: Some(count),
            source: Some(EventSource { component: Some("kubelet".to_owned()), host: None }),
            message: Some("did it\n".to_owned()),
            involved_object: ObjectReference {
                field_path: Some("spec.containers{web}".to_owned()),
                ..ObjectReference::default()
            },
            ..Event::default()
        };
        let events = vec![event("Pulled", 10, 3), event("Started", 300, 1)];
        assert_eq!(
            written(|text| text.events(Some(events))),
            "Events:\n  Type    Reason   Age               From     Message\n  ----    ------   ----              ----     -------\n  Normal  Started  5m                kubelet  did it\n  Normal  Pulled   10s (x3 over 5m)  kubelet  did it\n"
        );
        assert_eq!(written(|text| text.events(Some(Vec::new()))), "Events:  <none>\n");
        assert_eq!(written(|text| text.events(None)), "");
    }

    #[test]
    fn times_are_gos() {
        written(|text| {
            assert_eq!(text.time(ago(0)), "Fri, 02 Jan 2026 03:04:05 +0000");
            assert_eq!(text.time(None), "Mon, 01 Jan 0001 00:00:00 +0000");
            assert_eq!(text.age(ago(90)), "90s");
        });
    }
}
