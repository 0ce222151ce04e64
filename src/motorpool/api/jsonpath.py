"""The part of JSONPath that printer columns use: names, indexes, ``[*]`` and filters. Pure.

``.status.conditions[?(@.type=='Ready')].status``, ``.spec.ports[0]``, ``.metadata.labels['a/b']``,
``.metadata.annotations.a\\.b``. A path that finds several values gives the first.
"""

import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_NAME = re.compile(r"\.?((?:[^.\[\]\\]|\\.)+)")
_FILTER = re.compile(r"\[\?\(\s*@((?:\.[^=!<>\s]+)+)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*\)\]")
_EXISTS = re.compile(r"\[\?\(\s*@((?:\.[^=!<>\s)]+)+)\s*\)\]")
_QUOTED = re.compile(r"""\[\s*(['"])(.*?)\1\s*\]""")
_INDEX = re.compile(r"\[(-?\d+)\]")
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


PATHS_REMEMBERED_MAX = 2048


class BadPath(ValueError):
    """The text is no path that is understood here."""


@lru_cache(maxsize=PATHS_REMEMBERED_MAX)
def find(path: str) -> Callable[[Any], Any]:
    """A function that gives the first value at *path*, or None. Raises BadPath."""
    steps = list(_steps(path))

    def first(obj: Any) -> Any:
        return next(_walk(obj, steps), None)

    return first


def _walk(value: Any, steps: list[Step]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    for found in steps[0](value):
        yield from _walk(found, steps[1:])


def _steps(path: str) -> Iterator[Step]:
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    text = text.removeprefix("$").removeprefix("@")
    position = 0
    while position < len(text):
        step, position = _step(text, position)
        yield step


def _step(text: str, position: int) -> tuple[Step, int]:
    if text.startswith("[*]", position):
        return _every, position + 3
    if text[position] == "[":
        for pattern, make in _BRACKETS:
            found = pattern.match(text, position)
            if found is not None:
                return make(found), found.end()
        raise BadPath(f"cannot read {text[position:]!r} in JSONPath {text!r}")
    if text == ".":
        return _itself, position + 1
    found = _NAME.match(text, position)
    if found is None:
        raise BadPath(f"cannot read {text[position:]!r} in JSONPath {text!r}")
    name = re.sub(r"\\(.)", r"\1", found.group(1))
    return (_every if name == "*" else _member(name)), found.end()


def _itself(value: Any) -> Iterator[Any]:
    yield value


def _every(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _member(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _item(found: re.Match[str]) -> Step:
    position = int(found.group(1))

    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= position < len(value):
            yield value[position]

    return step


def _matching(found: re.Match[str]) -> Step:
    left = find(found.group(1))
    compare = _COMPARE[found.group(2)]
    right = _literal(found.group(3))

    def step(value: Any) -> Iterator[Any]:
        for item in _every(value):
            actual = left(item)
            comparable = isinstance(actual, type(right)) or found.group(2) in ("==", "!=")
            if comparable and compare(actual, right):
                yield item

    return step


def _having(found: re.Match[str]) -> Step:
    left = find(found.group(1))

    def step(value: Any) -> Iterator[Any]:
        return (item for item in _every(value) if left(item) is not None)

    return step


def _literal(text: str) -> Any:
    if text[:1] in "'\"" and text[-1:] == text[:1]:
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text) if "." in text else int(text)
    except ValueError as error:
        raise BadPath(f"cannot read {text!r} in a JSONPath filter") from error


_BRACKETS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Step]], ...] = (
    (_QUOTED, lambda found: _member(found.group(2))),
    (_INDEX, _item),
    (_FILTER, _matching),
    (_EXISTS, _having),
)
