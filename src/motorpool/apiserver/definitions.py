"""Makes CustomResourceDefinitions true: accepts their names, serves their kinds, ends them.

Part of the API server and not of its controllers: a definition is served wherever the API is. One
pass looks at one definition: its kinds are served where its names are accepted, its status is
written where it differs, and one that is being deleted is held until its last object is gone. The
kinds are served before the status says so: who waits for Established may use them at once.
"""

import asyncio
import contextlib
from collections.abc import Iterable

from motorpool.api import definitions, static_definitions
from motorpool.api.apiextensions import CUSTOM_RESOURCE_DEFINITION as DEFINITION
from motorpool.api.errors import Conflict, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, ObjectKey, is_deleting, key_of, name_of, uid_of, with_status
from motorpool.apiserver.registry import Registry
from motorpool.base.clock import rfc3339
from motorpool.client import Client
from motorpool.loop.informer import Change, Informers
from motorpool.loop.runner import Controller

COMPONENT = "definition-controller"
EMPTYING_PERIOD_S = 0.1  # objects with finalizers go when their controllers let them
DELETES_AT_ONCE_MAX = 32


async def load(registry: Registry, client: Client) -> None:
    """Serves what was established before, so that the first request finds it; shows what is
    built in as definitions like all others."""
    found = {name_of(each): each for each in (await client.list(DEFINITION)).items}
    for name, definition in found.items():
        registry.kinds.serve(name, definitions.kinds_of(definition))
    for name, kind in static_definitions.kinds().items():
        if name not in found:
            await client.create(DEFINITION, static_definitions.short(kind))
        elif static_definitions.keep({**found[name]}):  # as an older release had it
            spec = static_definitions.short(kind)["spec"]
            await client.update(DEFINITION, {**found[name], "spec": spec})


def controller(registry: Registry, client: Client, informers: Informers) -> Controller:
    actor = _Definitions(registry, client, informers)
    # One at a time: of two that want the same names, the first to come gets them.
    return Controller(COMPONENT, {informers(DEFINITION): actor.keys}, actor.reconcile, workers=1)


class _Definitions:
    def __init__(self, registry: Registry, client: Client, informers: Informers) -> None:
        self._registry = registry
        self._client = client
        self._seen = informers(DEFINITION)
        self._written: dict[str, Object] = {}  # what the informer may not show yet
        self._served: dict[str, tuple[object, ...]] = {}

    def keys(self, change: Change) -> Iterable[ObjectKey]:
        """The definition itself; its whole group where it gives names free."""
        yield key_of(change.object)
        if change.old is None or change.old["spec"].get("names") == _names(change.new):
            return
        group = change.old["spec"]["group"]
        for other in self._seen.list():
            if other["spec"]["group"] == group and name_of(other) != name_of(change.object):
                yield key_of(other)

    async def reconcile(self, key: ObjectKey) -> float | None:
        definition = self._seen.get(*key)
        if definition is None:
            self._withdraw(key.name)
            return None
        definition = self._newest(definition)
        if is_deleting(definition):
            return await self._end(definition)
        moment = rfc3339(self._registry.clock())
        others = [self._newest(other) for other in self._seen.list()]
        status = definitions.observed(definition, others, moment)
        wanted = with_status(definition, status)
        self._serve(wanted)
        with contextlib.suppress(NotFound):
            written = await self._client.replace_status(DEFINITION, definition, status)
            self._written[key.name] = written
        return None

    def _newest(self, seen: Object) -> Object:
        written = self._written.get(name_of(seen))
        if written is None or uid_of(written) != uid_of(seen):
            return seen
        return written if _revision(written) > _revision(seen) else seen

    def _serve(self, definition: Object) -> None:
        name, metadata = name_of(definition), definition["metadata"]
        state = (
            metadata["uid"],
            metadata.get("generation"),
            definition["status"]["acceptedNames"],
            is_deleting(definition),
        )
        if self._served.get(name) != state:
            self._registry.kinds.serve(name, definitions.kinds_of(definition))
            self._served[name] = state

    def _withdraw(self, name: str) -> None:
        gone = self._registry.kinds.defined.get(name, ())
        self._registry.kinds.serve(name, ())
        self._served.pop(name, None)
        self._written.pop(name, None)
        for kind in gone[:1]:
            self._registry.end_watches(kind)

    async def _end(self, definition: Object) -> float | None:
        """Deletes all objects; once none is left, lets the definition go."""
        if definitions.FINALIZER not in (definition["metadata"].get("finalizers") or ()):
            return None  # somebody else's finalizer holds it: it is empty already
        self._serve(definition)
        kinds = self._registry.kinds.defined.get(name_of(definition), ())
        left = False
        for kind in kinds[:1]:
            left = await self._empty(kind)
        if left:
            await self._tell(definition)
            return EMPTYING_PERIOD_S
        await self._finish(definition)
        return None

    async def _tell(self, definition: Object) -> None:
        moment = rfc3339(self._registry.clock())
        text = "CustomResource deletion is in progress"
        found = definitions.terminating(definition, "InstanceDeletionInProgress", text, moment)
        status = {**definition["status"], "conditions": found}
        self._written[name_of(definition)] = await self._client.replace_status(
            DEFINITION, definition, status
        )

    async def _empty(self, kind: Kind) -> bool:
        """Asks every object to go; whether any is left."""
        found = (await self._client.list(kind)).items
        waiting = [obj for obj in found if not is_deleting(obj)]
        for start in range(0, len(waiting), DELETES_AT_ONCE_MAX):
            batch = waiting[start : start + DELETES_AT_ONCE_MAX]
            await asyncio.gather(*(self._delete(kind, obj) for obj in batch))
        return bool(found) and bool((await self._client.list(kind)).items)

    async def _delete(self, kind: Kind, obj: Object) -> None:
        with contextlib.suppress(NotFound, Conflict):  # gone already, or another one by now
            await self._client.delete(kind, *key_of(obj), uid=uid_of(obj))

    async def _finish(self, definition: Object) -> None:
        self._withdraw(name_of(definition))
        metadata = definition["metadata"]
        rest = [each for each in metadata["finalizers"] if each != definitions.FINALIZER]
        known = {field: metadata[field] for field in ("uid", "resourceVersion")}
        with contextlib.suppress(NotFound):
            patch = {"metadata": {**known, "finalizers": rest or None}}
            await self._client.patch(DEFINITION, "", name_of(definition), patch)


def _names(definition: Object | None) -> object:
    return definition["spec"].get("names") if definition is not None else None


def _revision(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])
