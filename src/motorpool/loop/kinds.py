"""The kinds that are served at the moment: the static ones, and those that definitions bring.

One object for all who must learn of a kind as it comes and goes: the API server's catalog, the
garbage collector, the namespace controller. A kind's versions come and go together, under the name
of their definition, such as ``widgets.example.com``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from motorpool.api.kinds import Kind

Heard: TypeAlias = Callable[[str, Sequence[Kind]], None]
"""Called with the name of a definition and the kinds that it serves now; none when it is gone."""


class LiveKinds:
    def __init__(self, static: Iterable[Kind] = ()) -> None:
        self.static = tuple(static)
        self._resources = {kind.resource for kind in self.static}
        self._defined: dict[str, tuple[Kind, ...]] = {}
        self._listeners: list[Heard] = []

    @property
    def defined(self) -> Mapping[str, tuple[Kind, ...]]:
        """Definition -> its kinds, the preferred version first."""
        return self._defined

    def is_static(self, name: str) -> bool:
        return name in self._resources

    def serve(self, name: str, kinds: Sequence[Kind]) -> None:
        """From now on, *kinds* are what that definition serves; none takes it away."""
        if self.is_static(name) or self._defined.get(name, ()) == tuple(kinds):
            return
        if kinds:
            self._defined[name] = tuple(kinds)
        else:
            del self._defined[name]
        for listener in self._listeners:
            listener(name, kinds)

    def subscribe(self, listener: Heard) -> None:
        """Tells *listener* of every definition there is, then of every change."""
        self._listeners.append(listener)
        for name, kinds in list(self._defined.items()):
            listener(name, kinds)

    def __iter__(self) -> Iterator[Kind]:
        yield from self.static
        for kinds in self._defined.values():
            yield from kinds
