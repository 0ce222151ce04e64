"""Probes, hooks and stops of one Pod's containers."""

import asyncio
import contextlib
import signal
from dataclasses import replace

import structlog

from motorpool.api.meta import Object, at
from motorpool.node.hooks import HookFailed, run_hook
from motorpool.node.ledger import Ledger
from motorpool.node.pod import Container
from motorpool.node.probes import Kind, watch

log = structlog.get_logger(__name__)


class Health:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def watch_over(self, container: Container) -> None:
        """Starts the probes of a container that runs."""
        if container.has_startup_probe and not self._ledger.seen.of(container.name).started:
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

        ledger = self._ledger
        ready = ledger.seen.of(container.name).ready and kind == "readiness"
        target = ledger.target(container)
        work = watch(kind, probe, target, told, ready=ready)
        ledger.tasks.spawn(f"{container.name}/{kind}", work)

    def _probed(self, container: Container, kind: Kind, verdict: bool | None, words: str) -> None:
        ledger, name = self._ledger, container.name
        now = ledger.seen.of(name)
        if now.phase != "running":
            return
        if verdict is not True:
            ledger.tell("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {words}")
        if verdict is None:
            return
        if kind == "readiness":
            ledger.note(name, replace(now, ready=verdict))
        elif not verdict:
            ledger.note(name, replace(now, unhealthy=kind))
        elif kind == "startup":
            ready = not container.has_readiness_probe
            ledger.note(name, replace(now, started=True, ready=ready))
            self.watch_over(container)
            ledger.tasks.cancel(f"{name}/startup")

    async def post_start(self, container: Container, hook: Object) -> None:
        ledger = self._ledger
        try:
            await run_hook(hook, ledger.target(container))
        except HookFailed as error:
            ledger.tell("Warning", "FailedPostStartHook", f"PostStartHook failed: {error}")
            with contextlib.suppress(OSError):
                await ledger.engines.of(container.name).signal(
                    ledger.run_id(container.name), signal.SIGTERM
                )

    async def stop(self, container: Container, grace_s: float, why: str) -> None:
        """preStop, then SIGTERM; that it does not end is for the worker to see."""
        ledger = self._ledger
        message = f"Stopping container {container.name}"
        if why in ("liveness", "startup"):
            message = f"Container {container.name} failed {why} probe, will be restarted"
        if why == "changed":
            message = f"Container {container.name} definition changed, will be restarted"
        ledger.tell("Normal", "Killing", message)
        hook = at(container.spec, "lifecycle", "preStop")
        if hook and grace_s > 0:
            try:
                async with asyncio.timeout(grace_s):
                    await run_hook(hook, ledger.target(container))
            except (HookFailed, TimeoutError) as error:
                ledger.tell("Warning", "FailedPreStopHook", f"PreStopHook failed: {error}")
        try:
            await ledger.engines.of(container.name).signal(
                ledger.run_id(container.name), signal.SIGTERM
            )
        except OSError as error:
            log.warning("no SIGTERM", pod=ledger.pod.full_name, error=str(error))
