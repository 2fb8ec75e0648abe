//! Reads k8s-openapi's generated source into a [`Model`].
//!
//! That source is itself machine-made, so each fact has one place: the struct gives Rust names and
//! types, `impl Resource` the kind, the `visit_str` of `Deserialize` pairs JSON names with fields
//! (`"envFrom" => Field::Key_env_from`), and `impl DeepMerge` calls one merge strategy per field.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{GenericArgument, Item, ItemImpl, PathArguments};

use crate::model::{Field, Kind, Merge, Model, Struct, Type};

/// Parses every file below the folder.
///
/// # Errors
/// When a file cannot be read or has an unknown shape.
pub fn parse(folder: &Path) -> Result<Model> {
    let mut model = Model::default();
    visit(folder, "", &mut model)?;
    Ok(model)
}

fn visit(folder: &Path, module: &str, model: &mut Model) -> Result<()> {
    let mut entries = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<std::io::Result<Vec<_>>>)
        .with_context(|| format!("read {}", folder.display()))?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            let module = if module.is_empty() { name } else { format!("{module}::{name}") };
            visit(&path, &module, model)?;
        } else if name != "mod.rs" {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("read {}", path.display()))?;
            file(&text, module, model).with_context(|| format!("parse {}", path.display()))?;
        }
    }
    Ok(())
}

fn file(text: &str, module: &str, model: &mut Model) -> Result<()> {
    let items = syn::parse_file(text)?.items;
    let Some(strukt) = items.iter().find_map(|item| match item {
        Item::Struct(item) if item.generics.params.is_empty() => Some(item),
        _ => None,
    }) else {
        return Ok(());
    };
    let syn::Fields::Named(fields) = &strukt.fields else { return Ok(()) };
    let name = strukt.ident.to_string();
    let json = implementation(&items, "Deserialize").map(json_names).unwrap_or_default();
    let merges = implementation(&items, "DeepMerge").map(merges).unwrap_or_default();
    let fields = fields
        .named
        .iter()
        .map(|field| {
            let ident = field.ident.as_ref().context("a field without a name")?.to_string();
            let (ty, optional) = read_type(&field.ty)?;
            let json = json
                .iter()
                .find_map(|(json, key)| (*key == ident).then(|| json.clone()))
                .with_context(|| format!("no JSON name for {ident}"))?;
            let merge = merges
                .iter()
                .find_map(|(field, merge)| (*field == ident).then(|| merge.clone()))
                .unwrap_or(Merge::Plain);
            Ok(Field { ident, json, ty, optional, merge })
        })
        .collect::<Result<Vec<_>>>()?;
    let kind = implementation(&items, "Resource").map(kind).transpose()?;
    model.structs.insert(format!("{module}::{name}"), Struct { name, fields, kind });
    Ok(())
}

fn implementation<'a>(items: &'a [Item], of: &str) -> Option<&'a ItemImpl> {
    items.iter().find_map(|item| match item {
        Item::Impl(item) => {
            let (_, path, _) = item.trait_.as_ref()?;
            (path.segments.last()?.ident == of).then_some(item)
        }
        _ => None,
    })
}

fn kind(item: &ItemImpl) -> Result<Kind> {
    let constant = |name: &str| {
        item.items
            .iter()
            .find_map(|item| match item {
                syn::ImplItem::Const(item) if item.ident == name => match &item.expr {
                    syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => {
                        Some(text.value())
                    }
                    _ => None,
                },
                _ => None,
            })
            .with_context(|| format!("no const {name}"))
    };
    Ok(Kind { group: constant("GROUP")?, version: constant("VERSION")?, kind: constant("KIND")? })
}

fn read_type(ty: &syn::Type) -> Result<(Type, bool)> {
    let syn::Type::Path(path) = ty else { bail!("unknown type {}", ty.to_token_stream()) };
    let segments: Vec<String> =
        path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    let arguments = path.path.segments.last().map(|last| &last.arguments);
    let argument = |index: usize| -> Result<Type> {
        if let Some(PathArguments::AngleBracketed(arguments)) = arguments
            && let Some(GenericArgument::Type(inner)) = arguments.args.iter().nth(index)
        {
            return Ok(read_type(inner)?.0);
        }
        bail!("no type argument in {}", ty.to_token_stream())
    };
    let last = segments.last().map_or("", String::as_str);
    let plain = match last {
        "Option" => return Ok((argument(0)?, true)),
        "Box" => argument(0)?,
        "Vec" => Type::List(Box::new(argument(0)?)),
        "BTreeMap" => Type::Map(Box::new(argument(1)?)),
        "String" => Type::String,
        "bool" => Type::Boolean,
        "i32" => Type::Int32,
        "i64" => Type::Int64,
        "f64" => Type::Float64,
        "ByteString" => Type::Bytes,
        "Quantity" => Type::Quantity,
        "IntOrString" => Type::IntOrString,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        // Free-form JSON, and JSON that is one of two shapes, are both "any" to us.
        "Value"
        | "RawExtension"
        | "FieldsV1"
        | "JSON"
        | "JSONSchemaPropsOrArray"
        | "JSONSchemaPropsOrBool"
        | "JSONSchemaPropsOrStringArray"
        | "CustomResourceSubresourceStatus"
        | "BasicSchedulingPolicy"
        | "StorageVersionSpec" => Type::Raw,
        _ if segments.first().is_some_and(|first| first == "crate") => {
            Type::Struct(segments[1..].join("::"))
        }
        _ => bail!("unknown type {}", ty.to_token_stream()),
    };
    Ok((plain, false))
}

/// Flattens all groups, so that a pattern of tokens can be looked for anywhere.
fn flatten(stream: TokenStream, out: &mut Vec<String>) {
    for token in stream {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                out.push(open.to_owned());
                flatten(group.stream(), out);
                out.push(close.to_owned());
            }
            other => out.push(other.to_string()),
        }
    }
}

fn tokens(item: &ItemImpl) -> Vec<String> {
    let mut out = Vec::new();
    flatten(item.to_token_stream(), &mut out);
    out
}

/// Finds each `"json" => Field::Key_rust`.
fn json_names(item: &ItemImpl) -> Vec<(String, String)> {
    tokens(item)
        .windows(7)
        .filter(|window| window[1] == "=" && window[2] == ">" && window[3] == "Field")
        .filter_map(|window| {
            let json = window[0].strip_prefix('"')?.strip_suffix('"')?;
            Some((json.to_owned(), window[6].strip_prefix("Key_")?.to_owned()))
        })
        .collect()
}

/// Finds each `merge_strategies::list::map(&mut self.field, other.field, &[…])`.
fn merges(item: &ItemImpl) -> Vec<(String, Merge)> {
    let tokens = tokens(item);
    let mut found = Vec::new();
    for (index, window) in tokens.windows(13).enumerate() {
        if window[0] != "merge_strategies" || window[10] != "self" {
            continue;
        }
        let merge = match (window[3].as_str(), window[6].as_str()) {
            ("list" | "map", "atomic") => Merge::Atomic,
            ("list", "set") => Merge::Set,
            ("map", "granular") => Merge::Granular,
            _ => Merge::ListMap(keys(&tokens[index..])),
        };
        found.push((window[12].clone(), merge));
    }
    found
}

/// Reads the keys of `&[|lhs, rhs| lhs.name == rhs.name, …]`.
fn keys(tokens: &[String]) -> Vec<String> {
    let start = tokens.iter().position(|token| token == "[").unwrap_or(tokens.len());
    tokens[start..]
        .iter()
        .take_while(|token| *token != "]")
        .collect::<Vec<_>>()
        .windows(5)
        .filter(|window| window[0] == "lhs" && window[1] == "." && window[3] == "=")
        .map(|window| window[2].clone())
        .collect()
}
