"""What is told as events, for each way from one status to the next."""

import pytest

from motorpool.controllers.inferenceservice.refusal import Refusal
from motorpool.controllers.inferenceservice.status import (
    Observed,
    observed_status,
    refused,
    stopped,
)
from motorpool.controllers.inferenceservice.transitions import transitions
from tests.controllers.inferenceservice.objects import NOW, isvc
from tests.controllers.inferenceservice.test_new_revisions import OLD_SERVES, unscheduled
from tests.controllers.inferenceservice.test_status import (
    CONFIG,
    LATER,
    READY,
    STARTING,
    deployment,
    ended,
    of_revision,
    pod,
    status_of,
    waiting,
)

REFUSED = refused(isvc(), Refusal("NoSupportingRuntime", "create one"), NOW)
FAILURE = ended(1, "no bucket", name="storage-initializer")
FAILED = status_of(STARTING, [pod(initContainerStatuses=FAILURE)])
LOADING = status_of(
    STARTING,
    [pod(initContainerStatuses=[{"name": "storage-initializer", "state": {"running": {}}}])],
)
PENDING = status_of(STARTING)
NO_PODS = status_of((*STARTING, ("ReplicaFailure", "True", "FailedCreate")))
SERVING = status_of(READY, [pod(ready=True)])
STOPPED = stopped(isvc(), NOW)
PULL_FAILED = status_of(
    STARTING, [pod(containerStatuses=waiting("ErrImagePull", "localhost/car:1 is not here"))]
)
PULL_WAITS = status_of(
    STARTING,
    [pod(containerStatuses=waiting(
        "ImagePullBackOff",
        'Back-off pulling image "localhost/car:1": ErrImagePull: localhost/car:1 is not here',
    ))],
)  # fmt: skip
UNPLACED = status_of(STARTING, [unscheduled("1 Insufficient nvidia.com/gpu")])
BROKEN = pod("new", created=LATER, containerStatuses=waiting("ErrImagePull", "no such tag"))
UPDATE_FAILED = status_of(READY, [OLD_SERVES, of_revision(BROKEN, "new")])
UPDATE_UNPLACED = status_of(
    READY,
    [OLD_SERVES, unscheduled("1 Insufficient cpu", "new", LATER, {"pod-template-hash": "new"})],
)


def told(before, after):
    return [(happened.type, happened.reason) for happened in transitions("resnet", before, after)]


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        ({}, PENDING, []),
        (PENDING, PENDING, []),
        (PENDING, NO_PODS, [("Warning", "FailedCreate")]),
        (NO_PODS, NO_PODS, []),
        ({}, REFUSED, [("Warning", "NoSupportingRuntime")]),
        (REFUSED, REFUSED, []),
        (REFUSED, PENDING, []),
        (PENDING, LOADING, [("Normal", "ModelLoading")]),
        (LOADING, LOADING, []),
        (LOADING, FAILED, [("Warning", "ModelLoadFailed")]),
        (FAILED, FAILED, []),
        (FAILED, SERVING, [("Normal", "InferenceServiceReady")]),
        (SERVING, FAILED, [("Warning", "InferenceServiceNotReady"),
                           ("Warning", "ModelLoadFailed")]),
        (SERVING, STOPPED, [("Warning", "InferenceServiceNotReady"),
                            ("Normal", "InferenceServiceStopped")]),
        (STOPPED, PENDING, [("Normal", "InferenceServiceResumed")]),
        (PULL_FAILED, PULL_WAITS, []),
        (PULL_WAITS, PULL_FAILED, []),
        (PENDING, UNPLACED, [("Warning", "FailedScheduling")]),
        (UNPLACED, UNPLACED, []),
        (UNPLACED, SERVING, [("Normal", "InferenceServiceReady")]),
        (SERVING, UPDATE_FAILED, [("Warning", "ModelLoadFailed")]),
        (UPDATE_FAILED, UPDATE_FAILED, []),
        (UPDATE_FAILED, SERVING, []),
        (SERVING, UPDATE_UNPLACED, [("Warning", "FailedScheduling")]),
        (UPDATE_UNPLACED, UPDATE_UNPLACED, []),
    ],
)  # fmt: skip
def test_each_transition_is_told_once(before, after, events):
    assert told(before, after) == events


def test_every_event_says_of_what_it_is_and_what_to_do():
    (failed,) = transitions("resnet", LOADING, FAILED)
    assert "no bucket" in failed.message
    assert "check storageUri and its credentials" in failed.message
    (resumed,) = transitions("resnet", STOPPED, PENDING)
    assert resumed.message == "InferenceService resnet is started again"


def with_transformer(ready):
    spec = {**isvc()["spec"], "transformer": {"containers": [{"name": "kserve-container"}]}}
    conditions = READY if ready else STARTING
    deployments = {"predictor": deployment(*READY), "transformer": deployment(*conditions)}
    wanted = {**isvc(), "spec": spec}
    return observed_status(wanted, Observed(deployments=deployments), CONFIG, NOW)


def test_of_several_components_each_is_told():
    starting, serving = with_transformer(ready=False), with_transformer(ready=True)
    assert told(starting, serving) == [
        ("Normal", "InferenceServiceReady"), ("Normal", "TransformerReady"),
    ]  # fmt: skip
    assert told(serving, starting) == [
        ("Warning", "InferenceServiceNotReady"), ("Warning", "TransformerNotReady"),
    ]  # fmt: skip
