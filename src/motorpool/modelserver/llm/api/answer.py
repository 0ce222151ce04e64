"""The events of one answer -> pieces of text. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from motorpool.modelserver.llm.api.errors import EngineFailed, NotSupported, RequestError
from motorpool.modelserver.llm.api.text import Decode, Detokenizer, Stopped, StopStrings
from motorpool.modelserver.llm.contract import FinishReason, Sampling, Tokens


@dataclass(frozen=True, slots=True)
class Reading:
    """How tokens become text."""

    decode: Decode
    ends: frozenset[int]  # of the checkpoint; they end an answer and are no part of its text
    stops: tuple[str, ...] = ()
    include_stop: bool = False


@dataclass(slots=True)
class Piece:
    text: str
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: FinishReason | None = None
    stop_reason: str | int | None = None


class AnswerReader:
    def __init__(self, reading: Reading, prompt: Sequence[int], sampling: Sampling) -> None:
        self._reading = reading
        self._sampling = sampling
        self._text = Detokenizer(reading.decode, prompt)
        self._stops = StopStrings(reading.stops, include=reading.include_stop)
        self._count = 0
        self._is_begun = False

    def read(self, event: Tokens) -> Piece:
        """Raises RequestError."""
        if event.finish == "error":
            raise self._failure(event.message or "the engine failed with this request")
        self._is_begun = self._is_begun or bool(event.ids)
        ids = event.ids
        shown = ids[: len(ids) - self._ending(event)]
        if self._reading.stops:
            piece = self._until_stopped(shown, event)
            if piece.finish is not None:
                return piece
            text = piece.text
        else:
            text = self._text.add(shown)
        if event.finish is not None:
            text += self._stops.rest()
        return Piece(text, ids, event.logprobs, event.finish, event.stop_token)

    def _failure(self, message: str) -> RequestError:
        # The first thing that an engine does with a structure is to find out what is wrong with it.
        if self._sampling.structure is not None and not self._is_begun:
            return NotSupported(message)
        return EngineFailed(message)

    def _ending(self, event: Tokens) -> int:
        """How many tokens at the end only say that it is one."""
        if event.finish != "stop" or not event.ids:
            return 0
        last = event.ids[-1]
        if last in self._sampling.stop_token_ids or last == event.stop_token:
            return 0 if self._reading.include_stop else 1
        return 1 if last in self._reading.ends and not self._sampling.ignore_eos else 0

    def _until_stopped(self, ids: Sequence[int], event: Tokens) -> Piece:
        """Token by token, so that those behind a stop string are not counted."""
        text = ""
        for place, token in enumerate(ids):
            self._count += 1
            is_active = self._count > self._sampling.min_tokens
            found = self._stops.add(self._text.add((token,)), active=is_active)
            if isinstance(found, Stopped):
                end = place + 1
                return Piece(
                    text + found.text, list(ids[:end]), event.logprobs[:end], "stop", found.reason
                )
            text += found
        return Piece(text)
