"""OCI and Docker manifests as values: which layers an image has, how they are packed. Pure.

Docker's schema 2 differs from OCI in nothing but its media types, so both become one Manifest.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from motorpool.images.errors import DigestMismatch, ImageError, RefusedContent
from motorpool.images.reference import is_digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
ACCEPTED = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)

MANIFEST_BYTES_MAX = 4 << 20  # what registries accept
CONFIG_BYTES_MAX = 8 << 20
LAYERS_MAX = 512

Compression: TypeAlias = Literal["plain", "gzip", "zstd"]
_COMPRESSION: dict[str, Compression] = {
    OCI_LAYER: "plain",
    f"{OCI_LAYER}+gzip": "gzip",
    f"{OCI_LAYER}+zstd": "zstd",
    DOCKER_LAYER: "plain",
    f"{DOCKER_LAYER}.gzip": "gzip",
    f"{DOCKER_LAYER}.zstd": "zstd",
}
# `uname -m` -> the word that OCI uses.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True, slots=True)
class Descriptor:
    media_type: str
    digest: str
    size: int

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")

    @property
    def compression(self) -> Compression:
        return _COMPRESSION[self.media_type]

    def document(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    raw: bytes
    digest: str
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def hex(self) -> str:
        return self.digest.removeprefix("sha256:")

    @property
    def size(self) -> int:
        """Bytes to transfer: each layer once, and the configuration."""
        return self.config.size + sum({layer.digest: layer.size for layer in self.layers}.values())


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def check_digest(content: bytes, expected: str, what: str) -> None:
    actual = digest_of(content)
    if actual != expected:
        raise DigestMismatch(
            f"{what} has digest {actual} and not {expected}: it was changed on its way or in the "
            "registry; pull again, and push the image anew where that does not help"
        )


def is_index(document: dict[str, Any], content_type: str) -> bool:
    kind = document.get("mediaType") or content_type
    return kind in (OCI_INDEX, DOCKER_INDEX) or (
        "manifests" in document and "layers" not in document
    )


def document(raw: bytes, what: str) -> dict[str, Any]:
    """Raises RefusedContent where *raw* is no JSON object."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RefusedContent(f"{what} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusedContent(f"{what} is not a JSON object")
    return value


def parse_manifest(raw: bytes) -> Manifest:
    content = document(raw, "the manifest")
    if content.get("schemaVersion") != 2:
        raise RefusedContent(
            f"the manifest has schemaVersion {content.get('schemaVersion')!r}, only 2 is known; "
            "push the image again with a current tool"
        )
    layers = content.get("layers")
    if not isinstance(layers, list) or len(layers) > LAYERS_MAX:
        raise RefusedContent(f"the manifest's layers must be a list of at most {LAYERS_MAX}")
    parsed = tuple(_descriptor(layer) for layer in layers)
    for layer in parsed:
        if layer.media_type not in _COMPRESSION:
            raise RefusedContent(
                f"layer {layer.digest} has media type '{layer.media_type}'; known are "
                f"{', '.join(_COMPRESSION)}"
            )
    media_type = content.get("mediaType") or OCI_MANIFEST
    config = _descriptor(content.get("config"))
    if config.size > CONFIG_BYTES_MAX:
        raise RefusedContent(f"the image's configuration is larger than {CONFIG_BYTES_MAX} bytes")
    return Manifest(raw, digest_of(raw), media_type, config, parsed)


def for_platform(index: dict[str, Any], architecture: str) -> Descriptor:
    """The manifest of an index that this machine takes: linux, its architecture."""
    manifests = index.get("manifests")
    if not isinstance(manifests, list):
        raise RefusedContent("the image index has no list of manifests")
    offered = []
    for item in manifests:
        platform = item.get("platform", {}) if isinstance(item, dict) else {}
        system, arch = platform.get("os"), platform.get("architecture")
        if system == "linux" and arch == architecture:
            return _descriptor(item)
        if system != "unknown":  # build attestations call themselves that
            offered.append(f"{system}/{arch}")
    raise ImageError(
        f"the image has no linux/{architecture}, only {', '.join(offered) or 'nothing'}; "
        "push it for this architecture"
    )


def diff_ids(config: bytes) -> list[str]:
    """The digests of the unpacked layers, where the configuration says them."""
    rootfs = document(config, "the image's configuration").get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    return [str(one) for one in found] if isinstance(found, list) else []


def image_of(
    layers: list[Descriptor], diff_ids: list[str], architecture: str, created: str
) -> tuple[Manifest, bytes]:
    """The manifest and the configuration of an image with these layers, always the same bytes."""
    config = _canonical(
        {
            "created": created,
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": created, "created_by": "motorpool modelcar build"}]
            * len(layers),
        }
    )
    return manifest_of(Descriptor(OCI_CONFIG, digest_of(config), len(config)), layers), config


def manifest_of(config: Descriptor, layers: list[Descriptor]) -> Manifest:
    raw = _canonical(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": config.document(),
            "layers": [layer.document() for layer in layers],
        }
    )
    return parse_manifest(raw)


def _canonical(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()


def _descriptor(value: object) -> Descriptor:
    if not isinstance(value, dict):
        raise RefusedContent("the manifest lacks a descriptor (mediaType, digest, size)")
    digest, size, media_type = value.get("digest"), value.get("size"), value.get("mediaType", "")
    if not isinstance(digest, str) or not is_digest(digest):
        raise RefusedContent(f"the manifest names the digest {digest!r}; only sha256 is understood")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RefusedContent(f"the manifest gives {digest} the size {size!r}")
    if value.get("urls"):
        raise RefusedContent(f"layer {digest} is kept outside of the registry, which is refused")
    return Descriptor(str(media_type), digest, size)
