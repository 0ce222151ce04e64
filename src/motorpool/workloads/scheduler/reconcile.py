"""Binds pods that have no node, one at a time.

The condition PodScheduled is written before ``spec.nodeName``: from the moment that the name is
there the node agent is the one writer of the pod's status. A pod that fits nowhere is looked at
again when a node changes or a pod that had a place ends; nothing is polled.
"""

from collections.abc import Iterable

from motorpool.api import core
from motorpool.api.conditions import condition_of, merged
from motorpool.api.errors import NotFound
from motorpool.api.meta import Object, ObjectKey, at, is_deleting, key_of, name_of, uid_of
from motorpool.api.podstatus import is_terminal
from motorpool.base.clock import rfc3339
from motorpool.loop.informer import Change
from motorpool.loop.ownwrites import OwnWrites
from motorpool.loop.runner import Context, Controller
from motorpool.workloads.scheduler.fit import placement
from motorpool.workloads.scheduler.resources import Amounts, requests_of, total

COMPONENT = "default-scheduler"
BY_PLACE = "place"
_WAITING = "waiting"


def controller(context: Context) -> Controller:
    actor = _Scheduler(context)
    sources = {
        context.informers(core.POD): actor.keys_of_pod,
        context.informers(core.NODE): actor.keys_of_node,
    }
    # One worker: two pods must not be given the same room.
    return Controller(COMPONENT, sources, actor.reconcile, workers=1)


def places(pod: Object) -> Iterable[str]:
    """An informer index: ``node/NAME`` for what takes room, ``waiting`` for what wants it."""
    if is_terminal(pod):
        return ()
    node = at(pod, "spec", "nodeName")
    if node:
        return (f"node/{node}",)
    return (_WAITING,) if _is_ours(pod) else ()


def _is_ours(pod: Object) -> bool:
    scheduler = at(pod, "spec", "schedulerName", default=COMPONENT)
    gates = at(pod, "spec", "schedulingGates", default=())
    return scheduler == COMPONENT and not gates and not is_deleting(pod)


class _Scheduler:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._clock = context.clock
        self._nodes = context.informers(core.NODE)
        self._pods = OwnWrites(context.informers(core.POD), context.clock)
        self._pods.add_index(BY_PLACE, places)
        self._requests: dict[str, Amounts] = {}  # by uid of a placed pod: they never change

    def keys_of_pod(self, change: Change) -> Iterable[ObjectKey]:
        """The pod itself where it waits; those that wait where it leaves its place."""
        keys = []
        if change.new is not None and _WAITING in places(change.new):
            keys.append(key_of(change.new))
        had = change.old is not None and _has_place(change.old)
        if had and (change.new is None or not _has_place(change.new)):
            self._requests.pop(uid_of(change.object), None)
            keys += self._waiting()
        return keys

    def keys_of_node(self, change: Change) -> Iterable[ObjectKey]:
        if change.old is not None and change.new is not None and not _room_differs(change):
            return ()
        return self._waiting()

    def _waiting(self) -> list[ObjectKey]:
        return [key_of(pod) for pod in self._pods.by_index(BY_PLACE, _WAITING)]

    async def reconcile(self, key: ObjectKey) -> float | None:
        pod = self._pods.get(*key)
        if pod is None or _WAITING not in places(pod):
            return None
        nodes = self._nodes.list()
        used = {name_of(node): self._used(name_of(node)) for node in nodes}
        found = placement(pod, requests_of(pod), nodes, used)
        try:
            if found.node:
                await self._bind(pod, found.node)
            else:
                await self._refuse(pod, found.message)
        except NotFound:
            return None  # Deleted while we looked for a place.
        return self._pods.again_s

    def _used(self, node: str) -> Amounts:
        placed = self._pods.by_index(BY_PLACE, f"node/{node}")
        return total(self._requests_of(pod) for pod in placed)

    def _requests_of(self, pod: Object) -> Amounts:
        uid = uid_of(pod)
        if uid not in self._requests:
            self._requests[uid] = requests_of(pod)
        return self._requests[uid]

    async def _bind(self, pod: Object, node: str) -> None:
        condition = {"type": "PodScheduled", "status": "True"}
        await self._write_condition(pod, condition)
        patch = {"metadata": {"uid": uid_of(pod)}, "spec": {"nodeName": node}}
        written = await self._client.patch(core.POD, *key_of(pod), patch)
        self._pods.note(written)
        message = f"Successfully assigned {key_of(pod)} to {node}"
        self._events.record(pod, "Normal", "Scheduled", message, component=COMPONENT)

    async def _refuse(self, pod: Object, message: str) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        if await self._write_condition(pod, condition):
            self._events.record(pod, "Warning", "FailedScheduling", message, component=COMPONENT)

    async def _write_condition(self, pod: Object, condition: Object) -> bool:
        """Whether there was anything to write."""
        before = condition_of(pod, condition["type"]) or {}
        if {key: before.get(key) for key in condition} == condition:
            return False
        old = at(pod, "status", "conditions", default=[])
        others = [each for each in old if each.get("type") != condition["type"]]
        (new,) = merged(old, [condition], rfc3339(self._clock()))
        patch = {"metadata": {"uid": uid_of(pod)}, "status": {"conditions": [*others, new]}}
        written = await self._client.patch(core.POD, *key_of(pod), patch, subresource="status")
        self._pods.note(written)
        return True


def _has_place(pod: Object) -> bool:
    return any(place != _WAITING for place in places(pod))


def _room_differs(change: Change) -> bool:
    """A node writes heartbeats; only what decides on a fit makes us look again."""

    def room(node: Object | None) -> tuple[object, ...]:
        return (
            at(node, "spec"),
            at(node, "metadata", "labels"),
            at(node, "status", "allocatable"),
            at(node, "status", "capacity"),
        )

    return room(change.old) != room(change.new)
