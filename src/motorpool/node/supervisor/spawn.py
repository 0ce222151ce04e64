"""How a pod process comes to life: its session, streams, directory and signals.

`become` is shared with the fork server, so that an executed and a forked process differ in nothing.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn


def become(cwd: str, stdout: Path, stderr: Path) -> None:
    """Makes the calling process the leader of a new session on those streams. Raises OSError.

    The pipes are opened for reading and writing: while the process holds a reader itself, its
    writes can wait but never fail.
    """
    os.setsid()
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    for target, path in ((1, stdout), (2, stderr)):
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        os.dup2(descriptor, target)
        os.close(descriptor)
    os.chdir(cwd)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)


def execute(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, stdout: Path, stderr: Path
) -> int:
    """Starts a program and gives its pid. Raises OSError where it cannot be executed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _exec(argv, env, cwd, (stdout, stderr), writing)
    os.close(writing)
    with open(reading, "rb") as failed:  # noqa: PTH123 - a descriptor
        report = failed.read().decode()
    if report:
        os.waitpid(pid, 0)
        number, _, what = report.partition(" ")
        raise OSError(int(number), os.strerror(int(number)), what)
    return pid


def _exec(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    streams: tuple[Path, Path],
    report: int,
) -> NoReturn:
    try:
        become(cwd, *streams)
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        os.write(report, f"{error.errno} {error.filename or argv[0]}".encode())
    finally:
        os._exit(127)
