"""The directory that everything here is for: once it is gone, so is the reason to run.

Whoever outlives the control plane besides writes ``run/NAME.json`` with its pid and start time, as
Envoy's does. They cannot see for themselves that their directory was deleted, so they are ended
from here. It is looked at rarely, and two calls of stat(2) are all that it costs.
"""

import json
import os
import signal
import time
from pathlib import Path

from motorpool.base.datadir import identity_of, memory_root
from motorpool.base.processes import ProcessIdentity, is_alive

PERIOD_S = 5.0


class DataDirectory:
    def __init__(self, data_dir: Path) -> None:
        self._pods = data_dir / "pods"
        self._run = data_dir / "run"
        self._identity = identity_of(self._pods)
        self._memory = memory_root(data_dir)
        self._stamp: tuple[int, int] | None = None
        self._companions: list[ProcessIdentity] = []
        self.next_look = time.monotonic()

    def is_gone(self, now: float) -> bool:
        """Deleted, or another directory by now. Looks once in a period, and notes who runs here."""
        if now < self.next_look:
            return False
        self.next_look = now + PERIOD_S
        # Without records nobody could ever take the pods over.
        if self._identity is None or identity_of(self._pods) != self._identity:
            return True
        stamp = _stamp(self._run)
        if stamp is not None and stamp != self._stamp:
            self._stamp = stamp
            self._companions = _companions(self._run)
        return False

    def has_companions(self) -> bool:
        """Whether anybody else of this directory runs."""
        return any(is_alive(companion) for companion in self._companions)

    def end_companions(self) -> None:
        for companion in self._companions:
            if is_alive(companion):
                os.kill(companion.pid, signal.SIGTERM)

    def clear(self) -> None:
        """Removes what is kept in memory: once nothing runs, nobody gives it back."""
        import shutil

        shutil.rmtree(self._memory, ignore_errors=True)


def _companions(run_dir: Path) -> list[ProcessIdentity]:
    found = []
    for path in run_dir.glob("*.json"):
        try:
            record = json.loads(path.read_text())
            found.append(ProcessIdentity(int(record["pid"]), int(record["start_ticks"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # Of another kind.
    return found


def _stamp(path: Path) -> tuple[int, int] | None:
    """Changes whenever a file in the directory is replaced."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
