"""Label and field selectors: parsed from a query or an object, matched against objects. Pure.

The label grammar is that of the Kubernetes API, token by token, because its error texts name the
token at which the reading stopped.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from motorpool.api import names
from motorpool.api.errors import BadRequest, FieldError
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_SPECIAL = frozenset(("==", "!=", "=", "!", "(", ")", ",", "<", ">"))
_OPERATORS = ("in", "notin", "=", "==", "!=", ">", "<")
_INTEGER = re.compile(r"[+-]?[0-9]+")


class Requirement(NamedTuple):
    """One term. *operator* is ``=``, ``==``, ``!=``, ``in``, ``notin``, ``>``, ``<``,
    ``exists`` or ``!``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "exists":
                return value is not None
            case "!":
                return value is None
            case "=" | "==" | "in":
                return value is not None and value in self.values
            case "!=" | "notin":
                return value is None or value not in self.values
        if value is None or not _INTEGER.fullmatch(value):
            return False
        limit = int(self.values[0])
        return int(value) > limit if self.operator == ">" else int(value) < limit

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(sorted(self.values))})"
        return f"{self.key}{self.operator}{self.values[0]}"


class LabelSelector:
    """Terms that must all hold. No term at all matches everything."""

    __slots__ = ("_nothing", "requirements")

    def __init__(self, requirements: tuple[Requirement, ...] = (), *, nothing: bool = False):
        self.requirements = requirements
        self._nothing = nothing

    @classmethod
    def parse(cls, text: str) -> "LabelSelector":
        """The selector of a ``labelSelector`` query. Raises BadRequest."""
        return cls(tuple(_Reader(text).requirements()))

    @classmethod
    def from_object(cls, selector: Object | None) -> "LabelSelector":
        """``matchLabels`` and ``matchExpressions`` of a spec; None matches nothing."""
        if selector is None:
            return cls(nothing=True)
        found = [
            Requirement(key, "=", (value,))
            for key, value in (selector.get("matchLabels") or {}).items()
        ]
        operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
        for expression in selector.get("matchExpressions") or ():
            operator = operators.get(str(expression.get("operator")))
            if operator is None:
                raise BadRequest(
                    f'"{expression.get("operator")}" is not a valid label selector operator'
                )
            values = tuple(expression.get("values") or ())
            found.append(Requirement(str(expression.get("key", "")), operator, values))
        return cls(tuple(found))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return not self._nothing and all(term.matches(labels) for term in self.requirements)

    def __str__(self) -> str:
        return ",".join(str(term) for term in sorted(self.requirements, key=lambda t: t.key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSelector) and (self._nothing, str(self)) == (
            other._nothing,
            str(other),
        )

    def __hash__(self) -> int:
        return hash(str(self))


class _Reader:
    """Reads requirements token by token; ``""`` stands for the end of the string."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._next = 0

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        if self._peek() == "":
            return found
        while True:
            if not self._starts_term(self._peek()):
                raise BadRequest(
                    f"found '{self._peek()}', expected: !, identifier, or 'end of string'"
                )
            found.append(self._requirement())
            token = self._take()
            if token == "":
                return found
            if token != ",":
                raise BadRequest(f"found '{token}', expected: ',' or 'end of string'")
            if not self._starts_term(self._peek()):
                raise BadRequest(f"found '{self._peek()}', expected: identifier after ','")

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._next += 1
        return token

    @staticmethod
    def _is_identifier(token: str) -> bool:
        return token != "" and token not in _SPECIAL

    def _starts_term(self, token: str) -> bool:
        return token == "!" or self._is_identifier(token)

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._take()
        key = self._take()
        if not self._is_identifier(key):
            raise _unreadable(f"found '{key}', expected: identifier")
        for error in names.qualified_name(key):
            raise _unreadable(str(FieldError.invalid("key", key, error)))
        if absent:
            return Requirement(key, "!")
        if self._peek() in ("", ","):
            return Requirement(key, "exists")
        operator = self._take()
        if operator not in _OPERATORS:
            raise _unreadable(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._set() if operator in ("in", "notin") else (self._exact(),)
        _check_values(key, operator, values)
        return Requirement(key, operator, values)

    def _exact(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token = self._take()
        if not self._is_identifier(token):
            raise _unreadable(f"found '{token}', expected: identifier")
        return token

    def _set(self) -> tuple[str, ...]:
        token = self._take()
        if token != "(":
            raise _unreadable(f"found '{token}' expected: '('")
        values: list[str] = []
        expects_value = True
        while True:
            token = self._take()
            if self._is_identifier(token) and expects_value:
                values.append(token)
                expects_value = False
            elif token == "," or token == ")":
                if expects_value:
                    values.append("")  # `(,a)`, `(a,)` and `()` name the empty value
                if token == ")":
                    return tuple(dict.fromkeys(values))
                expects_value = True
            elif expects_value:
                raise _unreadable(f"found '{token}', expected: ',', ')' or identifier")
            else:
                raise _unreadable(f"found '{token}', expected: ',' or ')'")


def _check_values(key: str, operator: str, values: tuple[str, ...]) -> None:
    if operator in (">", "<") and not _INTEGER.fullmatch(values[0]):
        text = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise _unreadable(str(FieldError.invalid("values[0]", values[0], text)))
    for position, value in enumerate(values):
        for error in names.label_value(value):
            raise _unreadable(str(FieldError.invalid(f"values[{position}][{key}]", value, error)))


def _unreadable(text: str) -> BadRequest:
    return BadRequest(f"unable to parse requirement: {text}")


class FieldTerm(NamedTuple):
    path: str
    value: str
    equal: bool
    read: Callable[[Object], str]


class FieldSelector:
    """Terms on fields that the kind offers; they must all hold."""

    __slots__ = ("terms",)

    def __init__(self, terms: tuple[FieldTerm, ...] = ()) -> None:
        self.terms = terms

    @classmethod
    def parse(cls, text: str, kind: Kind) -> "FieldSelector":
        """The selector of a ``fieldSelector`` query. Raises BadRequest."""
        terms = []
        for term in _split(text, ","):
            if term:
                path, value, equal = _field_term(text, term)
                terms.append(FieldTerm(path, value, equal, _reader_of(path, kind)))
        return cls(tuple(terms))

    def matches(self, obj: Object) -> bool:
        return all((term.read(obj) == term.value) == term.equal for term in self.terms)

    @property
    def name(self) -> str | None:
        """The one name that can match, where the selector demands one."""
        return self._required("metadata.name")

    @property
    def namespace(self) -> str | None:
        return self._required("metadata.namespace")

    def _required(self, path: str) -> str | None:
        return next((t.value for t in self.terms if t.path == path and t.equal), None)

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return ",".join(
            f"{term.path}{'=' if term.equal else '!='}{_escaped(term.value)}" for term in self.terms
        )


def _name_of(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def _namespace_of(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


_COMMON: dict[str, Callable[[Object], str]] = {
    "metadata.name": _name_of,
    "metadata.namespace": _namespace_of,
}


def _reader_of(path: str, kind: Kind) -> Callable[[Object], str]:
    read = _COMMON.get(path) or kind.selectable_fields.get(path)
    if read is not None:
        return read
    if kind.selectable_fields or kind.is_custom:
        raise BadRequest(f"field label not supported: {path}")
    raise BadRequest(
        f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )


def _split(text: str, separator: str) -> list[str]:
    """Parts between separators that no backslash precedes; escapes stay."""
    parts, start, position = [], 0, 0
    while position < len(text):
        if text[position] == "\\":
            position += 2
        elif text[position] == separator:
            parts.append(text[start:position])
            position += 1
            start = position
        else:
            position += 1
    return [*parts, text[start:]]


def _field_term(text: str, term: str) -> tuple[str, str, bool]:
    found = re.search(r"!=|==|=", term)
    if found is None:
        raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
    return term[: found.start()], _unescaped(term[found.end() :]), found.group() != "!="


def _unescaped(value: str) -> str:
    result: list[str] = []
    escaping = False
    for char in value:
        if escaping:
            if char not in "\\,=":
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{char}")
            result.append(char)
            escaping = False
        elif char == "\\":
            escaping = True
        elif char in ",=":
            raise BadRequest(f"invalid field selector: unescaped character in value: {ord(char)}")
        else:
            result.append(char)
    if escaping:
        raise BadRequest("invalid field selector: unterminated escape sequence")
    return "".join(result)


def _escaped(value: str) -> str:
    return re.sub(r"([\\,=])", r"\\\1", value)


def field_at(*path: str, default: str = "") -> Callable[[Object], str]:
    """A reader for ``Kind.selectable_fields``: the value at *path* as text."""

    def read(obj: Object) -> str:
        value: Any = obj
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            return default
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value)

    return read
