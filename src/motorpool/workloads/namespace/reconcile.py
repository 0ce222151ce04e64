"""Empties a namespace that is being deleted, then removes the finalizer that holds it.

Rules:
  1. What has to go is read from the API server and not from informers: the namespace may only be
     let go when it is empty in truth. The informers are only listened to, to look again when
     something went.
  2. From the moment of its deletion the API server lets nothing new into the namespace, so that
     one delete per object is enough.
  3. Events go last: the deletion of everything else makes some.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence

from motorpool.api import core, scheme
from motorpool.api.errors import Conflict, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, ObjectKey, is_deleting, key_of, namespace_of, uid_of
from motorpool.loop.informer import Change, Informer
from motorpool.loop.runner import Context, Controller, KeysOf, own_key
from motorpool.workloads.namespace.status import status

COMPONENT = "namespace-controller"
FINALIZER = "kubernetes"
DELETES_AT_ONCE_MAX = 32
CUSTOM_PERIOD_S = 0.5  # custom resources are not listened to: they are looked at again


def controller(context: Context) -> Controller:
    actor = _Namespaces(context)
    sources: dict[Informer, KeysOf] = {context.informers(core.NAMESPACE): own_key}
    for kind in content_kinds():
        if kind is not core.EVENT:  # Nobody else needs a copy of all events.
            sources[context.informers(kind)] = actor.keys_of_content
    return Controller(COMPONENT, sources, actor.reconcile)


def content_kinds() -> Sequence[Kind]:
    """Every kind that lives in namespaces, once, events last."""
    found: dict[tuple[str, str], Kind] = {}
    for kind in scheme.KINDS:
        if kind.stored_as is None and kind.namespaced and {"list", "delete"} <= set(kind.verbs):
            found.setdefault((kind.group, kind.kind), kind)
    return sorted(found.values(), key=lambda kind: kind is core.EVENT)


class _Namespaces:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._namespaces = context.informers(core.NAMESPACE)
        self._kinds = context.kinds

    def keys_of_content(self, change: Change) -> Iterable[ObjectKey]:
        """The namespace, where it is ending and this object went or waits."""
        name = namespace_of(change.object)
        namespace = self._namespaces.get("", name)
        if namespace is None or not is_deleting(namespace):
            return ()
        return (ObjectKey("", name),)

    async def reconcile(self, key: ObjectKey) -> float | None:
        namespace = self._namespaces.get(*key)
        if namespace is None or not is_deleting(namespace):
            return None
        if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
            return None
        left = await self._empty(key.name)
        try:
            if left:
                new = status(namespace, left, self._clock())
                await self._client.replace_status(core.NAMESPACE, namespace, new)
                if any(kind.resource in self._kinds.defined for kind in left):
                    return CUSTOM_PERIOD_S
            else:
                await self._finish(key.name)
        except NotFound:
            return None  # Gone while we looked at it.
        return None

    async def _empty(self, name: str) -> dict[Kind, list[Object]]:
        """Deletes everything. Returns what is still there, by kind."""
        left: dict[Kind, list[Object]] = {}
        defined = [kinds[0] for kinds in self._kinds.defined.values() if kinds[0].namespaced]
        for kind in (*defined, *content_kinds()):
            if kind is core.EVENT and left:
                continue
            present = (await self._client.list(kind, name)).items
            await self._delete(kind, [obj for obj in present if not is_deleting(obj)])
            if present:
                present = (await self._client.list(kind, name)).items
            if present:
                left[kind] = present
        return left

    async def _delete(self, kind: Kind, objects: Sequence[Object]) -> None:
        for start in range(0, len(objects), DELETES_AT_ONCE_MAX):
            batch = objects[start : start + DELETES_AT_ONCE_MAX]
            await asyncio.gather(*(self._delete_one(kind, obj) for obj in batch))

    async def _delete_one(self, kind: Kind, obj: Object) -> None:
        with contextlib.suppress(NotFound, Conflict):  # Gone already.
            await self._client.delete(kind, *key_of(obj), uid=uid_of(obj))

    async def _finish(self, name: str) -> None:
        live = await self._client.get(core.NAMESPACE, "", name)
        rest = [each for each in live["spec"].get("finalizers") or () if each != FINALIZER]
        finalized = {**live, "spec": {**live["spec"], "finalizers": rest}}
        await self._client.update(core.NAMESPACE, finalized, subresource="finalize")
