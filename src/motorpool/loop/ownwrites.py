"""An informer that has already seen what its reader wrote.

An informer is behind: a controller that creates a pod and looks again at once does not find it, and
would create another. kube-controller-manager counts what it expects to see and stands still until
the count is right. Here the answer of each write is kept instead, and laid over the informer until
the informer has caught up, so that the next look is right at once.

Rules:
  1. Of two versions of an object the one with the higher resourceVersion counts. Motorpool's API
     server has one counter for all kinds, so that versions can be compared.
  2. What was deleted is left out from that moment on, also while it waits for its grace period.
  3. An object that came and went before the answer of its write was noted stays gone.
  4. Nothing is kept for longer than KEPT_S: a write whose event got lost between two lists is
     forgotten, and the informer, which lists again by itself, is believed. `again_s` says when a
     reader that wrote should look once more.
"""

import itertools
from collections import OrderedDict
from datetime import datetime, timedelta

from motorpool.api.meta import Object, ObjectKey, is_deleting, key_of, uid_of
from motorpool.base.clock import Clock
from motorpool.loop.informer import Change, Index, Informer

KEPT_S = 30.0
GONE_SIZE_MAX = 4096
FORGOTTEN_AT_ONCE = 16
"""Per read: more than one, so that a reader who writes less than he reads is soon rid of all."""


class OwnWrites:
    """Reads like the informer that it lies over."""

    def __init__(self, informer: Informer, clock: Clock) -> None:
        self.informer = informer
        self._clock = clock
        self._indexes: dict[str, Index] = {}
        self._written: dict[ObjectKey, tuple[Object, datetime]] = {}
        self._deleted: dict[str, datetime] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        informer.subscribe(self._see)

    def add_index(self, name: str, index: Index) -> None:
        self.informer.add_index(name, index)
        self._indexes[name] = index

    def get(self, namespace: str, name: str) -> Object | None:
        self._forget()
        seen = self.informer.get(namespace, name)
        written = self._written.get(ObjectKey(namespace, name))
        found = seen if written is None else written[0]
        return None if found is None or uid_of(found) in self._deleted else found

    def by_index(self, name: str, value: str) -> list[Object]:
        """In the order of the keys."""
        self._forget()
        found = self.informer.by_index(name, value)
        if not self._written and not self._deleted:
            return list(found)
        objects = {key_of(obj): obj for obj in found}
        for key, (obj, _) in self._written.items():
            objects.pop(key, None)
            if value in self._indexes[name](obj):
                objects[key] = obj
        return [obj for _, obj in sorted(objects.items()) if uid_of(obj) not in self._deleted]

    def note(self, written: Object) -> Object:
        """Keeps the answer of a create, update or patch. Returns it."""
        key, revision = key_of(written), _revision(written)
        seen = self.informer.get(*key)
        is_seen = seen is not None and _revision(seen) >= revision
        if not is_seen and self._gone.get(uid_of(written), -1) < revision:
            self._written.pop(key, None)
            self._written[key] = (written, self._clock())
        return written

    def note_deleted(self, obj: Object) -> None:
        """Leaves *obj* out, until the informer shows that it goes or is gone."""
        seen = self.informer.get(*key_of(obj))
        is_seen = seen is None or uid_of(seen) != uid_of(obj) or is_deleting(seen)
        if not is_seen or key_of(obj) in self._written:
            self._deleted.pop(uid_of(obj), None)
            self._deleted[uid_of(obj)] = self._clock()

    @property
    def again_s(self) -> float | None:
        """When to look again in case that no event comes; None where nothing is waited for."""
        return KEPT_S if self._written or self._deleted else None

    def _see(self, change: Change) -> None:
        obj = change.object
        uid, revision = uid_of(obj), _revision(obj)
        if change.new is None:
            self._deleted.pop(uid, None)
            self._gone[uid] = revision
            while len(self._gone) > GONE_SIZE_MAX:
                self._gone.popitem(last=False)
        elif is_deleting(change.new):
            self._deleted.pop(uid, None)
        written = self._written.get(key_of(obj))
        if written is not None and _revision(written[0]) <= revision:
            del self._written[key_of(obj)]

    def _forget(self) -> None:
        """Both dicts are in the order of their moments: only the expired ones are looked at."""
        if not self._written and not self._deleted:
            return
        oldest = self._clock() - timedelta(seconds=KEPT_S)
        for key, (_, moment) in list(itertools.islice(self._written.items(), FORGOTTEN_AT_ONCE)):
            if moment > oldest:
                break
            del self._written[key]
        for uid, moment in list(itertools.islice(self._deleted.items(), FORGOTTEN_AT_ONCE)):
            if moment > oldest:
                break
            del self._deleted[uid]


def _revision(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)
