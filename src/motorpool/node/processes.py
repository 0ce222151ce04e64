"""Containers as processes of this machine: `Engine` over the pod supervisor.

An image is an entry of the local images table; nothing is pulled. Each Pod has a loopback address.
"""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from motorpool.api.errors import ApiError, InternalError
from motorpool.api.meta import Object, at
from motorpool.api.streams import Pipe, Remote, Session, SessionOptions
from motorpool.node.access import write_kubeconfig
from motorpool.node.addresses import Addresses
from motorpool.node.attachments import attach
from motorpool.node.command import ConfigError, Program
from motorpool.node.containers import Containers
from motorpool.node.engine import Name, NotExecutable, Refused, Scene, Started
from motorpool.node.llmengine import (
    OURS,
    Model,
    NotVllm,
    arguments,
    choose,
    model_of,
    path_of,
)
from motorpool.node.localimages import LocalImage
from motorpool.node.pipes import connect
from motorpool.node.pod import Container
from motorpool.node.process import ProcessEngine, ProcessError
from motorpool.node.seen import Run
from motorpool.node.sessions import run_command
from motorpool.node.table import ImagesTable, is_importable
from motorpool.node.users import not_heeded
from motorpool.node.volumes import Tell

CACHE_VARIABLE = "MOTORPOOL_CACHE_DIR"
MODEL_VARIABLE = "MOTORPOOL_MODEL_PATH"
CACHE_DIRECTORY = "llm-cache"  # of the data directory: graphs, shared by all Pods
CONFIG_BYTES_MAX = 4 * 1024 * 1024


class Processes:
    def __init__(
        self,
        supervisor: ProcessEngine,
        *,
        containers: Containers,
        table: ImagesTable,
        addresses: Addresses,
        data_dir: Path,
        host_ip: str,
    ) -> None:
        self._supervisor = supervisor
        self._table = table
        self._data_dir = data_dir
        self._host_ip = host_ip
        self._addresses = addresses
        self._groups: dict[str, tuple[str, ...]] = {}  # of the runs that have any
        self._containers = containers

    @property
    def name(self) -> Name:
        return "process"

    async def run(self) -> None:
        await self._supervisor.run()

    async def runs(self) -> list[Run]:
        runs = await self._supervisor.runs()
        self._groups = {run.id: run.groups for run in runs if run.groups}
        return runs

    async def prepare(self, pod: Object, pod_dir: Path, recorded_ip: str) -> str:
        await asyncio.to_thread(write_kubeconfig, pod, pod_dir, self._data_dir / "kubeconfig")
        if at(pod, "spec", "hostNetwork"):
            return self._host_ip
        return recorded_ip or self._addresses.allocate()

    async def image(self, container: Container, pod: Object, tell: Tell) -> str:
        entry = self._entry(container)
        present = f'Container image "{container.image}" already present on machine'
        tell("Normal", "Pulled", present)
        ignored = not_heeded(container.spec, pod, os.geteuid())
        if ignored:
            tell("Warning", "SecurityContextIgnored", ignored)
        return f"local://{entry.match[0]}"

    async def start(self, id_: str, scene: Scene) -> Started:
        try:
            program, choice = await self._program(scene)
        except (ConfigError, NotVllm) as error:
            raise Refused("CreateContainerConfigError", str(error)) from None
        except (ApiError, OSError) as error:
            raise Refused("CreateContainerError", str(error)) from error
        try:
            run, notice = await self._supervisor.start(id_, program)
        except ProcessError as error:
            raise NotExecutable(error.strerror or str(error)) from error
        except OSError as error:
            raise Refused("RunContainerError", f"the pod supervisor: {error}") from error
        if run.groups:
            self._groups[id_] = run.groups
        return Started(run, notice, choice=choice)

    async def signal(self, id_: str, number: int) -> None:
        await self._supervisor.signal(id_, number)

    async def forget(self, id_: str) -> None:
        self._groups.pop(id_, None)
        await self._supervisor.forget(id_)

    async def release(self, uid: str, pod_ip: str) -> None:
        self._addresses.release(pod_ip)

    async def execute(
        self, id_: str, scene: Scene, command: Sequence[str]
    ) -> tuple[int, str]:  # fmt: skip
        return await self._containers.execute(scene, command, self._groups.get(id_, ()))

    async def exec(self, id_: str, scene: Scene, options: SessionOptions) -> Session:
        entry = self._table.find(scene.container.image)
        if entry is None:
            raise InternalError(self._table.missing(scene.container.image))
        try:
            program = await self._containers.beside(options.command, scene, entry)
            program = replace(program, groups=self._groups.get(id_, ()))
        except ConfigError as error:
            raise InternalError(str(error)) from None
        except OSError as error:
            raise InternalError(f"Internal error occurred: {error}") from error

        async def session(remote: Remote) -> int:
            return await run_command(program, options, remote)

        return session

    async def attach(self, id_: str, options: SessionOptions, *, once: bool) -> Session:
        async def session(remote: Remote) -> int:
            await attach(self._data_dir, id_, options, remote, once=once)
            return 0

        return session

    async def connect(self, uid: str, pod_ip: str, port: int) -> Pipe:
        return await connect(asyncio.open_connection(pod_ip, port))

    async def _program(self, scene: Scene) -> tuple[Program, str]:
        """With the reason where there was a choice. Raises Refused, ConfigError, NotVllm."""
        entry = self._entry(scene.container)
        if not entry.engine:
            return await self._containers.program(scene, entry), ""
        entries = [hit.entry for hit in self._table.hits(scene.container.image)]
        spec = scene.container.spec
        try:
            args = arguments(spec.get("command") or (), spec.get("args") or ())
        except NotVllm as error:
            choice = choose(entries, scene.pod, Model(problem=str(error)), is_importable)
            if choice.entry is not None and choice.entry.engine == OURS:
                raise
            plain = scene
        else:
            container = replace(scene.container, spec={**spec, "command": None, "args": args})
            plain = replace(scene, container=container)
            # The arguments as the program will see them name a directory of this machine.
            ours = await self._containers.program(plain, entry)
            model = await asyncio.to_thread(_model, path_of(ours.argv[len(entry.command) :]))
            choice = choose(entries, scene.pod, model, is_importable)
        if choice.entry is None:
            raise Refused("ErrImageNeverPull", choice.reason)
        if choice.entry.engine != OURS:
            return await self._containers.program(scene, choice.entry), choice.reason
        program = await self._containers.program(plain, choice.entry)
        given = {
            CACHE_VARIABLE: str(self._data_dir / CACHE_DIRECTORY),
            # As the container's own arguments say it; clients may call the model by it.
            MODEL_VARIABLE: path_of(plain.container.spec["args"]),
        }
        return replace(program, env={**given, **program.env}), choice.reason

    def _entry(self, container: Container) -> LocalImage:
        entry = self._table.find(container.image)
        if entry is None:
            raise Refused("ErrImageNeverPull", self._table.missing(container.image))
        return entry


def _model(path: str) -> Model:
    """What is known of the checkpoint in *path*; blocking."""
    if not path.startswith("/"):
        return Model(problem=f"{path or 'none'} is no directory")
    try:
        with Path(path, "config.json").open("rb") as file:
            config = msgspec.json.decode(file.read(CONFIG_BYTES_MAX))
    except OSError as error:
        return Model(problem=f"config.json: {error.strerror}")
    except msgspec.DecodeError as error:
        return Model(problem=f"config.json: {error}")
    return model_of(config) if isinstance(config, dict) else Model(problem="config.json: no object")
