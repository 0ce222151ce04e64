"""Which definitions are refused, in the words of the Kubernetes API."""

from copy import deepcopy

import pytest

from motorpool.api.definition_nodes import schema_errors
from motorpool.api.definition_rules import definition_errors
from motorpool.api.definitions import default_definition, kinds_of, observed
from tests.definitions.objects import definition, schema_version, version

NOW = "2026-01-01T00:00:00Z"


def refused(obj, old=None):
    default_definition(obj)
    return [str(error) for error in definition_errors(obj, old)]


def changed(path, value):
    """The usual definition with something else at *path*."""
    obj = definition()
    node = obj
    for step in path[:-1]:
        node = node[step]
    if value is None:
        node.pop(path[-1], None)
    else:
        node[path[-1]] = value
    return obj


def test_a_good_definition():
    assert refused(definition()) == []


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (
            ("metadata", "name"),
            "bad.ex.io",
            'metadata.name: Invalid value: "bad.ex.io": must be spec.names.plural+"."+spec.group',
        ),
        (("spec", "scope"), None, "spec.scope: Required value"),
        (
            ("spec", "scope"),
            "World",
            'spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"',
        ),
        (("spec", "names", "kind"), None, "spec.names.kind: Required value"),
        (
            ("spec", "names", "listKind"),
            "Widget",
            'spec.names.listKind: Invalid value: "Widget": kind and listKind may not be the same',
        ),
        (
            ("spec", "conversion"),
            {"strategy": "Webhook"},
            'spec.conversion.strategy: Unsupported value: "Webhook": supported values: "None"',
        ),
        (
            ("spec", "versions", 0, "schema"),
            None,
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            ("spec", "versions", 0, "additionalPrinterColumns", 0, "type"),
            "float",
            (
                "spec.versions[0].additionalPrinterColumns[0].type: Invalid value: "
                '"float": must be one of boolean,date,integer,number,string'
            ),
        ),
        (
            ("spec", "versions", 0, "subresources", "scale", "specReplicasPath"),
            ".status.x",
            (
                "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: "
                '".status.x": should be a json path under .spec'
            ),
        ),
        (
            ("spec", "versions", 0, "selectableFields"),
            [{"jsonPath": ".spec.any"}],
            (
                "spec.versions[0].selectableFields[0].jsonPath: Invalid value: "
                '".spec.any": must point to a field of type string, boolean or integer'
            ),
        ),
    ],
)
def test_one_mistake(path, value, text):
    assert refused(changed(path, value)) == [text]


def test_exactly_one_version_is_stored():
    for storage in (False, True):
        obj = definition(version(storage=storage), version("v2", storage=storage))
        (error,) = refused(obj)
        assert error.startswith("spec.versions: Invalid value: []apiextensions.")
        assert error.endswith("must have exactly one version marked as storage version")
    (error,) = refused(definition(version(), version(storage=False)))
    assert error.endswith("must contain unique version names")


def test_protected_groups_need_an_approval():
    obj = definition(group="ex.k8s.io")
    obj["metadata"]["name"] = "widgets.ex.k8s.io"
    (error,) = refused(obj)
    assert error.startswith("metadata.annotations[api-approved.kubernetes.io]: Required value:")
    obj["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test"}
    assert refused(obj) == []


def established(obj):
    default_definition(obj)
    return {**obj, "status": {"storedVersions": ["v1"], **observed(obj, [], NOW)}}


def test_what_may_not_change():
    old = established(definition())
    new = deepcopy(old)
    new["spec"]["scope"] = "Cluster"
    assert refused(new, old) == ['spec.scope: Invalid value: "Cluster": field is immutable']


def test_a_stored_version_may_not_go():
    old = established(definition())
    new = {**definition(version("v2")), "status": old["status"]}
    assert refused(new, old) == [
        'status.storedVersions[0]: Invalid value: "v1": missing from spec.versions'
    ]


@pytest.mark.parametrize(
    ("node", "text"),
    [
        ({}, "type: Required value: must not be empty for specified object fields"),
        ({"type": "text"}, 'type: Unsupported value: "text"'),
        ({"type": "array"}, "items: Required value: must be specified"),
        (
            {"type": "array", "items": {}},
            "items.type: Required value: must not be empty for specified array items",
        ),
        ({"type": "object", "$ref": "#/x"}, "$ref: Forbidden: $ref is not supported"),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            (
                "uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime "
                "complexity becomes quadratic"
            ),
        ),
        (
            {"type": "object", "additionalProperties": False},
            "additionalProperties: Forbidden: additionalProperties cannot be set to false",
        ),
        ({"type": "string", "pattern": "("}, "must be a valid regular expression, but isn't"),
        (
            {"type": "string", "x-kubernetes-int-or-string": True},
            'type: Invalid value: "string": must be empty if x-kubernetes-int-or-string is true',
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            (
                "properties: Required value: must not be empty if "
                "x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields"
            ),
        ),
        (
            {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"},
            (
                "x-kubernetes-list-map-keys: Required value: must not be empty if "
                "x-kubernetes-list-type is map"
            ),
        ),
        (
            {"type": "string", "anyOf": [{"type": "string"}]},
            "anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "not": {"properties": {"x": {"enum": ["a"]}}}},
            "not.properties[x]: Required value: because it is defined in",
        ),
        ({"type": "integer", "default": "x"}, "default in body must be of type integer"),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "default": {"b": 1}},
            "must not have unknown fields",
        ),
    ],
)
def test_a_schema_must_be_structural(node, text):
    root = schema_version({"field": node})["schema"]["openAPIV3Schema"]
    found = [str(error) for error in schema_errors(root, "s")]
    assert len(found) == 1
    assert text in found[0]
    assert "s.properties[spec].properties[field]" in found[0]


def test_the_root_and_its_metadata():
    root = {"type": "object", "properties": {"metadata": {"type": "object", "minProperties": 1}}}
    assert [str(error) for error in schema_errors(root, "s")] == [
        (
            "s.properties[metadata]: Forbidden: must not specify anything other than name and "
            "generateName, but metadata is implicitly specified"
        )
    ]
    assert [str(error) for error in schema_errors({"properties": {}}, "s")] == [
        "s.type: Required value: must not be empty at the root"
    ]


def test_a_definition_becomes_a_kind_for_each_served_version():
    old = {**schema_version({}, "v1alpha1"), "storage": False}
    hidden = {**schema_version({}, "v0"), "storage": False, "served": False}
    found = kinds_of(established(definition(version(), old, hidden)))
    assert [kind.api_version for kind in found] == ["ex.io/v1", "ex.io/v1alpha1"]
    assert found[0].is_custom
    assert [sub.name for sub in found[0].subresources] == ["status", "scale"]
    assert found[1].subresources == ()
    assert kinds_of({**definition(), "status": {}}) == ()


def test_the_metadata_of_a_kind_may_be_narrowed():
    made = schema_version({})
    name = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}}
    made["schema"]["openAPIV3Schema"]["properties"]["metadata"] = name
    (kind,) = kinds_of(established(definition(made)))
    assert list(kind.validate({"metadata": {"name": "abc"}}, None)) == []
    (error,) = kind.validate({"metadata": {"name": "abcd"}}, None)
    assert error.path == "metadata.name"
