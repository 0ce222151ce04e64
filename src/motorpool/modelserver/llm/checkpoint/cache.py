"""Graphs that were built before, in a directory that pods share.

An entry is a directory, made under another name and renamed once it is whole. A lock beside it is
held exclusively by whoever builds or removes it, and shared from the look-up until the engine has
its files open; the kernel lets go of the locks of those who die.

An entry is not flushed to the disk, which would take longer than building it. It says on which
boot of the machine it was written: on another boot its checksum is compared first, so that what a
power loss tore is built again.
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from motorpool.modelserver.llm.contract import CheckpointError

FOLDER = "llm-graphs"
COMPLETE = "complete.json"  # of an entry; its time is when the entry was last asked for
BUILDING = ".building"
LOCK = ".lock"
READ_BYTES = 16 << 20

# Fills an empty directory, and returns the checksum of each large file in it.
Build = Callable[[Path], dict[str, int]]


@dataclass(slots=True)
class Entry:
    """A directory with a graph. `close` once its files are open."""

    directory: Path
    cached: bool  # it was there
    _lock: int | None = None

    def close(self) -> None:
        """What is not kept goes; its open files stay readable."""
        if self._lock is None:
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            os.close(self._lock)
            self._lock = None


def temporary(build: Build, size: int) -> Entry:
    """One that nobody else sees."""
    directory = Path(tempfile.mkdtemp(prefix="motorpool-graph-"))
    try:
        _check_room(directory, size)
        build(directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return Entry(directory, cached=False)


class Cache:
    """Raises OSError where its directory cannot be used."""

    def __init__(self, directory: Path, bytes_max: int) -> None:
        self._directory = directory / FOLDER
        self._bytes_max = bytes_max
        self._directory.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Entry | None:
        """What is there and whole."""
        lock = self._lock(key, fcntl.LOCK_SH)
        path = self._directory / key
        if not _whole(path):
            os.close(lock)
            return None
        with contextlib.suppress(OSError):  # a cache of another user's may be read all the same
            os.utime(path / COMPLETE)
        return Entry(path, cached=True, _lock=lock)

    def put(self, key: str, build: Build, size: int) -> Entry:
        """Built here, or meanwhile by another. *size* is in bytes."""
        if size > self._bytes_max:
            return temporary(build, size)
        lock = self._lock(key, fcntl.LOCK_EX)
        try:
            path = self._directory / key
            cached = _whole(path)
            if not cached:
                self._make_room(size, keep=key)
                self._build(path, build, size)
            # From exclusive to shared, without a moment in between for one who removes.
            fcntl.flock(lock, fcntl.LOCK_SH)
        except BaseException:
            os.close(lock)
            raise
        return Entry(path, cached=cached, _lock=lock)

    def _build(self, path: Path, build: Build, size: int) -> None:
        unfinished = path.with_name(path.name + BUILDING)
        for old in (path, unfinished):
            shutil.rmtree(old, ignore_errors=True)
        unfinished.mkdir()
        try:
            _check_room(unfinished, size)
            checksums = build(unfinished)
            files = {
                file.name: {"size": file.stat().st_size, "crc32": checksums.get(file.name)}
                for file in unfinished.iterdir()
            }
            about = {"boot": _boot(), "files": files}
            (unfinished / COMPLETE).write_text(json.dumps(about))
            unfinished.rename(path)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise

    def _make_room(self, size: int, keep: str) -> None:
        """Removes those that were not asked for the longest, and what builders left that died."""
        entries = sorted(self._entries(), key=lambda entry: entry[0])
        total = sum(entry[1] for entry in entries)
        for _, taken, path in entries:
            unfinished = path.name.endswith(BUILDING)
            if total + size <= self._bytes_max and not unfinished:
                continue
            key = path.name.removesuffix(BUILDING)
            if key != keep and self._remove(key, path):
                total -= taken

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._directory.iterdir():
            if path.suffix == LOCK:
                continue
            try:
                taken = sum(file.stat().st_size for file in path.iterdir())
                complete = path / COMPLETE
                used = complete.stat().st_mtime if complete.exists() else 0.0
            except OSError:
                continue  # gone meanwhile, or none of ours
            yield used, taken, path

    def _remove(self, key: str, path: Path) -> bool:
        try:
            lock = self._lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False  # in use
        try:
            # First what makes it whole: a reader must never find half of an entry.
            (path / COMPLETE).unlink(missing_ok=True)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            return False
        finally:
            os.close(lock)
        return True

    def _lock(self, key: str, kind: int) -> int:
        path = self._directory / f"{key}{LOCK}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, kind)
        except BaseException:
            os.close(file)
            raise
        return file


def _whole(path: Path) -> bool:
    try:
        about: dict[str, Any] = json.loads((path / COMPLETE).read_bytes())
        files: dict[str, dict[str, Any]] = about["files"]
        if any((path / name).stat().st_size != file["size"] for name, file in files.items()):
            return False
        if about["boot"] == _boot():
            return True
        for name, file in files.items():
            if file["crc32"] is not None and _checksum(path / name) != file["crc32"]:
                return False
        _write_atomically(path / COMPLETE, json.dumps({**about, "boot": _boot()}))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return True


def _write_atomically(path: Path, text: str) -> None:
    other = path.with_name(f".{path.name}.{os.getpid()}")
    other.write_text(text)
    other.replace(path)


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while piece := file.read(READ_BYTES):
            value = crc32(piece, value)
    return value


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _check_room(directory: Path, size: int) -> None:
    free = shutil.disk_usage(directory).free
    if free < size:
        raise CheckpointError(
            f"{directory.parent} has {free >> 20} MB free and the graph needs {size >> 20} MB; "
            "give MOTORPOOL_CACHE_DIR or TMPDIR a larger volume, or ask for fewer bits with "
            "--quantization int8 or int4"
        )
