"""The roles and bindings there are, ready to be asked. Pure; told of every change by `put`.

Bindings are kept by subject, so that a request looks only at those of its user and groups, and
answers are remembered until a role or a binding changes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from motorpool.api import rbac
from motorpool.api.kinds import Kind
from motorpool.api.meta import Object, ObjectKey, key_of
from motorpool.apiserver.access.rules import Attributes, Rule
from motorpool.apiserver.authentication import User

MASTERS = "system:masters"
REMEMBERED_DECISIONS_MAX = 4096

Subject: TypeAlias = tuple[str, str]
"""``("User", name)`` or ``("Group", name)``; an account is the user that it is."""

ALL_RESOURCES: Object = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
ALL_PATHS: Object = {"verbs": ["*"], "nonResourceURLs": ["*"]}


class Decision(NamedTuple):
    allowed: bool
    reason: str = ""


REFUSED = Decision(False)


class Role(NamedTuple):
    rules: tuple[Rule, ...]
    texts: Sequence[Object]


class Grant(NamedTuple):
    """A binding as one of its subjects has it. *namespace* is "" for every namespace."""

    namespace: str
    role: ObjectKey
    reason: str


class Policy:
    def __init__(self) -> None:
        self._roles: dict[ObjectKey, Role] = {}
        self._grants: dict[Subject, dict[ObjectKey, list[Grant]]] = {}
        self._subjects: dict[ObjectKey, list[Subject]] = {}
        self._decisions: dict[tuple[str, tuple[str, ...], Attributes], Decision] = {}

    def put(self, kind: Kind, old: Object | None, new: Object | None) -> None:
        """*old* is None for what is new, *new* for what is gone."""
        self._decisions.clear()
        obj = new if new is not None else old
        if obj is None:
            return
        if kind in (rbac.ROLE, rbac.CLUSTER_ROLE):
            self._put_role(key_of(obj), new)
        else:
            self._put_binding(key_of(obj), new)

    def _put_role(self, key: ObjectKey, role: Object | None) -> None:
        if role is None:
            self._roles.pop(key, None)
            return
        texts = role.get("rules") or ()
        self._roles[key] = Role(tuple(map(Rule.of, texts)), texts)

    def _put_binding(self, key: ObjectKey, binding: Object | None) -> None:
        for subject in self._subjects.pop(key, ()):
            grants = self._grants[subject]
            grants.pop(key, None)
            if not grants:
                del self._grants[subject]
        if binding is None:
            return
        for subject, shown in _subjects_of(binding):
            grant = _grant_of(key, binding, shown)
            self._grants.setdefault(subject, {}).setdefault(key, []).append(grant)
            self._subjects.setdefault(key, []).append(subject)

    def decide(self, user: User, asked: Attributes) -> Decision:
        if MASTERS in user.groups:
            return Decision(True)
        question = (user.name, user.groups, asked)
        known = self._decisions.get(question)
        if known is None:
            if len(self._decisions) >= REMEMBERED_DECISIONS_MAX:
                self._decisions.clear()
            known = self._decisions[question] = self._decide(user, asked)
        return known

    def _decide(self, user: User, asked: Attributes) -> Decision:
        for grant in self._grants_of(user, "" if asked.path else asked.namespace):
            role = self._roles.get(grant.role)
            if role is not None and any(rule.allows(asked) for rule in role.rules):
                return Decision(True, grant.reason)
        return REFUSED

    def _grants_of(self, user: User, namespace: str) -> Iterator[Grant]:
        """Those that hold everywhere first, then those of *namespace*."""
        subjects = (("User", user.name), *(("Group", group) for group in user.groups))
        scopes = ("", namespace) if namespace else ("",)
        for scope in scopes:
            for subject in subjects:
                for key, grants in self._grants.get(subject, {}).items():
                    if key.namespace == scope:
                        yield from grants

    def rules_of(self, user: User, namespace: str) -> list[Object]:
        """Every rule that *user* has in that namespace, as written."""
        found = [ALL_RESOURCES, ALL_PATHS] if MASTERS in user.groups else []
        for grant in self._grants_of(user, namespace):
            role = self._roles.get(grant.role)
            found += role.texts if role is not None else ()
        return found

    def role(self, namespace: str, name: str) -> Sequence[Object] | None:
        """The rules of a Role, or with no namespace of a ClusterRole; None where there is none."""
        found = self._roles.get(ObjectKey(namespace, name))
        return None if found is None else found.texts


def _subjects_of(binding: Object) -> Iterator[tuple[Subject, str]]:
    """Each subject, and how it is named in a reason."""
    own = binding["metadata"].get("namespace", "")
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind", ""), subject.get("name", "")
        if kind == rbac.ACCOUNT:
            namespace = subject.get("namespace") or own
            shown = f'ServiceAccount "{name}/{namespace}"'
            yield ("User", f"system:serviceaccount:{namespace}:{name}"), shown
        elif kind in (rbac.USER, rbac.GROUP_OF_USERS):
            yield (kind, name), f'{kind} "{name}"'


def _grant_of(key: ObjectKey, binding: Object, subject: str) -> Grant:
    reference = binding["roleRef"]
    kind, name = reference["kind"], reference["name"]
    namespace = key.namespace if kind == "Role" else ""
    shown = f"{key.name}/{key.namespace}" if key.namespace else key.name
    reason = f'RBAC: allowed by {binding["kind"]} "{shown}" of {kind} "{name}" to {subject}'
    return Grant(key.namespace, ObjectKey(namespace, name), reason)
