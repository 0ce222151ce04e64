"""OpenAPI documents of one group and version, as far as clients read them. Pure.

kubectl will not create or apply anything before it has found, for the kind at hand, a PATCH
operation with a ``fieldValidation`` parameter; the media types which that operation takes decide
between strategic and plain merge patches; ``explain`` walks the schemas. Prose of our own kinds
passes through; the built-in kinds have none.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from motorpool.api import schema as schemas
from motorpool.api.decode import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from motorpool.api.kinds import Kind, Schema, Subresource
from motorpool.api.kubernetestypes import TYPE_NAME, type_named
from motorpool.api.meta import Object

V2_MINIMAL = b"\x0a\x032.0"
"""The whole of OpenAPI v2 for clients that insist on it: a document with no types. What it cannot
say about an object, the server says by ``fieldValidation=Strict``."""

V2_CONTENT_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_REFERENCE = "#/components/schemas/"
_V3_ONLY = frozenset(("oneOf", "anyOf", "not", "nullable"))
_GVK = "x-kubernetes-group-version-kind"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_LIST_META = f"{_META}.ListMeta"
_PATCH = f"{_META}.Patch"
_DELETE_OPTIONS = f"{_META}.DeleteOptions"

_SMALL_TYPES: dict[str, Schema] = {
    _PATCH: {"type": "object"},
    _LIST_META: {
        "type": "object",
        "properties": {
            "continue": {"type": "string"},
            "remainingItemCount": {"type": "integer", "format": "int64"},
            "resourceVersion": {"type": "string"},
            "selfLink": {"type": "string"},
        },
    },
}

_ABOUT = {
    "ConfigMap": "Settings as keys and values, for pods to read.",
    "Deployment": "Keeps a number of equal pods, and replaces them step by step.",
    "EndpointSlice": "Where the pods behind a Service answer.",
    "Event": "Something that happened to an object.",
    "Lease": "Who holds a role, and until when.",
    "Namespace": "A scope for names.",
    "Node": "A machine that runs pods.",
    "Pod": "Containers that run together and share an address.",
    "ReplicaSet": "Keeps a number of pods of one template.",
    "Secret": "Confidential keys and values, for pods to read.",
    "Service": "One address for a changing set of pods.",
    "ServiceAccount": "Who a pod is to the API.",
}

_SELECTION = ("allowWatchBookmarks:boolean", "continue", "fieldSelector", "labelSelector",
              "limit:integer", "resourceVersion", "resourceVersionMatch",
              "sendInitialEvents:boolean", "timeoutSeconds:integer", "watch:boolean")  # fmt: skip
_WRITING = ("dryRun", "fieldManager", "fieldValidation")
_DELETION = ("dryRun", "gracePeriodSeconds:integer", "orphanDependents:boolean",
             "propagationPolicy")  # fmt: skip


def document(group: str, version: str, kinds: Sequence[Kind]) -> Object:
    """The OpenAPI v3 document that ``/openapi/v3/apis/GROUP/VERSION`` answers."""
    types = _Types()
    paths: Object = {}
    for kind in kinds:
        if (kind.group, kind.version) == (group, version):
            name = types.add_kind(kind)
            paths.update(_paths(kind, name))
            for sub in kind.subresources:
                if sub.kind == "Scale":
                    types.add_named("io.k8s.api.autoscaling.v1.Scale", _gvk(kind, sub))
    types.add_named(_DELETE_OPTIONS)
    for name, schema in _SMALL_TYPES.items():
        types.found[name] = schema
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.32.0"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(types.found.items()))},
    }


def definitions_of(document: Object) -> dict[str, Schema]:
    """The types of an OpenAPI v3 document, as they stand in one of v2."""
    schemas = document["components"]["schemas"]
    return {name: _as_v2(schema) for name, schema in schemas.items()}


def _as_v2(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_v2(item) for item in value]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        return {"$ref": reference.replace(_REFERENCE, "#/definitions/")}
    # What v2 has no words for is left out; it says less then, and nothing wrong.
    kept = {key: item for key, item in value.items() if key not in _V3_ONLY}
    properties = {name: _as_v2(item) for name, item in (kept.pop("properties", None) or {}).items()}
    rest = {key: _as_v2(item) for key, item in kept.items()}
    return {**rest, "properties": properties} if properties else rest


def type_name(kind: Kind) -> str:
    """The name of the kind's schema among the components."""
    name = kind.schema().get(TYPE_NAME)
    if name:
        return str(name)
    reversed_group = ".".join(reversed(kind.group.split(".")))
    return f"{reversed_group}.{kind.version}.{kind.kind}"


def _gvk(kind: Kind, sub: Subresource | None = None) -> Object:
    if sub is not None and sub.kind:
        return {"group": sub.group, "kind": sub.kind, "version": sub.version}
    return {"group": kind.group, "kind": kind.kind, "version": kind.version}


class _Types:
    """The components of a document; named types once each."""

    def __init__(self) -> None:
        self.found: dict[str, Schema] = {}

    def add_kind(self, kind: Kind) -> str:
        name = type_name(kind)
        schema = self._written(schemas.of(kind), is_root=True)
        if kind.kind in _ABOUT:
            schema.setdefault("description", _ABOUT[kind.kind])
        schema[_GVK] = [_gvk(kind)]
        self.found[name] = schema
        gvk = _gvk(kind)
        self.found[f"{name}List"] = {
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "items": {"type": "array", "items": _reference(name)},
                "kind": {"type": "string"},
                "metadata": _reference(_LIST_META),
            },
            _GVK: [{**gvk, "kind": kind.list_name}],
        }
        return name

    def add_named(self, name: str, gvk: Object | None = None, schema: Schema | None = None) -> None:
        if name not in self.found:
            self.found[name] = {}  # holds the place while the type refers to itself
            self.found[name] = self._written(schema or type_named(name), is_root=True)
        if gvk is not None:
            self.found[name] = {**self.found[name], _GVK: [gvk]}

    def _written(self, schema: Schema, *, is_root: bool = False) -> Schema:
        name = schema.get(TYPE_NAME)
        if name is not None and not is_root:
            self.add_named(name, schema=schema)
            return _reference(name)
        result: Schema = {}
        for key, value in schema.items():
            if key == TYPE_NAME:
                continue
            result[key] = self._part(key, value)
        if schema.get("x-kubernetes-int-or-string") and "anyOf" not in schema:
            result["oneOf"] = [{"type": "integer"}, {"type": "string"}]
        return result

    def _part(self, key: str, value: Any) -> Any:
        if key == "properties":
            return {name: self._written(child) for name, child in value.items()}
        if key in ("items", "additionalProperties", "not") and isinstance(value, dict):
            return self._written(value)
        if key in ("allOf", "anyOf", "oneOf"):
            return [self._written(part) for part in value]
        return value


def _reference(name: str) -> Schema:
    return {"$ref": _REFERENCE + name}


def _paths(kind: Kind, name: str) -> Object:
    namespaced = {"namespace": "{namespace}"} if kind.namespaced else {}
    collection = kind.path(**namespaced)
    item = f"{collection}/{{name}}"
    in_path = ["namespace"] if kind.namespaced else []
    paths: Object = {
        collection: _item(kind, name, _collection_verbs(kind), in_path),
        item: _item(kind, name, _object_verbs(kind.verbs), [*in_path, "name"]),
    }
    if kind.namespaced:
        paths[kind.path()] = _item(kind, name, {"get": "list"}, [])
    for sub in kind.subresources:
        paths[f"{item}/{sub.name}"] = _item(
            kind, name, _object_verbs(sub.verbs), [*in_path, "name"], sub
        )
    return paths


def _collection_verbs(kind: Kind) -> dict[str, str]:
    known = {"get": "list", "post": "create", "delete": "deletecollection"}
    return {method: verb for method, verb in known.items() if verb in kind.verbs}


def _object_verbs(verbs: Sequence[str]) -> dict[str, str]:
    known = {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}
    return {method: verb for method, verb in known.items() if verb in verbs}


def _item(
    kind: Kind,
    name: str,
    verbs: dict[str, str],
    in_path: Sequence[str],
    sub: Subresource | None = None,
) -> Object:
    result: Object = {}
    if in_path:
        result["parameters"] = [
            {
                "name": one,
                "in": "path",
                "required": True,
                "schema": {"type": "string", "uniqueItems": True},
            }
            for one in in_path
        ]
    if sub is not None and sub.kind == "Scale":
        name = "io.k8s.api.autoscaling.v1.Scale"
    for method, verb in verbs.items():
        result[method] = _operation(kind, name, verb, in_path, sub)
    return result


def _operation(
    kind: Kind, name: str, verb: str, in_path: Sequence[str], sub: Subresource | None
) -> Object:
    group = kind.group.partition(".")[0].capitalize() or "Core"
    scope = "Namespaced" if "namespace" in in_path else ""
    part = sub.name.capitalize() if sub is not None else ""
    answer = f"{name}List" if verb == "list" else name
    operation: Object = {
        "operationId": f"{verb}{group}{kind.version.capitalize()}{scope}{kind.kind}{part}",
        "parameters": [*_parameters(verb)],
        "responses": {
            "200": {
                "description": "OK",
                "content": {"application/json": {"schema": _reference(answer)}},
            }
        },
        "x-kubernetes-action": "post" if verb == "create" else verb,
        _GVK: _gvk(kind, sub),
    }
    body = _body(kind, name, verb)
    if body:
        operation["requestBody"] = {"content": body, "required": verb != "delete"}
    return operation


def _parameters(verb: str) -> Iterator[Object]:
    names: tuple[str, ...] = ()
    if verb in ("create", "update", "patch"):
        names = (*_WRITING, "force:boolean") if verb == "patch" else _WRITING
    elif verb in ("delete", "deletecollection"):
        names = _DELETION
    elif verb == "list":
        names = _SELECTION
    for entry in names:
        name, _, kind = entry.partition(":")
        schema = {"type": kind or "string", "uniqueItems": True}
        yield {"name": name, "in": "query", "schema": schema}


def _body(kind: Kind, name: str, verb: str) -> Object:
    if verb in ("create", "update"):
        return {"*/*": {"schema": _reference(name)}}
    if verb in ("delete", "deletecollection"):
        return {"*/*": {"schema": _reference(_DELETE_OPTIONS)}}
    if verb != "patch":
        return {}
    return {media: {"schema": _reference(_PATCH)} for media in patch_types(kind)}


def patch_types(kind: Kind) -> tuple[str, ...]:
    """The media types in which the kind takes a patch."""
    if kind.is_custom:
        return (JSON_PATCH, MERGE_PATCH, APPLY_PATCH)
    return (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)
