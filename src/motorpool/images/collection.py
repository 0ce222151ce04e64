"""Which images are removed when the disk fills up. Pure.

Rules: nothing goes while the disk is at most 85 % full; then images that nothing uses, the longest
unused first, until what is left would fill 80 %. Never: what is in use, what came or was used a
moment ago, and what was built here and is at no registry, since it could not come back. What an
image frees is what no other image needs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

USED_HIGH, USED_LOW = 0.85, 0.80
AGE_LEAST_S = 120.0
"""Whoever has pulled an image is given so long to begin to use it."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, as `df` shows it."""

    used_bytes: int
    available_bytes: int
    files_free: int = 0  # inodes that can still be used
    files: int = 0  # 0: this file system does not count them

    @property
    def total_bytes(self) -> int:
        """What the user of this process can have of it."""
        return self.used_bytes + self.available_bytes

    @property
    def used_share(self) -> float:
        return self.used_bytes / self.total_bytes if self.total_bytes else 1.0


@dataclass(frozen=True, slots=True)
class Stored:
    """One image, whatever it is called."""

    digest: str
    used_at: float  # when it was last, or came
    layers: Mapping[str, int]  # digest -> bytes on the disk
    is_used: bool = False
    is_only_here: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    references: list[str]  # what is no longer here
    freed_bytes: int


def excess_bytes(disk: Disk) -> int:
    """How much has to go; 0 while there is room."""
    if disk.used_share <= USED_HIGH:
        return 0
    return disk.used_bytes - int(disk.total_bytes * USED_LOW)


def chosen(images: Iterable[Stored], wanted_bytes: int, now: float) -> list[Stored]:
    """What to remove to free so much, as far as possible; the first to go first."""
    images = list(images)
    needed: dict[str, int] = {}  # layer -> how many images have it
    for image in images:
        for layer in image.layers:
            needed[layer] = needed.get(layer, 0) + 1
    found: list[Stored] = []
    for image in sorted(filter(lambda one: _may_go(one, now), images), key=lambda i: i.used_at):
        if wanted_bytes <= 0:
            break
        found.append(image)
        for layer, size_bytes in image.layers.items():
            needed[layer] -= 1
            wanted_bytes -= 0 if needed[layer] else size_bytes
    return found


def _may_go(image: Stored, now: float) -> bool:
    return not (image.is_used or image.is_only_here) and now - image.used_at >= AGE_LEAST_S
