"""The ``x-kubernetes-validations`` of a schema: are they well written, do they hold. Pure.

A rule that names ``oldSelf`` looks at changes: it is asked of an update alone, and only of what can
be found in the old object: fields, and items of lists that are maps. What did not change is not
asked again: a new rule must not lock the objects that are older than it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from motorpool.api.cel.engine import (
    RUN_COST_MAX,
    BadExpression,
    Expression,
    RunFailed,
    compiled,
    optional,
)
from motorpool.api.cel.values import seen, size_of
from motorpool.api.errors import FieldError, GoValue
from motorpool.api.kinds import Schema
from motorpool.api.meta import Object
from motorpool.api.structural import correlated, identity, is_same

RULES = "x-kubernetes-validations"
OBJECT_COST_MAX = 5 * RUN_COST_MAX
REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")

_NONE: Any = object()


# Definitions


def definition_errors(schema: Schema, path: str) -> Iterator[FieldError]:
    """Every reason to refuse the rules below the node at *path* of a definition."""
    for number, rule in enumerate(schema.get(RULES) or ()):
        yield from _written_errors(rule, f"{path}.{RULES}[{number}]")
    for name, child in (schema.get("properties") or {}).items():
        yield from definition_errors(child, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from definition_errors(schema[name], f"{path}.{name}")


def _written_errors(rule: Object, path: str) -> Iterator[FieldError]:
    source = str(rule.get("rule") or "")
    if not source.strip():
        yield FieldError.required(f"{path}.rule", "rule is not specified")
        return
    reason = rule.get("reason")
    if reason and reason not in REASONS:
        yield FieldError.not_supported(f"{path}.reason", reason, REASONS)
    message = rule.get("message")
    if message and "\n" in message.strip():
        text = "message must not contain line breaks"
        yield FieldError.invalid(f"{path}.message", message, text)
    elif "\n" in source.strip() and not message:
        text = "message must be specified if rule contains line breaks"
        yield FieldError.required(f"{path}.message", text)
    where = rule.get("fieldPath")
    if where and not where.startswith((".", "[")):
        text = "must start with a dot or a bracket"
        yield FieldError.invalid(f"{path}.fieldPath", where, text)
    for name in ("rule", "messageExpression"):
        if rule.get(name):
            yield from _compile_errors(rule, name, path)


def _compile_errors(rule: Object, name: str, path: str) -> Iterator[FieldError]:
    try:
        expression = compiled(rule[name])
    except BadExpression as error:
        shown = GoValue(f'"{rule[name]}"' if "\n" not in rule[name] else "the rule")
        yield FieldError.invalid(f"{path}.{name}", shown, f"compilation failed: {error}")
        return
    if rule.get("optionalOldSelf") and name == "rule" and not expression.uses_old:
        text = "optionalOldSelf may only be set if the rule uses oldSelf"
        yield FieldError.invalid(f"{path}.optionalOldSelf", True, text)


# Objects


@dataclass(slots=True)
class _Rule:
    expression: Expression
    text: Expression | None
    given: Object


@dataclass(slots=True)
class Node:
    """What is to be asked of one part of an object; parts without rules have no node."""

    schema: Schema
    rules: list[_Rule] = field(default_factory=list)
    properties: dict[str, "Node"] = field(default_factory=dict)
    items: "Node | None" = None
    values: "Node | None" = None


def compile_rules(schema: Schema) -> Node | None:
    """The rules of a schema that was accepted; None where it has none."""
    node = Node(schema)
    for given in schema.get(RULES) or ():
        said = given.get("messageExpression")
        node.rules.append(_Rule(compiled(given["rule"]), compiled(said) if said else None, given))
    for name, child in (schema.get("properties") or {}).items():
        below = compile_rules(child)
        if below is not None:
            node.properties[name] = below
    if isinstance(schema.get("items"), dict):
        node.items = compile_rules(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        node.values = compile_rules(schema["additionalProperties"])
    return node if node.rules or node.properties or node.items or node.values else None


def broken_rules(node: Node, new: Object, old: Object | None) -> list[FieldError]:
    """Every rule that *new* breaks."""
    return list(_Run().errors(node, new, _NONE if old is None else old, "", is_root=True))


class _Run:
    """One pass over one object, which has a budget."""

    def __init__(self) -> None:
        self._left = OBJECT_COST_MAX

    def errors(
        self, node: Node, value: Any, old: Any, path: str, *, is_root: bool = False
    ) -> Iterator[FieldError]:
        if value is None or (old is not _NONE and is_same(value, old)):
            return
        if node.rules:
            yield from self._asked(node, value, old, path, is_root)
        if isinstance(value, dict):
            yield from self._fields(node, value, old, path)
        elif isinstance(value, list) and node.items is not None:
            before = correlated(node.schema, old)
            for number, item in enumerate(value):
                known = before.get(identity(node.schema, item), _NONE) if before else _NONE
                yield from self.errors(node.items, item, known, f"{path}[{number}]")

    def _fields(
        self, node: Node, value: Mapping[str, Any], old: Any, path: str
    ) -> Iterator[FieldError]:
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            below = node.properties.get(key) or node.values
            if below is not None:
                is_known = key in node.properties
                where = (f"{path}.{key}" if path else key) if is_known else f"{path}[{key}]"
                yield from self.errors(below, item, before.get(key, _NONE), where)

    def _asked(
        self, node: Node, value: Any, old: Any, path: str, is_root: bool
    ) -> Iterator[FieldError]:
        size = size_of(value)
        variables = {"self": seen(value, node.schema, is_resource=is_root)}
        if old is not _NONE:
            variables["oldSelf"] = seen(old, node.schema, is_resource=is_root)
        for rule in node.rules:
            is_optional = bool(rule.given.get("optionalOldSelf"))
            if rule.expression.uses_old and old is _NONE and not is_optional:
                continue
            cost = rule.expression.cost(size)
            self._left -= cost
            if cost > RUN_COST_MAX or self._left < 0:
                yield _too_costly(node, path)
                return
            found = _result(rule, variables, is_optional)
            if found is not None:
                yield _broken(rule, node, path, found)


def _result(rule: _Rule, variables: Mapping[str, Any], is_optional: bool) -> str | None:
    """Why the rule does not hold; None where it does."""
    given = dict(variables)
    if is_optional:
        old = given.get("oldSelf")
        given["oldSelf"] = optional(old, is_there="oldSelf" in variables)
    try:
        if rule.expression.run(given) is True:
            return None
    except RunFailed as error:
        return f"{error} evaluating rule: {_name(rule)}"
    return _message(rule, given)


def _message(rule: _Rule, variables: Mapping[str, Any]) -> str:
    if rule.text is not None:
        try:
            said = rule.text.run(variables)
        except RunFailed:
            said = None  # a message that cannot be made is no reason to accept
        if isinstance(said, str) and said.strip() and "\n" not in said:
            return said.strip()
    return str(rule.given.get("message") or "").strip() or f"failed rule: {_name(rule)}"


def _name(rule: _Rule) -> str:
    return rule.expression.source.strip()


def _broken(rule: _Rule, node: Node, path: str, text: str) -> FieldError:
    where = _joined(path, str(rule.given.get("fieldPath") or ""))
    match rule.given.get("reason"):
        case "FieldValueForbidden":
            return FieldError.forbidden(where, text)
        case "FieldValueRequired":
            return FieldError.required(where, text)
        case "FieldValueDuplicate":
            return FieldError.duplicate(where, _type(node))
    return FieldError.invalid(where, _type(node), text)


def _type(node: Node) -> str:
    return str(node.schema.get("type") or "")


def _joined(path: str, below: str) -> str:
    if not below:
        return path or "<nil>"
    return f"{path}{below}" if path else below.removeprefix(".")


def _too_costly(node: Node, path: str) -> FieldError:
    text = (
        "validation failed due to running out of cost budget, no further validation rules will be "
        "run"
    )
    return FieldError.invalid(path or "<nil>", _type(node), text)
