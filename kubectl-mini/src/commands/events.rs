//! `kubectl events`.

use std::pin::pin;

use apimachinery::{
    api::core::Event,
    resource::{self, ResourceInfo},
};
use client::{ListOptions, WatchEvent, WatchOptions};
use futures::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    cli::{Command, values::parse_i64},
    context::Context,
    errors::CommandError,
    printers::{Formats, Layout, OutputFlags, Printer, event_age, go_sort},
    resources::resolve_type,
};

/// Displays events.
#[derive(clap::Args, Clone, Debug)]
pub struct Events {
    /// None are taken.
    #[arg(hide = true)]
    pub arguments: Vec<String>,
    /// In which format.
    #[command(flatten)]
    pub output: OutputFlags,
    /// If present, list the requested object(s) across all namespaces. Namespace in current context is ignored even if
    /// specified with --namespace.
    #[arg(long, short = 'A')]
    pub all_namespaces: bool,
    /// Return large lists in chunks rather than all at once. Pass 0 to disable.
    #[arg(long, default_value = "500", value_parser = parse_i64)]
    pub chunk_size: i64,
    /// Filter events to only those pertaining to the specified resource.
    #[arg(long = "for")]
    pub r#for: Option<String>,
    /// When using the default output format, don't print headers.
    #[arg(long)]
    pub no_headers: bool,
    /// Output only events of given types.
    #[arg(long, value_delimiter = ',')]
    pub types: Vec<String>,
    /// After listing the requested events, watch for more events.
    #[arg(long, short = 'w')]
    pub watch: bool,
}

impl Command for Events {
    const NAME: &'static str = "events";
    const ABOUT: &'static str = "List events";
    const USAGE: &'static str = "events [(-o|--output=)json|yaml|name|jsonpath|jsonpath-as-json|jsonpath-file] [--for TYPE/NAME] [--watch] [--types=Normal,Warning]";
    const HELP: &'static str = "Display events.

 Prints a table of the most important information about events. You can request events for a namespace, for all namespace, or filtered to only those pertaining to a specified resource.";
    const EXAMPLES: &'static str = "# List recent events in the default namespace
kubectl-mini events

# List recent events for the specified pod, then wait for more events and list them as they arrive
kubectl-mini events --for pod/web-pod-13je7 --watch

# List recent only events of type 'Warning' or 'Normal'
kubectl-mini events --types=Warning,Normal";

    async fn run(self, context: &Context) -> Result<(), CommandError> {
        if let Some(argument) = self.arguments.first() {
            return Err(CommandError::usage(
                "events",
                format!("unexpected argument \"{argument}\": name an object with --for TYPE/NAME"),
            ));
        }
        let printer = self.output.printer(Formats::Common)?;
        let fields = self.fields(context).await?;
        for kind in &self.types {
            if !["normal", "warning"].contains(&kind.to_lowercase().as_str()) {
                return Err(CommandError::message("valid --types are Normal or Warning"));
            }
        }
        let namespace = if self.all_namespaces { String::new() } else { context.namespace()? };
        let table = Table {
            layout: Layout::default(),
            headers: !self.no_headers,
            with_namespace: self.all_namespaces,
        };
        if self.watch {
            return self.watch(context, &namespace, &fields, table, printer).await;
        }
        self.list(context, &namespace, &fields, table, printer).await
    }
}

impl Events {
    /// The field selector of `--for`.
    async fn fields(&self, context: &Context) -> Result<String, CommandError> {
        let Some(named) = self.r#for.as_deref().filter(|named| !named.is_empty()) else {
            return Ok(String::new());
        };
        let Some((name_of_type, name)) = named.split_once('/') else {
            return Err(CommandError::message("--for must be in resource/name form"));
        };
        if name.contains('/') {
            return Err(CommandError::message(
                "arguments in resource/name form may not have more than one slash",
            ));
        }
        let info: &ResourceInfo = match resolve_type(context, name_of_type).await {
            Err(error @ CommandError::NoResourceType(_)) => {
                return Err(CommandError::Verbatim(error.to_string()));
            }
            resolved => resolved?,
        };
        Ok(format!(
            "involvedObject.kind={},involvedObject.apiVersion={},involvedObject.name={name}",
            info.kind,
            info.api_version()
        ))
    }

    fn is_wanted(&self, event: &Event) -> bool {
        let kind = event.type_.as_deref().unwrap_or_default();
        self.types.is_empty() || self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
    }

    async fn list(
        &self,
        context: &Context,
        namespace: &str,
        fields: &str,
        mut table: Table,
        printer: Option<Printer>,
    ) -> Result<(), CommandError> {
        let client = context.client()?;
        let mut options = ListOptions { limit: self.chunk_size, ..ListOptions::fields(fields) };
        let mut found: Vec<(Event, Value)> = Vec::new();
        loop {
            let page = context
                .request(client.list_objects(&resource::EVENTS, namespace, &options))
                .await?;
            for object in page.items {
                let event: Event =
                    object.view().map_err(|error| CommandError::message(error.to_string()))?;
                if self.is_wanted(&event) {
                    found.push((event, object.into_value()));
                }
            }
            if page.continue_token.is_empty() {
                break;
            }
            options.continue_token = page.continue_token;
        }
        if found.is_empty() {
            return context.print_err(&if self.all_namespaces {
                "No events found.\n".to_owned()
            } else {
                format!("No events found in {namespace} namespace.\n")
            });
        }
        go_sort::sort(&mut found, |(a, _), (b, _)| time_of(a) < time_of(b));
        if let Some(printer) = printer {
            let items: Vec<_> = found.into_iter().map(|(_, object)| whole(object)).collect();
            let list = json!({
                "apiVersion": "v1", "items": items, "kind": "EventList", "metadata": {},
            });
            return context.print(&printer.print(&list)?);
        }
        for (event, _) in &found {
            table.add(event, context.clock.now());
        }
        context.print(&table.layout.flush())
    }

    async fn watch(
        &self,
        context: &Context,
        namespace: &str,
        fields: &str,
        mut table: Table,
        printer: Option<Printer>,
    ) -> Result<(), CommandError> {
        let options = WatchOptions { field_selector: fields.to_owned(), ..WatchOptions::default() };
        let client = context.client()?;
        let events = client.watch_objects(&resource::EVENTS, namespace, &options).await?;
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event? else {
                continue;
            };
            let event: Event =
                object.0.view().map_err(|error| CommandError::message(error.to_string()))?;
            if !self.is_wanted(&event) {
                continue;
            }
            match &printer {
                Some(printer) => context.print(&printer.print(&object.0.into_value())?)?,
                None => {
                    table.add(&event, context.clock.now());
                    context.print(&table.layout.flush())?;
                }
            }
        }
        Ok(())
    }
}

/// kubectl prints events from Go structs, in which these fields are never absent.
fn whole(mut event: Value) -> Value {
    let absent = [
        ("eventTime", Value::Null),
        ("firstTimestamp", Value::Null),
        ("lastTimestamp", Value::Null),
        ("reportingComponent", "".into()),
        ("reportingInstance", "".into()),
        ("source", json!({})),
    ];
    if let Some(fields) = event.as_object_mut() {
        for (field, value) in absent {
            fields.entry(field).or_insert(value);
        }
    }
    event
}

/// By which events are sorted.
fn time_of(event: &Event) -> Option<Timestamp> {
    match &event.series {
        Some(series) => series.last_observed_time.map(|time| time.0),
        None => {
            event.last_timestamp.map(|time| time.0).or_else(|| event.event_time.map(|time| time.0))
        }
    }
}

/// Events as people read them.
struct Table {
    layout: Layout,
    /// Still to be printed.
    headers: bool,
    with_namespace: bool,
}

impl Table {
    fn add(&mut self, event: &Event, now: Timestamp) {
        if std::mem::take(&mut self.headers) {
            let namespace = self.with_namespace.then_some("NAMESPACE");
            let headers = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
            self.layout.row(namespace.into_iter().chain(headers).map(ToOwned::to_owned).collect());
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let object = &event.involved_object;
        let mut row = Vec::new();
        if self.with_namespace {
            row.push(text(&event.metadata.namespace));
        }
        row.extend([
            event_age(event, now),
            text(&event.type_),
            text(&event.reason),
            format!("{}/{}", text(&object.kind), text(&object.name)),
            text(&event.message).trim().to_owned(),
        ]);
        self.layout.row(row);
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn events_are_rows() {
        let event: Event = serde_json::from_value(json!({
            "metadata": { "namespace": "ns" },
            "type": "Normal", "reason": "Pulled", "message": " pulled \n", "count": 2,
            "firstTimestamp": "2026-01-02T03:00:05Z", "lastTimestamp": "2026-01-02T03:04:00Z",
            "involvedObject": { "kind": "Pod", "name": "web" },
        }))
        .unwrap();
        let mut table = Table { layout: Layout::default(), headers: true, with_namespace: true };
        table.add(&event, "2026-01-02T03:04:05Z".parse().unwrap());
        assert_eq!(
            table.layout.flush(),
            "NAMESPACE   LAST SEEN         TYPE     REASON   OBJECT    MESSAGE\nns          5s (x2 over 4m)   Normal   Pulled   Pod/web   pulled\n"
        );
    }
}
