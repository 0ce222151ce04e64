"""Resource limits of real processes. Where this machine lets nobody limit, that must be said."""

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from motorpool.node.supervisor.cgroups import Limits
from motorpool.node.supervisor.groups import Groups
from tests.node.conftest import Platform, pod, readable, until
from tests.node.test_supervisor import Node, forked
from tests.node.test_supervisor import node as node

pytestmark = pytest.mark.slow

LIMITS = Limits(500, 0, 1 << 30)
GLUTTON = "import time; held = bytearray(400_000_000); print('had it all', flush=True)"


@pytest.fixture(scope="module")
def unable(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Why this machine cannot limit memory; "" where it can."""
    groups = Groups(tmp_path_factory.mktemp("asked"))
    made, unlimited = groups.make("u/main/0", Limits(500, 0, 1 << 30))
    groups.end(made)
    groups.close()
    assert bool(made) != ("memory" in unlimited and "cpu" in unlimited)
    return unlimited


def python(script: str, **limits: str) -> dict[str, Any]:
    return {
        "name": "main",
        "image": "python",
        "command": ["python", "-c", script],
        "resources": {"limits": limits, "requests": limits},
    }


async def test_a_container_that_takes_too_much_memory_is_oom_killed(
    platform: Platform, unable: str
) -> None:
    await platform.create(pod("web", python(GLUTTON, memory="64Mi"), restartPolicy="Never"))
    await until(lambda: platform.status().get("phase") in ("Failed", "Succeeded"))
    ended = platform.container()["state"]["terminated"]
    if "memory" in unable:
        await platform.event("LimitsNotEnforced: containers may exceed their resource limits here")
        assert ended["reason"] == "Completed"
        return
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    assert platform.status()["phase"] == "Failed"
    assert "had it all" not in await platform.logs()
    assert not [event for event in platform.events() if "LimitsNotEnforced" in event and not unable]


async def test_a_container_gets_no_more_cpu_than_its_limit(platform: Platform, unable: str) -> None:
    busy = (
        "import time; t, begun = time.time(), time.process_time()\n"
        "while time.time() - t < 1: pass\n"
        "print('used', (time.process_time() - begun) / (time.time() - t))"
    )
    await platform.create(pod("web", python(busy, cpu="200m"), restartPolicy="Never"))
    await until(lambda: platform.status().get("phase") == "Succeeded")
    if "cpu" in unable:
        await platform.event("LimitsNotEnforced: containers may exceed their resource limits here")
        return
    used = float((await platform.logs()).split()[1])
    assert used < 0.45


async def test_commands_beside_a_container_are_in_its_groups(
    platform: Platform, unable: str
) -> None:
    sleeper = python("import time; time.sleep(60)", memory="256Mi")
    probe = {"exec": {"command": ["/bin/sh", "-c", "sleep 0.3; cat /proc/self/cgroup > /seen/it"]}}
    sleeper |= {"readinessProbe": probe, "volumeMounts": [{"name": "v", "mountPath": "/seen"}]}
    await platform.create(pod("web", sleeper, volumes=[{"name": "v"}]))
    await platform.ready()
    seen = readable(platform.data_dir / "pods/uid-web/volumes/v/it")
    assert bool(re.search(r"/motorpool-\w+/uid-web\.main\.0$", seen, re.MULTILINE)) == (
        "memory" not in unable
    )


async def test_a_forked_process_is_limited_too_and_its_group_goes_with_it(
    node: Node, unable: str
) -> None:
    argv, fork = forked("sleep")
    said: list[str] = []
    node.engine.unlimited = said.append
    run = await node.start("u/a/0", *argv, fork=fork, limits=LIMITS)
    assert run.forked
    assert said == ([unable] if unable else [])
    assert inside(node, "u.a.0") == ([] if unable else [run.pid])
    await node.engine.signal("u/a/0", 9)
    end = await node.end("u/a/0")
    assert not end.oom_killed
    await until(lambda: not groups_of(node))


async def test_a_supervisor_that_comes_anew_clears_what_the_last_one_left(
    node: Node, unable: str
) -> None:
    running = await node.start("u/a/0", "/bin/sleep", "60", limits=LIMITS)
    ended = await node.start("u/b/0", "/bin/sleep", "60", limits=LIMITS)
    os.kill(await asyncio.to_thread(node.supervisor_pid), signal.SIGKILL)
    os.kill(ended.pid, signal.SIGKILL)
    await node.end("u/b/0")
    await until(lambda: {path.name for path in groups_of(node)} <= {"u.a.0"})
    assert inside(node, "u.a.0") == ([] if unable else [running.pid])


def groups_of(node: Node) -> list[Path]:
    """The directories of all control groups of its containers."""
    return [path for path in Path("/sys/fs/cgroup").rglob(f"{Groups(node.data_dir).name}/*/")]


def inside(node: Node, name: str) -> list[int]:
    """The processes in a container's group; [] while its hierarchies do not say the same."""
    found = {(path / "cgroup.procs").read_text() for path in groups_of(node) if path.name == name}
    return [int(pid) for pid in found.pop().split()] if len(found) == 1 else []
