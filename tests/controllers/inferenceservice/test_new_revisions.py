"""Pods that no node takes, and revisions that do not come up beside one that serves."""

import pytest

from motorpool.api.conditions import condition_of
from motorpool.controllers.inferenceservice.modelstatus import NO_MODEL_DIRECTORY
from tests.controllers.inferenceservice.objects import NOW, isvc
from tests.controllers.inferenceservice.test_status import (
    LATER,
    READY,
    STARTING,
    condition,
    of_revision,
    pod,
    status_of,
    waiting,
)


def unscheduled(message, name="p", created=NOW, labels=None):
    made = pod(name, created=created)
    made["metadata"]["labels"] = labels or {}
    made["status"]["conditions"].append(
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    )
    return made


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
         "lower spec.predictor.model.resources"),
        ("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
         "check nodeSelector, affinity and tolerations"),
    ],
)  # fmt: skip
def test_a_pod_that_no_node_takes_is_told_with_the_next_step(message, advice):
    status = status_of(STARTING, [unscheduled(message)])
    for kind in ("PredictorReady", "Ready"):
        assert condition(status, kind) == ("False", "Unschedulable")
        text = condition_of({"status": status}, kind)["message"]
        assert text.startswith(f"pod p waits for a node: {message.removesuffix('.')}; {advice}")
    assert status["modelStatus"]["transitionStatus"] == "InProgress"
    assert condition(status, "LatestDeploymentReady") == (None, "")


OLD_SERVES = of_revision(pod("old", ready=True), "old")


def test_a_new_revision_that_cannot_come_up_is_told_while_the_old_one_serves():
    broken = pod("new", created=LATER, containerStatuses=waiting("ErrImagePull", "no such tag"))
    status = status_of(READY, [OLD_SERVES, of_revision(broken, "new")])
    assert condition(status, "Ready") == ("True", "")
    assert condition(status, "LatestDeploymentReady")[0] == "False"
    told = condition_of({"status": status}, "LatestDeploymentReady")
    assert "no such tag" in told["message"]
    assert told["message"].endswith("; the revision before it goes on serving")
    assert told["severity"] == "Info"
    assert status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    assert status["modelStatus"]["states"]["targetModelState"] == "FailedToLoad"
    assert "no such tag" in status["modelStatus"]["lastFailureInfo"]["message"]


def test_a_new_revision_that_no_node_takes_is_told_while_the_old_one_serves():
    waits = unscheduled("1 Insufficient memory", "new", LATER, {"pod-template-hash": "new"})
    status = status_of(READY, [OLD_SERVES, waits])
    assert condition(status, "Ready") == ("True", "")
    assert condition(status, "LatestDeploymentReady") == ("False", "Unschedulable")


def test_a_further_replica_that_fails_is_no_new_revision():
    broken = pod("new", created=LATER, containerStatuses=waiting("ErrImagePull", "no such tag"))
    status = status_of(READY, [OLD_SERVES, of_revision(broken, "old")])
    assert condition(status, "LatestDeploymentReady") == (None, "")
    assert status["modelStatus"]["transitionStatus"] == "UpToDate"


def test_a_new_revision_that_starts_as_it_should_is_not_spoken_of():
    status = status_of(READY, [OLD_SERVES, of_revision(pod("new", created=LATER), "new")])
    assert condition(status, "LatestDeploymentReady") == (None, "")
    assert status["modelStatus"]["transitionStatus"] == "UpToDate"


@pytest.mark.parametrize(
    ("text", "reason", "advice"),
    [
        (f"failed to prepare subPath: {NO_MODEL_DIRECTORY}", "ModelLoadFailed", "under /models"),
        ("Failed to create pod sandbox: no /dev/net/tun", "RuntimeUnhealthy", "`podman run` work"),
    ],
)  # fmt: skip
def test_what_keeps_a_container_from_being_made_is_told_with_its_own_next_step(
    text, reason, advice
):
    wanted = isvc(model={"storageUri": "oci://localhost/no-car:1"})
    kind = "ContainerCreating" if "sandbox" in text else "CreateContainerConfigError"
    status = status_of(STARTING, [pod(containerStatuses=waiting(kind, text))], wanted)
    told = condition_of({"status": status}, "PredictorReady")
    assert told["reason"] == reason
    assert text in told["message"]
    assert advice in told["message"]
