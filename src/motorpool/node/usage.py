"""What the pods of this machine, and the machine itself, use: PodMetrics and NodeMetrics.

Nothing is measured until somebody asks. A use of the CPU is a difference between two readings: the
last one is kept, so that who asks every 15 seconds gets those 15 seconds; the first one to ask
waits for a second. A container is every process of the session that its program leads. Memory is
the proportional set size, in which what forked servers share counts once.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import structlog

from motorpool.api.meta import Object, at, labels_of, name_of, namespace_of, uid_of
from motorpool.base.clock import Clock, rfc3339
from motorpool.loop.informer import Informer
from motorpool.node.seen import Run

log = structlog.get_logger(__name__)

FRESH_S = 5.0
"""So long an answer is given again."""
FIRST_WINDOW_S = 1.0
WINDOW_MAX_S = 120.0
_NANO = 1_000_000_000


class Reading(NamedTuple):
    """The CPU time so far, in seconds, and the memory now."""

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Readings:
    """All readings of one moment, by run; the machine's under ""."""

    at_s: float
    of: Mapping[str, Reading]
    runs: Mapping[str, Run] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rates:
    """What happened between two readings: run -> what it used."""

    window_s: float
    usage: Mapping[str, Object]
    runs: Mapping[str, Run]


def rates(before: Readings, after: Readings) -> Rates:
    """A run that began in between counts from its own beginning."""
    window_s = max(after.at_s - before.at_s, 1e-3)
    usage = {}
    for key, reading in after.of.items():
        earlier = before.of.get(key, Reading(0.0, 0))
        cores = max(0.0, reading.cpu_s - earlier.cpu_s) / window_s
        usage[key] = {
            "cpu": f"{round(cores * _NANO)}n",
            "memory": f"{reading.memory_bytes // 1024}Ki",
        }
    return Rates(window_s, usage, after.runs)


def sessions(stats: Iterable[str], ticks_per_s: int) -> dict[int, tuple[float, list[int]]]:
    """Session -> CPU seconds, children that ended included, and its processes."""
    found: dict[int, tuple[float, list[int]]] = {}
    for stat in stats:
        # The command name stands in parentheses and may hold anything, parentheses included.
        fields = stat[stat.rindex(")") + 2 :].split()
        session, spent = int(fields[3]), sum(map(int, fields[11:15])) / ticks_per_s
        cpu_s, pids = found.get(session, (0.0, []))
        found[session] = cpu_s + spent, [*pids, int(stat.split(" ", 1)[0])]
    return found


def machine(stat: str, meminfo: str, ticks_per_s: int) -> Reading:
    """What the whole machine uses, from /proc/stat and /proc/meminfo."""
    fields = [int(field) for field in stat.splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    amounts = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.splitlines()}
    used_kib = amounts["MemTotal"] - amounts["MemAvailable"]
    return Reading((sum(fields) - idle) / ticks_per_s, used_kib * 1024)


class Usage:
    def __init__(
        self,
        runs: Callable[[], Awaitable[list[Run]]],
        pods: Informer,
        node_name: str,
        clock: Clock,
        proc: Path = Path("/proc"),
        measured: Callable[[], Awaitable[Mapping[str, Reading]]] | None = None,
    ) -> None:
        """*measured*: what others know better, of some runs."""
        self._measured = measured
        self._runs = runs
        self._pods = pods
        self._node_name = node_name
        self._clock = clock
        self._proc = proc
        self._last: Readings | None = None
        self._rates: Rates | None = None
        self._moment = ""
        self._lock = asyncio.Lock()

    async def pods(self, namespace: str) -> list[Object]:
        """A PodMetrics for every pod of the namespace that runs here; of all for ""."""
        rates = await self._current()
        by_pod: dict[str, list[Object]] = {}
        for key, run in rates.runs.items():
            container = {"name": run.container, "usage": rates.usage[key]}
            by_pod.setdefault(run.pod_uid, []).append(container)
        found = []
        for pod in self._pods.list(namespace):
            containers = by_pod.get(uid_of(pod))
            if containers and at(pod, "status", "phase") == "Running":
                containers.sort(key=lambda container: str(container["name"]))
                metadata = {"name": name_of(pod), "namespace": namespace_of(pod)}
                labels = labels_of(pod)
                found.append(self._metrics(metadata, labels, rates, {"containers": containers}))
        return found

    async def nodes(self, _: str) -> list[Object]:
        rates = await self._current()
        metadata = {"name": self._node_name}
        return [self._metrics(metadata, {}, rates, {"usage": rates.usage[""]})]

    def _metrics(
        self, metadata: Object, labels: dict[str, str], rates: Rates, content: Object
    ) -> Object:
        metadata = {**metadata, "creationTimestamp": self._moment}
        if labels:
            metadata["labels"] = labels
        window = f"{rates.window_s:.3f}s"
        return {"metadata": metadata, "timestamp": self._moment, "window": window, **content}

    async def _current(self) -> Rates:
        async with self._lock:
            now_s = time.monotonic()
            before = self._last
            if self._rates and before is not None and now_s - before.at_s < FRESH_S:
                return self._rates
            if before is None or now_s - before.at_s > WINDOW_MAX_S:
                before = await self._read()
                await asyncio.sleep(FIRST_WINDOW_S)
            self._last = await self._read()
            self._rates = rates(before, self._last)
            self._moment = rfc3339(self._clock())
            return self._rates

    async def _read(self) -> Readings:
        runs = {run.id: run for run in await self._runs() if not run.finished_at}
        measured: Mapping[str, Reading] = {}
        if self._measured is not None:
            try:
                measured = await self._measured()
            except OSError as error:
                log.warning("usage not measured", error=str(error))
        return await asyncio.to_thread(self._read_all, runs, measured)

    def _read_all(self, runs: Mapping[str, Run], measured: Mapping[str, Reading]) -> Readings:
        ticks = os.sysconf("SC_CLK_TCK")
        at_s = time.monotonic()
        found = sessions(self._stats(), ticks)
        present = {
            key: found[run.pid] for key, run in runs.items()
            if run.pid in found and key not in measured
        }  # fmt: skip
        of = {
            key: Reading(cpu_s, sum(map(self._memory, pids)))
            for key, (cpu_s, pids) in present.items()
        }
        of |= {key: reading for key, reading in measured.items() if key in runs}
        stat, meminfo = (self._proc / "stat").read_text(), (self._proc / "meminfo").read_text()
        shown = {key: runs[key] for key in of}
        of[""] = machine(stat, meminfo, ticks)
        return Readings(at_s, of, shown)

    def _stats(self) -> Iterator[str]:
        for path in self._proc.glob("[0-9]*/stat"):
            try:
                yield path.read_text()
            except OSError:
                continue  # Gone meanwhile.

    def _memory(self, pid: int) -> int:
        try:
            rollup = (self._proc / str(pid) / "smaps_rollup").read_text()
        except OSError:
            return 0  # Gone meanwhile.
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        return 0
