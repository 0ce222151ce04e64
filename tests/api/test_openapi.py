import json

import pytest

from motorpool.api import apps, core, openapi, scheme
from motorpool.api.kinds import STATUS, Kind

WIDGET = Kind(
    group="ex.io", version="v1", kind="Widget", plural="widgets", singular="widget",
    is_custom=True, subresources=(STATUS,),
    schema=lambda: {
        "type": "object",
        "description": "A thing with a size",
        "properties": {
            "spec": {
                "type": "object",
                "description": "What is wanted",
                "properties": {"size": {"type": "integer", "description": "In units"}},
            }
        },
    },
)  # fmt: skip
KINDS = (*scheme.KINDS, WIDGET)
GROUP_VERSIONS = sorted({(kind.group, kind.version) for kind in KINDS})


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


@pytest.mark.parametrize(("group", "version"), GROUP_VERSIONS)
def test_every_kind_has_a_patch_that_validates_fields(group, version):
    found = openapi.document(group, version, KINDS)

    for kind in (k for k in KINDS if (k.group, k.version) == (group, version)):
        if "patch" not in kind.verbs:
            continue
        gvk = {"group": group, "version": version, "kind": kind.kind}
        patches = [
            item["patch"]
            for item in found["paths"].values()
            if item.get("patch", {}).get("x-kubernetes-group-version-kind") == gvk
        ]
        assert patches
        for patch in patches:
            assert {"fieldValidation", "force"} <= {p["name"] for p in patch["parameters"]}
            strategic = "application/strategic-merge-patch+json"
            assert (strategic in patch["requestBody"]["content"]) != kind.is_custom
        named = [
            name
            for name, schema in found["components"]["schemas"].items()
            if gvk in schema.get("x-kubernetes-group-version-kind", [])
        ]
        assert named == [openapi.type_name(kind)]


@pytest.mark.parametrize(("group", "version"), GROUP_VERSIONS)
def test_every_reference_leads_somewhere(group, version):
    found = openapi.document(group, version, KINDS)

    schemas = found["components"]["schemas"]
    missing = {r for r in references(found) if r.rpartition("/")[2] not in schemas}
    assert missing == set()
    assert "x-motorpool" not in json.dumps(found)


def test_lists_say_how_they_merge():
    found = openapi.document("apps", "v1", [apps.DEPLOYMENT])

    containers = found["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"][
        "containers"
    ]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["items"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}


def test_the_paths_are_those_of_the_kind():
    assert sorted(openapi.document("ex.io", "v1", [WIDGET])["paths"]) == [
        "/apis/ex.io/v1/namespaces/{namespace}/widgets",
        "/apis/ex.io/v1/namespaces/{namespace}/widgets/{name}",
        "/apis/ex.io/v1/namespaces/{namespace}/widgets/{name}/status",
        "/apis/ex.io/v1/widgets",
    ]
    assert "/api/v1/namespaces/{name}/finalize" in openapi.document("", "v1", [core.NAMESPACE])[
        "paths"
    ]  # fmt: skip
