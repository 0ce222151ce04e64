"""What a Pod's containers need before they run, and their starts."""

import asyncio
import contextlib
from dataclasses import replace

import structlog

from motorpool.api.errors import ApiError
from motorpool.api.meta import at
from motorpool.node import emptydirs, seen
from motorpool.node.containers import make_message_file
from motorpool.node.contents import PodFacts, references_of_volume
from motorpool.node.engine import NotExecutable, Refused, Started
from motorpool.node.health import Health
from motorpool.node.ledger import Ledger
from motorpool.node.pod import Container
from motorpool.node.seen import run_id
from motorpool.node.services import tell_service
from motorpool.node.tokens import Tokens
from motorpool.node.volumes import VolumeError, Volumes, make_pod_directories

log = structlog.get_logger(__name__)

NO_SANDBOX = "FailedCreatePodSandBox"
NO_MOUNT = "FailedMount"
RENEWAL_LEAST_S = 1.0
SIZES_PERIOD_S = 10.0  # the kubelet's


class Starts:
    def __init__(self, ledger: Ledger, health: Health) -> None:
        self._ledger = ledger
        self._health = health
        self._tokens = Tokens(ledger.node.client, ledger.node.clock)
        self._stale = self._is_refreshing = False

    # The address and the volumes.

    async def prepare(self) -> None:
        ledger = self._ledger
        try:
            await self._prepare_address()
        except (ApiError, OSError) as error:
            self._preparing_failed(NO_SANDBOX, f"Failed to create pod sandbox: {error}")
            return
        volumes = self._volumes_of_now()
        try:
            adopted = bool(ledger.seen.containers)
            ledger.volumes = await volumes.prepare(ledger.tell, local=adopted)
        except VolumeError as error:
            self._preparing_failed(error.reason, str(error), error.image)
        except (ApiError, OSError) as error:
            self._preparing_failed(NO_MOUNT, str(error))
        else:
            ledger.note_volumes(seen.Volumes("ready"))
            if emptydirs.size_limits(ledger.obj):
                ledger.tasks.spawn("sizes", self._watch_sizes())
            if self._tokens.renew_at() is not None:
                ledger.tasks.spawn("tokens", self._renew_tokens())

    async def _prepare_address(self) -> None:
        ledger = self._ledger
        await asyncio.to_thread(make_pod_directories, ledger.pod_dir)
        ledger.record()
        engine = ledger.engines.main
        ledger.pod_ip = await engine.prepare(ledger.obj, ledger.pod_dir, ledger.pod_ip)
        ledger.record()

    def _volumes_of_now(self) -> Volumes:
        ledger, node = self._ledger, self._ledger.node
        facts = PodFacts(ledger.obj, ledger.pod_ip, node.host_ip, node.allocatable)
        return Volumes(node.client, node.images, facts, ledger.pod_dir, self._tokens)

    async def _watch_sizes(self) -> None:
        """Has the Pod evicted where an emptyDir holds more than it may."""
        ledger = self._ledger
        limited = {name: ledger.volumes[name].path for name in emptydirs.size_limits(ledger.obj)}
        while True:
            await asyncio.sleep(SIZES_PERIOD_S)
            used = {
                name: await asyncio.to_thread(emptydirs.used_bytes, path)
                for name, path in limited.items()
            }
            verdict = emptydirs.exceeded(ledger.obj, used)
            if verdict is not None:
                ledger.fail(verdict)
                return

    async def _renew_tokens(self) -> None:
        """Has the volumes written again whenever a token in them grows old."""
        while (renew_at := self._tokens.renew_at()) is not None:
            await asyncio.sleep(max(RENEWAL_LEAST_S, renew_at - self._ledger.node.now()))
            self.refresh()

    def _preparing_failed(self, reason: str, message: str, image: str = "") -> None:
        ledger = self._ledger
        before = ledger.seen.volumes.problem
        is_event = reason in (NO_SANDBOX, NO_MOUNT)
        if before is None or before.message != message:
            event = reason if is_event else "Failed" if image else NO_MOUNT
            ledger.tell("Warning", event, message)
        # Kubernetes has no waiting reason of its own for what cannot be mounted.
        reason = "ContainerCreating" if is_event else reason
        attempts = before.attempts + 1 if before else 1
        problem = seen.Problem(reason, message, ledger.node.now(), attempts, image)
        ledger.note_volumes(seen.Volumes("failed", problem))

    def object_changed(self, kind: str, name: str) -> None:
        """A ConfigMap or Secret of its namespace is not what it was."""
        ledger = self._ledger
        volumes = at(ledger.obj, "spec", "volumes", default=None) or ()
        if any((kind, name) in references_of_volume(volume) for volume in volumes):
            if ledger.seen.volumes.phase == "failed":
                ledger.note_volumes(seen.Volumes())  # It may be what was missing.
            self.refresh()

    def refresh(self) -> None:
        """What the volumes were written from is not what it was."""
        if self._ledger.seen.volumes.phase != "ready":
            return
        self._stale = True
        if not self._is_refreshing:
            self._is_refreshing = True
            self._ledger.tasks.spawn("refresh volumes", self._refresh_volumes())

    async def _refresh_volumes(self) -> None:
        """One at a time, and once more where something has changed meanwhile."""
        try:
            while self._stale:
                self._stale = False
                await self._volumes_of_now().refresh(self._ledger.tell)
        except (ApiError, OSError) as error:
            self._ledger.tell("Warning", NO_MOUNT, str(error))
        finally:
            self._is_refreshing = False

    # A container.

    async def start(self, container: Container) -> None:
        ledger, name = self._ledger, container.name
        engine = ledger.engines.of(name)
        created = f"Created container: {name}"
        try:
            ledger.note(name, replace(ledger.seen.of(name), phase="pulling"))
            image_id = await engine.image(container, ledger.obj, ledger.tell)
            # Now, for the run may be over before its start is told.
            now = replace(ledger.seen.of(name), phase="starting", image_id=image_id)
            ledger.note(name, now)
            make_message_file(ledger.pod_dir, name)
            started = await engine.start(ledger.run_id(name), ledger.scene(container))
        except Refused as error:
            ledger.failed(name, error.reason, str(error), error.image)
            return
        except NotExecutable as error:
            ledger.tell("Normal", "Created", created)
            self._not_executable(name, str(error))
            return
        except (ApiError, OSError) as error:
            ledger.failed(name, "CreateContainerError", str(error))
            return
        if started.pod_ip and started.pod_ip != ledger.pod_ip:
            ledger.pod_ip = started.pod_ip  # Its network had ended, and was made anew.
            ledger.record()
        if started.notice:
            log.warning("start", pod=ledger.pod.full_name, container=name, notice=started.notice)
        if started.choice:
            ledger.tell("Normal", "EngineChosen", started.choice)
            await tell_service(ledger.node.client, ledger.node.events, ledger.obj, started.choice)
        ledger.tell("Normal", "Created", created)
        ledger.tell("Normal", "Started", f"Started container {name}")
        if ledger.seen.of(name).phase == "starting":  # Else its end was reported before its start.
            await self._runs(container, started)

    async def _runs(self, container: Container, started: Started) -> None:
        ledger, name = self._ledger, container.name
        running = seen.running(
            ledger.seen.of(name), started.run.started_at,
            has_startup=container.has_startup_probe,
            has_readiness=container.has_readiness_probe,
        )  # fmt: skip
        ledger.note(name, running)
        hook = at(container.spec, "lifecycle", "postStart")
        if hook:
            ledger.tasks.spawn(f"{name}/postStart", self._health.post_start(container, hook))
        self._health.watch_over(container)
        await self._tidy(name, started.run.number)

    def _not_executable(self, name: str, message: str) -> None:
        ledger = self._ledger
        moment = ledger.node.now()
        message = f'failed to start container "{name}": {message}'
        ledger.tell("Warning", "Failed", f"Error: {message}")
        after = seen.exited(ledger.seen.of(name), 128, None, moment, moment)
        if after.exit is not None:
            end = replace(after.exit, reason="StartError", message=message)
            ledger.note(name, replace(after, exit=end))

    async def _tidy(self, container: str, run: int) -> None:
        """Forgets what is older than the run before this one."""
        ledger = self._ledger
        engine = ledger.engines.of(container)
        if run >= 2:
            with contextlib.suppress(OSError):
                await engine.forget(run_id(ledger.pod.uid, container, run - 2))
            for path in (ledger.pod_dir / "logs" / container).glob(f"{run - 2}.log*"):
                path.unlink(missing_ok=True)
