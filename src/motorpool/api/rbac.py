"""The rbac.authorization.k8s.io group: who may do what, as roles and bindings."""

from collections.abc import Iterator
from datetime import datetime

from motorpool.api import names
from motorpool.api.errors import BadRequest, FieldError, GoValue
from motorpool.api.kinds import Column, Kind
from motorpool.api.kubernetestypes import built_in
from motorpool.api.meta import Object, at
from motorpool.api.selectors import LabelSelector
from motorpool.api.tables import AGE, NAME
from motorpool.api.validation import listed

GROUP = "rbac.authorization.k8s.io"
USER, GROUP_OF_USERS, ACCOUNT = "User", "Group", "ServiceAccount"


def _created_at(obj: Object, _: datetime) -> str:
    return str(at(obj, "metadata", "creationTimestamp", default=""))


def _role(binding: Object, _: datetime) -> str:
    return f"{at(binding, 'roleRef', 'kind')}/{at(binding, 'roleRef', 'name')}"


def _subjects(kind: str, *fields: str, title: str, text: str) -> Column:
    def cell(binding: Object, _: datetime) -> str:
        found = [s for s in binding.get("subjects") or () if s.get("kind") == kind]
        return ", ".join("/".join(str(s.get(field, "")) for field in fields) for s in found)

    return Column(title, cell, priority=1, description=text)


_ROLE_COLUMNS = (
    NAME,
    Column("Created At", _created_at, "date", description="When it came into being"),
)
_BINDING_COLUMNS = (
    NAME,
    Column("Role", _role, description="What it allows"),
    AGE,
    _subjects(USER, "name", title="Users", text="Users to whom it is allowed"),
    _subjects(GROUP_OF_USERS, "name", title="Groups", text="Groups to whom it is allowed"),
    _subjects(
        ACCOUNT, "namespace", "name", title="ServiceAccounts", text="Accounts of pods, likewise"
    ),
)


# Roles


def _rule_errors(rule: Object, path: str, *, namespaced: bool) -> Iterator[FieldError]:
    if not rule.get("verbs"):
        yield FieldError.required(f"{path}.verbs", "verbs must contain at least one value")
    if rule.get("nonResourceURLs"):
        if namespaced:
            text = "namespaced rules cannot apply to non-resource URLs"
            yield FieldError.invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], text)
        if any(rule.get(field) for field in ("apiGroups", "resources", "resourceNames")):
            text = "rules cannot apply to both regular resources and non-resource URLs"
            yield FieldError.invalid(f"{path}.nonResourceURLs", rule["nonResourceURLs"], text)
        return
    if not rule.get("apiGroups"):
        text = "resource rules must supply at least one api group"
        yield FieldError.required(f"{path}.apiGroups", text)
    if not rule.get("resources"):
        text = "resource rules must supply at least one resource"
        yield FieldError.required(f"{path}.resources", text)


def _role_errors(new: Object, _: Object | None) -> Iterator[FieldError]:
    namespaced = new["kind"] == "Role"
    for number, rule in enumerate(new.get("rules") or ()):
        yield from _rule_errors(rule, f"rules[{number}]", namespaced=namespaced)
    if new.get("aggregationRule") is None:
        return
    selectors = at(new, "aggregationRule", "clusterRoleSelectors", default=())
    path = "aggregationRule.clusterRoleSelectors"
    if not selectors:
        text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield FieldError.required(path, text)
    for number, selector in enumerate(selectors):
        try:
            LabelSelector.from_object(selector)
        except BadRequest as error:
            yield FieldError.invalid(f"{path}[{number}]", selector, str(error))


# Bindings


def default_binding(binding: Object) -> None:
    reference = binding.get("roleRef")
    if isinstance(reference, dict) and not reference.get("apiGroup"):
        binding["roleRef"] = {"apiGroup": GROUP, **_filled(reference)}
    subjects = binding.get("subjects") or ()
    if any(_lacks_group(subject) for subject in subjects):
        binding["subjects"] = [
            {"kind": s["kind"], "apiGroup": GROUP, **_filled(s)} if _lacks_group(s) else s
            for s in subjects
        ]


def _lacks_group(subject: Object) -> bool:
    return not subject.get("apiGroup") and subject.get("kind") in (USER, GROUP_OF_USERS)


def _filled(fields: Object) -> Object:
    return {name: value for name, value in fields.items() if value}


def _binding_errors(new: Object, old: Object | None) -> Iterator[FieldError]:
    reference = new.get("roleRef") or {}
    namespaced = new["kind"] == "RoleBinding"
    yield from _reference_errors(reference, namespaced=namespaced)
    if old is not None and reference != (old.get("roleRef") or {}):
        shown = (
            f'rbac.RoleRef{{APIGroup:"{reference.get("apiGroup", "")}", '
            f'Kind:"{reference.get("kind", "")}", Name:"{reference.get("name", "")}"}}'
        )
        yield FieldError.invalid("roleRef", GoValue(shown), "cannot change roleRef")
    for number, subject in enumerate(new.get("subjects") or ()):
        yield from _subject_errors(subject, f"subjects[{number}]", namespaced=namespaced)


def _reference_errors(reference: Object, *, namespaced: bool) -> Iterator[FieldError]:
    if reference.get("apiGroup") != GROUP:
        yield FieldError.not_supported("roleRef.apiGroup", reference.get("apiGroup"), [GROUP])
    kinds = ["Role", "ClusterRole"] if namespaced else ["ClusterRole"]
    if reference.get("kind") not in kinds:
        yield FieldError.not_supported("roleRef.kind", reference.get("kind", ""), kinds)
    name = reference.get("name", "")
    if not name:
        yield FieldError.required("roleRef.name")
    for text in names.path_segment(name):
        yield FieldError.invalid("roleRef.name", name, text)


def _subject_errors(subject: Object, path: str, *, namespaced: bool) -> Iterator[FieldError]:
    name = subject.get("name", "")
    if not name:
        yield FieldError.required(f"{path}.name")
    group = subject.get("apiGroup", "")
    match subject.get("kind"):
        case "ServiceAccount":
            for text in names.subdomain(name) if name else ():
                yield FieldError.invalid(f"{path}.name", name, text)
            if group:
                yield FieldError.not_supported(f"{path}.apiGroup", group, [""])
            if not namespaced and not subject.get("namespace"):
                yield FieldError.required(f"{path}.namespace")
        case "User" | "Group":
            if group != GROUP:
                yield FieldError.not_supported(f"{path}.apiGroup", group, [GROUP])
        case other:
            kinds = [ACCOUNT, USER, GROUP_OF_USERS]
            yield FieldError.not_supported(f"{path}.kind", other or "", kinds)


ROLE = Kind(
    group=GROUP, version="v1", kind="Role", plural="roles", singular="role",
    update_may_create=True, name_rule="path-segment", schema=built_in(GROUP, "v1", "Role"),
    columns=_ROLE_COLUMNS, validate=listed(_role_errors),
)  # fmt: skip
ROLE_BINDING = Kind(
    group=GROUP, version="v1", kind="RoleBinding", plural="rolebindings", singular="rolebinding",
    update_may_create=True, name_rule="path-segment", schema=built_in(GROUP, "v1", "RoleBinding"),
    columns=_BINDING_COLUMNS, default=default_binding, validate=listed(_binding_errors),
)  # fmt: skip
CLUSTER_ROLE = Kind(
    group=GROUP, version="v1", kind="ClusterRole", plural="clusterroles", singular="clusterrole",
    namespaced=False, update_may_create=True, name_rule="path-segment",
    schema=built_in(GROUP, "v1", "ClusterRole"), columns=_ROLE_COLUMNS,
    validate=listed(_role_errors),
)  # fmt: skip
CLUSTER_ROLE_BINDING = Kind(
    group=GROUP, version="v1", kind="ClusterRoleBinding", plural="clusterrolebindings",
    singular="clusterrolebinding", namespaced=False, update_may_create=True,
    name_rule="path-segment", schema=built_in(GROUP, "v1", "ClusterRoleBinding"),
    columns=_BINDING_COLUMNS, default=default_binding, validate=listed(_binding_errors),
)  # fmt: skip

KINDS = (ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING)
