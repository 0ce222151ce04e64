"""Who owns whom, over all kinds, read from the shared informers.

Nothing is copied: each informer carries an index from an owner's uid to its dependents. Events are
left out: they own nothing, nobody owns them, and there may be very many of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from motorpool.api import core, scheme
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, ObjectKey, is_deleting, key_of, uid_of
from motorpool.loop.informer import Change, Informer, Informers
from motorpool.loop.runner import Attach, KeysOf
from motorpool.workloads.garbage.plan import (
    finalizers_of,
    orphans_dependents,
    references_of,
    waits_for_dependents,
)

BY_OWNER = "owner"
_NEEDED = {"delete", "list", "patch", "watch"}


def collected_kinds() -> dict[tuple[str, str], Kind]:
    """Group and kind -> the version of it that is looked at."""
    found: dict[tuple[str, str], Kind] = {}
    for kind in scheme.KINDS:
        if kind.stored_as is None and set(kind.verbs) >= _NEEDED and kind is not core.EVENT:
            found.setdefault((kind.group, kind.kind), kind)
    return found


def owner_uids(obj: Object) -> Iterable[str]:
    return (str(reference["uid"]) for reference in references_of(obj))


@dataclass(frozen=True, slots=True)
class Dependent:
    kind: Kind
    object: Object


class Graph:
    def __init__(self, informers: Informers) -> None:
        self._all = informers
        self._kinds = collected_kinds()
        self._informers = {kind: informers(kind) for kind in self._kinds.values()}
        self._resources = {kind.resource: kind for kind in self._informers}
        for informer in self._informers.values():
            informer.add_index(BY_OWNER, owner_uids)

    def sources(self) -> dict[Informer, KeysOf]:
        return {informer: self._keys_of(kind) for kind, informer in self._informers.items()}

    def learn(self, name: str, kinds: Sequence[Kind], attach: Attach) -> None:
        """Looks at what a definition brings, in its first version, until it is gone."""
        known = self._resources.get(name)
        if known is not None and kinds and known.kind == kinds[0].kind:
            return  # the same objects, whatever else changed
        if known is not None:
            del self._resources[name], self._informers[known]
            del self._kinds[known.group, known.kind]
            self._all.drop(known)
        for kind in kinds[:1]:
            informer = self._all(kind)
            informer.add_index(BY_OWNER, owner_uids)
            self._kinds[kind.group, kind.kind] = kind
            self._informers[kind] = informer
            self._resources[name] = kind
            attach(informer, self._keys_of(kind))

    def find(self, key: ObjectKey) -> tuple[Kind, Object] | None:
        """What a work key stands for: the resource is written before the name."""
        resource, _, name = key.name.partition("/")
        kind = self._resources.get(resource)
        if kind is None:
            return None  # its definition is gone
        obj = self._informers[kind].get(key.namespace, name)
        return None if obj is None else (kind, obj)

    def kind_of(self, reference: Object) -> Kind | None:
        """The kind of an owner, whatever version it was named in."""
        group, _, _ = reference["apiVersion"].rpartition("/")
        return self._kinds.get((group, reference["kind"]))

    def seen(self, kind: Kind, namespace: str, name: str) -> Object | None:
        informer = self._informers.get(kind)
        return None if informer is None else informer.get(namespace, name)

    def dependents(self, uid: str) -> Iterator[Dependent]:
        for kind, informer in list(self._informers.items()):
            for obj in informer.by_index(BY_OWNER, uid):
                yield Dependent(kind, obj)

    def _keys_of(self, kind: Kind) -> KeysOf:
        def keys(change: Change) -> Iterable[ObjectKey]:
            found: list[ObjectKey] = []
            old, new = change.old, change.new
            if new is not None and _concerns_us(old, new):
                found.append(_key(kind, new))
            is_gone = old is not None and (new is None or uid_of(new) != uid_of(old))
            if is_gone or (new is not None and waits_for_dependents(new)):
                uid = uid_of(old) if is_gone and old is not None else uid_of(change.object)
                found += [_key(each.kind, each.object) for each in self.dependents(uid)]
            if is_gone and old is not None:
                found += self._waiting_owners(old)
            return dict.fromkeys(found)

        return keys

    def _waiting_owners(self, obj: Object) -> Iterator[ObjectKey]:
        """Those whose foreground deletion may go on now that *obj* is gone."""
        for reference in references_of(obj):
            kind = self.kind_of(reference)
            if kind is not None:
                namespace = obj["metadata"].get("namespace", "") if kind.namespaced else ""
                owner = self.seen(kind, namespace, reference["name"])
                if owner is not None and is_deleting(owner):
                    yield _key(kind, owner)


def _key(kind: Kind, obj: Object) -> ObjectKey:
    namespace, name = key_of(obj)
    return ObjectKey(namespace, f"{kind.resource}/{name}")


def _concerns_us(old: Object | None, new: Object) -> bool:
    """Whether owners, finalizers or the deletion of the object are new to us."""
    if old is None:
        matters = references_of(new) or waits_for_dependents(new) or orphans_dependents(new)
        return bool(matters)
    return (
        references_of(old) != references_of(new)
        or finalizers_of(old) != finalizers_of(new)
        or is_deleting(old) != is_deleting(new)
    )
