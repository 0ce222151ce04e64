"""One process per directory: a lock that the kernel lets go of however its holder dies."""

import fcntl
import os
from pathlib import Path


class Locked(Exception):
    """Another process holds the lock; `pid` is what it wrote there, 0 where it wrote nothing."""

    def __init__(self, path: Path, pid: int) -> None:
        super().__init__(f"{path} is locked" + (f" by process {pid}" if pid else ""))
        self.pid = pid


class LockFile:
    def __init__(self, path: Path, *, notes_pid: bool = True) -> None:
        """Takes the lock. Raises Locked, OSError; without *notes_pid* a full disk is no matter."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held_by = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise Locked(path, int(held_by) if held_by.isdigit() else 0) from None
        os.ftruncate(self._descriptor, 0)
        if notes_pid:
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def holder_of(path: Path) -> int | None:
    """The pid of the process that holds the lock; None where nobody does."""
    try:
        lock = LockFile(path, notes_pid=False)
    except Locked as locked:
        return locked.pid
    except FileNotFoundError:
        return None
    lock.release()
    return None
