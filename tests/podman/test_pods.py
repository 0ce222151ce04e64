"""Pods in podman from their start to their end: life cycle, environment, volumes, limits."""

import json
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.platform import eventually
from tests.podman.boxes import podman
from tests.podman.conftest import apply, box, events, pod, status, terminated, wait
from tests.registry import registry  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow

SERVE = "echo hello > /www/index.html; echo up; exec httpd -f -p 8080 -h /www"
PROBE = {"httpGet": {"path": "/", "port": 8080}}


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def test_an_image_is_pulled_and_serves_at_an_address_of_its_own(platform, world):
    first = pod("one", box(world, SERVE, readinessProbe=PROBE, ports=[{"containerPort": 8080}]))
    second = pod("two", box(world, SERVE, readinessProbe=PROBE, ports=[{"containerPort": 8080}]))
    apply(platform, first, second)
    addresses = set()
    for name in ("one", "two"):
        wait(platform, name)
        found = platform.kubectl_json("get", "pod", name)["status"]
        addresses.add(found["podIP"])
        assert fetch(f"http://{found['podIP']}:8080/") == "hello\n"
        assert found["containerStatuses"][0]["imageID"].startswith(world.image.rsplit(":", 1)[0])
    assert len(addresses) == 2
    told = events(platform, "one")
    assert any(event.startswith("Pulled: ") for event in told)
    platform.kubectl("delete", "pod", "one", "two", "--wait")
    left = podman("pod", "ps", "--format", "{{.Name}}").split()
    assert not [name for name in left if name.startswith(("one.", "two."))]


def test_the_command_environment_and_identity_are_those_of_the_manifest(platform, world):
    script = (
        'exec 2>&1; echo "$GREETING $FROM_IMAGE $OWN"; id -u; id -g; hostname; pwd; '
        "cat /conf/key /secret/key; "
        "echo word > /scratch/file; touch /denied || echo read-only; cat /proc/self/status | "
        "grep CapEff; sleep 0.1; echo last words > /dev/termination-log; exit 3"
    )
    container = box(
        world, script,
        env=[
            {"name": "OWN", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "GREETING", "value": "hello"},
            {"name": "UNUSED", "value": "$(GREETING) $$(GREETING)"},
        ],
        workingDir="/tmp",
        securityContext={
            "runAsUser": 1000, "runAsGroup": 1000, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False,
        },
        volumeMounts=[
            {"name": "conf", "mountPath": "/conf"}, {"name": "secret", "mountPath": "/secret"},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    )  # fmt: skip
    volumes = [
        {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "secret", "secret": {"secretName": "secret"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    apply(
        platform,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "conf"},
         "data": {"key": "from a config map\n"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"},
         "stringData": {"key": "from a secret\n"}},
        pod("told", container, restartPolicy="Never", volumes=volumes),
    )  # fmt: skip
    end = terminated(platform, "told")
    assert (end["exitCode"], end["reason"], end["message"]) == (3, "Error", "last words\n")
    assert end["startedAt"] <= end["finishedAt"]
    found = platform.kubectl_json("get", "pod", "told")["status"]
    lines = platform.kubectl("logs", "told").splitlines()
    assert lines[:7] == [
        f"hello yes {found['podIP']}", "1000", "1000", "told", "/tmp",
        "from a config map", "from a secret",
    ]  # fmt: skip
    assert lines[7].startswith("touch: /denied: Read-only")
    assert lines[8:10] == ["read-only", "CapEff:\t0000000000000000"]
    assert found["phase"] == "Failed"


def test_volumes_of_every_kind_are_mounted_as_they_are_asked_for(platform, world, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("heavy\n")
    built = platform.run("modelcar", "build", str(tmp_path / "model"), "-t", "localhost/heavy:1")
    assert built.returncode == 0, built.stderr
    (tmp_path / "host").write_text("of the host\n")
    tmp_path.chmod(0o755)
    script = (
        "cat /car/models/weights /host /part /info/labels; echo; echo kept > /claim/file; "
        "touch /car/x 2>/dev/null || echo sealed; touch /host 2>/dev/null || echo read-only; "
        "df /memory | tail -n 1; ls -A /part.d"
    )
    container = box(
        world, script,
        volumeMounts=[
            {"name": "car", "mountPath": "/car"},
            {"name": "host", "mountPath": "/host", "readOnly": True},
            {"name": "claim", "mountPath": "/claim"},
            {"name": "conf", "mountPath": "/part", "subPath": "b"},
            {"name": "scratch", "mountPath": "/part.d", "subPath": "a/b"},
            {"name": "info", "mountPath": "/info"},
            {"name": "memory", "mountPath": "/memory"},
        ],
    )  # fmt: skip
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    volumes = [
        {"name": "car", "image": {"reference": "localhost/heavy:1", "pullPolicy": "IfNotPresent"}},
        {"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": "File"}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "conf", "configMap": {"name": "parts"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "info", "projected": {"sources": [{"downwardAPI": {"items": [labels]}}]}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
    ]
    apply(
        platform,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "parts"},
         "data": {"a": "no\n", "b": "a part\n"}},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "claim"},
         "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}},
        pod("mounted", container, restartPolicy="Never", volumes=volumes),
    )  # fmt: skip
    end = terminated(platform, "mounted")
    lines = platform.kubectl("logs", "mounted").splitlines()
    assert (end["exitCode"], lines[:6]) == (
        0, ["heavy", "of the host", "a part", 'app="mounted"', "sealed", "read-only"],
    )  # fmt: skip
    assert lines[6].startswith("tmpfs")
    assert len(lines) == 7
    [volume] = platform.kubectl_json("get", "pv")["items"]
    directory = volume["spec"].get("hostPath") or volume["spec"]["local"]
    assert (Path(directory["path"]) / "file").read_text() == "kept\n"


def test_the_hosts_network_is_the_pods(platform, world):
    container = box(world, "hostname; cat /proc/net/dev")
    apply(platform, pod("onhost", container, restartPolicy="Never", hostNetwork=True))
    assert terminated(platform, "onhost")["exitCode"] == 0
    found = platform.kubectl_json("get", "pod", "onhost")["status"]
    assert found["podIP"] == found["hostIP"]
    seen = platform.kubectl("logs", "onhost")
    assert seen.splitlines()[0] == socket.gethostname()
    named = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()}
    assert all(name in seen for name in named if "veth" not in name)


def test_init_containers_prepare_and_a_sidecar_shares_what_the_pod_has(platform, world):
    mount = [{"name": "shared", "mountPath": "/shared"}]
    fetching = box(world, "echo prepared > /shared/index.html", "fetch", volumeMounts=mount)
    sidecar = box(
        world, "exec httpd -f -p 8080 -h /shared", "sidecar", restartPolicy="Always",
        volumeMounts=mount, startupProbe={"tcpSocket": {"port": 8080}},
    )  # fmt: skip
    main = box(world, "wget -q -O - http://127.0.0.1:8080/")
    apply(
        platform,
        pod("together", main, initContainers=[fetching, sidecar], restartPolicy="Never",
            volumes=[{"name": "shared", "emptyDir": {}}]),
    )  # fmt: skip
    wait(platform, "together", "jsonpath={.status.phase}=Succeeded")
    assert platform.kubectl("logs", "together", "-c", "main") == "prepared\n"


def test_a_container_that_fails_is_started_again_and_its_last_log_is_kept(platform, world):
    script = (
        "if [ -e /state/once ]; then echo second; exec sleep 1000; fi; "
        "touch /state/once; echo first; exit 7"
    )
    mount = [{"name": "state", "mountPath": "/state"}]
    apply(
        platform,
        pod("again", box(world, script, volumeMounts=mount),
            volumes=[{"name": "state", "emptyDir": {}}]),
    )  # fmt: skip
    found = eventually(
        lambda: (
            (s := status(platform, "again")).get("restartCount") == 1
            and "running" in s["state"]
            and s
        ),
        deadline_s=60,
    )
    assert found["lastState"]["terminated"]["exitCode"] == 7
    assert platform.kubectl("logs", "again", "--previous") == "first\n"
    eventually(lambda: platform.kubectl("logs", "again") == "second\n")
    platform.kubectl("delete", "pod", "again", "--wait=false")


def test_probes_and_hooks_ask_inside_the_container(platform, world):
    script = "trap 'cat /tmp/*; exit 0' TERM; while :; do sleep 0.05; done"
    container = box(
        world, script,
        lifecycle={
            "postStart": {"exec": {"command": ["sh", "-c", "echo post > /tmp/1"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "echo pre > /tmp/2"]}},
        },
        # A second is not always enough for podman to begin.
        readinessProbe={"exec": {"command": ["test", "-e", "/tmp/1"]}, "periodSeconds": 1,
                        "timeoutSeconds": 30},
        livenessProbe={"exec": {"command": ["test", "!", "-e", "/tmp/sick"]}, "periodSeconds": 1,
                       "timeoutSeconds": 30, "failureThreshold": 1},
    )  # fmt: skip
    apply(platform, pod("asked", container, terminationGracePeriodSeconds=10))
    wait(platform, "asked")
    platform.kubectl("exec", "asked", "--", "touch", "/tmp/sick")
    found = eventually(
        lambda: (s := status(platform, "asked"))["restartCount"] == 1 and s["ready"] and s,
        deadline_s=60,
    )
    assert found["lastState"]["terminated"]["exitCode"] == 0
    assert platform.kubectl("logs", "asked", "--previous") == "post\npre\n"
    platform.kubectl("delete", "pod", "asked", "--wait=false")


def test_a_program_that_is_not_in_the_image_is_a_start_error(platform, world):
    container = box(world, command=["/no/such/program"])
    apply(platform, pod("absent", container, restartPolicy="Never"))
    end = terminated(platform, "absent")
    assert (end["exitCode"], end["reason"]) == (128, "StartError")
    assert "/no/such/program" in end["message"]


def test_memory_beyond_the_limit_is_out_of_memory(platform, world):
    script = "x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done"
    container = box(world, script, resources={"limits": {"memory": "24Mi"}})
    apply(platform, pod("greedy", container, restartPolicy="Never"))
    end = terminated(platform, "greedy")
    assert (end["exitCode"], end["reason"]) == (137, "OOMKilled")


def test_what_podman_is_kept_from_is_told_once_at_the_node(platform, world):
    apply(platform, pod("short", box(world, "true"), restartPolicy="Never"))
    terminated(platform, "short")
    [node] = platform.kubectl_json("get", "nodes")["items"]
    told = events(platform, node["metadata"]["name"])
    messages = [event for event in told if event.startswith("PodmanRestricted")]
    assert len(messages) == len(set(messages))
    limits = json.loads(podman("info", "--format", "json"))["host"]["cgroupVersion"]
    assert limits in ("v1", "v2")
