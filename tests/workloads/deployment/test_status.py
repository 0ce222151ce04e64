from datetime import UTC, datetime, timedelta

from motorpool.workloads.deployment.spec import rollout_of
from motorpool.workloads.deployment.status import Observed, status
from tests.workloads.objects import deployment, replica_set

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def counted(name, wanted, existing, ready):
    made = replica_set(name, replicas=wanted)
    made["status"] = {
        "replicas": existing, "readyReplicas": ready, "availableReplicas": ready,
    }  # fmt: skip
    return made


def reported(owner, new, *, old=(), now=NOW, **more):
    observed = Observed(new, [*old, *([new] if new else [])], **more)
    return {**owner, "status": status(owner, rollout_of(owner), observed, now)}


def progressing(owner):
    return next(c for c in owner["status"]["conditions"] if c["type"] == "Progressing")


def test_a_rollout_from_its_start_to_its_end():
    owner = deployment(replicas=2)

    owner = reported(owner, counted("web-1", 2, 0, 0), created=True)
    assert owner["status"] == {
        "observedGeneration": 1,
        "unavailableReplicas": 2,
        "conditions": [
            {
                "type": "Available",
                "status": "False",
                "lastUpdateTime": "2026-01-01T12:00:00Z",
                "lastTransitionTime": "2026-01-01T12:00:00Z",
                "reason": "MinimumReplicasUnavailable",
                "message": "Deployment does not have minimum availability.",
            },
            {
                "type": "Progressing",
                "status": "True",
                "lastUpdateTime": "2026-01-01T12:00:00Z",
                "lastTransitionTime": "2026-01-01T12:00:00Z",
                "reason": "NewReplicaSetCreated",
                "message": 'Created new replica set "web-1"',
            },
        ],
    }

    owner = reported(owner, counted("web-1", 2, 2, 1), now=NOW + timedelta(seconds=5))
    assert progressing(owner)["reason"] == "ReplicaSetUpdated"
    assert progressing(owner)["message"] == 'ReplicaSet "web-1" is progressing.'
    assert progressing(owner)["lastUpdateTime"] == "2026-01-01T12:00:05Z"
    assert progressing(owner)["lastTransitionTime"] == "2026-01-01T12:00:00Z"

    owner = reported(owner, counted("web-1", 2, 2, 2))
    assert progressing(owner)["reason"] == "NewReplicaSetAvailable"
    assert progressing(owner)["message"] == 'ReplicaSet "web-1" has successfully progressed.'
    assert owner["status"]["conditions"][0]["reason"] == "MinimumReplicasAvailable"
    assert "unavailableReplicas" not in owner["status"]


def test_the_same_observation_gives_the_same_status_later():
    owner = reported(deployment(), counted("web-1", 1, 1, 1))
    owner = reported(owner, counted("web-1", 1, 1, 1))

    again = reported(owner, counted("web-1", 1, 1, 1), now=NOW + timedelta(hours=1))

    assert again["status"] == owner["status"]


def test_a_rollout_that_does_not_move_times_out_and_may_recover():
    owner = reported(deployment(), counted("web-1", 1, 1, 0), created=True)
    late = NOW + timedelta(seconds=600)

    owner = reported(owner, counted("web-1", 1, 1, 0), now=late)
    assert progressing(owner)["status"] == "False"
    assert progressing(owner)["reason"] == "ProgressDeadlineExceeded"
    assert progressing(owner)["message"] == 'ReplicaSet "web-1" has timed out progressing.'

    owner = reported(owner, counted("web-1", 1, 1, 1), now=late)
    assert progressing(owner)["reason"] == "NewReplicaSetAvailable"


def test_a_finished_rollout_does_not_time_out_when_its_pod_fails_later():
    owner = reported(deployment(), counted("web-1", 1, 1, 1))
    owner = reported(owner, counted("web-1", 1, 1, 1))

    owner = reported(owner, counted("web-1", 1, 1, 0), now=NOW + timedelta(days=1))

    assert progressing(owner)["reason"] == "NewReplicaSetAvailable"
    assert owner["status"]["conditions"][0]["status"] == "False"


def test_paused_and_resumed_are_said():
    owner = reported(deployment(paused=True), counted("web-1", 1, 1, 1))
    assert progressing(owner)["status"] == "Unknown"
    assert progressing(owner)["reason"] == "DeploymentPaused"

    owner["spec"]["paused"] = False
    owner = reported(owner, counted("web-1", 1, 1, 1))
    assert progressing(owner)["reason"] == "DeploymentResumed"
    assert progressing(owner)["message"] == "Deployment is resumed"

    owner = reported(owner, counted("web-1", 1, 1, 1))
    assert progressing(owner)["reason"] == "NewReplicaSetAvailable"


def test_why_pods_cannot_be_created_is_copied_from_the_replica_set():
    new = counted("web-1", 1, 0, 0)
    failure = {
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota",
    }  # fmt: skip
    new["status"]["conditions"] = [failure]

    owner = reported(deployment(), new)

    assert owner["status"]["conditions"][2]["message"] == "quota"
