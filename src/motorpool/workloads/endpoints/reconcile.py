"""Writes the Endpoints of Services that select pods, and the slices of those that do not.

What a Service's Endpoints say is read from its EndpointSlices, so that both always agree; the
slices of the mirror are left out, as they are made of Endpoints.
"""

import contextlib
from collections.abc import Iterable

from motorpool.api import core, discovery
from motorpool.api.errors import AlreadyExists, ApiError, Conflict, NotFound
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
from motorpool.loop.refusals import is_namespace_ending
from motorpool.loop.runner import Context, Controller, own_key
from motorpool.workloads.endpoints.desired import (
    MANAGED_BY,
    MIRROR,
    SERVICE_NAME,
    SKIP_MIRROR,
    endpoints_of,
    is_same,
    mirrored,
)

COMPONENT = "endpoints-controller"
BY_SERVICE = "slices of a service"


def controller(context: Context) -> Controller:
    actor = _Endpoints(context)
    sources = {
        context.informers(core.SERVICE): own_key,
        context.informers(core.ENDPOINTS): own_key,
        context.informers(discovery.ENDPOINT_SLICE): _keys_of_slice,
    }
    return Controller(COMPONENT, sources, actor.reconcile, workers=2)


def _has_endpoints(service: Object) -> bool:
    """Those of a Service that goes are collected: they carry its owner reference."""
    return not is_deleting(service) and at(service, "spec", "type") != "ExternalName"


def service_of(obj: Object) -> Iterable[str]:
    name = labels_of(obj).get(SERVICE_NAME)
    return (f"{namespace_of(obj)}/{name}",) if name else ()


def _keys_of_slice(change: Change) -> Iterable[ObjectKey]:
    both = (obj for obj in (change.old, change.new) if obj is not None)
    names = {(namespace_of(obj), labels_of(obj).get(SERVICE_NAME, "")) for obj in both}
    return [ObjectKey(namespace, name) for namespace, name in names if name]


class _Endpoints:
    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informers(core.SERVICE)
        self._endpoints = context.informers(core.ENDPOINTS)
        self._slices = context.informers(discovery.ENDPOINT_SLICE)
        self._slices.add_index(BY_SERVICE, service_of)

    async def reconcile(self, key: ObjectKey) -> float | None:
        service = self._services.get(*key)
        slices = self._slices.by_index(BY_SERVICE, str(key))
        mirror = [each for each in slices if labels_of(each).get(MANAGED_BY) == MIRROR]
        selects = service is not None and at(service, "spec", "selector")
        try:
            if service is not None and selects and _has_endpoints(service):
                rest = [each for each in slices if labels_of(each).get(MANAGED_BY) != MIRROR]
                await self._write(service, rest)
            wanted = [] if service is None or selects else self._mirrored(key)
            await self._mirror(wanted, mirror)
        except ApiError as error:
            if is_namespace_ending(error):
                return None
            raise
        return None

    def _mirrored(self, key: ObjectKey) -> list[Object]:
        endpoints = self._endpoints.get(*key)
        if endpoints is None or labels_of(endpoints).get(SKIP_MIRROR) == "true":
            return []
        return mirrored(endpoints)

    async def _write(self, service: Object, slices: Iterable[Object]) -> None:
        wanted = endpoints_of(service, sorted(slices, key=name_of))
        existing = self._endpoints.get(*key_of(service))
        if existing is None:
            with contextlib.suppress(AlreadyExists):  # Its event brings us back.
                await self._client.create(core.ENDPOINTS, wanted)
        elif not is_same(existing, wanted):
            metadata = {**existing["metadata"], **wanted["metadata"]}
            with contextlib.suppress(NotFound):
                await self._client.update(core.ENDPOINTS, {**wanted, "metadata": metadata})

    async def _mirror(self, wanted: list[Object], existing: list[Object]) -> None:
        present = {name_of(each): each for each in existing}
        for each in wanted:
            current = present.pop(name_of(each), None)
            if current is None:
                with contextlib.suppress(AlreadyExists):
                    await self._client.create(discovery.ENDPOINT_SLICE, each)
            elif any(current.get(part) != each[part] for part in ("endpoints", "ports")):
                metadata = {**current["metadata"], "labels": each["metadata"]["labels"]}
                await self._client.update(discovery.ENDPOINT_SLICE, {**each, "metadata": metadata})
        for each in present.values():
            with contextlib.suppress(NotFound, Conflict):  # Gone already.
                await self._client.delete(discovery.ENDPOINT_SLICE, *key_of(each), uid=uid_of(each))
