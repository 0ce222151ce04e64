"""Where everything that Motorpool keeps lives; one rule for every verb."""

import binascii
import os
from pathlib import Path

TMPFS = Path("/dev/shm")


def data_dir(option: str | None) -> Path:
    """*option*, else $MOTORPOOL_DATA_DIR, else motorpool/ in $XDG_DATA_HOME or ~/.local/share."""
    chosen = option or os.environ.get("MOTORPOOL_DATA_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    # The XDG rules say that a relative path there is to be ignored.
    shared = os.environ.get("XDG_DATA_HOME", "")
    parent = Path(shared) if shared.startswith("/") else Path.home() / ".local" / "share"
    return parent / "motorpool"


def digest_of(directory: Path) -> str:
    """What names things outside of a data directory as belonging to it.

    Short, and made without hashlib, which costs the pod supervisor a quarter of its memory.
    """
    return f"{binascii.crc32(os.fsencode(directory.resolve())):08x}"


def memory_root(directory: Path, tmpfs: Path = TMPFS) -> Path:
    """Where a data directory keeps what is to be in memory; made by who needs it."""
    return tmpfs / f"motorpool-{digest_of(directory)}"


def identity_of(directory: Path) -> tuple[int, int] | None:
    """Another one for another directory of the same name; None where there is none."""
    try:
        stat = directory.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
