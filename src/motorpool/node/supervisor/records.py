"""What is known about one pod process, kept on disk: ``pods/UID/run/CONTAINER.N.json``.

Rules: a record is written when the process has started and again when it has ended; it is deleted
when the agent says that it has taken note (`forget`). A record whose boot is not this one
describes a process that is gone, whatever runs under its pid now.
"""

import json
import os
from pathlib import Path
from typing import Any

from motorpool.base.processes import ProcessIdentity, identity_of


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class Record:
    """One run of one container. *id* is ``UID/CONTAINER/N``."""

    __slots__ = (
        "adopted", "boot", "exit_code", "finished_at", "forked", "grace_s", "groups", "id",
        "oom_killed", "pid", "pods_dir", "signal", "start_ticks", "started_at",
    )  # fmt: skip

    def __init__(self, pods_dir: Path, id_: str) -> None:
        self.pods_dir = pods_dir
        self.id = id_
        self.pid = 0
        self.start_ticks = 0
        self.boot = ""
        self.started_at = 0.0  # seconds since the epoch
        self.finished_at = 0.0  # 0 while it runs
        self.exit_code: int | None = None
        self.signal: int | None = None
        self.grace_s = 30.0
        self.forked = False
        self.adopted = False
        self.groups: list[str] = []  # the directories of its control groups
        self.oom_killed = False  # the kernel has killed in them for want of memory

    @property
    def directory(self) -> Path:
        return self.pods_dir / self.id.split("/")[0] / "run"

    @property
    def stem(self) -> str:
        _, container, number = self.id.split("/")
        return f"{container}.{number}"

    @property
    def path(self) -> Path:
        return self.directory / f"{self.stem}.json"

    @property
    def log_path(self) -> Path:
        pod, container, number = self.id.split("/")
        return self.pods_dir / pod / "logs" / container / f"{number}.log"

    def pipe_path(self, stream: str) -> Path:
        return self.directory / f"{self.stem}.{stream}"

    def note_start(self, pid: int, started_at: float, *, forked: bool) -> None:
        self.pid = pid
        # A process that is gone already has no identity left; its exit follows at once.
        identity = identity_of(pid)
        self.start_ticks = identity.start_ticks if identity else 0
        self.boot = boot_id()
        self.started_at = started_at
        self.forked = forked
        self.save()

    def note_exit(self, exit_code: int | None, signal: int | None, finished_at: float) -> None:
        """Both None: how it ended is not known."""
        self.exit_code, self.signal, self.finished_at = exit_code, signal, finished_at
        self.save()

    def is_alive(self, this_boot: str) -> bool:
        """Whether the process that this record was written for still runs."""
        if self.finished_at or self.boot != this_boot or not self.start_ticks:
            return False
        return identity_of(self.pid) == ProcessIdentity(self.pid, self.start_ticks)

    def save(self) -> None:
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.to_json()))
        temporary.replace(self.path)

    def forget(self) -> None:
        for path in (self.path, *map(self.pipe_path, ("stdin", "stdout", "stderr"))):
            path.unlink(missing_ok=True)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "pods_dir"}


def load(pods_dir: Path) -> list[Record]:
    """Every readable record. A torn one cannot be: they are replaced in one step."""
    records = []
    for path in sorted(pods_dir.glob("*/run/*.json")):
        try:
            content = json.loads(path.read_text())
            record = Record(pods_dir, str(content["id"]))
            for name in Record.__slots__:
                if name in content and name != "id":
                    setattr(record, name, content[name])
        except (OSError, ValueError, KeyError, TypeError):
            os.write(2, f"unreadable record {path}: left alone\n".encode())
            continue
        records.append(record)
    return records
