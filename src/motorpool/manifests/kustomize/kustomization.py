"""The file that makes a directory a kustomization. Pure: what it says, checked.

Rule: a field that we do not carry out is refused by name. An overlay that is applied without what
it asks for is worse than one that is not applied.
"""

from collections.abc import Mapping
from typing import Any

from motorpool.api.meta import Object
from motorpool.manifests.kustomize.resource import KustomizeError

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
API_VERSIONS = ("kustomize.config.k8s.io/v1beta1", "kustomize.config.k8s.io/v1")

_PATHS, _MAPS, _TEXT = (list, str), (dict, str), (str, None)
_FIELDS: Mapping[str, tuple[type, type | None]] = {
    "resources": _PATHS, "bases": _PATHS,
    "namespace": _TEXT, "namePrefix": _TEXT, "nameSuffix": _TEXT,
    "commonLabels": _MAPS, "commonAnnotations": _MAPS, "labels": (list, dict),
    "images": (list, dict), "replicas": (list, dict),
    "patches": (list, dict), "patchesStrategicMerge": _PATHS, "patchesJson6902": (list, dict),
    "configMapGenerator": (list, dict), "secretGenerator": (list, dict),
    "generatorOptions": (dict, None), "buildMetadata": (list, str),
}  # fmt: skip
_OF_ENTRIES: Mapping[str, frozenset[str]] = {
    "labels": frozenset(("pairs", "includeSelectors", "includeTemplates")),
    "images": frozenset(("name", "newName", "newTag", "digest", "tagSuffix")),
    "replicas": frozenset(("name", "count")),
    "patches": frozenset(("path", "patch", "target", "options")),
    "patchesJson6902": frozenset(("path", "patch", "target")),
    "configMapGenerator": frozenset(
        ("name", "namespace", "behavior", "files", "literals", "envs", "env", "options")
    ),
    "secretGenerator": frozenset(
        ("name", "namespace", "behavior", "files", "literals", "envs", "env", "options", "type")
    ),
}
_REQUIRED = {"images": "name", "replicas": "name", "labels": "pairs"}


class Unsupported(KustomizeError):
    """It is kustomize's, but not ours: whoever has kustomize can build it."""


def checked(document: Any, where: str) -> Object:
    """The kustomization; a file that says nothing is one. Raises KustomizeError."""
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise KustomizeError(f"{where}: not a kustomization")
    version, kind = document.get("apiVersion", API_VERSIONS[0]), document.get("kind")
    if kind not in (None, "Kustomization"):
        raise Unsupported(f"{where}: a {kind}; only a Kustomization is understood")
    if version not in API_VERSIONS:
        raise KustomizeError(f"{where}: apiVersion {version} is not known")
    for field, value in document.items():
        if field in ("apiVersion", "kind", "metadata") or value is None:
            continue
        if field not in _FIELDS:
            known = ", ".join(_FIELDS)
            raise Unsupported(f"{where}: {field} is not understood here; there are {known}")
        _check(value, field, where)
    return {field: value for field, value in document.items() if value is not None}


def _check(value: Any, field: str, where: str) -> None:
    outer, inner = _FIELDS[field]
    if not isinstance(value, (dict, list, str)) or not isinstance(value, outer):
        raise KustomizeError(f"{where}: {field} must be of type {outer.__name__}")
    items = list(value.values() if isinstance(value, dict) else value)
    if inner is not None and not all(isinstance(item, inner) for item in items):
        raise KustomizeError(f"{where}: {field} must hold {inner.__name__} only")
    if field not in _OF_ENTRIES:
        return
    for number, entry in enumerate(items):
        unknown = sorted(set(entry) - _OF_ENTRIES[field])
        if unknown:
            raise Unsupported(f"{where}: {field}[{number}].{unknown[0]} is not understood here")
        required = _REQUIRED.get(field)
        if required and not entry.get(required):
            raise KustomizeError(f"{where}: {field}[{number}].{required} is required")
