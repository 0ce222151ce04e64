"""A local copy of one kind, kept true by list and watch.

Rules: the copy is only ever behind, never wrong; handlers run in the event loop and must not block;
objects in the copy are shared and must not be changed.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from motorpool.api.errors import ApiError, Expired
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, ObjectKey, key_of
from motorpool.base.backoff import Backoff
from motorpool.client import Client

log = structlog.get_logger(__name__)

RETRY = Backoff(first_s=0.2, most_s=15.0)
RETRY_AFTER_MOST_S = 60.0
LASTED_S = 10.0


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one object: *old* is None when it is new, *new* when it is gone."""

    old: Object | None
    new: Object | None

    @property
    def object(self) -> Object:
        """The object as it is, or as it was last."""
        latest = self.new if self.new is not None else self.old
        if latest is None:
            raise ValueError("a change has an object on at least one side")
        return latest


Handler: TypeAlias = Callable[[Change], None]
Index: TypeAlias = Callable[[Object], Iterable[str]]


class Informer:
    def __init__(self, client: Client, kind: Kind, namespace: str = "") -> None:
        self.kind = kind
        self._client = client
        self._namespace = namespace
        self._objects: dict[ObjectKey, Object] = {}
        self._indexes: dict[str, tuple[Index, dict[str, set[ObjectKey]]]] = {}
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()

    def get(self, namespace: str, name: str) -> Object | None:
        return self._objects.get(ObjectKey(namespace, name))

    def list(self, namespace: str = "") -> Sequence[Object]:
        if not namespace:
            return list(self._objects.values())
        return [obj for key, obj in self._objects.items() if key.namespace == namespace]

    def add_index(self, name: str, index: Index) -> None:
        """Makes `by_index(name, value)` answer without a scan. Adding it twice is harmless."""
        if name in self._indexes:
            return
        entries: dict[str, set[ObjectKey]] = {}
        self._indexes[name] = (index, entries)
        for key, obj in self._objects.items():
            for value in index(obj):
                entries.setdefault(value, set()).add(key)

    def by_index(self, name: str, value: str) -> Sequence[Object]:
        _, entries = self._indexes[name]
        return [self._objects[key] for key in sorted(entries.get(value, ()))]

    def subscribe(self, handler: Handler) -> None:
        """Calls *handler* for every object there is, then for every change."""
        self._handlers.append(handler)
        for obj in list(self._objects.values()):
            handler(Change(None, obj))

    @property
    def is_synced(self) -> bool:
        """Whether the first list is in."""
        return self._synced.is_set()

    async def synced(self) -> None:
        """Returns once the first list is in."""
        await self._synced.wait()

    async def run(self) -> None:
        """Lists and watches until cancelled; a fault of the world is retried with back-off."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began, asked_s = loop.time(), 0.0
            try:
                await self._follow(await self._relist())
            except Expired:
                log.debug("listing again", kind=str(self.kind))
            except (ApiError, OSError) as error:
                log.warning("list and watch failed", kind=str(self.kind), error=str(error))
                asked_s = min(getattr(error, "retry_after_s", None) or 0, RETRY_AFTER_MOST_S)
            # A watch that lasted was no failure: only who fails at once is asked less often.
            failures = 1 if loop.time() - began > LASTED_S else failures + 1
            await asyncio.sleep(max(asked_s, RETRY.delay_s(failures)))

    async def _relist(self) -> str:
        listed = await self._client.list(self.kind, self._namespace)
        present: Mapping[ObjectKey, Object] = {key_of(obj): obj for obj in listed.items}
        for key in [key for key in self._objects if key not in present]:
            self._change(key, None)
        for key, obj in present.items():
            self._change(key, obj)
        self._synced.set()
        return listed.resource_version

    async def _follow(self, revision: str) -> None:
        while True:
            async for event in self._client.watch(self.kind, self._namespace, after=revision):
                revision = event.object["metadata"]["resourceVersion"]
                if event.type == "DELETED":
                    self._change(key_of(event.object), None)
                elif event.type != "BOOKMARK":
                    self._change(key_of(event.object), event.object)
            # The server closed the watch, as it does now and then: go on from where it stopped.
            await asyncio.sleep(RETRY.first_s)

    def _change(self, key: ObjectKey, new: Object | None) -> None:
        old = self._objects.get(key)
        if old is None and new is None:
            return
        if old is not None and new is not None and _revision(old) == _revision(new):
            return
        if new is None:
            del self._objects[key]
        else:
            self._objects[key] = new
        self._reindex(key, old, new)
        change = Change(old, new)
        for handler in self._handlers:
            handler(change)

    def _reindex(self, key: ObjectKey, old: Object | None, new: Object | None) -> None:
        for index, entries in self._indexes.values():
            before = set(index(old)) if old is not None else set()
            after = set(index(new)) if new is not None else set()
            for value in before - after:
                entries[value].discard(key)
                if not entries[value]:
                    del entries[value]
            for value in after - before:
                entries.setdefault(value, set()).add(key)


def _revision(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


class Informers:
    """One informer per kind, shared by all who ask."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[Kind, Informer] = {}
        self._asked: asyncio.Event = asyncio.Event()

    def __call__(self, kind: Kind) -> Informer:
        if kind not in self._informers:
            self._informers[kind] = Informer(self._client, kind)
            self._asked.set()
        return self._informers[kind]

    def drop(self, kind: Kind) -> None:
        """Ends the informer of a kind that is served no longer."""
        if self._informers.pop(kind, None) is not None:
            self._asked.set()

    async def run(self) -> None:
        """Runs every informer asked for, now or later, until cancelled."""
        running: dict[Informer, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._asked.clear()
                wanted = list(self._informers.values())
                for informer in running.keys() - set(wanted):
                    running.pop(informer).cancel()
                for informer in wanted:
                    if informer not in running:
                        name = f"informer {informer.kind}"
                        running[informer] = tasks.create_task(informer.run(), name=name)
                await self._asked.wait()

    async def synced(self) -> None:
        for informer in list(self._informers.values()):
            await informer.synced()
