"""The accelerators of this machine, kept up to date, and who has which.

    pods/UID/devices.json    container -> ids: written before the first program that uses them

Rules: what a pod has is read from the disk whenever somebody asks for more, so that a restart
changes nothing and nothing is given twice. A look at the hardware runs in a thread of its own that
nobody waits for at the end: a driver that hangs must not hold the platform up.
"""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeAlias

import structlog

from motorpool.api.meta import Object, uid_of
from motorpool.base.atomicfile import write_atomically
from motorpool.node.accelerators import sysfs
from motorpool.node.accelerators.allocation import Allocation, allocate, is_asking
from motorpool.node.accelerators.device import Device, Inventory, inventory
from motorpool.node.accelerators.nvml import Nvml, NvmlError
from motorpool.node.accelerators.visibility import Assigned

log = structlog.get_logger(__name__)

RECORD = "devices.json"
PERIOD_S = 5.0
FIRST_LOOK_S = 15.0
"""So long the node waits for a driver before it tells what it has."""

Find: TypeAlias = Callable[[], Iterable[Device]]
Told: TypeAlias = Callable[[Inventory, Inventory], None]


class Accelerators(Protocol):
    """What starts containers asks for this, and no more."""

    async def assigned(self, pod: Object, container: str) -> Assigned:
        """The devices of a container, given now where they have not been. Raises Unavailable."""
        ...


class Finder:
    """Looks for every kind that we know."""

    def __init__(self, nvml: Nvml | None = None, root: Path = sysfs.SYSFS) -> None:
        self._nvml = nvml or Nvml()
        self._root = root
        self._complaint = ""

    def __call__(self) -> list[Device]:
        return [
            *self._nvidia(), *sysfs.amd_devices(self._root), *sysfs.gaudi_devices(self._root),
        ]  # fmt: skip

    def _nvidia(self) -> list[Device]:
        complaint = ""
        try:
            return self._nvml.devices()
        except NvmlError as error:
            complaint = str(error)
            return []
        finally:
            if complaint and complaint != self._complaint:
                log.warning("the NVIDIA driver does not answer", error=complaint)
            self._complaint = complaint


class Devices:
    """*is_over* tells of a pod's uid whether its containers have ended for good."""

    def __init__(
        self,
        pods_dir: Path,
        is_over: Callable[[str], bool],
        find: Find | None = None,
        *,
        period_s: float = PERIOD_S,
    ) -> None:
        self.found: Inventory = {}
        self._pods_dir = pods_dir
        self._is_over = is_over
        self._find = find or Finder()
        self._period_s = period_s
        self._looked = asyncio.Event()
        self._giving = asyncio.Lock()

    async def run(self, changed: Told) -> None:
        """Looks again and again until cancelled; tells what was and what is, where they differ."""
        timer = asyncio.get_running_loop().call_later(FIRST_LOOK_S, self._looked.set)
        try:
            while True:
                before = self.found
                self.found = inventory(before, await self._look(before))
                if self._looked.is_set() and self.found != before:
                    changed(before, self.found)
                self._looked.set()
                await asyncio.sleep(self._period_s)
        finally:
            timer.cancel()

    async def _look(self, before: Inventory) -> list[Device]:
        try:
            return await _in_thread(self._find)
        except (OSError, ValueError) as error:
            log.warning("accelerators cannot be read", error=str(error))
            return list(before.values())

    async def looked(self) -> None:
        """Returns once it is known what is here, or a driver takes too long to tell."""
        await self._looked.wait()

    async def assigned(self, pod: Object, container: str) -> Assigned:
        """The devices of a container, given now where they have not been. Raises Unavailable."""
        await self.looked()
        present = frozenset(device.resource for device in self.found.values())
        if not is_asking(pod["spec"]):
            return Assigned(present=present)
        async with self._giving:
            allocation = await asyncio.to_thread(self._give, pod)
        ids = allocation.get(container, ())
        return Assigned(tuple(self.found[id_] for id_ in ids if id_ in self.found), present)

    def holders(self, id_: str) -> list[str]:
        """The uids of the pods that have a device."""
        return [uid for uid, ids in self._records() if id_ in ids]

    def _give(self, pod: Object) -> Allocation:
        path = self._pods_dir / uid_of(pod) / RECORD
        recorded = _read(path)
        if recorded:
            return recorded
        mine = uid_of(pod)
        others = (ids for uid, ids in self._records() if uid != mine and not self._is_over(uid))
        allocation = allocate(pod["spec"], self.found, frozenset().union(*others))
        write_atomically(path, json.dumps(allocation).encode())
        return allocation

    def _records(self) -> list[tuple[str, frozenset[str]]]:
        """By pod, whatever its containers have."""
        return [
            (path.parent.name, frozenset(id_ for ids in _read(path).values() for id_ in ids))
            for path in self._pods_dir.glob(f"*/{RECORD}")
        ]


def _read(path: Path) -> Allocation:
    """{} where there is none. A torn one cannot be: they are replaced in one step."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return record if isinstance(record, dict) else {}


async def _in_thread(find: Find) -> list[Device]:
    """What *find* gives, from a thread that does not outlive the program."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Device]] = loop.create_future()

    def deliver(result: list[Device] | Exception) -> None:
        if future.done():
            return
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    def work() -> None:
        result: list[Device] | Exception
        try:
            result = list(find())
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            result = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(deliver, result)

    threading.Thread(target=work, name="accelerators", daemon=True).start()
    return await future
