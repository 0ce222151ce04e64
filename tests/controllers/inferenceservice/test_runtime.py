"""Which runtime is chosen, and what a user reads when none fits."""

import pytest

from motorpool.controllers.inferenceservice.refusal import Refusal
from motorpool.controllers.inferenceservice.runtime import selected
from tests.controllers.inferenceservice.objects import isvc, runtime, shipped


def name_for(wanted, namespaced=(), cluster=()):
    chosen = selected(wanted, namespaced, cluster)
    return ("cluster/" if chosen.is_cluster else "") + chosen.name


def refusal_of(wanted, namespaced=(), cluster=()):
    with pytest.raises(Refusal) as caught:
        selected(wanted, namespaced, cluster)
    return caught.value.reason, caught.value.message


def formats(*entries):
    keys = ("name", "version", "autoSelect", "priority")
    return [dict(zip(keys, entry, strict=False)) for entry in entries]


def test_a_runtime_of_the_namespace_beats_one_of_the_cluster_whatever_their_priorities():
    near = runtime("near")
    far = runtime("far", cluster=True,
                  supportedModelFormats=formats(("openvino_ir", "", True, 9)))  # fmt: skip
    assert name_for(isvc(), [near], [far]) == "near"
    assert name_for(isvc(), [], [far]) == "cluster/far"


def test_the_highest_priority_wins_and_no_priority_comes_last():
    low = runtime("a", supportedModelFormats=formats(("openvino_ir", "", True, 1)))
    high = runtime("b", supportedModelFormats=formats(("openvino_ir", "", True, 2)))
    assert name_for(isvc(), [runtime("c"), low, high]) == "b"
    assert name_for(isvc(), [runtime("c"), low]) == "a"


def test_without_priorities_the_lower_protocol_then_the_newest_then_the_name_decides():
    any_protocol = runtime("a")
    v2 = runtime("b", protocolVersions=["v2"])
    newest = runtime("d", protocolVersions=["v2"], created="2026-02-01T00:00:00Z")
    twin = runtime("c", protocolVersions=["v2"], created="2026-02-01T00:00:00Z")
    assert name_for(isvc(), [any_protocol, v2, newest, twin]) == "c"
    assert name_for(isvc(), [any_protocol, v2]) == "b"


def test_a_version_must_match_to_the_letter():
    one = runtime("one", supportedModelFormats=formats(("openvino_ir", "1", True)))
    wanted = isvc(model={"modelFormat": {"name": "openvino_ir", "version": "1"}})
    assert name_for(wanted, [one]) == "one"
    wanted = isvc(model={"modelFormat": {"name": "openvino_ir", "version": "1.0"}})
    assert refusal_of(wanted, [one])[0] == "NoSupportingRuntime"


def test_a_version_of_the_runtime_does_not_bind_a_model_without_one():
    one = runtime("one", supportedModelFormats=formats(("openvino_ir", "1", True)))
    assert name_for(isvc(), [one]) == "one"


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        ({"disabled": True}, "server is disabled"),
        ({"multiModel": True}, "several models"),
        ({"workerSpec": {}}, "several nodes"),
        ({"protocolVersions": ["v1"]}, "speaks v1, not v2"),
        ({"supportedModelFormats": formats(("openvino_ir",))}, "name it in spec.predictor.model"),
    ],
)
def test_a_runtime_that_is_passed_over_is_named_with_what_would_make_it_fit(spec, hint):
    reason, message = refusal_of(isvc(), [runtime(**spec)])
    assert reason == "NoSupportingRuntime"
    assert "no runtime found to support model format openvino_ir with protocol v2" in message
    assert hint in message


def test_a_model_without_protocol_wants_v1():
    wanted = isvc()
    del wanted["spec"]["predictor"]["model"]["protocolVersion"]
    _, message = refusal_of(wanted, [shipped("kserve-ovms")])
    assert "kserve-ovms speaks v2, grpc-v2, not v1: set protocolVersion" in message


def test_a_format_nobody_knows_tells_to_create_a_runtime():
    reason, message = refusal_of(isvc(model={"modelFormat": {"name": "caffe"}}), [runtime()])
    assert reason == "NoSupportingRuntime"
    assert "create a ServingRuntime for it in namespace ai-demo" in message


def test_a_named_runtime_needs_no_auto_selection():
    listed = runtime(supportedModelFormats=formats(("openvino_ir", "1", False)))
    assert name_for(isvc(model={"runtime": "server"}), [listed]) == "server"


def test_a_name_means_the_runtime_of_the_namespace_before_that_of_the_cluster():
    wanted = isvc(model={"runtime": "server"})
    assert name_for(wanted, [runtime()], [runtime(cluster=True)]) == "server"
    assert name_for(wanted, [], [runtime(cluster=True)]) == "cluster/server"


@pytest.mark.parametrize(
    ("spec", "model", "reason", "hint"),
    [
        (None, {}, "RuntimeNotRecognized", "waiting for runtime server to become available"),
        ({"disabled": True}, {}, "RuntimeDisabled", "set its spec.disabled to false"),
        ({"protocolVersions": ["v1"]}, {}, "NoSupportingRuntime", "one of v1"),
        ({}, {"modelFormat": {"name": "onnx"}}, "NoSupportingRuntime", "supports openvino_ir"),
    ],
)
def test_a_named_runtime_that_cannot_serve_is_refused_with_the_next_step(spec, model, reason, hint):
    runtimes = [] if spec is None else [runtime(**spec)]
    found, message = refusal_of(isvc(model={"runtime": "server", **model}), runtimes)
    assert found == reason
    assert hint in message
