"""The pod machine and the status, with values."""

from dataclasses import replace
from typing import Any

import pytest

from motorpool.api.meta import Object
from motorpool.node import seen
from motorpool.node.machine import (
    DEADLINE_EXCEEDED,
    AbandonPull,
    AbandonVolumes,
    Fail,
    Finish,
    Kill,
    Plan,
    PrepareVolumes,
    Start,
    Stop,
    next_steps,
    outcome,
)
from motorpool.node.pod import Pod, default_pull_policy, pod_of
from motorpool.node.seen import PodSeen, Run, Seen, Volumes
from motorpool.node.status import Where, pod_status, qos_class

NOW = 1_800_000_000.0
READY = Volumes("ready")
WHERE = Where("127.64.0.1", "127.0.0.1")


def obj(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "uid": "u"},
        "spec": {"containers": [{"name": "a", "image": "x:1"}], **spec},
    }


def of(**spec: Any) -> Pod:
    return pod_of(obj(**spec))


def deleting(grace_s: int = 30, **spec: Any) -> Pod:
    deleted = obj(**spec)
    deleted["metadata"] |= {"deletionTimestamp": "t", "deletionGracePeriodSeconds": grace_s}
    return pod_of(deleted)


def running(**fields: Any) -> Seen:
    return Seen(**{"phase": "running", "started_at": NOW, "started": True, "ready": True, **fields})


def exited(code: int | None, *, crashes: int = 0, at: float = NOW, lasted: float = 1.0) -> Seen:
    return seen.exited(Seen(run=crashes, crashes=crashes), code, None, at - lasted, at)


def have(volumes: Volumes = READY, **containers: Seen) -> PodSeen:
    return PodSeen(containers, volumes)


TWO = {"containers": [{"name": "a"}, {"name": "b"}]}
INIT = {"initContainers": [{"name": "i"}, {"name": "j"}]}
SIDECAR = {"initContainers": [{"name": "s", "restartPolicy": "Always"}]}


def test_volumes_come_first_then_all_containers_at_once() -> None:
    assert next_steps(of(**TWO), PodSeen(), NOW) == Plan((PrepareVolumes(),))
    assert next_steps(of(**TWO), have(Volumes("preparing")), NOW) == Plan()
    assert next_steps(of(**TWO), have(), NOW) == Plan((Start("a"), Start("b")))
    assert next_steps(of(), have(a=running()), NOW) == Plan()


def test_init_containers_run_one_after_the_other() -> None:
    pod = of(**INIT)
    assert next_steps(pod, have(), NOW).steps == (Start("i"),)
    assert next_steps(pod, have(i=running()), NOW).steps == ()
    assert next_steps(pod, have(i=exited(0)), NOW).steps == (Start("j"),)
    assert next_steps(pod, have(i=exited(0), j=exited(0)), NOW).steps == (Start("a"),)


def test_an_init_container_that_fails_is_tried_again_unless_never() -> None:
    failed = have(i=exited(1))
    assert next_steps(of(**INIT), failed, NOW).steps == (Start("i"),)
    never = of(**INIT, restartPolicy="Never")
    assert next_steps(never, failed, NOW) == Plan()
    assert outcome(never, failed) == "Failed"


def test_a_sidecar_starts_first_and_runs_beside() -> None:
    pod = of(**SIDECAR)
    assert next_steps(pod, have(), NOW).steps == (Start("s"),)
    assert next_steps(pod, have(s=running(started=False)), NOW).steps == ()
    assert next_steps(pod, have(s=running()), NOW).steps == (Start("a"),)
    assert next_steps(pod, have(s=exited(0), a=running()), NOW).steps == (Start("s"),)


@pytest.mark.parametrize(
    ("crashes", "wait_s"),
    [(0, 0), (1, 10), (2, 20), (3, 40), (4, 80), (5, 160), (6, 300), (60, 300)],
)
def test_restarts_back_off_from_ten_seconds_to_five_minutes(crashes: int, wait_s: float) -> None:
    plan = next_steps(of(), have(a=exited(1, crashes=crashes)), NOW)
    expected = Plan((), NOW + wait_s) if wait_s else Plan((Start("a"),))
    assert plan == expected
    assert next_steps(of(), have(a=exited(1, crashes=crashes)), NOW + wait_s).steps == (Start("a"),)


def test_ten_good_minutes_forgive_what_was() -> None:
    assert exited(1, crashes=9, lasted=600).restart_at == NOW
    assert exited(1, crashes=9, lasted=599).restart_at == NOW + 300


@pytest.mark.parametrize(
    ("policy", "code", "result"),
    [
        ("Always", 0, None), ("Always", 1, None), ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, None), ("Never", 0, "Succeeded"), ("Never", 1, "Failed"),
    ],
)  # fmt: skip
def test_the_restart_policy_says_how_a_pod_ends(policy: str, code: int, result: str) -> None:
    pod, what = of(restartPolicy=policy), have(a=exited(code))
    assert outcome(pod, what) == result
    assert next_steps(pod, what, NOW).steps == (() if result else (Start("a"),))


def test_a_pod_that_is_over_stops_its_sidecars() -> None:
    pod = of(**SIDECAR, restartPolicy="Never")
    plan = next_steps(pod, have(s=running(), a=exited(0)), NOW)
    assert plan.steps == (Stop("s", 30.0, "over"),)


def test_a_pod_that_is_active_for_too_long_has_failed() -> None:
    started = obj(activeDeadlineSeconds=60)
    assert pod_of(started).active_until is None, "it has not started here"
    started["status"] = {"startTime": "2027-01-15T08:00:00Z"}
    pod = pod_of(started)
    assert pod.active_until == NOW + 60
    alive = have(a=running())
    assert next_steps(pod, alive, NOW + 59) == Plan((), NOW + 60)
    assert next_steps(pod, alive, NOW + 60).steps == (Fail(DEADLINE_EXCEEDED),)
    judged = replace(alive, verdict=DEADLINE_EXCEEDED)
    assert outcome(pod, judged) == "Failed"
    assert next_steps(pod, judged, NOW + 61).steps == (Stop("a", 30, "over"),)
    status = pod_status(pod, started, judged, WHERE, NOW)
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert seen.verdict_of({"status": status}) == DEADLINE_EXCEEDED
    assert seen.verdict_of({"status": {"phase": "Failed"}}) is None


@pytest.mark.parametrize("policy", ["Always", "OnFailure", "Never"])
def test_a_container_whose_image_changes_starts_again_at_once(policy: str) -> None:
    changed = of(restartPolicy=policy, containers=[{"name": "a", "image": "x:2"}])
    alive = running(image="x:1", crashes=4)
    assert next_steps(changed, have(a=alive), NOW).steps == (Stop("a", 30, "changed"),)
    stopping = replace(alive, stopping=seen.Stopping(NOW, 30, to_change=True))
    assert next_steps(changed, have(a=stopping), NOW) == Plan((), NOW + 30)
    ended = seen.exited(stopping, 0, None, NOW - 5, NOW)
    assert outcome(changed, have(a=ended)) is None
    assert next_steps(changed, have(a=ended), NOW).steps == (Start("a"),)
    again = seen.starting(ended, "x:2")
    assert (again.run, again.image, again.changes) == (1, "x:2", False)
    assert next_steps(changed, have(a=replace(again, phase="running")), NOW) == Plan()


def test_a_pod_that_is_over_does_not_start_for_a_new_image() -> None:
    pod = of(restartPolicy="Never", containers=[{"name": "a", "image": "x:2"}])
    over = have(a=replace(exited(0), image="x:1"))
    assert outcome(pod, over) == "Succeeded"
    assert next_steps(pod, over, NOW) == Plan()


def test_deletion_stops_then_kills_then_finishes() -> None:
    pod = deleting(grace_s=5)
    assert next_steps(pod, have(a=running()), NOW).steps == (Stop("a", 5, "deleted"),)
    stopping = running(stopping=seen.Stopping(NOW, 5))
    assert next_steps(pod, have(a=stopping), NOW + 4) == Plan((), NOW + 5)
    assert next_steps(pod, have(a=stopping), NOW + 5).steps == (Kill("a"),)
    killed = running(stopping=seen.Stopping(NOW, 5, killed=True))
    assert next_steps(pod, have(a=killed), NOW + 9) == Plan()
    assert next_steps(pod, have(a=exited(137)), NOW).steps == (Finish(),)


def test_a_shorter_second_grace_period_counts() -> None:
    stopping = running(stopping=seen.Stopping(NOW, 30))
    assert next_steps(deleting(grace_s=1), have(a=stopping), NOW + 1).steps == (Kill("a"),)


def test_deletion_while_starting() -> None:
    pod = deleting()
    assert next_steps(pod, have(Volumes("preparing")), NOW).steps == (AbandonVolumes(),)
    assert next_steps(pod, have(a=Seen(phase="starting")), NOW) == Plan()
    assert next_steps(pod, PodSeen(), NOW).steps == (Finish(),)


def test_deletion_while_pulling_does_not_wait_for_the_image() -> None:
    pod = deleting(containers=[{"name": "a", "image": "x"}, {"name": "b", "image": "x"}])
    both = have(a=Seen("pulling"), b=running())
    assert next_steps(pod, both, NOW).steps == (AbandonPull("a"),)
    [stop] = next_steps(pod, have(a=Seen(), b=running()), NOW).steps
    assert (type(stop), stop.container) == (Stop, "b")


def test_sidecars_stop_after_the_containers_in_reverse() -> None:
    spec = {"initContainers": [{"name": n, "restartPolicy": "Always"} for n in ("s", "t")]}
    pod = deleting(**spec)
    both = {"s": running(), "t": running()}
    assert next_steps(pod, have(**both, a=running()), NOW).steps == (Stop("a", 30, "deleted"),)
    assert next_steps(pod, have(**both, a=exited(0)), NOW).steps == (Stop("t", 30, "deleted"),)


def test_an_unhealthy_container_is_stopped_with_the_pods_grace() -> None:
    plan = next_steps(of(), have(a=running(unhealthy="liveness")), NOW)
    assert plan.steps == (Stop("a", 30.0, "liveness"),)
    waiting = have(Volumes("preparing"), a=running(unhealthy="startup"))
    assert next_steps(of(), waiting, NOW).steps == (Stop("a", 30.0, "startup"),)


def test_a_failed_pull_is_tried_again_after_ten_seconds() -> None:
    problem = seen.Problem("ErrImagePull", "no route", NOW, 1, "r/m:1")
    what = have(Volumes("failed", problem))
    assert next_steps(of(), what, NOW) == Plan((), NOW + 1)
    assert next_steps(of(), what, NOW + 1) == Plan((), NOW + 10)
    assert next_steps(of(), what, NOW + 10).steps == (PrepareVolumes(),)


# Status.


def status(pod: Object, what: PodSeen, now: float = NOW) -> Object:
    return pod_status(pod_of(pod), pod, what, WHERE, now)


def conditions(found: Object) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c.get("reason", "")) for c in found["conditions"]}


def test_a_running_ready_container() -> None:
    found = status(obj(), have(a=running()))
    assert found["phase"] == "Running"
    assert {t: s for t, (s, _) in conditions(found).items()} == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"),
        "True",
    )
    assert (found["podIP"], found["podIPs"]) == ("127.64.0.1", [{"ip": "127.64.0.1"}])
    (entry,) = found["containerStatuses"]
    assert entry == {
        "name": "a", "state": {"running": {"startedAt": "2027-01-15T08:00:00Z"}}, "lastState": {},
        "ready": True, "restartCount": 0, "image": "x:1", "imageID": "", "started": True,
        "containerID": "motorpool://u/a/0",
    }  # fmt: skip


def test_the_same_facts_give_the_same_status() -> None:
    pod, what = obj(), have(a=running())
    first = status(pod, what)
    assert status({**pod, "status": first}, what, NOW + 60) == first


def test_transition_times_move_only_when_a_condition_flips() -> None:
    pod = obj()
    first = status(pod, have(a=running(ready=False)))
    second = status({**pod, "status": first}, have(a=running()), NOW + 60)
    times = {c["type"]: c["lastTransitionTime"] for c in second["conditions"]}
    assert times["Ready"] == "2027-01-15T08:01:00Z"
    assert times["Initialized"] == "2027-01-15T08:00:00Z"


def test_nothing_has_started_yet() -> None:
    found = status(obj(), PodSeen())
    assert found["phase"] == "Pending"
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    ready = next(c for c in found["conditions"] if c["type"] == "Ready")
    assert ready["message"] == "containers with unready status: [a]"
    found = status(obj(**INIT), have(i=exited(0)))
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    initialized = next(c for c in found["conditions"] if c["type"] == "Initialized")
    assert initialized["message"] == "containers with incomplete status: [j]"


def test_a_crash_loop_shows_the_wait_and_the_last_end() -> None:
    found = status(obj(), have(a=exited(3, crashes=4)), NOW + 1)
    (entry,) = found["containerStatuses"]
    assert entry["state"]["waiting"] == {
        "reason": "CrashLoopBackOff",
        "message": "back-off 1m20s restarting failed container=a pod=web_default(u)",
    }
    assert entry["lastState"]["terminated"]["exitCode"] == 3
    assert entry["restartCount"] == 4
    assert found["phase"] == "Running"


def test_a_signal_is_an_exit_code_above_128_and_its_number() -> None:
    what = seen.exited(Seen(), 143, 15, NOW - 1, NOW)
    end = status(obj(restartPolicy="Never"), have(a=what))["containerStatuses"][0]["state"]
    assert end["terminated"] == {
        "exitCode": 143, "signal": 15, "reason": "Error", "startedAt": "2027-01-15T07:59:59Z",
        "finishedAt": "2027-01-15T08:00:00Z", "containerID": "motorpool://u/a/0",
    }  # fmt: skip


def test_an_end_for_want_of_memory() -> None:
    killed = seen.ended(running(), Run("u/a/0", 1, NOW, NOW + 1, 137, 9, False, oom_killed=True))
    assert killed.exit is not None
    assert (killed.exit.reason, killed.exit.code, killed.exit.signal) == ("OOMKilled", 137, 9)
    unseen = seen.ended(running(), Run("u/a/0", 1, NOW, NOW + 1, None, None, False, True))
    assert unseen.exit is not None
    assert (unseen.exit.reason, unseen.exit.code) == ("OOMKilled", 137)
    survived = seen.ended(running(), Run("u/a/0", 1, NOW, NOW + 1, 0, None, False, True))
    assert survived.exit is not None
    assert survived.exit.reason == "Completed", "a child of it was killed, and it made do"


def test_an_end_that_nobody_saw() -> None:
    what = have(a=exited(None))
    end = status(obj(restartPolicy="Never"), what)["containerStatuses"][0]["state"]["terminated"]
    assert (end["exitCode"], end["reason"]) == (137, "ContainerStatusUnknown")


def test_a_pod_that_is_over() -> None:
    found = status(obj(restartPolicy="Never"), have(a=exited(0)))
    assert found["phase"] == "Succeeded"
    assert conditions(found)["Ready"] == ("False", "PodCompleted")
    assert status(obj(restartPolicy="Never"), have(a=exited(2)))["phase"] == "Failed"


def test_a_failed_pull_first_shows_the_error_then_the_wait() -> None:
    problem = seen.Problem("ErrImagePull", "no route", NOW, 1, "r/m:1")
    what = have(Volumes("failed", problem))
    at_once = status(obj(), what)["containerStatuses"][0]["state"]["waiting"]
    assert at_once == {"reason": "ErrImagePull", "message": "no route"}
    later = status(obj(), what, NOW + 2)["containerStatuses"][0]["state"]["waiting"]
    assert later["reason"] == "ImagePullBackOff"
    assert later["message"] == 'Back-off pulling image "r/m:1": ErrImagePull: no route'


def test_conditions_of_others_stay_and_gates_hold_ready_back() -> None:
    pod = obj(readinessGates=[{"conditionType": "acme/lb"}])
    found = status(pod, have(a=running()))
    assert conditions(found)["Ready"] == ("False", "ReadinessGatesNotReady")
    assert conditions(found)["ContainersReady"][0] == "True"
    found["conditions"].append({"type": "acme/lb", "status": "True"})
    found = status({**pod, "status": found}, have(a=running()))
    assert conditions(found)["Ready"][0] == "True"
    assert found["conditions"][-1] == {"type": "acme/lb", "status": "True"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_qos_class(resources: Object, expected: str) -> None:
    assert qos_class({"containers": [{"resources": resources}]}) == expected


# What is seen.


def test_a_new_run_remembers_the_one_before() -> None:
    after = seen.starting(exited(3))
    assert (after.run, after.phase) == (1, "starting")
    assert after.last is not None
    assert after.last.code == 3


def test_a_start_that_failed_is_the_same_run_again() -> None:
    failed = seen.failed(Seen(phase="starting"), "CreateContainerConfigError", "no map", NOW)
    again = seen.starting(failed)
    assert again.run == 0
    assert seen.failed(again, "CreateContainerConfigError", "no map", NOW).problem == replace(
        failed.problem or pytest.fail("no problem"), attempts=2
    )


def test_adoption_keeps_readiness_and_restarts() -> None:
    runs = [
        Run("u/a/3", 1, NOW - 9, NOW - 5, 1, None, False),
        Run("u/a/4", 2, NOW, 0, None, None, True),
    ]
    was = {"restartCount": 4, "ready": True, "started": True, "imageID": "local://x"}
    adopted = seen.adopted(runs, was, has_startup=True)
    assert (adopted.phase, adopted.run, adopted.ready, adopted.started) == (
        "running",
        4,
        True,
        True,
    )
    assert adopted.last is not None
    assert adopted.last.code == 1
    stale = {**was, "restartCount": 3}
    assert not seen.adopted(runs, stale, has_startup=True).ready


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("ovms", "Always"), ("r:5000/ovms", "Always"), ("ovms:latest", "Always"),
        ("ovms:1", "IfNotPresent"), ("r:5000/ovms@sha256:00", "IfNotPresent"),
    ],
)  # fmt: skip
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert default_pull_policy(image) == policy
