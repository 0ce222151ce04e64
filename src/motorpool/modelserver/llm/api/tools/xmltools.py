"""Tool calls in Qwen3-Coder's tags.

    <tool_call>
    <function=weather>
    <parameter=city>
    Paris
    </parameter>
    </function>
    </tool_call>

A value's type is what the tool's schema says; text where it says nothing.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from motorpool.modelserver.llm.api.tools.deltas import CallArguments, CallStart, Content, Delta

_OPEN = ("<tool_call>", "<function=")
_FUNCTION = re.compile(r"(?:<tool_call>\s*)?<function=([^>\n]{1,256})>")
_PARAMETER = re.compile(r"<parameter=([^>\n]{1,256})>\n?(.*?)\n?</parameter>", re.DOTALL)
_END = "</function>"


class Qwen3Coder:
    def __init__(self, tools: Sequence[Mapping[str, Any]]) -> None:
        self._types = {
            tool["function"]["name"]: (tool["function"].get("parameters") or {}).get("properties")
            for tool in tools
        }
        self._held = ""
        self._name: str | None = None
        self._calls = 0
        self._parameters = 0

    def feed(self, text: str) -> list[Delta]:
        self._held += text
        found: list[Delta] = []
        while True:
            before = len(self._held), self._name
            found += self._in_text() if self._name is None else self._in_function()
            if (len(self._held), self._name) == before:
                return found

    def finish(self) -> list[Delta]:
        rest, self._held = self._held, ""
        if self._name is not None:
            return [self._closing()]
        return self._content(rest)

    def _content(self, text: str) -> list[Delta]:
        """Behind a call there is no text."""
        return [Content(text)] if text and not self._calls else []

    def _in_text(self) -> list[Delta]:
        match = _FUNCTION.search(self._held)
        if match is None:
            return self._plain()
        text = self._held[: match.start()].rstrip()
        self._held = self._held[match.end() :]
        told = self._content(text)
        self._name, self._parameters = match[1].strip(), 0
        self._calls += 1
        return [*told, CallStart(self._calls - 1, self._name)]

    def _plain(self) -> list[Delta]:
        """What comes before any mark is text; the rest waits."""
        cut = min((at for mark in _OPEN if (at := self._held.find(mark)) >= 0), default=-1)
        if cut < 0:
            cut = len(self._held) - _beginning(self._held)
        text = self._held[:cut].rstrip()
        self._held = self._held[len(text) :]
        return self._content(text)

    def _in_function(self) -> list[Delta]:
        end = self._held.find(_END)
        match = _PARAMETER.search(self._held)
        if match is not None and (end < 0 or match.start() < end):
            self._held = self._held[match.end() :]
            key, value = match[1].strip(), self._value(match[1].strip(), match[2])
            opening = "{" if not self._parameters else ", "
            self._parameters += 1
            text = f"{opening}{json.dumps(key, ensure_ascii=False)}: {value}"
            return [CallArguments(self._calls - 1, text)]
        if end < 0 or (0 <= self._held.find("<parameter=") < end):
            return []
        self._held = self._held[end + len(_END) :]
        closing = self._closing()
        self._name = None
        return [closing]

    def _closing(self) -> Delta:
        return CallArguments(self._calls - 1, "}" if self._parameters else "{}")

    def _value(self, name: str, text: str) -> str:
        """The JSON text of a value."""
        properties = self._types.get(self._name or "")
        schema = properties.get(name) if isinstance(properties, dict) else None
        kind = schema.get("type", "string") if isinstance(schema, dict) else "string"
        if kind != "string":
            try:
                return json.dumps(json.loads(text.strip()), ensure_ascii=False)
            except ValueError:
                pass
        if kind == "boolean" and text.strip().lower() in ("true", "false"):
            return text.strip().lower()
        return json.dumps(text, ensure_ascii=False)


def _beginning(text: str) -> int:
    """How long the end of *text* is that a mark may begin with."""
    for length in range(min(max(map(len, _OPEN)) - 1, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in _OPEN):
            return length
    return 0
