"""lightkube: typed and generic resources over httpx, server-side apply, watches."""

import pytest

lightkube = pytest.importorskip("lightkube")

from lightkube import ApiError, Client, KubeConfig  # noqa: E402
from lightkube.generic_resource import create_namespaced_resource  # noqa: E402
from lightkube.models.meta_v1 import ObjectMeta  # noqa: E402
from lightkube.resources.apps_v1 import Deployment  # noqa: E402
from lightkube.resources.core_v1 import ConfigMap, Node  # noqa: E402
from lightkube.types import PatchType  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture
def client(kubeconfig):
    return Client(config=KubeConfig.from_file(kubeconfig), field_manager="lightkube-tests")


def config_map(**data):
    return ConfigMap(metadata=ObjectMeta(name="light", namespace="default"), data=data)


def test_objects_are_created_patched_applied_and_deleted(client):
    assert client.create(config_map(a="1")).metadata.uid
    patched = client.patch(ConfigMap, "light", {"data": {"b": "2"}}, patch_type=PatchType.MERGE)
    assert patched.data == {"a": "1", "b": "2"}
    applied = client.apply(config_map(a="9"), force=True)
    assert applied.data == {"a": "9", "b": "2"}
    assert "lightkube-tests" in {entry.manager for entry in applied.metadata.managedFields}
    listed = client.list(ConfigMap, labels={"app": ["none", "nothing"]})
    assert list(listed) == []
    client.delete(ConfigMap, "light")
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "light")
    assert missing.value.status.code == 404


def test_a_node_is_waited_for(client):
    [node] = client.list(Node)
    ready = client.wait(Node, node.metadata.name, for_conditions=["Ready"])
    assert ready.metadata.name == node.metadata.name


def test_a_watch_tells_what_happens(client):
    client.create(config_map(a="1"))
    seen = []
    for event, obj in client.watch(ConfigMap, fields={"metadata.name": "light"}):
        seen.append((event, obj.data.get("a")))
        if event == "ADDED":
            client.patch(ConfigMap, "light", {"data": {"a": "2"}})
        elif event == "MODIFIED":
            client.delete(ConfigMap, "light")
        else:
            break
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]


def test_a_custom_kind_is_read(client):
    runtime = create_namespaced_resource(
        "serving.kserve.io", "v1alpha1", "ServingRuntime", "servingruntimes"
    )
    names = {item.metadata.name for item in client.list(runtime, namespace="*")}
    assert "kserve-ovms" in names


def test_a_scale_is_read_and_written(client, platform):
    platform.kubectl("create", "deployment", "light", "--image=nobody-has-this:1", "--replicas=0")
    scale = client.get(Deployment.Scale, "light")
    scale.spec.replicas = 1
    scale.metadata.resourceVersion = None  # the controller may have written meanwhile
    assert client.replace(scale, "light").spec.replicas == 1
    client.delete(Deployment, "light")
