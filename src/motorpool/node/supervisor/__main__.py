"""Starts a supervisor in the background; returns once it listens.

Exit codes: 0 it listens, or another one does; 1 it could not start, for the reason on stderr.
"""

import ctypes
import fcntl
import os
import resource
import sys
from pathlib import Path

from motorpool.node.supervisor import protocol
from motorpool.node.supervisor.loop import Supervisor

PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] != "--data-dir":
        sys.stderr.write("usage: python -m motorpool.node.supervisor --data-dir DIR\n")
        return 64
    data_dir = Path(sys.argv[2]).resolve()
    (data_dir / "run").mkdir(parents=True, exist_ok=True)
    (data_dir / "pods").mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    if os.fork() > 0:
        os.close(writing)
        with open(reading, "rb") as answer:  # noqa: PTH123 - a descriptor
            report = answer.read().decode()
        if report != "ready":
            sys.stderr.write(f"the pod supervisor could not start: {report or 'it died'}\n")
        return 0 if report == "ready" else 1
    os.close(reading)
    try:
        _supervise(data_dir, writing)
    except OSError as error:
        os.write(writing, str(error).encode())
        raise
    return 0


def _supervise(data_dir: Path, ready: int) -> None:
    os.setsid()
    lock = os.open(data_dir / "run" / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.write(ready, b"ready")  # Another one serves this directory.
        os._exit(0)
    _detach(data_dir)
    _become_subreaper()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    supervisor = Supervisor(data_dir)
    listener = protocol.listen(data_dir)
    os.write(ready, b"ready")
    os.close(ready)
    supervisor.run(listener)
    protocol.socket_path(data_dir).unlink(missing_ok=True)


def _detach(data_dir: Path) -> None:
    """Leaves the directory and the streams of whoever started it."""
    os.chdir("/")
    log = os.open(data_dir / "run" / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.close(null)


def _become_subreaper() -> None:
    """Orphans of the processes below become our children: we are the init of our pods."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


if __name__ == "__main__":
    sys.exit(main())
