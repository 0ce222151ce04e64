"""Writes the EndpointSlices of Services that select pods.

Both directions are indexed by label pairs, `NAMESPACE/KEY=VALUE`: from a Service to its pods and
from a pod to the Services that may select it, so that a thousand pods cost no more than their own
events. Slices that another manager or a user made are not touched.
"""

import contextlib
from collections.abc import Iterable, Sequence

from motorpool.api import core, discovery
from motorpool.api.errors import AlreadyExists, ApiError, NotFound
from motorpool.api.meta import (
    Object,
    ObjectKey,
    at,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from motorpool.loop.informer import Change
from motorpool.loop.ownwrites import OwnWrites
from motorpool.loop.refusals import is_namespace_ending
from motorpool.loop.runner import Context, Controller, own_key
from motorpool.workloads.endpointslice.desired import (
    MANAGED_BY,
    MANAGER,
    SERVICE_NAME,
    changes,
    desired_slices,
)

COMPONENT = "endpoint-slice-controller"
BY_LABEL = "label"
BY_SELECTOR = "selector"
BY_SERVICE = "service"


def controller(context: Context) -> Controller:
    actor = _EndpointSlices(context)
    sources = {
        context.informers(core.SERVICE): own_key,
        context.informers(core.POD): actor.keys_of_pod,
        context.informers(discovery.ENDPOINT_SLICE): keys_of_slice,
    }
    return Controller(COMPONENT, sources, actor.reconcile)


def _pairs(namespace: str, labels: dict[str, str]) -> list[str]:
    return [f"{namespace}/{key}={value}" for key, value in labels.items()]


def label_pairs(obj: Object) -> Iterable[str]:
    return _pairs(namespace_of(obj), labels_of(obj))


def selector_pair(service: Object) -> Iterable[str]:
    """One pair of the selector is enough to find the Services that a pod may belong to."""
    return _pairs(namespace_of(service), _selector(service))[:1]


def service_of_slice(obj: Object) -> Iterable[str]:
    if labels_of(obj).get(MANAGED_BY) != MANAGER:
        return ()
    return (f"{namespace_of(obj)}/{labels_of(obj).get(SERVICE_NAME, '')}",)


def keys_of_slice(change: Change) -> Iterable[ObjectKey]:
    both = (obj for obj in (change.old, change.new) if obj is not None)
    found = [
        ObjectKey(namespace_of(obj), labels_of(obj)[SERVICE_NAME])
        for obj in both
        if labels_of(obj).get(MANAGED_BY) == MANAGER and SERVICE_NAME in labels_of(obj)
    ]
    return dict.fromkeys(found)


def _selector(service: Object) -> dict[str, str]:
    if at(service, "spec", "type") == "ExternalName":
        return {}
    return dict(at(service, "spec", "selector", default={}))


class _EndpointSlices:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informers(core.SERVICE)
        self._services.add_index(BY_SELECTOR, selector_pair)
        self._pods = context.informers(core.POD)
        self._pods.add_index(BY_LABEL, label_pairs)
        self._slices = OwnWrites(context.informers(discovery.ENDPOINT_SLICE), context.clock)
        self._slices.add_index(BY_SERVICE, service_of_slice)

    def keys_of_pod(self, change: Change) -> Iterable[ObjectKey]:
        """The Services that select the pod, or did, where it changed in a way that they show."""
        old, new = change.old, change.new
        if old is not None and new is not None and _shown(old) == _shown(new):
            return ()
        found: dict[ObjectKey, None] = {}
        for pod in (old, new):
            if pod is None:
                continue
            labels = labels_of(pod)
            for pair in label_pairs(pod):
                for service in self._services.by_index(BY_SELECTOR, pair):
                    if _selector(service).items() <= labels.items():
                        found[key_of(service)] = None
        return found

    async def reconcile(self, key: ObjectKey) -> float | None:
        service = self._services.get(*key)
        if service is None or is_deleting(service) or not _selector(service):
            return None  # A Service's slices carry owner references and are collected.
        existing = self._slices.by_index(BY_SERVICE, str(key))
        wanted = changes(desired_slices(service, self._selected(service)), existing)
        try:
            await self._create(wanted.create)
        except ApiError as error:
            if is_namespace_ending(error):
                return None
            raise
        for obj in wanted.update:
            with contextlib.suppress(NotFound):  # Deleted meanwhile: its event brings us back.
                self._slices.note(await self._client.update(discovery.ENDPOINT_SLICE, obj))
        for obj in wanted.delete:
            with contextlib.suppress(NotFound):
                await self._client.delete(discovery.ENDPOINT_SLICE, *key_of(obj), uid=uid_of(obj))
            self._slices.note_deleted(obj)
        return self._slices.again_s

    async def _create(self, slices: Sequence[Object]) -> None:
        for obj in slices:
            try:
                written = await self._client.create(discovery.ENDPOINT_SLICE, obj)
            except AlreadyExists:
                # Written before a restart, and not in the informer yet: the next pass compares it.
                written = await self._client.get(discovery.ENDPOINT_SLICE, *key_of(obj))
            self._slices.note(written)

    def _selected(self, service: Object) -> list[Object]:
        selector = _selector(service)
        pairs = _pairs(namespace_of(service), selector)
        fewest = min((self._pods.by_index(BY_LABEL, pair) for pair in pairs), key=len)
        return [pod for pod in fewest if selector.items() <= labels_of(pod).items()]


def _shown(pod: Object) -> tuple[object, ...]:
    """What of a pod its endpoints depend on."""
    status = pod.get("status") or {}
    ready = [c.get("status") for c in status.get("conditions") or () if c.get("type") == "Ready"]
    return (
        labels_of(pod),
        status.get("podIP"),
        status.get("podIPs"),
        status.get("phase"),
        ready,
        is_deleting(pod),
        uid_of(pod),
        name_of(pod),
        at(pod, "spec", "nodeName"),
    )
