//! Gets and lists: consistency by resourceVersion, pages by continue tokens.

use std::{sync::Arc, time::Duration};

use apimachinery::{
    field::{FieldError, FieldErrors, Path},
    resource::ResourceInfo,
    status::Status,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{Store, storage_error, too_large};
use crate::{
    registry::selection::Selection,
    request::{ListOptions, pseudo_resource},
    storage::{KeyValue, ListQuery, Revision, StorageError},
};

/// How long a read waits for a resourceVersion that has not been reached.
const FUTURE_PATIENCE: Duration = Duration::from_secs(3);

/// The kind that errors about options of lists and watches name.
pub(crate) static LIST_OPTIONS: ResourceInfo = pseudo_resource("meta.k8s.io", "ListOptions", "");
/// The kind that errors about options of deletions name.
pub(crate) static DELETE_OPTIONS: ResourceInfo =
    pseudo_resource("meta.k8s.io", "DeleteOptions", "");

/// A page of a list.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) revision: Revision,
    pub(crate) items: Vec<Arc<KeyValue>>,
    /// Where the next page starts; empty on the last.
    pub(crate) continue_token: String,
    /// How many more there are, where that is known without reading them.
    pub(crate) remaining: Option<i64>,
}

impl Store {
    /// Reads one object.
    ///
    /// # Errors
    /// Not found, or a resourceVersion that is none or too far ahead.
    pub(crate) async fn get(
        &self,
        namespace: &str,
        name: &str,
        resource_version: &str,
    ) -> Result<Arc<KeyValue>, Status> {
        self.reach(parse_version(resource_version)?).await?;
        self.deps
            .storage
            .get(&self.key(namespace, name))
            .await
            .map_err(|e| storage_error(self.info, &e))?
            .ok_or_else(|| Status::not_found(self.info, name))
    }

    /// Waits a while for a revision.
    pub(crate) async fn reach(&self, revision: Revision) -> Result<(), Status> {
        let storage = &self.deps.storage;
        let current = storage.current_revision().await.map_err(|e| storage_error(self.info, &e))?;
        if revision <= current {
            return Ok(());
        }
        let waited = self.deps.clock.timeout(FUTURE_PATIENCE, storage.wait_for(revision)).await;
        match waited {
            Ok(reached) => reached.map(drop).map_err(|e| storage_error(self.info, &e)),
            Err(_) => {
                let now = storage.current_revision().await.unwrap_or(current);
                Err(too_large(revision.0, now.0))
            }
        }
    }

    /// Reads a collection.
    ///
    /// # Errors
    /// Invalid options; 410 for a state that is no longer known.
    pub(crate) async fn list(
        &self,
        namespace: &str,
        selection: &Selection,
        options: &ListOptions,
    ) -> Result<Page, Status> {
        validate_list(options)?;
        let mut query = ListQuery::prefix(self.prefix(namespace));
        query.index = selection.index().cloned();
        let requested = parse_version(&options.resource_version)?;
        if options.continue_token.is_empty() {
            let exact = options.resource_version_match == "Exact"
                || (options.limit > 0 && options.resource_version_match.is_empty());
            if exact && requested > Revision::ZERO {
                query.revision = Some(requested);
            }
            self.reach(requested).await?;
        } else {
            let token = ContinueToken::decode(&options.continue_token)?;
            if !options.resource_version.is_empty() && options.resource_version != "0" {
                return Err(Status::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            query.start = Some(format!("{}{}", query.prefix, token.start));
            query.revision = Some(Revision(token.rv));
        }
        self.pages(query, selection, options).await
    }

    /// Reads pages of the storage until the caller's page is full.
    async fn pages(
        &self,
        mut query: ListQuery,
        selection: &Selection,
        options: &ListOptions,
    ) -> Result<Page, Status> {
        let limit = usize::try_from(options.limit).unwrap_or(0);
        query.limit = limit;
        let mut page = Page::default();
        loop {
            let result = self
                .deps
                .storage
                .list(&query)
                .await
                .map_err(|e| list_error(self.info, &e, options))?;
            page.revision = result.revision;
            if selection.is_everything() {
                page.items = result.items;
                if result.remaining > 0 {
                    page.continue_token = token_after(&query.prefix, &page);
                    page.remaining = selection
                        .is_empty()
                        .then(|| i64::try_from(result.remaining).unwrap_or(i64::MAX));
                }
                return Ok(page);
            }
            let last = result.items.last().map(|kv| kv.key.clone());
            for kv in result.items {
                if selection.matches(&kv, false) {
                    page.items.push(kv);
                    if limit > 0 && page.items.len() == limit {
                        let more = result.remaining > 0
                            || last.as_ref() != page.items.last().map(|kv| &kv.key);
                        if more {
                            page.continue_token = token_after(&query.prefix, &page);
                        }
                        return Ok(page);
                    }
                }
            }
            let (Some(last), true) = (last, result.remaining > 0) else { return Ok(page) };
            query.start = Some(format!("{last}\0"));
            query.revision = Some(page.revision);
        }
    }
}

fn token_after(prefix: &str, page: &Page) -> String {
    page.items.last().map_or_else(String::new, |last| {
        let start = format!("{}\0", last.key.strip_prefix(prefix).unwrap_or(&last.key));
        continue_token(page.revision, &start)
    })
}

fn list_error(info: &ResourceInfo, error: &StorageError, options: &ListOptions) -> Status {
    match error {
        StorageError::Compacted { .. } if !options.continue_token.is_empty() => Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue parameter.",
        ),
        StorageError::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        _ => storage_error(info, error),
    }
}

/// Reads a resourceVersion; "" and "0" are 0.
pub(crate) fn parse_version(text: &str) -> Result<Revision, Status> {
    if text.is_empty() {
        return Ok(Revision::ZERO);
    }
    text.parse().map(Revision).map_err(|_| {
        let detail = format!("strconv.ParseUint: parsing \"{text}\": invalid syntax");
        Status::invalid(
            &LIST_OPTIONS,
            "",
            vec![FieldError::invalid(&Path::new("resourceVersion"), text, detail)],
        )
    })
}

fn validate_list(options: &ListOptions) -> Result<(), Status> {
    let mut errors = FieldErrors::new();
    check_match(options, &mut errors);
    if options.send_initial_events.is_some() {
        errors.push(FieldError::forbidden(
            &Path::new("sendInitialEvents"),
            "sendInitialEvents is forbidden for list",
        ));
    }
    if options.limit < 0 {
        return Err(Status::bad_request("limit must not be negative"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(&LIST_OPTIONS, "", errors)) }
}

fn check_match(options: &ListOptions, errors: &mut FieldErrors) {
    let path = Path::new("resourceVersionMatch");
    let version_match = options.resource_version_match.as_str();
    if version_match.is_empty() {
        return;
    }
    if options.resource_version.is_empty() {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ));
    }
    if !options.continue_token.is_empty() {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden when continue is provided",
        ));
    }
    if !matches!(version_match, "Exact" | "NotOlderThan") {
        let supported = ["Exact", "NotOlderThan", ""];
        errors.push(FieldError::not_supported(&path, version_match, &supported));
    }
    if version_match == "Exact" && options.resource_version == "0" {
        errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ));
    }
}

/// Checks the options of a watch.
///
/// # Errors
/// Invalid, in Kubernetes' words.
pub(crate) fn validate_watch(options: &ListOptions) -> Result<(), Status> {
    let path = Path::new("resourceVersionMatch");
    let mut errors = FieldErrors::new();
    let version_match = options.resource_version_match.as_str();
    match options.send_initial_events {
        None if !version_match.is_empty() => errors.push(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        )),
        Some(_) if version_match != "NotOlderThan" => {
            errors.push(FieldError::forbidden(
                &path,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            ));
            if !version_match.is_empty() {
                errors.push(FieldError::not_supported(&path, version_match, &["NotOlderThan"]));
            }
        }
        _ => {}
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(&LIST_OPTIONS, "", errors)) }
}

/// Kubernetes' continue token: opaque to clients, JSON inside.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ContinueToken {
    v: String,
    rv: u64,
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// The token of the page that begins at `start`, relative to the list's prefix.
fn continue_token(revision: Revision, start: &str) -> String {
    let token =
        ContinueToken { v: TOKEN_VERSION.to_owned(), rv: revision.0, start: start.to_owned() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token is JSON"))
}

impl ContinueToken {
    fn decode(text: &str) -> Result<Self, Status> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|json| serde_json::from_slice::<Self>(&json).ok())
            .filter(|token| {
                token.v == TOKEN_VERSION
                    && !token.start.is_empty()
                    && !token.start.starts_with('/')
                    && !token.start.split('/').any(|segment| segment == ".." || segment == ".")
            })
            .ok_or_else(|| Status::bad_request("continue key is not valid: invalid continue token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back() {
        let text = continue_token(Revision(7), "default/a\0");
        let token = ContinueToken::decode(&text).unwrap();
        assert_eq!((token.rv, token.start.as_str()), (7, "default/a\0"));
        for bad in
            ["x", "", &continue_token(Revision(1), "/etc"), &continue_token(Revision(1), "a/../b")]
        {
            assert!(ContinueToken::decode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_are_checked_in_kubernetes_words() {
        let check = |options: ListOptions, expected: &str| {
            let error = validate_list(&options).map_or_else(|e| e.message, |()| String::new());
            assert_eq!(error, expected);
        };
        check(ListOptions::default(), "");
        check(
            ListOptions { resource_version_match: "Exact".into(), ..ListOptions::default() },
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        );
        check(
            ListOptions {
                resource_version: "1".into(),
                resource_version_match: "x".into(),
                ..ListOptions::default()
            },
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Unsupported value: \"x\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        );
        assert!(parse_version("abc").is_err());
    }
}
