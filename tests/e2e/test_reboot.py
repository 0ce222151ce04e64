"""A machine that goes down and comes back, and a Pod that is deleted by force."""

import contextlib
import json
import os
import shutil
import signal

import pytest
import yaml

from tests.platform import descendants, eventually, processes, running

pytestmark = pytest.mark.slow

DEAF = "trap '' TERM; echo $HOSTNAME >> /kept/log; while :; do sleep 0.1; done"


def deployment():
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["/bin/sh", "-c", DEAF],
        "volumeMounts": [{"name": "kept", "mountPath": "/kept"}],
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}},
    }
    volume = {"name": "kept", "emptyDir": {}}
    spec = {"containers": [container], "volumes": [volume], "terminationGracePeriodSeconds": 1}
    labels = {"app": "deaf"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "deaf"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    with running(tmp_path_factory.mktemp("reboot") / "data") as platform:
        platform.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(deployment()))
        platform.kubectl("rollout", "status", "deploy/deaf", "--timeout=60s")
        yield platform


def pods(platform):
    found = platform.kubectl_json("get", "pods", "-l", "app=deaf")["items"]
    return {pod["metadata"]["name"]: pod for pod in found}


def is_ready(pod):
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def shells(platform):
    """The processes of the Pods, without their own children."""
    supervisors = {
        int(line.split()[0])
        for line in processes()
        if "motorpool.node.supervisor " in line and str(platform.data_dir) in line
    }
    below = set().union(*map(descendants, supervisors))
    commands = dict(line.split(" ", 1) for line in processes())
    return {pid for pid in below if "trap '' TERM" in commands.get(str(pid), "")}


def test_after_a_reboot_the_same_pods_run_once_each(platform):
    before = pods(platform)
    assert len(shells(platform)) == 2
    everything = platform.data_plane()
    platform.kill()
    for pid in everything:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not [p for p in everything if alive(p)], what="the machine is down")
    shutil.rmtree(platform.data_dir / "run")

    platform.start()
    after = eventually(
        lambda: (found := pods(platform)) and all(map(is_ready, found.values())) and found,
        what="all Pods are ready again",
    )
    assert after.keys() == before.keys()
    for name, pod in after.items():
        assert pod["metadata"]["uid"] == before[name]["metadata"]["uid"]
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 1
        kept = platform.data_dir / "pods" / pod["metadata"]["uid"] / "volumes/kept/log"
        assert kept.read_text().splitlines() == [name, name]
    assert len(shells(platform)) == 2
    assert len([line for line in processes() if is_envoy_of(platform, line)]) == 1


def test_a_pod_that_is_deleted_by_force_is_gone_at_once_and_so_are_its_processes(platform):
    name, pod = next(iter(pods(platform).items()))
    run = pod["status"]["containerStatuses"][0]["restartCount"]
    record = platform.data_dir / "pods" / pod["metadata"]["uid"] / "run" / f"main.{run}.json"
    pid = json.loads(record.read_text())["pid"]
    said = platform.kubectl("delete", "pod", name, "--force", "--grace-period=0", "--wait=false")
    assert f'pod "{name}" force deleted' in said
    assert name not in pods(platform)
    eventually(lambda: not alive(pid), deadline_s=60, what="its process has ended")
    eventually(lambda: not record.parent.parent.exists(), what="its directory is gone")


def alive(pid):
    """Whether it runs; a zombie has no command line."""
    return any(line.split(" ", 1)[0] == str(pid) and line.split(" ", 1)[1] for line in processes())


def is_envoy_of(platform, line):
    pid, _, words = line.partition(" ")
    if "envoy" not in words.split(" ")[0]:
        return False
    return os.path.realpath(f"/proc/{pid}/cwd").startswith(str(platform.data_dir))
