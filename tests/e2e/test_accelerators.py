"""A machine with two GPUs, as its users see it: the real program and kubectl, a stand-in driver."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.platform import Platform, eventually
from tests.standin_nvml import Driver, compile_library

pytestmark = pytest.mark.slow

NAMESPACE = "redhat-ods-applications"
HARDWARE = "hardwareprofiles.infrastructure.opendatahub.io"
LOCAL_IMAGES = """
images:
- match: [shell]
  keepCommand: true
"""


def pod(name: str, gpus: int, script: str = "exec sleep 1000") -> dict[str, Any]:
    script = f"echo $NVIDIA_VISIBLE_DEVICES/$CUDA_VISIBLE_DEVICES; {script}"
    container: dict[str, Any] = {"name": "main", "image": "shell"}
    container["command"] = ["/bin/sh", "-c", script]
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"},
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def apply(platform: Platform, *pods: dict[str, Any]) -> None:
    platform.kubectl("apply", "-f", "-", stdin="\n".join(map(json.dumps, pods)))


def visible(platform: Platform, name: str) -> str:
    platform.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    return str(eventually(lambda: platform.kubectl("logs", name).strip()))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    directory = tmp_path_factory.mktemp("driver")
    driver = Driver(compile_library(directory), directory / "gpus")
    driver.has(0, 1)
    return driver


@pytest.fixture(scope="module")
def platform(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    data_dir: Path = tmp_path_factory.mktemp("accelerators") / "data"
    data_dir.mkdir()
    (data_dir / "local-images.yaml").write_text(LOCAL_IMAGES)
    platform = Platform(data_dir, environment=driver.environment)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


@pytest.fixture
def two(platform: Platform, driver: Driver) -> Platform:
    """The machine as it begins, with a pod on each of its GPUs."""
    driver.has(0, 1)
    platform.kubectl("delete", "pods", "--all", "--wait=true")
    apply(platform, pod("a", 1), pod("b", 1))
    assert {visible(platform, name) for name in "ab"} == {"GPU-0/0", "GPU-1/1"}
    return platform


def test_two_gpus_serve_two_pods_and_the_third_waits(two: Platform) -> None:
    platform = two
    apply(platform, pod("c", 1), pod("d", 0))

    assert visible(platform, "d") == "void/"
    described = eventually(
        lambda: "FailedScheduling" in (text := platform.kubectl("describe", "pod", "c")) and text
    )
    assert "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption:" in described
    assert platform.kubectl("get", "pod", "c", "-o", "jsonpath={.status.phase}") == "Pending"

    freed = platform.kubectl("logs", "a").strip()
    platform.kubectl("delete", "pod", "a")
    assert visible(platform, "c") == freed


def test_describe_node_tells_of_them(two: Platform) -> None:
    platform = two
    described = platform.kubectl("describe", "node")

    assert "nvidia.com/gpu.memory=40960" in described
    capacity, allocated = described.split("Allocated resources:")
    offered = [line.split() for line in capacity.splitlines() if "nvidia.com/gpu:" in line]
    assert offered == [["nvidia.com/gpu:", "2"]] * 2
    line = next(line for line in allocated.splitlines() if "nvidia.com/gpu" in line)
    assert line.split() == ["nvidia.com/gpu", "2", "2"]


def test_each_kind_that_is_found_has_a_profile_as_the_guide_lists_them(
    platform: Platform,
) -> None:
    def listed() -> list[str]:
        return platform.kubectl("get", "acceleratorprofiles", "-n", NAMESPACE).splitlines()

    lines = eventually(listed)
    head, row = (re.split(r"\s{2,}", line.strip()) for line in lines)
    assert head == ["NAME", "DISPLAY NAME", "ENABLED", "IDENTIFIER", "TOLERATIONS"]
    assert row[0] == "migrated-gpu"
    assert row[2:] == ["true", "nvidia.com/gpu", "1 toleration(s)"]
    assert "NVIDIA GPU" in platform.kubectl("get", HARDWARE, "-n", NAMESPACE)
    guide = {
        "apiVersion": "dashboard.opendatahub.io/v1",
        "kind": "AcceleratorProfile",
        "metadata": {"name": "migrated-gpu", "namespace": NAMESPACE},
        "spec": {
            "displayName": "Our GPUs",
            "enabled": True,
            "identifier": "nvidia.com/gpu",
            "tolerations": [
                {"effect": "NoSchedule", "key": "nvidia.com/gpu", "operator": "Exists"}
            ],
        },
    }
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(guide))  # as the guide's user would
    wrong = {**guide, "spec": {"displayName": "x", "enabled": True, "identifer": "y"}}
    said = platform.kubectl("apply", "-f", "-", check=False, stdin=json.dumps(wrong))
    assert "identifer" in said


def test_a_service_that_names_a_profile_gets_its_gpu_and_follows_its_changes(
    platform: Platform,
) -> None:
    platform.kubectl("delete", "pods", "--all", "--wait=true")
    command = ["/bin/sh", "-c", "echo $NVIDIA_VISIBLE_DEVICES; exec sleep 1000"]
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": "chooses",
            "annotations": {"opendatahub.io/hardware-profile-name": "of-the-team"},
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "terminationGracePeriodSeconds": 1,
                "deploymentStrategy": {"type": "Recreate"},
                "containers": [
                    {
                        "name": "kserve-container",
                        "image": "shell",
                        "command": command,
                        "readinessProbe": {"exec": {"command": ["/bin/true"]}},
                    }
                ],
            }
        },
    }
    profile = {
        "apiVersion": "infrastructure.opendatahub.io/v1",
        "kind": "HardwareProfile",
        "metadata": {"name": "of-the-team"},
        "spec": {
            "identifiers": [
                {
                    "displayName": "GPU",
                    "identifier": "nvidia.com/gpu",
                    "minCount": 1,
                    "defaultCount": 1,
                }
            ]
        },
    }

    def condition() -> str:
        path = "jsonpath={.status.conditions[?(@.type=='Ready')].message}"
        return platform.kubectl("get", "isvc", "chooses", "-o", path)

    def visible() -> set[str]:
        said = platform.kubectl(
            "logs", "-l", "serving.kserve.io/inferenceservice=chooses", check=False
        )
        return {gpu for gpu in said.strip().split(",") if gpu.startswith("GPU-")}

    apply(platform, service)
    eventually(lambda: "of-the-team does not exist in namespace default" in condition())
    events = platform.kubectl("get", "events", "--field-selector=involvedObject.name=chooses")
    assert "HardwareProfileNotFound" in events

    apply(platform, profile)
    platform.kubectl("wait", "isvc/chooses", "--for=condition=Ready", "--timeout=20s")
    eventually(lambda: len(visible()) == 1)

    profile["spec"]["identifiers"][0]["defaultCount"] = 2  # type: ignore[index]
    apply(platform, profile)
    eventually(lambda: len(visible()) == 2)
    platform.kubectl("delete", "isvc/chooses", f"{HARDWARE}/of-the-team")
    eventually(lambda: not platform.kubectl("get", "pods", "-o", "name").strip())


def test_a_control_plane_that_comes_back_gives_nothing_twice(two: Platform) -> None:
    platform = two
    profile = {"spec": {"displayName": "Ours"}}
    patch = ("patch", "acceleratorprofile", "migrated-gpu", "-n", NAMESPACE, "--type=merge")
    eventually(
        lambda: "patched" in platform.kubectl(*patch, "-p", json.dumps(profile), check=False)
    )
    platform.kill()
    platform.start()
    apply(platform, pod("e", 1))
    eventually(lambda: "Insufficient nvidia.com/gpu" in platform.kubectl("describe", "pod", "e"))
    had = visible(platform, "b")
    platform.kubectl("delete", "pod", "b")
    assert visible(platform, "e") == had
    assert len({visible(platform, name) for name in "ae"}) == 2
    # What a user has made of a profile stays.
    assert "Ours" in platform.kubectl("get", "acceleratorprofiles", "-n", NAMESPACE)


def test_a_gpu_that_vanishes_is_no_longer_offered_and_is_told_of(
    two: Platform, driver: Driver
) -> None:
    platform = two
    holder = next(name for name in "ab" if visible(platform, name) == "GPU-1/1")
    driver.has(0, "lost")

    def offered(side: str) -> str:
        path = f"jsonpath={{.items[0].status.{side}.nvidia\\.com/gpu}}"
        return platform.kubectl("get", "nodes", "-o", path)

    eventually(lambda: offered("allocatable") == "1")
    assert offered("capacity") == "2"
    eventually(lambda: "AcceleratorLost" in platform.kubectl("describe", "node"))
    eventually(lambda: "AcceleratorLost" in platform.kubectl("describe", "pod", holder))
    driver.has(0, 1)
    eventually(lambda: offered("allocatable") == "2")


def test_a_pod_that_asks_for_half_a_gpu_is_refused(platform: Platform) -> None:
    half = pod("half", 1)
    half["spec"]["containers"][0]["resources"] = {"requests": {"nvidia.com/gpu": "500m"}}

    said = platform.kubectl("apply", "-f", "-", check=False, stdin=json.dumps(half))

    assert "spec.containers[0].resources.requests[nvidia.com/gpu]" in said
    assert "must be an integer" in said
    assert "Limit must be set for non overcommitable resources" in said


def test_taints_and_affinity_are_kept_with_kubectl(platform: Platform) -> None:
    node = platform.kubectl("get", "nodes", "-o", "name").strip()
    platform.kubectl("delete", "pods", "--all", "--wait=true")
    bold, shy = pod("bold", 1), pod("shy", 0)
    bold["spec"]["tolerations"] = [{"key": "repair", "operator": "Exists"}]
    apply(platform, bold, shy)
    assert visible(platform, "shy") == "void/"
    visible(platform, "bold")

    platform.kubectl("taint", "nodes", node.removeprefix("node/"), "repair=now:NoExecute")

    eventually(lambda: "shy" not in platform.kubectl("get", "pods", "-o", "name"))
    assert "TaintManagerEviction" in platform.kubectl("get", "events")
    assert visible(platform, "bold")
    apply(platform, pod("late", 0))
    untolerated = "1 node(s) had untolerated taint {repair: now}. preemption: 0/1 nodes are"
    eventually(lambda: untolerated in platform.kubectl("describe", "pod", "late"))
    platform.kubectl("taint", "nodes", node.removeprefix("node/"), "repair-")
    visible(platform, "late")

    far = pod("far", 0)
    far["spec"]["nodeSelector"] = {"nvidia.com/gpu.family": "hopper"}
    apply(platform, far)
    unmatched = "1 node(s) didn't match Pod's node affinity/selector."
    eventually(lambda: unmatched in platform.kubectl("describe", "pod", "far"))
    platform.kubectl("label", node, "nvidia.com/gpu.family=hopper", "--overwrite")
    visible(platform, "far")
