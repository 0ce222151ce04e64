"""What Go says about bytes that are no JSON, and how it prints values. Pure; for refusals only.

Clients show the server's words to people, and scripts look for them, so they are worth a scanner.
"""

import re
from typing import Any

_SPACE = b" \t\r\n"
_END = "unexpected end of JSON input"
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_DEPTH_MAX = 10_000  # Go's own limit


class _Refused(Exception):
    pass


def syntax_error(data: bytes) -> str:
    """Go's message for *data*, or ``""`` where Go would accept it."""
    scanner = _Scanner(data)
    try:
        scanner.value("looking for beginning of value", 0)
        scanner.space()
        if scanner.position < len(data):
            scanner.refuse("after top-level value")
    except _Refused as refusal:
        return str(refusal)
    return ""


class _Scanner:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def space(self) -> None:
        while self.position < len(self.data) and self.data[self.position] in _SPACE:
            self.position += 1

    def peek(self) -> int:
        if self.position >= len(self.data):
            raise _Refused(_END)
        return self.data[self.position]

    def refuse(self, context: str) -> None:
        char = chr(self.peek())
        named = {"'": r"'\''", '"': "'\"'"}.get(char) or repr(char)
        raise _Refused(f"invalid character {named} {context}")

    def value(self, context: str, depth: int) -> None:
        if depth > _DEPTH_MAX:
            raise _Refused("exceeded max depth")
        self.space()
        first = self.peek()
        if first == ord("{"):
            self._members(depth, is_object=True)
        elif first == ord("["):
            self._members(depth, is_object=False)
        elif first == ord('"'):
            self._string()
        elif first in b"-0123456789":
            self._number()
        elif first in b"tfn":
            self._literal({b"t": b"true", b"f": b"false", b"n": b"null"}[bytes((first,))])
        else:
            self.refuse(context)

    def _members(self, depth: int, *, is_object: bool) -> None:
        close = ord("}") if is_object else ord("]")
        self.position += 1
        self.space()
        if self.peek() == close:
            self.position += 1
            return
        while True:
            if is_object:
                self._key()
            self.value("looking for beginning of value", depth + 1)
            self.space()
            following = self.peek()
            if following not in (ord(","), close):
                self.refuse("after object key:value pair" if is_object else "after array element")
            self.position += 1
            if following == close:
                return
            self.space()

    def _key(self) -> None:
        if self.peek() != ord('"'):
            self.refuse("looking for beginning of object key string")
        self._string()
        self.space()
        if self.peek() != ord(":"):
            self.refuse("after object key")
        self.position += 1

    def _string(self) -> None:
        self.position += 1
        while (char := self.peek()) != ord('"'):
            if char < 0x20:
                self.refuse("in string literal")
            self.position += 1
            if char == ord("\\"):
                self._escape()
        self.position += 1

    def _escape(self) -> None:
        char = self.peek()
        if char not in b'"\\/bfnrtu':
            self.refuse("in string escape code")
        self.position += 1
        if char == ord("u"):
            for _ in range(4):
                if self.peek() not in b"0123456789abcdefABCDEF":
                    self.refuse("in \\u hexadecimal character escape")
                self.position += 1

    def _number(self) -> None:
        found = _NUMBER.match(self.data, self.position)
        if found is None:
            self.position += 1
            self.refuse("in numeric literal")
        else:
            self.position = found.end()

    def _literal(self, word: bytes) -> None:
        for offset, expected in enumerate(word):
            if self.peek() != expected and offset:
                self.refuse(f"in literal {word.decode()} (expecting '{chr(expected)}')")
            self.position += 1


def type_name(value: Any) -> str:
    """What Go calls the JSON type of *value* in its messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def printed(value: Any) -> str:
    """*value* as Go's ``%v`` prints it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{printed(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(printed, value)) + "]"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
