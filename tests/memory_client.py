"""An API server of a few lines for controller tests: enough verbs, and a record of the writes.

It stores what it is given: no defaulting, no validation. `writes` holds one line for each write
that changed something, such as ``apply Deployment iris-predictor``.
"""

import asyncio
import copy
import itertools

from motorpool.api.errors import AlreadyExists, Conflict, NotFound
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, ObjectKey, key_of
from motorpool.api.scheme import by_kind
from motorpool.client import ObjectList, WatchEvent


class MemoryClient:
    def __init__(self, *objects: Object) -> None:
        self.objects: dict[tuple[Kind, ObjectKey], Object] = {}
        self.writes: list[str] = []
        self.token_life_s = 0
        self._tokens = itertools.count(1)
        self._applied: dict[tuple[Kind, ObjectKey, str], Object] = {}
        self._revision = itertools.count(1)
        self._watchers: list[tuple[Kind, asyncio.Queue[WatchEvent]]] = []
        for obj in objects:
            kind = by_kind(obj["apiVersion"], obj["kind"])
            assert kind is not None, f"no such kind: {obj['apiVersion']} {obj['kind']}"
            self._store(kind, copy.deepcopy(obj), "ADDED")

    def kept(self, kind: Kind, namespace: str, name: str) -> Object:
        """The object as stored; fails the test where there is none."""
        return self.objects[kind, ObjectKey(namespace, name)]

    async def get(self, kind, namespace, name):
        try:
            return self.objects[kind, ObjectKey(namespace, name)]
        except KeyError:
            raise NotFound(f'{kind} "{name}" not found') from None

    async def list(self, kind, namespace="", *, labels="", fields=""):
        assert not fields and not labels, "selectors are for the real server"
        items = [
            obj
            for (kept, key), obj in self.objects.items()
            if kept == kind and namespace in ("", key.namespace)
        ]
        return ObjectList(items, str(next(self._revision)))

    async def watch(self, kind, namespace="", *, after, labels="", fields=""):
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        for (kept, _), obj in self.objects.items():
            if kept == kind and int(obj["metadata"]["resourceVersion"]) > int(after):
                queue.put_nowait(WatchEvent("MODIFIED", obj))
        self._watchers.append((kind, queue))
        while True:
            event = await queue.get()
            if namespace in ("", key_of(event.object).namespace):
                yield event

    async def create(self, kind, obj, *, subresource=""):
        if subresource == "token":
            return self._token(obj)
        obj = copy.deepcopy(obj)
        metadata = obj["metadata"]
        if "name" not in metadata:
            metadata["name"] = f"{metadata['generateName']}{next(self._revision):05d}"
        if (kind, key_of(obj)) in self.objects:
            raise AlreadyExists(f'{kind} "{metadata["name"]}" already exists')
        self.writes.append(f"create {kind.kind} {metadata['name']}")
        return self._store(kind, obj, "ADDED")

    def _token(self, request):
        """Tokens count up; each lives for `token_life_s`, whatever was asked for."""
        metadata, spec = request["metadata"], request["spec"]
        self.writes.append(f"token of {metadata['name']} for {spec.get('audiences', '-')}")
        spec = {**spec, "expirationSeconds": self.token_life_s or spec["expirationSeconds"]}
        return {**request, "spec": spec, "status": {"token": f"token-{next(self._tokens)}"}}

    async def update(self, kind, obj, *, subresource=""):
        current = await self.get(kind, *key_of(obj))
        wanted = obj["metadata"].get("resourceVersion", current["metadata"]["resourceVersion"])
        if wanted != current["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")
        new = copy.deepcopy(obj)
        if subresource == "status":
            new = {**copy.deepcopy(current), "status": new.get("status")}
        return self._write(kind, current, new, f"update {subresource}".strip())

    async def patch(self, kind, namespace, name, patch, *, subresource=""):
        current = await self.get(kind, namespace, name)
        return self._write(kind, current, _merged(current, patch), "patch")

    async def apply(self, kind, obj, *, manager):
        key = (kind, key_of(obj), manager)
        before, self._applied[key] = self._applied.get(key, {}), copy.deepcopy(obj)
        try:
            current = await self.get(kind, *key_of(obj))
        except NotFound:
            self.writes.append(f"apply {kind.kind} {obj['metadata']['name']}")
            return self._store(kind, copy.deepcopy(obj), "ADDED")
        return self._write(kind, current, _merged(_without(current, before, obj), obj), "apply")

    async def replace_status(self, kind, obj, status):
        if obj.get("status") == status:
            return obj
        return await self.update(kind, {**obj, "status": status}, subresource="status")

    async def delete(
        self, kind, namespace, name, *, uid="", grace_s=None, propagation="Background"
    ):
        obj = await self.get(kind, namespace, name)
        if uid and uid != obj["metadata"]["uid"]:
            raise Conflict("the UID in the precondition does not match")
        del self.objects[kind, key_of(obj)]
        self.writes.append(f"delete {kind.kind} {name}")
        gone = copy.deepcopy(obj)
        gone["metadata"]["resourceVersion"] = str(next(self._revision))
        self._tell(kind, WatchEvent("DELETED", gone))

    def _write(self, kind, current, new, verb):
        if _content(current) == _content(new):
            return current
        self.writes.append(f"{verb} {kind.kind} {new['metadata']['name']}")
        new = copy.deepcopy(new)  # what is stored is shared with informers
        new["metadata"]["uid"] = current["metadata"]["uid"]
        return self._store(kind, new, "MODIFIED")

    def _store(self, kind, obj, event_type):
        metadata = obj["metadata"]
        metadata.setdefault("uid", f"uid-{metadata['name']}")
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        metadata["resourceVersion"] = str(next(self._revision))
        if kind.has_generation:
            metadata.setdefault("generation", 1)
        obj = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        self.objects[kind, key_of(obj)] = obj
        self._tell(kind, WatchEvent(event_type, obj))
        return obj

    def _tell(self, kind, event):
        for watched, queue in self._watchers:
            if watched == kind:
                queue.put_nowait(event)


def _content(obj):
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "uid")}
    return {**obj, "metadata": metadata}


def _merged(current, patch):
    if not isinstance(current, dict) or not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(current)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(current.get(key), value)
    return result


def _without(current, before, now):
    """*current* less the map entries that were applied before and are not applied now."""
    if not isinstance(current, dict) or not isinstance(before, dict) or not isinstance(now, dict):
        return current
    result = {}
    for key, value in current.items():
        if key in before and key not in now:
            continue
        result[key] = _without(value, before.get(key), now.get(key))
    return result
