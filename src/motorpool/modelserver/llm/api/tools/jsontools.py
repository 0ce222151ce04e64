"""Tool calls that are JSON between marks; the formats differ in the marks.

    hermes      text <tool_call>{...}</tool_call> <tool_call>{...}</tool_call>
    granite     <tool_call>[{...}, {...}]        also <|tool_call|>, and the bare list
    llama3_json <|python_tag|>{...}; {...}       also without the tag
    mistral     text [TOOL_CALLS][{...}, {...}]  or [TOOL_CALLS]name{arguments}
    phi4_mini   functools[{...}]
    jamba       text <tool_calls>[{...}]</tool_calls>

What turns out to be no call after all is text. Behind a call there is no text, as in vLLM. Between
marks a name alone is a call without arguments; without marks it is some other JSON.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from motorpool.modelserver.llm.api.tools.deltas import CallArguments, CallStart, Content, Delta
from motorpool.modelserver.llm.api.tools.jsoncall import JsonCall

NAME_CHARS_MAX = 256


@dataclass(frozen=True, slots=True)
class Marks:
    opens: tuple[str, ...]
    closes: tuple[str, ...] = ()
    bare: str = ""  # the answer may also begin with this character, without a mark
    only_first: bool = False  # the calls are all of the answer, or there are none
    named: bool = False  # name{arguments} is a call


HERMES = Marks(("<tool_call>",), ("</tool_call>",))
GRANITE = Marks(("<|tool_call|>", "<tool_call>"), bare="[", only_first=True)
LLAMA3_JSON = Marks(("<|python_tag|>",), bare="{", only_first=True)
MISTRAL = Marks(("[TOOL_CALLS]",), named=True)
PHI4_MINI_JSON = Marks(("functools",), only_first=True)
JAMBA = Marks(("<tool_calls>",), ("</tool_calls>",))
GRANITE_20B_FC = Marks(("<function_call>",))
FORCED_LIST = Marks((), bare="[", only_first=True)
"""An answer whose structure is a list of calls."""

State = Literal["start", "text", "between", "call", "name"]


class JsonTools:
    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._state: State = "start"
        self._held = ""  # not decided about yet
        self._section = ""  # what would be text if there was no call in it
        self._calls = 0
        self._started = False  # the call being read was told of
        self._is_marked = False
        self._call = JsonCall()
        self._name = ""

    def feed(self, text: str) -> list[Delta]:
        """Joined, the deltas are the same however the text is cut."""
        self._held += text
        found: list[Delta] = []
        while self._held:
            before = (self._state, len(self._held))
            found += self._step()
            if (self._state, len(self._held)) == before:
                break
        return found

    def finish(self) -> list[Delta]:
        is_text = self._state in ("start", "text")
        rest = self._held if is_text else self._section + self._held
        self._held = self._section = ""
        return self._content(rest)

    def _step(self) -> list[Delta]:
        match self._state:
            case "start":
                return self._at_start()
            case "text":
                return self._in_text()
            case "between":
                return self._between()
            case "name":
                return self._in_name()
            case "call":
                return self._in_call()

    def _at_start(self) -> list[Delta]:
        stripped = self._held.lstrip()
        if not stripped:
            return []
        for mark in self._marks.opens:
            if stripped.startswith(mark):
                self._open(len(self._held) - len(stripped) + len(mark), is_marked=True)
                return []
        if self._marks.bare and stripped.startswith(self._marks.bare):
            self._open(len(self._held) - len(stripped), is_marked=False)
        elif not any(mark.startswith(stripped) for mark in self._marks.opens):
            self._state = "text"
        return []

    def _open(self, length: int, *, is_marked: bool) -> None:
        self._is_marked = is_marked
        self._section = self._held[:length]
        self._held = self._held[length:]
        self._state = "between"

    def _in_text(self) -> list[Delta]:
        if self._marks.only_first:
            rest, self._held = self._held, ""
            return self._content(rest)
        first = _first(self._held, self._marks.opens)
        if first is not None:
            at, mark = first
            text, self._held = self._held[:at], self._held[at:]
            # The space before a call is not meant for a reader.
            kept = text.rstrip()
            self._open(len(mark), is_marked=True)
            self._section = text[len(kept) :] + self._section
            return self._content(kept)
        kept = self._held[: len(self._held) - _beginning(self._held, self._marks.opens)].rstrip()
        self._held = self._held[len(kept) :]
        return self._content(kept)

    def _content(self, text: str) -> list[Delta]:
        return [Content(text)] if text and not self._calls else []

    def _between(self) -> list[Delta]:
        stripped = self._held.lstrip()
        self._pass(len(self._held) - len(stripped))
        if not stripped:
            return []
        for mark in (*self._marks.closes, *self._marks.opens):
            if stripped.startswith(mark):
                self._pass(len(mark))
                self._state = "text" if mark in self._marks.closes else "between"
                return []
            if mark.startswith(stripped):
                return []
        if stripped[0] in ",;[]":
            self._pass(1)
        elif stripped[0] == "{":
            self._call, self._started, self._state = JsonCall(), False, "call"
        elif self._marks.named and (stripped[0].isalnum() or stripped[0] in "_-"):
            self._name, self._state = "", "name"
        elif self._calls:
            self._state = "text"
        else:
            return self._no_call()
        return []

    def _pass(self, length: int) -> None:
        self._section += self._held[:length]
        self._held = self._held[length:]

    def _in_name(self) -> list[Delta]:
        """``name{``, or ``name[CALL_ID]id[ARGS]{``."""
        at = self._held.find("{")
        length = len(self._held) if at < 0 else at
        self._name += self._held[:length]
        self._pass(length)
        if len(self._name) > NAME_CHARS_MAX:
            return self._no_call()
        if at < 0:
            return []
        name = self._name.partition("[")[0].strip()
        self._call, self._started, self._state = JsonCall(), False, "call"
        self._call.feed(f'{{"name": "{_plain(name)}", "arguments": ')
        return []

    def _in_call(self) -> list[Delta]:
        is_named = bool(self._name)
        if is_named:
            read = 0
            for read, character in enumerate(self._held, 1):  # noqa: B007 - used behind it
                self._call.feed(character)
                if self._call.is_between:
                    self._call.feed("}")
                    break
        else:
            read = self._call.feed(self._held)
        self._pass(read)
        found = self._told()
        if self._call.failed or (self._call.done and not self._started):
            return [*found, *self._no_call()]
        if self._call.done:
            self._state, self._name = "between", ""
        return found

    def _told(self) -> list[Delta]:
        found: list[Delta] = []
        call = self._call
        is_call = call.is_call or (call.done and self._is_marked)
        if not self._started and is_call and call.name is not None and not call.failed:
            found.append(CallStart(self._calls, call.name))
            self._calls += 1
            self._started = True
        if self._started and (text := call.take_arguments()):
            found.append(CallArguments(self._calls - 1, text))
        return found

    def _no_call(self) -> list[Delta]:
        """Text again; where calls were told of, the model lost its thread, and nobody is told."""
        text = self._section
        self._section, self._name, self._state = "", "", "text"
        return self._content(text)


def _plain(name: str) -> str:
    return "".join(c for c in name if c.isprintable() and c not in '"\\')


def _first(text: str, marks: Sequence[str]) -> tuple[int, str] | None:
    found = [(at, mark) for mark in marks if (at := text.find(mark)) >= 0]
    return min(found, key=lambda each: each[0], default=None)


def _beginning(text: str, marks: Sequence[str]) -> int:
    """How long the end of *text* is that a mark may begin with."""
    longest = max(map(len, marks), default=0)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return length
    return 0
