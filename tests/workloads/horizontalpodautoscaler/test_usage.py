from datetime import UTC, datetime, timedelta

import pytest

from motorpool.workloads.horizontalpodautoscaler.usage import (
    Measured,
    NoMetric,
    Resource,
    measured_of,
    propose,
)
from tests.workloads.objects import pod

NOW = datetime(2026, 1, 1, 13, 0, tzinfo=UTC)
CPU = Resource("cpu", utilization=80)


def serving(name, *, request="100m", **fields):
    made = pod(name, **fields)
    made["status"]["startTime"] = "2026-01-01T00:00:00Z"
    requests = {"cpu": request} if request else {}
    made["spec"]["containers"] = [{"name": "app", "resources": {"requests": requests}}]
    return made


def used(amount, resource="cpu", at=NOW):
    return Measured({"app": {resource: amount}}, at, timedelta(seconds=15))


def test_twice_the_target_asks_for_twice_the_pods():
    pods = [serving("a"), serving("b")]
    found = propose(CPU, 2, pods, {"a": used(160), "b": used(160)}, NOW)
    assert found.replicas == 4
    assert found.current == {"averageUtilization": 160, "averageValue": "160m"}


@pytest.mark.parametrize("amount", [73, 80, 87])
def test_within_the_tolerance_nothing_changes(amount):
    assert propose(CPU, 1, [serving("a")], {"a": used(amount)}, NOW).replicas == 1


def test_a_pod_that_was_not_measured_slows_a_shrinking_down():
    pods = [serving(name) for name in "abcd"]
    known = {name: used(10) for name in "abc"}
    assert propose(CPU, 4, pods, {**known, "d": used(10)}, NOW).replicas == 1
    assert propose(CPU, 4, pods, known, NOW).replicas == 2  # (10 + 10 + 10 + 100) / 400 = 32 %


def test_a_pod_that_was_not_measured_does_not_make_it_grow_more():
    pods = [serving("a"), serving("b")]
    # 200 / 200 = 100 % of two, where the one alone is at 200 %
    assert propose(CPU, 2, pods, {"a": used(200)}, NOW).replicas == 3


def test_a_pod_that_is_not_ready_yet_counts_for_nothing_in_growing():
    pods = [serving("a"), serving("b", phase="Pending")]
    assert propose(CPU, 2, pods, {"a": used(160)}, NOW).replicas == 2


def test_a_pod_that_has_just_become_ready_is_still_settling():
    young = serving("a")
    young["status"]["startTime"] = "2026-01-01T12:59:30Z"
    young["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T12:59:55Z"
    with pytest.raises(NoMetric, match="did not receive metrics for targeted pods"):
        propose(CPU, 1, [young], {"a": used(500)}, NOW)
    memory = Resource("memory", average=100_000)
    assert propose(memory, 1, [young], {"a": used(300_000, "memory")}, NOW).replicas == 3


def test_what_goes_or_failed_is_ignored():
    pods = [serving("a"), serving("b", phase="Failed"), serving("c", deletionTimestamp="x")]
    everyone = {name: used(80) for name in "abc"}
    assert propose(CPU, 1, pods, everyone, NOW).replicas == 1


def test_a_share_of_nothing_is_told_by_name():
    with pytest.raises(NoMetric) as caught:
        propose(CPU, 1, [serving("a", request=None)], {"a": used(10)}, NOW)
    assert caught.value.reason == "FailedGetResourceMetric"
    assert str(caught.value) == (
        "failed to get cpu utilization: missing request for cpu in container app of Pod a"
    )


def test_an_average_value_needs_no_request():
    memory = Resource("memory", average=100_000)
    pods = [serving("a", request=None), serving("b", request=None)]
    found = propose(memory, 2, pods, {n: used(150_000, "memory") for n in "ab"}, NOW)
    assert (found.replicas, found.current) == (3, {"averageValue": "150"})


def test_a_measurement_is_read_from_its_object():
    usage = {"cpu": "1500000n", "memory": "2Ki"}
    metrics = {
        "timestamp": "2026-01-01T13:00:00Z",
        "window": "15.25s",
        "containers": [{"name": "app", "usage": usage}],
    }
    found = measured_of(metrics)
    assert found.usage == {"app": {"cpu": 2, "memory": 2048_000}}
    assert (found.at, found.window.total_seconds()) == (NOW, 15.25)
