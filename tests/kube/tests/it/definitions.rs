//! Definitions that are derived from Rust types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, CustomResource, CustomResourceExt, KubeSchema, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::crd::merge_crds,
    runtime::wait::{conditions, delete::delete_and_finalize},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::support::{client, control_plane, refusal, soon, wait};

/// As it once was.
mod old {
    use super::*;

    #[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize)]
    #[kube(group = "shop.example", version = "v1alpha1", kind = "Parcel", deprecated = "use v1")]
    pub(super) struct ParcelSpec {
        #[serde(default)]
        pub(super) weight: i32,
    }
}

#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize)]
#[kube(
    group = "shop.example",
    version = "v1",
    kind = "Parcel",
    status = "ParcelStatus",
    category = "shop",
    printcolumn(name = "Weight", type_ = "integer", json_path = ".spec.weight")
)]
pub(crate) struct ParcelSpec {
    #[x_kube(validation = ("self >= 0", "nothing flies"))]
    weight: i32,
    #[serde(default = "slow")]
    speed: Speed,
    #[x_kube(validation = ("self == oldSelf", "the address stays"))]
    #[serde(default)]
    address: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
enum Speed {
    Slow,
    Fast,
}

fn slow() -> Speed {
    Speed::Slow
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
pub(crate) struct ParcelStatus {
    delivered: bool,
}

#[tokio::test]
async fn a_derived_definition_is_served_as_it_says() {
    let cluster = control_plane().await;
    let client = client(&cluster).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let merged = merge_crds(vec![old::Parcel::crd(), Parcel::crd()], "v1").unwrap();
    let params = PatchParams::apply("tester");
    let name = merged.name_any();
    definitions.patch(&name, &params, &Patch::Apply(&merged)).await.unwrap();
    let established = conditions::is_crd_established();
    wait(&definitions, &name, established).await;

    let parcels: Api<Parcel> = Api::all(client.clone());
    let defaulted: Parcel = parcels
        .patch(
            "one",
            &params,
            &Patch::Apply(json!({
                "apiVersion": "shop.example/v1", "kind": "Parcel", "metadata": {"name": "one"},
                "spec": {"weight": 1, "address": "here"},
            })),
        )
        .await
        .unwrap();
    assert_eq!(defaulted.spec.speed, Speed::Slow);
    let wrongs = [
        (json!({"spec": {"weight": -1}}), "spec.weight: Invalid value: -1: nothing flies"),
        (
            json!({"spec": {"speed": "Late"}}),
            r#"spec.speed: Unsupported value: "Late": supported values: "Slow", "Fast""#,
        ),
        (
            json!({"spec": {"address": "there"}}),
            r#"spec.address: Invalid value: "there": the address stays"#,
        ),
        (
            json!({"spec": {"weight": "much"}}),
            "spec.weight: Invalid value: \"string\": spec.weight in body must be of type integer: \"string\"",
        ),
    ];
    for (patch, message) in wrongs {
        let refused =
            refusal(parcels.patch("one", &PatchParams::default(), &Patch::Merge(&patch)).await);
        assert!(refused.is_invalid() && refused.message.contains(message), "{refused:?}");
    }
    let delivered = Patch::Merge(json!({"status": {"delivered": true}, "spec": {"weight": 7}}));
    let told = parcels.patch_status("one", &PatchParams::default(), &delivered).await.unwrap();
    assert!(told.status.unwrap().delivered && told.spec.weight == 1);

    // The same object, as its old version.
    let olds: Api<old::Parcel> = Api::all(client.clone());
    let mut once = olds.get("one").await.unwrap();
    assert_eq!(once.spec.weight, 1);
    once.spec.weight = 2;
    olds.replace("one", &PostParams::default(), &once).await.unwrap();
    assert_eq!(parcels.get("one").await.unwrap().spec.weight, 2);

    let request = http::Request::get("/apis/shop.example/v1/parcels")
        .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new());
    let table: Value = client.request(request.unwrap()).await.unwrap();
    assert_eq!(table["columnDefinitions"][1]["name"], "Weight");
    assert_eq!(table["rows"][0]["cells"], json!(["one", 2]));

    soon("a deletion", delete_and_finalize(definitions, &name, &DeleteParams::default()))
        .await
        .unwrap();
    assert_eq!(refusal(parcels.get("one").await).code, 404);
}
