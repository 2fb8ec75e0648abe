//! Functions of texts; places are counted in characters.

use std::borrow::Cow;

use super::{
    eval::{Budget, EvalError},
    text,
    value::{Val, weight_of},
};
use crate::regexp::{self, Regexp};

type Outcome<'a> = Result<Val<'a>, EvalError>;

/// Calls a method of a text, which is the first argument.
pub(super) fn method<'a>(
    name: &str,
    args: &[Val<'a>],
    pattern: Option<&Regexp>,
    budget: &mut Budget,
) -> Outcome<'a> {
    let Some((Val::String(target), rest)) = args.split_first() else {
        return Err(EvalError::no_overload());
    };
    let target = target.as_ref();
    match (name, rest) {
        ("startsWith", [Val::String(other)]) => Ok(Val::Bool(target.starts_with(other.as_ref()))),
        ("endsWith", [Val::String(other)]) => Ok(Val::Bool(target.ends_with(other.as_ref()))),
        ("contains", [Val::String(other)]) => Ok(Val::Bool(target.contains(other.as_ref()))),
        ("matches" | "find" | "findAll", [Val::String(text), limit @ ..]) => {
            let regexp = match pattern {
                Some(regexp) => Cow::Borrowed(regexp),
                None => Cow::Owned(compile(text, budget)?),
            };
            search(name, &regexp, target, limit, budget)
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
            let most = match count {
                [Val::Int(n)] => usize::try_from(*n).unwrap_or(usize::MAX),
                [] => usize::MAX,
                _ => return Err(EvalError::no_overload()),
            };
            let times = target.matches(from.as_ref()).take(most).count();
            budget.spend(weight_of(times.saturating_mul(to.len())))?;
            Ok(Val::text(target.replacen(from.as_ref(), to, times)))
        }
        ("split", [Val::String(separator), count @ ..]) => {
            budget.spend(target.matches(separator.as_ref()).count() as u64)?;
            split(target, separator, count)
        }
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

/// Reads a pattern that the expression has computed: its states are built anew.
fn compile(pattern: &str, budget: &mut Budget) -> Result<Regexp, EvalError> {
    let refused = |why: String| EvalError::failed(format!("error parsing regexp: {why}"));
    budget.spend(regexp::states(pattern).map_err(EvalError::failed)?)?;
    Regexp::new(pattern).map_err(refused)
}

/// `matches`, `find`, `findAll`: each look costs the text that is left, times the pattern's states.
fn search<'a>(
    name: &str,
    regexp: &Regexp,
    target: &str,
    limit: &[Val<'a>],
    budget: &mut Budget,
) -> Outcome<'a> {
    let mut pay =
        |bytes: usize| budget.spend(weight_of(bytes).saturating_mul(1 + regexp.states / 4));
    let limit = match (name, limit) {
        (_, []) => usize::MAX,
        ("findAll", [Val::Int(n)]) => usize::try_from(*n).unwrap_or(usize::MAX),
        _ => return Err(EvalError::no_overload()),
    };
    pay(target.len())?;
    let mut found = regexp.regex.find_iter(target);
    match name {
        "matches" => Ok(Val::Bool(regexp.regex.is_match(target))),
        "find" => Ok(Val::text(found.next().map_or("", |m| m.as_str()))),
        _ => {
            let mut all = Vec::new();
            while all.len() < limit
                && let Some(next) = found.next()
            {
                all.push(Val::text(next.as_str()));
                pay(target.len() - next.end())?;
            }
            Ok(Val::list(all))
        }
    }
}

fn place(at: i64, length: usize) -> Result<usize, EvalError> {
    usize::try_from(at)
        .ok()
        .filter(|at| *at <= length)
        .ok_or_else(|| EvalError::failed(format!("index out of range: {at}")))
}

fn index_of<'a>(name: &str, target: &str, wanted: &str, from: &[Val<'a>]) -> Outcome<'a> {
    let length = target.chars().count();
    let from = match from {
        [] => None,
        [Val::Int(at)] => Some(place(*at, length)?),
        _ => return Err(EvalError::no_overload()),
    };
    let bytes = |at: usize| target.char_indices().nth(at).map_or(target.len(), |(byte, _)| byte);
    let found = if name == "indexOf" {
        let start = from.map_or(0, bytes);
        target[start..].find(wanted).map(|at| start + at)
    } else {
        // The last one may begin where the search does.
        let wide = wanted.chars().count();
        let end = from.map_or(target.len(), |from| bytes(from.saturating_add(wide)));
        target[..end].rfind(wanted)
    };
    let found = found.map(|at| target[..at].chars().count());
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
