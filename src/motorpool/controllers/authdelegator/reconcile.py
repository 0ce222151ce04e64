"""Keeps the bindings of each namespace; see `desired.py`. Keys are namespaces."""

import contextlib
from collections.abc import Iterable

from motorpool.api import rbac, serving
from motorpool.api.errors import NotFound
from motorpool.api.meta import Object, ObjectKey, labels_of, name_of, namespace_of
from motorpool.controllers.authdelegator.desired import NAMESPACE_LABEL, bindings, is_ours
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
        wanted = {name_of(b): b for b in bindings(namespace, self.isvcs.list(namespace))}
        present = {
            name_of(b): b
            for b in self.bindings.list()
            if labels_of(b).get(NAMESPACE_LABEL) == namespace
        }
        for name, binding in wanted.items():
            there = present.pop(name, None)
            if there is None or not _holds(there, binding):
                kind = rbac.CLUSTER_ROLE_BINDING
                await self._client.apply(kind, binding, manager=FIELD_MANAGER)
        for name, surplus in present.items():
            with contextlib.suppress(NotFound):
                uid = surplus["metadata"]["uid"]
                await self._client.delete(rbac.CLUSTER_ROLE_BINDING, "", name, uid=uid)
        return None


def _holds(there: Object, wanted: Object) -> bool:
    has = [{k: v for k, v in s.items() if k != "apiGroup" or v}
           for s in there.get("subjects") or ()]  # fmt: skip
    return all(subject in has for subject in wanted["subjects"])


def _namespace_of(change: Change) -> Iterable[ObjectKey]:
    return (ObjectKey("", namespace_of(change.object)),)


def _named_namespace(change: Change) -> Iterable[ObjectKey]:
    found = change.object
    return (ObjectKey("", labels_of(found)[NAMESPACE_LABEL]),) if is_ours(found) else ()
