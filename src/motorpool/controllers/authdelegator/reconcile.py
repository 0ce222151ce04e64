"""Keeps the bindings of each namespace; see `desired.py`. Keys are namespaces."""

import contextlib
from collections.abc import Iterable

from motorpool.api import rbac, serving
from motorpool.api.errors import NotFound
from motorpool.api.meta import ObjectKey, labels_of, name_of, namespace_of
from motorpool.controllers.authdelegator.desired import NAMESPACE_LABEL, bindings, holds, is_ours
from motorpool.loop.informer import Change
from motorpool.loop.runner import Context, Controller

FIELD_MANAGER = "motorpool-auth-delegator"


def controller(context: Context) -> Controller:
    reconciler = _Reconciler(context)
    sources = {reconciler.isvcs: _namespace_of, reconciler.bindings: _named_namespace}
    return Controller("authdelegator", sources, reconciler.reconcile, workers=1)


class _Reconciler:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self.isvcs = context.informers(serving.INFERENCE_SERVICE)
        self.bindings = context.informers(rbac.CLUSTER_ROLE_BINDING)

    async def reconcile(self, key: ObjectKey) -> float | None:
        namespace = key.name
        present = {name_of(binding): binding for binding in self.bindings.list()}
        wanted = bindings(namespace, self.isvcs.list(namespace), present)
        for binding in wanted:
            there = present.pop(name_of(binding), None)
            if there is None or not holds(there, binding):
                kind = rbac.CLUSTER_ROLE_BINDING
                await self._client.apply(kind, binding, manager=FIELD_MANAGER)
        for name, surplus in present.items():
            if labels_of(surplus).get(NAMESPACE_LABEL) != namespace:
                continue
            with contextlib.suppress(NotFound):
                uid = surplus["metadata"]["uid"]
                await self._client.delete(rbac.CLUSTER_ROLE_BINDING, "", name, uid=uid)
        return None


def _namespace_of(change: Change) -> Iterable[ObjectKey]:
    return (ObjectKey("", namespace_of(change.object)),)


def _named_namespace(change: Change) -> Iterable[ObjectKey]:
    found = [obj for obj in (change.old, change.new) if obj is not None and is_ours(obj)]
    return dict.fromkeys(ObjectKey("", labels_of(obj)[NAMESPACE_LABEL]) for obj in found)
