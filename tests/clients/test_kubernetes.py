"""The official Python client: typed, custom objects, dynamic, watches, leader election."""

import contextlib
import os
import subprocess
import sys

import pytest

kubernetes = pytest.importorskip("kubernetes")

from kubernetes import client, config, dynamic, utils, watch  # noqa: E402
from kubernetes.client.rest import ApiException  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default::DeprecationWarning", "ignore::ResourceWarning"),
]

HERE = "default"
ISVC = ("serving.kserve.io", "v1beta1", HERE, "inferenceservices")


@pytest.fixture
def api(kubeconfig):
    with config.new_client_from_config(kubeconfig) as api:
        yield api


@pytest.fixture
def core(api):
    return client.CoreV1Api(api)


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data=data)


def deployment(name, replicas=0):
    labels = {"app": name}
    container = client.V1Container(name="main", image="nobody-has-this:1")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[container])
    )
    selector = client.V1LabelSelector(match_labels=labels)
    spec = client.V1DeploymentSpec(replicas=replicas, selector=selector, template=template)
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


def test_typed_objects_go_there_and_back(core):
    made = core.create_namespaced_config_map(HERE, config_map("typed", a="1"))
    assert made.metadata.uid
    assert core.read_namespaced_config_map("typed", HERE).data == {"a": "1"}
    patched = core.patch_namespaced_config_map("typed", HERE, {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    operations = [{"op": "remove", "path": "/data/a"}]
    assert core.patch_namespaced_config_map("typed", HERE, operations).data == {"b": "2"}
    patched.data = {"c": "3"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("typed", HERE, patched)
    assert stale.value.status == 409
    listed = core.list_namespaced_config_map(HERE, field_selector="metadata.name=typed")
    assert [item.metadata.name for item in listed.items] == ["typed"]
    core.delete_namespaced_config_map("typed", HERE)
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("typed", HERE)
    assert missing.value.status == 404


def test_every_kind_that_answers_with_itself_is_deleted(core):
    account = client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="typed"))
    core.create_namespaced_service_account(HERE, account)
    assert core.delete_namespaced_service_account("typed", HERE).metadata.name == "typed"
    port = client.V1ServicePort(port=80)
    service = client.V1Service(
        metadata=client.V1ObjectMeta(name="typed"), spec=client.V1ServiceSpec(ports=[port])
    )
    core.create_namespaced_service(HERE, service)
    assert core.delete_namespaced_service("typed", HERE).metadata.name == "typed"


def test_a_deployment_is_scaled_and_deleted(api):
    apps = client.AppsV1Api(api)
    apps.create_namespaced_deployment(HERE, deployment("scaled"))
    body = {"spec": {"replicas": 1}}
    assert apps.patch_namespaced_deployment_scale("scaled", HERE, body).spec.replicas == 1
    assert apps.read_namespaced_deployment("scaled", HERE).spec.replicas == 1
    options = client.V1DeleteOptions(propagation_policy="Foreground")
    apps.delete_namespaced_deployment("scaled", HERE, body=options)
    for event in watch.Watch().stream(
        apps.list_namespaced_deployment,
        HERE,
        field_selector="metadata.name=scaled",
        timeout_seconds=20,
    ):
        if event["type"] == "DELETED":
            break
    with pytest.raises(ApiException):
        apps.read_namespaced_deployment("scaled", HERE)


def test_lists_come_in_pieces(core):
    for number in range(5):
        core.create_namespaced_config_map(HERE, config_map(f"piece-{number}"))
    names, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(HERE, limit=2, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert [name for name in names if name.startswith("piece-")] == [
        f"piece-{number}" for number in range(5)
    ]
    core.delete_collection_namespaced_config_map(
        HERE, field_selector="metadata.name!=kube-root-ca.crt"
    )
    left = core.list_namespaced_config_map(HERE).items
    assert not [item for item in left if item.metadata.name.startswith("piece-")]


def test_a_watch_begins_where_a_list_ended(core):
    version = core.list_namespaced_config_map(HERE).metadata.resource_version
    core.create_namespaced_config_map(HERE, config_map("watched"))
    core.patch_namespaced_config_map("watched", HERE, {"data": {"a": "1"}})
    core.delete_namespaced_config_map("watched", HERE)
    seen = []
    stream = watch.Watch().stream(
        core.list_namespaced_config_map, HERE, resource_version=version, timeout_seconds=20
    )
    for event in stream:
        if event["object"].metadata.name == "watched":
            seen.append(event["type"])
        if event["type"] == "DELETED":
            break
    assert seen == ["ADDED", "MODIFIED", "DELETED"]


def test_custom_objects_go_there_and_back(api):
    custom = client.CustomObjectsApi(api)
    body = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "custom"},
        "spec": {
            "predictor": {
                "minReplicas": 0,
                "model": {"modelFormat": {"name": "none"}, "storageUri": "oci://none/none:1"},
            }
        },
    }
    made = custom.create_namespaced_custom_object(*ISVC, body)
    assert made["metadata"]["generation"] == 1
    changed = {"spec": {"predictor": {"minReplicas": 1}}}
    patched = custom.patch_namespaced_custom_object(*ISVC, "custom", changed)
    assert patched["spec"]["predictor"]["minReplicas"] == 1
    assert custom.list_namespaced_custom_object(*ISVC)["items"][0]["kind"] == "InferenceService"
    custom.delete_namespaced_custom_object(*ISVC, "custom")


def test_the_dynamic_client_finds_kinds_and_applies(api):
    found = dynamic.DynamicClient(api)
    maps = found.resources.get(api_version="v1", kind="ConfigMap")
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "dynamic", "namespace": HERE},
        "data": {"a": "1"},
    }
    applied = maps.server_side_apply(body=body, field_manager="tests", force_conflicts=True)
    assert applied.data.a == "1"
    assert maps.get(name="dynamic", namespace=HERE).metadata.managedFields[0].manager == "tests"
    isvc = found.resources.get(api_version="serving.kserve.io/v1beta1", kind="InferenceService")
    assert isvc.get(namespace=HERE).kind == "InferenceServiceList"
    maps.delete(name="dynamic", namespace=HERE)


def test_manifests_are_created(api, core, tmp_path):
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\n")
    utils.create_from_yaml(api, str(manifest), namespace=HERE)
    assert core.read_namespaced_config_map("from-yaml", HERE)


CANDIDATE = """
import sys
from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
name = sys.argv[1]
config.load_kube_config()
leaderelection.LeaderElection(electionconfig.Config(
    LeaseLock("leader", "default", name), lease_duration=3, renew_deadline=2, retry_period=1,
    onstarted_leading=lambda: print(name, flush=True), onstopped_leading=None,
)).run()
"""


@contextlib.contextmanager
def candidate(kubeconfig, name):
    environment = {**os.environ, "KUBECONFIG": kubeconfig}
    words = [sys.executable, "-W", "ignore", "-c", CANDIDATE, name]
    child = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def test_a_second_candidate_leads_once_the_first_is_gone(kubeconfig, api):
    leases = client.CoordinationV1Api(api)
    with candidate(kubeconfig, "first") as first:
        assert first.stdout.readline() == "first\n"
        with candidate(kubeconfig, "second") as second:
            lease = leases.read_namespaced_lease("leader", HERE)
            assert lease.spec.holder_identity == "first"
            first.kill()
            assert second.stdout.readline() == "second\n"
    lease = leases.read_namespaced_lease("leader", HERE)
    assert lease.spec.holder_identity == "second"


def test_the_version_is_told(api):
    assert client.VersionApi(api).get_code().major == "1"
