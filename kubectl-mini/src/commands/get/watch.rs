//! `-w`: what is there, and then what changes.

use std::pin::pin;

use apimachinery::{object::Object, resource::ResourceInfo};
use client::{IncludeObject, ListOptions, Table, WatchEvent, WatchOptions};
use futures::StreamExt;
use serde_json::Value;

use super::{Form, Get, print};
use crate::{
    context::Context,
    errors::CommandError,
    printers::{Printer, table::TablePrinter},
    resources::{Target, fetch_named},
};

const ONE_ONLY: &str = "watch is only supported on individual resources and resource collections - more than 1 resource was found";

/// What is watched, and from where.
struct Watched<'a> {
    info: &'static ResourceInfo,
    namespace: &'a str,
    options: WatchOptions,
    /// The first event is the object as it was already printed.
    skip_first: bool,
}

pub(super) async fn run(get: &Get, context: &Context) -> Result<(), CommandError> {
    let found = get.selection().targets(context).await?;
    CommandError::gather(found.errors)?;
    let [target] = found.targets.as_slice() else {
        return Err(CommandError::message(ONE_ONLY));
    };
    match get.form(context)? {
        Form::Table(wide) => tables(get, context, target, wide).await,
        Form::Objects(printer) => objects(get, context, target, &printer).await,
    }
}

async fn tables(
    get: &Get,
    context: &Context,
    target: &Target,
    wide: bool,
) -> Result<(), CommandError> {
    let info = target.info();
    let options = get.table_options(info, wide, false);
    let mut printer = TablePrinter::new(options, info);
    let table = print::table_of(context, target, IncludeObject::Metadata, get.chunk_size).await?;
    let version = table.metadata.resource_version.clone();
    if !get.watch_only {
        let event = get.output_watch_events.then_some("ADDED");
        printer.add(table, event);
        context.print(&printer.flush())?;
    }
    let watched = watched(target, version);
    let client = context.client()?;
    let events = client
        .watch_table(info, watched.namespace, &watched.options, IncludeObject::Metadata)
        .await?;
    let mut events = pin!(events);
    let mut skip = watched.skip_first;
    while let Some(event) = events.next().await {
        let (kind, table): (&str, Table) = match event? {
            WatchEvent::Added(table) => ("ADDED", table),
            WatchEvent::Modified(table) => ("MODIFIED", table),
            WatchEvent::Deleted(table) => ("DELETED", table),
            WatchEvent::Bookmark { .. } => continue,
        };
        if std::mem::take(&mut skip) {
            // Its columns are those of the rows to come.
            printer.add(Table { rows: Vec::new(), ..table }, None);
            continue;
        }
        printer.add(table, get.output_watch_events.then_some(kind));
        context.print(&printer.flush())?;
    }
    Ok(())
}

async fn objects(
    get: &Get,
    context: &Context,
    target: &Target,
    printer: &Printer,
) -> Result<(), CommandError> {
    let (objects, version) = present(context, target).await?;
    let print = |kind: &str, object: Value| -> Result<(), CommandError> {
        context.print(&if get.output_watch_events {
            printer.print_event(kind, object)?
        } else {
            printer.print(&object)?
        })
    };
    if !get.watch_only {
        objects.into_iter().try_for_each(|object| print("ADDED", object))?;
    }
    let watched = watched(target, version);
    let client = context.client()?;
    let mut events =
        client.watch_objects(watched.info, watched.namespace, &watched.options).await?;
    let mut skip = watched.skip_first;
    while let Some(event) = events.next().await {
        let (kind, object) = match event? {
            WatchEvent::Added(object) => ("ADDED", object),
            WatchEvent::Modified(object) => ("MODIFIED", object),
            WatchEvent::Deleted(object) => ("DELETED", object),
            WatchEvent::Bookmark { .. } => continue,
        };
        if !std::mem::take(&mut skip) {
            print(kind, object.0.into_value())?;
        }
    }
    Ok(())
}

/// The objects as they are now, and the version from which a watch goes on.
async fn present(context: &Context, target: &Target) -> Result<(Vec<Value>, String), CommandError> {
    match target {
        Target::Named { info, namespace, name, .. } => {
            let item = fetch_named(context, info, namespace, name).await?;
            let version = item.object.resource_version().to_owned();
            Ok((vec![item.object.into_value()], version))
        }
        Target::Collection { info, namespace, labels, fields } => {
            let options = ListOptions {
                label_selector: labels.clone(),
                field_selector: fields.clone(),
                ..ListOptions::default()
            };
            let list =
                context.request(context.client()?.list_objects(info, namespace, &options)).await?;
            let objects = list.items.into_iter().map(Object::into_value).collect();
            Ok((objects, list.resource_version))
        }
    }
}

fn watched<'a>(target: &'a Target, version: String) -> Watched<'a> {
    match target {
        Target::Named { info, namespace, name, .. } => Watched {
            info,
            namespace,
            options: WatchOptions {
                field_selector: format!("metadata.name={name}"),
                // The object's own version may be older than what the server remembers; its present state comes first.
                resource_version: "0".to_owned(),
                ..WatchOptions::default()
            },
            skip_first: true,
        },
        Target::Collection { info, namespace, labels, fields } => Watched {
            info,
            namespace,
            options: WatchOptions {
                label_selector: labels.clone(),
                field_selector: fields.clone(),
                resource_version: version,
                ..WatchOptions::default()
            },
            skip_first: false,
        },
    }
}
