"""Values, predicates and expressions of PMML: what is computed before any model. Pure.

A value is a float, a text or None, which means missing. A predicate answers True, False or None:
it cannot be known, because a value is missing.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

Value = float | str | None
Fields = Mapping[str, Value]
Predicate = Callable[[Fields], bool | None]
Expression = Callable[[Fields], Value]


class Unsupported(Exception):
    """The text names what this server does not understand."""


def children(element: Element, *names: str) -> Iterator[tuple[str, Element]]:
    """With their names, those of PMML's many namespaces; all of them where no *names* are given."""
    for child in element:
        name = child.tag.rpartition("}")[2]
        if name != "Extension" and (not names or name in names):
            yield name, child


def first(element: Element, name: str) -> Element | None:
    return next((child for _, child in children(element, name)), None)


def read(text: Any) -> Value:
    """A value as it is written, or as it came with a request: a number wherever it is one."""
    if text is None or text == "":
        return None
    try:
        number = float(text)
    except (TypeError, ValueError):
        return text.decode() if isinstance(text, bytes) else str(text)
    return None if math.isnan(number) else number


def number(element: Element, name: str, default: float | None = None) -> float:
    """Raises Unsupported, also where there is none and no *default*."""
    text = element.get(name)
    if text is None and default is not None:
        return default
    value = read(text)
    if not isinstance(value, float):
        raise Unsupported(f"{name}={text!r} in {element.tag.rpartition('}')[2]}")
    return value


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "equal": operator.eq,
    "notEqual": operator.ne,
    "lessThan": operator.lt,
    "lessOrEqual": operator.le,
    "greaterThan": operator.gt,
    "greaterOrEqual": operator.ge,
}


def predicate(name: str, element: Element) -> Predicate:
    """Raises Unsupported."""
    if name in ("True", "False"):
        constant = name == "True"
        return lambda _: constant
    if name == "SimplePredicate":
        return _simple(element)
    if name == "SimpleSetPredicate":
        return _among(element)
    if name == "CompoundPredicate":
        return _compound(element)
    raise Unsupported(f"the predicate {name}")


PREDICATES = ("True", "False", "SimplePredicate", "SimpleSetPredicate", "CompoundPredicate")


def predicate_of(element: Element) -> Predicate:
    """Of the element that has one among its children. Raises Unsupported."""
    for name, child in children(element, *PREDICATES):
        return predicate(name, child)
    raise Unsupported(f"{element.tag.rpartition('}')[2]} without a predicate")


def _simple(element: Element) -> Predicate:
    field, kind, wanted = element.get("field"), element.get("operator", ""), element.get("value")
    if field is None:
        raise Unsupported("SimplePredicate without a field")
    if kind in ("isMissing", "isNotMissing"):
        missing = kind == "isMissing"
        return lambda fields: (fields.get(field) is None) == missing
    compare = COMPARED.get(kind)
    if compare is None:
        raise Unsupported(f"the operator {kind}")
    value = read(wanted)

    def decide(fields: Fields) -> bool | None:
        given = fields.get(field)
        if given is None or value is None:
            return None
        if type(given) is not type(value):  # A text beside a number: compared as texts.
            return compare(_text(given), wanted)
        return compare(given, value)

    return decide


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _among(element: Element) -> Predicate:
    field, kind = element.get("field"), element.get("booleanOperator")
    array = first(element, "Array")
    if field is None or array is None or kind not in ("isIn", "isNotIn"):
        raise Unsupported("a SimpleSetPredicate without its field, operator or Array")
    values = {read(each) for each in array_of(array)}
    wanted = kind == "isIn"

    def decide(fields: Fields) -> bool | None:
        given = fields.get(field)
        return None if given is None else (given in values) == wanted

    return decide


def array_of(element: Element) -> list[str]:
    """Words, of which those in quotes may hold spaces."""
    words: list[str] = []
    for index, part in enumerate((element.text or "").replace('\\"', "\0").split('"')):
        words += [part] if index % 2 else part.split()
    return [word.replace("\0", '"') for word in words]


def _compound(element: Element) -> Predicate:
    parts = [predicate(name, child) for name, child in children(element)]
    kind = element.get("booleanOperator")
    if kind not in ("and", "or", "xor", "surrogate") or not parts:
        raise Unsupported(f"the operator {kind} of CompoundPredicate")

    def decide(fields: Fields) -> bool | None:
        answers = [part(fields) for part in parts]
        if kind == "surrogate":
            return next((each for each in answers if each is not None), None)
        if kind == "xor":
            return None if None in answers else sum(map(bool, answers)) % 2 == 1
        decisive = kind == "or"
        if decisive in answers:
            return decisive
        return None if None in answers else not decisive

    return decide


FUNCTIONS: dict[str, Callable[..., float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "min": min,
    "max": max,
    "pow": math.pow,
    "exp": math.exp,
    "ln": math.log,
    "log10": math.log10,
    "sqrt": math.sqrt,
    "abs": abs,
}


def expression(element: Element) -> Expression:
    """Of the element whose only child is one. Raises Unsupported."""
    for name, child in children(element):
        if name == "Constant":
            constant = read(child.text)
            return lambda _: constant
        if name == "FieldRef":
            field = child.get("field", "")
            return lambda fields: fields.get(field)
        if name == "NormContinuous":
            return _interpolated(child)
        if name == "NormDiscrete":
            return _indicator(child)
        if name == "Apply":
            return _applied(child)
        raise Unsupported(f"the expression {name}")
    raise Unsupported(f"{element.tag.rpartition('}')[2]} without an expression")


def _interpolated(element: Element) -> Expression:
    if element.get("outliers", "asIs") != "asIs" or element.get("mapMissingTo") is not None:
        raise Unsupported("outliers and mapMissingTo of NormContinuous")
    field = element.get("field", "")
    points = [(number(p, "orig"), number(p, "norm")) for _, p in children(element, "LinearNorm")]
    if len(points) < 2:
        raise Unsupported("NormContinuous with fewer than two points")

    def compute(fields: Fields) -> Value:
        given = fields.get(field)
        if not isinstance(given, float):
            return None
        index = sum(given >= orig for orig, _ in points[1:-1])
        (low, start), (high, end) = points[index : index + 2]
        return start + (given - low) / (high - low) * (end - start)

    return compute


def _indicator(element: Element) -> Expression:
    field, wanted = element.get("field", ""), read(element.get("value"))

    def compute(fields: Fields) -> Value:
        given = fields.get(field)
        return None if given is None else float(given == wanted)

    return compute


def _applied(element: Element) -> Expression:
    name = element.get("function", "")
    function = FUNCTIONS.get(name)
    if function is None or element.get("mapMissingTo") or element.get("defaultValue"):
        raise Unsupported(f"the function {name}, or its values for what is missing")
    holder = [Element("argument") for _ in children(element)]
    for place, (_, child) in zip(holder, children(element), strict=True):
        place.append(child)
    arguments = [expression(place) for place in holder]

    def compute(fields: Fields) -> Value:
        values = [argument(fields) for argument in arguments]
        if not all(isinstance(value, float) for value in values):
            return None
        try:
            return float(function(*values))
        except (ArithmeticError, ValueError, TypeError):
            return None  # As PMML has it: the result of what cannot be computed is missing.

    return compute
