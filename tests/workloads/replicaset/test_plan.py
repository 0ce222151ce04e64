from datetime import UTC, datetime, timedelta

from motorpool.workloads.replicaset.plan import forgotten, plan, pod_of, victims, wait_s
from tests.workloads.objects import deleting, pod, ready_condition, replica_set


def names(pods):
    return [p["metadata"]["name"] for p in pods]


def test_what_is_lacking_is_created():
    assert plan(replica_set(replicas=3), [pod("a")]).create == 2


def test_ended_and_leaving_pods_do_not_count():
    pods = [pod("a", phase="Failed"), pod("b", phase="Succeeded"), deleting(pod("c"))]

    assert plan(replica_set(replicas=1), pods).create == 1


def test_the_burst_is_bounded():
    assert plan(replica_set(replicas=10_000), []).create == 500


def test_a_replica_set_that_goes_does_nothing():
    wanted = plan(deleting(replica_set(replicas=3)), [])

    assert (wanted.create, wanted.delete) == (0, [])


def test_what_serves_least_goes_first():
    longest = pod("longest")
    longest["status"]["conditions"] = [ready_condition(True, "2025-01-01T00:00:00Z")]
    restarted = pod("restarted")
    restarted["status"]["containerStatuses"] = [{"restartCount": 3}]
    cheap = pod("cheap", annotations={"controller.kubernetes.io/pod-deletion-cost": "-5"})
    pods = [
        longest,
        pod("ready"),
        restarted,
        cheap,
        pod("unready", ready=False),
        pod("pending", phase="Pending"),
        pod("unplaced", phase="Pending", node=""),
    ]

    order = names(victims(pods, len(pods)))

    assert order == ["unplaced", "pending", "unready", "cheap", "restarted", "ready", "longest"]


def test_of_pods_that_are_alike_the_younger_goes():
    pods = [
        pod("old", creationTimestamp="2026-01-01T00:00:00Z"),
        pod("young", creationTimestamp="2026-01-02T00:00:00Z"),
    ]

    assert names(plan(replica_set(replicas=1), pods).delete) == ["young"]


def test_a_pod_is_its_template_under_a_generated_name():
    owner = replica_set("web-5")
    owner["spec"]["template"]["metadata"]["annotations"] = {"a": "b"}
    owner["spec"]["template"]["metadata"]["creationTimestamp"] = None

    made = pod_of(owner)

    assert made["metadata"]["generateName"] == "web-5-"
    assert made["metadata"]["labels"] == {"app": "web"}
    assert made["metadata"]["annotations"] == {"a": "b"}
    assert "creationTimestamp" not in made["metadata"]
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-web-5"
    assert made["spec"] == owner["spec"]["template"]["spec"]
    assert made["spec"] is not owner["spec"]["template"]["spec"]


def failed(count):
    return [
        pod(f"f{n:02d}", phase="Failed", creationTimestamp=f"2026-01-01T00:00:{n:02d}Z")
        for n in range(count)
    ]


def test_a_template_that_keeps_failing_is_replaced_ever_more_slowly():
    newest = datetime(2026, 1, 1, 0, 0, 0, tzinfo=UTC)

    waits = [wait_s(failed(count), newest + timedelta(seconds=count - 1)) for count in range(1, 13)]

    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert wait_s(failed(4), newest + timedelta(seconds=5)) == 0


def test_only_the_newest_failures_are_kept():
    assert names(forgotten(failed(12))) == ["f00", "f01"]
    assert forgotten(failed(10)) == []
