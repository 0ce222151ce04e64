"""The local images table of a data directory: the shipped entries below the user's file.

``DATA_DIR/local-images.yaml`` is read again when it changes. A file that cannot be used is
reported, and the table stays as it was.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import yaml

from motorpool.node.llmengine import INSTALL, OURS, VLLM
from motorpool.node.localimages import (
    SHIPPED,
    Hit,
    LocalImage,
    TableError,
    find,
    hits,
    table_of,
)

FILE_NAME = "local-images.yaml"


class ImagesTable:
    def __init__(self, data_dir: Path, complain: Callable[[str], None]) -> None:
        self.path = data_dir / FILE_NAME
        self._complain = complain
        self._stamp: tuple[int, int, int] | None = None
        self._own: list[LocalImage] = []
        self.reload()

    def reload(self) -> bool:
        """Whether the file has changed since the last time and could be used."""
        stamp = self._stamp_of()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        if stamp is None:
            self._own = []
            return True
        try:
            self._own = table_of(yaml.safe_load(self.path.read_text()))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, TableError) as error:
            self._complain(f"{self.path}: {error}; the table stays as it was")
            return False
        return True

    def find(self, image: str) -> LocalImage | None:
        return find(image, self.entries(), is_importable)

    def hits(self, image: str) -> list[Hit]:
        """Every entry that matches, those that cannot stand in here included."""
        return list(hits(image, self.entries(), is_importable))

    def entries(self) -> list[LocalImage]:
        """In the order in which they count."""
        return [*self._own, *SHIPPED]

    def is_own(self, entry: LocalImage) -> bool:
        """Whether the user's file has it."""
        return any(entry is own for own in self._own)

    def missing(self, image: str) -> str:
        """Why nothing stands in for *image*, and the two ways out."""
        if any(hit.entry.engine for hit in self.hits(image)):
            return (
                f'Container image "{image}" needs an engine for language models on this machine: '
                f"{INSTALL[OURS]}, or {INSTALL[VLLM]}, or run it as a container (install podman)"
            )
        return (
            f'Container image "{image}" has no program on this machine: add an entry for it to '
            f"{self.path}, or run it as a container (install podman, or use a cluster)"
        )

    def forks(self) -> list[str]:
        """The modules that fork servers may be asked for."""
        return list(dict.fromkeys(entry.fork for entry in self.entries() if entry.fork))

    def _stamp_of(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def is_importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
