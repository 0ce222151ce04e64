"""A MemoryClient with the object semantics that workloads depend on, and a way to run them.

Beyond MemoryClient: a unique uid per object, generation that follows the spec, finalizers that hold
an object back, and the propagation policies of delete.
"""

import asyncio
import contextlib
import copy
import itertools

from motorpool.api.meta import key_of
from motorpool.base.clock import now
from motorpool.client import ObjectList
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.runner import Context, run
from tests.memory_client import MemoryClient

FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


class Cluster(MemoryClient):
    is_silent = False
    """Whether watches hear nothing, as if every informer were far behind."""

    def __init__(self, *objects):
        self._uids = itertools.count(1)
        self.refusals = {}  # (verb, kind) -> ApiError
        super().__init__(*objects)

    async def create(self, kind, obj):
        if ("create", kind.kind) in self.refusals:
            raise self.refusals["create", kind.kind]
        return await super().create(kind, obj)

    async def list(self, kind, namespace="", *, labels="", fields=""):
        listed = await super().list(kind, namespace, labels=labels, fields=fields)
        return ObjectList(list(listed.items), listed.resource_version)

    async def delete(
        self, kind, namespace, name, *, uid="", grace_s=None, propagation="Background"
    ):
        obj = await self.get(kind, namespace, name)
        finalizers = list(obj["metadata"].get("finalizers") or ())
        added = FINALIZERS.get(propagation)
        if added and added not in finalizers:
            finalizers.append(added)
        if not finalizers and not (obj.get("spec") or {}).get("finalizers"):
            await super().delete(kind, namespace, name, uid=uid)
            return
        self.writes.append(f"delete {kind.kind} {name} {propagation}")
        self.mark_deleting(kind, obj, finalizers)

    def mark_deleting(self, kind, obj, finalizers=None):
        new = copy.deepcopy(obj)
        new["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
        if finalizers:
            new["metadata"]["finalizers"] = finalizers
        self._store(kind, new, "MODIFIED")

    def remove(self, kind, obj):
        """Makes the object vanish, as the node does with a pod whose grace period is over."""
        obj = self.objects[kind, key_of(obj)]
        del self.objects[kind, key_of(obj)]
        gone = copy.deepcopy(obj)
        gone["metadata"]["resourceVersion"] = str(next(self._revision))
        from motorpool.client import WatchEvent

        self._tell(kind, WatchEvent("DELETED", gone))

    def set(self, kind, obj, **parts):
        """Replaces top-level parts of an object, past the record of writes."""
        return self._store(kind, {**copy.deepcopy(obj), **parts}, "MODIFIED")

    def all(self, kind):
        return [obj for (kept, _), obj in self.objects.items() if kept == kind]

    def events(self, reason):
        from motorpool.api import core

        return [e["message"] for e in self.all(core.EVENT) if e["reason"] == reason]

    def _write(self, kind, current, new, verb):
        if kind.has_generation and new.get("spec") != current.get("spec"):
            new = copy.deepcopy(new)
            new["metadata"]["generation"] = current["metadata"].get("generation", 1) + 1
        written = super()._write(kind, current, new, verb)
        is_held = written["metadata"].get("finalizers") or (written.get("spec") or {}).get(
            "finalizers"
        )
        if "deletionTimestamp" in written["metadata"] and verb != "held" and not is_held:
            had = current["metadata"].get("finalizers") or current.get("spec", {}).get("finalizers")
            if had:
                self.remove(kind, written)
        return written

    def _tell(self, kind, event):
        if not self.is_silent:
            super()._tell(kind, event)

    def _store(self, kind, obj, event_type):
        if "uid" not in obj["metadata"]:
            obj["metadata"]["uid"] = f"uid-{next(self._uids)}"
        return super()._store(kind, obj, event_type)


def context_of(client, clock=now):
    return Context(client, Informers(client), EventRecorder(client), clock=clock)


@contextlib.asynccontextmanager
async def running(client, *factories, clock=now):
    """Runs the controllers of *factories* with their informers until the block ends."""
    context = context_of(client, clock)
    controllers = [factory(context) for factory in factories]
    coroutines = [context.informers.run(), context.events.run(), *map(run, controllers)]
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield context
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def listening(client, factory):
    """A controller whose reconcile the test calls; its informers hear of nothing after that."""
    context = context_of(client)
    controller = factory(context)
    task = asyncio.ensure_future(context.informers.run())
    try:
        await asyncio.sleep(0)
        await context.informers.synced()
        client.is_silent = True
        yield controller
    finally:
        client.is_silent = False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition, timeout_s=30):
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError("did not become true in time") from None


async def quiet(client, timeout_s=30):
    """Waits until nothing is written for fifty turns of the loop."""
    async with asyncio.timeout(timeout_s):
        count = -1
        while count != len(client.writes):
            count = len(client.writes)
            for _ in range(50):
                await asyncio.sleep(0)
