"""Workloads of the running program, through the real kubectl."""

import json

import pytest
import yaml

from tests.platform import eventually, running

pytestmark = pytest.mark.slow

TABLE = """
images:
- match: [shell]
  keepCommand: true
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("workloads") / "data"
    data_dir.mkdir(mode=0o700)
    (data_dir / "local-images.yaml").write_text(TABLE)
    with running(data_dir) as platform:
        yield platform


def shell(script, **fields):
    return {"name": "main", "image": "shell", "command": ["/bin/sh", "-c", script], **fields}


def deployment(name, container, replicas=1):
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def apply(platform, *objects):
    platform.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


def test_load_makes_more_pods_and_top_shows_it(platform):
    busy = shell("while :; do :; done", resources={"requests": {"cpu": "100m"}})
    apply(platform, deployment("busy", busy))
    platform.kubectl("autoscale", "deployment", "busy", "--cpu-percent=50", "--min=1", "--max=2")

    v1 = platform.kubectl_json("get", "horizontalpodautoscalers.v1.autoscaling", "busy")
    assert v1["spec"]["targetCPUUtilizationPercentage"] == 50

    def scaled():
        return platform.kubectl_json("get", "deployment", "busy")["spec"]["replicas"] == 2

    eventually(scaled, deadline_s=60, what="two replicas", poll_s=0.5)
    words = platform.kubectl("describe", "hpa", "busy")
    assert "SucceededRescale" in words or "ReadyForNewScale" in words
    assert "New size: 2; reason: cpu resource utilization (percentage of request) above target" in (
        words
    )

    def shown():
        return "busy-" in platform.kubectl("top", "pod", "--no-headers", check=False)

    eventually(shown, what="kubectl top pod", poll_s=0.5)
    name, cpu, memory = platform.kubectl("top", "pod", "--no-headers").split()[:3]
    assert name.startswith("busy-")
    assert int(cpu.removesuffix("m")) > 100
    assert int(memory.removesuffix("Mi")) >= 0
    header, row = platform.kubectl("top", "node").splitlines()
    assert header.split()[0] == "NAME"
    assert row.split()[1].endswith("m")
    raw = json.loads(platform.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))
    assert raw["kind"] == "NodeMetricsList"
    platform.kubectl("delete", "hpa,deployment", "busy")
