"""The node agent with real processes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from motorpool.api import core
from motorpool.api.errors import BadRequest
from motorpool.api.meta import Object, at
from motorpool.base.backoff import Backoff
from motorpool.base.processes import identity_of
from motorpool.images.reference import parse
from motorpool.node.process import stop_pods
from motorpool.node.supervisor import protocol
from tests.node.conftest import Platform, exists, pod, shell, until

pytestmark = pytest.mark.slow

SERVER = {
    "name": "main",
    "image": "docker.io/library/python:3.12",
    "command": ["python", "-m", "http.server", "8080", "--bind", "$(POD_IP)"],
    "args": ["--directory", "/srv/www"],
    "ports": [{"name": "http", "containerPort": 8080}],
    "volumeMounts": [{"name": "www", "mountPath": "/srv/www"}],
    "readinessProbe": {"httpGet": {"path": "/index.txt", "port": "http"}, "periodSeconds": 1,
                       "failureThreshold": 1},
}  # fmt: skip


def web(name: str = "web") -> dict[str, object]:
    return pod(name, SERVER, volumes=[{"name": "www", "configMap": {"name": "pages"}}])


async def with_pages(platform: Platform) -> None:
    await platform.client.create(
        core.CONFIG_MAP,
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "pages", "namespace": "default"},
            "data": {"index.txt": "hello"},
        },
    )  # fmt: skip


def fetch(ip: str) -> str:
    with urllib.request.urlopen(f"http://{ip}:8080/index.txt", timeout=5) as answer:
        return answer.read().decode()


async def test_a_server_becomes_ready_serves_and_goes(platform: Platform) -> None:
    await with_pages(platform)
    await platform.create(web())
    status = await platform.ready()
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("127.")
    assert await asyncio.to_thread(fetch, status["podIP"]) == "hello"
    main = platform.container()
    assert (main["ready"], main["started"], main["restartCount"]) == (True, True, 0)
    assert "/index.txt" in await platform.logs()
    for event in ("Pulled: Container image", "Created: Created container: main", "Started: "):
        await platform.event(event)
    pid = platform.pid()
    await platform.delete()
    await platform.event("Killing: Stopping container main")
    assert not exists(f"/proc/{pid}")
    assert not exists(f"{platform.data_dir}/pods/uid-web")


async def test_two_pods_have_the_same_port(platform: Platform) -> None:
    await with_pages(platform)
    await platform.create(web("a"))
    await platform.create(web("b"))
    first, second = await platform.ready("a"), await platform.ready("b")
    assert first["podIP"] != second["podIP"]


async def test_readiness_follows_the_probe_and_recovers(platform: Platform) -> None:
    await with_pages(platform)
    await platform.create(web())
    await platform.ready()
    page = next((platform.data_dir / "pods/uid-web/volumes/www").glob("index.txt"))
    page.unlink()
    await until(lambda: not platform.is_ready())
    await platform.event(
        "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404"
    )
    page.write_text("hello")
    await platform.ready()
    assert platform.container()["restartCount"] == 0


async def test_a_container_that_fails_restarts_at_once_then_backs_off(platform: Platform) -> None:
    await platform.create(pod("web", shell("echo run; exit 3")))
    message = await platform.waiting("CrashLoopBackOff")
    assert message == "back-off 10s restarting failed container=main pod=web_default(uid-web)"
    main = platform.container()
    assert main["restartCount"] == 1
    assert main["lastState"]["terminated"]["exitCode"] == 3
    assert main["lastState"]["terminated"]["reason"] == "Error"
    assert platform.status()["phase"] == "Running"
    await platform.event("BackOff: Back-off restarting failed container main in pod web_default")
    assert await platform.logs() == "run\n"
    assert await platform.logs(previous=True) == "run\n"
    await platform.delete()


async def test_never_and_on_failure_end(platform: Platform) -> None:
    await platform.create(pod("good", shell("exit 0"), restartPolicy="OnFailure"))
    await platform.create(pod("bad", shell("exit 4"), restartPolicy="Never"))
    await until(lambda: platform.status("good").get("phase") == "Succeeded")
    await until(lambda: platform.status("bad").get("phase") == "Failed")
    assert platform.container("bad")["state"]["terminated"]["exitCode"] == 4
    assert platform.container("good")["state"]["terminated"]["reason"] == "Completed"


async def test_init_containers_run_in_order_before_the_containers(platform: Platform) -> None:
    mount = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    await platform.create(
        pod(
            "web",
            shell("cat /shared/log; sleep 60", **mount),
            initContainers=[
                shell("sleep 0.1; echo one >> /shared/log", "first", **mount),
                shell("echo two >> /shared/log", "second", **mount),
            ],
            volumes=[{"name": "shared", "emptyDir": {}}],
        )
    )
    await platform.ready()
    await until_logged(platform, "one\ntwo\n")
    first = platform.container(name="first")
    assert first["state"]["terminated"]["reason"] == "Completed"
    assert first["ready"]


async def until_logged(platform: Platform, text: str) -> None:
    deadline = time.monotonic() + 30
    while await platform.logs() != text:
        assert time.monotonic() < deadline, await platform.logs()
        await asyncio.sleep(0.01)


async def test_sigterm_is_heeded_and_sigkill_follows_the_grace_period(platform: Platform) -> None:
    polite = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    deaf = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    await platform.create(pod("polite", shell(polite), terminationGracePeriodSeconds=30))
    await platform.create(pod("deaf", shell(deaf)))
    for name in ("polite", "deaf"):
        await platform.ready(name)
        await until_up(platform, name)
    started = time.monotonic()
    await platform.delete("polite")
    assert time.monotonic() - started < 15, "it was not waited for to be killed"
    started = time.monotonic()
    pid = platform.pid("deaf")
    await platform.delete("deaf")
    assert time.monotonic() - started > 0.9
    assert identity_of(pid) is None


async def until_up(platform: Platform, name: str) -> None:
    deadline = time.monotonic() + 30
    while "up" not in await platform.logs(name):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_pod_whose_object_vanished_is_ended(platform: Platform) -> None:
    await platform.create(pod("web", shell("sleep 60")))
    await platform.ready()
    pid = platform.pid()
    await platform.client.delete(core.POD, "default", "web")
    await until(lambda: identity_of(pid) is None)
    await until(lambda: not exists(f"{platform.data_dir}/pods/uid-web"))


async def test_a_liveness_probe_restarts_the_container(platform: Platform) -> None:
    probe = {"exec": {"command": ["/bin/sh", "-c", "exit 1"]}, "periodSeconds": 1,
             "failureThreshold": 1}  # fmt: skip
    await platform.create(pod("web", shell("sleep 60", livenessProbe=probe)))
    await until(lambda: platform.container().get("restartCount") == 1)
    await platform.event("Killing: Container main failed liveness probe, will be restarted")
    await platform.event("Unhealthy: Liveness probe failed: command exited with code 1")
    assert platform.container()["lastState"]["terminated"]["exitCode"] == 143


async def test_a_startup_probe_holds_back_readiness(platform: Platform) -> None:
    probe = {"exec": {"command": ["/bin/sh", "-c", "test -e /work/up"]}}
    await platform.create(
        pod(
            "web",
            shell(
                "sleep 0.3; touch /work/up; sleep 60",
                startupProbe=probe,
                volumeMounts=[{"name": "w", "mountPath": "/work"}],
            ),
            volumes=[{"name": "w", "emptyDir": {}}],
        )
    )
    await until(lambda: platform.container().get("state", {}).get("running"))
    assert not platform.container()["started"]
    await platform.ready()
    assert platform.container()["started"]


async def test_what_is_missing_is_named_and_found_later(platform: Platform) -> None:
    reference = {"configMapKeyRef": {"name": "pages", "key": "index.txt"}}
    container = shell("echo $PAGE; sleep 60", env=[{"name": "PAGE", "valueFrom": reference}])
    await platform.create(pod("web", container))
    assert await platform.waiting("CreateContainerConfigError") == 'configmap "pages" not found'
    await with_pages(platform)
    await platform.ready()
    await until_logged(platform, "hello\n")


async def test_an_image_without_a_program_names_the_two_ways_out(platform: Platform) -> None:
    await platform.create(pod("web", {"name": "main", "image": "quay.io/acme/thing:1"}))
    message = await platform.waiting("ErrImageNeverPull")
    assert "local-images.yaml" in message
    assert "podman" in message
    await platform.event("quay.io/acme/thing:1")
    table = platform.data_dir / "local-images.yaml"
    table.write_text("images:\n- match: ['*/acme/*']\n  command: [sleep, '60']\n")
    await platform.ready()
    table.write_text("images: 3")
    await platform.event("InvalidLocalImages")


async def test_an_image_that_comes_while_a_pod_waits_for_it_is_taken_at_once(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motorpool.node.seen.IMAGE_BACKOFF", Backoff(3600.0, 3600.0))
    monkeypatch.setattr("motorpool.images.registry.TRIES_MAX", 1)
    image = {"reference": "localhost/guest:1"}
    await platform.create(
        pod("web", shell("sleep 60"), volumes=[{"name": "model", "image": image}])
    )
    assert "build it" in await platform.waiting("ImagePullBackOff")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a").write_text("a")
    await asyncio.to_thread(platform.images.build, tmp_path / "model", parse("localhost/guest:1"))
    await platform.ready()


async def test_a_program_that_does_not_exist_is_a_start_error(platform: Platform) -> None:
    await platform.create(pod("web", {"name": "main", "image": "shell", "command": ["/no/such"]}))
    await platform.waiting("CrashLoopBackOff")
    end = platform.container()["lastState"]["terminated"]
    assert (end["exitCode"], end["reason"]) == (128, "StartError")
    assert "/no/such" in end["message"]


async def test_volumes_that_cannot_be_had_are_named(platform: Platform) -> None:
    share = [{"name": "v", "nfs": {"server": "s", "path": "/"}}]
    await platform.create(pod("share", shell("sleep 60"), volumes=share))
    message = await platform.waiting("CreateContainerConfigError", "share")
    assert "nfs is not supported" in message
    image = [{"name": "v", "image": {"reference": "localhost/none:1", "pullPolicy": "Never"}}]
    await platform.create(pod("image", shell("sleep 60"), volumes=image))
    assert "localhost/none:1" in await platform.waiting("ErrImageNeverPull", "image")
    secret = [{"name": "v", "secret": {"secretName": "s"}}]
    await platform.create(pod("secret", shell("sleep 60"), volumes=secret))
    await platform.event(
        'FailedMount: MountVolume.SetUp failed for volume "v" : secret "s" not found'
    )


async def test_logs_follow_until_the_container_ends(platform: Platform) -> None:
    await platform.create(
        pod("web", shell("for i in 1 2 3 4; do echo $i; sleep 0.1; done"), restartPolicy="Never")
    )
    await platform.ready()
    async with asyncio.timeout(30):
        assert await platform.logs(follow=True) == "1\n2\n3\n4\n"
    assert await platform.logs(tail_lines=2) == "3\n4\n"
    assert await platform.logs(limit_bytes=3) == "1\n2"
    assert await platform.logs(since_s=3600) == "1\n2\n3\n4\n"
    stamped = (await platform.logs(timestamps=True)).splitlines()[0]
    assert stamped.endswith("Z 1")
    with pytest.raises(BadRequest, match="container x is not valid for pod web"):
        await platform.logs(container="x")
    with pytest.raises(BadRequest, match='previous terminated container "main" in pod "web" not'):
        await platform.logs(previous=True)


FIRST_LIFE = """
import asyncio, json, sys
from pathlib import Path
from tests.node.conftest import Platform
async def main():
    platform = Platform(Path(sys.argv[1]))
    platform.start()
    await platform.create(json.loads(sys.argv[2]))
    await platform.ready()
    print(json.dumps(platform.find()), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def first_life(data_dir: Path, obj: Object) -> Object:
    """Runs an agent in a process of its own until the Pod is ready, and kills it."""
    first = subprocess.Popen(
        [sys.executable, "-c", FIRST_LIFE, str(data_dir), json.dumps(obj)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{os.environ['PYTHONPATH']}:{Path(__file__).parents[2]}"},
    )
    assert first.stdout is not None
    try:
        left: Object = json.loads(first.stdout.readline())
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        first.stdout.close()
    return left


async def test_a_killed_agent_leaves_its_pods_and_the_next_adopts_them(platform: Platform) -> None:
    await platform.stop()
    server = {**SERVER, "volumeMounts": [], "args": ["--directory", "."]}
    server["readinessProbe"] = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    left = await asyncio.to_thread(first_life, platform.data_dir, pod("web", server))
    ip = left["status"]["podIP"]
    failures: list[str] = []
    asking = asyncio.create_task(ask_for_ever(ip, failures))
    platform.client = type(platform.client)(left)
    pid = platform.pid()
    writes = len(platform.client.writes)
    platform.start()
    await until(lambda: platform.agent is not None and platform.agent._workers)
    await asyncio.sleep(0.3)
    assert platform.is_ready()
    assert (platform.pid(), platform.container()["restartCount"]) == (pid, 0)
    assert not [w for w in platform.client.writes[writes:] if "Pod" in w], "nothing changed"
    assert identity_of(pid) is not None
    asking.cancel()
    assert not failures
    os.kill(pid, signal.SIGKILL)
    await until(lambda: platform.container()["restartCount"] == 1)
    assert platform.container()["lastState"]["terminated"]["exitCode"] == 137
    await platform.ready()
    await platform.delete()


async def ask_for_ever(ip: str, failures: list[str]) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(ip, 8080)
            writer.close()
        except OSError as error:
            failures.append(str(error))
        await asyncio.sleep(0.01)


async def test_processes_of_pods_that_are_gone_are_ended_at_the_start(platform: Platform) -> None:
    await platform.create(pod("web", shell("sleep 60")))
    await platform.ready()
    pid = platform.pid()
    await platform.stop()
    platform.start(type(platform.client)())
    await until(lambda: identity_of(pid) is None)
    await until(lambda: not exists(f"{platform.data_dir}/pods/uid-web"))


async def test_the_node_and_its_lease_are_there(platform: Platform) -> None:
    kinds = {"Node", "Lease"}
    await until(
        lambda: (
            kinds <= {k.kind for k, _ in platform.client.objects}
            and platform.client.kept(core.NODE, "", "node-a").get("status")
        )
    )
    node = platform.client.kept(core.NODE, "", "node-a")
    await until(lambda: exists(f"{platform.data_dir}/run/supervisor.sock"))
    ready = [c for c in node["status"]["conditions"] if c["type"] == "Ready"]
    assert ready[0]["status"] == "True"
    assert int(node["status"]["capacity"]["pods"]) >= 250


async def test_a_sidecar_runs_beside_and_ends_last(platform: Platform) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    script = "trap 'echo {0} >> /v/ends; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    await platform.create(
        pod(
            "web",
            shell(script.format("main"), **mount),
            initContainers=[shell(script.format("side"), "side", restartPolicy="Always", **mount)],
            volumes=[{"name": "v", "hostPath": {"path": str(platform.data_dir)}}],
        )
    )
    await platform.ready()
    await until_up(platform, "web")
    assert platform.container(name="side")["started"]
    await platform.delete(grace_s=5)
    assert (platform.data_dir / "ends").read_text() == "main\nside\n"


async def test_hooks_run_after_the_start_and_before_the_end(platform: Platform) -> None:
    hooks = {
        "postStart": {"exec": {"command": ["/bin/sh", "-c", "touch /v/started"]}},
        "preStop": {"exec": {"command": ["/bin/sh", "-c", "touch /v/stopping"]}},
    }
    await platform.create(
        pod(
            "web",
            shell("sleep 60", lifecycle=hooks, volumeMounts=[{"name": "v", "mountPath": "/v"}]),
            volumes=[{"name": "v", "hostPath": {"path": str(platform.data_dir)}}],
        )
    )
    await platform.ready()
    await until(lambda: exists(f"{platform.data_dir}/started"))
    await platform.delete()
    assert exists(f"{platform.data_dir}/stopping")


async def test_a_modelcar_is_served_by_a_forked_model_server(platform: Platform) -> None:
    model = Path(__file__).parents[2] / "examples/digits/model"
    await asyncio.to_thread(platform.images.build, model, parse("localhost/digits:test"))
    container = {
        "name": "kserve-container",
        "image": "quay.io/modh/openvino_model_server:stable",
        "args": ["--model_name=digits", "--model_path=/mnt/models", "--rest_port=8080",
                 "--port=8001", "--rest_bind_address=0.0.0.0"],
        "volumeMounts": [{"name": "models", "mountPath": "/mnt/models", "subPath": "models"}],
        "startupProbe": {"grpc": {"port": 8001}, "failureThreshold": 30},
        "readinessProbe": {"httpGet": {"path": "/v2/models/digits/ready", "port": 8080}},
        "resources": {"limits": {"cpu": "900m", "memory": "1Gi"}},
    }  # fmt: skip
    volume = {"name": "models", "image": {"reference": "localhost/digits:test"}}
    await platform.create(pod("web", container, volumes=[volume]))
    await until(platform.is_ready, timeout_s=30)
    record = platform.data_dir / "pods/uid-web/run/kserve-container.0.json"
    assert json.loads(record.read_text())["forked"]
    logged = await platform.logs()
    assert "available" in logged
    assert "threads=1" in logged, "as many as the limit on CPUs leaves it"
    assert platform.container(name="kserve-container")["started"]
    assert list(platform.images.owners().values()) == [["uid-web"]]
    await platform.delete()
    assert not any(platform.images.owners().values())


async def test_a_killed_supervisor_changes_nothing_for_a_pod(platform: Platform) -> None:
    await with_pages(platform)
    await platform.create(web())
    status = await platform.ready()
    pid, supervisor = platform.pid(), supervisor_pid(platform.data_dir)
    os.kill(supervisor, signal.SIGKILL)
    await until(lambda: supervisor_pid(platform.data_dir) not in (0, supervisor))
    assert await asyncio.to_thread(fetch, status["podIP"]) == "hello"
    assert platform.is_ready()
    assert (platform.pid(), platform.container()["restartCount"]) == (pid, 0)
    await platform.delete()
    assert identity_of(pid) is None


def supervisor_pid(data_dir: Path) -> int:
    """0 while there is none."""
    try:
        with protocol.connect(data_dir) as connection, connection.makefile() as file:
            connection.sendall(protocol.encoded({"seq": 1, "do": "list"}))
            return int(json.loads(file.readline())["ok"]["pid"])
    except (OSError, ValueError):
        return 0


async def test_what_was_stopped_with_the_platform_starts_at_once_with_it(
    platform: Platform,
) -> None:
    await with_pages(platform)
    await platform.create(web())
    for life in (1, 2, 3):
        await platform.ready()
        await platform.stop()
        assert await stop_pods(platform.data_dir)
        platform.start()
        await until(lambda life=life: platform.container()["restartCount"] == life)
    await platform.ready()
    assert platform.container()["lastState"]["terminated"]["exitCode"] == 143


async def test_files_of_a_config_map_follow_it_while_the_pod_runs(platform: Platform) -> None:
    await with_pages(platform)
    await platform.create(web())
    ip = (await platform.ready())["podIP"]
    await platform.client.patch(
        core.CONFIG_MAP, "default", "pages", {"data": {"index.txt": "changed"}}
    )
    deadline = time.monotonic() + 30
    while await asyncio.to_thread(fetch, ip) != "changed":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    assert platform.container()["restartCount"] == 0
    await platform.delete()


async def test_what_a_container_leaves_is_its_termination_message(platform: Platform) -> None:
    script = "echo said; echo why > /dev/termination-log; exit 3"
    fallback = shell(script, terminationMessagePolicy="FallbackToLogsOnError")
    await platform.create(pod("web", fallback, restartPolicy="Never"))
    ended = await until(lambda: at(platform.container(), "state", "terminated"))
    assert (ended["exitCode"], ended["message"]) == (3, "why\n")
    await platform.delete()
    own = shell("printf fine > /out/message", terminationMessagePath="/out/message")
    await platform.create(pod("own", own, restartPolicy="Never"))
    ended = await until(lambda: at(platform.container("own"), "state", "terminated"))
    assert (ended["exitCode"], ended["message"]) == (0, "fine")
    await platform.delete("own")
