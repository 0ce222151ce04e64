"""The verbs of the Kubernetes API: everything a controller does to the world is here.

Two implementations: `apiserver.local.LocalClient` in process, and `client.http.HttpClient` against
any conformant server. Controllers cannot tell which one they hold. Every verb raises
`motorpool.api.errors.ApiError`.

Rule: an object that a verb returns is shared with caches; copy before you change it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from motorpool.api.kinds import Kind
from motorpool.api.meta import Object

EventType: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
Propagation: TypeAlias = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class ObjectList:
    items: list[Object]
    resource_version: str


@dataclass(frozen=True, slots=True)
class WatchEvent:
    type: EventType
    object: Object


class Client(Protocol):
    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Raises NotFound."""
        ...

    async def list(
        self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> ObjectList:
        """All of a kind, or of a kind in one namespace. Items carry apiVersion and kind."""
        ...

    def watch(
        self, kind: Kind, namespace: str = "", *, after: str, labels: str = "", fields: str = ""
    ) -> AsyncIterator[WatchEvent]:
        """What changes after that resourceVersion, until cancelled or cut off.

        Ends without an error when the server closes; raises Expired when *after* is too old.
        """
        ...

    async def create(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Raises AlreadyExists, Invalid.

        With *subresource*, *obj* is what is sent there, such as a TokenRequest to ``token``; its
        metadata names the object that the subresource belongs to.
        """
        ...

    async def update(self, kind: Kind, obj: Object, *, subresource: str = "") -> Object:
        """Replaces the object. Raises Conflict where it has a resourceVersion that is stale."""
        ...

    async def patch(
        self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = ""
    ) -> Object:
        """A JSON merge patch."""
        ...

    async def apply(self, kind: Kind, obj: Object, *, manager: str) -> Object:
        """Server-side apply with force: *manager* owns the fields in *obj* and no others.

        Fields that it applied before and that *obj* now lacks go. The same apply again writes
        nothing.
        """
        ...

    async def replace_status(self, kind: Kind, obj: Object, status: Object) -> Object:
        """Writes *status* beside the object as it was read; nothing where they are equal.

        Raises Conflict where *obj* is stale: the work queue then tries again with a newer one.
        """
        ...

    async def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        grace_s: int | None = None,
        propagation: Propagation = "Background",
    ) -> None:
        """Raises NotFound; with *uid*, Conflict where another object has the name now."""
        ...
