//! Reads k8s-openapi's generated source into a [`Model`].
//!
//! That source is itself machine-made, so each fact has one place: the struct gives Rust names and
//! types, `impl Resource` the kind, the `visit_str` of `Deserialize` pairs JSON names with fields
//! (`"envFrom" => Field::Key_env_from`), `impl DeepMerge` calls one merge strategy per field, and the `json_schema!` of
//! `impl JsonSchema` has what Kubernetes says of the struct and of each field.

use std::{collections::BTreeMap, path::Path};

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
    let (description, mut said) =
        implementation(&items, "JsonSchema").map(descriptions).transpose()?.unwrap_or_default();
    if let Some(name) = opaque_name(&items) {
        model.opaque.insert(format!("{module}::{name}"), description);
        return Ok(());
    }
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
            let description = said.remove(&json).unwrap_or_default();
            let opaque = opaque_path(&field.ty);
            Ok(Field { ident, json, ty, optional, merge, opaque, description })
        })
        .collect::<Result<Vec<_>>>()?;
    let kind = implementation(&items, "Resource").map(kind).transpose()?;
    model.structs.insert(
        format!("{module}::{name}"),
        Struct { name, fields, kind, description, identity: said },
    );
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

/// The name of a type that is an enum or wraps one value.
fn opaque_name(items: &[Item]) -> Option<String> {
    items.iter().find_map(|item| match item {
        Item::Enum(item) => Some(item.ident.to_string()),
        Item::Struct(item) if matches!(item.fields, syn::Fields::Unnamed(_)) => {
            Some(item.ident.to_string())
        }
        _ => None,
    })
}

/// The path of the innermost type, if it is one of k8s-openapi's own and no struct to us.
fn opaque_path(ty: &syn::Type) -> Option<String> {
    let syn::Type::Path(path) = ty else { return None };
    let segments = &path.path.segments;
    if let PathArguments::AngleBracketed(arguments) = &segments.last()?.arguments {
        return arguments.args.iter().rev().find_map(|argument| match argument {
            GenericArgument::Type(inner) => opaque_path(inner),
            _ => None,
        });
    }
    if segments.first()?.ident != "crate" || matches!(read_type(ty), Ok((Type::Struct(_), _))) {
        return None;
    }
    let names: Vec<String> = segments.iter().skip(1).map(|s| s.ident.to_string()).collect();
    // `ByteString` is k8s-openapi's alone.
    (names.len() > 1).then(|| names.join("::"))
}

/// Reads the description of a type and those of its properties out of its `json_schema!`.
fn descriptions(item: &ItemImpl) -> Result<(String, BTreeMap<String, String>)> {
    let Some(schema) = schema_of(item.to_token_stream()) else { return Ok(Default::default()) };
    let mut own = String::new();
    let mut properties = BTreeMap::new();
    for (key, value) in entries(&schema)? {
        match (key.as_str(), value.first()) {
            ("description", Some(TokenTree::Literal(text))) => own = literal(&text.to_string())?,
            ("properties", Some(TokenTree::Group(group))) => {
                for (name, value) in entries(&group.stream().into_iter().collect::<Vec<_>>())? {
                    properties.insert(name, description(&value)?);
                }
            }
            _ => {}
        }
    }
    Ok((own, properties))
}

/// Finds the braces in `json_schema!({…})`.
fn schema_of(stream: TokenStream) -> Option<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    for (index, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(name) if name == "json_schema" => {
                if let Some(TokenTree::Group(call)) = tokens.get(index + 2)
                    && let Some(TokenTree::Group(braces)) = call.stream().into_iter().next()
                {
                    return Some(braces.stream().into_iter().collect());
                }
            }
            TokenTree::Group(group) => {
                if let Some(found) = schema_of(group.stream()) {
                    return Some(found);
                }
            }
            _ => {}
        }
    }
    None
}

/// Splits `"key": value, …`.
fn entries(tokens: &[TokenTree]) -> Result<Vec<(String, Vec<TokenTree>)>> {
    let comma =
        |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',');
    tokens
        .split(comma)
        .filter(|entry| !entry.is_empty())
        .map(|entry| match entry {
            [TokenTree::Literal(key), _colon, value @ ..] => {
                Ok((literal(&key.to_string())?, value.to_vec()))
            }
            _ => bail!("an entry of a schema that is not understood"),
        })
        .collect()
}

/// The description in a property: an entry of its braces, or what is inserted into the schema that it refers to.
fn description(value: &[TokenTree]) -> Result<String> {
    let Some(TokenTree::Group(group)) = value.first() else { return Ok(String::new()) };
    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
    if group.delimiter() == proc_macro2::Delimiter::Brace {
        let found = entries(&inner)?.into_iter().find(|(key, _)| key == "description");
        return match found.as_ref().and_then(|(_, value)| value.first()) {
            Some(TokenTree::Literal(text)) => literal(&text.to_string()),
            _ => Ok(String::new()),
        };
    }
    let mut flat = Vec::new();
    flatten(group.stream(), &mut flat);
    flat.windows(8)
        .find(|window| window[0] == "\"description\"" && window[2] == "into")
        .map_or_else(|| Ok(String::new()), |window| literal(&window[6]))
}

fn literal(token: &str) -> Result<String> {
    Ok(syn::parse_str::<syn::LitStr>(token).with_context(|| format!("read {token}"))?.value())
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
