"""Keeps the disk from filling up with images, and sees what the machine runs short of.

Each look measures; what follows from it is decided in `images/collection.py` and `pressure.py`.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import structlog

from motorpool.api.meta import Object
from motorpool.base.clock import Clock
from motorpool.images.collection import Collected, Disk, excess_bytes
from motorpool.images.errors import ImageError
from motorpool.loop.events import EventRecorder
from motorpool.node.pressure import Machine, Pressures, event_reason, pressures, size
from motorpool.node.volumes import Images

log = structlog.get_logger(__name__)

PERIOD_S = 5.0
COLLECT_PERIOD_S = 300.0
"""So long after a collection in vain nobody looks through the images again."""
NAMES_MAX = 5

Measure: TypeAlias = Callable[[], Machine]


def measured(path: Path) -> Machine:
    """This machine now. *path* is on the disk that matters."""
    found = os.statvfs(path)
    disk = Disk(
        used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize,
        available_bytes=found.f_bavail * found.f_frsize,
        files_free=found.f_favail,
        files=found.f_files,
    )
    memory = Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]
    threads = Path("/proc/loadavg").read_text().split()[3].split("/")[1]
    most = Path("/proc/sys/kernel/pid_max").read_text()
    return Machine(disk, str(path), int(memory) * 1024, int(threads), int(most))


class Housekeeping:
    """*changed* is called when something begins to press, or ends."""

    def __init__(
        self,
        images: Images,
        events: EventRecorder,
        clock: Clock,
        node: Object,
        measure: Measure,
        changed: Callable[[], None],
    ) -> None:
        self.pressures = Pressures()
        self._images = images
        self._events = events
        self._clock = clock
        self._node = node
        self._measure = measure
        self._changed = changed
        self._collect_at = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except (OSError, ValueError, IndexError) as error:
                log.warning("the machine cannot be measured", error=str(error))
            await asyncio.sleep(PERIOD_S)

    async def look(self) -> None:
        """Once: measures, collects what has to go, and tells what presses then."""
        machine = await asyncio.to_thread(self._measure)
        now = self._clock().timestamp()
        wanted_bytes = excess_bytes(machine.disk)
        if wanted_bytes and now >= self._collect_at:
            await self._collect(machine.disk, wanted_bytes, now)
            machine = await asyncio.to_thread(self._measure)
        before, self.pressures = self.pressures, pressures(self.pressures, machine, now)
        if before.words.keys() != self.pressures.words.keys():
            for type_ in before.words.keys() ^ self.pressures.words.keys():
                self._tell(type_)
            self._changed()

    async def _collect(self, disk: Disk, wanted_bytes: int, now: float) -> None:
        try:
            done = await asyncio.to_thread(self._images.collect, wanted_bytes, now)
        except (ImageError, OSError) as error:
            log.warning("images not collected", error=str(error))
            done = Collected([], 0)
        if done.references:
            first = ", ".join(done.references[:NAMES_MAX])
            more = len(done.references) - NAMES_MAX
            listed = f"{first} and {more} more" if more > 0 else first
            message = f"Removed images that nothing used, {size(done.freed_bytes)}: {listed}"
            self._record("Normal", "ImagesCollected", message)
        if done.freed_bytes >= wanted_bytes:
            return
        self._collect_at = now + COLLECT_PERIOD_S
        message = (
            f"Failed to garbage collect required amount of images. Attempted to free "
            f"{wanted_bytes} bytes, but only found {done.freed_bytes} bytes eligible to free. "
            f"The disk is {disk.used_share:.0%} full: make room there, or remove models that were "
            "built here with `motorpool modelcar rm`"
        )
        self._record("Warning", "ImageGCFailed", message)

    def _tell(self, type_: str) -> None:
        pressing = type_ in self.pressures.words
        reason = event_reason(type_, pressing=pressing)
        message = f"Node {self._node['metadata']['name']} status is now: {reason}"
        if pressing:
            message += f": {self.pressures.words[type_]}"
        self._record("Warning" if pressing else "Normal", reason, message)

    def _record(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._events.record(self._node, type_, reason, message, component="kubelet")
