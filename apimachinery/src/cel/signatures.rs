//! What functions and operators take and give: one table, by which names are known and types are checked.
//!
//! Types are told by name; `any` fits every type.

/// A function or operator: its name, what it takes (one way or another, a method its value first), what it gives.
type Row = (&'static str, &'static [&'static [&'static str]], &'static str);

const CIDR: &str = "net.CIDR";
const IP: &str = "net.IP";
const QUANTITY: &str = "kubernetes.Quantity";
const SEMVER: &str = "kubernetes.Semver";
const URL: &str = "kubernetes.URL";

const FUNCTIONS: &[Row] = &[
    ("bool", &[&["bool"], &["string"]], "bool"),
    ("bytes", &[&["bytes"], &["string"]], "bytes"),
    ("cidr", &[&["string"]], CIDR),
    ("double", &[&["double"], &["int"], &["uint"], &["string"]], "double"),
    ("duration", &[&["duration"], &["string"]], "duration"),
    ("dyn", &[&["any"]], "any"),
    ("format.named", &[&["string"]], "any"),
    ("int", &[&["int"], &["uint"], &["double"], &["string"], &["timestamp"], &["duration"]], "int"),
    ("ip", &[&["string"]], IP),
    ("ip.isCanonical", &[&["string"]], "bool"),
    ("isCIDR", &[&["string"]], "bool"),
    ("isIP", &[&["string"]], "bool"),
    ("isQuantity", &[&["string"]], "bool"),
    ("isSemver", &[&["string"], &["string", "bool"]], "bool"),
    ("isURL", &[&["string"]], "bool"),
    ("matches", &[&["string", "string"]], "bool"),
    ("optional.none", &[&[]], "any"),
    ("optional.of", &[&["any"]], "any"),
    ("optional.ofNonZeroValue", &[&["any"]], "any"),
    ("quantity", &[&["string"]], QUANTITY),
    ("semver", &[&["string"], &["string", "bool"]], SEMVER),
    ("sets.contains", &[&["list", "list"]], "bool"),
    ("sets.equivalent", &[&["list", "list"]], "bool"),
    ("sets.intersects", &[&["list", "list"]], "bool"),
    ("size", &[&["string"], &["bytes"], &["list"], &["map"]], "int"),
    (
        "string",
        &[
            &["string"],
            &["bool"],
            &["int"],
            &["uint"],
            &["double"],
            &["bytes"],
            &["duration"],
            &["timestamp"],
            &[IP],
            &[CIDR],
            &["type"],
        ],
        "string",
    ),
    ("strings.quote", &[&["string"]], "string"),
    ("timestamp", &[&["timestamp"], &["string"], &["int"]], "timestamp"),
    ("type", &[&["any"]], "type"),
    ("uint", &[&["uint"], &["int"], &["double"], &["string"]], "uint"),
    ("url", &[&["string"]], URL),
];

const METHODS: &[Row] = &[
    ("add", &[&[QUANTITY, QUANTITY], &[QUANTITY, "int"]], QUANTITY),
    ("asApproximateFloat", &[&[QUANTITY]], "double"),
    ("asInteger", &[&[QUANTITY]], "int"),
    ("charAt", &[&["string", "int"]], "string"),
    ("compareTo", &[&[QUANTITY, QUANTITY], &[SEMVER, SEMVER]], "int"),
    ("contains", &[&["string", "string"]], "bool"),
    ("containsCIDR", &[&[CIDR, CIDR], &[CIDR, "string"]], "bool"),
    ("containsIP", &[&[CIDR, IP], &[CIDR, "string"]], "bool"),
    ("endsWith", &[&["string", "string"]], "bool"),
    ("family", &[&[IP]], "int"),
    ("find", &[&["string", "string"]], "string"),
    ("findAll", &[&["string", "string"], &["string", "string", "int"]], "list"),
    ("format", &[&["string", "list"]], "string"),
    ("getDate", &[&["timestamp"], &["timestamp", "string"]], "int"),
    ("getDayOfMonth", &[&["timestamp"], &["timestamp", "string"]], "int"),
    ("getDayOfWeek", &[&["timestamp"], &["timestamp", "string"]], "int"),
    ("getDayOfYear", &[&["timestamp"], &["timestamp", "string"]], "int"),
    ("getEscapedPath", &[&[URL]], "string"),
    ("getFullYear", &[&["timestamp"], &["timestamp", "string"]], "int"),
    ("getHost", &[&[URL]], "string"),
    ("getHostname", &[&[URL]], "string"),
    ("getHours", &[&["timestamp"], &["timestamp", "string"], &["duration"]], "int"),
    ("getMilliseconds", &[&["timestamp"], &["timestamp", "string"], &["duration"]], "int"),
    ("getMinutes", &[&["timestamp"], &["timestamp", "string"], &["duration"]], "int"),
    ("getMonth", &[&["timestamp"], &["timestamp", "string"]], "int"),
    ("getPort", &[&[URL]], "string"),
    ("getQuery", &[&[URL]], "map"),
    ("getScheme", &[&[URL]], "string"),
    ("getSeconds", &[&["timestamp"], &["timestamp", "string"], &["duration"]], "int"),
    ("hasValue", &[&["optional_type"]], "bool"),
    ("indexOf", &[&["string", "string"], &["string", "string", "int"], &["list", "any"]], "int"),
    ("ip", &[&[CIDR]], IP),
    ("isGlobalUnicast", &[&[IP]], "bool"),
    ("isGreaterThan", &[&[QUANTITY, QUANTITY], &[SEMVER, SEMVER]], "bool"),
    ("isInteger", &[&[QUANTITY]], "bool"),
    ("isLessThan", &[&[QUANTITY, QUANTITY], &[SEMVER, SEMVER]], "bool"),
    ("isLinkLocalMulticast", &[&[IP]], "bool"),
    ("isLinkLocalUnicast", &[&[IP]], "bool"),
    ("isLoopback", &[&[IP]], "bool"),
    ("isSorted", &[&["list"]], "bool"),
    ("isUnspecified", &[&[IP]], "bool"),
    ("join", &[&["list"], &["list", "string"]], "string"),
    (
        "lastIndexOf",
        &[&["string", "string"], &["string", "string", "int"], &["list", "any"]],
        "int",
    ),
    ("lowerAscii", &[&["string"]], "string"),
    ("major", &[&[SEMVER]], "int"),
    ("masked", &[&[CIDR]], CIDR),
    ("matches", &[&["string", "string"]], "bool"),
    ("max", &[&["list"]], "any"),
    ("min", &[&["list"]], "any"),
    ("minor", &[&[SEMVER]], "int"),
    ("or", &[&["optional_type", "optional_type"]], "any"),
    ("orValue", &[&["optional_type", "any"]], "any"),
    ("patch", &[&[SEMVER]], "int"),
    ("prefixLength", &[&[CIDR]], "int"),
    (
        "replace",
        &[&["string", "string", "string"], &["string", "string", "string", "int"]],
        "string",
    ),
    ("reverse", &[&["string"]], "string"),
    ("sign", &[&[QUANTITY]], "int"),
    ("size", &[&["string"], &["bytes"], &["list"], &["map"]], "int"),
    ("split", &[&["string", "string"], &["string", "string", "int"]], "list"),
    ("startsWith", &[&["string", "string"]], "bool"),
    ("sub", &[&[QUANTITY, QUANTITY], &[QUANTITY, "int"]], QUANTITY),
    ("substring", &[&["string", "int"], &["string", "int", "int"]], "string"),
    ("sum", &[&["list"]], "any"),
    ("trim", &[&["string"]], "string"),
    ("upperAscii", &[&["string"]], "string"),
    ("validate", &[&["kubernetes.NamedFormat", "string"]], "any"),
    ("value", &[&["optional_type"]], "any"),
];

/// The operators by cel-go's names; the four that compare stand under `_<_`.
const OPERATORS: &[Row] = &[
    ("!_", &[&["bool"]], "bool"),
    ("-_", &[&["int"]], "int"),
    ("-_", &[&["double"]], "double"),
    ("_&&_", &[&["bool", "bool"]], "bool"),
    ("_||_", &[&["bool", "bool"]], "bool"),
    ("@in", &[&["any", "list"], &["any", "map"]], "bool"),
    (
        "_[_]",
        &[
            &["list", "int"],
            &["list", "uint"],
            &["list", "double"],
            &["map", "any"],
            &["optional_type", "any"],
        ],
        "any",
    ),
    (
        "_<_",
        &[
            &["bool", "bool"],
            &["string", "string"],
            &["bytes", "bytes"],
            &["timestamp", "timestamp"],
            &["duration", "duration"],
            &["int", "int"],
            &["int", "uint"],
            &["int", "double"],
            &["uint", "int"],
            &["uint", "uint"],
            &["uint", "double"],
            &["double", "int"],
            &["double", "uint"],
            &["double", "double"],
        ],
        "bool",
    ),
    ("_+_", &[&["int", "int"]], "int"),
    ("_+_", &[&["uint", "uint"]], "uint"),
    ("_+_", &[&["double", "double"]], "double"),
    ("_+_", &[&["string", "string"]], "string"),
    ("_+_", &[&["bytes", "bytes"]], "bytes"),
    ("_+_", &[&["list", "list"]], "list"),
    ("_+_", &[&["duration", "duration"]], "duration"),
    ("_+_", &[&["timestamp", "duration"], &["duration", "timestamp"]], "timestamp"),
    ("_-_", &[&["int", "int"]], "int"),
    ("_-_", &[&["uint", "uint"]], "uint"),
    ("_-_", &[&["double", "double"]], "double"),
    ("_-_", &[&["duration", "duration"], &["timestamp", "timestamp"]], "duration"),
    ("_-_", &[&["timestamp", "duration"]], "timestamp"),
    ("_*_", &[&["int", "int"]], "int"),
    ("_*_", &[&["uint", "uint"]], "uint"),
    ("_*_", &[&["double", "double"]], "double"),
    ("_%_", &[&["int", "int"]], "int"),
    ("_%_", &[&["uint", "uint"]], "uint"),
];

/// The row under which an operator stands.
fn row_name(operator: &str) -> &str {
    match operator {
        "_<=_" | "_>_" | "_>=_" => "_<_",
        "_/_" => "_*_",
        other => other,
    }
}

/// Whether there is a function of that name.
pub(super) fn exists(name: &str, is_method: bool) -> bool {
    let table = if is_method { METHODS } else { FUNCTIONS };
    table.iter().any(|(other, ..)| *other == name) || (!is_method && named_format(name).is_some())
}

/// `format.uuid`: the format's name.
pub(super) fn named_format(function: &str) -> Option<&'static str> {
    let name = function.strip_prefix("format.")?;
    super::format::NAMES.iter().copied().find(|other| *other == name)
}

/// What a function gives for values of these types (None: any type); None where it takes no such values.
pub(super) fn function(
    name: &str,
    is_method: bool,
    args: &[Option<&str>],
) -> Option<Option<&'static str>> {
    if !is_method && named_format(name).is_some() {
        return args.is_empty().then_some(Some("kubernetes.NamedFormat"));
    }
    among(if is_method { METHODS } else { FUNCTIONS }, name, args)
}

/// What an operator gives for operands of these types; see [`function`].
pub(super) fn operator(name: &str, args: &[Option<&str>]) -> Option<Option<&'static str>> {
    among(OPERATORS, row_name(name), args)
}

fn among(rows: &[Row], name: &str, args: &[Option<&str>]) -> Option<Option<&'static str>> {
    let fits = |(wanted, found): (&&str, &Option<&str>)| {
        *wanted == "any" || found.is_none_or(|found| found == *wanted)
    };
    let takes = |way: &[&str]| way.len() == args.len() && way.iter().zip(args).all(fits);
    let mut results = rows
        .iter()
        .filter(|(other, ways, _)| *other == name && ways.iter().any(|way| takes(way)))
        .map(|(.., gives)| *gives);
    let first = results.next()?;
    let one = first != "any" && results.all(|other| other == first);
    Some(one.then_some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_follows_from_what_is_taken() {
        let check = |name: &str, args: &[Option<&str>], expected: Option<Option<&'static str>>| {
            assert_eq!(operator(name, args), expected, "{name} {args:?}");
        };
        check("_+_", &[Some("int"), Some("int")], Some(Some("int")));
        check("_+_", &[Some("int"), None], Some(Some("int")));
        check("_+_", &[Some("timestamp"), None], Some(Some("timestamp")));
        check("_+_", &[None, None], Some(None));
        check("_+_", &[Some("bool"), None], None);
        check("_>=_", &[Some("int"), Some("double")], Some(Some("bool")));
        assert_eq!(function("size", true, &[Some("int")]), None);
        assert_eq!(function("size", true, &[None]), Some(Some("int")));
        assert!(exists("format.uuid", false) && !exists("format.nope", false));
    }
}
