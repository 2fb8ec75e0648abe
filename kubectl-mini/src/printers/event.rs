//! How long ago an event was, and how often.

use apimachinery::{
    api::core::Event,
    duration::HumanDuration,
    time::{MicroTime, Time},
};
use jiff::Timestamp;

/// `5m`, or `10s (x3 over 5m)`.
#[must_use]
pub fn event_age(event: &Event, now: Timestamp) -> String {
    let since = |time: Option<Timestamp>| {
        time.map_or_else(
            || "<unknown>".to_owned(),
            |time| HumanDuration::between(time, now).to_string(),
        )
    };
    let micro = |time: Option<MicroTime>| since(time.map(|time| time.0));
    let time = |time: Option<Time>| since(time.map(|time| time.0));
    let first = match event.event_time {
        Some(_) => micro(event.event_time),
        None => time(event.first_timestamp),
    };
    match (&event.series, event.count) {
        (Some(series), _) => format!(
            "{} (x{} over {first})",
            micro(series.last_observed_time),
            series.count.unwrap_or_default()
        ),
        (None, Some(count)) if count > 1 => {
            format!("{} (x{count} over {first})", time(event.last_timestamp))
        }
        _ => first,
    }
}
