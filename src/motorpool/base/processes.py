"""Which process is which: a pid alone is reused, a pid with its start time is not."""

from pathlib import Path
from typing import NamedTuple


class ProcessIdentity(NamedTuple):
    pid: int
    start_ticks: int  # field 22 of /proc/PID/stat: clock ticks between boot and start


def identity_of(pid: int) -> ProcessIdentity | None:
    """The identity of a living process; None for one that is gone or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name stands in parentheses and may hold anything, parentheses included.
    fields = stat[stat.rindex(")") + 2 :].split()
    if fields[0] in ("Z", "X"):
        return None
    return ProcessIdentity(pid, int(fields[19]))


def is_alive(identity: ProcessIdentity) -> bool:
    return identity_of(identity.pid) == identity
