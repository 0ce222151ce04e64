"""YAML as the Kubernetes API reads it: one document, JSON's types and nothing else. Pure.

Rules: timestamps stay text; keys become text; aliases are copied, so that no two places of an
object share a value, and what they expand to is bounded before it is built.
"""

import re
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import yaml

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(ValueError):
    pass


class _BodyLoader(_Loader):  # type: ignore[misc]
    """Resolves scalars as Go's YAML library does where that differs from PyYAML."""


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    left_out = ("timestamp", "int", "float", "value")
    kept = {
        first: [(tag, rule) for tag, rule in rules if tag.rpartition(":")[2] not in left_out]
        for first, rules in _Loader.yaml_implicit_resolvers.items()
    }
    whole = re.compile(r"[-+]?(0b[0-1_]+|0o?[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)\Z")
    real = re.compile(
        r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9_]+|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?\Z"
    )
    for first in "-+0123456789":
        kept.setdefault(first, []).append(("tag:yaml.org,2002:int", whole))
    for first in "-+0123456789.":
        kept.setdefault(first, []).append(("tag:yaml.org,2002:float", real))
    return kept


_BodyLoader.yaml_implicit_resolvers = _resolvers()


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "")
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lower()
    if digits.startswith("0") and digits[1:2].isdigit():
        return sign * int(digits, 8)
    return sign * int(digits, 0)


_BodyLoader.add_constructor("tag:yaml.org,2002:int", _integer)


def load(body: bytes, *, nodes_max: int) -> tuple[Any, list[str]]:
    """The document, and the paths of keys that it names twice. Raises YamlError."""
    with _reading(body) as loader:
        node = loader.get_single_node()
        if node is None:
            raise YamlError("unexpected end of JSON input")
        survey = _Survey(nodes_max)
        return _value(loader, node, survey), survey.duplicates(node)


def load_all(body: bytes, *, nodes_max: int) -> list[Any]:
    """Every document of a file; None for one that is empty. Raises YamlError."""
    found = []
    with _reading(body) as loader:
        while loader.check_node():
            found.append(_value(loader, loader.get_node(), _Survey(nodes_max)))
    return found


@contextmanager
def _reading(body: bytes) -> Iterator[Any]:
    try:
        loader = _BodyLoader(body)
        try:
            yield loader
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise YamlError(f"error converting YAML to JSON: {_text(error)}") from error
    except ValueError as error:
        raise error if isinstance(error, YamlError) else YamlError(str(error)) from error


def _value(loader: Any, node: Any, survey: "_Survey") -> Any:
    survey.size(node)
    value = _plain(loader.construct_document(node))
    return msgspec.json.decode(msgspec.json.encode(value)) if survey.shared else value


def _text(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if mark is None or problem is None:
        return f"yaml: {error}"
    return f"yaml: line {mark.line + 1}: {problem}"


class _Survey:
    """How large a document gets once every alias is a copy, found without making one."""

    def __init__(self, nodes_max: int) -> None:
        self.shared = False
        self._nodes_max = nodes_max
        self._sizes: dict[int, int] = {}

    def size(self, node: Any) -> int:
        known = self._sizes.get(id(node))
        if known is not None:
            if known == 0:
                raise YamlError("yaml: anchor contains itself")
            self.shared = self.shared or not isinstance(node, yaml.ScalarNode)
            return known
        self._sizes[id(node)] = 0
        total = 1
        if isinstance(node, yaml.MappingNode):
            total += sum(self.size(key) + self.size(value) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            total += sum(self.size(item) for item in node.value)
        if total > self._nodes_max:
            raise YamlError("yaml: document contains excessive aliasing")
        self._sizes[id(node)] = total
        return total

    def duplicates(self, node: Any, path: str = "") -> list[str]:
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [p for i, item in items for p in self.duplicates(item, f"{path}[{i}]")]
        if not isinstance(node, yaml.MappingNode):
            return []
        prefix = f"{path}." if path else ""
        found: list[str] = []
        seen: set[Hashable] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                found.append(prefix + name)
            seen.add(name)
            found += self.duplicates(value, prefix + name)
        return list(dict.fromkeys(found))


def _plain(value: Any) -> Any:
    """*value* in JSON's types, with text for keys."""
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise YamlError(f"json: unsupported value: {value}")
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    raise YamlError(f"yaml: cannot use a value of type {type(value).__name__}")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)
