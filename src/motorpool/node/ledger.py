"""What is known of one Pod of this machine, shared by those who work on it.

`worker.py` carries out the steps, `starting.py` prepares and starts, `health.py` probes and stops:
each ends by changing what is seen here, which wakes the worker.
"""

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from motorpool.api.meta import Object, name_of, namespace_of
from motorpool.base.atomicfile import write_atomically
from motorpool.base.clock import Clock
from motorpool.client import Client
from motorpool.loop.events import EventRecorder
from motorpool.node import seen
from motorpool.node.containers import last_message
from motorpool.node.engine import Scene
from motorpool.node.engines import Engines
from motorpool.node.logs import last_words
from motorpool.node.pod import Container, pod_of
from motorpool.node.probes import Target
from motorpool.node.seen import PodSeen, Run, run_id
from motorpool.node.tasks import Tasks
from motorpool.node.volumes import Images, Volume

COMPONENT = "kubelet"


@dataclass(frozen=True, slots=True)
class Node:
    """What all Pods of this machine share."""

    client: Client
    events: EventRecorder
    clock: Clock
    engines: Engines
    images: Images
    data_dir: Path
    host_ip: str
    allocatable: dict[str, str]

    def now(self) -> float:
        return self.clock().timestamp()


class Ledger:
    def __init__(self, node: Node, obj: Object) -> None:
        self.node = node
        self.obj = obj
        self.pod = pod_of(obj)
        self.pod_dir = node.data_dir / "pods" / self.pod.uid
        recorded = read_record(self.pod_dir)
        self.pod_ip = str(recorded.get("podIP", ""))
        self.engines = node.engines.of(self.pod, str(recorded.get("engine", "")))
        self.seen = PodSeen()
        self.volumes: dict[str, Volume] = {}
        self.changed = asyncio.Event()
        self.tasks = Tasks(self.pod.full_name)

    def take(self, obj: Object) -> None:
        """What the API has now. The same again is no news: waking for it would never end."""
        if int(obj["metadata"]["resourceVersion"]) > int(self.obj["metadata"]["resourceVersion"]):
            self.obj = obj
            self.pod = pod_of(obj)
            self.changed.set()

    def note(self, container: str, now: seen.Seen) -> None:
        self.seen = self.seen.with_container(container, now)
        self.changed.set()

    def note_volumes(self, volumes: seen.Volumes) -> None:
        self.seen = replace(self.seen, volumes=volumes)
        self.changed.set()

    def fail(self, verdict: seen.Verdict) -> None:
        """The whole Pod has failed for good: what runs is ended, and nothing starts again."""
        type_: Literal["Normal", "Warning"] = "Warning" if verdict.reason == "Evicted" else "Normal"
        self.tell(type_, verdict.reason, verdict.message)
        self.seen = replace(self.seen, verdict=verdict)
        self.changed.set()

    def failed(self, name: str, reason: str, message: str, image: str = "") -> None:
        """The container waits, and is tried again."""
        before = self.seen.of(name)
        if before.problem is None or before.problem.message != message:
            self.tell("Warning", "Failed", f"Error: {message}")
        self.note(name, seen.failed(before, reason, message, self.node.now(), image))

    def tell(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self.node.events.record(self.obj, type_, reason, message, component=COMPONENT)

    def run_id(self, container: str) -> str:
        return run_id(self.pod.uid, container, self.seen.of(container).run)

    def scene(self, container: Container) -> Scene:
        return Scene(
            container, self.obj, self.volumes, self.pod_ip, self.node.host_ip, self.pod_dir,
            self.pod.grace_s,
        )  # fmt: skip

    def target(self, container: Container) -> Target:
        """The container as its probes and hooks see it."""
        id_, scene = self.run_id(container.name), self.scene(container)
        engine = self.engines.of(container.name)
        return Target(
            container.spec, self.pod_ip, lambda command: engine.execute(id_, scene, command)
        )

    def with_words(self, container: Container, run: Run) -> Run:
        """The run with its termination message: what it left, or the end of its log if asked."""
        if not run.finished_at:
            return run
        words = last_message(self.pod_dir, container.name)
        asked = container.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if words or not asked or run.exit_code == 0:
            return replace(run, words=words)
        path = self.pod_dir / "logs" / run.container / f"{run.number}.log"
        return replace(run, words=last_words(path))

    def record(self) -> None:
        """``pod.json``: what a new agent must know."""
        content = {
            "podIP": self.pod_ip,
            "namespace": namespace_of(self.obj),
            "name": name_of(self.obj),
            "engine": self.engines.main.name,
        }
        if read_record(self.pod_dir) != content:
            # Not synced: an address that is lost with the power is only allocated anew.
            path = self.pod_dir / "pod.json"
            write_atomically(path, json.dumps(content).encode(), sync=False)


def read_record(pod_dir: Path) -> dict[str, str]:
    """``pod.json``; {} where it is missing or torn."""
    try:
        record = json.loads((pod_dir / "pod.json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
