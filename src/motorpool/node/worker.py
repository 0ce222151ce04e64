"""One Pod of this machine: carries out the steps that `machine.py` gives, and reports.

Rules: whatever takes time runs in a task of its own and ends by changing what is seen, so that the
loop only ever asks "what next?" of values. The status is written when it differs from the last
one. What the engine reports may come twice or early, and is then ignored.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

import structlog

from motorpool.api import core
from motorpool.api.errors import ApiError, Conflict, NotFound
from motorpool.api.meta import Object, name_of, namespace_of, uid_of
from motorpool.api.streams import Pipe, Session, SessionOptions
from motorpool.base.backoff import Backoff
from motorpool.node import machine, seen
from motorpool.node.health import Health
from motorpool.node.ledger import Ledger, Node
from motorpool.node.pod import Pod
from motorpool.node.seen import Run, run_id
from motorpool.node.starting import Starts
from motorpool.node.status import Where, pod_status
from motorpool.node.volumes import clear_away

log = structlog.get_logger(__name__)

RETRY = Backoff(first_s=0.1, most_s=10.0)
CONFLICTS_MAX = 5
VANISHED_GRACE_S = 2.0
SHOWN_IN_FILES = ("labels", "annotations")


class PodWorker:
    def __init__(self, node: Node, obj: Object, runs: Sequence[Run] = ()) -> None:
        self._ledger = Ledger(node, obj)
        self._health = Health(self._ledger)
        self._starts = Starts(self._ledger, self._health)
        self._gone = False
        self._finished = False
        self._adopt(runs)

    @property
    def pod(self) -> Pod:
        return self._ledger.pod

    # What happens to it.

    def update(self, obj: Object) -> None:
        """What the API has now."""
        before = self._ledger.obj["metadata"]
        self._ledger.take(obj)
        if any(before.get(name) != obj["metadata"].get(name) for name in SHOWN_IN_FILES):
            self._starts.refresh()

    def vanish(self) -> None:
        """The object is gone: what runs is to end."""
        ledger = self._ledger
        self._gone = True
        grace_s = min(ledger.pod.deletion_grace_s, VANISHED_GRACE_S)
        ledger.pod = replace(ledger.pod, is_deleting=True, deletion_grace_s=grace_s)
        ledger.changed.set()

    def ended(self, run: Run) -> None:
        """The engine says that a run has ended."""
        ledger = self._ledger
        now = ledger.seen.of(run.container)
        if now.run != run.number or now.phase not in ("starting", "running"):
            return
        ledger.tasks.cancel(f"{run.container}/")
        container = ledger.pod.container(run.container)
        after = seen.ended(now, ledger.with_words(container, run))
        ledger.note(run.container, after)
        if after.crashes > 1 and machine.waits_to_restart(container, after, ledger.node.now()):
            message = f"Back-off restarting failed container {container.name} in pod "
            ledger.tell("Warning", "BackOff", message + ledger.pod.full_name)

    def retry(self) -> None:
        """The local images table has changed."""
        for name, container in self._ledger.seen.containers.items():
            if container.phase == "failed":
                self._ledger.note(name, replace(container, phase="absent"))

    def images_came(self, is_here: Callable[[str], bool]) -> None:
        """Names in the image store have changed: the one that it waits for may be among them."""
        volumes = self._ledger.seen.volumes
        problem = volumes.problem if volumes.phase == "failed" else None
        waits = problem is not None and problem.image and problem.reason != "InvalidImageName"
        if problem is not None and waits and is_here(problem.image):
            self._ledger.note_volumes(replace(volumes, phase="absent"))

    @property
    def may_begin_anew(self) -> bool:
        """Whether another engine would serve it better: nothing of it has ever run."""
        ledger = self._ledger
        begun = any(
            container.phase not in ("absent", "pulling", "failed") or container.run
            for container in ledger.seen.containers.values()
        )
        chosen = ledger.node.engines.choice(ledger.pod)
        return not begun and not self._gone and chosen != ledger.engines.main.name

    async def leave(self) -> None:
        """Gives back what its engine holds; another worker begins with another engine."""
        await self._ledger.engines.release(self.pod.uid, self._ledger.pod_ip)
        (self._ledger.pod_dir / "pod.json").unlink(missing_ok=True)

    def object_changed(self, kind: str, name: str) -> None:
        """A ConfigMap or Secret of its namespace is not what it was."""
        self._starts.object_changed(kind, name)

    # What clients ask of it.

    @property
    def is_over(self) -> bool:
        """Its containers have ended for good."""
        return machine.outcome(self.pod, self._ledger.seen) is not None

    def warn(self, reason: str, message: str) -> None:
        """An event on the Pod."""
        self._ledger.tell("Warning", reason, message)

    def is_running(self, container: str, run: int) -> bool:
        now = self._ledger.seen.of(container)
        return now.run == run and now.phase in ("starting", "running")

    def run_number(self, container: str) -> int | None:
        """Of the run that is under way, if one is."""
        now = self._ledger.seen.of(container)
        return now.run if now.phase == "running" else None

    async def exec(self, name: str, options: SessionOptions) -> Session:
        """A command beside a container that runs. Raises ApiError."""
        ledger = self._ledger
        scene = ledger.scene(ledger.pod.container(name))
        return await ledger.engines.of(name).exec(ledger.run_id(name), scene, options)

    async def attach(self, name: str, options: SessionOptions) -> Session:
        """A container's own program. Raises ApiError."""
        ledger = self._ledger
        spec = ledger.pod.container(name).spec
        options = replace(options, stdin=options.stdin and bool(spec.get("stdin")))
        once = bool(spec.get("stdinOnce"))
        return await ledger.engines.of(name).attach(ledger.run_id(name), options, once=once)

    async def connect(self, port: int) -> Pipe:
        """Raises OSError."""
        ledger = self._ledger
        return await ledger.engines.main.connect(ledger.pod.uid, ledger.pod_ip, port)

    # The loop.

    async def run(self) -> None:
        """Makes the Pod true until it is gone. Leaves what runs alone when cancelled."""
        ledger, failures = self._ledger, 0
        for container in ledger.pod:
            if ledger.seen.of(container.name).phase == "running":
                self._health.watch_over(container)  # It was adopted.
        try:
            while not self._finished:
                ledger.changed.clear()
                plan = machine.next_steps(ledger.pod, ledger.seen, ledger.node.now())
                again_at = plan.again_at
                try:
                    for step in plan.steps:
                        await self._carry_out(step)
                    await self._publish()
                    failures = 0
                except (ApiError, OSError) as error:
                    failures += 1
                    again_at = ledger.node.now() + RETRY.delay_s(failures)
                    log.warning("pod", pod=ledger.pod.full_name, error=str(error))
                if not plan.steps or failures:
                    await self._wait(again_at)
        finally:
            ledger.tasks.cancel()

    async def _wait(self, again_at: float | None) -> None:
        ledger = self._ledger
        timeout_s = None if again_at is None else max(0.0, again_at - ledger.node.now())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await ledger.changed.wait()

    async def _carry_out(self, step: machine.Step) -> None:
        ledger = self._ledger
        match step:
            case machine.PrepareVolumes():
                problem = ledger.seen.volumes.problem
                ledger.note_volumes(seen.Volumes("preparing", problem))
                ledger.tasks.spawn("volumes", self._starts.prepare())
            case machine.AbandonVolumes():
                ledger.tasks.cancel("volumes")
                ledger.note_volumes(seen.Volumes())
            case machine.AbandonPull(name):
                ledger.tasks.cancel(f"start {name}")
                ledger.note(name, replace(ledger.seen.of(name), phase="absent"))
            case machine.Start(name):
                container = ledger.pod.container(name)
                ledger.note(name, seen.starting(ledger.seen.of(name), container.image))
                ledger.tasks.spawn(f"start {name}", self._starts.start(container))
            case machine.Stop(name, grace_s, why):
                stopping = seen.Stopping(ledger.node.now(), grace_s, to_change=why == "changed")
                ledger.note(name, replace(ledger.seen.of(name), stopping=stopping))
                container = ledger.pod.container(name)
                work = self._health.stop(container, grace_s, why)
                ledger.tasks.spawn(f"{name}/stop", work)
            case machine.Kill(name):
                await self._kill(name)
            case machine.Fail(verdict):
                ledger.fail(verdict)
            case machine.Finish():
                await self._finish()

    async def _kill(self, name: str) -> None:
        self._note_killed(name, True)
        try:
            engine = self._ledger.engines.of(name)
            await engine.signal(self._ledger.run_id(name), signal.SIGKILL)
        except OSError:
            self._note_killed(name, False)
            raise

    def _note_killed(self, name: str, killed: bool) -> None:
        now = self._ledger.seen.of(name)
        if now.stopping is not None:
            stopping = replace(now.stopping, killed=killed)
            self._ledger.note(name, replace(now, stopping=stopping))

    # The end.

    async def _finish(self) -> None:
        """Everything of the Pod on this machine, then its object."""
        ledger, node = self._ledger, self._ledger.node
        ledger.tasks.cancel()
        await self._publish()
        for name, now in ledger.seen.containers.items():
            for run in range(max(0, now.run - 2), now.run + 1):
                await ledger.engines.of(name).forget(run_id(ledger.pod.uid, name, run))
        await ledger.engines.release(ledger.pod.uid, ledger.pod_ip)
        await asyncio.to_thread(clear_away, node.images, ledger.pod.uid, ledger.pod_dir)
        if not self._gone:
            with contextlib.suppress(NotFound, Conflict):
                await node.client.delete(
                    core.POD, ledger.pod.namespace, ledger.pod.name, uid=ledger.pod.uid, grace_s=0
                )
        self._finished = True

    async def _publish(self) -> None:
        ledger = self._ledger
        for _ in range(CONFLICTS_MAX):
            if self._gone:
                return
            where = Where(ledger.pod_ip, ledger.node.host_ip)
            now = ledger.node.now()
            status = pod_status(ledger.pod, ledger.obj, ledger.seen, where, now)
            if status == ledger.obj.get("status"):
                return
            try:
                written = await ledger.node.client.replace_status(core.POD, ledger.obj, status)
                self.update(written)
            except Conflict:
                await self._read_again()
            except NotFound:
                self.vanish()

    async def _read_again(self) -> None:
        obj = self._ledger.obj
        try:
            fresh = await self._ledger.node.client.get(core.POD, namespace_of(obj), name_of(obj))
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
        ledger = self._ledger
        ledger.seen = replace(ledger.seen, verdict=seen.verdict_of(ledger.obj))
        for container in ledger.pod:
            mine = (r for r in runs if r.container == container.name)
            own = [ledger.with_words(container, r) for r in sorted(mine, key=lambda r: r.number)]
            if own:
                status = seen.status_of(ledger.obj, container.name)
                adopted = seen.adopted(own, status, has_startup=container.has_startup_probe)
                ledger.seen = ledger.seen.with_container(container.name, adopted)
