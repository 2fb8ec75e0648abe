//! What differs between two versions of an object, as sets of fields.
//!
//! Kubernetes compares its Go structs, in which a member that is a struct itself is always there and a required field has
//! its zero value when it is not given; our objects leave both out. So an absent field is read as Go would hold it:
//! [`is_inline`] structs as empty, required fields as zero. That is why the creation of a Deployment owns
//! `f:template: {f:spec: …}` without a `.`, and `f:rollingUpdate`, a pointer in Go, with one.

use serde_json::Value;

use super::{
    item::{Kind, kind, kind_of, step},
    set::{FieldSet, Node, child, field_step, finished, is_member},
};
use crate::{
    object::Object,
    schema::{Field, ListType, Shape, Struct},
};

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Fields that are new or have another value.
    pub(super) set: FieldSet,
    /// Fields that are gone.
    pub(super) removed: FieldSet,
}

/// The part of objects that a writer can own.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// All.
    All,
    /// All but these fields and what is below them.
    Except(&'a FieldSet),
    /// Only these fields and what is below them.
    Only(&'a FieldSet),
}

#[derive(Clone, Copy)]
enum Inner<'a> {
    All,
    Except(&'a Node),
    Only(&'a Node),
}

impl<'a> Inner<'a> {
    fn enter(self, step: &str) -> Option<Self> {
        match self {
            Self::All => Some(Self::All),
            Self::Except(node) => match child(node, step) {
                None => Some(Self::All),
                Some(node) if is_member(node) => None,
                Some(node) => Some(Self::Except(node)),
            },
            Self::Only(node) => match child(node, step) {
                None => None,
                Some(node) if is_member(node) => Some(Self::All),
                Some(node) => Some(Self::Only(node)),
            },
        }
    }
}

impl Scope<'_> {
    /// Reduces a set to this part.
    pub(super) fn limit(self, set: &mut FieldSet) {
        match self {
            Scope::All => {}
            Scope::Except(fields) => set.recursive_difference(fields),
            Scope::Only(fields) => *set = FieldSet(only(&set.0, &fields.0)),
        }
    }
}

fn only(of: &Node, fields: &Node) -> Node {
    let mut kept = Node::new();
    for (step, theirs) in super::set::children(fields) {
        let Some(ours) = child(of, step) else { continue };
        let node = if is_member(theirs) {
            Some(ours.clone())
        } else {
            finished(only(ours, theirs), false)
        };
        if let Some(node) = node {
            kept.insert(step.clone(), Value::Object(node));
        }
    }
    kept
}

/// Compares two versions of an object; `apiVersion` and `kind` belong to nobody.
pub(super) fn compare(old: &Object, new: &Object, schema: &Struct, scope: Scope<'_>) -> Changes {
    let scope = match scope {
        Scope::All => Inner::All,
        Scope::Except(fields) => Inner::Except(&fields.0),
        Scope::Only(fields) => Inner::Only(&fields.0),
    };
    let mut changes = Sides::default();
    let mut ours = old.0.iter().filter(|(name, _)| !is_type(name)).peekable();
    let mut theirs = new.0.iter().filter(|(name, _)| !is_type(name)).peekable();
    fields(&mut ours, &mut theirs, schema, true, scope, &mut changes);
    Changes { set: FieldSet(changes.set), removed: FieldSet(changes.removed) }
}

pub(super) fn is_type(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind")
}

#[derive(Default)]
struct Sides {
    set: Node,
    removed: Node,
}

impl Sides {
    fn set(&mut self, step: String, node: Node) {
        self.set.insert(step, Value::Object(node));
    }

    fn removed(&mut self, step: String, node: Node) {
        self.removed.insert(step, Value::Object(node));
    }

    /// Takes over what differs below a step.
    fn below(&mut self, step: &str, inner: Self) {
        if !inner.set.is_empty() {
            self.set(step.to_owned(), inner.set);
        }
        if !inner.removed.is_empty() {
            self.removed(step.to_owned(), inner.removed);
        }
    }
}

type Entry<'a> = (&'a String, &'a Value);

/// Walks over the entries of two objects side by side: both are sorted.
fn zip<'a>(
    old: &mut std::iter::Peekable<impl Iterator<Item = Entry<'a>>>,
    new: &mut std::iter::Peekable<impl Iterator<Item = Entry<'a>>>,
    mut visit: impl FnMut(&'a str, Option<&'a Value>, Option<&'a Value>),
) {
    loop {
        let (ours, theirs) = (old.peek().map(|e| e.0), new.peek().map(|e| e.0));
        let (take_old, take_new) = match (ours, theirs) {
            (None, None) => return,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(a), Some(b)) => (a <= b, b <= a),
        };
        let ours = if take_old { old.next() } else { None };
        let theirs = if take_new { new.next() } else { None };
        let Some((name, _)) = ours.or(theirs) else { return };
        let present = |entry: Option<Entry<'a>>| entry.map(|e| e.1).filter(|v| !v.is_null());
        visit(name, present(ours), present(theirs));
    }
}

fn fields<'a>(
    old: &mut std::iter::Peekable<impl Iterator<Item = Entry<'a>>>,
    new: &mut std::iter::Peekable<impl Iterator<Item = Entry<'a>>>,
    schema: &Struct,
    root: bool,
    scope: Inner<'_>,
    changes: &mut Sides,
) {
    zip(old, new, |name, ours, theirs| {
        let Some(field) = schema.field_or_open(name) else { return };
        // Most fields are as they were: that is found without spelling out their steps.
        if ours == theirs {
            return;
        }
        let at = field_step(name);
        let Some(scope) = scope.enter(&at) else { return };
        let inline = (ours.is_none() || theirs.is_none()) && is_inline(schema, field, root);
        let empty = Value::Object(Node::new());
        match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                changed(ours, theirs, kind_of(field), at, scope, changes);
            }
            (None, Some(theirs)) if inline => {
                changed(&empty, theirs, kind_of(field), at, scope, changes);
            }
            (Some(ours), None) if inline => {
                changed(ours, &empty, kind_of(field), at, scope, changes);
            }
            (Some(only), None) | (None, Some(only)) if field.required => {
                let node = whole(only, kind_of(field));
                if is_zero(only) {
                    return;
                }
                // From or to zero: the field itself was always there.
                match (finished(without_self(&node), false), theirs) {
                    (Some(below), Some(_)) => changes.set(at, below),
                    (Some(below), None) => changes.removed(at, below),
                    (None, _) => changes.set(at, Node::new()),
                }
            }
            (None, Some(theirs)) => {
                let node = within(whole(theirs, kind_of(field)), scope);
                if let Some(node) = node {
                    changes.set(at, node);
                }
            }
            (Some(ours), None) => {
                if let Some(node) = within(whole(ours, kind_of(field)), scope) {
                    changes.removed(at, node);
                }
            }
            (None, None) => {}
        }
    });
}

/// The part of a node that is in scope.
fn within(node: Node, scope: Inner<'_>) -> Option<Node> {
    let mut set = FieldSet(node);
    match scope {
        Inner::All => return Some(set.0),
        Inner::Except(fields) => set.recursive_difference(&FieldSet(fields.clone())),
        Inner::Only(fields) => set = FieldSet(only(&set.0, fields)),
    }
    (!set.0.is_empty()).then_some(set.0)
}

fn without_self(node: &Node) -> Node {
    super::set::children(node).map(|(step, n)| (step.clone(), Value::Object(n.clone()))).collect()
}

/// Compares two values that are both there.
fn changed(
    old: &Value,
    new: &Value,
    kind: Kind<'_>,
    at: String,
    scope: Inner<'_>,
    changes: &mut Sides,
) {
    match (kind, old, new) {
        (Kind::Struct(schema), Value::Object(old), Value::Object(new)) => {
            let mut inner = Sides::default();
            let (ours, theirs) = (&mut old.iter().peekable(), &mut new.iter().peekable());
            fields(ours, theirs, schema, false, scope, &mut inner);
            changes.below(&at, inner);
        }
        (Kind::Map(shape), Value::Object(old), Value::Object(new)) => {
            let mut inner = Sides::default();
            let (ours, theirs) = (&mut old.iter().peekable(), &mut new.iter().peekable());
            zip(ours, theirs, |key, ours, theirs| {
                if ours == theirs {
                    return;
                }
                let at = field_step(key);
                let Some(scope) = scope.enter(&at) else { return };
                pair(ours, theirs, shape, at, scope, &mut inner);
            });
            changes.below(&at, inner);
        }
        (Kind::List(shape, list), Value::Array(old), Value::Array(new)) => {
            let mut inner = Sides::default();
            let (ours, theirs) = (steps(old, list), steps(new, list));
            for (at, new) in &theirs {
                let old = ours.iter().find(|(step, _)| step == at).map(|(_, old)| *old);
                pair(old, Some(new), shape, at.clone(), Inner::All, &mut inner);
            }
            for (at, old) in ours {
                if !theirs.iter().any(|(step, _)| *step == at) {
                    inner.removed(at, whole(old, kind_default(shape)));
                }
            }
            changes.below(&at, inner);
        }
        (_, old, new) => {
            if old != new {
                changes.set(at, Node::new());
            }
        }
    }
}

fn pair(
    old: Option<&Value>,
    new: Option<&Value>,
    shape: &Shape,
    at: String,
    scope: Inner<'_>,
    changes: &mut Sides,
) {
    match (old, new) {
        (Some(old), Some(new)) => changed(old, new, kind_default(shape), at, scope, changes),
        (None, Some(new)) => changes.set(at, whole(new, kind_default(shape))),
        (Some(old), None) => changes.removed(at, whole(old, kind_default(shape))),
        (None, None) => {}
    }
}

fn kind_default(shape: &Shape) -> Kind<'_> {
    kind(shape, &ListType::Default)
}

/// The items of a merged list by their steps; of equal ones the first, and none that cannot be told apart.
fn steps<'a>(items: &'a [Value], list: &ListType) -> Vec<(String, &'a Value)> {
    let mut steps: Vec<(String, &Value)> = Vec::with_capacity(items.len());
    for item in items {
        if let Ok(at) = step(list, item)
            && !steps.iter().any(|(other, _)| *other == at)
        {
            steps.push((at, item));
        }
    }
    steps
}

/// The node of a value that is new or gone as a whole: itself, and all that is in it.
pub(super) fn whole(value: &Value, kind: Kind<'_>) -> Node {
    let mut below = Node::new();
    match (kind, value) {
        (Kind::Struct(schema), Value::Object(members)) => {
            for (name, value) in members.iter().filter(|(_, value)| !value.is_null()) {
                if let Some(field) = schema.field_or_open(name) {
                    let node = whole(value, kind_of(field));
                    below.insert(field_step(name), Value::Object(node));
                }
            }
        }
        (Kind::Map(shape), Value::Object(entries)) => {
            for (key, value) in entries {
                let node = whole(value, kind_default(shape));
                below.insert(field_step(key), Value::Object(node));
            }
        }
        (Kind::List(shape, list), Value::Array(items)) => {
            for item in items {
                if let Ok(at) = step(list, item) {
                    let node = whole(item, kind_default(shape));
                    below.entry(at).or_insert(Value::Object(node));
                }
            }
        }
        _ => {}
    }
    finished(below, true).unwrap_or_default()
}

/// What Go holds in a field that was never set.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Structs in Go's types that are members themselves and no pointers, though they may be left out: type and field.
const INLINE: &[(&str, &str)] = &[
    ("Container", "resources"),
    ("CronJobSpec", "jobTemplate"),
    ("DaemonSetSpec", "template"),
    ("DaemonSetSpec", "updateStrategy"),
    ("DeploymentSpec", "strategy"),
    ("DeploymentSpec", "template"),
    ("EphemeralContainer", "resources"),
    ("IngressStatus", "loadBalancer"),
    ("JobSpec", "template"),
    ("JobTemplateSpec", "metadata"),
    ("JobTemplateSpec", "spec"),
    ("NetworkPolicySpec", "podSelector"),
    ("NodeDaemonEndpoints", "kubeletEndpoint"),
    ("NodeStatus", "daemonEndpoints"),
    ("NodeStatus", "nodeInfo"),
    ("PersistentVolumeClaimSpec", "resources"),
    ("PersistentVolumeClaimTemplate", "metadata"),
    ("PersistentVolumeClaimTemplate", "spec"),
    ("PodTemplateSpec", "metadata"),
    ("PodTemplateSpec", "spec"),
    ("ReplicaSetSpec", "template"),
    ("ServiceStatus", "loadBalancer"),
    ("StatefulSetSpec", "template"),
    ("StatefulSetSpec", "updateStrategy"),
];

/// Whether a field is a struct that Go always has. Of objects these are all the parts at the top: metadata, spec, status.
/// A custom resource is no Go struct: of it only the metadata is always there.
fn is_inline(schema: &Struct, field: &Field, root: bool) -> bool {
    field.shape.as_struct().is_some()
        && (root
            && (!schema.go_type.is_empty() || field.name == "metadata")
            && !matches!(&*field.name, "series" | "deleteOptions" | "aggregationRule" | "related")
            || INLINE.binary_search(&(schema.name(), &*field.name)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(INLINE.is_sorted());
    }
}
