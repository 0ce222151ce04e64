import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorpool.api import apps, core, scheme
from motorpool.api.schema import (
    decode_error,
    fill_defaults,
    of,
    type_errors,
    unknown_fields,
    without_unknown,
)


def deployment(**container):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": {"any": "thing"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i", **container}]},
            },
        },
    }


DEPLOYMENT = of(apps.DEPLOYMENT)


def test_a_good_deployment_has_nothing_to_complain_about():
    good = deployment(
        ports=[{"containerPort": 80}],
        resources={"limits": {"cpu": 1, "memory": "1Gi", "example.com/gpu": "1"}},
        readinessProbe={"httpGet": {"port": "http"}},
    )

    assert unknown_fields(good, DEPLOYMENT) == []
    assert without_unknown(good, DEPLOYMENT) is good
    assert decode_error(good, DEPLOYMENT) is None


def test_unknown_fields_are_named_by_path_in_the_order_of_the_text():
    bad = deployment(imagee="x")
    bad["spec"]["bogus"] = 1
    bad["metadata"]["naame"] = "x"

    assert unknown_fields(bad, DEPLOYMENT) == [
        "metadata.naame",
        "spec.template.spec.containers[0].imagee",
        "spec.bogus",
    ]
    before = copy.deepcopy(bad)
    assert without_unknown(bad, DEPLOYMENT) == deployment()
    assert bad == before


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "spec.replicas",
            "x",
            (
                "json: cannot unmarshal string into Go struct field "
                "DeploymentSpec.spec.replicas of type int32"
            ),
        ),
        (
            "spec.replicas",
            2**40,
            (
                "json: cannot unmarshal number 1099511627776 into Go struct field "
                "DeploymentSpec.spec.replicas of type int32"
            ),
        ),
        (
            "metadata.labels",
            {"a": 1},
            (
                "json: cannot unmarshal number into Go struct field "
                "ObjectMeta.metadata.labels of type string"
            ),
        ),
        (
            "spec.template.spec.containers",
            {},
            (
                "json: cannot unmarshal object into Go struct field "
                "PodSpec.spec.template.spec.containers of type []v1.Container"
            ),
        ),
        (
            "spec.template",
            [],
            (
                "json: cannot unmarshal array into Go struct field DeploymentSpec.spec.template of "
                "type v1.PodTemplateSpec"
            ),
        ),
        (
            "metadata.creationTimestamp",
            "x",
            'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"',
        ),
    ],
)
def test_a_wrong_type_is_told_in_go_words(path, value, message):
    bad = deployment()
    *parents, last = path.split(".")
    target = bad
    for step in parents:
        target = target[step]
    target[last] = value

    assert decode_error(bad, DEPLOYMENT) == message


def test_a_secret_that_is_no_base64_is_refused_as_the_real_server_does():
    secret = {"data": {"a": "!"}}

    assert decode_error(secret, of(core.SECRET)) == "illegal base64 data at input byte 0"


def test_a_quantity_must_look_like_one():
    bad = deployment(resources={"limits": {"cpu": "lots"}})

    assert str(decode_error(bad, DEPLOYMENT)).startswith("quantities must match the regular")


@pytest.mark.parametrize("kind", scheme.KINDS, ids=lambda kind: kind.kind)
def test_every_kind_knows_metadata(kind):
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "a", "x": 1}}

    assert unknown_fields(obj, of(kind)) == ["metadata.x"]


SPEC = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
        "size": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
        "mode": {"type": "string", "enum": ["b", "a"], "default": "a"},
        "nul": {"type": "string", "nullable": True},
        "when": {"type": "string", "format": "date-time"},
        "ios": {"x-kubernetes-int-or-string": True},
        "m": {"type": "object", "additionalProperties": {"type": "integer"}},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "list": {
            "type": "array",
            "maxItems": 3,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["n"],
            "items": {
                "type": "object",
                "required": ["n"],
                "properties": {"n": {"type": "string"}, "v": {"type": "string", "default": "d"}},
            },
        },
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "one": {"type": "object", "properties": {"a": {}, "b": {}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        "tpl": {"type": "object", "x-kubernetes-embedded-resource": True,
                "properties": {"q": {"type": "string"}}},
    },
}  # fmt: skip
WIDGET = {"type": "object", "properties": {"spec": SPEC}}


def widget(**spec):
    return {"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"name": "w"},
            "spec": {"name": "abc", **spec}}  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"size": 0},
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
        ),
        (
            {"size": 11},
            "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10",
        ),
        (
            {"size": "x"},
            (
                'spec.size: Invalid value: "string": spec.size in body must be of type integer: '
                '"string"'
            ),
        ),
        (
            {"size": 1.5},
            (
                'spec.size: Invalid value: "number": spec.size in body must be of type integer: '
                '"number"'
            ),
        ),
        ({"mode": "c"}, 'spec.mode: Unsupported value: "c": supported values: "a", "b"'),
        (
            {"list": [{"n": "1"}, {"n": "1"}]},
            'spec.list[1]: Duplicate value: map[string]interface {}{"n":"1"}',
        ),
        ({"list": [{"v": "1"}]}, "spec.list[0].n: Required value"),
        (
            {"when": "xx"},
            'spec.when: Invalid value: "xx": spec.when in body must be of type date-time: "xx"',
        ),
        (
            {"ios": True},
            (
                'spec.ios: Invalid value: "boolean": spec.ios in body must be of type '
                'integer,string: "boolean"'
            ),
        ),
        (
            {"m": {"a": "b"}},
            'spec.m.a: Invalid value: "string": spec.m.a in body must be of type integer: "string"',
        ),
        ({"set": ["a", "a"]}, 'spec.set[1]: Duplicate value: "a"'),
        (
            {"name": "A1"},
            """spec.name: Invalid value: "A1": spec.name in body should match '^[a-z]+$'""",
        ),
        (
            {"name": "a"},
            'spec.name: Invalid value: "a": spec.name in body should be at least 2 chars long',
        ),
        ({"name": "abcde"}, "spec.name: Too long: may not be more than 4 bytes"),
        (
            {"list": [{"n": n} for n in "abcd"]},
            "spec.list: Too many: 4: must have at most 3 items",
        ),
        (
            {"one": {}},
            (
                'spec.one: Invalid value: "object": "spec.one" must validate one and only one '
                "schema (oneOf). Found none valid"
            ),
        ),
    ],
)
def test_a_custom_resource_is_refused_in_the_servers_words(spec, text):
    assert [str(error) for error in type_errors(widget(**spec), WIDGET)] == [text]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"nul": None},
        {"ios": 5},
        {"ios": "50%"},
        {"any": {"x": [1]}},
        {"when": "2026-01-01T00:00:00Z"},
        {"one": {"a": 1}},
        {"size": 5.0},
    ],
)
def test_a_custom_resource_that_fits_is_taken(spec):
    assert type_errors(widget(**spec), WIDGET) == []


def test_rules_that_could_not_run_are_mentioned():
    schema = {**WIDGET, "x-kubernetes-validations": [{"rule": "self.spec.size != 7"}]}

    errors = type_errors(widget(size="x"), schema)

    assert [error.path for error in errors] == ["spec.size", "<nil>"]


def test_defaults_are_filled_where_the_parent_is():
    obj = widget(list=[{"n": "1"}], mode=None, nul=None, when=None)
    fill_defaults(obj, WIDGET)

    assert obj["spec"] == {
        "name": "abc", "size": 3, "mode": "a", "nul": None, "list": [{"n": "1", "v": "d"}],
    }  # fmt: skip

    bare = {"metadata": {}}
    fill_defaults(bare, WIDGET)
    assert bare == {"metadata": {}}


@given(st.sampled_from([{}, {"size": 4}, {"list": [{"n": "1"}, {"n": "2", "v": "x"}]}]))
def test_filling_defaults_twice_changes_nothing(spec):
    obj = widget(**copy.deepcopy(spec))
    fill_defaults(obj, WIDGET)
    once = copy.deepcopy(obj)
    fill_defaults(obj, WIDGET)

    assert obj == once


def test_unknown_fields_of_a_custom_resource_go_but_not_below_an_open_part():
    obj = widget(bogus=1, any={"x": 1}, tpl={"kind": "K", "metadata": {"name": "n"}, "z": 1})

    assert unknown_fields(obj, WIDGET) == ["spec.bogus", "spec.tpl.z"]
    assert without_unknown(obj, WIDGET)["spec"] == {
        "name": "abc", "any": {"x": 1}, "tpl": {"kind": "K", "metadata": {"name": "n"}},
    }  # fmt: skip
