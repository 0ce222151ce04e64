"""Names of images, read as podman reads them. Pure.

Rules:
  1. A bare name (``ovms-resnet50:test``) is ``localhost/ovms-resnet50:test``: what podman stores
     when it builds one, and what the guides' ``oci://localhost/...`` then finds.
  2. A name of several parts without a host (``library/busybox``) belongs to docker.io.
  3. No tag and no digest means ``:latest``. Where both are given the digest decides.
"""

import ipaddress
import re
from dataclasses import dataclass

from motorpool.images.errors import INVALID_NAME, ImageError

NAME_LENGTH_MAX = 255
DOCKER_HUB = "docker.io"

_HOST_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BARE_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        if self.digest:
            return f"{self.registry}/{self.repository}@{self.digest}"
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest, else the tag."""
        return self.digest or self.tag or "latest"


def parse(text: str) -> Reference:
    """Raises ImageError (InvalidImageName) where *text* is not the name of an image."""
    if "://" in text:
        raise _invalid(text, "it has a scheme; leave out everything up to '://'")
    rest, _, digest = text.partition("@")
    if "@" in text and not is_digest(digest):
        raise _invalid(text, "what follows '@' must be sha256: and 64 lower-case hex digits")
    name, tag = _split_tag(rest)
    if tag is not None and not _TAG.fullmatch(tag):
        raise _invalid(text, f"the tag '{tag}' must be 1 to 128 letters, digits, '_', '.' or '-'")
    registry, repository = _split_host(name)
    _check_name(text, registry, repository)
    if registry in (DOCKER_HUB, "index.docker.io"):
        registry = DOCKER_HUB
        repository = repository if "/" in repository else f"library/{repository}"
    if digest:
        return Reference(registry, repository, digest=digest)
    return Reference(registry, repository, tag=tag or "latest")


def is_digest(text: str) -> bool:
    return bool(_DIGEST.fullmatch(text))


def is_loopback(host: str) -> bool:
    """Whether *host*, with or without a port, is this machine and nothing else."""
    name = host.rsplit(":", 1)[0] if re.search(r":[0-9]+$", host) and host[-1] != "]" else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _split_tag(rest: str) -> tuple[str, str | None]:
    head, colon, last = rest.rpartition(":")
    # A colon before the last slash belongs to the host's port.
    if not colon or "/" in last or last.endswith("]"):
        return rest, None
    return head, last


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash:
        return "localhost", name
    if first == "localhost" or any(sign in first for sign in ".:[") or first != first.lower():
        return first, rest
    return DOCKER_HUB, name


def _check_name(text: str, registry: str, repository: str) -> None:
    if not _HOST.fullmatch(registry):
        raise _invalid(text, f"'{registry}' is not a host")
    for part in repository.split("/"):
        if part != part.lower():
            raise _invalid(text, f"'{part}' must be lower case")
        if not _PART.fullmatch(part):
            raise _invalid(
                text,
                f"'{part}' must be lower-case letters and digits, joined by '.', '_', '__' or '-'",
            )
    if _BARE_HEX.fullmatch(repository):
        raise _invalid(text, "64 hex digits are an image's ID, not its name")
    if len(registry) + 1 + len(repository) > NAME_LENGTH_MAX:
        raise _invalid(text, f"it is longer than {NAME_LENGTH_MAX} characters")


def _invalid(text: str, why: str) -> ImageError:
    return ImageError(f"'{text}' is not the name of an image: {why}", reason=INVALID_NAME)
