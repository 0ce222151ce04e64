"""Events become keys, keys become reconciles, a few at a time.

A reconcile gets a key and what it needs to read; what happened is not its business. It may return
after how many seconds it wants to see the key again. An ApiError or OSError is a fault of the world
and is retried with back-off; anything else is a mistake of ours: logged with its traceback, and
retried too, so that one bad object never stops the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from motorpool.api.errors import ApiError, Conflict
from motorpool.api.meta import ObjectKey, controller_of, key_of
from motorpool.base.backoff import Backoff
from motorpool.base.clock import Clock, now
from motorpool.client import Client
from motorpool.loop.cluster import Cluster
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Change, Informer, Informers
from motorpool.loop.kinds import LiveKinds
from motorpool.loop.workqueue import WorkQueue

log = structlog.get_logger(__name__)

RETRY = Backoff(first_s=0.05, most_s=60.0)

Reconcile: TypeAlias = Callable[[ObjectKey], Awaitable[float | None]]
"""Makes one object true. Returns seconds until it wants the key again, or None."""

KeysOf: TypeAlias = Callable[[Change], Iterable[ObjectKey]]
"""Which keys a change concerns."""


Attach: TypeAlias = Callable[[Informer, KeysOf], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the platform was told at its start and controllers may depend on."""

    base_domain: str = "localhost"
    http_port: int = 80
    https_port: int = 443
    namespace: str = "redhat-ods-applications"  # where the configuration and runtimes live
    cluster: Cluster = field(default_factory=Cluster)
    oci_mode: str = "auto"  # how models that are images are served: native, modelcar


@dataclass(frozen=True, slots=True)
class Context:
    """What every controller is built from."""

    client: Client
    informers: Informers
    events: EventRecorder
    settings: Settings = field(default_factory=Settings)
    clock: Clock = now
    kinds: LiveKinds = field(default_factory=LiveKinds)


@dataclass(frozen=True, slots=True)
class Controller:
    """A name, what it listens to, and what it does about one key.

    Each controller folder exports ``controller(context: Context) -> Controller`` in reconcile.py.
    """

    name: str
    sources: Mapping[Informer, KeysOf]
    reconcile: Reconcile
    workers: int = 4
    late: Callable[[Attach], None] | None = None
    """Is given, at the start, what attaches further sources while the controller runs."""


def own_key(change: Change) -> Iterable[ObjectKey]:
    """For the kind that the controller is about."""
    return (key_of(change.object),)


def owner_key(owner_kind: str) -> KeysOf:
    """For children: the key of the controlling owner, if it is of that kind."""

    def keys(change: Change) -> Iterable[ObjectKey]:
        found = []
        for obj in (change.old, change.new):
            reference = controller_of(obj) if obj is not None else None
            if obj is not None and reference is not None and reference["kind"] == owner_kind:
                namespace = obj["metadata"].get("namespace", "")
                found.append(ObjectKey(namespace, reference["name"]))
        return dict.fromkeys(found)

    return keys


async def run(controller: Controller) -> None:
    """Reconciles until cancelled, once everything that it listens to is synced."""
    runner = _Runner(controller)
    for informer, keys_of in controller.sources.items():
        informer.subscribe(runner.feed(keys_of))
    for informer in controller.sources:
        await informer.synced()
    if controller.late is not None:
        controller.late(lambda informer, keys_of: informer.subscribe(runner.feed(keys_of)))
    async with asyncio.TaskGroup() as tasks:
        for number in range(controller.workers):
            tasks.create_task(runner.work(), name=f"{controller.name} {number}")


class _Runner:
    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._queue: WorkQueue[ObjectKey] = WorkQueue(RETRY)
        self._changed = asyncio.Event()

    def feed(self, keys_of: KeysOf) -> Callable[[Change], None]:
        def handle(change: Change) -> None:
            for key in keys_of(change):
                self._add(key, 0.0)

        return handle

    def _add(self, key: ObjectKey, delay_s: float) -> None:
        self._queue.add(key, asyncio.get_running_loop().time() + delay_s)
        self._changed.set()

    async def work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            key = self._queue.take(loop.time())
            if key is None:
                await self._wait()
                continue
            failed, again_s = await self._reconcile(key)
            if failed:
                # The server may have said how long to leave it alone.
                self._queue.done(key, now=loop.time(), failed=True, least_s=again_s or 0.0)
                self._changed.set()
                continue
            self._queue.done(key, now=loop.time())
            if again_s is not None:
                self._add(key, again_s)
            self._changed.set()

    async def _wait(self) -> None:
        self._changed.clear()
        due = self._queue.next_due()
        timeout = None if due is None else max(0.0, due - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _reconcile(self, key: ObjectKey) -> tuple[bool, float | None]:
        try:
            return False, await self._controller.reconcile(key)
        except Conflict as error:
            log.debug(
                "stale, again", controller=self._controller.name, key=str(key), error=str(error)
            )
            # Where the newer object has come already, there is nothing to wait for.
            return not self._queue.has_changed(key), None
        except (ApiError, OSError) as error:
            log.warning("failed", controller=self._controller.name, key=str(key), error=str(error))
            return True, min(getattr(error, "retry_after_s", None) or 0.0, RETRY.most_s)
        except Exception:
            log.exception("defect", controller=self._controller.name, key=str(key))
        return True, None
