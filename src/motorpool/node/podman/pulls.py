"""The images of containers: what is here, what must be pulled, and with whose credentials.

Rules: a pull policy means what it means to a kubelet; a name without a host is one of docker.io,
unless podman has an image of that name already, built here or pulled. Credentials are those of the
Pod's imagePullSecrets, one after the other where several are for the registry, and podman's own
last. A registry on this machine's loopback interface needs no TLS.
"""

import base64
import json
import time
from collections.abc import Sequence

import structlog

from motorpool.api import core
from motorpool.api.errors import NotFound
from motorpool.api.meta import Object, at, namespace_of
from motorpool.client import Client
from motorpool.images import auth
from motorpool.images.auth import Credentials
from motorpool.images.errors import ImageError
from motorpool.images.reference import DOCKER_HUB, Reference, is_loopback, parse
from motorpool.node.command import secret_value
from motorpool.node.engine import Refused
from motorpool.node.pod import Container
from motorpool.node.podman.libpod import Libpod, LibpodError
from motorpool.node.podman.spec import Image
from motorpool.node.volumes import Tell

log = structlog.get_logger(__name__)

SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg",
}  # fmt: skip


class Pulls:
    def __init__(self, client: Client, libpod: Libpod) -> None:
        self._client = client
        self._libpod = libpod

    async def ensure(self, container: Container, pod: Object, tell: Tell) -> tuple[Image, str]:
        """The image, and its ``imageID``. Raises Refused, OSError."""
        name = container.image
        try:
            reference = reference_of(name)
        except ImageError as error:
            raise Refused("InvalidImageName", str(error), image=name) from error
        found = await self._local(name, reference)
        if found is not None and (container.pull_policy != "Always" or is_built_here(reference)):
            tell("Normal", "Pulled", f'Container image "{name}" already present on machine')
        elif container.pull_policy == "Never" or is_built_here(reference):
            text = f'Container image "{name}" is not present with pull policy of Never'
            raise Refused("ErrImageNeverPull", text)
        else:
            await self._pull(name, reference, pod, tell)
            found = await self._local(name, reference)
            if found is None:
                raise Refused("ErrImagePull", f'image "{name}" is gone again', image=name)
        return image_of(found), image_id(found, reference)

    async def _local(self, name: str, reference: Reference) -> Object | None:
        for candidate in dict.fromkeys((name, str(reference))):
            try:
                found: Object = await self._libpod.get(f"/images/{candidate}/json")
            except LibpodError as error:
                if error.status != 404:
                    raise
            else:
                return found
        return None

    async def _pull(self, name: str, reference: Reference, pod: Object, tell: Tell) -> None:
        tell("Normal", "Pulling", f'Pulling image "{name}"')
        started = time.monotonic()
        verify = False if is_loopback(reference.registry) else None
        words = ""
        for header in [*map(header_of, await self._credentials(reference, pod)), ""]:
            refusal = await self._pull_once(str(reference), verify, header)
            if refusal is None:
                took = f"{time.monotonic() - started:.3f}s"
                tell("Normal", "Pulled", f'Successfully pulled image "{name}" in {took}')
                return
            words = words or refusal
        message = f'failed to pull image "{name}": {words}'
        tell("Warning", "Failed", f'Failed to pull image "{name}": {words}')
        raise Refused("ErrImagePull", message, image=name)

    async def _pull_once(self, reference: str, verify: bool | None, header: str) -> str | None:
        """Podman's words where it cannot be had."""
        words = None
        try:
            async for report in self._libpod.pull(reference, verify=verify, header=header):
                words = report.get("error") or words
        except LibpodError as error:
            return str(error)
        return words

    async def _credentials(self, reference: Reference, pod: Object) -> list[Credentials]:
        found = []
        for named in at(pod, "spec", "imagePullSecrets", default=None) or ():
            try:
                secret = await self._client.get(core.SECRET, namespace_of(pod), named["name"])
                credentials = credentials_of(secret, reference)
            except NotFound:
                continue  # As the kubelet: perhaps none is needed.
            except (ValueError, AttributeError, TypeError) as error:
                log.warning("imagePullSecret not usable", secret=named["name"], error=str(error))
                continue
            if credentials is not None:
                found.append(credentials)
        return found


def reference_of(name: str) -> Reference:
    """A container's image in full. Raises ImageError."""
    found = parse(name)
    if found.registry == "localhost" and not name.startswith("localhost/"):
        repository = found.repository if "/" in found.repository else f"library/{found.repository}"
        return Reference(DOCKER_HUB, repository, found.tag, found.digest)
    return found


def is_built_here(reference: Reference) -> bool:
    """Whether no registry can have it: podman's name for what was built on this machine."""
    return reference.registry == "localhost"


def credentials_of(secret: Object, reference: Reference) -> Credentials | None:
    """Raises ValueError, AttributeError or TypeError where it does not hold what its type says."""
    key = SECRET_KEYS.get(str(secret.get("type")), ".dockerconfigjson")
    content = (secret.get("data") or {}).get(key)
    if content is None:
        return None
    document = json.loads(secret_value(content))
    return auth.match(document if "auths" in document else {"auths": document}, reference)


def header_of(credentials: Credentials) -> str:
    """``X-Registry-Auth``."""
    content = {"username": credentials.user, "password": credentials.password}
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode()


def image_of(inspected: Object) -> Image:
    user = inspected.get("User") or at(inspected, "Config", "User", default="")
    return Image(str(inspected["Id"]), str(user or ""))


def image_id(inspected: Object, reference: Reference) -> str:
    """As a status has it: the digest in the repository, else that of the configuration."""
    digests: Sequence[str] = inspected.get("RepoDigests") or ()
    own = f"{reference.registry}/{reference.repository}@"
    for digest in [d for d in digests if d.startswith(own)] or digests:
        return digest
    return f"sha256:{inspected['Id']}"
