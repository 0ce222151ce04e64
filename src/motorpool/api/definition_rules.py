"""Which CustomResourceDefinitions are refused, in the words of the Kubernetes API. Pure.

Names, versions, columns and subresources here; the schemas of the versions in ``definition_nodes``.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from motorpool.api import conditions, jsonpath, names
from motorpool.api.definition_nodes import schema_errors
from motorpool.api.errors import FieldError, GoValue
from motorpool.api.meta import Object, annotations_of, at
from motorpool.api.validation import IMMUTABLE

APPROVAL = "api-approved.kubernetes.io"
_PROTECTED = ("k8s.io", "kubernetes.io")
_SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")
_COLUMN_FORMATS = ("int32", "int64", "float", "double", "byte", "date", "date-time", "password")
_SELECTABLE_MAX = 8


def definition_errors(new: Object, old: Object | None) -> Sequence[FieldError]:
    """Every reason to refuse the definition."""
    spec = new.get("spec") or {}
    found = [*_name_errors(new, spec), *_spec_errors(spec)]
    versions = list(spec.get("versions") or ())
    before = {v.get("name"): v for v in at(old or {}, "spec", "versions") or ()}
    for position, version in enumerate(versions):
        path = f"spec.versions[{position}]"
        found += _version_errors(version, path)
        if before.get(version.get("name")) != version:  # what was accepted once stays so
            found += _version_schema_errors(version, path)
    found += _version_list_errors(versions)
    found += _stored_errors(new, versions)
    if old is not None:
        found += _change_errors(spec, old)
    return found


def _name_errors(new: Object, spec: Object) -> Iterator[FieldError]:
    name = new["metadata"].get("name", "")
    plural, group = at(spec, "names", "plural"), spec.get("group")
    if plural and group and name != f"{plural}.{group}":
        text = 'must be spec.names.plural+"."+spec.group'
        yield FieldError.invalid("metadata.name", name, text)
    protected = any(group == end or str(group).endswith(f".{end}") for end in _PROTECTED)
    if not protected:
        return
    path = f"metadata.annotations[{APPROVAL}]"
    approval = annotations_of(new).get(APPROVAL, "")
    if not approval:
        text = (
            f'protected groups must have approval annotation "{APPROVAL}", '
            "see https://github.com/kubernetes/enhancements/pull/1111"
        )
        yield FieldError.required(path, text)
    elif not approval.startswith(("https://", "http://", "unapproved")):
        text = (
            f'protected groups must have approval annotation "{APPROVAL}" with either a URL or a '
            'reason starting with "unapproved", '
            "see https://github.com/kubernetes/enhancements/pull/1111"
        )
        yield FieldError.invalid(path, approval, text)


def _spec_errors(spec: Object) -> Iterator[FieldError]:
    group = str(spec.get("group") or "")
    if not group:
        yield FieldError.required("spec.group")
    else:
        for text in names.subdomain(group):
            yield FieldError.invalid("spec.group", group, text)
        if "." not in group:
            text = "should be a domain with at least one dot"
            yield FieldError.invalid("spec.group", group, text)
    scope = spec.get("scope")
    if not scope:
        yield FieldError.required("spec.scope")
    elif scope not in _SCOPES:
        yield FieldError.not_supported("spec.scope", scope, _SCOPES)
    if spec.get("preserveUnknownFields"):
        text = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
            "spec.versions[*].schema instead"
        )
        yield FieldError.invalid("spec.preserveUnknownFields", True, text)
    strategy = at(spec, "conversion", "strategy")
    if strategy not in (None, "", "None"):
        # No webhook is ever called here, so a definition that needs one must not seem to work.
        yield FieldError.not_supported("spec.conversion.strategy", strategy, ("None",))
    yield from _given_names(spec.get("names") or {})


def _given_names(given: Object) -> Iterator[FieldError]:
    path = "spec.names"
    for field in ("plural", "singular", "kind", "listKind"):
        value = str(given.get(field) or "")
        if not value:
            yield FieldError.required(f"{path}.{field}")
            continue
        mixed = field in ("kind", "listKind")
        problems = names.label1035(value.lower() if mixed else value)
        if problems:
            prefix = "may have mixed case, but should otherwise match: " if mixed else ""
            yield FieldError.invalid(f"{path}.{field}", value, prefix + ",".join(problems))
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        text = "kind and listKind may not be the same"
        yield FieldError.invalid(f"{path}.listKind", given["listKind"], text)
    for field in ("shortNames", "categories"):
        for position, value in enumerate(given.get(field) or ()):
            problems = names.label1035(value)
            if problems:
                where = f"{path}.{field}[{position}]"
                yield FieldError.invalid(where, value, ",".join(problems))


def _version_list_errors(versions: Sequence[Object]) -> Iterator[FieldError]:
    path = "spec.versions"
    shown = _go_versions(versions)
    found = [version.get("name") for version in versions]
    if len(set(found)) != len(found):
        yield FieldError.invalid(path, shown, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        yield FieldError.invalid(path, shown, text)


def _go_versions(versions: Sequence[Object]) -> GoValue:
    """The versions by what tells them apart: all of them in Go's words would fill pages."""
    if not versions:
        return GoValue("[]apiextensions.CustomResourceDefinitionVersion(nil)")
    inside = ", ".join(
        'apiextensions.CustomResourceDefinitionVersion{{Name:"{}", Served:{}, Storage:{}}}'.format(
            version.get("name", ""),
            str(bool(version.get("served"))).lower(),
            str(bool(version.get("storage"))).lower(),
        )
        for version in versions
    )
    return GoValue(f"[]apiextensions.CustomResourceDefinitionVersion{{{inside}}}")


def _version_errors(version: Object, path: str) -> Iterator[FieldError]:
    name = str(version.get("name") or "")
    problems = names.label1035(name)
    if problems:
        yield FieldError.invalid(f"{path}.name", name, ",".join(problems))
    if version.get("deprecationWarning") and not version.get("deprecated"):
        text = "can only be set for deprecated versions"
        yield FieldError.invalid(f"{path}.deprecationWarning", version["deprecationWarning"], text)
    for position, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column_errors(column, f"{path}.additionalPrinterColumns[{position}]")
    scale = at(version, "subresources", "scale")
    if scale is not None:
        yield from _scale_errors(scale, f"{path}.subresources.scale")
    yield from _selectable_errors(version, f"{path}.selectableFields")


def _version_schema_errors(version: Object, path: str) -> Sequence[FieldError]:
    root = at(version, "schema", "openAPIV3Schema")
    path = f"{path}.schema.openAPIV3Schema"
    if not root:
        return [FieldError.required(path, "schemas are required")]
    return schema_errors(root, path)


def _column_errors(column: Object, path: str) -> Iterator[FieldError]:
    if not column.get("name"):
        yield FieldError.required(f"{path}.name")
    kind = column.get("type")
    if not kind:
        text = "must be one of " + ",".join(sorted(_COLUMN_TYPES))
        yield FieldError.required(f"{path}.type", text)
    elif kind not in _COLUMN_TYPES:
        text = "must be one of " + ",".join(sorted(_COLUMN_TYPES))
        yield FieldError.invalid(f"{path}.type", kind, text)
    form = column.get("format")
    if form and form not in _COLUMN_FORMATS:
        text = "must be one of " + ",".join(sorted(_COLUMN_FORMATS))
        yield FieldError.invalid(f"{path}.format", form, text)
    where = column.get("jsonPath")
    if not where:
        yield FieldError.required(f"{path}.jsonPath")
    else:
        yield from _path_errors(where, f"{path}.jsonPath")


def _path_errors(where: str, path: str) -> Iterator[FieldError]:
    try:
        jsonpath.find(where)
    except jsonpath.BadPath as error:
        yield FieldError.invalid(path, where, str(error))


def _scale_errors(scale: Object, path: str) -> Iterator[FieldError]:
    for field, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value = str(scale.get(field) or "")
        if not value:
            yield FieldError.required(f"{path}.{field}")
        else:
            yield from _simple_path(value, f"{path}.{field}", (root,))
    selector = scale.get("labelSelectorPath")
    if selector:
        yield from _simple_path(selector, f"{path}.labelSelectorPath", (".spec.", ".status."))


def _simple_path(value: str, path: str, roots: Sequence[str]) -> Iterator[FieldError]:
    if "[" in value or not value.startswith("."):
        yield FieldError.invalid(path, value, "should be a simple json path starting with .")
    elif not value.startswith(tuple(roots)):
        text = f"should be a json path under {' or '.join(root[:-1] for root in roots)}"
        yield FieldError.invalid(path, value, text)


def _selectable_errors(version: Object, path: str) -> Iterator[FieldError]:
    fields = list(version.get("selectableFields") or ())
    if len(fields) > _SELECTABLE_MAX:
        yield FieldError.too_many(path, len(fields), _SELECTABLE_MAX)
    root = at(version, "schema", "openAPIV3Schema") or {}
    seen: set[str] = set()
    for position, field in enumerate(fields):
        where = f"{path}[{position}].jsonPath"
        value = str(field.get("jsonPath") or "")
        if not value:
            yield FieldError.required(where)
            continue
        if value in seen:
            yield FieldError.duplicate(where, value)
        seen.add(value)
        node: Any = root
        for step in value.removeprefix(".").split("."):
            node = (node.get("properties") or {}).get(step) or {}
        if value.startswith(".metadata"):
            yield FieldError.invalid(where, value, "must not point to fields in metadata")
        elif node.get("type") not in ("string", "boolean", "integer"):
            text = "must point to a field of type string, boolean or integer"
            yield FieldError.invalid(where, value, text)


def _stored_errors(new: Object, versions: Sequence[Object]) -> Iterator[FieldError]:
    known = [version.get("name") for version in versions]
    for position, stored in enumerate(at(new, "status", "storedVersions") or ()):
        if stored not in known:
            path = f"status.storedVersions[{position}]"
            yield FieldError.invalid(path, stored, "missing from spec.versions")


def _change_errors(spec: Object, old: Object) -> Iterator[FieldError]:
    """What may not change once objects may exist."""
    before = old["spec"]
    changed: list[tuple[str, ...]] = (
        [("group",)] if spec.get("group") != before.get("group") else []
    )
    if conditions.is_true(old, "Established"):
        changed += [
            path
            for path in (("scope",), ("names", "kind"), ("names", "plural"))
            if at(spec, *path) != at(before, *path)
        ]
    for path in changed:
        yield FieldError.invalid(f"spec.{'.'.join(path)}", at(spec, *path), IMMUTABLE)
