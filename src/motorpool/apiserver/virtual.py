"""Kinds whose objects are made when they are asked for: each has a source, and no place to stand.

The API server knows no node: whoever composes it says where the objects come from.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from motorpool.api.errors import ServiceUnavailable
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, name_of
from motorpool.apiserver import refusals
from motorpool.apiserver.lists import Filter
from motorpool.apiserver.options import ListOptions

Source: TypeAlias = Callable[[str], Awaitable[list[Object]]]
"""The objects of a namespace, of all for ""; they have metadata, and no kind."""


class VirtualKinds:
    def __init__(self) -> None:
        self._sources: dict[Kind, Source] = {}

    def provide(self, kind: Kind, source: Source) -> None:
        self._sources[kind] = source

    async def list(self, kind: Kind, namespace: str, options: ListOptions) -> list[Object]:
        """In the order of their names. Raises ServiceUnavailable where nobody provides them."""
        wanted = Filter(kind, options.labels, options.fields)
        named = {"apiVersion": kind.api_version, "kind": kind.kind}
        found = [{**named, **obj} for obj in await self._source(kind)(namespace)]
        return sorted((obj for obj in found if wanted.matches(obj)), key=name_of)

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Raises NotFound."""
        for obj in await self.list(kind, namespace, ListOptions()):
            if name_of(obj) == name:
                return obj
        raise refusals.not_found(kind, name)

    def _source(self, kind: Kind) -> Source:
        source = self._sources.get(kind)
        if source is None:
            raise ServiceUnavailable("the server is currently unable to handle the request")
        return source
