"""What a model thinks -> apart from what it answers. Pure state machines.

    deepseek_r1   thinking</think>answer; the opening tag may be there or in the prompt
    qwen3         <think>thinking</think>answer; without the tag all is the answer
    granite       Here is my thought process: ... Here is my response: ...

Rule: how the text is cut into pieces makes no difference to what comes out, joined.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple


class Split(NamedTuple):
    reasoning: str = ""
    content: str = ""


@dataclass(frozen=True, slots=True)
class Marks:
    opens: tuple[str, ...]
    closes: tuple[str, ...]
    is_implied: bool  # whether the model thinks from its first token on, without a mark


DEEPSEEK_R1 = Marks(("<think>",), ("</think>",), is_implied=True)
QWEN3 = Marks(("<think>",), ("</think>",), is_implied=False)
GRANITE = Marks(
    ("Here is my thought process:", "Here's my thought process:"),
    ("Here is my response:", "Here's my response:"),
    is_implied=False,
)


class Reasoning:
    """Reads one answer."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._state: Literal["start", "reasoning", "content"] = "start"
        self._held = ""

    @property
    def is_over(self) -> bool:
        """Whether all that comes now is the answer."""
        return self._state == "content"

    def feed(self, text: str) -> Split:
        self._held += text
        if self._state == "start":
            self._at_start()
        if self._state == "reasoning":
            return self._in_reasoning()
        if self._state == "content":
            rest, self._held = self._held, ""
            return Split(content=rest)
        return Split()

    def finish(self) -> Split:
        rest, self._held = self._held, ""
        is_reasoning = self._state == "reasoning" or (
            self._state == "start" and self._marks.is_implied
        )
        return Split(reasoning=rest) if is_reasoning else Split(content=rest)

    def _at_start(self) -> None:
        stripped = self._held.lstrip()
        for mark in self._marks.opens:
            if stripped.startswith(mark):
                self._held = stripped[len(mark) :]
                self._state = "reasoning"
                return
            if mark.startswith(stripped):
                return
        self._state = "reasoning" if self._marks.is_implied else "content"

    def _in_reasoning(self) -> Split:
        found = [(at, mark) for mark in self._marks.closes if (at := self._held.find(mark)) >= 0]
        if found:
            at, mark = min(found)
            before, after = self._held[:at], self._held[at + len(mark) :]
            self._state, self._held = "content", ""
            return Split(before, after)
        held = _beginning(self._held, self._marks.closes)
        text = self._held[: len(self._held) - held]
        self._held = self._held[len(text) :]
        return Split(reasoning=text)


def _beginning(text: str, marks: Sequence[str]) -> int:
    for length in range(min(max(map(len, marks)) - 1, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0


PARSERS: dict[str, Callable[[], Reasoning]] = {
    "deepseek_r1": lambda: Reasoning(DEEPSEEK_R1),
    "granite": lambda: Reasoning(GRANITE),
    "qwen3": lambda: Reasoning(QWEN3),
}
