"""What Python's `kubernetes` does with the API: typed and dynamic objects, watches, apply, exec, port-forward, logs.

Each step is a function; the first that fails ends the program with its traceback.
"""

import base64
import threading
import time

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock
from kubernetes.stream import portforward, stream

NAMESPACE = "python"
DEADLINE = 60

config.load_kube_config()
core, apps, api = client.CoreV1Api(), client.AppsV1Api(), client.ApiClient()


def until(what, condition):
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)
    return found


def namespace():
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
    account = lambda: [a for a in core.list_namespaced_service_account(NAMESPACE).items if a.metadata.name == "default"]
    until("the namespace's account", account)


def version_and_discovery():
    assert client.VersionApi().get_code().major == "1"
    assert "v1" in client.CoreApi().get_api_versions().versions
    groups = {group.name for group in client.ApisApi().get_api_versions().groups}
    assert {"apps", "policy", "rbac.authorization.k8s.io"} <= groups, groups
    names = {resource.name for resource in core.get_api_resources().resources}
    assert {"pods", "pods/exec", "pods/eviction", "serviceaccounts/token"} <= names, names
    assert client.AppsApi().get_api_group().preferred_version.group_version == "apps/v1"


def typed_objects():
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="typed"), data={"a": "1"})
    made = core.create_namespaced_config_map(NAMESPACE, body)
    assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
    made.data["b"] = "2"
    again = core.replace_namespaced_config_map("typed", NAMESPACE, made)
    try:
        core.replace_namespaced_config_map("typed", NAMESPACE, made)
        raise AssertionError("an old version was taken")
    except ApiException as error:
        assert error.status == 409, error
    patched = core.patch_namespaced_config_map("typed", NAMESPACE, {"data": {"a": None}})
    assert patched.data == {"b": "2"}, patched.data
    core.patch_namespaced_config_map("typed", NAMESPACE, [{"op": "add", "path": "/data/c", "value": "3"}])
    read = core.read_namespaced_config_map("typed", NAMESPACE)
    assert read.data == {"b": "2", "c": "3"} and read.metadata.resource_version != again.metadata.resource_version
    dry = core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="dry")), dry_run="All")
    assert dry.metadata.uid
    told = api.sanitize_for_serialization(core.delete_namespaced_config_map("typed", NAMESPACE))
    assert told["status"] == "Success", told
    try:
        core.read_namespaced_config_map("typed", NAMESPACE)
        raise AssertionError("it is still there")
    except ApiException as error:
        assert error.status == 404 and "NotFound" in error.body


def lists_in_pieces():
    for number in range(7):
        meta = client.V1ObjectMeta(name=f"many-{number}", labels={"many": "yes", "odd": str(number % 2)})
        core.create_namespaced_secret(NAMESPACE, client.V1Secret(metadata=meta, string_data={"n": str(number)}))
    found, token = [], None
    while True:
        page = core.list_namespaced_secret(NAMESPACE, label_selector="many=yes", limit=3, _continue=token)
        found += page.items
        token = page.metadata._continue
        if not token:
            break
    assert [secret.metadata.name for secret in found] == [f"many-{number}" for number in range(7)]
    assert base64.b64decode(found[3].data["n"]) == b"3"
    core.delete_collection_namespaced_secret(NAMESPACE, label_selector="many=yes,odd=1")
    left = core.list_namespaced_secret(NAMESPACE, label_selector="many")
    assert len(left.items) == 4, left.items


def watches():
    before = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    seen = []

    def follow():
        watcher = watch.Watch()
        for event in watcher.stream(core.list_namespaced_config_map, NAMESPACE, resource_version=before, timeout_seconds=DEADLINE):
            if event["object"].metadata.name == "watched":
                seen.append((event["type"], (event["object"].data or {}).get("n")))
            if event["type"] == "DELETED":
                watcher.stop()

    follower = threading.Thread(target=follow)
    follower.start()
    core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="watched"), data={"n": "1"}))
    core.patch_namespaced_config_map("watched", NAMESPACE, {"data": {"n": "2"}})
    core.delete_namespaced_config_map("watched", NAMESPACE)
    follower.join(DEADLINE)
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")], seen


def dynamic_and_apply():
    anything = dynamic.DynamicClient(api)
    deployments = anything.resources.get(api_version="apps/v1", kind="Deployment")
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}]}]},
            },
        },
    }
    applied = deployments.server_side_apply(body=manifest, name="web", namespace=NAMESPACE, field_manager="one")
    assert applied.spec.replicas == 2
    assert any(entry.manager == "one" and entry.operation == "Apply" for entry in applied.metadata.managedFields)
    manifest["spec"]["replicas"] = 3
    try:
        deployments.server_side_apply(body=manifest, name="web", namespace=NAMESPACE, field_manager="two")
        raise AssertionError("a conflict was not told")
    except ApiException as error:
        assert error.status == 409 and 'conflict with \\"one\\"' in str(error.body), error.body
    forced = deployments.server_side_apply(body=manifest, name="web", namespace=NAMESPACE, field_manager="two", force_conflicts=True)
    assert forced.spec.replicas == 3
    until("three pods", lambda: (apps.read_namespaced_deployment("web", NAMESPACE).status.ready_replicas or 0) == 3)
    apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 1}})
    assert apps.read_namespaced_deployment_scale("web", NAMESPACE).spec.replicas == 1
    until("one pod", lambda: len(core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items) == 1)


def from_yaml():
    utils.create_from_dict(api, {"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NAMESPACE}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
    ]})
    assert core.read_namespaced_service("web", NAMESPACE).spec.cluster_ip.startswith("10.")


def streams():
    pod = until("a running pod", lambda: [p for p in core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items if p.status.phase == "Running" and not p.metadata.deletion_timestamp])[0].metadata.name
    told = stream(core.connect_get_namespaced_pod_exec, pod, NAMESPACE, command=["sh", "-c", "echo out; echo err >&2"], stdout=True, stderr=True, stdin=False, tty=False)
    assert sorted(told.split()) == ["err", "out"], told
    session = stream(core.connect_get_namespaced_pod_exec, pod, NAMESPACE, command=["sh"], stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)
    session.write_stdin("echo hello; exit 3\n")
    session.run_forever(timeout=DEADLINE)
    assert session.read_stdout() == "hello\n" and session.returncode == 3, session.returncode
    forwarded = portforward(core.connect_get_namespaced_pod_portforward, pod, NAMESPACE, ports="80")
    socket = forwarded.socket(80)
    socket.setblocking(True)
    socket.settimeout(DEADLINE)
    socket.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    answer = b""
    while part := socket.recv(4096):
        answer += part
    assert b"Welcome to nginx!" in answer and not forwarded.error(80), answer
    log = lambda: core.read_namespaced_pod_log(pod, NAMESPACE, tail_lines=5)
    assert until("the request in the log", lambda: "GET /" in log() and log())
    follower = watch.Watch()
    for line in follower.stream(core.read_namespaced_pod_log, pod, NAMESPACE, follow=True):
        assert line
        break
    follower.stop()


def subresources():
    pod = core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items[0].metadata.name
    token = core.create_namespaced_service_account_token("default", NAMESPACE, client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=600)))
    assert token.status.token.count(".") == 2
    review = client.AuthorizationV1Api().create_self_subject_access_review(client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(verb="get", resource="pods"))))
    assert review.status.allowed
    core.create_namespaced_pod_eviction(pod, NAMESPACE, client.V1Eviction(metadata=client.V1ObjectMeta(name=pod, namespace=NAMESPACE)))
    until("another pod", lambda: pod not in [p.metadata.name for p in core.list_namespaced_pod(NAMESPACE, label_selector="app=web").items])


def elections():
    led = threading.Event()

    class Over(Exception):
        """Ends the election."""

    def lead():
        led.set()

    lock = ConfigMapLock("lock", NAMESPACE, "python-1")
    settings = electionconfig.Config(lock, lease_duration=15, renew_deadline=10, retry_period=1, onstarted_leading=lead, onstopped_leading=lambda: None)
    threading.Thread(target=leaderelection.LeaderElection(settings).run, daemon=True).start()
    assert led.wait(DEADLINE), "nobody leads"


def compressed():
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="large"), data={"text": "x" * 300_000})
    core.create_namespaced_config_map(NAMESPACE, body)
    answer = api.rest_client.pool_manager.request(
        "GET", f"{api.configuration.host}/api/v1/namespaces/{NAMESPACE}/configmaps/large",
        headers={"Accept-Encoding": "gzip", "Accept": "application/json"}, decode_content=False, preload_content=False,
    )
    assert answer.headers["Content-Encoding"] == "gzip" and len(answer.read(decode_content=False)) < 10_000


def the_end():
    core.delete_namespace(NAMESPACE)
    until("the end of the namespace", lambda: NAMESPACE not in [n.metadata.name for n in core.list_namespace().items])


STEPS = [
    namespace, version_and_discovery, typed_objects, lists_in_pieces, watches, dynamic_and_apply, from_yaml, streams,
    subresources, elections, compressed, the_end,
]
for step in STEPS:
    step()
    print(f"ok {step.__name__}", flush=True)
