//! CertificateSigningRequest (certificates): somebody's request, what was decided about it, and the certificate.
//!
//! Three hands write it, each through its own way in. Whoever asks makes the object, and the server notes who that is;
//! nothing of the specification changes any more. Approvers add the conditions Approved or Denied through `approval`.
//! Signers write the certificate, or the condition Failed, through `status`. Who may approve and sign is decided in
//! `authorization::authorizer::signer`.

use apimachinery::{
    api::ByteString,
    certificates::{self, APPROVED, DENIED, FAILED, LEGACY_UNKNOWN},
    duration::HumanDuration,
    field::FieldError,
    object::Object,
    resource,
    resource::ResourceInfo,
    time::Time,
    validation::{is_dns1123_label, is_dns1123_subdomain},
};
use component_base::tls::{self, CertificateRequest};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{STATUS, keep_all_but_status, take_field};
use crate::registry::{
    defaults, meta, printers,
    strategy::{Column, Owned, Strategy, StrategyContext},
    validation::at::{At, Errors, same},
};

/// The subresource through which approvers write.
const APPROVAL: &str = "approval";
const COLUMNS: [Column; 6] = [
    printers::NAME,
    printers::AGE,
    printers::string("SignerName", "Who is asked to sign."),
    printers::string("Requestor", "The user who asks."),
    printers::string("RequestedDuration", "For how long the certificate is wanted."),
    printers::string("Condition", "How the request stands."),
];
/// Conditions that say something or are not there.
const TRUE_CONDITIONS: [&str; 3] = [APPROVED, DENIED, FAILED];
const MIN_EXPIRATION: i64 = 600;
const MAX_DOMAIN: usize = 253;
/// A subdomain, a dot, a label.
const MAX_SIGNER_PATH: usize = 253 + 1 + 63;

/// See the module.
pub(super) struct CertificateSigningRequest;

impl Strategy for CertificateSigningRequest {
    fn resource(&self) -> &'static ResourceInfo {
        &resource::CERTIFICATE_SIGNING_REQUESTS
    }

    fn default(&self, object: &mut Object) {
        defaults::prune_object(object);
    }

    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, object: &mut Object) {
        let Some(spec) = defaults::child_or_new(&mut object.0, "spec") else { return };
        for field in ["username", "uid", "groups", "extra"] {
            spec.remove(field);
        }
        let user = ctx.user;
        for (field, text) in [("username", &user.name), ("uid", &user.uid)] {
            if !text.is_empty() {
                spec.insert(field.to_owned(), text.as_str().into());
            }
        }
        if !user.groups.is_empty() {
            spec.insert("groups".to_owned(), json!(user.groups));
        }
        if !user.extra.is_empty() {
            spec.insert("extra".to_owned(), json!(user.extra));
        }
        object.set(&["status"], json!({}));
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Object, old: &Object) {
        keep_all_but_status(object, old);
        match ctx.subresource {
            STATUS => {
                let mut conditions = conditions(object);
                for kind in [APPROVED, DENIED] {
                    keep_conditions(&mut conditions, old, kind);
                }
                set_times(&mut conditions, old, ctx.now);
                put_conditions(object, conditions);
            }
            APPROVAL => {
                let mut conditions = conditions(object);
                set_times(&mut conditions, old, ctx.now);
                take_field(object, old, "status");
                put_conditions(object, conditions);
            }
            _ => take_field(object, old, "status"),
        }
    }

    fn validate_create(&self, _: &StrategyContext<'_>, object: &Object) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check(object, false, any_name, &mut errors);
        check(object, None, &mut errors);
        errors.0
    }

    fn validate_update(
        &self,
        ctx: &StrategyContext<'_>,
        object: &Object,
        old: &Object,
    ) -> Vec<FieldError> {
        let mut errors = Errors::default();
        meta::check(object, false, any_name, &mut errors);
        check(object, Some(old), &mut errors);
        check_changes(ctx.subresource, object, old, &mut errors);
        meta::check_update(object, old, &mut errors);
        errors.0
    }

    fn has_generation(&self) -> bool {
        false
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", object.get_str(&["spec", "signerName"]).to_owned())]
    }

    fn owned(&self, subresource: &str) -> Owned {
        match subresource {
            STATUS => Owned::Except(&[&["spec"], &["status", "conditions"]]),
            APPROVAL => Owned::Except(&[&["spec"], &["status", "certificate"]]),
            _ => Owned::Except(&[&["spec"], &["status"]]),
        }
    }

    fn columns(&self) -> &'static [Column] {
        &COLUMNS
    }

    fn row(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        let seconds = object.get_i64(&["spec", "expirationSeconds"]);
        let duration = seconds.map_or_else(
            || printers::NONE.to_owned(),
            |seconds| HumanDuration(SignedDuration::from_secs(seconds)).to_string(),
        );
        vec![
            printers::name(object),
            printers::age(object, now),
            printers::text_or(object, &["spec", "signerName"], printers::NONE),
            object.get_str(&["spec", "username"]).into(),
            duration.into(),
            certificates::summary(object).into(),
        ]
    }
}

/// Requests may bear any name.
fn any_name(_: &str, _: bool) -> Vec<String> {
    Vec::new()
}

// ---- conditions ----

fn conditions(object: &Object) -> Vec<Value> {
    object.get_list(&["status", "conditions"]).to_vec()
}

fn of_type(object: &Object, kind: &str) -> Vec<Value> {
    conditions(object).into_iter().filter(|condition| condition["type"] == kind).collect()
}

fn put_conditions(object: &mut Object, conditions: Vec<Value>) {
    if conditions.is_empty() {
        object.remove(&["status", "conditions"]);
    } else {
        object.set(&["status", "conditions"], conditions);
    }
}

/// Conditions of a kind are as they were, unless some came or went, which validation tells.
fn keep_conditions(conditions: &mut [Value], old: &Object, kind: &str) {
    let kept = of_type(old, kind);
    let own = || |condition: &&mut Value| condition["type"] == kind;
    if conditions.iter_mut().filter(own()).count() != kept.len() {
        return;
    }
    for (condition, kept) in conditions.iter_mut().filter(own()).zip(kept) {
        *condition = kept;
    }
}

/// Fills in the times that are missing.
fn set_times(conditions: &mut [Value], old: &Object, now: Timestamp) {
    let now = Value::from(Time(now).truncated().to_string());
    let before = conditions_with_transition(old);
    for condition in conditions.iter_mut().filter(|condition| condition.is_object()) {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.clone();
        }
        if condition["lastTransitionTime"].is_null() {
            let same = before.iter().find(|old| {
                old["type"] == condition["type"] && old["status"] == condition["status"]
            });
            let since = same.map_or(&now, |old| &old["lastTransitionTime"]);
            condition["lastTransitionTime"] = since.clone();
        }
    }
}

fn conditions_with_transition(old: &Object) -> Vec<Value> {
    let mut conditions = conditions(old);
    conditions.retain(|condition| condition["lastTransitionTime"].is_string());
    conditions
}

// ---- validation ----

/// What holds of new and of changed requests; what was stored before is let be.
fn check(object: &Object, old: Option<&Object>, errors: &mut Errors) {
    let spec = At::top(object, "spec");
    check_request(&spec.get("request"), errors);
    check_usages(&spec.get("usages"), old, errors);
    let signer = spec.get("signerName");
    let legacy = |object: &Object| object.get_str(&["spec", "signerName"]) == LEGACY_UNKNOWN;
    if legacy(object) && !old.is_some_and(legacy) {
        errors.invalid(&signer, "the legacy signerName is not allowed via this API version");
    } else {
        check_signer(&signer, errors);
    }
    let expiration = spec.get("expirationSeconds");
    if expiration.is_set() && expiration.int() < MIN_EXPIRATION {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.invalid(&expiration, why);
    }
    let status = At::top(object, "status");
    check_conditions(&status.get("conditions"), old, errors);
    let certificate = status.get("certificate");
    let before = old.map_or("", |old| old.get_str(&["status", "certificate"]));
    if !certificate.is_empty() && certificate.text() != before {
        let bytes = ByteString::decode(certificate.text()).unwrap_or_default();
        if let Err(why) = tls::check_certificates(&bytes.0) {
            errors.invalid_as(&certificate, "<certificate data>", why.to_string());
        }
    }
}

fn check_request(request: &At<'_>, errors: &mut Errors) {
    let bytes = ByteString::decode(request.text()).unwrap_or_default();
    let read = CertificateRequest::from_pem(&bytes.0);
    if let Err(why) = read.and_then(|read| read.verify()) {
        errors.invalid_as(request, request.text(), why.to_string());
    }
}

fn check_usages(usages: &At<'_>, old: Option<&Object>, errors: &mut Errors) {
    if usages.is_empty() {
        errors.required(usages, "");
    }
    let before = old.map(|old| old.get_list(&["spec", "usages"])).unwrap_or_default();
    let is_known = |usage: &Value| usage.as_str().and_then(certificates::usage).is_some();
    if before.iter().all(is_known) {
        let known: Vec<&str> = certificates::USAGES.iter().map(|(name, _)| *name).collect();
        for usage in usages.items().filter(|usage| certificates::usage(usage.text()).is_none()) {
            errors.not_supported(&usage, &known);
        }
    }
    if !has_twins(before) {
        for (index, usage) in usages.items().enumerate() {
            if usages.list()[..index].iter().any(|earlier| Some(earlier) == usage.raw()) {
                errors.duplicate(&usage);
            }
        }
    }
}

fn has_twins(list: &[Value]) -> bool {
    list.iter().enumerate().any(|(index, value)| list[..index].contains(value))
}

/// `example.com/name`: a domain of two labels and more, and a path of subdomains (`ValidateSignerName`).
fn check_signer(signer: &At<'_>, errors: &mut Errors) {
    if signer.is_empty() {
        return errors.required(signer, "");
    }
    let parts: Vec<&str> = signer.text().split('/').collect();
    let [domain, path] = parts[..] else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(signer, why);
    };
    if domain.len() > MAX_DOMAIN {
        errors.too_long(signer, MAX_DOMAIN);
    }
    let check = |whole: &str, rule: fn(&str) -> Vec<String>, errors: &mut Errors| {
        for label in whole.split('.') {
            for why in rule(label) {
                let why = format!("validating label \"{label}\": {why}");
                errors.invalid_as(signer, whole, why);
            }
        }
    };
    check(domain, is_dns1123_label, errors);
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.invalid_as(signer, domain, why);
    }
    check(path, is_dns1123_subdomain, errors);
    if path.len() > MAX_SIGNER_PATH {
        errors.too_long(signer, MAX_SIGNER_PATH);
    }
}

fn check_conditions(conditions: &At<'_>, old: Option<&Object>, errors: &mut Errors) {
    let before = old.map(self::conditions).unwrap_or_default();
    let types = |list: &[Value]| -> Vec<Value> { list.iter().map(|c| c["type"].clone()).collect() };
    let before = types(&before);
    let both = before.contains(&APPROVED.into()) && before.contains(&DENIED.into());
    let nameless = before.iter().any(|kind| kind.as_str().is_none_or(str::is_empty));
    let twins = has_twins(&before);
    let kinds: Vec<&str> =
        conditions.list().iter().map(|c| c["type"].as_str().unwrap_or_default()).collect();
    for (index, condition) in conditions.items().enumerate() {
        let seen = &kinds[..index];
        let kind = condition.get("type");
        if kind.is_empty() && !nameless {
            errors.required(&kind, "");
        }
        let allowed: &[&str] = if TRUE_CONDITIONS.contains(&kind.text()) {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        errors.one_of(&condition.get("status"), allowed);
        let other = match kind.text() {
            APPROVED => DENIED,
            DENIED => APPROVED,
            _ => "",
        };
        if !both && !other.is_empty() && seen.contains(&other) {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.invalid_as(conditions, kind.text(), why);
        }
        if !twins && seen.contains(&kind.text()) {
            errors.duplicate(&kind);
        }
    }
}

/// What each way in may not change.
fn check_changes(subresource: &str, object: &Object, old: &Object, errors: &mut Errors) {
    let status = At::top(object, "status");
    let conditions = status.get("conditions");
    for kind in TRUE_CONDITIONS {
        if of_type(object, kind).len() < of_type(old, kind).len() {
            let why = format!("updates may not remove a condition of type \"{kind}\"");
            errors.forbidden(&conditions, why);
        }
    }
    for kind in [APPROVED, DENIED].into_iter().filter(|_| subresource != APPROVAL) {
        let (new, before) = (of_type(object, kind), of_type(old, kind));
        let lists = (&Value::from(new.clone()), &Value::from(before.clone()));
        if new.len() > before.len() {
            let why = format!("updates may not add a condition of type \"{kind}\"");
            errors.forbidden(&conditions, why);
        } else if new.len() == before.len() && !same(Some(lists.0), Some(lists.1)) {
            let why = format!("updates may not modify a condition of type \"{kind}\"");
            errors.forbidden(&conditions, why);
        }
    }
    let certificate = status.get("certificate");
    let before = old.get_str(&["status", "certificate"]);
    if certificate.text() != before {
        if subresource != STATUS {
            errors.forbidden(&certificate, "updates may not set certificate content");
        } else if !before.is_empty() {
            let why = "updates may not modify existing certificate content";
            errors.forbidden(&certificate, why);
        }
    }
}
