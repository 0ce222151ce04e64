"""What ships with the platform, and that putting it into the API is idempotent."""

import json

import pytest

from motorpool.api import core, schema, serving, structural
from motorpool.api.kubernetestypes import of as schema_of
from motorpool.api.meta import ObjectKey, copy_of
from motorpool.controllers.servingruntime.install import (
    CLUSTER_WIDE,
    catalogue,
    install,
    shipped_objects,
    shipped_runtimes,
)
from tests.memory_client import MemoryClient

NAMESPACE = "redhat-ods-applications"
# name: main image, Prometheus port, container port, formats that are selected by themselves
SHIPPED = {
    "caikit-standalone-runtime": ("caikit-standalone-image", "8086", 8080, ["caikit"]),
    "caikit-tgis-runtime": ("tgis-image", "3000", None, ["caikit"]),
    "guardrails-detector-huggingface-runtime": (
        "guardrails-detector-huggingface-runtime-image", "8080", 8000,
        ["guardrails-detector-hf-runtime"],
    ),
    "kserve-ovms": (
        "ovms-image", "8888", 8888,
        ["openvino_ir", "tensorflow", "tensorflow", "paddle", "pytorch"],
    ),
    "vllm-cuda-runtime": ("vllm-cuda-image", "8080", 8080, ["vLLM"]),
    "vllm-gaudi-runtime": ("vllm-gaudi-image", "8080", 8080, []),
    "vllm-rocm-runtime": ("vllm-rocm-image", "8080", 8080, ["vLLM"]),
}  # fmt: skip


def test_seven_runtimes_ship():
    assert [r["metadata"]["name"] for r in shipped_runtimes()] == list(SHIPPED)


@pytest.mark.parametrize("shipped", shipped_runtimes(), ids=lambda r: r["metadata"]["name"])
def test_a_shipped_runtime_has_the_known_image_ports_and_formats(shipped):
    spec = shipped["spec"]
    container = spec["containers"][0]
    ports = container.get("ports") or [{}]
    selected = [f["name"] for f in spec["supportedModelFormats"] if f.get("autoSelect")]
    found = (container["image"], spec["annotations"]["prometheus.io/port"],
             ports[0].get("containerPort"), selected)  # fmt: skip
    assert found == SHIPPED[shipped["metadata"]["name"]]
    assert container["name"] == "kserve-container"
    assert spec["annotations"]["prometheus.io/path"] == "/metrics"
    assert spec["multiModel"] is False
    assert shipped["metadata"]["labels"] == {"opendatahub.io/dashboard": "true"}
    assert "openshift.io/display-name" in shipped["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("kind", "obj"),
    [(k, o) for k, o in shipped_objects(NAMESPACE, cluster_runtimes=True) if k in serving.KINDS],
    ids=lambda value: getattr(value, "kind", "") or value["metadata"]["name"],
)
def test_a_shipped_runtime_passes_admission(kind, obj):
    assert schema.unknown_fields(obj, schema_of(kind)) == []
    assert structural.type_errors(obj, schema_of(kind)) == []
    assert list(kind.validate(obj, None)) == []


@pytest.mark.parametrize("offered", catalogue(), ids=lambda r: r["metadata"]["name"])
def test_a_runtime_of_the_catalogue_passes_admission_in_both_kinds(offered):
    container = offered["spec"]["containers"][0]
    assert container["name"] == "kserve-container"
    for kind in (serving.SERVING_RUNTIME, serving.CLUSTER_SERVING_RUNTIME):
        obj = {**offered, "kind": kind.kind}
        assert schema.unknown_fields(obj, schema_of(kind)) == []
        assert structural.type_errors(obj, schema_of(kind)) == []
        assert list(kind.validate(obj, None)) == []


def selected_by_itself(runtimes):
    return {
        (f["name"], f.get("version", ""))
        for r in runtimes for f in r["spec"]["supportedModelFormats"] if f.get("autoSelect")
    }  # fmt: skip


def test_what_comes_from_the_catalogue_takes_no_model_from_the_seven():
    installed = [r for r in catalogue() if r["metadata"]["name"] in CLUSTER_WIDE]
    assert len(installed) == len(CLUSTER_WIDE)
    names = {name for name, _ in selected_by_itself(installed)}
    assert names == {"sklearn", "xgboost", "lightgbm", "pmml"}
    assert not names & {name for name, _ in selected_by_itself(shipped_runtimes())}


async def test_a_second_install_writes_nothing():
    client = MemoryClient()
    await install(client, NAMESPACE, cluster_runtimes=True)
    assert len(client.writes) == 20
    await install(client, NAMESPACE, cluster_runtimes=True)
    assert len(client.writes) == 20


async def test_without_cluster_runtimes_they_must_be_copied():
    client = MemoryClient()
    await install(client, NAMESPACE, cluster_runtimes=False)
    kinds = {kind for kind, _ in client.objects}
    assert serving.SERVING_RUNTIME in kinds
    assert serving.CLUSTER_SERVING_RUNTIME not in kinds


async def test_what_ships_is_restored_and_what_users_added_stays():
    client = MemoryClient()
    await install(client, NAMESPACE, cluster_runtimes=False)
    config = copy_of(client.kept(core.CONFIG_MAP, NAMESPACE, "inferenceservice-config"))
    config["data"]["deploy"] = "{}"
    config["data"]["mine"] = "{}"
    config["metadata"]["labels"] = {"mine": "1"}
    await client.update(core.CONFIG_MAP, config)
    await install(client, NAMESPACE, cluster_runtimes=False)
    after = client.objects[core.CONFIG_MAP, ObjectKey(NAMESPACE, "inferenceservice-config")]
    assert json.loads(after["data"]["deploy"]) == {"defaultDeploymentMode": "RawDeployment"}
    assert after["data"]["mine"] == "{}"
    assert after["metadata"]["labels"] == {"mine": "1"}


async def test_a_placeholder_without_a_program_gives_way_to_its_image():
    client = MemoryClient()
    await install(
        client, NAMESPACE, cluster_runtimes=True, has_program=lambda image: image == "ovms-image"
    )
    images = {
        key.name: container["image"]
        for (kind, key), obj in client.objects.items()
        if kind == serving.CLUSTER_SERVING_RUNTIME
        for container in obj["spec"]["containers"]
    }
    assert images["kserve-ovms"] == "ovms-image"
    assert images["vllm-cuda-runtime"].startswith("quay.io/modh/vllm@sha256:")
    assert images["kserve-sklearnserver"] == "kserve/sklearnserver:latest"


@pytest.mark.parametrize("headless", [True, False])
async def test_whether_services_are_headless_is_for_the_platform_to_say(headless):
    client = MemoryClient()
    await install(client, NAMESPACE, cluster_runtimes=False, headless_services=headless)
    data = client.kept(core.CONFIG_MAP, NAMESPACE, "inferenceservice-config")["data"]
    assert json.loads(data["service"]) == {"serviceClusterIPNone": headless}
