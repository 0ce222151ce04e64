"""A node with real processes in a directory of its own, and an API server of a few lines."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from motorpool.api import core
from motorpool.api.meta import Object, at
from motorpool.api.streams import LogOptions
from motorpool.images.store import ImageStore
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context
from motorpool.node.agent import Agent
from motorpool.node.process import stop_pods
from motorpool.node.supervisor import protocol
from tests.memory_client import MemoryClient

TABLE = """
images:
- match: [python, shell]
  keepCommand: true
"""
NODE = "node-a"


async def until(condition: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.005)
    return value


def readable(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def leftovers(text: str) -> list[str]:
    """The processes that have *text* in their command line."""
    return [pid.name for pid in Path("/proc").glob("[0-9]*") if text in readable(pid / "cmdline")]


def exists(path: str) -> bool:
    return Path(path).exists()


def pod(name: str = "web", *containers: Object, **spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}"},
        "spec": {
            "nodeName": NODE,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 1,
            "containers": list(containers),
            **spec,
        },
    }


def shell(script: str, name: str = "main", **fields: Any) -> Object:
    return {"name": name, "image": "shell", "command": ["/bin/sh", "-c", script], **fields}


class Platform:
    """An API server, an agent, and what a test asks of them."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.client = MemoryClient()
        self.images = ImageStore(data_dir / "images")
        self.agent: Agent | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, client: MemoryClient | None = None) -> None:
        self.client = client or self.client
        context = Context(self.client, Informers(self.client), EventRecorder(self.client))
        self.agent = Agent(
            context, data_dir=self.data_dir, node_name=NODE, images=self.images, warm_after_s=3600,
            engine="process",
        )  # fmt: skip
        works = (context.informers.run(), context.events.run(), self.agent.run())
        self._tasks = [asyncio.create_task(work) for work in works]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def create(self, obj: Object) -> Object:
        return await self.client.create(core.POD, obj)

    def status(self, name: str = "web") -> Object:
        found = self.find(name)
        return (found or {}).get("status") or {}

    def find(self, name: str = "web") -> Object | None:
        for (kind, key), obj in self.client.objects.items():
            if kind == core.POD and key.name == name:
                return obj
        return None

    def container(self, pod_name: str = "web", name: str = "main") -> Object:
        status = self.status(pod_name)
        every = [*(status.get("containerStatuses") or ())]
        every += status.get("initContainerStatuses") or ()
        return next((c for c in every if c["name"] == name), {})

    def is_ready(self, name: str = "web") -> bool:
        conditions = self.status(name).get("conditions") or []
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    async def ready(self, name: str = "web") -> Object:
        await until(lambda: self.is_ready(name))
        return self.status(name)

    async def waiting(self, reason: str, pod_name: str = "web") -> str:
        """The message of the container that waits for that reason."""
        await until(lambda: at(self.container(pod_name), "state", "waiting", "reason") == reason)
        return str(at(self.container(pod_name), "state", "waiting", "message", default=""))

    async def ask_to_delete(self, name: str = "web", grace_s: int | None = None) -> None:
        """As the API server does it: the object stays until the node lets it go."""
        found = self.find(name)
        assert found is not None
        grace_s = found["spec"]["terminationGracePeriodSeconds"] if grace_s is None else grace_s
        metadata = {
            "deletionTimestamp": "2026-01-01T00:00:00Z",
            "deletionGracePeriodSeconds": grace_s,
        }
        await self.client.patch(core.POD, "default", name, {"metadata": metadata})

    async def delete(self, name: str = "web", grace_s: int | None = None) -> None:
        await self.ask_to_delete(name, grace_s)
        await until(lambda: self.find(name) is None)

    def events(self) -> list[str]:
        found: Iterable[Object] = (
            o for (k, _), o in self.client.objects.items() if k == core.EVENT
        )
        return [f"{event['reason']}: {event['message']}" for event in found]

    async def event(self, text: str) -> None:
        await until(lambda: any(text in event for event in self.events()))

    async def logs(self, name: str = "web", container: str = "", **options: Any) -> str:
        assert self.agent is not None
        found = self.find(name)
        assert found is not None
        chunks = self.agent.streams.logs(found, container, LogOptions(**options))
        return b"".join([chunk async for chunk in chunks]).decode()

    def pid(self, name: str = "web", container: str = "main") -> int:
        import json

        run = self.container(name, container)["restartCount"]
        path = self.data_dir / "pods" / f"uid-{name}" / "run" / f"{container}.{run}.json"
        return int(json.loads(path.read_text())["pid"])


@pytest.fixture
async def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Platform]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "src"))
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "local-images.yaml").write_text(TABLE)
    platform = Platform(data_dir)
    platform.start()
    yield platform
    await platform.stop()
    await stop_pods(data_dir)
    await until(lambda: not leftovers(str(tmp_path)))
    assert not protocol.socket_path(data_dir).exists()
