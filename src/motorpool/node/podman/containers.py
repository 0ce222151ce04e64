"""Podman's containers of this data directory: made, found by their labels, removed."""

from dataclasses import replace

from motorpool.api.errors import ApiError
from motorpool.api.meta import Object
from motorpool.node.accelerators.allocation import Unavailable
from motorpool.node.accelerators.devices import Accelerators
from motorpool.node.command import ConfigError, environment
from motorpool.node.containers import Containers
from motorpool.node.engine import NotExecutable, Refused, Scene
from motorpool.node.podman.cdi import specified_kinds
from motorpool.node.podman.libpod import Libpod, LibpodError
from motorpool.node.podman.observed import is_start_error, start_words
from motorpool.node.podman.pods import GONE
from motorpool.node.podman.service import Service
from motorpool.node.podman.spec import (
    LABEL_OWNER,
    LABEL_RUN,
    Image,
    Surrounded,
    container_spec,
    devices_of,
)


class PodmanContainers:
    def __init__(
        self,
        libpod: Libpod,
        service: Service,
        containers: Containers,
        accelerators: Accelerators,
        owner: str,
    ) -> None:
        self._libpod = libpod
        self._service = service
        self._containers = containers
        self._accelerators = accelerators
        self._owner = owner

    async def create(self, id_: str, pod_id: str, scene: Scene, image: Image) -> str:
        """Gives its id. Raises Refused, OSError."""
        run = id_.rsplit("/", 1)[1]
        log_path = scene.pod_dir / "logs" / scene.container.name / f"{run}.log"
        log_path.parent.mkdir(parents=True, exist_ok=True)
        found = await self._service.restrictions()
        try:
            self._containers.note_links(scene)
            around = await self._containers.surroundings(scene)
            bare = replace(around, base_env=around.links)
            own = environment(scene.container.spec, scene.pod, bare)
            assigned = await self._accelerators.assigned(scene.pod, scene.container.name)
            surrounded = Surrounded(
                owner=self._owner,
                pod_id=pod_id,
                run=int(run),
                image=image,
                env={**around.links, **own},
                mounts=around.mounts,
                log_path=str(log_path),
                grace_s=scene.grace_s,
                limits=found.limits,
                devices=devices_of(assigned, specified_kinds()),
            )
            spec = container_spec(scene.container.spec, scene.pod, surrounded)
        except (ConfigError, Unavailable) as error:
            raise Refused("CreateContainerConfigError", str(error)) from None
        except ApiError as error:
            raise Refused("CreateContainerError", str(error)) from error
        try:
            made = await self._libpod.post("/containers/create", spec)
        except LibpodError as error:
            raise Refused("CreateContainerError", str(error)) from error
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Raises Refused or NotExecutable, and leaves nothing then."""
        try:
            await self._libpod.post(f"/containers/{container}/start")
        except LibpodError as error:
            await self.remove(container)
            if is_start_error(str(error)):
                raise NotExecutable(start_words(str(error))) from error
            raise Refused("RunContainerError", str(error)) from error

    async def all(self) -> list[Object]:
        """Those of every run, as podman lists them."""
        return [entry for entry in await self._list() if not entry.get("IsInfra")]

    async def of_run(self, id_: str) -> list[str]:
        """The ids of those that were made for a run."""
        return [str(entry["Id"]) for entry in await self._list(f"{LABEL_RUN}={id_}")]

    async def _list(self, *labels: str) -> list[Object]:
        filters = {"label": [f"{LABEL_OWNER}={self._owner}", *labels]}
        return await self._libpod.get("/containers/json", all=True, filters=filters) or []

    async def inspect(self, container: str) -> Object | None:
        """None where it is gone."""
        try:
            found: Object = await self._libpod.get(f"/containers/{container}/json")
        except LibpodError as error:
            if error.status == GONE:
                return None
            raise
        return found

    async def remove(self, container: str) -> None:
        """Whatever it does, at once."""
        try:
            await self._libpod.delete(f"/containers/{container}", force=True, v=True, timeout=0)
        except LibpodError as error:
            if error.status != GONE:
                raise
