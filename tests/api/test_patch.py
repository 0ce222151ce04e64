import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motorpool.api import apps, schema
from motorpool.api.errors import BadRequest, Invalid, RequestEntityTooLarge, Unclassified
from motorpool.api.patch import json_patch, merge_patch, strategic_merge_patch

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("operations", "result"),
    [
        ([{"op": "add", "path": "/b", "value": 1}], {"a": [1, 2], "b": 1}),
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2]}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ([{"op": "replace", "path": "/new", "value": 5}], {"a": [1, 2], "new": 5}),
        ([{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1, 2], "b": [1, 2]}),
        ([{"op": "move", "from": "/a", "path": "/x~1y~0z"}], {"x/y~z": [1, 2]}),
        (
            [{"op": "test", "path": "/a/1", "value": 2}, {"op": "remove", "path": "/a"}],
            {},
        ),
    ],
)
def test_json_patch_operations(operations, result):
    before = {"a": [1, 2]}

    assert json_patch(before, operations) == result
    assert before == {"a": [1, 2]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": [2]},
        {"op": "test", "path": "/a/0", "value": True},
        {"op": "remove", "path": "/nope"},
        {"op": "add", "path": "/nope/x", "value": 1},
        {"op": "add", "path": "/a/9", "value": 1},
        {"op": "bogus", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "move", "from": "/a", "path": "/a/b"},
    ],
)
def test_an_operation_that_does_not_fit_is_unprocessable(operation):
    with pytest.raises(Invalid) as refusal:
        json_patch({"a": [1]}, [operation])

    assert str(refusal.value) == "the server rejected our request due to an error in our request"


def test_too_many_operations_are_refused():
    with pytest.raises(BadRequest):
        json_patch({}, [{"op": "test", "path": "/a"}] * 10_001)


def test_copies_into_itself_are_bounded():
    operations = [{"op": "copy", "from": "", "path": f"/x{i}"} for i in range(64)]

    with pytest.raises(RequestEntityTooLarge):
        json_patch({"a": "some text"}, operations)


@given(JSON, JSON)
def test_a_merge_patch_twice_is_a_merge_patch_once(obj, patch):
    before = copy.deepcopy((obj, patch))
    once = merge_patch(obj, patch)

    assert merge_patch(once, patch) == once
    assert (obj, patch) == before


DEPLOYMENT = schema.built_in("apps", "v1", "Deployment")()


def deployment():
    return {
        "metadata": {"labels": {"l": "1"}, "finalizers": ["x/y"]},
        "spec": {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {
                "spec": {
                    "volumes": [{"name": "v", "emptyDir": {}}],
                    "tolerations": [{"key": "k", "operator": "Exists"}],
                    "containers": [
                        {
                            "name": "a",
                            "image": "i",
                            "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
                            "args": ["1", "2"],
                            "ports": [{"containerPort": 80}, {"containerPort": 81}],
                        },
                        {"name": "b", "image": "i"},
                    ],
                }
            },
        },
    }


def patched(pod_spec):
    before = deployment()
    result = strategic_merge_patch(before, {"spec": {"template": {"spec": pod_spec}}}, DEPLOYMENT)
    assert before == deployment()
    return result["spec"]["template"]["spec"]


def names(items):
    return [item["name"] for item in items]


def test_an_element_is_merged_by_its_key():
    containers = patched({"containers": [{"name": "b", "image": "i2"}]})["containers"]

    assert names(containers) == ["a", "b"]
    assert containers[1] == {"name": "b", "image": "i2"}


def test_a_new_element_comes_first():
    assert names(patched({"containers": [{"name": "c"}]})["containers"]) == ["c", "a", "b"]


def test_elements_come_in_the_order_that_the_patch_sets():
    spec = patched(
        {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c"}, {"name": "b", "image": "i9"}],
        }
    )

    assert names(spec["containers"]) == ["b", "c", "a"]
    assert not any(key.startswith("$") for key in spec)


def test_an_element_that_the_order_does_not_name_keeps_its_place():
    spec = patched(
        {
            "$setElementOrder/containers": [{"name": "a"}, {"name": "c"}],
            "containers": [{"name": "c"}],
        }
    )

    assert names(spec["containers"]) == ["a", "b", "c"]


def test_an_element_is_deleted_by_its_key():
    spec = patched(
        {
            "containers": [
                {
                    "name": "a",
                    "env": [{"name": "X", "$patch": "delete"}, {"name": "Z", "value": "3"}],
                    "ports": [{"containerPort": 81, "$patch": "delete"}],
                    "args": ["9"],
                },
                {"name": "b", "$patch": "delete"},
            ]
        }
    )

    assert names(spec["containers"]) == ["a"]
    assert names(spec["containers"][0]["env"]) == ["Z", "Y"]
    assert spec["containers"][0]["args"] == ["9"]
    assert spec["containers"][0]["ports"] == [{"containerPort": 80}]


def test_a_list_is_replaced_on_demand():
    spec = patched({"containers": [{"$patch": "replace"}, {"name": "only", "image": "o"}]})

    assert spec["containers"] == [{"name": "only", "image": "o"}]


def test_a_list_without_strategy_is_replaced():
    assert patched({"tolerations": [{"key": "z"}]})["tolerations"] == [{"key": "z"}]
    assert "tolerations" not in patched({"tolerations": None})


def test_retain_keys_drops_the_others():
    volume = {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}

    assert patched({"volumes": [volume]})["volumes"] == [{"name": "v", "hostPath": {"path": "/x"}}]


def test_an_element_without_its_key_is_an_error():
    with pytest.raises(Unclassified) as refusal:
        patched({"containers": [{"image": "nokey"}]})

    assert str(refusal.value) == ("map: map[image:nokey] does not contain declared merge key: name")
    assert "reason" not in refusal.value.status()


@pytest.mark.parametrize(
    ("patch", "metadata"),
    [
        ({"finalizers": ["a.b/c"]}, {"labels": {"l": "1"}, "finalizers": ["a.b/c", "x/y"]}),
        (
            {"$deleteFromPrimitiveList/finalizers": ["x/y"]},
            {"labels": {"l": "1"}, "finalizers": []},
        ),
        (
            {"labels": {"$patch": "replace", "q": "1"}},
            {"labels": {"q": "1"}, "finalizers": ["x/y"]},
        ),
        ({"labels": {"$patch": "delete"}}, {"finalizers": ["x/y"]}),
        ({"labels": {"q": "1", "l": None}}, {"labels": {"q": "1"}, "finalizers": ["x/y"]}),
    ],
)
def test_directives_on_maps_and_primitive_lists(patch, metadata):
    assert (
        strategic_merge_patch(deployment(), {"metadata": patch}, DEPLOYMENT)["metadata"] == metadata
    )


def test_a_kind_gives_its_schema():
    assert apps.DEPLOYMENT.schema() is DEPLOYMENT


ENVIRONMENTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("XYZ")}, optional={"value": st.text(max_size=2)}
    ),
    unique_by=lambda variable: variable["name"],
)
POD_PATCHES = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc")},
        optional={
            "image": st.none() | st.text(max_size=2),
            "env": ENVIRONMENTS,
            "$patch": st.just("delete"),
        },
    ),
    unique_by=lambda container: container["name"],
)


@given(POD_PATCHES)
def test_a_strategic_patch_twice_is_a_strategic_patch_once(containers):
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    once = strategic_merge_patch(deployment(), patch, DEPLOYMENT)

    assert strategic_merge_patch(once, patch, DEPLOYMENT) == once
