"""One call as a JSON object, read as its characters come.

{"name": "f", "arguments": {"x": 1}}: the name is told once both it and the key of the arguments are
there, so that an answer that is some other JSON object is not taken for a call; from then on the
arguments' own characters are passed on as the model wrote them. Where they come before the name,
they wait for it. `{"x": 1}` may also be a string that holds JSON: then its text is the arguments.
"""

import json

NAME_KEYS = ("name",)
ARGUMENT_KEYS = ("arguments", "parameters")


class JsonCall:
    """Feed it from the opening brace on. `done` once that is closed; `failed` if it is no JSON."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.done = False
        self.failed = False
        self.text = ""  # all that was read
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._token_start = 0  # of the key or value at depth 1
        self._key: str | None = None
        self._is_value = False  # behind the colon
        self._arguments_from: int | None = None
        self._arguments_to: int | None = None
        self._passed = 0  # characters of the arguments that were passed on

    def feed(self, text: str) -> int:
        """Reads up to the end of the object; how many characters that were."""
        start = len(self.text)
        self.text += text
        for place, character in enumerate(text, start):
            self._read(character, place)
            if self.done or self.failed:
                self.text = self.text[: place + 1]
                return place + 1 - start
        return len(text)

    @property
    def is_between(self) -> bool:
        """Whether all that was opened inside of the object is closed."""
        return self._depth == 1 and not self._in_string

    @property
    def is_call(self) -> bool:
        """Whether name and arguments are there, or all is read that there is."""
        return self.name is not None and self._arguments_from is not None

    def take_arguments(self) -> str:
        """What came of the arguments since the last time; nothing while it is no call."""
        if not self.is_call:
            return ""
        assert self._arguments_from is not None
        is_whole = self._arguments_to is not None
        if self.text[self._arguments_from] == '"':
            if not is_whole or self._passed:
                return ""
            new = _unquoted(self.text[self._arguments_from : self._arguments_to])
        else:
            new = self.text[self._arguments_from + self._passed : self._arguments_to]
            if not is_whole:
                new = new.rstrip()  # the space behind it is no part of it, should it end here
        self._passed += len(new)
        return new

    def _read(self, character: str, place: int) -> None:
        if self._in_string:
            self._read_in_string(character)
        elif character == '"':
            self._in_string = True
            self._begin(place)
        elif character in "{[":
            self._depth += 1
            if self._depth == 2:
                self._begin(place)
            if self._depth == 1 and character != "{":
                self.failed = True
        elif character in "}]":
            if self._depth == 1:
                self._end_value(place)
                self.done = True
            self._depth -= 1
        elif self._depth == 1:
            self._read_outside(character, place)

    def _read_in_string(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == '"':
            self._in_string = False

    def _begin(self, place: int) -> None:
        """A key or a value begins at depth 1."""
        if self._depth - (self.text[place] in "{[") != 1 or self._token_start:
            return
        self._token_start = place
        if self._is_value and self._key in ARGUMENT_KEYS and self._arguments_from is None:
            self._arguments_from = place

    def _read_outside(self, character: str, place: int) -> None:
        if character == ":" and not self._is_value:
            self._key = _string(self.text[self._token_start : place].strip())
            self.failed = self._key is None
            self._is_value, self._token_start = True, 0
        elif character == ",":
            self._end_value(place)
        elif not character.isspace():
            self._begin(place)

    def _end_value(self, place: int) -> None:
        if not self._is_value:
            # `{}` and a comma too much are fine; a word without a colon is not.
            self.failed = self.failed or bool(self._token_start)
            return
        value = self.text[self._token_start : place].rstrip() if self._token_start else ""
        if self._key in NAME_KEYS and self.name is None:
            self.name = _string(value)
        if self._arguments_from is not None and self._arguments_to is None:
            self._arguments_to = self._arguments_from + len(value)
        self.failed = self.failed or not value
        self._key, self._is_value, self._token_start = None, False, 0


def _string(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _unquoted(text: str) -> str:
    value = _string(text)
    return text if value is None else value
