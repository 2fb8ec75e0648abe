//! What is there now: as tables, or as objects.

use apimachinery::{
    duration::HumanDuration, object::ObjectKey, resource::ResourceInfo, status::Status,
};
use client::{
    IncludeObject, ListOptions, Table,
    api::{Column, Row},
};
use jiff::Timestamp;

use super::Get;
use crate::{
    context::Context,
    errors::CommandError,
    printers::{Printer, list, sort::sort_by, table::TablePrinter},
    resources::{Item, Target, Targets, explain_list, explain_missing, fetch},
};

/// Prints the server's tables, one group of rows per type.
pub(super) async fn tables(
    get: &Get,
    context: &Context,
    found: Targets,
    wide: bool,
) -> Result<(), CommandError> {
    let mut errors = found.errors;
    let include =
        if get.sort_by.is_some() { IncludeObject::Object } else { IncludeObject::Metadata };
    let chunk_size = if get.sort_by.is_some() { 0 } else { get.chunk_size };
    let mut tables: Vec<(&'static ResourceInfo, Table)> = Vec::new();
    for target in &found.targets {
        match table_for(get, context, target, include, chunk_size).await {
            Ok(table) => tables.push((target.info(), table)),
            Err(error) if get.ignore_not_found && error.is_not_found() => {}
            Err(error) => errors.push(error),
        }
    }
    if let Some(expression) = &get.sort_by {
        for (_, table) in &mut tables {
            // kubectl prints nothing of what it cannot sort.
            if sort_by(&mut table.rows, expression, |row| &row.object).is_err() {
                table.rows.clear();
            }
        }
    }
    let with_kind = tables.windows(2).any(|pair| pair[0].0 != pair[1].0);
    let mut out = String::new();
    let mut printer: Option<(&'static ResourceInfo, TablePrinter)> = None;
    let mut all_namespaced = !get.all_namespaces;
    for (info, table) in tables {
        all_namespaced &= info.namespaced;
        if printer.as_ref().is_none_or(|(last, _)| *last != info) {
            finish(&mut out, printer.take(), get.no_headers);
            let options = get.table_options(info, wide, with_kind);
            printer = Some((info, TablePrinter::new(options, info)));
        }
        if let Some((_, printer)) = &mut printer {
            printer.add(table, None);
        }
    }
    finish(&mut out, printer, get.no_headers);
    context.print(&out)?;
    if out.is_empty() && !get.ignore_not_found && errors.is_empty() {
        context.print_err(&if all_namespaced {
            format!("No resources found in {} namespace.\n", context.namespace()?)
        } else {
            "No resources found\n".to_owned()
        })?;
    }
    CommandError::list(errors)
}

/// Adds a type's rows, after an empty line where others stand before.
fn finish(
    out: &mut String,
    printer: Option<(&'static ResourceInfo, TablePrinter)>,
    no_headers: bool,
) {
    let text = printer.map(|(_, mut printer)| printer.flush()).unwrap_or_default();
    if !text.is_empty() && !out.is_empty() && !no_headers {
        out.push('\n');
    }
    out.push_str(&text);
}

/// The table that the flags ask for: the server's, of an object or a subresource, or our own.
async fn table_for(
    get: &Get,
    context: &Context,
    target: &Target,
    include: IncludeObject,
    chunk_size: i64,
) -> Result<Table, CommandError> {
    if !get.server_print {
        let items = objects_of(get, context, target).await?;
        return Ok(plain_table(items, context.clock.now()));
    }
    match target {
        Target::Named { info, namespace, name, .. } if !get.subresource.is_empty() => {
            let client = context.client()?;
            let api = client.resource(info).namespace(namespace).subresource(&get.subresource);
            let table = context.request(api.get_table(name, include)).await?;
            if !table.rows.is_empty() {
                return Ok(table);
            }
            // Scales and the like have no table of their own.
            let items = objects_of(get, context, target).await?;
            Ok(plain_table(items, context.clock.now()))
        }
        target => table_of(context, target, include, chunk_size).await,
    }
}

async fn objects_of(
    get: &Get,
    context: &Context,
    target: &Target,
) -> Result<Vec<Item>, CommandError> {
    match target {
        Target::Named { info, namespace, name, .. } if !get.subresource.is_empty() => {
            let client = context.client()?;
            let api = client.resource(info).namespace(namespace).subresource(&get.subresource);
            let object = context.request(api.get(name)).await?.object()?;
            Ok(vec![Item { info, object }])
        }
        target => fetch(context, target, get.chunk_size).await,
    }
}

/// kubectl's own table of what it does not know: names and ages.
fn plain_table(items: Vec<Item>, now: Timestamp) -> Table {
    let column = |name: &str, format: &str| Column {
        name: name.to_owned(),
        kind: "string".to_owned(),
        format: format.to_owned(),
        ..Column::default()
    };
    let row = |Item { object, .. }: Item| {
        let age = object.creation_timestamp().map_or_else(
            || "<unknown>".to_owned(),
            |created| HumanDuration::between(created.0, now).to_string(),
        );
        Row { cells: vec![object.name().into(), age.into()], object: object.into_value() }
    };
    Table {
        column_definitions: vec![column("Name", "name"), column("Age", "")],
        rows: items.into_iter().map(row).collect(),
        ..Table::default()
    }
}

pub(super) async fn table_of(
    context: &Context,
    target: &Target,
    include: IncludeObject,
    chunk_size: i64,
) -> Result<Table, CommandError> {
    let client = context.client()?;
    match target {
        Target::Named { info, namespace, name, .. } => {
            let key = ObjectKey::new(namespace.as_str(), name.as_str());
            match context.request(client.get_table(info, &key, include)).await {
                Err(error) => Err(explain_missing(context, error, namespace).await),
                table => table,
            }
        }
        Target::Collection { info, namespace, labels, fields } => {
            let mut options = ListOptions {
                label_selector: labels.clone(),
                field_selector: fields.clone(),
                limit: chunk_size,
                ..ListOptions::default()
            };
            let mut whole: Option<Table> = None;
            loop {
                let page = context
                    .request(client.list_table(info, namespace, &options, include))
                    .await
                    .map_err(|error| explain_list(error, info, labels, fields));
                let page = match page {
                    Err(error) if whole.is_some() && expired(&error) => {
                        // The list changed too much while it was read: once more, whole.
                        whole = None;
                        options.limit = 0;
                        options.continue_token.clear();
                        continue;
                    }
                    page => page?,
                };
                options.continue_token.clone_from(&page.metadata.continue_token);
                match &mut whole {
                    Some(whole) => whole.rows.extend(page.rows),
                    None => whole = Some(page),
                }
                if options.continue_token.is_empty() {
                    return Ok(whole.unwrap_or_default());
                }
            }
        }
    }
}

fn expired(error: &CommandError) -> bool {
    error.status().is_some_and(Status::is_expired)
}

/// Prints the objects themselves: a single one as it is, several as a list.
pub(super) async fn objects(
    get: &Get,
    context: &Context,
    found: Targets,
    printer: &Printer,
) -> Result<(), CommandError> {
    let mut errors = found.errors;
    let mut items: Vec<Item> = Vec::new();
    for target in &found.targets {
        match objects_of(get, context, target).await {
            Ok(fetched) => items.extend(fetched),
            Err(error) if get.ignore_not_found && error.is_not_found() => {}
            Err(error) if found.single => return Err(error),
            Err(error) => errors.push(error),
        }
    }
    if items.is_empty() && get.ignore_not_found {
        return CommandError::gather(errors);
    }
    let mut values: Vec<_> = items.into_iter().map(|item| item.object.into_value()).collect();
    if let Some(expression) = &get.sort_by {
        sort_by(&mut values, expression, |value| value)?;
    }
    let text = match values.as_slice() {
        [value] if found.single => printer.print(value),
        _ => printer.print(&list(values)),
    };
    match text {
        Ok(text) => context.print(&text)?,
        Err(error) => errors.push(error),
    }
    CommandError::gather(errors)
}
