"""A Pod's volumes as directories, and its containers' mounts as paths in them.

A Pod's directory, ``pods/UID/``, readable by its owner alone:

    pod.json              address, namespace and name: what a new agent must know
    volumes/NAME/         emptyDir on disk, configMap, secret, projected, downwardAPI
    work/                 where its programs run; tmp/ is their TMPDIR
    run/                  the supervisor's records and pipes
    logs/CONTAINER/N.log  what run N of a container wrote

An image volume is the unpacked tree itself, shared by all Pods of this machine; a hostPath, and a
claim's volume, which is one, is the path itself. Everything else that is asked for is refused by
name: nothing is left out silently. Content of configMaps and secrets follows
the objects while the Pod runs.
"""

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Protocol

from motorpool.api import core
from motorpool.api.errors import NotFound
from motorpool.api.meta import Object, at, name_of, namespace_of, uid_of
from motorpool.client import Client
from motorpool.images.collection import Collected
from motorpool.images.errors import ImageError
from motorpool.node import emptydirs
from motorpool.node.command import ConfigError, Mount, expanded
from motorpool.node.contents import (
    FILE_MODE,
    KINDS,
    Contents,
    PodFacts,
)
from motorpool.node.downward import FieldError
from motorpool.node.pod import default_pull_policy
from motorpool.node.tokens import Tokens
from motorpool.node.volumefiles import write_files

FAILED_MOUNT = "FailedMount"

Tell = Callable[[Literal["Normal", "Warning"], str, str], None]
"""Records an event about the Pod: type, reason, message."""


class Tree(Protocol):
    @property
    def path(self) -> Path: ...


class Images(Protocol):
    """The image store, as far as the node asks it."""

    async def ensure(
        self, reference: str, policy: Literal["Always", "IfNotPresent", "Never"], *,
        owner: str | None = None, progress: Callable[[Any], None] | None = None,
    ) -> Tree: ...  # fmt: skip

    def release(self, digest: str, owner: str) -> None: ...

    def is_here(self, reference: str) -> bool: ...

    def age(self) -> int: ...

    def owners(self) -> dict[str, list[str]]: ...

    def collect(self, wanted_bytes: int, now: float) -> Collected: ...


class VolumeError(Exception):
    """A volume that cannot be had now. *reason* is what the containers wait with."""

    def __init__(self, reason: str, message: str, *, image: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.image = image


@dataclass(frozen=True, slots=True)
class Volume:
    path: Path
    writable: bool = True


class Volumes:
    def __init__(
        self, client: Client, images: Images, facts: PodFacts, pod_dir: Path, tokens: Tokens
    ) -> None:
        self._contents = Contents(client, facts, tokens)
        self._client = client
        self._images = images
        self._facts = facts
        self._dir = pod_dir / "volumes"
        self._local = False

    async def prepare(self, tell: Tell, *, local: bool = False) -> dict[str, Volume]:
        """Every volume of the Pod by name. Raises VolumeError, ApiError or OSError.

        *local*: the Pod has run before, so an image that is here is the one to use.
        """
        self._local = local
        await asyncio.to_thread(make_pod_directories, self._dir.parent)
        volumes = self._facts.pod["spec"].get("volumes") or ()
        return {volume["name"]: await self._prepare(volume, tell) for volume in volumes}

    async def refresh(self, tell: Tell) -> None:
        """Brings what was written from objects and tokens up to date. Raises ApiError, OSError.

        What is gone, or has lost a key, leaves the files as they are, as with the kubelet.
        """
        for volume in self._facts.pod["spec"].get("volumes") or ():
            if KINDS & volume.keys():
                try:
                    await self._prepare(volume, tell)
                except VolumeError as error:
                    tell("Warning", FAILED_MOUNT, str(error))

    async def _prepare(self, volume: Object, tell: Tell) -> Volume:
        name = volume["name"]
        kinds = [key for key in volume if key != "name"] or ["emptyDir"]
        kind, source = kinds[0], volume.get(kinds[0]) or {}
        match kind:
            case "emptyDir":
                pod_dir = self._dir.parent
                return Volume(await asyncio.to_thread(emptydirs.make, pod_dir, name, source))
            case "hostPath":
                return await asyncio.to_thread(_host_path, name, source)
            case "persistentVolumeClaim":
                return await self._claimed(name, source)
            case "image":
                return await self._image(source, tell)
            case _ if kind in KINDS:
                return await self._files(name, kind, source)
            case _:
                raise VolumeError(
                    "CreateContainerConfigError",
                    f'volume "{name}": a volume of type {kind} is not supported on this node; '
                    "use emptyDir, hostPath, persistentVolumeClaim, configMap, secret, projected, "
                    "downwardAPI or image",
                )

    async def _files(self, name: str, kind: str, source: Object) -> Volume:
        directory = self._dir / name
        try:
            files = await self._contents.files(kind, source)
        except FieldError as error:
            message = f'MountVolume.SetUp failed for volume "{name}" : {error}'
            raise VolumeError(FAILED_MOUNT, message) from None
        mode = int(source.get("defaultMode") or FILE_MODE)
        await asyncio.to_thread(write_files, directory, files.content, mode, files.modes)
        return Volume(directory, writable=False)

    async def _claimed(self, name: str, source: Object) -> Volume:
        """The directory of the volume that the claim has, on this machine."""
        claim_name = str(source.get("claimName", ""))
        prefix = f'MountVolume.SetUp failed for volume "{name}" : '
        place = namespace_of(self._facts.pod), claim_name
        try:
            claim = await self._client.get(core.PERSISTENT_VOLUME_CLAIM, *place)
            if at(claim, "status", "phase") != "Bound":
                text = f'persistentvolumeclaim "{claim_name}" is not bound to a volume yet'
                raise VolumeError(FAILED_MOUNT, prefix + text)
            volume = await self._client.get(
                core.PERSISTENT_VOLUME, "", str(at(claim, "spec", "volumeName"))
            )
        except NotFound as error:
            raise VolumeError(FAILED_MOUNT, f"{prefix}{error}") from None
        spec = volume["spec"]
        place_on_disk = spec.get("hostPath") or spec.get("local")
        if place_on_disk is None:
            text = f"persistentvolume {name_of(volume)} is not a directory of this machine"
            raise VolumeError(FAILED_MOUNT, prefix + text)
        found = await asyncio.to_thread(_host_path, name, place_on_disk)
        return Volume(found.path, writable=not source.get("readOnly"))

    async def _image(self, source: Object, tell: Tell) -> Volume:
        reference = str(source.get("reference", ""))
        policy = source.get("pullPolicy") or default_pull_policy(reference)
        if self._local and policy == "Always":
            policy = "IfNotPresent"
        pulled = False

        def pulling(_: object) -> None:
            nonlocal pulled
            if not pulled:
                pulled = True
                tell("Normal", "Pulling", f'Pulling image "{reference}"')

        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            owner = uid_of(self._facts.pod)
            tree = await self._images.ensure(reference, policy, owner=owner, progress=pulling)
        except ImageError as error:
            tell("Warning", "Failed", f'Failed to pull image "{reference}": {error}')
            raise VolumeError(error.reason, str(error), image=reference) from error
        if pulled:
            took = f"{loop.time() - started:.3f}s"
            tell("Normal", "Pulled", f'Successfully pulled image "{reference}" in {took}')
        else:
            message = f'Container image "{reference}" already present on machine'
            tell("Normal", "Pulled", message)
        return Volume(tree.path, writable=False)


def mounts_of(
    container: Object, volumes: Mapping[str, Volume], env: Mapping[str, str]
) -> list[Mount]:
    """Where each of the container's mounts is on this machine. Raises ConfigError."""
    mounts = []
    for mount in container.get("volumeMounts") or ():
        volume = volumes.get(mount["name"])
        if volume is None:
            raise ConfigError(f'volume "{mount["name"]}" is not a volume of the pod')
        sub_path = mount.get("subPath") or expanded(mount.get("subPathExpr") or "", env)
        if PurePosixPath(sub_path).is_absolute() or ".." in PurePosixPath(sub_path).parts:
            raise ConfigError(f'subPath "{sub_path}" leaves volume "{mount["name"]}"')
        directory = volume.path / sub_path
        if volume.writable and not directory.exists():
            directory.mkdir(parents=True)
        elif not directory.exists():
            raise ConfigError(
                f'failed to prepare subPath for volumeMount "{mount["name"]}" of container '
                f'"{container["name"]}": the volume holds no "{sub_path}"'
            )
        read_only = bool(mount.get("readOnly")) or not volume.writable
        mounts.append(Mount(mount["mountPath"], str(directory), read_only))
    return mounts


def clear_away(images: Images, uid: str, pod_dir: Path) -> None:
    """What a Pod holds of the images and the disk."""
    for digest, owners in images.owners().items():
        if uid in owners:
            images.release(digest, uid)
    in_memory = emptydirs.memory_directory(pod_dir)
    for directory in (pod_dir, in_memory):
        if directory.exists():
            shutil.rmtree(directory)
    with contextlib.suppress(OSError):
        in_memory.parent.rmdir()  # Where no other Pod has any.


def make_pod_directories(pod_dir: Path) -> None:
    for name in ("volumes", "run", "work", "tmp", "logs"):
        (pod_dir / name).mkdir(parents=True, exist_ok=True)
    pod_dir.chmod(0o700)


def _host_path(name: str, source: Object) -> Volume:
    path = Path(str(at(source, "path", default="/")))
    wanted = source.get("type") or ""
    # Of no type is, as container runtimes have it, a directory where there is nothing.
    if wanted == "DirectoryOrCreate" or (not wanted and not path.exists()):
        path.mkdir(parents=True, exist_ok=True)
    elif wanted == "FileOrCreate":
        path.touch(exist_ok=True)
    fits = {
        "Directory": path.is_dir, "DirectoryOrCreate": path.is_dir,
        "File": path.is_file, "FileOrCreate": path.is_file,
        "Socket": path.is_socket, "CharDevice": path.is_char_device,
        "BlockDevice": path.is_block_device,
    }  # fmt: skip
    if not fits.get(wanted, path.exists)():
        message = f'MountVolume.SetUp failed for volume "{name}" : hostPath type check failed: '
        raise VolumeError(FAILED_MOUNT, f"{message}{path} is not a {wanted or 'path'}")
    return Volume(path)
