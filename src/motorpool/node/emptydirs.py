"""emptyDir volumes: where they are, what they may hold, and whether they hold more.

On disk they are in the Pod's own directory, those of ``medium: Memory`` on the machine's tmpfs
where it has one that can be written to. Nothing is mounted, so ``sizeLimit`` is not the size of a
file system: a Pod whose volume holds more is evicted, as on a cluster a Pod with one on disk is.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path

from motorpool.api.meta import Object, at
from motorpool.api.quantity import BadQuantity, parse
from motorpool.base.datadir import TMPFS, memory_root
from motorpool.node.seen import Verdict

BLOCK_BYTES = 512
MODE = 0o777  # inside a directory that is its owner's alone


def make(pod_dir: Path, name: str, source: Object, tmpfs: Path = TMPFS) -> Path:
    """The volume's directory. Raises OSError."""
    directory = pod_dir / "volumes" / name
    if source.get("medium") == "Memory" and os.access(tmpfs, os.W_OK | os.X_OK):
        directory = memory_directory(pod_dir, tmpfs) / name
        directory.parent.parent.mkdir(mode=0o700, exist_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(MODE)
    return directory


def memory_directory(pod_dir: Path, tmpfs: Path = TMPFS) -> Path:
    """Where a Pod's volumes in memory are; ``pods/UID`` of another data directory has another."""
    return memory_root(pod_dir.parent.parent, tmpfs) / pod_dir.name


def size_limits(pod: Object) -> dict[str, int]:
    """Volume -> bytes, of those that have a limit."""
    limits = {}
    for volume in at(pod, "spec", "volumes", default=None) or ():
        limit = at(volume, "emptyDir", "sizeLimit")
        try:
            amount = math.ceil(parse(limit)) if limit is not None else 0
        except BadQuantity:
            continue
        if amount > 0:
            limits[str(volume["name"])] = amount
    return limits


def used_bytes(directory: Path) -> int:
    """What is allocated below it; what goes away meanwhile does not count."""
    total = 0
    for root, directories, files in os.walk(directory):
        for name in (*directories, *files):
            try:
                total += os.lstat(f"{root}/{name}").st_blocks * BLOCK_BYTES
            except OSError:
                continue
    return total


def exceeded(pod: Object, used: Mapping[str, int]) -> Verdict | None:
    """Why the Pod is to be evicted, if it is."""
    for name, limit in size_limits(pod).items():
        if used.get(name, 0) > limit:
            written = next(
                at(volume, "emptyDir", "sizeLimit")
                for volume in pod["spec"]["volumes"]
                if volume["name"] == name
            )
            message = f'Usage of EmptyDir volume "{name}" exceeds the limit "{written}". '
            return Verdict("Evicted", message)
    return None
