"""Tokens -> text as it comes, and where it stops. Pure.

Rules:
  1. A character is emitted once its last byte is there. What is no UTF-8 and cannot become any
     (more tokens wait than a character has bytes) is emitted as U+FFFD.
  2. How the tokens are cut into events makes no difference to the text.
  3. Text that may be the beginning of a stop string is held back; no more than that.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

Decode = Callable[[Sequence[int]], str]

UNFINISHED = "�"
# A character has at most 4 bytes, and some vocabularies have a token for each byte.
HELD_TOKENS_MAX = 8
# Decoders look back: at whether a word goes on, and for a space before it.
CONTEXT_TOKENS = 6
WINDOW_TOKENS_MAX = 64


class Detokenizer:
    """The text of tokens that continue *prompt*."""

    def __init__(self, decode: Decode, prompt: Sequence[int] = ()) -> None:
        self._decode = decode
        self._window = _context(decode, prompt)
        self._boundary = 0  # of the window: no character is cut there
        self._held = 0  # tokens at the end of the window that are no text yet
        self._emitted = len(decode(self._window))  # characters of the window's text

    def add(self, ids: Sequence[int]) -> str:
        """The text that is whole now."""
        if len(ids) > 1 and not self._held:
            whole = self._decode([*self._window, *ids])
            if not whole.endswith(UNFINISHED):
                self._window.extend(ids)
                return self._emit(whole)
        return "".join([self._add(one) for one in ids])

    def _add(self, token: int) -> str:
        self._window.append(token)
        self._held += 1
        whole = self._decode(self._window)
        if not whole.endswith(UNFINISHED):
            return self._emit(whole)
        # The last of it may yet become a character.
        return "" if self._held <= HELD_TOKENS_MAX else self._emit(whole, last=1)

    def _emit(self, whole: str, *, last: int = 0) -> str:
        """All but the *last* characters."""
        text = whole[self._emitted : len(whole) - last]
        # The window slides, so that the work for a token does not grow with the text.
        if not last:
            del self._window[: self._boundary]
            self._boundary = len(self._window)
        elif len(self._window) > WINDOW_TOKENS_MAX:
            del self._window[:-CONTEXT_TOKENS]
            self._boundary = 0
        self._emitted = len(self._decode(self._window)) - last
        self._held = last
        return text


def _context(decode: Decode, prompt: Sequence[int]) -> list[int]:
    """The end of *prompt*, from where no character is cut."""
    for length in range(min(CONTEXT_TOKENS, len(prompt)), 0, -1):
        tokens = list(prompt[-length:])
        if not decode(tokens).startswith(UNFINISHED):
            return tokens
    return []


class Stopped(NamedTuple):
    text: str
    reason: str


class StopStrings:
    """Looks for the first end of one of *strings* in text that comes in pieces."""

    def __init__(self, strings: Sequence[str], *, include: bool = False) -> None:
        self._strings = tuple(strings)
        self._include = include
        self._longest = max(map(len, self._strings), default=0)
        self._held = ""

    def add(self, text: str, *, active: bool = True) -> str | Stopped:
        """Text to emit, or the last of it. Not *active*: what is in *text* stops nothing."""
        if not self._strings:
            return text
        if not active:
            text, self._held = self._held + text, ""
            return text
        whole = self._held + text
        if found := self._first(whole):
            end, string = found
            return Stopped(whole[: end if self._include else end - len(string)], string)
        held = self._beginning(whole)
        self._held = whole[len(whole) - held :]
        return whole[: len(whole) - held]

    def rest(self) -> str:
        """What was held back, once nothing more comes."""
        text, self._held = self._held, ""
        return text

    def _first(self, whole: str) -> tuple[int, str] | None:
        found = [(at + len(s), s) for s in self._strings if (at := whole.find(s)) >= 0]
        return min(found, key=lambda each: each[0], default=None)

    def _beginning(self, whole: str) -> int:
        """How long the end of *whole* is that a stop string may begin with."""
        for length in range(min(self._longest - 1, len(whole)), 0, -1):
            if any(s.startswith(whole[-length:]) for s in self._strings if len(s) > length):
                return length
        return 0
