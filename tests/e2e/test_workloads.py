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


def job(name, script, policy="Never", **spec):
    template = {"spec": {"restartPolicy": policy, "containers": [shell(script)]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }


def test_jobs_run_to_their_ends(platform):
    indexed = job("parts", "echo part $JOB_COMPLETION_INDEX", completions=3, parallelism=2)
    indexed["spec"]["completionMode"] = "Indexed"
    apply(platform, job("once", "echo done"), indexed, job("broken", "exit 3", backoffLimit=0))

    for name in ("once", "parts"):
        platform.kubectl("wait", "--for=condition=complete", f"job/{name}", "--timeout=60s")
    platform.kubectl("wait", "--for=condition=failed", "job/broken", "--timeout=60s")

    assert platform.kubectl("logs", "job/once") == "done\n"
    rows = platform.kubectl("get", "jobs", "--no-headers").splitlines()
    shown = {row.split()[0]: row.split()[1:3] for row in rows}
    assert shown == {
        "broken": ["Failed", "0/1"],
        "once": ["Complete", "1/1"],
        "parts": ["Complete", "3/3"],
    }
    done = platform.kubectl_json("get", "job", "parts")["status"]
    assert (done["completedIndexes"], done["succeeded"]) == ("0-2", 3)
    assert "BackoffLimitExceeded" in platform.kubectl("describe", "job", "broken")
    platform.kubectl("delete", "job", "once", "parts", "broken")
    eventually(
        lambda: "No resources found" in platform.kubectl("get", "pods", check=False),
        what="the pods of the jobs to go",
    )


def test_what_a_claim_holds_survives_pods_and_the_platform(platform):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }

    def with_claim(name, script):
        made = job(name, script)
        spec = made["spec"]["template"]["spec"]
        spec["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/data"}]
        return made

    apply(platform, claim, with_claim("writer", "echo precious > /data/file"))
    platform.kubectl("wait", "--for=condition=complete", "job/writer", "--timeout=60s")
    row = platform.kubectl("get", "pvc", "data", "--no-headers").split()
    assert (row[1], row[3], row[4], row[5]) == ("Bound", "1Gi", "RWO", "standard")
    directory = platform.data_dir / "volumes" / row[2]
    assert (directory / "file").read_text() == "precious\n"

    platform.kill()
    platform.start()

    apply(platform, with_claim("reader", "cat /data/file"))
    platform.kubectl("wait", "--for=condition=complete", "job/reader", "--timeout=60s")
    assert platform.kubectl("logs", "job/reader") == "precious\n"
    platform.kubectl("delete", "job", "reader", "writer")
    platform.kubectl("delete", "pvc", "data", "--timeout=60s")
    eventually(lambda: not directory.exists(), what="the directory to go")
    assert "No resources found" in platform.kubectl("get", "pv", check=False)


def test_a_rollout_is_followed_undone_paused_and_resumed(platform):
    apply(platform, deployment("web", shell("sleep 1000 # 1"), replicas=2))
    platform.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    platform.kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=first")
    apply(platform, deployment("web", shell("sleep 1000 # 2"), replicas=2))
    platform.kubectl(
        "annotate", "deployment/web", "kubernetes.io/change-cause=second", "--overwrite"
    )
    followed = platform.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert followed.endswith('deployment "web" successfully rolled out\n')

    def history():
        lines = platform.kubectl("rollout", "history", "deployment/web").splitlines()[2:]
        return [line.split() for line in lines if line]

    eventually(lambda: history() == [["1", "first"], ["2", "second"]], what="both causes")
    assert "rolled back" in platform.kubectl("rollout", "undo", "deployment/web")
    platform.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert history() == [["2", "second"], ["3", "first"]]
    template = platform.kubectl_json("get", "deployment", "web")["spec"]["template"]
    assert template["spec"]["containers"][0]["command"][-1] == "sleep 1000 # 1"

    platform.kubectl("rollout", "pause", "deployment/web")
    platform.kubectl("set", "env", "deployment/web", "COLOUR=red")
    assert len(history()) == 2
    platform.kubectl("rollout", "resume", "deployment/web")
    platform.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert len(history()) == 3
    platform.kubectl("rollout", "restart", "deployment/web")
    platform.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "restartedAt" in platform.kubectl("get", "deployment/web", "-o", "yaml")

    platform.kubectl("scale", "deployment/web", "--replicas=1", "--current-replicas=2")
    platform.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    platform.kubectl("expose", "deployment/web", "--port=80", "--target-port=8080")

    def endpoints():
        row = platform.kubectl("get", "endpoints", "web", "--no-headers", check=False).split()
        return row[1].endswith(":8080") if len(row) == 3 else False

    eventually(endpoints, what="the endpoints of the service")
    platform.kubectl("delete", "deployment,service", "web")


def test_a_pod_is_run_and_drained(platform):
    platform.kubectl("run", "alone", "--image=shell", "--restart=Never", "--command", "--",
                     "/bin/sh", "-c", "sleep 1000")  # fmt: skip
    platform.kubectl("wait", "--for=condition=Ready", "pod/alone", "--timeout=60s")
    node = platform.kubectl("get", "nodes", "-o", "name").strip().removeprefix("node/")
    drained = platform.kubectl("drain", node, "--force", "--grace-period=1", "--timeout=60s",
                               check=False)  # fmt: skip
    assert "pod/alone evicted" in drained
    assert "SchedulingDisabled" in platform.kubectl("get", "node", node)
    platform.kubectl("uncordon", node)
