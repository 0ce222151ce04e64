"""Whether a pod fits a node, and the scheduler's words where it does not. Pure.

Theory: one pod at a time, in the order in which they came, on the first node that fits; nothing
that runs is ever moved. A node is refused with reasons, never with a bare no, because the message
is all that the user of a pending pod has.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from motorpool.api.meta import Object, at, labels_of, name_of
from motorpool.api.tolerations import is_tolerated
from motorpool.workloads.scheduler.resources import Amounts, amounts

_HARD_EFFECTS = ("NoSchedule", "NoExecute")
_NUMBER = re.compile(r"[+-]?[0-9]+")
_NO_VICTIMS = "No preemption victims found for incoming pod"
_NOT_HELPFUL = "Preemption is not helpful for scheduling"


@dataclass(frozen=True, slots=True)
class Placement:
    """The node that fits; or none, and the message that says why."""

    node: str
    message: str = ""


def placement(
    pod: Object, needed: Amounts, nodes: Sequence[Object], used: Mapping[str, Amounts]
) -> Placement:
    """*used* holds, by the node's name, what the pods placed there need."""
    if not nodes:
        return Placement("", "no nodes available to schedule pods")
    reasons: Counter[str] = Counter()
    preemption: Counter[str] = Counter()
    for node in sorted(nodes, key=name_of):
        refusal = misfit(pod, needed, node, used.get(name_of(node), {}))
        if refusal is None:
            return Placement(name_of(node))
        reasons.update(refusal.reasons)
        preemption[_NO_VICTIMS if refusal.would_fit_alone else _NOT_HELPFUL] += 1
    none = f"0/{len(nodes)} nodes are available"
    return Placement("", f"{none}: {_listed(reasons)}. preemption: {none}: {_listed(preemption)}.")


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a node cannot take a pod."""

    reasons: Sequence[str]
    would_fit_alone: bool = False


def misfit(pod: Object, needed: Amounts, node: Object, used: Amounts) -> Misfit | None:
    """Why *node* cannot take *pod*; None where it can."""
    if at(node, "spec", "unschedulable") and not _tolerates(
        pod, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return Misfit(["node(s) were unschedulable"])
    for taint in at(node, "spec", "taints", default=()):
        if taint.get("effect") in _HARD_EFFECTS and not _tolerates(pod, taint):
            value = taint.get("value") or ""
            return Misfit([f"node(s) had untolerated taint {{{taint.get('key')}: {value}}}"])
    if not _is_selected(pod, node):
        return Misfit(["node(s) didn't match Pod's node affinity/selector"])
    offered = amounts(at(node, "status", "allocatable") or at(node, "status", "capacity"))
    zero = Decimal(0)
    short = [
        name
        for name, value in sorted(needed.items())
        if value > 0 and value + used.get(name, zero) > offered.get(name, zero)
    ]
    if not short:
        return None
    return Misfit(
        ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in short],
        would_fit_alone=all(needed[name] <= offered.get(name, zero) for name in short),
    )


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))


def _tolerates(pod: Object, taint: Object) -> bool:
    return is_tolerated(taint, at(pod, "spec", "tolerations", default=()))


def _is_selected(pod: Object, node: Object) -> bool:
    labels = labels_of(node)
    if not at(pod, "spec", "nodeSelector", default={}).items() <= labels.items():
        return False
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = at(pod, "spec", "affinity", "nodeAffinity", required)
    if affinity is None:
        return True
    terms: Iterable[Object] = affinity.get("nodeSelectorTerms") or ()
    return any(_term_matches(term, labels, name_of(node)) for term in terms)


def _term_matches(term: Object, labels: Mapping[str, str], name: str) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_expression_matches(each, labels) for each in expressions) and all(
        _expression_matches(each, {"metadata.name": name}) for each in fields
    )


def _is_more(value: str | None, values: Sequence[str]) -> bool:
    return value is not None and _are_numbers(value, values) and int(value) > int(values[0])


def _is_less(value: str | None, values: Sequence[str]) -> bool:
    return value is not None and _are_numbers(value, values) and int(value) < int(values[0])


def _are_numbers(value: str, values: Sequence[str]) -> bool:
    return len(values) == 1 and all(_NUMBER.fullmatch(each) for each in (value, *values))


_OPERATORS: Mapping[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": _is_more,
    "Lt": _is_less,
}


def _expression_matches(expression: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.get("key", ""))
    return _OPERATORS[expression["operator"]](value, expression.get("values") or ())
