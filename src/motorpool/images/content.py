"""The content store: what of which image is on this disk, shared by every process that asks.

    images/index.json            reference -> manifest digest
    images/blobs/sha256/HEX      manifests and configurations
    images/layers/HEX/           unpacked layers (`layer.py`)
    images/trees/HEX/            one read-only tree per manifest, hard links into layers
    images/leases/HEX.OWNER      this tree is in use; survives restarts of whoever wrote it
    images/made/HEX              this manifest was built here and is at no registry
    images/ingest/               what is being written; renamed into place when whole
    images/locks/                flock files

Rules:
  1. What stands in blobs, layers and trees is whole: it was flushed, then renamed.
  2. Whoever adds holds `content` shared from before the first byte until the index names it;
     whoever sweeps holds it exclusively. So a sweep never meets half an image.
  3. A manifest's file is as young as the last use of its image.
  4. The same layer or tree is made by one process at a time, under its own lock.
"""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from motorpool.base.atomicfile import write_atomically
from motorpool.images import trees
from motorpool.images.errors import Cancelled, ImageError
from motorpool.images.layer import LayerRecord, Limits, read_entries, read_record
from motorpool.images.manifest import Descriptor, Manifest, check_digest, parse_manifest

LOCK_POLL_S = 0.05
# Long enough to go on after a night, short enough that nobody looks for the lost space.
PARTIAL_KEPT_S = 24 * 3600.0


class Content:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.layers = root / "layers"
        self.trees = root / "trees"
        self.ingest = root / "ingest"
        self._blobs = root / "blobs" / "sha256"
        self._leases = root / "leases"
        self._made = root / "made"
        self._locks = root / "locks"

    def prepare(self) -> None:
        """Makes the directories. Raises ImageError where that is not allowed."""
        try:
            for path in (
                self._blobs, self.layers, self.trees, self.ingest, self._leases, self._made,
                self._locks,
            ):  # fmt: skip
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(
                f"cannot write to {self.root}: {error.strerror}; choose another --data-dir"
            ) from error

    # What is there.

    def references(self) -> dict[str, str]:
        """Reference -> manifest digest."""
        try:
            index: dict[str, str] = json.loads((self.root / "index.json").read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise ImageError(
                f"{self.root / 'index.json'} is damaged; remove it, then pull or build again"
            ) from error
        return index

    def index_age(self) -> int:
        """When the references last changed; 0 where there are none."""
        try:
            return (self.root / "index.json").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def manifest(self, digest: str) -> Manifest:
        raw = self.blob(digest)
        check_digest(raw, digest, "the stored manifest")
        return parse_manifest(raw)

    def blob(self, digest: str) -> bytes:
        """A manifest or a configuration. Raises FileNotFoundError."""
        return self._blob_path(digest).read_bytes()

    def has_blob(self, digest: str) -> bool:
        return self._blob_path(digest).exists()

    def layer(self, descriptor: Descriptor) -> LayerRecord | None:
        return read_record(self.layer_path(descriptor))

    def layer_path(self, descriptor: Descriptor) -> Path:
        return self.layers / descriptor.hex

    def tree_path(self, digest: str) -> Path:
        return self.trees / digest.removeprefix("sha256:")

    # What adds. Callers hold `adding()`.

    def add_blob(self, digest: str, content: bytes) -> None:
        if not self.has_blob(digest):
            write_atomically(self._blob_path(digest), content)

    def add_layer(self, made: Path, layer: Descriptor, cancelled: threading.Event) -> None:
        """Moves a whole layer into place; another's that came first is as good."""
        with self.lock(f"layer-{layer.hex}", cancelled):
            self.place_layer(made, layer)

    def place_layer(self, made: Path, layer: Descriptor) -> None:
        """As `add_layer`, for who holds the layer's lock."""
        if self.layer(layer) is None:
            made.rename(self.layer_path(layer))
            sync_directory(self.layers)

    def add_tree(self, manifest: Manifest, limits: Limits, cancelled: threading.Event) -> Path:
        """The manifest's tree, made now where it is not there; its layers are all there."""
        path = self.tree_path(manifest.digest)
        with self.lock(f"tree-{manifest.hex}", cancelled):
            if path.exists():
                return path
            planned = trees.plan(
                ((layer.hex, read_entries(self.layer_path(layer))) for layer in manifest.layers),
                limits,
            )
            making = self.ingest / f"tree-{manifest.hex}"
            trees.remove(making)  # a killed process left it
            try:
                trees.make(planned, making, self.layers)
                # A directory that is moved needs to be written for its new "..".
                making.chmod(0o755)
                making.rename(path)
                path.chmod(0o555)
                sync_directory(self.trees)
            except BaseException:
                trees.remove(making)
                raise
        return path

    def name(self, reference: str, digest: str | None) -> None:
        """*reference* is *digest* from now on; with None there is no such reference."""
        with self.lock("index", threading.Event()):
            index = self.references()
            if index.get(reference) == digest:
                return
            if digest is None:
                del index[reference]
            else:
                index[reference] = digest
            write_atomically(
                self.root / "index.json", json.dumps(index, indent=1, sort_keys=True).encode()
            )

    # Who uses what.

    def hold(self, digest: str, owner: str) -> None:
        if not owner or "/" in owner or owner.startswith("."):
            raise ValueError(f"'{owner}' cannot own a lease")
        write_atomically(self._lease_path(digest, owner), b"", sync=False)
        self._note_use(digest)

    def release(self, digest: str, owner: str) -> None:
        self._lease_path(digest, owner).unlink(missing_ok=True)
        self._note_use(digest)

    def used_at(self, digest: str) -> float:
        """When the image was last used, or came. Raises FileNotFoundError."""
        return self._blob_path(digest).stat().st_mtime

    def _note_use(self, digest: str) -> None:
        with suppress(FileNotFoundError):
            os.utime(self._blob_path(digest))

    def note_made(self, digest: str, made: bool) -> None:
        """Whether the image is only here. A store of an older version may lack the directory."""
        path = self._made / digest.removeprefix("sha256:")
        if made:
            write_atomically(path, b"")
        else:
            path.unlink(missing_ok=True)

    def is_made(self, digest: str) -> bool:
        return (self._made / digest.removeprefix("sha256:")).exists()

    def owners(self) -> dict[str, list[str]]:
        """Digest -> who holds its tree."""
        held: dict[str, list[str]] = {}
        if self._leases.exists():
            for path in sorted(self._leases.iterdir()):
                digest_hex, dot, owner = path.name.partition(".")
                if digest_hex and dot:
                    held.setdefault(f"sha256:{digest_hex}", []).append(owner)
        return held

    # Locks.

    @contextmanager
    def adding(self, cancelled: threading.Event) -> Iterator[None]:
        """While this is held nothing is swept. The first to come sweeps first."""
        self.prepare()
        self.sweep()
        with self.lock("content", cancelled, shared=True):
            yield

    @contextmanager
    def lock(
        self, name: str, cancelled: threading.Event, *, shared: bool = False
    ) -> Iterator[None]:
        descriptor = os.open(self._locks / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            while not _try_lock(descriptor, kind):
                # Polled, because a thread that waits in flock() cannot be told to stop.
                if cancelled.wait(LOCK_POLL_S):
                    raise Cancelled
            yield
        finally:
            os.close(descriptor)

    def sweep(self) -> int | None:
        """Removes what no reference and no lease needs; the bytes freed. None when others add."""
        descriptor = os.open(self._locks / "content", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            if not _try_lock(descriptor, fcntl.LOCK_EX):
                return None
            return self._sweep()
        finally:
            os.close(descriptor)

    def _sweep(self) -> int:
        digests = {*self.references().values(), *self.owners()}
        kept = {digest.removeprefix("sha256:") for digest in digests}
        blobs, layers = set(kept), set[str]()
        for digest in digests:
            try:
                manifest = self.manifest(digest)
            except FileNotFoundError:
                continue  # a lease on what was removed by hand
            blobs.add(manifest.config.hex)
            layers.update(layer.hex for layer in manifest.layers)
        _remove_others(self.trees, kept)
        _remove_others(self._made, kept)
        freed = _remove_others(self._blobs, blobs)
        freed += _remove_others(self.layers, layers)
        # Whoever holds one of these holds `content` too, so nobody does.
        _remove_others(self._locks, {"content", "index"})
        oldest = time.time() - PARTIAL_KEPT_S
        # Layers may be continued (their names are digests); all else is of no use to anyone.
        resumable = {
            path.name
            for path in self.ingest.iterdir()
            if path.name.startswith("layer-") and path.stat().st_mtime > oldest
        }
        return freed + _remove_others(self.ingest, resumable)

    def _blob_path(self, digest: str) -> Path:
        return self._blobs / digest.removeprefix("sha256:")

    def _lease_path(self, digest: str, owner: str) -> Path:
        return self._leases / f"{digest.removeprefix('sha256:')}.{owner}"


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_others(directory: Path, kept: set[str]) -> int:
    """Removes everything but *kept*; the bytes that this frees."""
    freed = 0
    for path in directory.iterdir():
        if path.name in kept:
            continue
        if path.is_dir() and not path.is_symlink():
            record = read_record(path)
            freed += record.unpacked_bytes if record else 0
            trees.remove(path)
        else:
            freed += path.stat().st_size
            path.unlink()
    return freed
