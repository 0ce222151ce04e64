"""How a pod process comes to life: its session, streams, directory and signals.

`begin` and `become` are shared with the fork server, so that an executed and a forked process
differ in nothing.
"""

import fcntl
import os
import signal
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from motorpool.node.supervisor.groups import join


def begin(groups: Sequence[str]) -> None:
    """Makes the calling process the leader of a new session, inside its control groups.

    Raises OSError. Nobody may be told of the process before: signals go to its session.
    """
    join(groups)
    os.setsid()


def become(
    cwd: str, stdout: Path, stderr: Path, stdin: Path | None = None, terminal: int = -1
) -> None:  # fmt: skip
    """Gives the calling process, which leads a session, its streams. Raises OSError.

    With *terminal*, a descriptor, that is its controlling terminal and all its streams.

    The pipes are opened for reading and writing: while the process holds a reader itself, its
    writes can wait but never fail.
    """
    if terminal >= 0:
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        for target in (0, 1, 2):
            os.dup2(terminal, target)
    else:
        _open_as(0, stdin or Path(os.devnull), os.O_RDONLY)
        _open_as(1, stdout, os.O_RDWR | os.O_APPEND)
        _open_as(2, stderr, os.O_RDWR | os.O_APPEND)
    os.chdir(cwd)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)


def _open_as(target: int, path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    os.dup2(descriptor, target)
    os.close(descriptor)


def execute(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    outputs: tuple[Path, Path],
    stdin: Path | None = None,
    terminal: int = -1,
    groups: Sequence[str] = (),
) -> int:
    """Starts a program and gives its pid. Raises OSError where it cannot be executed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            begin(groups)
            become(cwd, *outputs, stdin, terminal)
            _exec(argv, env)
        except OSError as error:
            os.write(writing, f"{error.errno} {error.filename or argv[0]}".encode())
        finally:
            os._exit(127)
    os.close(writing)
    with open(reading, "rb") as failed:  # noqa: PTH123 - a descriptor
        report = failed.read().decode()
    if report:
        os.waitpid(pid, 0)
        number, _, what = report.partition(" ")
        raise OSError(int(number), os.strerror(int(number)), what)
    return pid


def _exec(argv: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    os.execvpe(argv[0], list(argv), dict(env))
