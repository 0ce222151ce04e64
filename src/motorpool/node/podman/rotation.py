"""The log files that conmon writes, rotated as the supervisor rotates its own.

A file that has become too long gets another name, and conmon is told through its control pipe to
begin a new one: what it writes in between is still in the old one.
"""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from motorpool.node.supervisor.logwriter import LOG_BYTES_MAX, LOG_FILES_MAX

REOPEN = b"2 0 0\n"


class LogFile(NamedTuple):
    path: Path
    control: Path
    """conmon's."""


def rotate(log: LogFile) -> bool:
    """Whether it was time to."""
    try:
        if log.path.stat().st_size <= LOG_BYTES_MAX:
            return False
        control = os.open(log.control, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # It has ended, or has written nothing.
    try:
        for number in range(LOG_FILES_MAX - 1, 0, -1):
            newer = Path(f"{log.path}.{number - 1}") if number > 1 else log.path
            with contextlib.suppress(FileNotFoundError):
                newer.replace(Path(f"{log.path}.{number}"))
        os.write(control, REOPEN)
    finally:
        os.close(control)
    return True
