"""Roles whose rules are the sum of other roles' rules. Pure."""

from collections.abc import Iterable

from motorpool.api.errors import BadRequest
from motorpool.api.meta import Object, at, labels_of, name_of, sorted_by_name
from motorpool.api.selectors import LabelSelector


def is_sum(role: Object) -> bool:
    return bool(role.get("aggregationRule"))


def rules_of(role: Object, roles: Iterable[Object]) -> list[Object]:
    """What the rules of *role* are to be: those of all *roles* that it selects, each once."""
    selectors = _selectors(role)
    rules: list[Object] = []
    for other in sorted_by_name(roles):
        if name_of(other) != name_of(role) and any(s.matches(labels_of(other)) for s in selectors):
            rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules


def _selectors(role: Object) -> list[LabelSelector]:
    try:
        return [
            LabelSelector.from_object(selector)
            for selector in at(role, "aggregationRule", "clusterRoleSelectors", default=())
        ]
    except BadRequest:
        return []  # it was refused as invalid, unless it is older than the rule
