"""Deletes what no owner keeps, and lets owners go that waited for their dependents.

Informers lag: an owner that they do not show is asked for by name before anything is deleted, and
so is the object itself. What is deleted is deleted by uid.
"""

import contextlib
from collections.abc import Sequence

from motorpool.api.errors import Conflict, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, ObjectKey, is_deleting, key_of, name_of, uid_of
from motorpool.loop.runner import Attach, Context, Controller
from motorpool.workloads.garbage.graph import Graph
from motorpool.workloads.garbage.plan import (
    FOREGROUND,
    ORPHAN,
    Delete,
    KeepReferences,
    OwnerState,
    blocks,
    finalizers_of,
    orphans_dependents,
    references_of,
    state_of,
    verdict,
    waits_for_dependents,
    without_owner,
)

COMPONENT = "garbage-collector"


def controller(context: Context) -> Controller:
    graph = Graph(context.informers)
    collector = _Collector(context, graph)

    def late(attach: Attach) -> None:
        context.kinds.subscribe(lambda name, kinds: graph.learn(name, kinds, attach))

    return Controller(COMPONENT, graph.sources(), collector.reconcile, workers=8, late=late)


class _Collector:
    def __init__(self, context: Context, graph: Graph) -> None:
        self._client = context.client
        self._events = context.events
        self._graph = graph

    async def reconcile(self, key: ObjectKey) -> float | None:
        found = self._graph.find(key)
        if found is None:
            return None
        kind, obj = found
        try:
            if is_deleting(obj):
                await self._let_go(kind, obj)
            else:
                await self._judge(kind, obj)
        except NotFound:
            return None  # Gone while we looked at it.
        return None

    async def _judge(self, kind: Kind, obj: Object) -> None:
        states = [await self._state(kind, obj, each) for each in references_of(obj)]
        has_dependents = next(self._graph.dependents(uid_of(obj)), None) is not None
        decided = verdict(obj, states, has_dependents=has_dependents)
        if decided is None:
            return
        live = await self._client.get(kind, *key_of(obj))
        if uid_of(live) != uid_of(obj) or references_of(live) != references_of(obj):
            return  # We look at an old version: the event of the new one brings us back.
        match decided:
            case Delete(propagation):
                with contextlib.suppress(Conflict):  # Another object has the name now.
                    await self._client.delete(
                        kind, *key_of(obj), uid=uid_of(obj), propagation=propagation
                    )
            case KeepReferences(references):
                await self._refer(kind, live, references)

    async def _state(self, kind: Kind, obj: Object, reference: Object) -> OwnerState:
        owner_kind = self._graph.kind_of(reference)
        if owner_kind is None:
            return OwnerState.PRESENT  # Not a kind that is served: nobody can tell, so it stays.
        if owner_kind.namespaced and not kind.namespaced:
            message = (
                f"ownerRef {reference['kind']}/{reference['name']} is namespaced, but "
                f"{kind.kind} {name_of(obj)} is not; remove the owner reference"
            )
            self._events.record(
                obj, "Warning", "OwnerRefInvalidNamespace", message, component=COMPONENT
            )
            return OwnerState.PRESENT
        namespace = obj["metadata"].get("namespace", "") if owner_kind.namespaced else ""
        seen = self._graph.seen(owner_kind, namespace, reference["name"])
        state = state_of(reference, seen)
        if state is not OwnerState.ABSENT:
            return state
        try:
            live = await self._client.get(owner_kind, namespace, reference["name"])
        except NotFound:
            return OwnerState.ABSENT
        return state_of(reference, live)

    async def _let_go(self, kind: Kind, obj: Object) -> None:
        """Does for an owner that is being deleted what its finalizers wait for."""
        dependents = list(self._graph.dependents(uid_of(obj)))
        if orphans_dependents(obj):
            for each in dependents:
                with contextlib.suppress(NotFound):
                    await self._refer(each.kind, each.object, without_owner(each.object, obj))
            await self._finish(kind, obj, ORPHAN)
        elif waits_for_dependents(obj) and not any(blocks(d.object, obj) for d in dependents):
            await self._finish(kind, obj, FOREGROUND)

    async def _finish(self, kind: Kind, obj: Object, finalizer: str) -> None:
        rest = [each for each in finalizers_of(obj) if each != finalizer]
        await self._patch(kind, obj, {"finalizers": rest or None})

    async def _refer(self, kind: Kind, obj: Object, references: Sequence[Object]) -> None:
        await self._patch(kind, obj, {"ownerReferences": list(references) or None})

    async def _patch(self, kind: Kind, obj: Object, metadata: Object) -> None:
        """Raises Conflict where *obj* is stale; the key is then tried again."""
        known = {field: obj["metadata"][field] for field in ("uid", "resourceVersion")}
        await self._client.patch(kind, *key_of(obj), {"metadata": {**known, **metadata}})
