"""The `Client` verbs straight on the registry: no HTTP, no bytes between.

Rules: what a verb returns is shared with every cache in this process; what a caller passes in is
copied first, so both sides may keep theirs. Fields that a kind does not declare are dropped as from
any client; here that is a mistake of ours, so it is logged.

Who owns what is not recorded where no user ever applies: in a status, in Events and Leases. These
are most of all writes, and the record would be larger than what it is about.
"""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator

import structlog

from motorpool.api import coordination, core
from motorpool.api.errors import NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, at
from motorpool.api.patch import merge_patch
from motorpool.apiserver.objects import encode, fresh
from motorpool.apiserver.options import DeleteOptions, ListOptions, WatchOptions, WriteOptions
from motorpool.apiserver.registry import Registry
from motorpool.client import ObjectList, Propagation, WatchEvent

REMEMBERED_APPLIES_MAX = 4096
MANAGER = "motorpool"
UNTRACKED_KINDS = frozenset({core.EVENT, coordination.LEASE})


log = structlog.get_logger(__name__)


class LocalClient:
    def __init__(self, registry: Registry, *, manager: str = MANAGER) -> None:
        self._registry = registry
        self._manager = manager
        self._applied: OrderedDict[tuple[Kind, str, str, str], tuple[str, bytes]] = OrderedDict()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return await self._registry.get(kind, namespace, name, full=False)

    async def list(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> ObjectList:
        listing = await self._registry.list(
            kind, namespace, ListOptions(labels=labels, fields=fields, full=False)
        )
        return ObjectList(listing.items, listing.resource_version)

    def watch(
        self, kind: Kind, namespace: str = "", *, after: str, labels: str = "", fields: str = ""
    ) -> AsyncIterator[WatchEvent]:
        options = WatchOptions(
            labels=labels, fields=fields, resource_version=after, initial_events=False, full=False
        )
        return self._registry.watch(kind, namespace, options)

    async def create(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        namespace = at(obj, "metadata", "namespace", default="")
        if subresource:
            name = obj["metadata"]["name"]
            return await self._registry.create_below(
                kind, namespace, name, fresh(obj), subresource=subresource
            )
        options = self._options(kind)
        created = await self._registry.create(kind, namespace, fresh(obj), options)
        _tell(kind, created, options)
        return self._registry.shared(created)

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        namespace = at(obj, "metadata", "namespace", default="")
        name = obj["metadata"]["name"]
        options = self._options(kind, subresource)
        written = await self._registry.update(
            kind, namespace, name, fresh(obj), options, subresource=subresource
        )
        _tell(kind, written.object, options)
        return self._registry.shared(written.object)

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        def change(current: Object) -> Object:
            patched: Object = merge_patch(current, patch)
            return patched

        options = self._options(kind, subresource)
        written = await self._registry.patch(
            kind, namespace, name, change, options, subresource=subresource
        )
        _tell(kind, written.object, options)
        return self._registry.shared(written.object)

    async def apply(self, kind: Kind, obj: Object, *, manager: str) -> Object:
        namespace = at(obj, "metadata", "namespace", default="")
        name = obj["metadata"]["name"]
        value = encode(obj)
        memo, digest = (kind, namespace, name, manager), hashlib.blake2b(value).digest()
        unchanged = await self._unchanged(memo, digest)
        if unchanged is not None:
            return unchanged
        options = WriteOptions(manager=manager, force=True)
        written = await self._registry.apply(kind, namespace, name, fresh(obj), options)
        self._applied[memo] = (written.object["metadata"]["resourceVersion"], digest)
        self._applied.move_to_end(memo)
        while len(self._applied) > REMEMBERED_APPLIES_MAX:
            self._applied.popitem(last=False)
        return self._registry.shared(written.object)

    async def _unchanged(self, memo: tuple[Kind, str, str, str], digest: bytes) -> Object | None:
        """The object, where the same apply made this very revision: again it would do nothing."""
        version, before = self._applied.get(memo, ("", b""))
        if before != digest:
            return None
        kind, namespace, name, _ = memo
        try:
            current = await self._registry.get(kind, namespace, name, full=False)
        except NotFound:
            return None
        return current if current["metadata"]["resourceVersion"] == version else None

    async def replace_status(self, kind: Kind, obj: Object, status: Object) -> Object:
        if obj.get("status") == status:
            return obj
        return await self.update(kind, {**obj, "status": status}, subresource="status")

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_s: int | None = None,
        propagation: Propagation = "Background",
    ) -> None:
        options = DeleteOptions(uid=uid, grace_s=grace_s, propagation=propagation)
        await self._registry.delete(kind, namespace, name, options)

    def _options(self, kind: Kind, subresource: str = "") -> WriteOptions:
        tracked = subresource != "status" and kind not in UNTRACKED_KINDS
        return WriteOptions(manager=self._manager, tracked=tracked)


def _tell(kind: Kind, obj: Object, options: WriteOptions) -> None:
    for warning in options.warnings:
        log.warning("dropped", kind=str(kind), name=obj["metadata"]["name"], problem=warning)
