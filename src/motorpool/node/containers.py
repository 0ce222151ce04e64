"""From a container and the world around it to a program: reads what `command.py` decides on."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from motorpool.api import core
from motorpool.api.errors import ApiError, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, name_of, namespace_of
from motorpool.client import Client
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
from motorpool.node.localimages import LocalImage
from motorpool.node.pod import Container
from motorpool.node.probes import Target
from motorpool.node.process import python_path
from motorpool.node.volumes import Volume, mounts_of

TERMINATION_MESSAGE = "/dev/termination-log"
MESSAGE_BYTES_MAX = 4096
OUTPUT_BYTES_MAX = 10 * 1024
INHERITED = (
    "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY",
    "PYTHONPATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ", "USER",
    "VIRTUAL_ENV", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip

PodPlace = tuple[str, str, Path, float]
"""A Pod's address, its node's address, its directory, its grace period in seconds."""


def base_environment() -> dict[str, str]:
    """What every program gets from this machine: the way to its interpreter, and little more."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**inherited, **python_path(), "PATH": path, "PYTHONUNBUFFERED": "1"}


def message_file(pod_dir: Path, container: str) -> Path:
    """Where a container's ``terminationMessagePath`` is on this machine."""
    return pod_dir / "run" / f"{container}.message"


def last_message(pod_dir: Path, container: str) -> str:
    """What the container has left there; "" where it has not."""
    try:
        with message_file(pod_dir, container).open("rb") as file:
            return file.read(MESSAGE_BYTES_MAX).decode(errors="replace")
    except OSError:
        return ""


class Containers:
    def __init__(
        self,
        client: Client,
        base_env: Mapping[str, str],
        allocatable: Mapping[str, str],
    ) -> None:
        self._client = client
        self._base_env = base_env
        self._allocatable = allocatable

    async def program(
        self,
        container: Container,
        pod: Object,
        entry: LocalImage,
        volumes: Mapping[str, Volume],
        place: PodPlace,
    ) -> Program:
        """Raises ConfigError; ApiError or OSError where the world does not answer."""
        around = await self._surroundings(container, pod, volumes, place)
        return program(container.spec, pod, entry, around)

    async def beside(
        self,
        command: Sequence[str],
        container: Container,
        pod: Object,
        entry: LocalImage,
        volumes: Mapping[str, Volume],
        place: PodPlace,
    ) -> Program:
        """A command in the environment of the container. Raises as `program` does."""
        around = await self._surroundings(container, pod, volumes, place)
        return program_beside(command, container.spec, pod, entry, around)

    def target(
        self, container: Container, pod: Object, volumes: Mapping[str, Volume], place: PodPlace
    ) -> Target:
        """The container as its probes and hooks see it."""

        async def execute(command: Sequence[str]) -> tuple[int, str]:
            try:
                around = await self._surroundings(container, pod, volumes, place)
                own = environment(container.spec, pod, around)
            except (ConfigError, ApiError) as error:
                return 126, str(error)
            env = {**around.base_env, **own, "MOTORPOOL_POD_IP": around.pod_ip}
            argv = [translated(part, around.mounts) for part in command]
            return await run_command(argv, env, around.directory)

        return Target(container.spec, place[0], execute)

    async def _surroundings(
        self, container: Container, pod: Object, volumes: Mapping[str, Volume], place: PodPlace
    ) -> Surroundings:
        pod_ip, host_ip, pod_dir, grace_s = place
        references = references_of(container.spec)
        namespace = namespace_of(pod)
        base_env = {
            **self._base_env, "HOSTNAME": name_of(pod), "TMPDIR": str(pod_dir / "tmp"),
        }  # fmt: skip
        bare = Surroundings(
            pod_ip=pod_ip,
            host_ip=host_ip,
            python=sys.executable,
            directory=str(pod_dir / "work"),
            base_env=base_env,
            config_maps=await self._objects(core.CONFIG_MAP, namespace, references.config_maps),
            secrets=await self._objects(core.SECRET, namespace, references.secrets),
            allocatable=self._allocatable,
            grace_s=grace_s,
        )
        message = Mount(
            container.spec.get("terminationMessagePath") or TERMINATION_MESSAGE,
            str(message_file(pod_dir, container.name)),
        )
        if not container.spec.get("volumeMounts"):
            return replace(bare, mounts=[message])
        env = environment(container.spec, pod, bare)
        mounts = await asyncio.to_thread(mounts_of, container.spec, volumes, env)
        return replace(bare, mounts=[*mounts, message])

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
    argv: Sequence[str], env: Mapping[str, str], directory: str
) -> tuple[int, str]:  # fmt: skip
    """A command beside a container's program; ends with whoever waits for it."""
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, cwd=directory, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
    code = process.returncode or 0
    return code, output[:OUTPUT_BYTES_MAX].decode(errors="replace")
