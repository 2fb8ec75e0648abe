use std::collections::HashSet;

use apimachinery::schema::{self, Struct};

use super::*;

#[test]
fn the_table_is_closed() {
    let table = table();
    assert!(table.len() > 150);
    for (message, fields) in table {
        for field in fields.values() {
            if let Kind::Message(inner) = field.kind {
                assert!(table.contains_key(inner), "{message}.{} is a {inner}", field.name);
            }
        }
    }
}

/// A schema's fields all have a number, so that no kind can be served in JSON only.
#[test]
fn every_field_of_the_schema_table_has_a_number() {
    let mut missing = Vec::new();
    let mut seen = HashSet::new();
    for (group, version, kind) in schema::kinds() {
        let package = match group.split('.').next() {
            None | Some("") => "core",
            Some(package) => package,
        };
        let message = if kind == "Status" {
            "meta.v1.Status".to_owned()
        } else {
            format!("{package}.{version}.{kind}")
        };
        let strukt = schema::find(group, version, kind).unwrap();
        compare(&message, strukt, &mut seen, &mut missing);
    }
    missing.sort();
    assert_eq!(missing, UNNUMBERED);
}

/// Fields of the newest versions, whose numbers are not known yet: sending one is answered by an error that says so.
const UNNUMBERED: [&str; 14] = [
    "admissionregistration.v1.MutatingAdmissionPolicy.metadata",
    "admissionregistration.v1.MutatingAdmissionPolicy.spec",
    "admissionregistration.v1.MutatingAdmissionPolicyBinding.metadata",
    "admissionregistration.v1.MutatingAdmissionPolicyBinding.spec",
    "core.v1.PodSpec.schedulingGroup",
    "core.v1.PodStatus.nodeAllocatableResourceClaimStatuses",
    "core.v1.VolumeMountStatus.volumeStatus",
    "meta.v1.ListMeta.shardInfo",
    "resource.v1.Device.nodeAllocatableResourceMappings",
    "resource.v1.DeviceAttribute.bools",
    "resource.v1.DeviceAttribute.ints",
    "resource.v1.DeviceAttribute.strings",
    "resource.v1.DeviceAttribute.versions",
    "storage.v1.CSIDriverSpec.preventPodSchedulingIfMissing",
];

fn compare(message: &str, strukt: &Struct, seen: &mut HashSet<String>, missing: &mut Vec<String>) {
    if !seen.insert(message.to_owned()) {
        return;
    }
    let mut numbered = HashMap::new();
    flatten(message, &mut numbered);
    if numbered.contains_key(WRAPPED) {
        return;
    }
    for field in strukt.fields.iter().filter(|f| !matches!(&*f.name, "apiVersion" | "kind")) {
        let Some(found) = numbered.get(&*field.name) else {
            missing.push(format!("{message}.{}", field.name));
            continue;
        };
        let mut shape = &field.shape;
        while let schema::Shape::List(inner) | schema::Shape::Map(inner) = shape {
            shape = inner;
        }
        if let (Kind::Message(inner), schema::Shape::Struct(strukt)) = (found.kind, shape) {
            compare(inner, strukt, seen, missing);
        }
    }
}

fn flatten(message: &str, into: &mut HashMap<&'static str, Field>) {
    for field in table().get(message).into_iter().flat_map(HashMap::values) {
        match (field.shape, field.kind) {
            (Shape::Inline, Kind::Message(inner)) => flatten(inner, into),
            _ => _ = into.insert(field.name, *field),
        }
    }
}

#[test]
fn messages_that_wrap_a_value_are_that_value() {
    let read = |message, bytes: &[u8]| {
        let field =
            Field { name: "f", shape: Shape::One, kind: Kind::Message(message), omit_zero: false };
        read_value(&field, Wire::Bytes(bytes), 0)
    };
    assert_eq!(read("authentication.v1.ExtraValue", b"\x0a\x01a\x0a\x01b"), Ok(json!(["a", "b"])));
    assert_eq!(read("authentication.v1.ExtraValue", b""), Ok(json!([])));
    let either = "apiextensions.v1.JSONSchemaPropsOrBool";
    assert_eq!(read(either, &[8, 1]), Ok(json!(true)));
    assert_eq!(read(either, &[8, 1, 18, 3, 42, 1, b'x']), Ok(json!({"type": "x"})));
    let maximum = [&[0x49][..], &2.0f64.to_le_bytes()].concat();
    assert_eq!(read("apiextensions.v1.JSONSchemaProps", &maximum), Ok(json!({"maximum": 2})));
}

#[test]
fn a_config_map_of_kubectl_is_read() {
    // What kubectl 1.33 sends for `create configmap a --from-literal=x=y`.
    let body: Vec<u8> = [
        "6b3873000a0f0a0276311209436f6e6669674d6170121b0a110a01611200",
        "1a0022002a00320038004200120",
        "60a017812017",
        "91a002200",
    ]
    .concat()
    .as_bytes()
    .chunks(2)
    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
    .collect();
    let json: Value = serde_json::from_slice(&to_json(&body).unwrap()).unwrap();
    assert_eq!(
        json,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "y"}})
    );
    assert_eq!(envelope(b"{}"), Err(Error::Magic));
    assert_eq!(envelope(&body[..20]), Err(Error::Short));
}

#[test]
fn special_types_are_read() {
    let read = |kind, bytes: &[u8]| {
        let field = Field { name: "f", shape: Shape::One, kind, omit_zero: false };
        read_value(&field, Wire::Bytes(bytes), 0)
    };
    assert_eq!(read(Kind::IntOrString, &[8, 0, 16, 80, 26, 0]), Ok(json!(80)));
    assert_eq!(read(Kind::IntOrString, &[8, 1, 16, 0, 26, 3, b'2', b'5', b'%']), Ok(json!("25%")));
    assert_eq!(read(Kind::Quantity, &[10, 4, b'1', b'0', b'0', b'm']), Ok(json!("100m")));
    assert_eq!(read(Kind::Time, &[]), Ok(Value::Null));
    assert_eq!(read(Kind::Time, &[8, 60]), Ok(json!("1970-01-01T00:01:00Z")));
    assert!(matches!(
        read(Kind::Message("core.v1.Pod"), &[0xf8, 7, 1]),
        Err(Error::UnknownField(..))
    ));
}
