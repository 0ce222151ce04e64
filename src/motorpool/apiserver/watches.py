"""Rows of the store as watch events: what a watcher with those selectors is to see."""

import asyncio
from collections.abc import AsyncIterator, Callable

from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver import refusals
from motorpool.apiserver.lists import Filter
from motorpool.apiserver.objects import ObjectMemory
from motorpool.client import WatchEvent
from motorpool.store import Row, Store
from motorpool.store.errors import Compacted, StoreClosed, WatchLagged
from motorpool.store.watch import Watch

INITIAL_END = "k8s.io/initial-events-end"


def bookmark(kind: Kind, revision: str, *, ends_initial: bool = False) -> WatchEvent:
    """Says how far the watch has come. *ends_initial* marks the end of what there was already."""
    metadata: Object = {"resourceVersion": revision, "creationTimestamp": None}
    if ends_initial:
        metadata["annotations"] = {INITIAL_END: "true"}
    obj = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
    return WatchEvent("BOOKMARK", obj)


def shown_as(kind: Kind, show: Callable[[Row], Object]) -> Callable[[Row], Object]:
    """*show*, in the version that *kind* is."""
    read = kind.read
    return show if read is None else lambda row: read(show(row))


class Follower:
    """Follows one kind, or one namespace of it, from a revision on."""

    def __init__(
        self, store: Store, memory: ObjectMemory, kind: Kind, wanted: Filter, *, full: bool
    ) -> None:
        self._store = store
        self._memory = memory
        self._kind = kind
        self._wanted = wanted
        self._show = shown_as(kind, memory.shown if full else memory.of)

    async def events(
        self, prefix: str, after: int, bookmark_s: float | None
    ) -> AsyncIterator[WatchEvent]:
        """Until the store closes. Raises Expired: *after* is too old, or the reader too slow."""
        try:
            async with self._store.watch(prefix, after=after) as watch:
                while True:
                    rows = await _next(watch, bookmark_s)
                    if not rows:
                        yield bookmark(self._kind, str(max(after, self._store.revision)))
                    for row in rows:
                        event = self._event(row)
                        if event is not None:
                            yield event
        except Compacted as error:
            raise refusals.too_old(error.revision, error.oldest) from error
        except WatchLagged as error:
            raise refusals.too_old(after, self._store.revision) from error
        except StoreClosed:
            return

    def _event(self, row: Row) -> WatchEvent | None:
        if self._wanted.is_open:
            if row.deleted:
                return WatchEvent("DELETED", self._show(row))
            return WatchEvent("MODIFIED" if row.previous else "ADDED", self._show(row))
        new = self._memory.of(row)
        if self._wanted.name is not None and new["metadata"]["name"] != self._wanted.name:
            return None
        return self._transition(row, new)

    def _transition(self, row: Row, new: Object) -> WatchEvent | None:
        """An object that enters the selection is added to it, one that leaves is deleted."""
        previous = self._store.row(row.previous) if row.previous else None
        old = self._memory.of(previous) if previous is not None else None
        before = old is not None and self._wanted.matches(old)
        after = not row.deleted and self._wanted.matches(new)
        if after:
            return WatchEvent("MODIFIED" if before else "ADDED", self._show(row))
        if not before or previous is None:
            return None
        if row.deleted:
            return WatchEvent("DELETED", self._show(row))
        last = self._show(previous)
        metadata = {**last["metadata"], "resourceVersion": str(row.revision)}
        return WatchEvent("DELETED", {**last, "metadata": metadata})


async def _next(watch: Watch, timeout_s: float | None) -> list[Row]:
    """The next rows; none where that time passes without any."""
    try:
        async with asyncio.timeout(timeout_s):
            return await watch.next()
    except TimeoutError:
        return []
