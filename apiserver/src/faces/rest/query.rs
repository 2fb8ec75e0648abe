//! Query parameters: what Kubernetes acts upon is acted upon here, or refused.

use std::time::Duration;

use apimachinery::{
    duration::{go_duration_error, parse_go_duration},
    status::Status,
};

use crate::{
    faces::grpc::field_validation,
    request::{DeleteOptions, ListOptions, Preconditions, RequestContext, Verb},
};

/// The first `%` with what follows that is no escape.
pub(super) fn bad_escape(text: &str) -> Option<&str> {
    let is_hex = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut percents = text.match_indices('%').map(|(at, _)| at);
    let bad = percents.find(|at| !is_hex(at + 1) || !is_hex(at + 2))?;
    let end = text[bad..].char_indices().nth(3).map_or(text.len(), |(length, _)| bad + length);
    Some(&text[bad..end])
}

/// Percent-decodes one segment or value; malformed escapes stay as they are.
pub(super) fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escaped = (bytes[index] == b'%')
            .then(|| text.get(index + 1..index + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = escaped {
            out.push(byte);
            index += 3;
        } else {
            out.push(bytes[index]);
            index += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The parameters of a URL, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// Parameters of Kubernetes that nothing here acts upon: using them is an error, not a silence.
const UNSERVED: [&str; 2] = ["shardSelector", "ignoreStoreReadErrorWithClusterBreakingPotential"];

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Status> {
        let mut pairs = Vec::new();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = if value.contains('+') { &value.replace('+', " ") } else { value };
            pairs.push((decode(key), decode(value)));
        }
        for (key, _) in &pairs {
            if UNSERVED.contains(&key.as_str()) {
                return Err(Status::bad_request(format!(
                    "the parameter {key} is not supported by this server"
                )));
            }
        }
        Ok(Self(pairs))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    fn text(&self, key: &str) -> String {
        self.get(key).unwrap_or("").to_owned()
    }

    /// A flag as Kubernetes converts it: present without value is true, `0` and `false` are false.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !matches!(value, "0" | "false"))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
        })
    }

    /// The options of a list, a watch, or a deletion of a collection.
    pub(super) fn list_options(&self) -> Result<ListOptions, Status> {
        let timeout =
            self.number("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok());
        Ok(ListOptions {
            label_selector: self.text("labelSelector"),
            field_selector: self.text("fieldSelector"),
            resource_version: self.text("resourceVersion"),
            resource_version_match: self.text("resourceVersionMatch"),
            limit: self.number("limit")?.unwrap_or(0),
            continue_token: self.text("continue"),
            send_initial_events: self
                .get("sendInitialEvents")
                .map(|_| self.flag("sendInitialEvents")),
            allow_bookmarks: self.flag("allowWatchBookmarks"),
            timeout: timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs),
        })
    }

    /// The parameters of writes and the deadline of any request.
    pub(super) fn fill(&self, context: &mut RequestContext) -> Result<(), Status> {
        context.deadline = self.timeout(context.verb)?;
        if matches!(context.verb, Verb::Get | Verb::List | Verb::Watch) {
            return Ok(());
        }
        for value in self.all("dryRun") {
            if value != "All" {
                return Err(Status::bad_request(format!(
                    "dryRun: Unsupported value: {value:?}: supported values: \"All\""
                )));
            }
            context.dry_run = true;
        }
        if let Some(manager) = self.get("fieldManager").filter(|manager| !manager.is_empty()) {
            if manager.chars().count() > 128 {
                return Err(Status::bad_request(
                    "fieldManager: Too long: may not be more than 128 bytes",
                ));
            }
            manager.clone_into(&mut context.field_manager);
            context.manager_given = true;
        }
        context.field_validation = field_validation(self.get("fieldValidation").unwrap_or(""))?;
        context.force = self.flag("force");
        Ok(())
    }

    /// How long the caller will wait; a watch has its own parameter for that.
    fn timeout(&self, verb: Verb) -> Result<Option<Duration>, Status> {
        let Some(text) = self.get("timeout").filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if verb == Verb::Watch {
            return Ok(None);
        }
        // Zero and less ask for no limit of the caller's own.
        let magnitude = text.strip_prefix(['-', '+']).unwrap_or(text);
        match parse_go_duration(magnitude) {
            Some(timeout) => Ok((!text.starts_with('-') && !timeout.is_zero()).then_some(timeout)),
            None => Err(Status::bad_request(format!(
                "invalid timeout specified in the request URL - time: {}",
                go_duration_error(text)
            ))),
        }
    }

    /// The options of a deletion that stand in the URL; those of a body come over them.
    pub(super) fn delete_options(&self) -> Result<DeleteOptions, Status> {
        let mut policy = self.text("propagationPolicy");
        if policy.is_empty() && self.get("orphanDependents").is_some() {
            policy = if self.flag("orphanDependents") { "Orphan" } else { "Background" }.to_owned();
        }
        Ok(DeleteOptions {
            grace_period_seconds: self.number("gracePeriodSeconds")?,
            propagation_policy: policy,
        })
    }
}

/// `DeleteOptions` from a body, over what the URL said.
pub(super) fn read_delete_options(
    body: &[u8],
    context: &mut RequestContext,
    options: &mut DeleteOptions,
) -> Result<(), Status> {
    #[derive(serde::Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Body {
        kind: Option<String>,
        grace_period_seconds: Option<i64>,
        propagation_policy: Option<String>,
        orphan_dependents: Option<bool>,
        dry_run: Option<Vec<String>>,
        preconditions: Option<Conditions>,
    }
    #[derive(serde::Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Conditions {
        uid: Option<String>,
        resource_version: Option<String>,
    }
    if body.is_empty() {
        return Ok(());
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    if let Some(kind) = body.kind.filter(|kind| kind != "DeleteOptions") {
        return Err(Status::bad_request(format!(
            "decoded object cannot be converted to DeleteOptions: {kind}"
        )));
    }
    if body.grace_period_seconds.is_some() {
        options.grace_period_seconds = body.grace_period_seconds;
    }
    if let Some(policy) = body.propagation_policy {
        options.propagation_policy = policy;
    } else if let Some(orphan) = body.orphan_dependents {
        options.propagation_policy = if orphan { "Orphan" } else { "Background" }.to_owned();
    }
    if let Some(conditions) = body.preconditions {
        context.preconditions =
            Preconditions { uid: conditions.uid, resource_version: conditions.resource_version };
    }
    for value in body.dry_run.unwrap_or_default() {
        if value != "All" {
            return Err(Status::bad_request(format!(
                "dryRun: Unsupported value: {value:?}: supported values: \"All\""
            )));
        }
        context.dry_run = true;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some(
            "labelSelector=a%3Db%2Cc+in+%28d%29&watch&limit=5&x=%zz&timeoutSeconds=7",
        ))
        .unwrap();
        let options = query.list_options().unwrap();
        assert_eq!(options.label_selector, "a=b,c in (d)");
        assert_eq!((options.limit, options.timeout), (5, Some(Duration::from_secs(7))));
        assert!(query.flag("watch"));
        assert_eq!(query.get("x"), Some("%zz"));
        for (text, bad) in
            [("a%2fb", None), ("a%2", Some("%2")), ("%zzz", Some("%zz")), ("é%é", Some("%é"))]
        {
            assert_eq!(bad_escape(text), bad, "{text}");
        }
        let timeout = |text: &str| Query::parse(Some(text)).unwrap().timeout(Verb::Get);
        assert_eq!(timeout("timeout=5s"), Ok(Some(Duration::from_secs(5))));
        for none in ["timeout=", "timeout=0s", "timeout=-3s", ""] {
            assert_eq!(timeout(none), Ok(None), "{none}");
        }
        for (text, message) in [
            ("timeout=x", r#"time: invalid duration "x""#),
            ("timeout=5", r#"time: missing unit in duration "5""#),
            ("timeout=5y", r#"time: unknown unit "y" in duration "5y""#),
        ] {
            let expected = format!("invalid timeout specified in the request URL - {message}");
            assert_eq!(timeout(text).unwrap_err().message, expected);
        }
        assert!(Query::parse(Some("limit=x")).unwrap().list_options().is_err());
        assert!(Query::parse(Some("shardSelector=x")).is_err());
    }
}
