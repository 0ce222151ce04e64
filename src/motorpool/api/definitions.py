"""What a CustomResourceDefinition becomes: its defaults, its status, the kinds it brings. Pure.

A definition is served under the names that were *accepted*: those that no other definition of its
group held first. Every version that it serves is a ``Kind`` like any other; all are stored under
one key, and a stored object is read in the version that is asked for.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from motorpool.api import conditions, jsonpath, structural
from motorpool.api.errors import FieldError
from motorpool.api.kinds import STATUS, Column, Kind, Scale, Schema, Subresource, Validate
from motorpool.api.meta import Object, at, is_deleting
from motorpool.api.schema import with_defaults
from motorpool.api.tables import json_path_column

if TYPE_CHECKING:
    from motorpool.api.cel.rules import Node

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
SCALE = Subresource("scale", group="autoscaling", version="v1", kind="Scale")


def default_definition(obj: Object) -> None:
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    kind = str(names.get("kind") or "")
    if kind and not names.get("singular"):
        names["singular"] = kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = f"{kind}List"
    conversion = spec.setdefault("conversion", {})
    if isinstance(conversion, dict) and not conversion.get("strategy"):
        conversion["strategy"] = "None"


def _versions(obj: Object) -> list[Object]:
    return list(at(obj, "spec", "versions") or ())


def begin(obj: Object) -> None:
    """The status of a new definition."""
    obj["status"] = {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": [v.get("name", "") for v in _versions(obj) if v.get("storage")],
    }


def keep_stored_versions(obj: Object) -> None:
    """A version that was once stored stays listed; *obj* is the caller's own."""
    status = obj.get("status") or {}
    stored = list(status.get("storedVersions") or ())
    for version in _versions(obj):
        if version.get("storage") and version.get("name") not in stored:
            obj["status"] = {**status, "storedVersions": [*stored, version["name"]]}


# Status


def observed(definition: Object, others: Iterable[Object], now: str) -> Object:
    """The status that the definition should have, beside all *others*."""
    status = dict(definition.get("status") or {})
    conflict, accepted = _accepted(definition, list(others))
    status["acceptedNames"] = accepted
    if conflict is None:
        naming = _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found")
    else:
        naming = _condition("NamesAccepted", "False", *conflict)
    established = _established(definition, conflict is None)
    before = list(status.get("conditions") or ())
    kept = [c for c in before if c["type"] not in ("NamesAccepted", "Established")]
    status["conditions"] = conditions.merged(before, [naming, established, *kept], now)
    return status


def _established(definition: Object, names_accepted: bool) -> Object:
    """Once established, a definition stays so: its objects are served under the old names."""
    if conditions.is_true(definition, "Established"):
        found = conditions.condition_of(definition, "Established") or {}
        return {k: v for k, v in found.items() if k != "lastTransitionTime"}
    if names_accepted:
        text = "the initial names have been accepted"
        return _condition("Established", "True", "InitialNamesAccepted", text)
    return _condition("Established", "False", "NotAccepted", "not all names are accepted")


def _condition(type_: str, status: str, reason: str, message: str) -> Object:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def terminating(definition: Object, reason: str, message: str, now: str) -> list[Object]:
    """The conditions of a definition whose objects are being deleted."""
    before = list(at(definition, "status", "conditions") or ())
    kept = [c for c in before if c["type"] != "Terminating"]
    return conditions.merged(
        before, [*kept, _condition("Terminating", "True", reason, message)], now
    )


def mark_deleted(definition: Object, now: str) -> Object:
    """*definition*, of which deletion was asked for: its objects have to go first."""
    metadata = dict(definition["metadata"])
    finalizers = list(metadata.get("finalizers") or ())
    if FINALIZER not in finalizers:
        metadata["finalizers"] = [*finalizers, FINALIZER]
    found = terminating(
        definition,
        "InstanceDeletionPending",
        "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        now,
    )
    status = {**(definition.get("status") or {}), "conditions": found}
    return {**definition, "metadata": metadata, "status": status}


def _accepted(definition: Object, others: list[Object]) -> tuple[tuple[str, str] | None, Object]:
    """The first conflict, as reason and message, and the names that were accepted so far."""
    wanted = definition["spec"]["names"]
    before = dict(at(definition, "status", "acceptedNames") or {"plural": "", "kind": ""})
    taken_resources, taken_kinds = _taken(definition, others)
    conflict: tuple[str, str] | None = None
    accepted = dict(before)
    for field, reason, taken in (
        ("plural", "PluralConflict", taken_resources),
        ("singular", "SingularConflict", taken_resources),
        ("shortNames", "ShortNamesConflict", taken_resources),
        ("kind", "KindConflict", taken_kinds),
        ("listKind", "ListKindConflict", taken_kinds),
    ):
        value = wanted.get(field) or ""
        used = [name for name in ([value] if isinstance(value, str) else value) if name in taken]
        if used:
            conflict = conflict or (reason, f'"{used[0]}" is already in use')
        elif value:
            accepted[field] = value
        else:
            accepted.pop(field, None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    else:
        accepted.pop("categories", None)
    if conflict is not None and not conditions.is_true(definition, "Established"):
        accepted.pop("kind", None)
        accepted = {**accepted, "kind": ""}
    return conflict, accepted


def _taken(definition: Object, others: list[Object]) -> tuple[set[str], set[str]]:
    resources: set[str] = set()
    kinds: set[str] = set()
    for other in others:
        if other["spec"]["group"] != definition["spec"]["group"]:
            continue
        if other["metadata"]["name"] == definition["metadata"]["name"]:
            continue
        names = at(other, "status", "acceptedNames") or {}
        resources.update(names.get("shortNames") or ())
        resources.update(filter(None, (names.get("plural"), names.get("singular"))))
        kinds.update(filter(None, (names.get("kind"), names.get("listKind"))))
    return resources, kinds


# Kinds


def kinds_of(definition: Object) -> tuple[Kind, ...]:
    """The kinds that an established definition serves, one for each served version."""
    if not conditions.is_true(definition, "Established"):
        return ()
    versions = definition["spec"]["versions"]
    return tuple(_kind(definition, version) for version in versions if version.get("served"))


def _kind(definition: Object, version: Object) -> Kind:
    spec, names = definition["spec"], definition["status"]["acceptedNames"]
    root = dict(at(version, "schema", "openAPIV3Schema") or {})
    compiled = _Compiled(root)
    scale = at(version, "subresources", "scale")
    has_status = "status" in (version.get("subresources") or {})
    subresources = ((STATUS,) if has_status else ()) + ((SCALE,) if scale else ())
    api_version = f"{spec['group']}/{version['name']}"
    return Kind(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        list_kind=names.get("listKind") or "",
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=subresources,
        has_generation=True,
        is_custom=True,
        update_needs_resource_version=True,
        warning=_deprecation(spec["group"], names["kind"], version),
        schema=lambda: compiled.schema,
        validate=compiled.errors,
        read=_reader(api_version, compiled.schema),
        scale=_scale(scale) if scale else Scale(),
        columns=columns_of(version),
        selectable_fields=_selectable(version),
        is_ending=is_deleting(definition),
    )


def rules_of(schema: Callable[[], Schema]) -> Validate:
    """For ``Kind.validate``: asks the rules in the kind's own schema."""

    @cache
    def read() -> "_Compiled":
        return _Compiled(schema())

    return lambda new, old: read().errors(new, old)


def both(first: Validate, second: Validate) -> Validate:
    """For ``Kind.validate``: everything that either of them finds."""
    return lambda new, old: [*first(new, old), *second(new, old)]


class _Compiled:
    """The schema of one version; metadata apart, since its type is always the same."""

    def __init__(self, root: Schema) -> None:
        properties = dict(root.get("properties") or {})
        self._metadata = properties.pop("metadata", None) or {}
        self.schema: Schema = {**root, "properties": properties}
        self._has_rules = structural.has_rules(root)
        self._rules: Node | None = None

    def errors(self, new: Object, old: Object | None) -> list[FieldError]:
        named = {k: v for k, v in new["metadata"].items() if k in ("name", "generateName")}
        found = structural.value_errors(named, self._metadata, "metadata")
        if self._has_rules:
            found += self._broken(new, old)
        return found

    def _broken(self, new: Object, old: Object | None) -> list[FieldError]:
        from motorpool.api.cel import rules  # loads the interpreter

        if self._rules is None:
            self._rules = rules.compile_rules(self.schema)
        return [] if self._rules is None else rules.broken_rules(self._rules, new, old)


def _deprecation(group: str, kind: str, version: Object) -> str:
    if not version.get("deprecated"):
        return ""
    text = f"{group}/{version['name']} {kind} is deprecated"
    return str(version.get("deprecationWarning") or text)


def _reader(api_version: str, schema: Schema) -> Callable[[Object], Object]:
    """What a reader of the version sees of a stored object; never changes it."""
    has_defaults = _has_defaults(schema)

    def read(obj: Object) -> Object:
        if has_defaults:
            filled: Object = with_defaults(obj, schema)
            obj = filled
        return obj if obj["apiVersion"] == api_version else {**obj, "apiVersion": api_version}

    return read


def _has_defaults(schema: Any) -> bool:
    if isinstance(schema, dict):
        return "default" in schema or any(map(_has_defaults, schema.values()))
    return False


def _scale(paths: Mapping[str, str]) -> Scale:
    return Scale(
        spec_replicas=tuple(steps(paths.get("specReplicasPath", ""))),
        status_replicas=tuple(steps(paths.get("statusReplicasPath", ""))),
        selector=tuple(steps(paths.get("labelSelectorPath", ""))),
        is_custom=True,
    )


def steps(path: str) -> list[str]:
    """``.spec.replicas`` as its names."""
    return [step for step in path.split(".") if step]


def columns_of(version: Object) -> tuple[Column, ...]:
    return tuple(map(_column, version.get("additionalPrinterColumns") or ()))


def _column(given: Object) -> Column:
    column = json_path_column(
        given["name"], given["jsonPath"], given["type"], int(given.get("priority") or 0)
    )
    told = {key: given[key] for key in ("description", "format") if given.get(key)}
    return replace(column, **told) if told else column


def _selectable(version: Object) -> Mapping[str, Callable[[Object], str]]:
    fields = [str(each["jsonPath"]) for each in version.get("selectableFields") or ()]
    return {path.removeprefix("."): _text_at(path) for path in fields}


def _text_at(path: str) -> Callable[[Object], str]:
    find = jsonpath.find(path)

    def read(obj: Object) -> str:
        value = find(obj)
        if isinstance(value, bool):
            return "true" if value else "false"
        return "" if value is None else str(value)

    return read
