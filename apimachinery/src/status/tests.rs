use serde_json::json;

use super::*;
use crate::{
    field::{FieldError, Path},
    resource,
};

#[test]
fn messages_are_kubernetes_own() {
    let check = |status: Status, code: u16, message: &str| {
        assert_eq!((status.code, status.message.as_str()), (code, message));
    };
    let (pods, deployments) = (&resource::PODS, &resource::DEPLOYMENTS);
    check(Status::not_found(pods, "a"), 404, r#"pods "a" not found"#);
    check(Status::not_found(deployments, "a"), 404, r#"deployments.apps "a" not found"#);
    check(Status::already_exists(pods, "a"), 409, r#"pods "a" already exists"#);
    check(
        Status::modified(deployments, "a"),
        409,
        r#"Operation cannot be fulfilled on deployments.apps "a": the object has been modified; please apply your changes to the latest version and try again"#,
    );
    check(Status::forbidden(pods, "", "no"), 403, "pods is forbidden: no");
    check(Status::forbidden(pods, "a", "no"), 403, r#"pods "a" is forbidden: no"#);
    check(Status::internal("x"), 500, "Internal error occurred: x");
    check(
        Status::method_not_allowed(deployments, "delete"),
        405,
        r#"delete is not supported on resources of kind "deployments.apps""#,
    );
}

#[test]
fn invalid_lists_its_causes() {
    let path = Path::new("spec.replicas");
    let errors = vec![
        FieldError::invalid(&path, -1, "must be greater than or equal to 0"),
        FieldError::required(&Path::new("spec.selector"), ""),
    ];
    let status = Status::invalid(&resource::DEPLOYMENTS, "web", errors);
    assert_eq!(
        status.message,
        r#"Deployment.apps "web" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.selector: Required value]"#
    );
    assert_eq!(
        serde_json::to_value(&status).unwrap()["details"],
        json!({"name": "web", "group": "apps", "kind": "Deployment", "causes": [
            {"reason": "FieldValueInvalid", "field": "spec.replicas",
             "message": "Invalid value: -1: must be greater than or equal to 0"},
            {"reason": "FieldValueRequired", "field": "spec.selector", "message": "Required value"},
        ]})
    );
}

#[test]
fn json_is_metav1_status() {
    let status = Status::not_found(&resource::PODS, "a");
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(
        text,
        r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"a\" not found","reason":"NotFound","details":{"name":"a","kind":"pods"},"code":404}"#
    );
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    let odd: Status = serde_json::from_str(r#"{"reason":"Odd","code":409}"#).unwrap();
    assert_eq!(odd.reason, StatusReason::Other("Odd".to_owned()));
    assert!(odd.is_conflict() && !odd.is_not_found());
}

#[test]
fn the_error_is_small() {
    assert!(size_of::<Status>() <= 96, "{}", size_of::<Status>());
}
