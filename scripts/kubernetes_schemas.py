"""Writes src/motorpool/api/data/kinds.json: the structure of the built-in kinds, without prose.

Usage: python scripts/kubernetes_schemas.py        (needs the package kubernetes-validate)

What is kept: types, formats, required fields, references, list and map types, merge keys and
strategies, defaults. Types that are strings or numbers by turns (Quantity, IntOrString)
and untyped parts (FieldsV1, RawExtension) are written out where they are used.
"""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from motorpool.api.scheme import KINDS

RELEASE = "v1.32.0"
OUTPUT = Path(__file__).parent.parent / "src/motorpool/api/data/kinds.json"

# Served by the API server beside the kinds of the scheme.
MORE = (
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.core.v1.Binding",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
)

WRITTEN_OUT: dict[str, dict[str, Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "x-kubernetes-int-or-string": True, "format": "quantity",
    },
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "x-kubernetes-int-or-string": True, "format": "int-or-string",
    },
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
        "x-kubernetes-map-type": "atomic",
    },
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": True,
    },
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "string", "format": "date-time"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": {"type": "string", "format": "date-time"},
}  # fmt: skip

KEPT = (
    "format", "required", "default", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "x-kubernetes-patch-merge-key",
    "x-kubernetes-patch-strategy",
)  # fmt: skip

# Otherwise each kind would list every version of its group here.
OF_EVERY_OBJECT = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}

# Defaults that are part of a list's merge key, which the published schemas leave out.
CORRECTIONS: dict[str, dict[str, Any]] = {
    "io.k8s.api.core.v1.ContainerPort/protocol": {"default": "TCP"},
    "io.k8s.api.core.v1.ServicePort/protocol": {"default": "TCP"},
}


def compact(schema: dict[str, Any], found: set[str]) -> dict[str, Any]:
    reference = schema.get("$ref") or next(
        (part["$ref"] for part in schema.get("allOf", ()) if "$ref" in part), None
    )
    if reference:
        name = reference.rpartition("/")[2]
        if name in WRITTEN_OUT:
            extra = {key: schema[key] for key in KEPT if key in schema}
            return {**WRITTEN_OUT[name], **extra}
        found.add(name)
        return {"$ref": name}
    result: dict[str, Any] = {}
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next(one for one in kind if one != "null")
    if kind:
        result["type"] = kind
    result.update({key: schema[key] for key in KEPT if key in schema})
    if "apiVersion" in schema.get("properties", {}):
        schema = {**schema, "properties": {**schema["properties"], **OF_EVERY_OBJECT}}
    if "items" in schema:
        result["items"] = compact(schema["items"], found)
    if isinstance(schema.get("additionalProperties"), dict):
        result["additionalProperties"] = compact(schema["additionalProperties"], found)
    if "properties" in schema:
        result["properties"] = {
            name: compact(child, found) for name, child in schema["properties"].items()
        }
    elif kind == "object" and "additionalProperties" not in result:
        result["x-kubernetes-preserve-unknown-fields"] = True
    return result


def main() -> None:
    folder = files("kubernetes_validate").joinpath(f"kubernetes-json-schema/{RELEASE}-local")
    definitions = json.loads(folder.joinpath("_definitions.json").read_text())
    definitions = definitions.get("$defs") or definitions["definitions"]
    wanted = {(kind.group, kind.version, kind.kind) for kind in KINDS if not kind.is_custom}
    roots = {}
    for name, schema in definitions.items():
        for gvk in schema.get("x-kubernetes-group-version-kind", ()):
            key = (gvk["group"], gvk["version"], gvk["kind"])
            if key in wanted:
                roots["/".join(key)] = name
    queue, done = {*roots.values(), *MORE}, {}
    while queue:
        name = queue.pop()
        found: set[str] = set()
        done[name] = compact(definitions[name], found)
        queue |= found - done.keys()
    for path, extra in CORRECTIONS.items():
        name, _, field = path.partition("/")
        if name in done:
            done[name]["properties"][field].update(extra)
    rows = [
        f"{json.dumps(name)}: {json.dumps(done[name], separators=(',', ':'), sort_keys=True)}"
        for name in sorted(done)
    ]
    index = json.dumps(dict(sorted(roots.items())))
    OUTPUT.write_text(
        f'{{"release": "{RELEASE}", "kinds": {index},\n"types": {{\n' + ",\n".join(rows) + "\n}}\n"
    )
    print(f"{len(rows)} types, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
