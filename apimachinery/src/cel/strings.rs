//! Functions of texts; places are counted in characters.

use regex_lite::Regex;

use super::{
    eval::{Budget, EvalError},
    text,
    value::Val,
};

/// Functions of a text.
pub(super) const METHODS: &[&str] = &[
    "charAt",
    "contains",
    "endsWith",
    "find",
    "findAll",
    "format",
    "indexOf",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "replace",
    "reverse",
    "split",
    "startsWith",
    "substring",
    "trim",
    "upperAscii",
];

type Outcome<'a> = Result<Val<'a>, EvalError>;

/// Calls one of [`METHODS`]; the first argument is the text.
pub(super) fn method<'a>(name: &str, args: &[Val<'a>], budget: &mut Budget) -> Outcome<'a> {
    let Some((Val::String(target), rest)) = args.split_first() else {
        return Err(EvalError::no_overload());
    };
    let target = target.as_ref();
    match (name, rest) {
        ("startsWith", [Val::String(other)]) => Ok(Val::Bool(target.starts_with(other.as_ref()))),
        ("endsWith", [Val::String(other)]) => Ok(Val::Bool(target.ends_with(other.as_ref()))),
        ("contains", [Val::String(other)]) => Ok(Val::Bool(target.contains(other.as_ref()))),
        ("matches", [Val::String(pattern)]) => {
            Ok(Val::Bool(compile(pattern, target, budget)?.is_match(target)))
        }
        ("find", [Val::String(pattern)]) => {
            let found =
                compile(pattern, target, budget)?.find(target).map(|m| m.as_str().to_owned());
            Ok(Val::text(found.unwrap_or_default()))
        }
        ("findAll", [Val::String(pattern), limit @ ..]) => {
            let limit = match limit {
                [] => usize::MAX,
                [Val::Int(n)] => usize::try_from(*n).unwrap_or(usize::MAX),
                _ => return Err(EvalError::no_overload()),
            };
            let regex = compile(pattern, target, budget)?;
            let found = regex.find_iter(target).take(limit).map(|m| Val::text(m.as_str()));
            Ok(Val::list(found.collect()))
        }
        ("lowerAscii", []) => Ok(Val::text(target.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Val::text(target.to_ascii_uppercase())),
        ("trim", []) => Ok(Val::text(target.trim())),
        ("reverse", []) => Ok(Val::text(target.chars().rev().collect::<String>())),
        ("charAt", [Val::Int(at)]) => {
            let length = target.chars().count();
            let at = place(*at, length)?;
            Ok(Val::text(target.chars().nth(at).map(String::from).unwrap_or_default()))
        }
        ("indexOf" | "lastIndexOf", [Val::String(wanted), from @ ..]) => {
            index_of(name, target, wanted, from)
        }
        ("replace", [Val::String(from), Val::String(to), count @ ..]) => {
            let replaced = match count {
                [Val::Int(n)] if *n >= 0 => {
                    target.replacen(from.as_ref(), to, usize::try_from(*n).unwrap_or(usize::MAX))
                }
                [] | [Val::Int(_)] => target.replace(from.as_ref(), to),
                _ => return Err(EvalError::no_overload()),
            };
            budget.spend(replaced.len() as u64 / 10)?;
            Ok(Val::text(replaced))
        }
        ("split", [Val::String(separator), count @ ..]) => split(target, separator, count),
        ("substring", [Val::Int(from), to @ ..]) => {
            let length = target.chars().count();
            let from = place(*from, length)?;
            let to = match to {
                [] => length,
                [Val::Int(to)] => place(*to, length)?,
                _ => return Err(EvalError::no_overload()),
            };
            if to < from {
                return Err(EvalError::failed(format!(
                    "invalid substring range. start: {from}, end: {to}"
                )));
            }
            let part: String = target.chars().skip(from).take(to - from).collect();
            Ok(Val::text(part))
        }
        ("format", [list]) => {
            let items = list.items().ok_or_else(EvalError::no_overload)?;
            let out = text::format(target, &items).map_err(EvalError::failed)?;
            budget.spend(out.len() as u64 / 10)?;
            Ok(Val::text(out))
        }
        _ => Err(EvalError::no_overload()),
    }
}

/// Reads a pattern; matching it costs its length times the text's.
fn compile(pattern: &str, target: &str, budget: &mut Budget) -> Result<Regex, EvalError> {
    let cost = (1 + target.len() as u64 / 10) * (1 + pattern.len() as u64 / 4);
    budget.spend(cost)?;
    Regex::new(pattern).map_err(|error| EvalError::failed(format!("error parsing regexp: {error}")))
}

fn place(at: i64, length: usize) -> Result<usize, EvalError> {
    usize::try_from(at)
        .ok()
        .filter(|at| *at <= length)
        .ok_or_else(|| EvalError::failed(format!("index out of range: {at}")))
}

fn index_of<'a>(name: &str, target: &str, wanted: &str, from: &[Val<'a>]) -> Outcome<'a> {
    let chars: Vec<char> = target.chars().collect();
    let wanted: Vec<char> = wanted.chars().collect();
    let from = match from {
        [] => None,
        [Val::Int(at)] => Some(place(*at, chars.len())?),
        _ => return Err(EvalError::no_overload()),
    };
    let last = chars.len().checked_sub(wanted.len());
    let is_at = |at: &usize| chars[*at..].starts_with(&wanted);
    let found = last.and_then(|last| {
        if name == "indexOf" {
            (from.unwrap_or(0)..=last).find(is_at)
        } else {
            (0..=last.min(from.unwrap_or(last))).rev().find(is_at)
        }
    });
    Ok(Val::Int(found.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX))))
}

fn split<'a>(target: &str, separator: &str, count: &[Val<'a>]) -> Outcome<'a> {
    let limit = match count {
        [] => -1,
        [Val::Int(n)] => *n,
        _ => return Err(EvalError::no_overload()),
    };
    let parts: Vec<String> = if separator.is_empty() {
        target.chars().map(String::from).collect()
    } else {
        target.split(separator).map(ToOwned::to_owned).collect()
    };
    let parts = match usize::try_from(limit) {
        Ok(limit) if parts.len() > limit => {
            let mut parts = parts;
            let rest = parts.split_off(limit.saturating_sub(1).min(parts.len()));
            if limit > 0 {
                parts.push(rest.join(separator));
            }
            parts
        }
        _ => parts,
    };
    Ok(Val::list(parts.into_iter().map(Val::text).collect()))
}
