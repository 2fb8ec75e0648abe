//! Paths of the Kubernetes API: `RequestInfo` of `k8s.io/apiserver`, by hand.

use apimachinery::resource::ResourceInfo;

/// What a path is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A collection or an object.
    Resource {
        info: &'static ResourceInfo,
        /// Empty for cluster-scoped resources and for all namespaces.
        namespace: String,
        /// Empty for a collection.
        name: String,
        subresource: String,
    },
    /// `/api`, `/apis`, `/api/v1`, `/apis/apps`, `/apis/apps/v1`: an index.
    Discovery,
    /// A path of the API where nothing is served.
    Nothing,
    /// Anything else.
    Other,
}

/// Finds a served resource by group, version and plural.
pub(super) type Find<'a> = &'a dyn Fn(&str, &str, &str) -> Option<&'static ResourceInfo>;

/// Reads a path. It is percent-decoded first and split then, as in Go: `%2F` parts segments as `/` does. A path with an
/// empty segment is no path of the API; nothing is cleaned, `..` is a name like any other (and no valid one).
pub(super) fn parse(path: &str, find: Find<'_>) -> Target {
    let decoded = super::query::decode(path);
    let inner = decoded.strip_prefix('/').unwrap_or(&decoded);
    let segments: Vec<&str> = inner.strip_suffix('/').unwrap_or(inner).split('/').collect();
    // What lies behind a proxy is the proxied server's matter.
    let proxy = segments.iter().position(|segment| *segment == "proxy");
    let own = proxy.filter(|at| matches!(at, 4 | 6)).unwrap_or(segments.len());
    if segments[..own].iter().any(|segment| segment.is_empty()) {
        return if inner.starts_with("api") { Target::Nothing } else { Target::Other };
    }
    let (group, version, rest) = match segments.as_slice() {
        ["api"] | ["apis"] | ["api" | "apis", _] | ["apis", _, _] => return Target::Discovery,
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Target::Other,
    };
    let find = |resource: &str| find(group, version, resource);
    let target = |info: &'static ResourceInfo, namespace: &str, rest: &[&str]| {
        let (name, subresource) = match rest {
            [] => ("", ""),
            [name] => (*name, ""),
            [name, subresource] => (*name, *subresource),
            // What lies behind it is the proxied server's matter.
            [name, "proxy", ..] if info.subresource("proxy").is_some() => (*name, "proxy"),
            _ => return Target::Nothing,
        };
        Target::Resource {
            info,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        }
    };
    // `namespaces/x/pods` is about pods, `namespaces/x` and `namespaces/x/status` about the namespace.
    if let ["namespaces", namespace, resource, rest @ ..] = rest
        && let Some(info) = find(resource).filter(|info| info.namespaced)
    {
        return target(info, namespace, rest);
    }
    match rest {
        [resource, rest @ ..] => match find(resource) {
            // An object of a namespace has its namespace in the path.
            Some(info) if info.namespaced && !rest.is_empty() => Target::Nothing,
            Some(info) => target(info, "", rest),
            None => Target::Nothing,
        },
        [] => Target::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::resource;

    use super::*;

    fn parse(path: &str) -> Target {
        super::parse(path, &|g, v, r| resource::find(g, v, r).filter(|info| info.served))
    }

    #[test]
    fn paths_are_read_as_kubernetes_reads_them() {
        let resource = |info, namespace: &str, name: &str, subresource: &str| Target::Resource {
            info,
            namespace: namespace.into(),
            name: name.into(),
            subresource: subresource.into(),
        };
        let check = |path: &str, expected: Target| assert_eq!(parse(path), expected, "{path}");
        check("/api/v1/pods", resource(&resource::PODS, "", "", ""));
        check("/api/v1/namespaces/a/pods", resource(&resource::PODS, "a", "", ""));
        check("/api/v1/namespaces/a/pods/b/log", resource(&resource::PODS, "a", "b", "log"));
        check(
            "/api/v1/namespaces/a/pods/b:80/proxy/c/d",
            resource(&resource::PODS, "a", "b:80", "proxy"),
        );
        check("/api/v1/nodes/n/proxy/pods", resource(&resource::NODES, "", "n", "proxy"));
        check("/api/v1/namespaces/a", resource(&resource::NAMESPACES, "", "a", ""));
        check(
            "/api/v1/namespaces/a/finalize",
            resource(&resource::NAMESPACES, "", "a", "finalize"),
        );
        check("/api/v1/namespaces", resource(&resource::NAMESPACES, "", "", ""));
        check("/api/v1/nodes/n/status", resource(&resource::NODES, "", "n", "status"));
        check(
            "/apis/apps/v1/namespaces/a/deployments/b/scale",
            resource(&resource::DEPLOYMENTS, "a", "b", "scale"),
        );
        check(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            resource(&resource::CLUSTER_ROLES, "", "system:node", ""),
        );
        for path in ["/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1/"] {
            check(path, Target::Discovery);
        }
        for path in [
            "/api/v1/pods/web",
            "/api/v1/unknown",
            "/apis/batch/v1/jobs",
            "/api/v1/namespaces/a/pods/b/c/d",
            "/api/v1/namespaces/a/configmaps/b/proxy/d",
            "/api/v2/pods",
        ] {
            check(path, Target::Nothing);
        }
        check("/version", Target::Other);
        check("/", Target::Other);
        // Tricks.
        check("/api/v1/namespaces/a/pods/b%2Flog", resource(&resource::PODS, "a", "b", "log"));
        check("/api/v1/namespaces/a/pods/%2e%2e", resource(&resource::PODS, "a", "..", ""));
        check("/api/v1/namespaces/a/pods/", resource(&resource::PODS, "a", "", ""));
        for path in ["/api//v1/pods", "/api/v1/namespaces//pods", "/api/v1/pods//", "/apis//apps"] {
            check(path, Target::Nothing);
        }
        check("//api/v1/pods", Target::Other);
    }
}
