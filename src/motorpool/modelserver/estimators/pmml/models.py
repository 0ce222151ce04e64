"""The models of PMML that are understood: regressions, trees, ensembles. Pure.

A model answers with a `Result`, or None where a missing value leaves nothing to say.
"""

import math
from collections.abc import Callable
from statistics import fmean, median
from typing import Any
from xml.etree.ElementTree import Element

import msgspec

from motorpool.modelserver.estimators.pmml import values
from motorpool.modelserver.estimators.pmml.values import (
    Expression,
    Fields,
    Unsupported,
    Value,
    children,
    first,
    number,
)


class Result(msgspec.Struct):
    value: Value
    probabilities: dict[str, float] = {}
    entity: str | None = None


Model = Callable[[Fields], Result | None]
Derived = list[tuple[str, Expression]]


def model(name: str, element: Element) -> Model:
    """Raises Unsupported."""
    kinds = {"RegressionModel": _regression, "TreeModel": _tree, "MiningModel": _mining}
    if name not in kinds:
        raise Unsupported(f"the model {name}")
    compute = kinds[name](element)
    local = first(element, "LocalTransformations")
    added = [] if local is None else derived(local)
    replacements = _replacements(element)
    rescale = _rescaled(element)

    def evaluate(fields: Fields) -> Result | None:
        result = compute(with_derived({**fields, **_replaced(fields, replacements)}, added))
        return None if result is None else rescale(result)

    return evaluate


def derived(element: Element) -> Derived:
    """The fields that are computed from others, in their order. Raises Unsupported."""
    if first(element, "DefineFunction") is not None:
        raise Unsupported("DefineFunction")
    found = children(element, "DerivedField")
    return [(each.get("name", ""), values.expression(each)) for _, each in found]


def with_derived(fields: Fields, added: Derived) -> Fields:
    known = dict(fields)
    for name, compute in added:
        known[name] = compute(known)
    return known


def outputs(element: Element) -> list[tuple[str, str, Callable[[Result, Fields], Value]]]:
    """Name, kind and content of each of the model's Output fields. Raises Unsupported."""
    found = []
    output = first(element, "Output")
    for _, each in children(output, "OutputField") if output is not None else ():
        found.append((each.get("name", ""), *_output(each)))
    return found


def _output(element: Element) -> tuple[str, Callable[[Result, Fields], Value]]:
    feature = element.get("feature", "predictedValue")
    if feature in ("predictedValue", "predictedDisplayValue"):
        return "value", lambda result, _: result.value
    if feature == "probability":
        category = element.get("value")
        if category is None:
            return "number", lambda result, _: max(result.probabilities.values(), default=None)
        return "number", lambda result, _: result.probabilities.get(category)
    if feature == "entityId":
        return "text", lambda result, _: result.entity
    if feature == "transformedValue":
        compute = values.expression(element)
        return "number", lambda _, fields: compute(fields)
    raise Unsupported(f"the output {feature}")


def _replacements(element: Element) -> dict[str, Value]:
    found: dict[str, Value] = {}
    schema = first(element, "MiningSchema")
    for _, field in children(schema, "MiningField") if schema is not None else ():
        if field.get("outliers", "asIs") != "asIs":
            raise Unsupported("outliers of MiningField")
        if (replacement := field.get("missingValueReplacement")) is not None:
            found[field.get("name", "")] = values.read(replacement)
    return found


def _replaced(fields: Fields, replacements: dict[str, Value]) -> dict[str, Value]:
    return {name: new for name, new in replacements.items() if fields.get(name) is None}


def _rescaled(element: Element) -> Callable[[Result], Result]:
    targets = first(element, "Targets")
    target = None if targets is None else first(targets, "Target")
    if target is None:
        return lambda result: result
    factor, constant = number(target, "rescaleFactor", 1.0), number(target, "rescaleConstant", 0.0)
    casts: dict[str | None, Callable[[float], Any]] = {
        None: float, "round": lambda x: math.floor(x + 0.5), "floor": math.floor,
        "ceiling": math.ceil,
    }  # fmt: skip
    cast = casts[target.get("castInteger")]

    def rescale(result: Result) -> Result:
        if isinstance(result.value, float):
            result.value = float(cast(result.value * factor + constant))
        return result

    return rescale


def _regression(element: Element) -> Model:
    tables = [
        (table.get("targetCategory", ""), _sum(table))
        for _, table in children(element, "RegressionTable")
    ]
    method = element.get("normalizationMethod", "none")
    if element.get("functionName") == "classification":
        normalise = _normalised(method, len(tables))

        def classify(fields: Fields) -> Result | None:
            scores = [compute(fields) for _, compute in tables]
            if None in scores:
                return None
            normalised = normalise([score for score in scores if score is not None])
            return _most_probable(dict(zip((name for name, _ in tables), normalised, strict=True)))

        return classify
    if len(tables) != 1 or method not in ("none", "softmax", "logit", "exp"):
        raise Unsupported(f"a regression of {len(tables)} tables with the normalization {method}")
    compute = tables[0][1]
    finish = {"none": float, "exp": math.exp}.get(method, _logistic)

    def regress(fields: Fields) -> Result | None:
        score = compute(fields)
        return None if score is None else Result(finish(score))

    return regress


def _sum(table: Element) -> Callable[[Fields], float | None]:
    intercept = number(table, "intercept", 0.0)
    if first(table, "PredictorTerm") is not None:
        raise Unsupported("PredictorTerm")
    numeric = [
        (each.get("name", ""), number(each, "coefficient"), number(each, "exponent", 1.0))
        for _, each in children(table, "NumericPredictor")
    ]
    categorical = [
        (each.get("name", ""), values.read(each.get("value")), number(each, "coefficient"))
        for _, each in children(table, "CategoricalPredictor")
    ]

    def compute(fields: Fields) -> float | None:
        total = intercept
        for name, coefficient, exponent in numeric:
            given = fields.get(name)
            if not isinstance(given, float):
                return None
            total += coefficient * (given if exponent == 1 else given**exponent)
        return total + sum(c for name, value, c in categorical if fields.get(name) == value)

    return compute


def _logistic(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score > -700 else 0.0


def _normalised(method: str, count: int) -> Callable[[list[float]], list[float]]:
    """Scores -> probabilities. Raises Unsupported."""

    def softmax(scores: list[float]) -> list[float]:
        most = max(scores)
        powers = [math.exp(score - most) for score in scores]
        return [power / sum(powers) for power in powers]

    def rest(first_ones: list[float]) -> list[float]:
        return [*first_ones, 1 - sum(first_ones)]

    if method == "softmax":
        return softmax
    if method == "simplemax":
        return lambda scores: [score / sum(scores) for score in scores]
    if method == "logit" and count == 2:
        return lambda scores: rest([_logistic(scores[0])])
    if method == "none":
        return lambda scores: rest(scores[:-1])
    raise Unsupported(f"the normalization {method} of {count} categories")


def _most_probable(probabilities: dict[str, float], entity: str | None = None) -> Result:
    # The first of those that are alike, as they stand in the file.
    best = max(probabilities, key=probabilities.__getitem__)
    return Result(best, probabilities, entity)


class _Node(msgspec.Struct):
    holds: values.Predicate
    result: Result | None
    identity: str | None
    default: str | None
    children: "list[_Node]"


def _tree(element: Element) -> Model:
    missing = element.get("missingValueStrategy", "none")
    if missing not in ("none", "defaultChild", "lastPrediction", "nullPrediction"):
        raise Unsupported(f"the missingValueStrategy {missing}")
    keep_last = element.get("noTrueChildStrategy") == "returnLastPrediction"
    top = first(element, "Node")
    if top is None:
        raise Unsupported("a TreeModel without a Node")
    classifies = element.get("functionName") == "classification"
    root = _node(top, classifies=classifies)

    def descend(fields: Fields) -> Result | None:
        node = root
        while node.children:
            for child in node.children:
                answer = child.holds(fields)
                if answer:
                    node = child
                    break
                if answer is None and missing == "defaultChild":
                    node = next(each for each in node.children if each.identity == node.default)
                    break
                if answer is None and missing != "none":
                    return None if missing == "nullPrediction" else node.result
            else:
                return node.result if keep_last else None
        return node.result

    return lambda fields: descend(fields) if root.holds(fields) else None


def _node(element: Element, *, classifies: bool) -> _Node:
    identity = element.get("id")
    return _Node(
        values.predicate_of(element),
        _score(element, identity, classifies=classifies),
        identity,
        element.get("defaultChild"),
        [_node(child, classifies=classifies) for _, child in children(element, "Node")],
    )


def _score(element: Element, identity: str | None, *, classifies: bool) -> Result | None:
    score = element.get("score")
    shares = list(children(element, "ScoreDistribution"))
    total = sum(number(each, "recordCount", 0.0) for _, each in shares)
    probabilities = {
        each.get("value", ""): number(each, "probability", -1.0)
        if each.get("probability") is not None
        else number(each, "recordCount") / total
        for _, each in shares
    }
    if classifies:
        if score is None:
            return _most_probable(probabilities, identity) if probabilities else None
        return Result(score, probabilities or {score: 1.0}, identity)
    return None if score is None else Result(values.read(score), {}, identity)


class _Segment(msgspec.Struct):
    holds: values.Predicate
    evaluate: Model
    weight: float
    outputs: list[tuple[str, str, Callable[[Result, Fields], Value]]]


MODELS = ("RegressionModel", "TreeModel", "MiningModel")
ONE_BY_ONE = ("modelChain", "selectFirst")
VOTES = ("majorityVote", "weightedMajorityVote", "average", "weightedAverage")


COMBINE: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum, "average": fmean, "median": median, "max": max,
}  # fmt: skip


def _mining(element: Element) -> Model:
    segmentation = first(element, "Segmentation")
    method = "" if segmentation is None else segmentation.get("multipleModelMethod", "")
    classifies = element.get("functionName") == "classification"
    together_by = VOTES if classifies else (*COMBINE, "weightedAverage")
    if segmentation is None or method not in (*ONE_BY_ONE, *together_by):
        raise Unsupported(f"a {element.get('functionName')} by {method or 'no Segmentation'}")
    segments = [_segment(each) for _, each in children(segmentation, "Segment")]

    def first_of(fields: Fields) -> Result | None:
        return next((each.evaluate(fields) for each in segments if each.holds(fields)), None)

    def chain(fields: Fields) -> Result | None:
        known, result = dict(fields), None
        for segment in segments:
            if segment.holds(known):
                result = segment.evaluate(known)
                for name, _, content in segment.outputs:
                    known[name] = None if result is None else content(result, known)
        return result

    def together(fields: Fields) -> Result | None:
        chosen = [each for each in segments if each.holds(fields)]
        weighed = [(each.evaluate(fields), each.weight) for each in chosen]
        results = [(result, weight) for result, weight in weighed if result is not None]
        if not results or len(results) < len(weighed):
            return None
        return _voted(method, results) if classifies else _combined(method, results)

    return {"modelChain": chain, "selectFirst": first_of}.get(method, together)


def _segment(element: Element) -> _Segment:
    for name, child in children(element):
        if name.endswith("Model"):
            weight = number(element, "weight", 1.0)
            holds = values.predicate_of(element)
            return _Segment(holds, model(name, child), weight, outputs(child))
    raise Unsupported("a Segment without a model")


def _combined(method: str, results: list[tuple[Result, float]]) -> Result | None:
    numbers = [result.value for result, _ in results if isinstance(result.value, float)]
    if len(numbers) < len(results):
        return None
    if method == "weightedAverage":
        weights = [weight for _, weight in results]
        return Result(sum(n * w for n, w in zip(numbers, weights, strict=True)) / sum(weights))
    return Result(float(COMBINE[method](numbers)))


def _voted(method: str, results: list[tuple[Result, float]]) -> Result:
    """Votes for categories, or the average of what each gave them."""
    weighed = method.startswith("weighted")
    totals: dict[str, float] = {}
    whole = 0.0
    for result, weight in results:
        share = weight if weighed else 1.0
        votes = {str(result.value): 1.0} if "Vote" in method else result.probabilities
        whole += share
        for category, each in votes.items():
            totals[category] = totals.get(category, 0.0) + share * each
    return _most_probable({category: total / whole for category, total in totals.items()})
