//! The rules of `audit.k8s.io/v1 Policy`: what is told of which request.
//!
//! The first rule that matches decides. A file is refused as Kubernetes refuses it, unknown fields included.

use apimachinery::{field::go_quote, yaml};
use serde::Deserialize;

use crate::{authorization::Attributes, request::UserInfo};

/// How much an event tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// There is no event.
    #[default]
    None,
    /// Who asked what, and what became of it.
    Metadata,
    /// That, and the request's body.
    Request,
    /// That, and the answer's body.
    RequestResponse,
}

const LEVELS: [(&str, Level); 4] = [
    ("None", Level::None),
    ("Metadata", Level::Metadata),
    ("Request", Level::Request),
    ("RequestResponse", Level::RequestResponse),
];

impl Level {
    /// Its name in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self).map_or("", |(name, _)| name)
    }
}

/// The moments of a request that have an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is known who asks what.
    RequestReceived,
    /// The headers of a long answer are sent.
    ResponseStarted,
    /// The answer is sent.
    ResponseComplete,
    /// The server failed in it.
    Panic,
}

const STAGES: [(&str, Stage); 4] = [
    ("RequestReceived", Stage::RequestReceived),
    ("ResponseStarted", Stage::ResponseStarted),
    ("ResponseComplete", Stage::ResponseComplete),
    ("Panic", Stage::Panic),
];

impl Stage {
    /// Its name in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        STAGES.iter().find(|(_, stage)| *stage == self).map_or("", |(name, _)| name)
    }
}

/// A policy, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// What the policy says of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) level: Level,
    omitted: Vec<Stage>,
    pub(crate) omit_managed_fields: bool,
}

impl Verdict {
    /// Whether this moment has an event.
    pub(crate) fn tells(&self, stage: Stage) -> bool {
        self.level > Level::None && !self.omitted.contains(&stage)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    verdict: Verdict,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    paths: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    #[allow(dead_code, reason = "a policy may bear a name, which says nothing")]
    metadata: serde_json::Value,
    #[serde(default)]
    rules: Vec<FileRule>,
    #[serde(default)]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct FileRule {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// It is no YAML, or not of the form of a policy.
    #[error("failed decoding: {0}")]
    Form(String),
    /// What it says cannot be.
    #[error("{0}")]
    Content(String),
}

impl Policy {
    /// Reads a policy from YAML or JSON.
    ///
    /// # Errors
    /// When it is none, or says what cannot be.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut documents = yaml::read(text, "audit policy")
            .map_err(|error| PolicyError::Form(error.to_string()))?;
        if documents.len() != 1 {
            return Err(PolicyError::Form(format!("{} documents in one file", documents.len())));
        }
        let file: File = serde_json::from_value(documents.remove(0).value)
            .map_err(|error| PolicyError::Form(error.to_string()))?;
        if (file.api_version.as_str(), file.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            return Err(PolicyError::Form(format!(
                "unknown group version field {}/{} in policy file",
                go_quote(&file.api_version),
                go_quote(&file.kind)
            )));
        }
        if file.rules.is_empty() {
            return Err(PolicyError::Content("loaded illegal policy with 0 rules".to_owned()));
        }
        let omitted = stages("omitStages", &file.omit_stages)?;
        let rules = file.rules.into_iter().enumerate();
        let rules = rules.map(|(index, rule)| {
            let mut rule = check(&format!("rules[{index}]"), rule, file.omit_managed_fields)?;
            rule.verdict.omitted.extend(&omitted);
            Ok(rule)
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// What is told of a request.
    pub(crate) fn verdict(&self, user: &UserInfo, attributes: &Attributes<'_>) -> Verdict {
        let rule = self.rules.iter().find(|rule| rule.matches(user, attributes));
        rule.map(|rule| rule.verdict.clone()).unwrap_or_default()
    }
}

fn check(path: &str, rule: FileRule, omit_managed_fields: bool) -> Result<Rule, PolicyError> {
    let refuse = |what: String| Err(PolicyError::Content(format!("{path}.{what}")));
    let level = match LEVELS.iter().find(|(name, _)| *name == rule.level) {
        Some((_, level)) => *level,
        None if rule.level.is_empty() => return refuse("level: Required value".to_owned()),
        None => {
            return refuse(format!(
                "level: Unsupported value: {}: supported values: \"Metadata\", \"None\", \"Request\", \"RequestResponse\"",
                go_quote(&rule.level)
            ));
        }
    };
    let about_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
    if about_resources && !rule.non_resource_urls.is_empty() {
        return refuse(
            "nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs"
                .to_owned(),
        );
    }
    for (index, url) in rule.non_resource_urls.iter().enumerate() {
        let why = if url == "*" {
            continue;
        } else if !url.starts_with('/') {
            "non-resource URL rules must begin with a '/' character"
        } else if url[..url.len() - 1].contains('*') {
            "non-resource URL wildcards '*' must be the final character of the rule"
        } else {
            continue;
        };
        return refuse(format!(
            "nonResourceURLs[{index}]: Invalid value: {}: {why}",
            go_quote(url)
        ));
    }
    for (index, group) in rule.resources.iter().enumerate() {
        let why = if group.group.contains('/') || group.group.contains(' ') {
            "group: Invalid value: must be the name of an API group, without version"
        } else if !group.resource_names.is_empty() && group.resources.is_empty() {
            "resourceNames: Invalid value: using resourceNames requires at least one resource"
        } else {
            continue;
        };
        return refuse(format!("resources[{index}].{why}"));
    }
    let omitted = stages(&format!("{path}.omitStages"), &rule.omit_stages)?;
    let omit_managed_fields = rule.omit_managed_fields.unwrap_or(omit_managed_fields);
    Ok(Rule {
        verdict: Verdict { level, omitted, omit_managed_fields },
        users: rule.users,
        user_groups: rule.user_groups,
        verbs: rule.verbs,
        resources: rule.resources,
        namespaces: rule.namespaces,
        paths: rule.non_resource_urls,
    })
}

fn stages(path: &str, names: &[String]) -> Result<Vec<Stage>, PolicyError> {
    let find = |(index, name): (usize, &String)| {
        let known = STAGES.iter().find(|(known, _)| known == name);
        known.map(|(_, stage)| *stage).ok_or_else(|| {
            PolicyError::Content(format!(
                "{path}[{index}]: Invalid value: {}: allowed stages are {}",
                go_quote(name),
                STAGES.map(|(name, _)| name).join(",")
            ))
        })
    };
    names.iter().enumerate().map(find).collect()
}

impl Rule {
    fn matches(&self, user: &UserInfo, attributes: &Attributes<'_>) -> bool {
        let any = |list: &[String], value: &str| {
            list.is_empty() || list.iter().any(|entry| entry == value)
        };
        let of_group = self.user_groups.is_empty()
            || user.groups.iter().any(|group| self.user_groups.contains(group));
        if !any(&self.users, &user.name) || !of_group {
            return false;
        }
        match attributes {
            Attributes::Resource { verb, namespace, .. } => {
                any(&self.verbs, verb)
                    && self.paths.is_empty()
                    && any(&self.namespaces, namespace)
                    && (self.resources.is_empty()
                        || self.resources.iter().any(|group| group.matches(attributes)))
            }
            Attributes::Path { verb, path } => {
                any(&self.verbs, verb)
                    && self.namespaces.is_empty()
                    && self.resources.is_empty()
                    && (self.paths.is_empty()
                        || self.paths.iter().any(|pattern| path_matches(path, pattern)))
            }
        }
    }
}

fn path_matches(path: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    }
}

impl GroupResources {
    fn matches(&self, attributes: &Attributes<'_>) -> bool {
        let Attributes::Resource { group, resource, subresource, name, .. } = attributes else {
            return false;
        };
        if self.group != *group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.resource_names.is_empty() && !self.resource_names.iter().any(|known| known == name)
        {
            return false;
        }
        self.resources.iter().any(|known| match known.split_once('/') {
            None if known == "*" => true,
            None => known == resource && subresource.is_empty(),
            Some(("*", wanted)) => !subresource.is_empty() && wanted == *subresource,
            Some((wanted, "*")) => wanted == *resource,
            Some((wanted, sub)) => wanted == *resource && sub == *subresource,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{group: "", resources: [endpoints, services]}]}
- {level: None, userGroups: ["system:authenticated"], nonResourceURLs: ["/api*", /version]}
- {level: Request, resources: [{group: "", resources: [configmaps], resourceNames: [one]}], namespaces: [kube-system]}
- {level: Metadata, resources: [{group: "", resources: [secrets, configmaps, pods/log, "*/status"]}]}
- {level: RequestResponse, resources: [{group: apps}, {group: rbac.authorization.k8s.io, resources: ["*"]}, {group: "", resources: ["pods/*"]}], omitStages: [ResponseStarted]}
- {level: Metadata}
"#;

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = Policy::parse(POLICY).unwrap();
        let check = |user: &str, what: &str, level: Level| {
            let user = UserInfo {
                name: user.into(),
                groups: vec!["system:authenticated".into()],
                ..UserInfo::default()
            };
            let attributes = match *what.split(' ').collect::<Vec<_>>() {
                [verb, path] => Attributes::Path { verb, path },
                [verb, group, resource, namespace, name] => {
                    let (resource, subresource) =
                        resource.split_once('/').unwrap_or((resource, ""));
                    let [group, namespace] = [group, namespace].map(|text| text.trim_matches('-'));
                    Attributes::Resource { verb, group, resource, subresource, namespace, name }
                }
                _ => panic!("{what}"),
            };
            assert_eq!(policy.verdict(&user, &attributes).level, level, "{what}");
        };
        check("system:kube-proxy", "watch - services - -", Level::None);
        check("ann", "watch - services - -", Level::Metadata);
        check("ann", "get /api/v1", Level::None);
        check("ann", "get /version", Level::None);
        check("ann", "get /versions", Level::Metadata);
        check("ann", "get - configmaps kube-system one", Level::Request);
        check("ann", "get - configmaps kube-system two", Level::Metadata);
        check("ann", "get - secrets default x", Level::Metadata);
        check("ann", "create apps deployments default -", Level::RequestResponse);
        check("ann", "update apps deployments/status default d", Level::RequestResponse);
        check("ann", "update - nodes/status - n", Level::Metadata);
        check("ann", "create - pods/exec default p", Level::RequestResponse);
        check("ann", "create - pods default p", Level::RequestResponse);
        check("ann", "get batch jobs default p", Level::Metadata);
    }

    #[test]
    fn stages_are_omitted_by_the_policy_and_by_its_rules() {
        let policy = Policy::parse(POLICY).unwrap();
        let attributes = Attributes::Resource {
            verb: "create",
            group: "apps",
            resource: "deployments",
            subresource: "",
            namespace: "default",
            name: "",
        };
        let verdict = policy.verdict(&UserInfo::default(), &attributes);
        for (stage, tells) in [
            (Stage::RequestReceived, false),
            (Stage::ResponseStarted, false),
            (Stage::ResponseComplete, true),
            (Stage::Panic, true),
        ] {
            assert_eq!(verdict.tells(stage), tells, "{stage:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |rules: &str, expected: &str| {
            let text = format!("{{apiVersion: audit.k8s.io/v1, kind: Policy, rules: {rules}}}");
            let error = Policy::parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{rules}: {error}");
        };
        check("[]", "0 rules");
        check("[{}]", "rules[0].level: Required value");
        check("[{level: All}]", r#"rules[0].level: Unsupported value: "All""#);
        check("[{level: None, user: [a]}]", "unknown field `user`");
        check(
            "[{level: None, omitStages: [End]}]",
            r#"rules[0].omitStages[0]: Invalid value: "End""#,
        );
        check("[{level: None, nonResourceURLs: [version]}]", "must begin with a '/'");
        check("[{level: None, nonResourceURLs: ['/a*b']}]", "must be the final character");
        check(
            "[{level: None, nonResourceURLs: [/a], namespaces: [a]}]",
            "cannot apply to both regular resources and non-resource URLs",
        );
        check(
            "[{level: None, resources: [{resourceNames: [a]}]}]",
            "requires at least one resource",
        );
        for text in [
            "",
            "a: b: c",
            "{apiVersion: audit.k8s.io/v1beta1, kind: Policy, rules: [{level: None}]}",
        ] {
            Policy::parse(text).unwrap_err();
        }
    }
}
