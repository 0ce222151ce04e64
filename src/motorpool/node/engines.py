"""Which engine makes a Pod's containers run.

    auto      processes, where the local images table stands in for every image; else podman, where
              there is one; else processes, which then say what is missing
    process   processes, always
    podman    podman, always

Rules: a Pod keeps the engine that it began with, whatever is asked for later (``pod.json``). In a
Pod that podman runs, an init container whose image the table stands in for is still a process under
"auto": what fetches a model needs no image of its own for that.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from motorpool.node.engine import Engine, Name
from motorpool.node.pod import Pod
from motorpool.node.seen import Run

Wanted: TypeAlias = Literal["auto", "process", "podman"]
InTable: TypeAlias = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class PodEngines:
    """The engine of a Pod, and of those of its containers that have another."""

    main: Engine
    others: Mapping[str, Engine] = field(default_factory=dict)

    def of(self, container: str) -> Engine:
        return self.others.get(container, self.main)

    async def release(self, uid: str, pod_ip: str) -> None:
        for engine in {engine.name: engine for engine in self.others.values()}.values():
            await engine.release(uid, pod_ip)
        await self.main.release(uid, pod_ip)


def choose(pod: Pod, wanted: Wanted, in_table: InTable, has_podman: bool) -> Name:
    if wanted != "auto":
        return wanted
    stays = pod.containers + tuple(c for c in pod.init_containers if c.is_sidecar)
    if not has_podman or all(in_table(container.image) for container in stays):
        return "process"
    return "podman"


def as_processes(pod: Pod, wanted: Wanted, in_table: InTable) -> set[str]:
    """Of a Pod that podman runs: the containers that are processes all the same."""
    if wanted == "podman":
        return set()
    return {c.name for c in pod.init_containers if not c.is_sidecar and in_table(c.image)}


class Engines:
    def __init__(
        self, processes: Engine, podman: Engine, *, wanted: Wanted, in_table: InTable,
        has_podman: Callable[[], bool],
    ) -> None:  # fmt: skip
        self._engines: dict[Name, Engine] = {"process": processes, "podman": podman}
        self._wanted = wanted
        self._in_table = in_table
        self._has_podman = has_podman

    def of(self, pod: Pod, recorded: str) -> PodEngines:
        """*recorded*: what the Pod began with, if it has."""
        name = self.choice(pod)
        for known in self._engines:
            name = known if known == recorded else name
        if name == "process":
            return PodEngines(self._engines["process"])
        inside = as_processes(pod, self._wanted, self._in_table)
        return PodEngines(self._engines["podman"], dict.fromkeys(inside, self._engines["process"]))

    def choice(self, pod: Pod) -> Name:
        """What a Pod would get that begins now."""
        return choose(pod, self._wanted, self._in_table, self._has_podman())

    async def run(self) -> None:
        """Keeps both working until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for name, engine in self._engines.items():
                tasks.create_task(engine.run(), name=f"engine: {name}")

    async def runs(self) -> list[Run]:
        """What both know of, that runs or was not forgotten."""
        return [run for engine in self._engines.values() for run in await engine.runs()]
