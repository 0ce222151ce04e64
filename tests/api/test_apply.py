import copy
import json
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motorpool.api import apps, core
from motorpool.api.apply import LAST_APPLIED, apply, track
from motorpool.api.errors import BadRequest, Conflict, Invalid, Unclassified
from motorpool.api.fieldsets import difference, union
from motorpool.api.kinds import STATUS, Kind
from tests.timing import slowness

T0, T1, T2 = (f"2026-11-20T17:09:1{digit}Z" for digit in "789")


def config_map(**data):
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}}
    return {**made, "data": data} if data else made


def applied(live, obj, manager, *, force=False, now=T1, kind=core.CONFIG_MAP, subresource=""):
    before = copy.deepcopy((live, obj))
    result = apply(
        live, obj, manager=manager, force=force, kind=kind, now=now, subresource=subresource
    )
    assert (live, obj) == before
    return result


def tracked(old, new, manager, *, now=T2, kind=core.CONFIG_MAP, subresource=""):
    before = copy.deepcopy((old, new))
    result = track(old, new, manager=manager, kind=kind, now=now, subresource=subresource)
    assert (old, new) == before
    return result


def owners(obj):
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"].get("managedFields", ())
    }


def fields(*names):
    return {"f:data": {f"f:{name}": {} for name in names}}


def test_the_story_of_two_appliers_as_the_real_server_tells_it():
    live = applied(None, config_map(a="1", b="1"), "m1", now=T0)
    assert owners(live) == {("m1", "Apply", ""): fields("a", "b")}

    assert applied(live, config_map(a="1", b="1"), "m1", now=T2) == live

    live = applied(live, config_map(a="1", b="1"), "m2")
    assert [(e["manager"], e["time"]) for e in live["metadata"]["managedFields"]] == [
        ("m1", T0), ("m2", T1),
    ]  # fmt: skip

    with pytest.raises(Conflict) as refusal:
        applied(live, config_map(a="2"), "m2")
    assert refusal.value.status() == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": 'Apply failed with 1 conflict: conflict with "m1": .data.a',
        "reason": "Conflict",
        "details": {"causes": [{"reason": "FieldManagerConflict",
                                "message": 'conflict with "m1"', "field": ".data.a"}]},
        "code": 409,
    }  # fmt: skip

    live = applied(live, config_map(a="2"), "m2", force=True)
    assert live["data"] == {"a": "2", "b": "1"}
    assert owners(live) == {("m1", "Apply", ""): fields("b"), ("m2", "Apply", ""): fields("a")}

    live = applied(live, config_map(b="1"), "m2")
    assert live["data"] == {"b": "1"}

    live = applied(live, config_map(b="1", c="3"), "m1")
    live = applied(live, config_map(c="3"), "m1")
    assert live["data"] == {"b": "1", "c": "3"}
    assert owners(live) == {("m1", "Apply", ""): fields("c"), ("m2", "Apply", ""): fields("b")}

    updated = {**live, "data": {"b": "1", "c": "9"}}
    live = tracked(live, updated, "u1")
    assert owners(live) == {("m2", "Apply", ""): fields("b"), ("u1", "Update", ""): fields("c")}

    with pytest.raises(Conflict) as refusal:
        applied(live, config_map(c="3"), "m1")
    assert str(refusal.value) == (
        'Apply failed with 1 conflict: conflict with "u1" using v1: .data.c'
    )


def test_several_conflicts_are_listed_by_manager():
    live = applied(None, config_map(a="1", b="1"), "m1")

    with pytest.raises(Conflict) as refusal:
        applied(live, config_map(a="2", b="2"), "m2")

    assert str(refusal.value) == (
        'Apply failed with 2 conflicts: conflicts with "m1":\n- .data.a\n- .data.b'
    )


@pytest.mark.parametrize(
    ("obj", "error", "text"),
    [
        (
            {**config_map(), "metadata": {"name": "s", "managedFields": [{"manager": "x"}]}},
            BadRequest,
            "metadata.managedFields must be nil",
        ),
        ({**config_map(), "kind": "Secret"}, BadRequest, "invalid object type: /v1, Kind=Secret"),
        ({"metadata": {"name": "s"}}, BadRequest, "invalid object type: /, Kind="),
        (
            config_map(c=5),
            Unclassified,
            (
                "failed to create typed patch object (/s; /v1, Kind=ConfigMap): .data.c: expected "
                "string, got &value.valueUnstructured{Value:5}"
            ),
        ),
        (
            {**config_map(), "bogus": 1},
            Unclassified,
            (
                "failed to create typed patch object (/s; /v1, Kind=ConfigMap): .bogus: field not "
                "declared in schema"
            ),
        ),
        (
            {**config_map(), "metadata": {"name": "s", "resourceVersion": "1"}},
            Conflict,
            (
                'Operation cannot be fulfilled on configmaps "s": the object has been modified; '
                "please apply your changes to the latest version and try again"
            ),
        ),
        (
            {**config_map(), "metadata": {"name": "s", "uid": "1"}},
            Invalid,
            'ConfigMap "s" is invalid: metadata.uid: Invalid value: "1": field is immutable',
        ),
    ],
)
def test_what_cannot_be_applied_is_refused_in_the_servers_words(obj, error, text):
    live = applied(None, config_map(a="1"), "m1")
    live["metadata"].update(resourceVersion="7", uid="u")

    with pytest.raises(error) as refusal:
        applied(live, obj, "m1")

    assert str(refusal.value) == text


def deployment(*containers, **spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "s1"},
        "spec": {
            "selector": {"matchLabels": {"x": "y"}},
            "template": {
                "metadata": {"labels": {"x": "y"}},
                "spec": {"containers": list(containers)},
            },
            **spec,
        },
    }


CONTAINER = {
    "name": "c",
    "image": "i",
    "args": ["1"],
    "env": [{"name": "A", "value": "1"}],
    "ports": [{"containerPort": 80}],
}


def stored(obj):
    """What the server keeps: with defaults."""
    obj = copy.deepcopy(obj)
    apps.DEPLOYMENT.default(obj)
    return obj


def test_an_applied_deployment_is_owned_leaf_by_leaf():
    live = applied(None, deployment(CONTAINER, replicas=1), "m1", kind=apps.DEPLOYMENT)

    assert owners(live)["m1", "Apply", ""] == {
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:x": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"c"}': {
                            ".": {},
                            "f:args": {},
                            "f:env": {
                                'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}
                            },
                            "f:image": {},
                            "f:name": {},
                            "f:ports": {
                                'k:{"containerPort":80,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                }
                            },
                        }
                    }
                },
            },
        }
    }  # fmt: skip


def test_scaling_takes_the_replicas_and_letting_go_of_them_is_fine():
    live = applied(None, deployment(CONTAINER, replicas=1), "m1", kind=apps.DEPLOYMENT)
    live = stored(live)
    scaled = {**live, "spec": {**live["spec"], "replicas": 3}}
    live = tracked(live, scaled, "unknown", kind=apps.DEPLOYMENT, subresource="scale")

    assert owners(live)["unknown", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners(live)["m1", "Apply", ""]["f:spec"]
    with pytest.raises(Conflict) as refusal:
        applied(live, deployment(CONTAINER, replicas=1), "m1", kind=apps.DEPLOYMENT)
    assert str(refusal.value) == (
        'Apply failed with 1 conflict: conflict with "unknown" with subresource "scale" using '
        "apps/v1: .spec.replicas"
    )
    live = applied(live, deployment(CONTAINER), "m1", kind=apps.DEPLOYMENT)
    assert live["spec"]["replicas"] == 3


def names(obj):
    return [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]]


def test_containers_come_and_go_with_their_owners():
    live = stored(applied(None, deployment(CONTAINER), "m1", kind=apps.DEPLOYMENT))
    sidecar = {"name": "sidecar", "image": "z"}
    live = stored(applied(live, deployment(sidecar), "m3", kind=apps.DEPLOYMENT))
    assert names(live) == ["c", "sidecar"]

    smaller = {"name": "c", "image": "i2", "env": [{"name": "B", "value": "2"}]}
    live = stored(applied(live, deployment(smaller), "m1", kind=apps.DEPLOYMENT))
    assert live["spec"]["template"]["spec"]["containers"] == [
        {
            "name": "c", "image": "i2", "env": [{"name": "B", "value": "2"}], "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always",
        },
        {
            "name": "sidecar", "image": "z", "resources": {},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always",
        },
    ]  # fmt: skip

    bare = {key: value for key, value in deployment().items() if key != "spec"}
    live = applied(live, bare, "m3", kind=apps.DEPLOYMENT)
    assert names(live) == ["c"]
    assert set(owners(live)) == {("m1", "Apply", "")}


def test_the_same_key_twice_is_refused():
    with pytest.raises(Unclassified) as refusal:
        applied(None, deployment(CONTAINER, CONTAINER), "m1", kind=apps.DEPLOYMENT)

    assert str(refusal.value) == (
        "failed to create typed patch object (/s1; apps/v1, Kind=Deployment): "
        '.spec.template.spec.containers: duplicate entries for key [name="c"]'
    )


def test_a_struct_that_is_no_longer_mentioned_goes_with_its_defaults():
    probed = {**CONTAINER, "readinessProbe": {"httpGet": {"port": 80}}}
    live = stored(applied(None, deployment(probed), "m1", kind=apps.DEPLOYMENT))
    assert "readinessProbe" in live["spec"]["template"]["spec"]["containers"][0]

    live = applied(live, deployment(CONTAINER), "m1", kind=apps.DEPLOYMENT)

    assert "readinessProbe" not in live["spec"]["template"]["spec"]["containers"][0]


def test_what_nobody_owns_stays_when_an_applier_drops_its_metadata():
    obj = config_map(a="1")
    obj["metadata"]["labels"] = {"l": "1"}
    live = applied(None, obj, "m1")
    live["metadata"].update(finalizers=["a.b/c"], uid="u", resourceVersion="3")

    live = applied(live, config_map(a="1"), "m1")

    assert "labels" not in live["metadata"]
    assert live["metadata"]["finalizers"] == ["a.b/c"]
    assert live["metadata"]["uid"] == "u"


def test_applying_an_amount_in_another_spelling_changes_nothing():
    def limited(cpu):
        return deployment({**CONTAINER, "resources": {"limits": {"cpu": cpu}}})

    live = stored(applied(None, limited("1"), "m1", kind=apps.DEPLOYMENT))

    assert applied(live, limited("1000m"), "m1", kind=apps.DEPLOYMENT, now=T2) == live


def test_a_new_object_belongs_to_who_made_it():
    made = tracked(None, config_map(k="v"), "unknown")

    assert made["metadata"]["managedFields"] == [
        {
            "manager": "unknown",
            "operation": "Update",
            "apiVersion": "v1",
            "time": T2,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:k": {}}},
        }
    ]
    assert "managedFields" not in tracked(None, config_map(), "unknown")["metadata"]


def test_an_update_that_changes_nothing_moves_no_time():
    made = tracked(None, config_map(k="v"), "u1", now=T0)

    assert tracked(made, copy.deepcopy(made), "u2", now=T2) == made
    without = {**made, "metadata": {"name": "s"}}
    assert tracked(made, without, "u2", now=T2)["metadata"] == made["metadata"]


def test_a_removed_field_belongs_to_nobody():
    made = tracked(None, config_map(a="1", b="1"), "u1", now=T0)
    made = tracked(made, {**made, "data": {"b": "1"}}, "u2")

    assert owners(made) == {("u1", "Update", ""): {"f:data": {".": {}, "f:b": {}}}}
    made = tracked(made, {key: made[key] for key in made if key != "data"}, "u2")
    assert owners(made) == {}


def test_a_client_can_give_up_all_ownership():
    made = tracked(None, config_map(k="v"), "u1")

    for nothing in ([], [{}]):
        sent = {**made, "metadata": {**made["metadata"], "managedFields": nothing}}
        assert owners(tracked(made, sent, "u2")) == {}


def test_the_number_of_updaters_is_bounded():
    made = tracked(None, config_map(k0="v"), "u00", now="2026-01-01T00:00:00Z")
    for number in range(1, 30):
        data = {**made["data"], f"k{number}": "v"}
        now = f"2026-01-01T00:00:{number:02d}Z"
        made = tracked(made, {**made, "data": data}, f"u{number:02d}", now=now)

    assert len(owners(made)) == 10
    assert "f:k5" in owners(made)["ancient-changes", "Update", ""]["f:data"]


WIDGET = Kind(
    group="ex.io", version="v1", kind="Widget", plural="widgets", singular="widget",
    is_custom=True, subresources=(STATUS,),
)  # fmt: skip


def test_status_has_its_own_owner():
    widget = {"apiVersion": "ex.io/v1", "kind": "Widget", "metadata": {"name": "w"},
              "spec": {"size": 1}}  # fmt: skip
    made = tracked(None, {**widget, "status": {"x": 1}}, "user", kind=WIDGET)
    assert owners(made) == {("user", "Update", ""): {"f:spec": {".": {}, "f:size": {}}}}

    new = {**made, "status": {"phase": "X"}}
    made = tracked(made, new, "ctl", kind=WIDGET, subresource="status")
    assert owners(made)["ctl", "Update", "status"]["f:status"].keys() >= {"f:phase"}

    status = {**widget, "status": {"phase": "Y"}}
    with pytest.raises(Conflict):
        applied(made, status, "m", kind=WIDGET, subresource="status")
    made = applied(made, status, "m", kind=WIDGET, subresource="status", force=True)
    assert made["status"]["phase"] == "Y"
    assert made["spec"] == {"size": 1}


def test_kubectl_may_take_over_what_it_applied_on_the_client_side():
    obj = config_map(a="1")
    annotations = {LAST_APPLIED: json.dumps(config_map(a="1"))}
    obj["metadata"]["annotations"] = annotations
    live = tracked(None, obj, "kubectl-client-side-apply")

    live = applied(live, config_map(a="2"), "kubectl")

    assert live["data"] == {"a": "2"}
    recorded = live["metadata"]["annotations"][LAST_APPLIED]
    assert json.loads(recorded)["data"] == {"a": "2"}


def test_owner_references_and_finalizers_are_merged_by_element():
    def owned(uid, finalizer):
        obj = config_map()
        owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}
        obj["metadata"].update(ownerReferences=[owner], finalizers=[finalizer])
        return obj

    live = applied(None, owned("1", "a/b"), "m1")
    live = applied(live, owned("2", "c/d"), "m2")

    assert [owner["uid"] for owner in live["metadata"]["ownerReferences"]] == ["1", "2"]
    assert live["metadata"]["finalizers"] == ["a/b", "c/d"]
    live = applied(live, config_map(), "m1")
    assert [owner["uid"] for owner in live["metadata"]["ownerReferences"]] == ["2"]
    assert live["metadata"]["finalizers"] == ["c/d"]


NAMES = st.sampled_from("abc")
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "image": NAMES},
        optional={
            "args": st.lists(NAMES, max_size=2),
            "env": st.lists(
                st.fixed_dictionaries({"name": NAMES, "value": NAMES}),
                unique_by=lambda e: e["name"],
            ),
        },
    ),
    unique_by=lambda c: c["name"],
    min_size=1,
)
DEPLOYMENTS = CONTAINERS.map(lambda containers: deployment(*containers))


@settings(max_examples=60)
@given(DEPLOYMENTS, DEPLOYMENTS)
def test_applying_twice_changes_nothing(first, second):
    live = stored(applied(None, first, "m1", kind=apps.DEPLOYMENT))
    live = stored(applied(live, second, "m2", force=True, kind=apps.DEPLOYMENT))

    again = stored(applied(live, second, "m2", now=T2, kind=apps.DEPLOYMENT))

    assert again == live


@settings(max_examples=60)
@given(DEPLOYMENTS, DEPLOYMENTS)
def test_the_only_applier_gets_just_what_it_applies(first, second):
    live = applied(None, first, "m1", kind=apps.DEPLOYMENT)
    live = applied(live, second, "m1", kind=apps.DEPLOYMENT)

    def by_name(obj):
        found = obj["spec"]["template"]["spec"]["containers"]
        return {c["name"]: {k: v for k, v in c.items() if k != "env" or v} for c in found}

    wanted = by_name(second)
    for name, container in by_name(live).items():
        if "env" in container:
            container["env"].sort(key=lambda e: e["name"])
            wanted[name]["env"].sort(key=lambda e: e["name"])
        assert {k: v for k, v in container.items() if v} == {
            k: v for k, v in wanted[name].items() if v
        }
    assert by_name(live).keys() == wanted.keys()


TREES = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", "f:c"]), inner, min_size=1),
    max_leaves=8,
).filter(bool)


@given(TREES, TREES)
def test_what_is_taken_from_a_union_is_gone(left, right):
    both = union(left, right)

    assert union(both, right) == both
    assert difference(right, both) is None
    assert difference(left, both) is None


def test_an_apply_is_fast():
    obj = deployment(*({**CONTAINER, "name": name} for name in "abc"), replicas=1)
    live = stored(applied(None, obj, "m1", kind=apps.DEPLOYMENT))

    best = min(
        timeit.repeat(
            lambda: apply(live, obj, manager="m1", force=True, kind=apps.DEPLOYMENT, now=T2),
            number=20,
            repeat=5,
        )
    )

    assert (
        best / 20 < 0.005 * slowness()
    )  # five times what it takes here: a loop that repeats work shows
