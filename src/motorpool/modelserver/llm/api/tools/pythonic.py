"""Tool calls written as Python: ``[weather(city="Paris", days=2), clock()]``.

A call is told once its closing parenthesis is there: before it, what it means may still change.
"""

import ast
import json
from typing import Any, Literal

from motorpool.modelserver.llm.api.tools.deltas import CallArguments, CallStart, Content, Delta

STARTS = ("<|python_start|>",)
ENDS = ("<|python_end|>",)
CALL_CHARS_MAX = 2**18


class Pythonic:
    def __init__(self) -> None:
        self._state: Literal["start", "text", "calls", "after"] = "start"
        self._held = ""
        self._whole = ""  # text if there is no call in it
        self._calls = 0

    def feed(self, text: str) -> list[Delta]:
        self._held += text
        if self._state == "start":
            self._at_start()
        if self._state == "calls":
            return self._read_calls()
        if self._state == "text":
            rest, self._held = self._held, ""
            return [Content(rest)] if rest else []
        return []

    def finish(self) -> list[Delta]:
        if self._calls or self._state == "after":
            return []
        rest = self._whole + self._held
        self._whole = self._held = ""
        return [Content(rest)] if rest else []

    def _at_start(self) -> None:
        stripped = self._held.lstrip()
        for mark in STARTS:
            if stripped.startswith(mark):
                stripped = stripped.removeprefix(mark).lstrip()
            elif stripped and mark.startswith(stripped):
                return
        if not stripped:
            return
        if stripped[0] != "[":
            self._state = "text"
            return
        self._whole = self._held[: len(self._held) - len(stripped) + 1]
        self._held = stripped[1:]
        self._state = "calls"

    def _read_calls(self) -> list[Delta]:
        found: list[Delta] = []
        while True:
            separators = len(self._held) - len(self._held.lstrip(" \t\r\n,"))
            self._pass(separators)
            if self._held.startswith("]"):
                self._state = "after"
                return found if self._calls else [*found, *self._no_call()]
            end = _end_of_call(self._held)
            if end is None:
                if len(self._held) > CALL_CHARS_MAX:
                    found += self._no_call()
                return found
            call = _call(self._held[:end])
            if call is None:
                return [*found, *self._no_call()]
            name, arguments = call
            found += [CallStart(self._calls, name), CallArguments(self._calls, arguments)]
            self._calls += 1
            self._pass(end)

    def _pass(self, length: int) -> None:
        self._whole += self._held[:length]
        self._held = self._held[length:]

    def _no_call(self) -> list[Delta]:
        if self._calls:
            self._state, self._held = "after", ""
            return []
        text, self._whole, self._held = self._whole + self._held, "", ""
        self._state = "text"
        return [Content(text)] if text else []


def _end_of_call(text: str) -> int | None:
    """Behind the parenthesis that closes the first call; also where it can be none."""
    depth = 0
    quote = ""
    escaped = False
    for place, character in enumerate(text):
        if quote:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        else:
            depth += (character in "([{") - (character in ")]}")
            if depth <= 0 and character in ")]}":
                return place + 1
    return None


def _call(text: str) -> tuple[str, str] | None:
    """Name and JSON text of the arguments."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call) or node.args:
            return None
        arguments = {each.arg: _value(each.value) for each in node.keywords if each.arg}
        return ast.unparse(node.func), json.dumps(arguments, ensure_ascii=False)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


_JSON_WORDS = {"true": True, "false": False, "null": None}


def _value(node: ast.expr) -> Any:
    """A literal; models write JSON's words as well. Raises ValueError."""
    if isinstance(node, ast.Name) and node.id in _JSON_WORDS:
        return _JSON_WORDS[node.id]
    if isinstance(node, ast.List):
        return [_value(each) for each in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_value(key) if key else None for key in node.keys]
        return dict(zip(map(str, keys), map(_value, node.values), strict=True))
    return ast.literal_eval(node)
