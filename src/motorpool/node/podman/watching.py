"""When a container ends: its process is watched, podman is asked how.

Rules: a descriptor of the process tells at once and costs nothing until then; a look at all of them
every `RESYNC_S` finds what was missed. That the kernel killed for want of memory is read from the
container's control group in the moment of its end, for podman does not always know.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from motorpool.node.podman.observed import oom_kills
from motorpool.node.podman.processes import Process

CGROUPS = Path("/sys/fs/cgroup")


class Watched:
    """The process of one run."""

    def __init__(self, process: Process, ended: Callable[[bool], None]) -> None:
        """*ended* is called once, with whether the kernel has killed in it."""
        self._cgroup = process.cgroup
        self._ended = ended
        self._descriptor = -1
        loop = asyncio.get_running_loop()
        try:
            self._descriptor = os.pidfd_open(process.pid)
            # Whose it is can be asked only now that the pid cannot become another's unseen.
            if not process.is_alive():
                raise ProcessLookupError
            loop.add_reader(self._descriptor, self._readable)
        except ProcessLookupError:
            self.close()
            loop.call_soon(ended, False)
        except OSError:
            self.close()  # Not permitted here: the next look finds it.

    def _readable(self) -> None:
        self.close()
        self._ended(self._was_out_of_memory())

    def _was_out_of_memory(self) -> bool:
        path = self._cgroup.lstrip("/")
        for file in (
            CGROUPS / "memory" / path / "memory.oom_control", CGROUPS / path / "memory.events",
        ):  # fmt: skip
            with contextlib.suppress(OSError):
                if path and oom_kills(file.read_text()):
                    return True
        return False

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


async def until(
    condition: Callable[[], Awaitable[bool]], *, first_s: float = 0.01, most_s: float = 1.0,
    timeout_s: float = 30.0,
) -> bool:  # fmt: skip
    """Asks at growing distances. False: not in time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    delay_s = first_s
    while not await condition():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(delay_s)
        delay_s = min(most_s, delay_s * 1.5)
    return True
