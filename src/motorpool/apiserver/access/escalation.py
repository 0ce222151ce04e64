"""What a writer may not store: nobody may grant what they do not have. Pure.

A role may hold what its writer holds, or anything where the writer has the verb ``escalate`` on it;
a binding may name a role whose rules its writer holds, or that the writer may ``bind``.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from motorpool.api import core, rbac
from motorpool.api.errors import Forbidden
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object
from motorpool.apiserver.access.policy import MASTERS, Policy
from motorpool.apiserver.access.requests import refused
from motorpool.apiserver.access.rules import Attributes, Rule, missing, shown
from motorpool.apiserver.authentication import User
from motorpool.apiserver.refusals import not_found

Check: TypeAlias = Callable[[Object, Object | None], None]
"""Called with what is to be stored and what was; raises Forbidden."""


def check_of(kind: Kind, user: User, policy: Policy) -> Check | None:
    """What *user* may not store of that kind; None for who may everything."""
    if MASTERS in user.groups:
        return None

    def check(new: Object, old: Object | None) -> None:
        if old is None:
            _check_create(kind, new, user, policy)
        if kind in (rbac.ROLE, rbac.CLUSTER_ROLE):
            _check_role(kind, new, old, user, policy)
        elif kind in (rbac.ROLE_BINDING, rbac.CLUSTER_ROLE_BINDING):
            _check_binding(kind, new, old, user, policy)

    return check


def _check_create(kind: Kind, new: Object, user: User, policy: Policy) -> None:
    """An update or an apply that creates takes both verbs."""
    metadata = new["metadata"]
    namespace = metadata.get("namespace", "")
    name = metadata.get("name") or ""
    if kind is core.NAMESPACE:
        namespace = name
    asked = Attributes("create", kind.group, kind.plural, "", namespace, name)
    if not policy.decide(user, asked).allowed:
        raise refused(user, asked)


def _check_role(kind: Kind, new: Object, old: Object | None, user: User, policy: Policy) -> None:
    metadata = new["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
    sums = new.get("aggregationRule")
    before = old or {}
    if new.get("rules") == before.get("rules") and sums == before.get("aggregationRule"):
        return
    if _may(policy, user, "escalate", kind, namespace, name):
        return
    wanted: list[Object] = list(new.get("rules") or ())
    if sums and sums != before.get("aggregationRule"):
        wanted += [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ]
    _check_held(kind, name, namespace, wanted, user, policy)


def _check_binding(kind: Kind, new: Object, old: Object | None, user: User, policy: Policy) -> None:
    metadata, reference = new["metadata"], new["roleRef"]
    namespace, name = metadata.get("namespace", ""), metadata.get("name", "")
    if old is not None and new.get("subjects") == old.get("subjects"):
        return
    role_kind = rbac.ROLE if reference["kind"] == "Role" else rbac.CLUSTER_ROLE
    if _may(policy, user, "bind", role_kind, namespace, reference["name"]):
        return
    place = namespace if role_kind is rbac.ROLE else ""
    rules = policy.role(place, reference["name"])
    if rules is None:
        raise not_found(role_kind, reference["name"])
    _check_held(kind, name, namespace, rules, user, policy)


def _may(policy: Policy, user: User, verb: str, kind: Kind, namespace: str, name: str) -> bool:
    asked = Attributes(verb, kind.group, kind.plural, "", namespace, name)
    return policy.decide(user, asked).allowed


def _check_held(
    kind: Kind, name: str, namespace: str, wanted: Sequence[Object], user: User, policy: Policy
) -> None:
    held = map(Rule.of, policy.rules_of(user, namespace))
    lacking = missing(wanted, held)
    if not lacking:
        return
    groups = " ".join(f'"{group}"' for group in user.groups)
    listed = "\n".join(shown(rule) for rule in lacking)
    raise Forbidden(
        f'{kind.resource} "{name}" is forbidden: user "{user.name}" (groups=[{groups}]) is '
        f"attempting to grant RBAC permissions not currently held:\n{listed}",
        details={"name": name, "group": kind.group, "kind": kind.plural},
    )
