//! Sets of field paths, in the form in which they are stored: `FieldsV1`.
//!
//! A set is a tree of JSON objects. A step is a key: `f:<name>` a field or map entry, `k:<keys>` the item of a list whose
//! key fields have these values, `v:<value>` a scalar of a set, `i:<index>` an item by its place. A path is a member when
//! its node is empty or holds the key `.`; a node that is neither only leads to members.
//!
//! The operations work on that form itself: most sets are read, kept and written again without having been changed.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::field::go_quote;

/// A node of the tree.
pub(super) type Node = Map<String, Value>;

/// What makes a node with children a member.
const SELF: &str = ".";

/// A set of field paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(pub(super) Node);

impl FieldSet {
    /// Reads a set, and puts it into the one form in which equal sets are equal.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Object(fields) = value else { return Err("a field set is no object".into()) };
        let mut root = normalized(fields)?;
        root.remove(SELF);
        Ok(Self(root))
    }

    /// A set of paths of fields.
    #[must_use]
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let mut node = Node::new();
            for (index, name) in path.iter().rev().enumerate() {
                let child = Value::Object(std::mem::take(&mut node));
                debug_assert!(index > 0 || child == Value::Object(Node::new()));
                node.insert(field_step(name), child);
            }
            set.union(&Self(node));
        }
        set
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what is in another set.
    pub fn union(&mut self, other: &Self) {
        union(&mut self.0, &other.0);
    }

    /// Takes out what is in another set; below its members nothing is touched.
    pub fn difference(&mut self, other: &Self) {
        difference(&mut self.0, &other.0);
    }

    /// Takes out what is in another set, and all below it.
    pub fn recursive_difference(&mut self, other: &Self) {
        recursive_difference(&mut self.0, &other.0);
    }

    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(intersection(&self.0, &other.0))
    }

    /// The members as texts, `.spec.containers[name="a"].image`, in Kubernetes' order.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        list(&self.0, "", &mut paths);
        paths
    }
}

/// The step to a field or to an entry of a map. Every new object spells out dozens of them.
pub(super) fn field_step(name: &str) -> String {
    let mut step = String::with_capacity(2 + name.len());
    step.push_str("f:");
    step.push_str(name);
    step
}

/// Whether the path that leads to a node is a member.
pub(super) fn is_member(node: &Node) -> bool {
    node.is_empty() || node.contains_key(SELF)
}

/// The steps that lead on from a node.
pub(super) fn children(node: &Node) -> impl Iterator<Item = (&String, &Node)> {
    node.iter().filter(|(step, _)| *step != SELF).filter_map(|(step, child)| {
        let Value::Object(child) = child else { return None };
        Some((step, child))
    })
}

/// The node one step on.
pub(super) fn child<'a>(node: &'a Node, step: &str) -> Option<&'a Node> {
    node.get(step).and_then(Value::as_object)
}

fn child_mut<'a>(node: &'a mut Node, step: &str) -> Option<&'a mut Node> {
    node.get_mut(step).and_then(Value::as_object_mut)
}

/// Makes a node with these children a member or none; None when nothing of it is left.
pub(super) fn finished(mut children: Node, member: bool) -> Option<Node> {
    if children.is_empty() {
        return member.then_some(children);
    }
    if member {
        children.insert(SELF.to_owned(), Value::Object(Node::new()));
    }
    Some(children)
}

/// Replaces a child, or drops it.
fn put(node: &mut Node, step: &str, child: Option<Node>) {
    match child {
        Some(child) => node.insert(step.to_owned(), Value::Object(child)),
        None => node.remove(step),
    };
}

fn union(into: &mut Node, other: &Node) {
    for (step, theirs) in children(other) {
        match child_mut(into, step) {
            None => put(into, step, Some(theirs.clone())),
            Some(ours) => {
                let mut node = std::mem::take(ours);
                let member = is_member(&node) || is_member(theirs);
                node.remove(SELF);
                union(&mut node, theirs);
                *ours = finished(node, member).unwrap_or_default();
            }
        }
    }
}

fn difference(from: &mut Node, other: &Node) {
    for (step, theirs) in children(other) {
        let Some(ours) = child_mut(from, step) else { continue };
        let mut node = std::mem::take(ours);
        let member = is_member(&node) && !is_member(theirs);
        node.remove(SELF);
        difference(&mut node, theirs);
        put(from, step, finished(node, member));
    }
}

fn recursive_difference(from: &mut Node, other: &Node) {
    for (step, theirs) in children(other) {
        if is_member(theirs) {
            from.remove(step);
            continue;
        }
        let Some(ours) = child_mut(from, step) else { continue };
        let mut node = std::mem::take(ours);
        let member = is_member(&node);
        node.remove(SELF);
        recursive_difference(&mut node, theirs);
        put(from, step, finished(node, member));
    }
}

fn intersection(a: &Node, b: &Node) -> Node {
    let mut both = Node::new();
    for (step, ours) in children(a) {
        let Some(theirs) = child(b, step) else { continue };
        let member = is_member(ours) && is_member(theirs);
        if let Some(node) = finished(intersection(ours, theirs), member) {
            both.insert(step.clone(), Value::Object(node));
        }
    }
    both
}

/// Lists the members at a node first, then what is below each.
fn list(node: &Node, path: &str, paths: &mut Vec<String>) {
    let mut steps: Vec<(&String, &Node)> = children(node).collect();
    steps.sort_by(|(a, _), (b, _)| order(a, b));
    for (step, child) in &steps {
        if is_member(child) {
            paths.push(format!("{path}{}", display(step)));
        }
    }
    for (step, child) in steps {
        list(child, &format!("{path}{}", display(step)), paths);
    }
}

/// Fields come before keys, keys before values, values before indices.
fn order(a: &str, b: &str) -> Ordering {
    let rank = |step: &str| match step.as_bytes().first() {
        Some(b'f') => 0,
        Some(b'k') => 1,
        Some(b'v') => 2,
        _ => 3,
    };
    rank(a).cmp(&rank(b)).then_with(|| a.cmp(b))
}

fn display(step: &str) -> String {
    let (kind, rest) = step.split_at_checked(2).unwrap_or((step, ""));
    match kind {
        "f:" => format!(".{rest}"),
        "k:" => match serde_json::from_str(rest) {
            Ok(Value::Object(keys)) => {
                let keys: Vec<String> =
                    keys.iter().map(|(key, value)| format!("{key}={}", go_value(value))).collect();
                format!("[{}]", keys.join(","))
            }
            _ => format!("[{rest}]"),
        },
        "v:" => {
            let value = serde_json::from_str(rest).unwrap_or_else(|_| Value::from(rest));
            format!("[={}]", go_value(&value))
        }
        _ => format!("[{rest}]"),
    }
}

fn go_value(value: &Value) -> String {
    match value {
        Value::String(text) => go_quote(text),
        other => other.to_string(),
    }
}

/// Checks the steps of a tree; equal keys are written in the same way.
fn normalized(node: &Node) -> Result<Node, String> {
    let mut children = Node::new();
    let mut member = node.is_empty();
    for (step, child) in node {
        let Value::Object(child) = child else {
            return Err(format!("the field {step:?} of a field set is no object"));
        };
        if step == SELF {
            member = true;
            continue;
        }
        let step = match step.split_at_checked(2) {
            Some(("f:", _)) => step.clone(),
            Some((kind @ ("k:" | "v:"), json)) => {
                let value: Value = serde_json::from_str(json)
                    .map_err(|error| format!("the field {step:?} of a field set: {error}"))?;
                format!("{kind}{value}")
            }
            Some(("i:", index)) if index.parse::<usize>().is_ok() => step.clone(),
            _ => return Err(format!("{step:?} is no field of a field set")),
        };
        children.insert(step, Value::Object(normalized(child)?));
    }
    Ok(finished(children, member).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: impl Into<Value>) -> FieldSet {
        FieldSet::from_value(&value.into()).unwrap()
    }

    #[test]
    fn sets_are_combined() {
        let a = set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
        let b = set(json!({"f:a": {"f:b": {}}, "f:d": {"f:e": {}}}));
        let check = |combined: FieldSet, expected: Value| assert_eq!(combined, set(expected));
        let with = |change: fn(&mut FieldSet, &FieldSet), other: &FieldSet| {
            let mut combined = a.clone();
            change(&mut combined, other);
            combined
        };
        check(
            with(FieldSet::union, &b),
            json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {".": {}, "f:e": {}}}),
        );
        check(with(FieldSet::difference, &b), json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}}));
        check(a.intersection(&b), json!({"f:a": {"f:b": {}}}));
        let whole = set(json!({"f:a": {}}));
        check(
            with(FieldSet::difference, &whole),
            json!({"f:a": {"f:b": {}, "f:c": {}}, "f:d": {}}),
        );
        check(with(FieldSet::recursive_difference, &whole), json!({"f:d": {}}));
        check(with(FieldSet::difference, &a.clone()), json!({}));
        check(FieldSet::of_fields(&[&["a", "b"], &["a"]]), json!({"f:a": {".": {}, "f:b": {}}}));
    }

    #[test]
    fn paths_are_told_as_kubernetes_tells_them() {
        let of = set(json!({
            "f:spec": {"f:l": {"k:{ \"port\":80, \"name\":\"a\" }": {".": {}, "f:x": {}}, "i:2": {}}, "f:b": {}},
            "f:finalizers": {"v:\"a/b\"": {}, "v:true": {}},
        }));
        assert_eq!(
            of.paths(),
            [
                ".finalizers[=\"a/b\"]",
                ".finalizers[=true]",
                ".spec.b",
                ".spec.l[name=\"a\",port=80]",
                ".spec.l[2]",
                ".spec.l[name=\"a\",port=80].x",
            ]
        );
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bad in
            [json!(1), json!({"x": {}}), json!({"f:a": 1}), json!({"k:{": {}}), json!({"i:x": {}})]
        {
            assert!(FieldSet::from_value(&bad).is_err(), "{bad}");
        }
    }
}
