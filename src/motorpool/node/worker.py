"""One Pod of this machine: carries out the steps that `machine.py` gives, and reports.

Rules: whatever takes time runs in a task of its own and ends by changing what is seen, so that the
loop only ever asks "what next?" of values. The status is written when it differs from the last
one. What the supervisor reports may come twice or early, and is then ignored.
"""

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import structlog

from motorpool.api import core
from motorpool.api.errors import ApiError, Conflict, InternalError, NotFound
from motorpool.api.meta import Object, at, name_of, namespace_of, uid_of
from motorpool.base.backoff import Backoff
from motorpool.base.clock import Clock
from motorpool.client import Client
from motorpool.loop.events import EventRecorder
from motorpool.node import machine, seen
from motorpool.node.command import ConfigError, Program
from motorpool.node.containers import Containers, last_message, message_file
from motorpool.node.hooks import HookFailed, run_hook
from motorpool.node.logs import last_words
from motorpool.node.pod import Container, pod_of
from motorpool.node.probes import Kind, watch
from motorpool.node.process import ProcessEngine, ProcessError
from motorpool.node.seen import PodSeen, Run, run_id
from motorpool.node.status import Where, pod_status
from motorpool.node.table import ImagesTable
from motorpool.node.tasks import Tasks
from motorpool.node.volumes import (
    Images,
    PodFacts,
    Volume,
    VolumeError,
    Volumes,
    clear_away,
    references_of_volume,
)

log = structlog.get_logger(__name__)

RETRY = Backoff(first_s=0.1, most_s=10.0)
CONFLICTS_MAX = 5
VANISHED_GRACE_S = 2.0
COMPONENT = "kubelet"


@dataclass(frozen=True, slots=True)
class Node:
    """What all Pods of this machine share."""

    client: Client
    events: EventRecorder
    clock: Clock
    engine: ProcessEngine
    images: Images
    table: ImagesTable
    data_dir: Path
    host_ip: str
    allocatable: dict[str, str]
    base_env: dict[str, str]

    def now(self) -> float:
        return self.clock().timestamp()


class PodWorker:
    def __init__(self, node: Node, obj: Object, pod_ip: str, runs: Sequence[Run] = ()) -> None:
        self.obj = obj
        self.pod = pod_of(obj)
        self.pod_ip = pod_ip
        self.seen = PodSeen()
        self.pod_dir = node.data_dir / "pods" / self.pod.uid
        self._node = node
        self._volumes: dict[str, Volume] = {}
        self._stale = self._is_refreshing = False
        self._gone = False
        self._finished = False
        self._changed = asyncio.Event()
        self._tasks = Tasks(self.pod.full_name)
        self._containers = Containers(node.client, node.base_env, node.allocatable)
        self._adopt(runs)

    # What happens to it.

    def update(self, obj: Object) -> None:
        """What the API has now. The same again is no news: waking for it would never end."""
        if int(obj["metadata"]["resourceVersion"]) > int(self.obj["metadata"]["resourceVersion"]):
            self.obj = obj
            self.pod = pod_of(obj)
            self._changed.set()

    def vanish(self) -> None:
        """The object is gone: what runs is to end."""
        self._gone = True
        grace_s = min(self.pod.deletion_grace_s, VANISHED_GRACE_S)
        self.pod = replace(self.pod, is_deleting=True, deletion_grace_s=grace_s)
        self._changed.set()

    def ended(self, run: Run) -> None:
        """The supervisor says that a process has ended."""
        now = self.seen.of(run.container)
        if now.run != run.number or now.phase not in ("starting", "running"):
            return
        self._tasks.cancel(f"{run.container}/")
        container = self.pod.container(run.container)
        after = seen.ended(now, self._with_words(container, run))
        self._note(run.container, after)
        if after.crashes > 1 and machine.waits_to_restart(container, after, self._node.now()):
            message = f"Back-off restarting failed container {container.name} in pod "
            self._tell("Warning", "BackOff", message + self.pod.full_name)

    def retry(self) -> None:
        """The local images table has changed."""
        for name, container in self.seen.containers.items():
            if container.phase == "failed":
                self._note(name, replace(container, phase="absent"))

    async def program_beside(self, name: str, command: Sequence[str]) -> Program:
        """A command in the environment of a container that runs. Raises ApiError, OSError."""
        container = self.pod.container(name)
        entry = self._node.table.find(container.image)
        if entry is None:
            raise InternalError(self._node.table.missing(container.image))
        try:
            return await self._containers.beside(
                command, container, self.obj, entry, self._volumes, self._surroundings()
            )
        except ConfigError as error:
            raise InternalError(str(error)) from None

    def is_running(self, container: str, run: int) -> bool:
        now = self.seen.of(container)
        return now.run == run and now.phase in ("starting", "running")

    def object_changed(self, kind: str, name: str) -> None:
        """A ConfigMap or Secret of its namespace is not what it was."""
        volumes = at(self.obj, "spec", "volumes", default=None) or ()
        if self.seen.volumes.phase != "ready" or not any(
            (kind, name) in references_of_volume(volume) for volume in volumes
        ):
            return
        self._stale = True
        if not self._is_refreshing:
            self._is_refreshing = True
            self._tasks.spawn("refresh volumes", self._refresh_volumes())

    def run_number(self, container: str) -> int | None:
        """Of the run that is under way, if one is."""
        now = self.seen.of(container)
        return now.run if now.phase == "running" else None

    # The loop.

    async def run(self) -> None:
        """Makes the Pod true until it is gone. Leaves its processes alone when cancelled."""
        failures = 0
        for container in self.pod:
            if self.seen.of(container.name).phase == "running":
                self._watch_over(container)  # It was adopted.
        try:
            while not self._finished:
                self._changed.clear()
                plan = machine.next_steps(self.pod, self.seen, self._node.now())
                again_at = plan.again_at
                try:
                    for step in plan.steps:
                        await self._carry_out(step)
                    await self._publish()
                    failures = 0
                except (ApiError, OSError) as error:
                    failures += 1
                    again_at = self._node.now() + RETRY.delay_s(failures)
                    log.warning("pod", pod=self.pod.full_name, error=str(error))
                if not plan.steps or failures:
                    await self._wait(again_at)
        finally:
            self._tasks.cancel()

    async def _wait(self, again_at: float | None) -> None:
        timeout_s = None if again_at is None else max(0.0, again_at - self._node.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    async def _carry_out(self, step: machine.Step) -> None:
        match step:
            case machine.PrepareVolumes():
                problem = self.seen.volumes.problem
                self.seen = replace(self.seen, volumes=seen.Volumes("preparing", problem))
                self._tasks.spawn("volumes", self._prepare_volumes())
            case machine.AbandonVolumes():
                self._tasks.cancel("volumes")
                self.seen = replace(self.seen, volumes=seen.Volumes())
            case machine.Start(name):
                before = self.seen.of(name)
                self._note(name, seen.starting(before))
                self._tasks.spawn(f"start {name}", self._start(self.pod.container(name)))
            case machine.Stop(name, grace_s, why):
                stopping = seen.Stopping(self._node.now(), grace_s)
                self._note(name, replace(self.seen.of(name), stopping=stopping))
                self._tasks.spawn(
                    f"{name}/stop", self._stop(self.pod.container(name), grace_s, why)
                )
            case machine.Kill(name):
                await self._kill(name)
            case machine.Finish():
                await self._finish()

    async def _kill(self, name: str) -> None:
        self._note_killed(name, True)
        try:
            await self._node.engine.signal(self._run_id(name), signal.SIGKILL)
        except OSError:
            self._note_killed(name, False)
            raise

    def _note_killed(self, name: str, killed: bool) -> None:
        now = self.seen.of(name)
        if now.stopping is not None:
            self._note(name, replace(now, stopping=replace(now.stopping, killed=killed)))

    # Volumes and starts.

    async def _prepare_volumes(self) -> None:
        volumes = self._volumes_of_now()
        try:
            adopted = bool(self.seen.containers)
            self._volumes = await volumes.prepare(self._tell, local=adopted)
        except VolumeError as error:
            self._volumes_failed(error.reason, str(error), error.image)
        except (ApiError, OSError) as error:
            self._volumes_failed("FailedMount", str(error), "")
        else:
            self.seen = replace(self.seen, volumes=seen.Volumes("ready"))
        self._changed.set()

    def _volumes_of_now(self) -> Volumes:
        node = self._node
        facts = PodFacts(self.obj, self.pod_ip, node.host_ip, node.allocatable)
        return Volumes(node.client, node.images, facts, self.pod_dir)

    async def _refresh_volumes(self) -> None:
        """One at a time, and once more where something has changed meanwhile."""
        try:
            while self._stale:
                self._stale = False
                await self._volumes_of_now().refresh(self._tell)
        except (ApiError, OSError) as error:
            self._tell("Warning", "FailedMount", str(error))
        finally:
            self._is_refreshing = False

    def _volumes_failed(self, reason: str, message: str, image: str) -> None:
        before = self.seen.volumes.problem
        if before is None or before.message != message:
            self._tell("Warning", "Failed" if image else "FailedMount", message)
        # Kubernetes has no waiting reason of its own for a volume that cannot be mounted.
        reason = "ContainerCreating" if reason == "FailedMount" else reason
        attempts = before.attempts + 1 if before else 1
        problem = seen.Problem(reason, message, self._node.now(), attempts, image)
        self.seen = replace(self.seen, volumes=seen.Volumes("failed", problem))

    async def _start(self, container: Container) -> None:
        name = container.name
        node = self._node
        entry = node.table.find(container.image)
        if entry is None:
            self._failed(name, "ErrImageNeverPull", node.table.missing(container.image))
            return
        try:
            program = await self._containers.program(
                container, self.obj, entry, self._volumes, self._surroundings()
            )
        except ConfigError as error:
            self._failed(name, "CreateContainerConfigError", str(error))
            return
        except (ApiError, OSError) as error:
            self._failed(name, "CreateContainerError", str(error))
            return
        message_file(self.pod_dir, name).write_bytes(b"")
        present = f'Container image "{container.image}" already present on machine'
        self._tell("Normal", "Pulled", present)
        self._tell("Normal", "Created", f"Created container: {name}")
        try:
            run, notice = await node.engine.start(self._run_id(name), program)
        except ProcessError as error:
            self._not_executable(name, error.strerror or str(error))
            return
        except OSError as error:
            self._failed(name, "RunContainerError", f"the pod supervisor: {error}")
            return
        if notice:
            log.warning("not forked", pod=self.pod.full_name, container=name, notice=notice)
        self._tell("Normal", "Started", f"Started container {name}")
        now = self.seen.of(name)
        if now.phase != "starting":
            return  # Its end was reported before its start.
        self._note(
            name,
            replace(
                seen.running(
                    now, run.started_at,
                    has_startup=container.has_startup_probe,
                    has_readiness=container.has_readiness_probe,
                ),
                image_id=f"local://{entry.match[0]}",
            ),
        )  # fmt: skip
        hook = at(container.spec, "lifecycle", "postStart")
        if hook:
            self._tasks.spawn(f"{name}/postStart", self._post_start(container, hook))
        self._watch_over(container)
        await self._tidy(name, run.number)

    def _surroundings(self) -> tuple[str, str, Path, float]:
        return self.pod_ip, self._node.host_ip, self.pod_dir, self.pod.grace_s

    def _failed(self, name: str, reason: str, message: str) -> None:
        before = self.seen.of(name)
        if before.problem is None or before.problem.message != message:
            self._tell("Warning", "Failed", f"Error: {message}")
        self._note(name, seen.failed(before, reason, message, self._node.now()))

    def _not_executable(self, name: str, message: str) -> None:
        moment = self._node.now()
        message = f'failed to start container "{name}": {message}'
        self._tell("Warning", "Failed", f"Error: {message}")
        after = seen.exited(self.seen.of(name), 128, None, moment, moment)
        if after.exit is not None:
            end = replace(after.exit, reason="StartError", message=message)
            self._note(name, replace(after, exit=end))

    async def _tidy(self, container: str, run: int) -> None:
        """Forgets what is older than the run before this one."""
        if run >= 2:
            with contextlib.suppress(OSError):
                await self._node.engine.forget(run_id(self.pod.uid, container, run - 2))
            for path in (self.pod_dir / "logs" / container).glob(f"{run - 2}.log*"):
                path.unlink(missing_ok=True)

    # Health.

    def _watch_over(self, container: Container) -> None:
        """Starts the probes of a container that runs."""
        if container.has_startup_probe and not self.seen.of(container.name).started:
            self._probe(container, "startup")
        else:
            self._probe(container, "liveness")
            self._probe(container, "readiness")

    def _probe(self, container: Container, kind: Kind) -> None:
        probe = container.spec.get(f"{kind}Probe")
        if not probe:
            return

        def told(verdict: bool | None, words: str) -> None:
            self._probed(container, kind, verdict, words)

        ready = self.seen.of(container.name).ready and kind == "readiness"
        target = self._containers.target(container, self.obj, self._volumes, self._surroundings())
        self._tasks.spawn(f"{container.name}/{kind}", watch(kind, probe, target, told, ready=ready))

    def _probed(self, container: Container, kind: Kind, verdict: bool | None, words: str) -> None:
        name, now = container.name, self.seen.of(container.name)
        if now.phase != "running":
            return
        if verdict is not True:
            self._tell("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {words}")
        if verdict is None:
            return
        if kind == "readiness":
            self._note(name, replace(now, ready=verdict))
        elif not verdict:
            self._note(name, replace(now, unhealthy=kind))
        elif kind == "startup":
            ready = not container.has_readiness_probe
            self._note(name, replace(now, started=True, ready=ready))
            self._watch_over(container)
            self._tasks.cancel(f"{name}/startup")

    async def _post_start(self, container: Container, hook: Object) -> None:
        target = self._containers.target(container, self.obj, self._volumes, self._surroundings())
        try:
            await run_hook(hook, target)
        except HookFailed as error:
            self._tell("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}")
            with contextlib.suppress(OSError):
                await self._node.engine.signal(self._run_id(container.name), signal.SIGTERM)

    async def _stop(self, container: Container, grace_s: float, why: str) -> None:
        message = f"Stopping container {container.name}"
        if why in ("liveness", "startup"):
            message = f"Container {container.name} failed {why} probe, will be restarted"
        self._tell("Normal", "Killing", message)
        hook = at(container.spec, "lifecycle", "preStop")
        if hook and grace_s > 0:
            target = self._containers.target(
                container, self.obj, self._volumes, self._surroundings()
            )
            try:
                async with asyncio.timeout(grace_s):
                    await run_hook(hook, target)
            except (HookFailed, TimeoutError) as error:
                self._tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {error}")
        try:
            await self._node.engine.signal(self._run_id(container.name), signal.SIGTERM)
        except OSError as error:
            log.warning("no SIGTERM", pod=self.pod.full_name, error=str(error))

    # The end.

    async def _finish(self) -> None:
        """Everything of the Pod on this machine, then its object."""
        node = self._node
        self._tasks.cancel()
        await self._publish()
        for name, now in self.seen.containers.items():
            for run in range(max(0, now.run - 2), now.run + 1):
                await node.engine.forget(run_id(self.pod.uid, name, run))
        await asyncio.to_thread(clear_away, node.images, self.pod.uid, self.pod_dir)
        if not self._gone:
            with contextlib.suppress(NotFound, Conflict):
                await node.client.delete(
                    core.POD, self.pod.namespace, self.pod.name, uid=self.pod.uid, grace_s=0
                )
        self._finished = True

    async def _publish(self) -> None:
        for _ in range(CONFLICTS_MAX):
            if self._gone:
                return
            where = Where(self.pod_ip, self._node.host_ip)
            status = pod_status(self.pod, self.obj, self.seen, where, self._node.now())
            if status == self.obj.get("status"):
                return
            try:
                self.update(await self._node.client.replace_status(core.POD, self.obj, status))
            except Conflict:
                await self._read_again()
            except NotFound:
                self.vanish()

    async def _read_again(self) -> None:
        try:
            fresh = await self._node.client.get(
                core.POD, namespace_of(self.obj), name_of(self.obj)
            )  # fmt: skip
        except NotFound:
            self.vanish()
            return
        if uid_of(fresh) != self.pod.uid:
            self.vanish()
        else:
            self.update(fresh)

    # Adoption.

    def _adopt(self, runs: Sequence[Run]) -> None:
        """Takes over what an agent before this one has started."""
        for container in self.pod:
            mine = (r for r in runs if r.container == container.name)
            own = [self._with_words(container, r) for r in sorted(mine, key=lambda r: r.number)]
            if own:
                status = seen.status_of(self.obj, container.name)
                adopted = seen.adopted(own, status, has_startup=container.has_startup_probe)
                self.seen = self.seen.with_container(container.name, adopted)

    # Small things.

    def _with_words(self, container: Container, run: Run) -> Run:
        """The run with its termination message: what it left, or the end of its log if asked."""
        if not run.finished_at:
            return run
        words = last_message(self.pod_dir, container.name)
        asked = container.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if words or not asked or run.exit_code == 0:
            return replace(run, words=words)
        path = self.pod_dir / "logs" / run.container / f"{run.number}.log"
        return replace(run, words=last_words(path))

    def _run_id(self, container: str) -> str:
        return run_id(self.pod.uid, container, self.seen.of(container).run)

    def _note(self, container: str, now: seen.Seen) -> None:
        self.seen = self.seen.with_container(container, now)
        self._changed.set()

    def _tell(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._node.events.record(self.obj, type_, reason, message, component=COMPONENT)
