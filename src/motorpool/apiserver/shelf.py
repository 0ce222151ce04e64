"""Objects on the store: reads and writes them by kind, and speaks the API's errors.

A kind may be a view of another (`Kind.stored_as`): its objects are kept as that one's, and become
the view's on their way out. Selectors look at what is kept.

What comes out is shared and must not be changed; what goes in is shared from then on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, NamedTuple, TypeAlias

from motorpool.api import core
from motorpool.api.errors import ApiError, InternalError, ServiceUnavailable, Unclassified
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver import refusals
from motorpool.apiserver.keys import key_of, prefix_of
from motorpool.apiserver.lists import NOW, Continue, Filter
from motorpool.apiserver.objects import ObjectMemory, bare, value_of
from motorpool.apiserver.options import ListOptions, WatchOptions, revision_of
from motorpool.apiserver.sealing import Sealer, is_sealed
from motorpool.apiserver.watches import Follower, bookmark, shown_as
from motorpool.client import WatchEvent
from motorpool.store import Page, Row, Store
from motorpool.store.errors import (
    Compacted,
    FutureRevision,
    KeyExists,
    KeyNotFound,
    RevisionConflict,
    StoreClosed,
    StoreError,
)

FUTURE_WAIT_S = 3.0
PAGE_SIZE = 500
OBJECT_BYTES_MAX = 1_572_864  # what etcd takes; the message is etcd's too, for it is known


Show: TypeAlias = Callable[[Row], Object]
Form: TypeAlias = Literal["bare", "shown", "full"]


Write: TypeAlias = Callable[[bytes], Awaitable[Row]]
Observer: TypeAlias = Callable[[Object | None, Object | None], None]
"""Told at once of every write of a kind: the old object and the new one, None where none is."""


class Stale(Exception):
    """Somebody else wrote the object since it was read."""


class Listing(NamedTuple):
    items: list[Object]
    resource_version: str
    continue_: str = ""
    remaining: int | None = None


class Shelf:
    def __init__(self, store: Store, sealer: Sealer | None = None) -> None:
        self._store = store
        self._sealer = sealer
        self._sealed_by = b""
        self._memory = ObjectMemory(sealer)
        self._observers: dict[Kind, list[Observer]] = {}

    def observe(self, kind: Kind, observer: Observer) -> None:
        """Before whoever wrote goes on, *observer* knows."""
        self._observers.setdefault(kind, []).append(observer)

    @property
    def revision(self) -> int:
        return self._store.revision

    async def find(
        self, kind: Kind, namespace: str, name: str, *, form: Form = "bare"
    ) -> Object | None:
        try:
            row = await self._store.get(key_of(kind, namespace, name))
        except StoreError as error:
            raise broken(error) from error
        if row is None:
            return None
        found = self._read(row, form)
        return kind.read(found) if kind.read is not None else found

    def _read(self, row: Row, form: Form) -> Object:
        match form:
            case "full":
                return self._memory.full(row)
            case "shown":
                return self._memory.shown(row)
        return self._memory.of(row)

    async def get(self, kind: Kind, namespace: str, name: str, *, form: Form = "bare") -> Object:
        """Raises NotFound."""
        found = await self.find(kind, namespace, name, form=form)
        if found is None:
            raise refusals.not_found(kind, name)
        return found

    def shared(self, obj: Object) -> Object:
        """The bare object that all readers of *obj*'s revision share."""
        version = obj["metadata"].get("resourceVersion")
        found = self._memory.recall(int(version)) if version else None
        if found is None or found["apiVersion"] != obj["apiVersion"]:
            return bare(obj)
        return found

    async def insert(self, kind: Kind, obj: Object) -> Object:
        """Raises AlreadyExists."""
        metadata = obj["metadata"]
        key = key_of(kind, metadata.get("namespace", ""), metadata["name"])
        try:
            return await self._write(kind, None, obj, lambda value: self._store.create(key, value))
        except KeyExists as error:
            raise refusals.already_exists(kind, metadata["name"]) from error

    async def replace(self, kind: Kind, old: Object, new: Object) -> Object:
        """Writes *new* where *old* stands. Raises Stale."""
        key, expected = _place(kind, old)
        try:
            return await self._write(
                kind, old, new, lambda value: self._store.update(key, value, expected=expected)
            )
        except (RevisionConflict, KeyNotFound) as error:
            raise Stale from error

    async def remove(self, kind: Kind, old: Object, last: Object) -> Object:
        """Removes *old*; *last* is how watchers see it go. Raises Stale."""
        key, expected = _place(kind, old)
        try:
            return await self._write(
                kind,
                old,
                last,
                lambda value: self._store.delete(key, expected=expected, value=value),
            )
        except (RevisionConflict, KeyNotFound) as error:
            raise Stale from error

    async def _write(self, kind: Kind, old: Object | None, obj: Object, write: Write) -> Object:
        obj = kind.to_stored(obj)
        if kind.stored not in self._observers:
            return _read(kind, await self._put(kind.stored, obj, write))
        before = None if old is None else kind.to_stored(old)
        # A write that has begun stands, also where its writer is cancelled: so it must be told.
        told = self._put_and_tell(kind.stored, before, obj, write)
        return _read(kind, await asyncio.shield(told))

    async def _put_and_tell(
        self, kind: Kind, old: Object | None, obj: Object, write: Write
    ) -> Object:
        row, written = await self._put_row(kind, obj, write)
        for observer in self._observers[kind]:
            observer(old, None if row.deleted else written)
        return written

    async def _put(self, kind: Kind, obj: Object, write: Write) -> Object:
        return (await self._put_row(kind, obj, write))[1]

    async def _put_row(self, kind: Kind, obj: Object, write: Write) -> tuple[Row, Object]:
        value = value_of(obj)
        if len(value) > OBJECT_BYTES_MAX:
            raise Unclassified("etcdserver: request is too large")
        try:
            row = await write(self._sealed(kind, obj, value))
        except (RevisionConflict, KeyNotFound, KeyExists):
            raise
        except StoreError as error:
            raise broken(error) from error
        return row, self._memory.keep(row, obj)

    def _sealed(self, kind: Kind, obj: Object, value: bytes) -> bytes:
        if self._sealer is None or kind is not core.SECRET:
            return value
        metadata = obj["metadata"]
        return self._sealer.seal(key_of(kind, metadata["namespace"], metadata["name"]), value)

    async def reseal(self) -> int:
        """Writes anew every Secret that another key sealed, or none; returns how many.

        Looks only once for each key: all that is written after that is sealed by it.
        """
        sealer = self._sealer
        if sealer is None:
            return 0
        try:
            sealer.refresh()
            current, count, start = sealer.current, 0, ""
            if current == self._sealed_by:
                return 0
            while True:
                page = await self._store.list(prefix_of(core.SECRET), start=start, limit=PAGE_SIZE)
                for row in page.rows:
                    start = row.key
                    count += await self._reseal(sealer, row)
                if not page.more:
                    self._sealed_by = current
                    return count
        except StoreError as error:
            raise broken(error) from error
        except OSError as error:
            raise InternalError(f"Internal error occurred: {error}") from error

    async def _reseal(self, sealer: Sealer, row: Row) -> bool:
        if sealer.is_current(row.value):
            return False
        plain = sealer.open(row.key, row.value) if is_sealed(row.value) else row.value
        try:
            value = sealer.seal(row.key, plain)
            await self._store.update(row.key, value, expected=row.revision)
        except (RevisionConflict, KeyNotFound):
            return False  # written meanwhile, and so sealed by the current key
        return True

    async def reach(self, resource_version: str) -> int:
        """The number; returns once the store is that far. Raises Timeout."""
        revision = revision_of(resource_version)
        if revision > self._store.revision:
            try:
                async with asyncio.timeout(FUTURE_WAIT_S):
                    await self._store.reached(revision)
            except TimeoutError:
                raise refusals.too_new(revision, self._store.revision) from None
        return revision

    async def list(self, kind: Kind, namespace: str, options: ListOptions) -> Listing:
        wanted = Filter(kind, options.labels, options.fields)
        after = Continue.parse(options.continue_) if options.continue_ else None
        revision = await self.reach(options.resource_version)
        limit = 0 if options.resource_version == "0" else options.limit
        exact = options.match == "Exact" or (limit > 0 and revision > 0 and not options.match)
        if after is None and wanted.name and not exact and (namespace or not kind.namespaced):
            one = await self.find(kind.stored, namespace, wanted.name, form=_form(options.full))
            items = [_read(kind, one)] if one is not None and wanted.matches(one) else []
            return Listing(items, str(self._store.revision))
        start = after or Continue(revision if exact else 0, "")
        if start.revision == NOW:
            start = start._replace(revision=0)
        try:
            show = shown_as(kind, self._memory.shown if options.full else self._memory.of)
            return await self._list(prefix_of(kind, namespace), wanted, start, limit, show)
        except Compacted as error:
            if after is None:
                raise refusals.list_too_old() from error
            raise refusals.continue_too_old(after._replace(revision=NOW).token()) from error
        except FutureRevision as error:
            raise refusals.too_new(error.revision, error.current) from error
        except StoreError as error:
            raise broken(error) from error

    async def _list(
        self, prefix: str, wanted: Filter, start: Continue, limit: int, show: Show
    ) -> Listing:
        if wanted.is_open:
            page = await self._store.list(prefix, start=start.start, limit=limit, at=start.revision)
            items = [show(row) for row in page.rows]
            if not page.more:
                return Listing(items, str(page.revision))
            last = page.rows[-1].key
            remaining = await self._store.count(prefix, start=last, at=page.revision)
            token = Continue(page.revision, last).token()
            return Listing(items, str(page.revision), token, remaining)
        return await self._selected(prefix, wanted, start, limit, show)

    async def _selected(
        self, prefix: str, wanted: Filter, start: Continue, limit: int, show: Show
    ) -> Listing:
        items: list[Object] = []
        at, after = start
        while True:
            page: Page = await self._store.list(
                prefix, start=after, limit=PAGE_SIZE if limit else 0, at=at
            )
            at = page.revision
            for row in page.rows:
                if wanted.matches(self._memory.of(row)):
                    if limit and len(items) == limit:
                        return Listing(items, str(at), Continue(at, after).token())
                    items.append(show(row))
                after = row.key
            if not page.more:
                return Listing(items, str(at))

    async def watch(
        self, kind: Kind, namespace: str, options: WatchOptions
    ) -> AsyncIterator[WatchEvent]:
        """What happens, until the store closes. Raises Expired."""
        wanted = Filter(kind, options.labels, options.fields)
        after = revision_of(options.resource_version)
        initial = options.initial_events
        if initial or (initial is None and after == 0):
            await self.reach(options.resource_version)
            listed = ListOptions(labels=options.labels, fields=options.fields, full=options.full)
            listing = await self.list(kind, namespace, listed)
            for obj in listing.items:
                yield WatchEvent("ADDED", obj)
            after = int(listing.resource_version)
            if initial and options.bookmark_s is not None:
                yield bookmark(kind, listing.resource_version, ends_initial=True)
        elif after == 0:
            after = self._store.revision
        follower = Follower(self._store, self._memory, kind, wanted, full=options.full)
        events = follower.events(prefix_of(kind, namespace), after, options.bookmark_s)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()  # type: ignore[attr-defined]  # it is a generator

    def end_watches(self, kind: Kind) -> None:
        self._store.end_watches(prefix_of(kind))

    async def prune(self, kind: Kind, *, written_before: float, limit: int) -> int:
        """Removes what was last written before that moment; returns how many went."""
        try:
            found = await self._store.stale(
                prefix_of(kind), written_before=written_before, limit=limit
            )
            for key, revision in found:
                await self._store.delete(key, expected=revision)
        except (RevisionConflict, KeyNotFound):
            return 0  # written meanwhile: the next round sees it again
        except StoreError as error:
            raise broken(error) from error
        return len(found)

    async def compact(self, *, keep_s: float, keep_revisions: int) -> None:
        try:
            await self._store.compact(keep_s=keep_s, keep_revisions=keep_revisions)
        except StoreError as error:
            raise broken(error) from error


def _read(kind: Kind, stored: Object) -> Object:
    """The object as the view *kind* shows it."""
    if kind.stored_as is None or kind.read is None:
        return stored
    return kind.read(stored)


def _form(full: bool) -> Form:
    return "shown" if full else "bare"


def _place(kind: Kind, obj: Object) -> tuple[str, int]:
    metadata = obj["metadata"]
    key = key_of(kind, metadata.get("namespace", ""), metadata["name"])
    return key, int(metadata["resourceVersion"])


def broken(error: StoreError) -> ApiError:
    """A fault of the store in the API's words."""
    if isinstance(error, StoreClosed):
        return ServiceUnavailable("the server is shutting down")
    return InternalError(f"Internal error occurred: {error}")
