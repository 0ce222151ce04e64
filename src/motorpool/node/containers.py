"""From a container and the world around it to a program: reads what `command.py` decides on.

The variables of Services are those of the container's start: they are written down then, and what
runs beside the container has the same.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from motorpool.api import core
from motorpool.api.errors import ApiError, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at, name_of, namespace_of
from motorpool.base.atomicfile import write_atomically
from motorpool.client import Client
from motorpool.node.accelerators.allocation import Unavailable
from motorpool.node.accelerators.devices import Accelerators
from motorpool.node.access import FILE_NAME, token_volume
from motorpool.node.command import (
    ConfigError,
    Mount,
    Program,
    Surroundings,
    environment,
    program,
    program_beside,
    references_of,
    translated,
)
from motorpool.node.engine import Scene
from motorpool.node.localimages import LocalImage
from motorpool.node.process import python_path
from motorpool.node.servicelinks import Links
from motorpool.node.supervisor.groups import put
from motorpool.node.volumes import mounts_of

TERMINATION_MESSAGE = "/dev/termination-log"
MESSAGE_BYTES_MAX = 4096
OUTPUT_BYTES_MAX = 10 * 1024
INHERITED = (
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY",
    "PYTHONPATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ", "USER",
    "VIRTUAL_ENV", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


def base_environment() -> dict[str, str]:
    """What every program gets from this machine: the way to its interpreter, and little more."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, **python_path(), "PATH": path, "PYTHONUNBUFFERED": "1"}


def message_file(pod_dir: Path, container: str) -> Path:
    """Where a container's ``terminationMessagePath`` is on this machine."""
    return pod_dir / "run" / f"{container}.message"


def make_message_file(pod_dir: Path, container: str) -> None:
    """Empties it for a run that begins. Whoever the container runs as may write to it."""
    path = message_file(pod_dir, container)
    path.write_bytes(b"")
    path.chmod(0o666)


def last_message(pod_dir: Path, container: str) -> str:
    """What the container has left there; "" where it has not."""
    try:
        with message_file(pod_dir, container).open("rb") as file:
            return file.read(MESSAGE_BYTES_MAX).decode(errors="replace")
    except OSError:
        return ""


def links_file(pod_dir: Path, container: str) -> Path:
    """The variables of Services that a container was started with. ``run`` is the supervisor's."""
    return pod_dir / "links" / f"{container}.json"


def _links_of(pod_dir: Path, container: str) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(links_file(pod_dir, container).read_bytes())
    except (OSError, ValueError):
        return {}
    return found


class Containers:
    """With *accelerators*, programs are told which of them are theirs; with *links*, where the
    Services are."""

    def __init__(
        self,
        client: Client,
        base_env: Mapping[str, str],
        allocatable: Mapping[str, str],
        accelerators: Accelerators | None = None,
        links: Links | None = None,
    ) -> None:
        self._client = client
        self._accelerators = accelerators
        self._links = links
        self._base_env = base_env
        self._allocatable = allocatable

    async def program(self, scene: Scene, entry: LocalImage) -> Program:
        """For a start. Raises ConfigError; ApiError or OSError where the world does not answer."""
        self.note_links(scene)
        around = await self.surroundings(scene)
        return program(scene.container.spec, scene.pod, entry, around)

    async def beside(self, command: Sequence[str], scene: Scene, entry: LocalImage) -> Program:
        """A command in the environment of the container. Raises as `program` does."""
        around = await self.surroundings(scene)
        return program_beside(command, scene.container.spec, scene.pod, entry, around)

    async def execute(
        self, scene: Scene, command: Sequence[str], groups: Sequence[str] = ()
    ) -> tuple[int, str]:
        """A probe's or a hook's command: its exit code and output."""
        try:
            around = await self.surroundings(scene)
            own = environment(scene.container.spec, scene.pod, around)
        except (ConfigError, ApiError) as error:
            return 126, str(error)
        env = {**around.base_env, **own, "MOTORPOOL_POD_IP": around.pod_ip}
        argv = [translated(part, around.mounts) for part in command]
        return await run_command(argv, env, around.directory, groups)

    def note_links(self, scene: Scene) -> None:
        """Writes down which Services there are as the container starts. Raises OSError."""
        if self._links is not None:
            content = json.dumps(self._links(scene.pod)).encode()
            path = links_file(scene.pod_dir, scene.container.name)
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, content, mode=0o600, sync=False)

    async def surroundings(self, scene: Scene) -> Surroundings:
        """What the container's program depends on. Raises as `program` does."""
        container = scene.container
        references = references_of(container.spec)
        namespace = namespace_of(scene.pod)
        links = _links_of(scene.pod_dir, container.name)
        base_env = {
            **links,
            **self._base_env,
            "HOSTNAME": at(scene.pod, "spec", "hostname") or name_of(scene.pod),
            "TMPDIR": str(scene.pod_dir / "tmp"),
            **await self._visible(scene),
        }  # fmt: skip
        kubeconfig = scene.pod_dir / FILE_NAME
        if token_volume(container.spec) and kubeconfig.exists():
            base_env["KUBECONFIG"] = str(kubeconfig)
        bare = Surroundings(
            pod_ip=scene.pod_ip,
            host_ip=scene.host_ip,
            python=sys.executable,
            directory=str(scene.pod_dir / "work"),
            base_env=base_env,
            config_maps=await self._objects(core.CONFIG_MAP, namespace, references.config_maps),
            secrets=await self._objects(core.SECRET, namespace, references.secrets),
            allocatable=self._allocatable,
            grace_s=scene.grace_s,
            links=links,
        )
        message = Mount(
            container.spec.get("terminationMessagePath") or TERMINATION_MESSAGE,
            str(message_file(scene.pod_dir, container.name)),
        )
        if not container.spec.get("volumeMounts"):
            return replace(bare, mounts=[message])
        env = environment(container.spec, scene.pod, bare)
        mounts = await asyncio.to_thread(mounts_of, container.spec, scene.volumes, env)
        return replace(bare, mounts=[*mounts, message])

    async def _visible(self, scene: Scene) -> Mapping[str, str]:
        """The variables that name the container's accelerators. Raises ConfigError."""
        if self._accelerators is None:
            return {}
        try:
            assigned = await self._accelerators.assigned(scene.pod, scene.container.name)
        except Unavailable as error:
            raise ConfigError(str(error)) from None
        return assigned.environment

    async def _objects(
        self, kind: Kind, namespace: str, names: frozenset[str]
    ) -> dict[str, Object]:  # fmt: skip
        found = {}
        for name in sorted(names):
            try:
                found[name] = await self._client.get(kind, namespace, name)
            except NotFound:
                continue  # Whether it may be missing is for the reference to say.
        return found


async def run_command(
    argv: Sequence[str], env: Mapping[str, str], directory: str, groups: Sequence[str] = ()
) -> tuple[int, str]:  # fmt: skip
    """A command beside a container's program; ends with whoever waits for it."""
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, cwd=directory, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    put(process.pid, groups)
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
    code = process.returncode or 0
    return code, output[:OUTPUT_BYTES_MAX].decode(errors="replace")
