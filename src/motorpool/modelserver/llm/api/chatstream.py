"""One answer of a chat as it comes: pieces of text -> deltas. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from motorpool.modelserver.llm.api import responses
from motorpool.modelserver.llm.api.answer import Piece
from motorpool.modelserver.llm.api.reasoning import Reasoning, Split
from motorpool.modelserver.llm.api.requests import ChatRequest
from motorpool.modelserver.llm.api.streaming import Head
from motorpool.modelserver.llm.api.toolchoice import ToolChoice
from motorpool.modelserver.llm.api.tools import deltas as told


@dataclass(frozen=True, slots=True)
class Delta:
    fields: dict[str, Any]
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class ChoiceStream:
    def __init__(
        self,
        reasoner: Reasoning | None,
        choice: ToolChoice,
        number: int,
        head: Head,
        request: ChatRequest,
    ) -> None:
        self.is_begun = False
        self._reasoner = reasoner
        self._choice = choice
        self._tools = choice.reader()
        self._number = number
        self._head = head
        self._shows_reasoning = request.include_reasoning
        self._calls_max = 1 if request.parallel_tool_calls is False else None
        self._calls = 0
        self._has_arguments = False

    def opening(self, role: str, echoed: str) -> list[Delta]:
        first = [Delta({"role": role, "content": ""})]
        return [*first, Delta({"content": echoed})] if echoed else first

    def read(self, piece: Piece, logprobs: dict[str, Any] | None) -> list[Delta]:
        """With the last piece the last delta, which has the reason."""
        ends = piece.finish is not None
        found = list(self._fields(piece.text, ends=ends))
        if not ends:
            if logprobs is not None and not found:
                found = [{"content": ""}]
            return [
                Delta(fields, logprobs if place == 0 else None)
                for place, fields in enumerate(found)
            ]
        reason = self._choice.finish_reason(
            piece.finish or "stop",
            called=self._calls > 0,
            is_old=self._head.generation == "0.10",
        )
        # The last text comes with the reason; other last words before it.
        last: dict[str, Any] = {} if self._calls else {"content": ""}
        if found and "content" in found[-1]:
            last = found.pop()
        made = [Delta(fields) for fields in found]
        return [*made, Delta(last, logprobs, reason, piece.stop_reason)]

    def _fields(self, text: str, *, ends: bool) -> Iterator[dict[str, Any]]:
        split = self._reasoner.feed(text) if self._reasoner else Split(content=text)
        if ends and self._reasoner:
            rest = self._reasoner.finish()
            split = Split(split.reasoning + rest.reasoning, split.content + rest.content)
        if split.reasoning and self._shows_reasoning:
            yield {responses.reasoning_field(self._head.generation): split.reasoning}
        if self._tools is None:
            if split.content:
                yield {"content": split.content}
            return
        found = self._tools.feed(split.content) if split.content else []
        for delta in [*found, *(self._tools.finish() if ends else [])]:
            yield from self._told(delta)
        if ends:
            yield from self._without_arguments()

    def _told(self, delta: told.Delta) -> Iterator[dict[str, Any]]:
        match delta:
            case told.Content(text):
                yield {"content": text}
            case told.CallStart(index, name):
                yield from self._without_arguments()
                if self._calls_max is None or index < self._calls_max:
                    self._calls = index + 1
                    self._has_arguments = False
                    call = {
                        "index": index,
                        "id": self._choice.id(self._head.random(self._number, index)),
                        "type": "function",
                        "function": {"name": name, "arguments": ""},
                    }
                    yield {"tool_calls": [call]}
            case told.CallArguments(index, text):
                if index < self._calls:
                    self._has_arguments = True
                    yield {"tool_calls": [{"index": index, "function": {"arguments": text}}]}

    def _without_arguments(self) -> Iterator[dict[str, Any]]:
        if self._calls and not self._has_arguments:
            self._has_arguments = True
            yield {"tool_calls": [{"index": self._calls - 1, "function": {"arguments": "{}"}}]}
