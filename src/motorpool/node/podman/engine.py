"""Containers as podman's: `Engine` over libpod.

Rules: a run is a container of its own, made under a name that nobody else can take, so that none is
ever started twice; what is labelled with another data directory, or not at all, is left alone. How
a run has ended is written down (`records`) before anybody is told, and is true from then on,
whatever podman says later. Nothing of podman is touched before a Pod needs it.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from motorpool.api.errors import ApiError, InternalError
from motorpool.api.meta import Object, at, uid_of
from motorpool.api.streams import Pipe, Remote, Session, SessionOptions
from motorpool.loop.runner import Context
from motorpool.node.accelerators.devices import Accelerators
from motorpool.node.addresses import Addresses
from motorpool.node.containers import OUTPUT_BYTES_MAX, Containers
from motorpool.node.engine import Name, Refused, Scene, Started
from motorpool.node.pipes import connect
from motorpool.node.pod import Container
from motorpool.node.podman import records, sessions
from motorpool.node.podman.containers import PodmanContainers
from motorpool.node.podman.ending import end_of
from motorpool.node.podman.libpod import Libpod, LibpodError, is_no_change
from motorpool.node.podman.netns import connect_inside
from motorpool.node.podman.observed import RUNNING, run_of
from motorpool.node.podman.pods import PodmanPods
from motorpool.node.podman.processes import Process, process_of
from motorpool.node.podman.pulls import Pulls
from motorpool.node.podman.rotation import LogFile, rotate
from motorpool.node.podman.service import Service, owner_of, was_used
from motorpool.node.podman.spec import Image
from motorpool.node.podman.watching import Watched
from motorpool.node.seen import Run
from motorpool.node.usage import Reading
from motorpool.node.volumes import Tell

log = structlog.get_logger(__name__)

RESYNC_S = 5.0
RESYNC_EACH_S = 0.1  # for podman takes a millisecond for each container that it lists


@dataclass(slots=True)
class _Held:
    """A container that runs."""

    process: Process
    run: Run
    log: LogFile
    monitor_pid: int
    watched: Watched | None = None


class PodmanEngine:
    def __init__(
        self,
        data_dir: Path,
        ended: Callable[[Run], None],
        context: Context,
        *,
        addresses: Addresses,
        host_ip: str,
        containers: Containers,
        accelerators: Accelerators,
        tell: Callable[[str], None],
    ) -> None:
        """*tell* gets what this machine keeps podman from doing."""
        self._data_dir = data_dir
        self._owner = owner_of(data_dir)
        self._ended = ended
        self._clock = context.clock
        self._host_ip = host_ip
        self._addresses = addresses
        self._service = Service(data_dir, tell)
        self._libpod = Libpod(self._service.socket)
        self._pods = PodmanPods(self._libpod, addresses, self._owner, tell)
        self._pulls = Pulls(context.client, self._libpod)
        self._made = PodmanContainers(
            self._libpod, self._service, containers, accelerators, self._owner
        )
        self._images: dict[tuple[str, str], Image] = {}
        self._preparing: dict[str, asyncio.Task[tuple[str, str]]] = {}
        self._held: dict[str, _Held] = {}
        self._settling: dict[str, asyncio.Task[None]] = {}

    @property
    def name(self) -> Name:
        return "podman"

    async def run(self) -> None:
        """Looks after what was missed, and after logs that grow, until cancelled."""
        try:
            while True:
                await asyncio.sleep(RESYNC_S + RESYNC_EACH_S * len(self._held))
                if not self._held:
                    continue
                try:
                    await self._look()
                except OSError as error:
                    log.warning("podman", error=str(error))
                for held in list(self._held.values()):
                    await asyncio.to_thread(rotate, held.log)
        finally:
            for held in self._held.values():
                if held.watched is not None:
                    held.watched.close()
            for task in self._settling.values():
                task.cancel()
            await self._libpod.close()

    async def _look(self) -> None:
        listed = {str(entry["Id"]): entry for entry in await self._made.all()}
        for id_, held in list(self._held.items()):
            entry = listed.get(held.process.container)
            runs = entry is not None and entry.get("State") in RUNNING
            if not runs or not held.process.is_alive():
                self._settle_soon(id_, False)

    # What there is.

    async def runs(self) -> list[Run]:
        if not was_used(self._data_dir):
            return []
        found = await asyncio.to_thread(records.load, self._data_dir)
        try:
            for entry in await self._made.all():
                run = await self._adopt(str(entry["Id"]), found)
                if run is not None:
                    found[run.id] = run
        except OSError as error:
            # Containers that run are found again by their names, when they are to be started.
            log.warning("podman does not list", error=str(error))
        return list(found.values())

    def running(self) -> list[Run]:
        return [held.run for held in self._held.values()]

    async def uids(self) -> set[str]:
        """Of the Pods of which podman has something."""
        if not was_used(self._data_dir):
            return set()
        try:
            return await self._pods.uids()
        except OSError as error:
            log.warning("podman does not list", error=str(error))
            return set()

    async def _adopt(self, container: str, ended: Mapping[str, Run]) -> Run | None:
        inspected = await self._made.inspect(container)
        run = run_of(inspected) if inspected else None
        if inspected is None or run is None:
            await self._made.remove(container)
            return None
        if run.id in ended:
            return None
        if run.finished_at:
            await asyncio.to_thread(records.write, self._data_dir, run)
        else:
            self._hold(run, inspected)
        return run

    async def readings(self) -> dict[str, Reading]:
        """What each run uses, as podman knows it from control groups; {} where there are none."""
        names = {held.process.container: id_ for id_, held in self._held.items()}
        if not names:
            return {}
        asked = ",".join(names)
        found = await self._libpod.get("/containers/stats", stream=False, containers=asked)
        return {
            names[stats["ContainerID"]]: Reading(stats["CPUNano"] / 1e9, int(stats["MemUsage"]))
            for stats in found.get("Stats") or ()
            if stats.get("ContainerID") in names
        }

    # A Pod.

    async def prepare(self, pod: Object, pod_dir: Path, recorded_ip: str) -> str:
        found = await self._service.restrictions()
        if not found.bridge:
            self._pods.network = "ports"
        # Whoever is cancelled here leaves podman at work: `release` waits for that.
        uid = uid_of(pod)
        making = asyncio.create_task(self._pods.ensure(pod, self._host_ip, recorded_ip))
        self._preparing[uid] = making

        def made(task: asyncio.Task[tuple[str, str]]) -> None:
            self._preparing.pop(uid, None)
            if not task.cancelled():
                task.exception()  # Who waits for it gets it; perhaps nobody does any more.

        making.add_done_callback(made)
        return (await asyncio.shield(making))[1]

    async def release(self, uid: str, pod_ip: str) -> None:
        self._addresses.release(pod_ip)
        making = self._preparing.get(uid)
        if making is not None:
            await asyncio.gather(making, return_exceptions=True)
        for key in [key for key in self._images if key[0] == uid]:
            del self._images[key]
        if was_used(self._data_dir):
            await self._pods.remove(uid)

    # A container.

    async def image(self, container: Container, pod: Object, tell: Tell) -> str:
        image, image_id = await self._pulls.ensure(container, pod, tell)
        self._images[uid_of(pod), container.name] = image
        return image_id

    async def start(self, id_: str, scene: Scene) -> Started:
        ended = records.find(self._data_dir, id_)
        if ended is not None:
            self._ended(ended)
            return Started(ended)
        pod_id, pod_ip = await self._pods.ensure(scene.pod, self._host_ip, scene.pod_ip)
        container = await self._existing(id_)
        if container is None:
            image = self._images[uid_of(scene.pod), scene.container.name]
            container = await self._made.create(id_, pod_id, scene, image)
            await self._made.start(container)
        inspected = await self._made.inspect(container)
        run = run_of(inspected) if inspected else None
        if inspected is None or run is None:
            raise Refused("RunContainerError", "the container is gone again")
        if run.finished_at:
            await self._note_end(run)
        else:
            self._hold(run, inspected)
        return Started(run, pod_ip=pod_ip)

    async def _existing(self, id_: str) -> str | None:
        """What an agent before this one has started; what it has only made is removed."""
        for container in await self._made.of_run(id_):
            inspected = await self._made.inspect(container)
            if inspected is not None and run_of(inspected) is not None:
                return container
            await self._made.remove(container)
        return None

    async def signal(self, id_: str, number: int) -> None:
        held = self._held.get(id_)
        if held is None:
            return
        try:
            if number == signal.SIGTERM:
                inspected = await self._made.inspect(held.process.container) or {}
                number = int(at(inspected, "Config", "StopSignal", default=0) or number)
            name = str(int(number))
            await self._libpod.post(f"/containers/{held.process.container}/kill", signal=name)
        except LibpodError as error:
            if not is_no_change(error):
                raise
            self._settle_soon(id_, False)

    async def forget(self, id_: str) -> None:
        held = self._held.pop(id_, None)
        if held is not None and held.watched is not None:
            held.watched.close()
        if was_used(self._data_dir):
            for container in await self._made.of_run(id_):
                await self._made.remove(container)
        await asyncio.to_thread(records.forget, self._data_dir, id_)

    # Its end.

    def _hold(self, run: Run, inspected: Object) -> None:
        if run.id in self._held:
            return
        path = Path(str(at(inspected, "HostConfig", "LogConfig", "Path", default="")))
        control = Path(str(inspected.get("StaticDir", ""))) / "ctl"
        monitor_pid = int(at(inspected, "State", "ConmonPid", default=0))
        held = _Held(process_of(inspected), run, LogFile(path, control), monitor_pid)
        self._held[run.id] = held
        held.watched = Watched(held.process, lambda oom: self._settle_soon(run.id, oom))

    def _settle_soon(self, id_: str, oom: bool) -> None:
        if id_ in self._settling or id_ not in self._held:
            return
        task = asyncio.create_task(self._settle(self._held[id_], oom), name=f"end of {id_}")
        self._settling[id_] = task
        task.add_done_callback(lambda _: self._settling.pop(id_, None))

    async def _settle(self, held: _Held, oom: bool) -> None:
        """Until podman knows how it has ended."""
        run = await end_of(self._made, held.process, held.run, held.monitor_pid, self._clock)
        if run is not None:
            await self._note_end(replace(run, oom_killed=run.oom_killed or oom))

    async def _note_end(self, run: Run) -> None:
        held = self._held.pop(run.id, None)
        if held is not None and held.watched is not None:
            held.watched.close()
        await asyncio.to_thread(records.write, self._data_dir, run)
        self._ended(run)

    # Looking in.

    async def execute(
        self, id_: str, scene: Scene, command: Sequence[str]
    ) -> tuple[int, str]:  # fmt: skip
        held = self._held.get(id_)
        if held is None:
            return 126, "the container does not run"
        try:
            return await sessions.output_of(
                self._libpod, held.process.container, list(command), OUTPUT_BYTES_MAX
            )
        except ApiError as error:
            return 126, str(error)

    async def exec(self, id_: str, scene: Scene, options: SessionOptions) -> Session:
        container = self._running(id_)
        made = await sessions.exec_id(self._libpod, container, options)

        async def session(remote: Remote) -> int:
            with _told():
                return await sessions.run_command(self._libpod, made, options, remote)

        return session

    async def attach(self, id_: str, options: SessionOptions, *, once: bool) -> Session:
        container = self._running(id_)

        async def session(remote: Remote) -> int:
            with _told():
                await sessions.attach(self._libpod, container, options, remote, once=once)
            return 0

        return session

    def _running(self, id_: str) -> str:
        held = self._held.get(id_)
        if held is None:
            raise InternalError(f'container not found ("{id_.split("/")[1]}")')
        return held.process.container

    async def connect(self, uid: str, pod_ip: str, port: int) -> Pipe:
        """Inside the Pod's own network where we may go there, else at its address."""
        pids = [held.run.pid for held in self._held.values() if held.run.pod_uid == uid]
        for pid in pids[:1]:
            with contextlib.suppress(PermissionError, FileNotFoundError):
                return await connect(connect_inside(pid, port))
        return await connect(asyncio.open_connection(pod_ip, port))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What podman refuses, for a client."""
    try:
        yield
    except LibpodError as error:
        raise InternalError(f"Internal error occurred: {error}") from error
