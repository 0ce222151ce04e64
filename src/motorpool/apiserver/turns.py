"""Writers of one object take turns.

The store refuses a write that another one has outrun, and the writer reads and tries again; of many
at once, each would be outrun by the others until its tries are used up. In one process they can as
well wait for each other.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakValueDictionary

from motorpool.api.kinds import Kind
from motorpool.apiserver.keys import key_of


class Turns:
    """One lock for each object that someone is writing, or waits to write."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, kind: Kind, namespace: str, name: str) -> asyncio.Lock:
        key = key_of(kind, namespace, name)
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


class _HasTurns(Protocol):
    turns: Turns


S = TypeVar("S", bound=_HasTurns)
P = ParamSpec("P")
R = TypeVar("R")


def in_turn(
    method: Callable[Concatenate[S, Kind, str, str, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, Kind, str, str, P], Coroutine[Any, Any, R]]:
    """For a method whose first arguments name the object that it writes."""

    @wraps(method)
    async def waiting(
        self: S, kind: Kind, namespace: str, name: str, /, *args: P.args, **options: P.kwargs
    ) -> R:
        async with self.turns.of(kind, namespace, name):
            return await method(self, kind, namespace, name, *args, **options)

    return waiting
