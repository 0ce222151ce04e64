"""A reference at a registry becomes layers in the content store. Blocking: called from threads.

Rules:
  1. Bytes are verified while they stream: a layer that is not what its digest says never gets
     its place, nor does any layer of an image whose plan is refused get a tree.
  2. A broken connection goes on where it stopped, and so does a pull that was killed; only when
     that does not give the digest is the layer taken from its start, once.
"""

import platform
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from motorpool.images import manifest as manifests
from motorpool.images import trees
from motorpool.images.cancellation import Cancellation
from motorpool.images.compression import plain
from motorpool.images.content import Content
from motorpool.images.errors import DigestMismatch, ImageError, RefusedContent
from motorpool.images.layer import (
    Flusher,
    LayerRecord,
    LayerWriter,
    Limits,
    file_chunks,
    plain_bytes,
    write_record,
)
from motorpool.images.manifest import Descriptor, Manifest
from motorpool.images.reference import Reference

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

PARALLEL_LAYERS = 4
SPOOL = "blob"
SPOOL_PROBE_BYTES = 4 << 20
SPOOL_BYTES_PER_S_MAX = 20e6


def architecture() -> str:
    machine = platform.machine()
    return manifests.ARCHITECTURES.get(machine, machine)


class Source(Protocol):
    """A registry, or what else gives one image."""

    @property
    def reference(self) -> Reference: ...

    def manifest(self, version: str) -> tuple[bytes, str]: ...

    def blob(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]: ...


@dataclass(slots=True)
class Pull:
    content: Content
    registry: Source
    limits: Limits = field(default_factory=Limits)
    advance: Callable[[int], None] = lambda count: None
    cancelled: Cancellation = field(default_factory=Cancellation)

    def resolve(self) -> Manifest:
        """What the reference names at the registry now, for this machine."""
        reference = self.registry.reference
        raw, content_type = self.registry.manifest(reference.version)
        if reference.digest:
            manifests.check_digest(raw, reference.digest, f"the manifest of {reference}")
        document = manifests.document(raw, "the manifest")
        if manifests.is_index(document, content_type):
            chosen = manifests.for_platform(document, architecture())
            raw, _ = self.registry.manifest(chosen.digest)
            manifests.check_digest(raw, chosen.digest, f"the manifest of {reference}")
        return manifests.parse_manifest(raw)

    def fetch(self, manifest: Manifest) -> None:
        """Everything that *manifest* names is in the store afterwards; `adding()` is held."""
        missing = {one.digest: one for one in manifest.layers if self.content.layer(one) is None}
        self._check_space(sum(layer.size for layer in missing.values()))
        self.advance(manifest.size - sum(layer.size for layer in missing.values()))
        config = self._config(manifest.config)
        diff_ids = manifests.diff_ids(config)
        expected = dict(zip((one.digest for one in manifest.layers), diff_ids, strict=False))
        with ThreadPoolExecutor(PARALLEL_LAYERS, thread_name_prefix="images-pull") as pool:
            futures = [
                pool.submit(self._layer, one, expected.get(one.digest)) for one in missing.values()
            ]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self.cancelled.set()
                raise
        self.content.add_blob(manifest.config.digest, config)
        self.content.add_blob(manifest.digest, manifest.raw)

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(self.content.root).free
        if needed > free:
            raise ImageError(
                f"{self.registry.reference} needs {needed >> 20} MiB and {self.content.root} has "
                f"{free >> 20} MiB left; remove images (`motorpool modelcar rm`) or make room"
            )

    def _config(self, descriptor: Descriptor) -> bytes:
        if self.content.has_blob(descriptor.digest):
            return self.content.blob(descriptor.digest)
        return b"".join(self._verified(descriptor, self.registry.blob(descriptor)))

    def _layer(self, layer: Descriptor, diff_id: str | None) -> None:
        try:
            with self.content.lock(f"layer-{layer.hex}", self.cancelled):
                if self.content.layer(layer) is None:
                    self._layer_again(layer, diff_id)
        except OSError as error:
            # Nothing to go on with: on a full disk, what is half there is in the way.
            trees.remove(self.content.ingest / f"layer-{layer.hex}")
            trees.remove(self.content.ingest / f"layer-{layer.hex}.earlier")
            raise ImageError(
                f"cannot unpack {self.registry.reference} to {self.content.root}: "
                f"{error.strerror}; make room or choose another --data-dir"
            ) from error

    def _layer_again(self, layer: Descriptor, diff_id: str | None) -> None:
        making = self.content.ingest / f"layer-{layer.hex}"
        earlier = self.content.ingest / f"layer-{layer.hex}.earlier"
        # If both are there, a pull was killed while it read what an earlier one had left.
        if earlier.exists():
            trees.remove(making)
        elif making.exists():
            making.rename(earlier)
        if earlier.exists():
            try:
                self._unpack(layer, diff_id, making, earlier)
            except (DigestMismatch, RefusedContent):
                trees.remove(making)  # what was left may be damaged: once more from the start
                trees.remove(earlier)
            else:
                return
        try:
            self._unpack(layer, diff_id, making, None)
        except (DigestMismatch, RefusedContent):
            trees.remove(making)
            raise

    def _unpack(
        self, layer: Descriptor, diff_id: str | None, making: Path, earlier: Path | None
    ) -> None:
        diff = sha256()
        with Flusher() as flusher, ExitStack() as streams:
            raw = streams.enter_context(closing(self._bytes(layer, earlier)))
            raw = streams.enter_context(closing(self._verified(layer, raw)))
            writer = LayerWriter(making, flusher, self.cancelled)
            if layer.compression != "plain":
                raw = streams.enter_context(
                    closing(_spooled(raw, making / SPOOL, is_resumed=earlier is not None))
                )
            try:
                tar = plain(raw, layer.compression)
                if layer.compression != "plain":
                    tar = _hashed(tar, diff)
                writer.unpack(tar, layer.size, self.limits)
            except RefusedContent:
                for _ in raw:  # bytes that are not the layer's own explain it better
                    pass
                raise
            finally:
                writer.close()
        is_plain = layer.compression == "plain"
        plain_digest = layer.digest if is_plain else f"sha256:{diff.hexdigest()}"
        if diff_id and plain_digest != diff_id:
            raise DigestMismatch(
                f"layer {layer.digest} of {self.registry.reference} unpacks to {plain_digest}, its "
                f"image's configuration says {diff_id}; push the image again"
            )
        (making / SPOOL).unlink(missing_ok=True)
        size = writer.literals + writer.unpacked_bytes
        write_record(making, LayerRecord(layer.digest, plain_digest, size, writer.unpacked_bytes))
        self.content.place_layer(making, layer)

    def _bytes(self, layer: Descriptor, earlier: Path | None) -> Generator[bytes, None, None]:
        """The layer's bytes: what an earlier pull has left, then the registry's."""
        offset = 0
        if earlier is not None:
            spool = earlier / SPOOL
            is_plain = layer.compression == "plain"
            kept = plain_bytes(earlier) if is_plain else file_chunks(spool)
            for chunk in kept:
                offset += len(chunk)
                yield chunk
            trees.remove(earlier)
        yield from self.registry.blob(layer, offset)

    def _verified(self, blob: Descriptor, chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
        """*chunks*, hashed beside their use; raises at the end where they are not *blob*."""
        digest = sha256()
        size = 0
        with ThreadPoolExecutor(1, thread_name_prefix="images-hash") as hasher:
            hashing = None
            for chunk in chunks:
                if hashing is not None:
                    hashing.result()
                hashing = hasher.submit(digest.update, chunk)
                size += len(chunk)
                if size > blob.size:
                    break
                self.advance(len(chunk))
                yield chunk
        actual = f"sha256:{digest.hexdigest()}"
        if size != blob.size or actual != blob.digest:
            raise DigestMismatch(
                f"{blob.digest} of {self.registry.reference} has {size} bytes of digest {actual} "
                f"where {blob.size} bytes were promised: it was changed on its way or in the "
                "registry; pull again, and push the image anew where that does not help"
            )


def _hashed(chunks: Iterator[bytes], digest: "Hash") -> Iterator[bytes]:
    for chunk in chunks:
        digest.update(chunk)
        yield chunk


def _spooled(
    chunks: Iterator[bytes], path: Path, *, is_resumed: bool
) -> Generator[bytes, None, None]:
    """Keeps the compressed bytes until the layer is whole: a killed pull goes on behind them.

    Where they come faster than a disk writes that would only cost time, so the first tell.
    """
    first: list[bytes] = []
    size = 0
    start = 0.0
    while not is_resumed and size < SPOOL_PROBE_BYTES:
        chunk = next(chunks, None)
        if chunk is None:
            return
        start = start or time.monotonic()
        first.append(chunk)
        size += len(chunk)
        yield chunk
    if not is_resumed and size > (time.monotonic() - start) * SPOOL_BYTES_PER_S_MAX:
        first.clear()
        yield from chunks
        return
    with path.open("wb", buffering=0) as spool:
        spool.writelines(first)
        first.clear()
        for chunk in chunks:
            spool.write(chunk)
            yield chunk
