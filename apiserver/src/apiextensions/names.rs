//! Which names a definition gets (`pkg/controller/status/naming_controller.go`), and when it is established.

use std::collections::BTreeSet;

use apimachinery::{object::Object, resource, time::Time};
use serde_json::{Value, json};

use super::definition::{Definition, set_condition};

/// Names that other definitions of a group hold, and the kinds that are built into it.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    /// The names in its group that are not for this definition: those of other definitions, and of what is built in.
    pub(crate) fn by_others<'d>(
        of: &Definition,
        all: impl IntoIterator<Item = &'d Definition>,
    ) -> Self {
        let mut taken = Self::default();
        for info in resource::served().filter(|info| info.group == of.group()) {
            let names = [&[info.resource, info.singular], info.short_names].concat();
            taken.resources.extend(names.into_iter().map(ToOwned::to_owned));
            taken.kinds.extend([info.kind.to_owned(), info.list_kind()]);
        }
        for other in all {
            if other.group() == of.group() && other.uid != of.uid {
                let text = |name: &str| other.accepted[name].as_str().map(ToOwned::to_owned);
                taken.resources.extend(text("plural"));
                taken.resources.extend(text("singular"));
                let short = other.accepted["shortNames"].as_array().into_iter().flatten();
                taken.resources.extend(short.filter_map(Value::as_str).map(ToOwned::to_owned));
                taken.kinds.extend(text("kind"));
                taken.kinds.extend(text("listKind"));
            }
        }
        taken
    }
}

/// Why the names are not accepted: reason and message.
type Conflict = Option<(&'static str, String)>;

/// Brings a definition's accepted names and conditions up to date.
pub(crate) fn settle(object: &mut Object, taken: &Taken, now: Time) {
    let wanted = object.get(&["spec", "names"]).cloned().unwrap_or_default();
    let held = object.get(&["status", "acceptedNames"]).cloned().unwrap_or_default();
    let mut accepted = json!({});
    let mut conflict: Conflict = None;
    let one = |name: &str, reason: &'static str, accepted: &mut Value, conflict: &mut Conflict| {
        let names = if name.ends_with("ind") { &taken.kinds } else { &taken.resources };
        let text = wanted[name].as_str().unwrap_or_default();
        if wanted[name] != held[name] && names.contains(text) {
            *conflict = Some((reason, format!("{text:?} is already in use")));
            accepted[name] = held[name].as_str().unwrap_or_default().into();
        } else {
            accepted[name] = wanted[name].clone();
        }
    };
    // Of several conflicts the last is told.
    one("plural", "PluralConflict", &mut accepted, &mut conflict);
    one("singular", "SingularConflict", &mut accepted, &mut conflict);
    short_names(&wanted, &held, taken, &mut accepted, &mut conflict);
    one("kind", "KindConflict", &mut accepted, &mut conflict);
    one("listKind", "ListKindConflict", &mut accepted, &mut conflict);
    if wanted["categories"].is_array() {
        accepted["categories"] = wanted["categories"].clone();
    }
    object.set(&["status", "acceptedNames"], accepted);
    match &conflict {
        Some((reason, message)) => {
            set_condition(object, "NamesAccepted", false, reason, message, now);
        }
        None => {
            set_condition(object, "NamesAccepted", true, "NoConflicts", "no conflicts found", now);
        }
    }
    // Once established, always established.
    if Definition::of(object).is("Established") {
        return;
    }
    if conflict.is_some() {
        let message = "not all names are accepted";
        set_condition(object, "Established", false, "NotAccepted", message, now);
    } else {
        let message = "the initial names have been accepted";
        set_condition(object, "Established", true, "InitialNamesAccepted", message, now);
    }
}

fn short_names(
    wanted: &Value,
    held: &Value,
    taken: &Taken,
    accepted: &mut Value,
    conflict: &mut Conflict,
) {
    let list = |names: &Value| names["shortNames"].as_array().cloned().unwrap_or_default();
    let (new, old) = (list(wanted), list(held));
    let refused: Vec<String> = new
        .iter()
        .filter(|name| !old.contains(name))
        .filter_map(Value::as_str)
        .filter(|name| taken.resources.contains(*name))
        .map(|name| format!("{name:?} is already in use"))
        .collect();
    let names = if refused.is_empty() { new } else { old };
    if !names.is_empty() {
        accepted["shortNames"] = names.into();
    }
    match refused.as_slice() {
        [] => {}
        [one] => *conflict = Some(("ShortNamesConflict", one.clone())),
        several => *conflict = Some(("ShortNamesConflict", format!("[{}]", several.join(", ")))),
    }
}
