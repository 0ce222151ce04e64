"""A directory with a model becomes an image: no container engine, the same digest everywhere.

Rules:
  1. `plan_layers` decides (pure), `build` copies and hashes.
  2. Layers are uncompressed: weights hardly shrink (a few percent for fp16), while gzip would cap
     build, push and pull at some 50 and 300 MB/s where hashing does 2,000.
  3. Each large file is its own layer, so that it is pulled in parallel with others and shared with
     the next version of the model that only changed its tokenizer.
  4. Files are copied first and then hashed from the copy: a model that is still being written
     gives a consistent image or an error, never a digest of something else.
"""

import os
import stat
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path, PurePosixPath

from motorpool.images import trees
from motorpool.images.cancellation import Cancellation
from motorpool.images.content import Content
from motorpool.images.errors import ImageError, RefusedContent
from motorpool.images.layer import (
    Flusher,
    LayerEntry,
    LayerRecord,
    LayerWriter,
    write_record,
)
from motorpool.images.manifest import OCI_LAYER, Descriptor, Manifest, image_of
from motorpool.images.tar import DIRECTORY, END, FILE, SYMLINK, TarEntry, header, padding

LARGE_FILE_BYTES = 64 << 20
LAYERS_MAX = 64  # overlay filesystems stop at about 128
PARALLEL_LAYERS = 4


@dataclass(frozen=True, slots=True)
class Source:
    """A file, directory or link to pack, and where it will be in the image."""

    entry: TarEntry
    path: Path


def find_sources(directory: Path) -> list[Source]:
    """What *directory* holds, sorted. Raises ImageError for what cannot be packed."""
    if not directory.is_dir():
        raise ImageError(f"'{directory}' is not a directory; give the one that holds the model")
    found: list[Source] = []
    try:
        root = _models_of(directory.resolve())
        for parent, directories, files in os.walk(root, onerror=_reraise):
            for name in (*directories, *files):
                path = Path(parent, name)
                found.append(Source(_entry(path, root), path))
    except OSError as error:
        raise ImageError(f"cannot read '{error.filename}': {error.strerror}") from error
    if not any(source.entry.kind == FILE for source in found):
        raise ImageError(f"'{directory}' holds no files; give the directory that holds the model")
    found.append(Source(TarEntry(trees.SERVED, DIRECTORY, 0o755), root))
    return sorted(found, key=lambda source: source.entry.path)


def plan_layers(sources: list[Source]) -> list[list[Source]]:
    """The small things together in the first layer, then one layer for each large file."""
    large = [source for source in sources if source.entry.size >= LARGE_FILE_BYTES]
    own = set(range(len(large)))
    layers = [[source for source in sources if source.entry.size < LARGE_FILE_BYTES]]
    bins: list[list[Source]] = [[] for _ in range(min(len(own), LAYERS_MAX - 1))]
    for source in sorted(large, key=lambda one: (-one.entry.size, one.entry.path)):
        min(bins, key=lambda files: sum(file.entry.size for file in files)).append(source)
    layers += sorted(
        (sorted(files, key=lambda one: one.entry.path) for files in bins),
        key=lambda files: files[0].entry.path,
    )
    return layers


@dataclass(slots=True)
class Build:
    """One run of `build`, and what all its layers need."""

    content: Content
    architecture: str
    epoch_s: int = 0  # SOURCE_DATE_EPOCH
    advance: Callable[[int], None] = lambda count: None
    expect: Callable[[int], None] = lambda total: None
    cancelled: Cancellation = field(default_factory=Cancellation)

    def run(self, directory: Path) -> Manifest:
        """Packs *directory* into the store; the caller holds `adding()` and names the result."""
        sources = find_sources(directory)
        check_tree(sources)
        self.expect(sum(source.entry.size for source in sources))
        parents = {one.entry.path: one for one in sources if one.entry.kind == DIRECTORY}
        layers = [_with_parents(layer, parents) for layer in plan_layers(sources)]
        with ThreadPoolExecutor(PARALLEL_LAYERS, thread_name_prefix="images-build") as pool:
            futures = [pool.submit(self._layer, layer) for layer in layers]
            try:
                packed = [future.result() for future in futures]
            except BaseException:
                self.cancelled.set()
                raise
        created = datetime.fromtimestamp(self.epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        diff_ids = [layer.digest for layer in packed]
        manifest, config = image_of(packed, diff_ids, self.architecture, created)
        self.content.add_blob(manifest.config.digest, config)
        self.content.add_blob(manifest.digest, manifest.raw)
        return manifest

    def _layer(self, sources: list[Source]) -> Descriptor:
        making = Path(tempfile.mkdtemp(dir=self.content.ingest, prefix="build-"))
        try:
            with Flusher() as flusher:
                writer = LayerWriter(making / "layer", flusher, self.cancelled)
                try:
                    digest, size = self._pack(writer, sources)
                    record = LayerRecord(digest, digest, size, writer.unpacked_bytes)
                finally:
                    writer.close()
            write_record(making / "layer", record)
            descriptor = Descriptor(OCI_LAYER, digest, size)
            self.content.add_layer(making / "layer", descriptor, self.cancelled)
        except OSError as error:
            raise ImageError(
                f"cannot pack '{error.filename or self.content.root}': {error.strerror}"
            ) from error
        finally:
            trees.remove(making)
        return descriptor

    def _pack(self, writer: LayerWriter, sources: list[Source]) -> tuple[str, int]:
        digest = sha256()
        size = 0

        def literal(raw: bytes) -> None:
            nonlocal size
            digest.update(raw)
            writer.literal(raw)
            size += len(raw)

        for source in sources:
            entry = replace(source.entry, mtime=self.epoch_s)
            literal(header(entry))
            line = LayerEntry(
                entry.path, entry.kind, entry.mode, entry.size, entry.target, writer.literals, -1
            )
            if entry.kind != FILE:
                writer.add(line, None)
                continue
            copied = 0
            for chunk in writer.add_copy(line, source.path):
                digest.update(chunk)
                copied += len(chunk)
                self.advance(len(chunk))
            if copied != entry.size:
                raise ImageError(f"'{source.path}' changed while it was packed; build again")
            size += copied
            literal(padding(copied))
        literal(END)
        return f"sha256:{digest.hexdigest()}", size


def check_tree(sources: list[Source]) -> None:
    """Refuses before the first byte is copied what would be refused when it is unpacked."""
    entries = (
        LayerEntry(one.entry.path, one.entry.kind, one.entry.mode, 0, one.entry.target, 0, 0)
        for one in sources
    )
    trees.plan([("", entries)])


def _with_parents(layer: list[Source], parents: dict[str, Source]) -> list[Source]:
    """A layer names its directories itself, so that no tool has to guess their modes."""
    paths = {source.entry.path for source in layer}
    needed = {
        str(parent)
        for path in paths
        for parent in PurePosixPath(path).parents
        if str(parent) in parents and str(parent) not in paths
    }
    return sorted(layer + [parents[path] for path in needed], key=lambda one: one.entry.path)


def _entry(path: Path, root: Path) -> TarEntry:
    name = f"{trees.SERVED}/{path.relative_to(root).as_posix()}"
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        target = path.readlink()
        # Not followed to its end: what a link to a link leads to is that link's own affair.
        if target.is_absolute() or not Path(os.path.normpath(path.parent / target)).is_relative_to(
            root
        ):
            raise RefusedContent(
                f"'{path}' is a symbolic link to '{target}', which leaves '{root}'; put the file "
                "in its place (`cp -rL` copies a directory so)"
            )
        return TarEntry(name, SYMLINK, 0o777, target=str(target))
    if stat.S_ISDIR(status.st_mode):
        return TarEntry(name, DIRECTORY, 0o755)
    if not stat.S_ISREG(status.st_mode):
        raise RefusedContent(
            f"'{path}' is a socket, a fifo or a device; an image of a model holds files only"
        )
    mode = 0o755 if status.st_mode & 0o111 else 0o644
    return TarEntry(name, FILE, mode, status.st_size)


def _models_of(directory: Path) -> Path:
    """A directory that holds nothing but `models/` is laid out as the image already."""
    children = list(directory.iterdir())
    inner = directory / trees.SERVED
    is_image_root = children == [inner] and inner.is_dir() and not inner.is_symlink()
    return inner if is_image_root else directory


def _reraise(error: OSError) -> None:
    raise error
