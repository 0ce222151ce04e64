"""Files from an origin into a directory: in parallel, resumed, verified.

A file that is there with the size and the time of its origin is that file: a download that runs
again moves nothing (the rule of rsync). One that broke off lies beside its place as
``.NAME.VERSION.part`` and goes on where it stopped, as long as the origin still has that version.
Nothing appears under its own name before it is complete and verified.
"""

import errno
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeAlias

from motorpool.base.backoff import Backoff
from motorpool.storage.errors import Interrupted, StorageError

RETRY = Backoff(first_s=0.2, most_s=5.0)
ATTEMPTS_MAX = 6  # in a row without a byte of progress
BLOCK = 1 << 20

FreeBytes: TypeAlias = Callable[[Path], int]


@dataclass(frozen=True, slots=True)
class Item:
    """One file at its origin."""

    path: str  # below the destination, with slashes
    address: str  # what the origin calls it
    size: int | None = None
    version: str = ""  # the same version has the same bytes
    modified_s: float | None = None
    digest: tuple[str, str] | None = None  # algorithm (sha256, md5, git) and its hex
    # Asked where the bytes have another digest: whether it is none of theirs after all.
    is_other: Callable[[], bool] | None = field(default=None, compare=False)


class Origin(Protocol):
    def read(self, item: Item, offset: int) -> Iterator[memoryview]:
        """The bytes from *offset* on. Raises Interrupted or StorageError.

        An origin that cannot start there raises `FromStart`.
        """
        ...


class FromStart(Exception):
    """This origin has no ranges, or has another version by now."""


@dataclass(slots=True)
class Progress:
    """How far the work is; shared by its threads."""

    total_bytes: int = 0
    done_bytes: int = 0
    files: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, count: int) -> None:
        with self.lock:
            self.done_bytes += count


def download(
    items: Sequence[Item],
    origin: Origin,
    destination: Path,
    *,
    workers: int,
    progress: Progress,
    free_bytes: FreeBytes | None = None,
) -> None:
    """Makes *destination* hold *items*. Raises StorageError."""
    targets = {item.path: _target(destination, item.path) for item in items}
    missing = [item for item in items if not _is_there(item, targets[item.path])]
    progress.files += len(items)
    progress.total_bytes += sum(item.size or 0 for item in items)
    progress.add(sum(item.size or 0 for item in items if item not in missing))
    _check_space(missing, targets, destination, free_bytes or _free_bytes)
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=max(1, min(workers, len(missing)))) as pool:
        jobs = [
            pool.submit(_Download(item, origin, targets[item.path], progress, stop).run)
            for item in missing
        ]
        try:
            wait(jobs, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
            for job in jobs:
                job.cancel()
    failures = [job.exception() for job in jobs if not job.cancelled() and job.exception()]
    for failure in sorted(failures, key=lambda f: isinstance(f, _Stopped)):
        if failure is not None:
            raise failure


class _Stopped(Exception):
    """Another file failed."""


class _Download:
    def __init__(
        self, item: Item, origin: Origin, target: Path, progress: Progress, stop: threading.Event
    ) -> None:
        self._item = item
        self._origin = origin
        self._target = target
        self._progress = progress
        self._stop = stop
        name = hashlib.sha256(f"{item.version} {item.size}".encode()).hexdigest()[:12]
        self._part = target.with_name(f".{target.name}.{name}.part")

    def run(self) -> None:
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._clear_others()
            self._receive()
            self._verify()
            self._settle()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageError(
                    f"no space left for {self._item.path} in {self._target.parent}: make room "
                    "there, or give the volume a larger disk"
                ) from error
            raise StorageError(f"{self._target}: {error.strerror or error}") from error

    def _clear_others(self) -> None:
        if self._part.exists() and not self._item.version:
            self._part.unlink()  # nothing says that the rest would fit to it
        for other in self._target.parent.glob(f".{_escaped(self._target.name)}.*.part"):
            if other != self._part:
                other.unlink()

    def _receive(self) -> None:
        furthest = self._size()
        self._progress.add(furthest)
        failures = 0
        while True:
            try:
                self._append()
                break
            except FromStart:
                self._progress.add(-self._size())
                self._part.unlink(missing_ok=True)
                problem = "it cannot be continued"
            except Interrupted as error:
                problem = str(error)
            failures = failures + 1 if self._size() <= furthest else 1
            furthest = max(furthest, self._size())
            if failures >= ATTEMPTS_MAX:
                raise StorageError(
                    f"{self._item.address}: {problem}, {failures} times in a row: see whether its "
                    "server answers from here; the next attempt goes on where this one stopped"
                )
            if self._stop.wait(RETRY.delay_s(failures)):
                raise _Stopped

    def _append(self) -> None:
        offset = self._size()
        if self._item.size is not None and offset >= self._item.size > 0:
            return
        with self._part.open("ab") as file:
            for block in self._origin.read(self._item, offset):
                if self._stop.is_set():
                    raise _Stopped
                file.write(block)
                self._progress.add(len(block))
        size = self._size()
        if self._item.size is not None and size < self._item.size:
            raise Interrupted(f"it ended after {size} of {self._item.size} bytes")

    def _verify(self) -> None:
        item = self._item
        size = self._size()
        if item.size is not None and size != item.size:
            self._part.unlink()
            raise StorageError(f"{item.address} has {size} bytes instead of {item.size}: try again")
        if item.digest is None:
            return
        algorithm, wanted = item.digest
        found = digest_of(self._part, algorithm)
        if found != wanted and not (item.is_other and item.is_other()):
            self._part.unlink()
            raise StorageError(
                f"{item.address} has the {algorithm} digest {found} instead of {wanted}: it was "
                "altered or damaged on its way; try again, or upload it anew"
            )

    def _settle(self) -> None:
        if self._target.is_dir() and not self._target.is_symlink():
            raise StorageError(f"{self._target} is a directory, and the model has a file there: "
                               "choose another path")  # fmt: skip
        if self._item.modified_s is not None:
            os.utime(self._part, (time.time(), self._item.modified_s))
        self._part.replace(self._target)

    def _size(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0


def digest_of(path: Path, algorithm: str) -> str:
    """The hex digest of a file; ``git`` is the name that git gives to its content."""
    hasher = hashlib.sha1 if algorithm == "git" else getattr(hashlib, algorithm)
    digest = hasher(usedforsecurity=False)
    if algorithm == "git":
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return str(digest.hexdigest())


def size_text(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def safe_path(path: str) -> PurePosixPath:
    """*path* as one below a directory. Raises StorageError where it leaves it."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in path:
        raise StorageError(
            f"the path {path!r} leaves the model's directory: rename it at its origin"
        )
    return pure


def _target(destination: Path, path: str) -> Path:
    target = destination / safe_path(path)
    for parent in target.relative_to(destination).parents:
        if (destination / parent).is_symlink() and parent.parts:
            raise StorageError(f"{destination / parent} is a link: remove it")
    return target


def _is_there(item: Item, target: Path) -> bool:
    if item.size is None or item.modified_s is None or target.is_symlink():
        return False
    try:
        stat = target.stat()
    except FileNotFoundError:
        return False
    return stat.st_size == item.size and abs(stat.st_mtime - item.modified_s) < 1


def _check_space(
    items: Sequence[Item], targets: dict[str, Path], destination: Path, free_bytes: FreeBytes
) -> None:
    """Fails before the first byte where the last one will not fit."""
    partial = sum(
        part.stat().st_size
        for item in items
        for part in targets[item.path].parent.glob(f".{_escaped(targets[item.path].name)}.*.part")
    )
    needed = sum(item.size or 0 for item in items) - partial
    free = free_bytes(destination)
    if needed > free:
        raise StorageError(
            f"the model needs {size_text(needed)} more in {destination}, which has "
            f"{size_text(free)} free: make room there, or give the volume a larger disk"
        )


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(path).free


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
