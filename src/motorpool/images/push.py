"""An image of the content store goes to a registry. Blocking: called from threads.

Rules:
  1. What the registry has is not sent; what another repository of it has is mounted.
  2. The manifest goes last: until then nobody sees half an image.
  3. A layer that was pulled compressed is kept unpacked only. Where the registry lacks it, it is
     sent as plain tar and the manifest says so; the image's ID (its configuration) stays.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from motorpool.images.cancellation import Cancellation
from motorpool.images.content import Content
from motorpool.images.errors import ImageError
from motorpool.images.layer import plain_bytes
from motorpool.images.manifest import OCI_LAYER, Descriptor, Manifest, manifest_of
from motorpool.images.reference import parse
from motorpool.images.registry import Registry

PARALLEL_LAYERS = 4


@dataclass(slots=True)
class Push:
    content: Content
    registry: Registry
    advance: Callable[[int], None] = lambda count: None
    cancelled: Cancellation = field(default_factory=Cancellation)

    def run(self, manifest: Manifest) -> Manifest:
        """The manifest as the registry has it now; `adding()` is held."""
        distinct = list({layer.digest: layer for layer in manifest.layers}.values())
        mounts = self._mounts()
        with ThreadPoolExecutor(PARALLEL_LAYERS, thread_name_prefix="images-push") as pool:
            futures = [pool.submit(self._layer, layer, mounts) for layer in distinct]
            try:
                sent = {
                    layer.digest: future.result()
                    for layer, future in zip(distinct, futures, strict=True)
                }
            except BaseException:
                self.cancelled.set()
                raise
        self._config(manifest.config)
        layers = [sent[layer.digest] for layer in manifest.layers]
        if layers != list(manifest.layers):
            manifest = manifest_of(manifest.config, layers)
        reference = self.registry.reference
        if reference.digest and reference.digest != manifest.digest:
            raise ImageError(
                f"{reference} has layers that were pulled compressed, so it would get the digest "
                f"{manifest.digest}; push it under a tag"
            )
        self.registry.put_manifest(manifest, reference.version)
        return manifest

    def _layer(self, layer: Descriptor, mounts: dict[str, str]) -> Descriptor:
        record = self.content.layer(layer)
        if record is None:
            raise ImageError(
                f"layer {layer.digest} is not in {self.content.root}; pull or build the image again"
            )
        if self.registry.has("blobs", layer.digest):
            self.advance(layer.size)
            return layer
        if record.plain_digest != record.digest:
            layer = Descriptor(OCI_LAYER, record.plain_digest, record.plain_size)
            if self.registry.has("blobs", layer.digest):
                return layer
        path = self.content.layers / record.digest.removeprefix("sha256:")
        self.registry.upload(layer, lambda: self._told(plain_bytes(path)), mounts.get(layer.digest))
        return layer

    def _config(self, config: Descriptor) -> None:
        if not self.registry.has("blobs", config.digest):
            raw = self.content.blob(config.digest)
            self.registry.upload(config, lambda: iter([raw]), None)
        self.advance(config.size)

    def _told(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self.advance(len(chunk))

    def _mounts(self) -> dict[str, str]:
        """Layer digest -> another repository of this registry that should have it."""
        own = self.registry.reference
        found: dict[str, str] = {}
        for name, digest in self.content.references().items():
            other = parse(name)
            if other.registry == own.registry and other.repository != own.repository:
                if not self.content.has_blob(digest):
                    continue
                for layer in self.content.manifest(digest).layers:
                    found.setdefault(layer.digest, other.repository)
        return found
