"""Rules that many kinds share, metadata first. Pure; the texts are those of the Kubernetes API."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from motorpool.api import names
from motorpool.api.errors import FieldError, GoValue
from motorpool.api.kinds import Kind, Validate
from motorpool.api.meta import Object

ANNOTATIONS_BYTES_MAX = 256 * 1024
GENERATED_NAME_BASE_MAX = 58  # what the server keeps of generateName before it adds five

_NAME_RULES: dict[str, Callable[[str], list[str]]] = {
    "subdomain": names.subdomain,
    "label": names.label,
    "label1035": names.label1035,
    "path-segment": names.path_segment,
}
_STANDARD_FINALIZERS = (
    "kubernetes",
    "orphan",
    "foregroundDeletion",
    "customresourcecleanup.apiextensions.k8s.io",
)
IMMUTABLE = "field is immutable"


def validate_metadata(kind: Kind, obj: Object, old: Object | None) -> list[FieldError]:
    """Every reason to refuse the metadata; names are only looked at when they can still change."""
    metadata = obj["metadata"]
    found: list[FieldError] = []
    if old is None:
        found += _name_errors(kind, metadata)
    found += label_errors(metadata.get("labels"), "metadata.labels")
    found += _annotation_errors(metadata.get("annotations"))
    found += _finalizer_errors(kind, metadata.get("finalizers") or ())
    found += _owner_errors(metadata.get("ownerReferences") or ())
    return found


def _name_errors(kind: Kind, metadata: Object) -> Iterator[FieldError]:
    rule = _NAME_RULES[kind.name_rule]
    prefix = metadata.get("generateName")
    if prefix:
        # The suffix that follows makes a final hyphen or dot legal.
        masked = prefix[:-1] + "a" if prefix[-1:] in "-." and len(prefix) > 1 else prefix
        for text in rule(masked[:GENERATED_NAME_BASE_MAX]):
            yield FieldError.invalid("metadata.generateName", prefix, text)
    name = metadata.get("name")
    if not name:
        if not prefix:
            text = "name or generateName is required"
            yield FieldError.required("metadata.name", text)
        return
    for text in rule(name):
        yield FieldError.invalid("metadata.name", name, text)


def label_errors(labels: Object | None, path: str) -> Iterator[FieldError]:
    for key, value in (labels or {}).items():
        for text in names.qualified_name(key):
            yield FieldError.invalid(path, key, text)
        for text in names.label_value(value):
            yield FieldError.invalid(path, value, text)


def _annotation_errors(annotations: Object | None) -> Iterator[FieldError]:
    path = "metadata.annotations"
    size = 0
    for key, value in (annotations or {}).items():
        for text in names.qualified_name(key.lower()):
            yield FieldError.invalid(path, key, text)
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_BYTES_MAX:
        yield FieldError.too_long(path, ANNOTATIONS_BYTES_MAX)


def _finalizer_errors(kind: Kind, finalizers: Sequence[str]) -> Iterator[FieldError]:
    for finalizer in finalizers:
        for text in names.qualified_name(finalizer):
            yield FieldError.invalid("metadata.finalizers", finalizer, text)
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        yield FieldError.invalid("metadata.finalizers", go_strings(finalizers), text)
    for position, finalizer in enumerate(finalizers):
        if not kind.is_custom and "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield FieldError.invalid(f"metadata.finalizers[{position}]", finalizer, text)


def _owner_errors(owners: Sequence[Object]) -> Iterator[FieldError]:
    path = "metadata.ownerReferences"
    controller = ""
    for owner in owners:
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                what = "version" if field == "apiVersion" else field
                yield FieldError.invalid(f"{path}.{field}", "", f"{what} must not be empty")
        if owner.get("controller"):
            if controller:
                text = (
                    'Only one reference can have Controller set to true. Found "true" in '
                    f"references for {controller} and {owner.get('name')}"
                )
                yield FieldError.invalid(path, list(owners), text)
            controller = str(owner.get("name"))


def immutable(path: str, new: Any, old: Any) -> Iterator[FieldError]:
    """Refuses a change of what may be set once."""
    if new != old:
        yield FieldError.invalid(path, new, IMMUTABLE)


def not_negative(path: str, value: Any) -> Iterator[FieldError]:
    if isinstance(value, int) and value < 0:
        yield FieldError.invalid(path, value, "must be greater than or equal to 0")


def one_of(path: str, value: Any, supported: Sequence[str]) -> Iterator[FieldError]:
    """Refuses a value that is set and not in *supported*."""
    if value and value not in supported:
        yield FieldError.not_supported(path, value, supported)


def port_number(path: str, value: Any) -> Iterator[FieldError]:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        text = "must be between 1 and 65535, inclusive"
        yield FieldError.invalid(path, value or 0, text)


def port_reference(path: str, value: Any) -> Iterator[FieldError]:
    """A port by number or by name."""
    if isinstance(value, str):
        for text in names.port_name(value):
            yield FieldError.invalid(path, value, text)
    else:
        yield from port_number(path, value)


def go_labels(labels: Object | None) -> GoValue:
    """Labels as Go's ``%#v`` prints them."""
    if labels is None:
        return GoValue("map[string]string(nil)")
    inside = ", ".join(f"{json.dumps(k)}:{json.dumps(labels[k])}" for k in sorted(labels))
    return GoValue(f"map[string]string{{{inside}}}")


def go_strings(texts: Iterable[str]) -> GoValue:
    return GoValue(f"[]string{{{', '.join(json.dumps(text) for text in texts)}}}")


def go_selector(selector: Object) -> GoValue:
    """A label selector as Go's ``%#v`` prints it."""
    expressions = selector.get("matchExpressions")
    if expressions is None:
        shown = "[]v1.LabelSelectorRequirement(nil)"
    else:
        inside = ", ".join(
            f"v1.LabelSelectorRequirement{{Key:{json.dumps(e.get('key', ''))}, "
            f"Operator:{json.dumps(e.get('operator', ''))}, "
            f"Values:{go_strings(e['values']) if e.get('values') else '[]string(nil)'}}}"
            for e in expressions
        )
        shown = f"[]v1.LabelSelectorRequirement{{{inside}}}"
    labels = go_labels(selector.get("matchLabels"))
    return GoValue(f"v1.LabelSelector{{MatchLabels:{labels}, MatchExpressions:{shown}}}")


def listed(rule: Callable[[Object, Object | None], Iterator[FieldError]]) -> Validate:
    """A generator of errors as a ``Kind.validate``."""

    def validate(new: Object, old: Object | None) -> Sequence[FieldError]:
        return list(rule(new, old))

    return validate
