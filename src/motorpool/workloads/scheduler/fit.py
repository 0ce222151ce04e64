"""Whether a pod fits a node, and the scheduler's words where it does not. Pure.

Theory: one pod at a time, in the order in which they came, on the first node that fits; nothing
that runs is ever moved. A node is refused with reasons, never with a bare no, because the message
is all that the user of a pending pod has.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from motorpool.api.meta import Object, at, labels_of, name_of
from motorpool.workloads.scheduler.resources import Amounts, amounts

_HARD_EFFECTS = ("NoSchedule", "NoExecute")


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
    for node in sorted(nodes, key=name_of):
        refusals = misfits(pod, needed, node, used.get(name_of(node), {}))
        if not refusals:
            return Placement(name_of(node))
        reasons.update(refusals)
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return Placement("", f"0/{len(nodes)} nodes are available: {listed}.")


def misfits(pod: Object, needed: Amounts, node: Object, used: Amounts) -> list[str]:
    """Why *node* cannot take *pod*; nothing where it can."""
    if at(node, "spec", "unschedulable") and not _tolerates(
        pod, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return ["node(s) were unschedulable"]
    for taint in at(node, "spec", "taints", default=()):
        if taint.get("effect") in _HARD_EFFECTS and not _tolerates(pod, taint):
            value = taint.get("value") or ""
            return [f"node(s) had untolerated taint {{{taint.get('key')}: {value}}}"]
    if not _is_selected(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    offered = amounts(at(node, "status", "allocatable") or at(node, "status", "capacity"))
    zero = Decimal(0)
    return [
        "Too many pods" if name == "pods" else f"Insufficient {name}"
        for name, value in sorted(needed.items())
        if value > 0 and value + used.get(name, zero) > offered.get(name, zero)
    ]


def _tolerates(pod: Object, taint: Object) -> bool:
    for toleration in at(pod, "spec", "tolerations", default=()):
        key, effect = toleration.get("key"), toleration.get("effect")
        if effect and effect != taint.get("effect"):
            continue
        exists = toleration.get("operator") == "Exists"
        if not key and exists:
            return True
        same = exists or (toleration.get("value") or "") == (taint.get("value") or "")
        if key == taint.get("key") and same:
            return True
    return False


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
    return value is not None and value.isdigit() and int(value) > int(values[0])


def _is_less(value: str | None, values: Sequence[str]) -> bool:
    return value is not None and value.isdigit() and int(value) < int(values[0])


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
