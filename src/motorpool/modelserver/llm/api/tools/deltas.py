"""What a tool parser says about the text that it read."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Content(NamedTuple):
    """Text for the user."""

    text: str


class CallStart(NamedTuple):
    number: int  # of the call in the answer
    name: str


class CallArguments(NamedTuple):
    """The next piece of the JSON text of a call's arguments."""

    number: int
    text: str


Delta = Content | CallStart | CallArguments


class Parser(Protocol):
    """Reads one answer."""

    def feed(self, text: str) -> list[Delta]: ...

    def finish(self) -> list[Delta]:
        """What was held back, once nothing more comes."""
        ...


@dataclass(slots=True)
class Call:
    name: str
    arguments: str = ""


@dataclass(slots=True)
class Parsed:
    """The deltas of one answer, joined."""

    content: str = ""
    calls: list[Call] = field(default_factory=list)

    def add(self, deltas: Iterable[Delta]) -> "Parsed":
        for delta in deltas:
            match delta:
                case Content(text):
                    self.content += text
                case CallStart(_, name):
                    self.calls.append(Call(name))
                case CallArguments(number, text):
                    self.calls[number].arguments += text
        return self


def parsed(parser: Parser, text: str) -> Parsed:
    """What *parser* makes of a whole answer."""
    return Parsed().add(parser.feed(text)).add(parser.finish())
