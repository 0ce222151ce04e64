"""Archives of models, unpacked without harm: nothing lands outside, and nothing without bound.

Files are written into a fresh directory first, links made last, each checked to stay inside; only
then does the content move to its place. Devices and pipes are refused by name.
"""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from motorpool.storage.errors import StorageError
from motorpool.storage.transfer import BLOCK, safe_path, size_text

ENTRIES_MAX = 100_000
PATH_MAX = 4096
RATIO_MAX = 200  # weights hardly compress; only bombs do so well
ALWAYS_ALLOWED = 256 << 20
ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
TYPES = {
    "application/zip": ".zip", "application/x-zip-compressed": ".zip",
    "application/zip-compressed": ".zip", "application/x-zip": ".zip",
    "application/x-tar": ".tar", "application/x-gtar": ".tar", "application/gzip": ".tar.gz",
    "application/x-gzip": ".tar.gz", "application/x-compressed": ".tar.gz",
    "application/x-compressed-tar": ".tar.gz",
}  # fmt: skip


def is_archive(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def unpack(archive: Path, destination: Path, name: str) -> int:
    """Moves the content of *archive* into *destination*; gives its bytes. Raises StorageError."""
    fresh = destination / f".{archive.name}.unpacking"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    most = max(ALWAYS_ALLOWED, archive.stat().st_size * RATIO_MAX)
    writer = _Writer(fresh, name, min(most, shutil.disk_usage(destination).free))
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, writer)
        else:
            _unpack_tar(archive, writer)
        writer.link()
        _move(fresh, destination)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise StorageError(f"{name} is no sound archive ({error}): upload it anew") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return writer.written


class _Writer:
    def __init__(self, root: Path, name: str, most: int) -> None:
        self._root = root
        self.name = name
        self._most = most
        self._links: list[tuple[PurePosixPath, str, bool]] = []
        self._entries = 0
        self.written = 0

    def enter(self, path: str) -> PurePosixPath:
        self._entries += 1
        if self._entries > ENTRIES_MAX:
            raise StorageError(f"{self.name} has more than {ENTRIES_MAX} entries: repack the model")
        try:
            return safe_path(path.removeprefix("./") or ".")
        except StorageError:
            raise StorageError(
                f"{self.name}: entry {path!r} would be written outside of the model's directory: "
                "repack the archive"
            ) from None

    def directory(self, path: PurePosixPath) -> None:
        (self._root / path).mkdir(parents=True, exist_ok=True)

    def file(self, path: PurePosixPath, content: IO[bytes]) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            while block := content.read(BLOCK):
                self.written += len(block)
                if self.written > self._most:
                    raise StorageError(
                        f"{self.name} unpacks to more than {size_text(self._most)}: make room, "
                        "or repack the model with less compression"
                    )
                file.write(block)

    def later(self, path: PurePosixPath, target: str, *, hard: bool) -> None:
        self._links.append((path, target, hard))

    def link(self) -> None:
        """Makes the links, each of which must end inside."""
        made = []
        for path, target, hard in self._links:
            place = self._root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            if hard:
                source = self._root / safe_path(target)
                self._check_inside(source, path)
                os.link(source, place, follow_symlinks=False)
            else:
                place.symlink_to(target)
                made.append((place, path))
        for place, path in made:
            self._check_inside(place, path)

    def _check_inside(self, place: Path, path: PurePosixPath) -> None:
        absolute = place.is_symlink() and place.readlink().is_absolute()
        inside = Path(os.path.realpath(place)).is_relative_to(os.path.realpath(self._root))
        if absolute or not inside:
            raise StorageError(
                f"{self.name}: link {path} leads out of the model's directory: "
                "repack the archive with the files themselves"
            )


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            path = writer.enter(entry.filename)
            mode = entry.external_attr >> 16
            if entry.is_dir():
                writer.directory(path)
            elif entry.flag_bits & 1:
                raise StorageError(f"{writer.name} is encrypted: upload it without a password")
            elif stat.S_ISLNK(mode):
                with opened.open(entry) as content:
                    target = content.read(PATH_MAX).decode("utf-8", "replace")
                writer.later(path, target, hard=False)
            else:
                with opened.open(entry) as content:
                    writer.file(path, content)


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    with tarfile.open(archive) as opened:
        for entry in _entries(opened):
            path = writer.enter(entry.name)
            if entry.isdir():
                writer.directory(path)
            elif entry.issym() or entry.islnk():
                writer.later(path, entry.linkname, hard=entry.islnk())
            elif entry.isreg():
                with cast("IO[bytes]", opened.extractfile(entry)) as content:
                    writer.file(path, content)
            else:
                raise StorageError(f"{archive.name}: entry {entry.name} is neither file, directory "
                                   "nor link: repack the archive without it")  # fmt: skip


def _entries(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for entry in opened:
        if entry.name.strip("./"):
            yield entry


def _move(source: Path, destination: Path) -> None:
    """Moves what is in *source*; directories that are there are merged, files replaced."""
    for entry in source.iterdir():
        there = destination / entry.name
        if entry.is_dir() and not entry.is_symlink() and there.is_dir() and not there.is_symlink():
            _move(entry, there)
            continue
        if there.is_dir() and not there.is_symlink():
            shutil.rmtree(there)
        entry.replace(there)
