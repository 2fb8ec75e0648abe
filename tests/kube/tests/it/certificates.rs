//! CertificateSigningRequests: who may ask, approve and sign, and who the certificate makes one.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{SelfSubjectReview, UserInfo},
        certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec},
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
};
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    config::AuthInfo,
};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tests::TestCluster;

use super::support::{client, config, control_plane, refusal, wait};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";

/// A key, and a request for a certificate of this user in these groups.
fn request(
    name: &str,
    signer: &str,
    user: &str,
    groups: &[&str],
) -> (KeyPair, CertificateSigningRequest) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let kinds = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    for (kind, group) in kinds.into_iter().zip(groups) {
        params.distinguished_name.push(kind, *group);
    }
    params.distinguished_name.push(DnType::CommonName, user);
    let key = KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let usages = ["client auth", "digital signature"].map(str::to_owned).to_vec();
    let object = CertificateSigningRequest {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: signer.to_owned(),
            usages: Some(usages),
            expiration_seconds: Some(3600),
            ..CertificateSigningRequestSpec::default()
        },
        ..CertificateSigningRequest::default()
    };
    (key, object)
}

fn decision(kind: &str) -> Patch<Value> {
    Patch::Merge(json!({"status": {"conditions": [
        {"type": kind, "status": "True", "reason": "Tested", "message": "by a test"},
    ]}}))
}

fn certificate(request: Option<&CertificateSigningRequest>) -> Option<Vec<u8>> {
    request?.status.as_ref()?.certificate.as_ref().map(|bytes| bytes.0.clone())
}

async fn who_is(client: Client) -> UserInfo {
    let reviews: Api<SelfSubjectReview> = Api::all(client);
    let told = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    told.status.unwrap().user_info.unwrap()
}

/// The API as somebody else, by impersonation.
async fn as_user(cluster: &TestCluster, user: &str, group: &str) -> Client {
    let mut config = config(cluster).await;
    config.auth_info.impersonate = Some(user.to_owned());
    config.auth_info.impersonate_groups = Some(vec![group.to_owned()]);
    Client::try_from(config).unwrap()
}

async fn grant(admin: &Client, name: &str, group: &str, role: &str, rules: Option<Value>) {
    let params = PostParams::default();
    if let Some(rules) = rules {
        let object = serde_json::from_value(json!({"metadata": {"name": role}, "rules": rules}));
        Api::<ClusterRole>::all(admin.clone()).create(&params, &object.unwrap()).await.unwrap();
    }
    let binding = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
    }));
    let bindings: Api<ClusterRoleBinding> = Api::all(admin.clone());
    bindings.create(&params, &binding.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approved_request_makes_a_user() {
    let cluster = control_plane().await;
    let requests: Api<CertificateSigningRequest> = Api::all(client(&cluster).await);
    let (key, object) = request("jane", CLIENT, "jane", &["dev", "ops"]);
    let mut pretender = object.clone();
    pretender.spec.username = Some("somebody".to_owned());
    let made = requests.create(&PostParams::default(), &pretender).await.unwrap();
    assert_eq!(made.spec.username.as_deref(), Some("kubernetes-admin"));
    assert_eq!(made.spec.groups.unwrap(), ["system:masters", "system:authenticated"]);
    for (signer, found) in [(CLIENT, 1), (KUBELET_CLIENT, 0)] {
        let selected = ListParams::default().fields(&format!("spec.signerName={signer}"));
        assert_eq!(requests.list(&selected).await.unwrap().items.len(), found, "{signer}");
    }
    let params = PatchParams::default();
    requests.patch_approval("jane", &params, &decision("Approved")).await.unwrap();
    let issued = |request: Option<&CertificateSigningRequest>| certificate(request).is_some();
    let signed = wait(&requests, "jane", issued).await;

    let mut config = config(&cluster).await;
    config.auth_info = AuthInfo {
        client_certificate_data: Some(
            BASE64_STANDARD.encode(certificate(signed.as_ref()).unwrap()),
        ),
        client_key_data: Some(BASE64_STANDARD.encode(key.serialize_pem()).into()),
        ..AuthInfo::default()
    };
    let jane = who_is(Client::try_from(config).unwrap()).await;
    assert_eq!(jane.username.as_deref(), Some("jane"));
    assert_eq!(jane.groups.unwrap(), ["dev", "ops", "system:authenticated"]);

    let refused = refusal(requests.patch_approval("jane", &params, &decision("Denied")).await);
    assert_eq!(
        refused.message,
        r#"CertificateSigningRequest.certificates.k8s.io "jane" is invalid: status.conditions: Forbidden: updates may not remove a condition of type "Approved""#
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approver_needs_the_signers_right() {
    let cluster = control_plane().await;
    let admin = client(&cluster).await;
    let requests: Api<CertificateSigningRequest> = Api::all(admin.clone());
    let (_, object) = request("jane", CLIENT, "jane", &["dev"]);
    requests.create(&PostParams::default(), &object).await.unwrap();
    let group = "certificates.k8s.io";
    let may_write = json!([{
        "apiGroups": [group], "verbs": ["get", "list", "watch", "update", "patch"],
        "resources": ["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"],
    }]);
    grant(&admin, "writers", "approvers", "writer", Some(may_write)).await;
    let ann: Api<CertificateSigningRequest> = Api::all(as_user(&cluster, "ann", "approvers").await);
    let params = PatchParams::default();
    let refused = refusal(ann.patch_approval("jane", &params, &decision("Approved")).await);
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (
            403,
            r#"certificatesigningrequests.certificates.k8s.io "jane" is forbidden: user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client""#
        )
    );
    let failed = refusal(ann.patch_status("jane", &params, &decision("Failed")).await);
    assert!(failed.message.contains("user not permitted to sign requests"), "{failed:?}");
    // What a signer does not write is free.
    let labels = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    ann.patch_status("jane", &params, &labels).await.unwrap();

    let of_domain = json!([{
        "apiGroups": [group], "verbs": ["approve"], "resources": ["signers"],
        "resourceNames": ["kubernetes.io/*"],
    }]);
    grant(&admin, "approvers", "approvers", "approver", Some(of_domain)).await;
    let denied = ann.patch_approval("jane", &params, &decision("Denied")).await.unwrap();
    let condition = denied.status.unwrap().conditions.unwrap().remove(0);
    assert!(condition.last_update_time.is_some() && condition.last_transition_time.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubelets_request_is_approved_by_itself() {
    let cluster = control_plane().await;
    let admin = client(&cluster).await;
    let role = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient";
    grant(&admin, "renewals", "system:nodes", role, None).await;
    let node = "system:node:node-9";
    let kubelet: Api<CertificateSigningRequest> =
        Api::all(as_user(&cluster, node, "system:nodes").await);
    let params = PostParams::default();
    let for_node =
        |name: &str, user: &str| request(name, KUBELET_CLIENT, user, &["system:nodes"]).1;
    let refused = refusal(kubelet.create(&params, &for_node("a", "system:node:node-8")).await);
    assert_eq!(
        refused.message,
        r#"certificatesigningrequests.certificates.k8s.io "a" is forbidden: can only create a node CSR with CN=system:node:node-9"#
    );
    let requests: Api<CertificateSigningRequest> = Api::all(admin);
    requests.create(&params, &for_node("other", node)).await.unwrap();
    kubelet.create(&params, &for_node("own", node)).await.unwrap();
    let issued = |request: Option<&CertificateSigningRequest>| certificate(request).is_some();
    let signed = wait(&requests, "own", issued).await.unwrap();
    let approval = signed.status.unwrap().conditions.unwrap().remove(0);
    assert_eq!(approval.reason.as_deref(), Some("AutoApproved"));
    assert_eq!(
        approval.message.as_deref(),
        Some("Auto approving self kubelet client certificate after SubjectAccessReview.")
    );
    // Who may do everything may ask for any node's.
    let signed = wait(&requests, "other", issued).await.unwrap();
    let approval = signed.status.unwrap().conditions.unwrap().remove(0);
    assert_eq!(
        approval.message.as_deref(),
        Some("Auto approving kubelet client certificate after SubjectAccessReview.")
    );
}

#[tokio::test]
async fn nobody_asks_for_the_masters_group() {
    let cluster = control_plane().await;
    let requests: Api<CertificateSigningRequest> = Api::all(client(&cluster).await);
    let (_, object) = request("jane", CLIENT, "jane", &["system:masters"]);
    let refused = refusal(requests.create(&PostParams::default(), &object).await);
    assert_eq!(
        refused.message,
        r#"certificatesigningrequests.certificates.k8s.io "jane" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"#
    );
    let (_, mut object) = request("jane", "example.com/own", "jane", &["system:masters"]);
    requests.create(&PostParams::default(), &object).await.unwrap();
    object.spec.expiration_seconds = Some(1);
    let refused = refusal(requests.create(&PostParams::default(), &object).await);
    assert!(refused.is_invalid() && refused.message.contains("less than 600 seconds"));
}
