"""Deletes the pods that a NoExecute taint of their node drives away.

What deletes here is what `kubectl taint nodes NAME KEY=VALUE:NoExecute` asks for; the node's own
taints (pressure) only keep new pods out.
"""

from collections.abc import Iterable
from datetime import datetime

from motorpool.api import core
from motorpool.api.errors import Conflict, NotFound
from motorpool.api.meta import Object, ObjectKey, at, is_deleting, key_of, name_of, uid_of
from motorpool.api.podstatus import is_terminal
from motorpool.base.clock import parse_rfc3339
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context, Controller
from motorpool.workloads.tainteviction.plan import driving_taints, stays_s

COMPONENT = "taint-eviction-controller"
BY_NODE = "node of tainteviction"


def controller(context: Context) -> Controller:
    actor = _Evictor(context)
    sources = {
        context.informers(core.POD): actor.keys_of_pod,
        context.informers(core.NODE): actor.keys_of_node,
    }
    return Controller(COMPONENT, sources, actor.reconcile, workers=1)


def _node_of(pod: Object) -> Iterable[str]:
    name = at(pod, "spec", "nodeName")
    return (name,) if name and not is_terminal(pod) and not is_deleting(pod) else ()


class _Evictor:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._clock = context.clock
        self._nodes = context.informers(core.NODE)
        self._pods = context.informers(core.POD)
        self._pods.add_index(BY_NODE, _node_of)
        self._driven_since: dict[str, datetime] = {}  # by uid of a pod

    def keys_of_pod(self, change: Change) -> Iterable[ObjectKey]:
        if change.new is None:
            self._driven_since.pop(uid_of(change.object), None)
            return ()
        # Nearly always there is nothing to do, and pods change often.
        return (key_of(change.new),) if self._taints_of(change.new) else ()

    def keys_of_node(self, change: Change) -> Iterable[ObjectKey]:
        before, now = (driving_taints(obj or {}) for obj in (change.old, change.new))
        if before == now:
            return ()
        return [key_of(pod) for pod in self._pods.by_index(BY_NODE, name_of(change.object))]

    def _taints_of(self, pod: Object) -> list[Object]:
        node = self._nodes.get("", at(pod, "spec", "nodeName", default=""))
        return driving_taints(node) if node is not None else []

    async def reconcile(self, key: ObjectKey) -> float | None:
        pod = self._pods.get(*key)
        if pod is None or not list(_node_of(pod)):
            return None
        taints = self._taints_of(pod)
        time_s = stays_s(pod, taints) if taints else None
        if time_s is None:
            self._driven_since.pop(uid_of(pod), None)
            return None
        since = self._driven_since.setdefault(uid_of(pod), self._since(taints))
        left_s = time_s - (self._clock() - since).total_seconds()
        if left_s > 0:
            return left_s
        message = f"Marking for deletion Pod {key}"
        self._events.record(pod, "Normal", "TaintManagerEviction", message, component=COMPONENT)
        try:
            await self._client.delete(core.POD, *key, uid=uid_of(pod))
        except (NotFound, Conflict):
            return None  # It went by itself, or another has its name.
        return None

    def _since(self, taints: list[Object]) -> datetime:
        """When the last of them came, where that is known; else now."""
        times = [parse_rfc3339(t["timeAdded"]) for t in taints if t.get("timeAdded")]
        return max(times) if len(times) == len(taints) else self._clock()
