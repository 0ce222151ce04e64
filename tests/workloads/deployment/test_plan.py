import pytest

from motorpool.workloads.deployment.plan import (
    Size,
    is_scaled,
    new_replicas,
    old_replicas,
    scaled,
)
from motorpool.workloads.deployment.spec import rollout_of
from tests.workloads.objects import deployment, replica_set


def rollout(replicas, surge="25%", unavailable="25%", **spec):
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return rollout_of(deployment(replicas=replicas, strategy=strategy, **spec))


def size(name, wanted, available=None, existing=None):
    available = wanted if available is None else available
    return Size(name, wanted, available, wanted if existing is None else existing)


@pytest.mark.parametrize(
    ("new", "old", "raised"),
    [(0, 4, 1), (1, 3, 2), (2, 3, 2), (4, 0, 4), (0, 0, 4), (6, 0, 4), (0, 9, 0)],
)
def test_the_new_one_is_raised_into_the_room_that_the_surge_leaves(new, old, raised):
    assert new_replicas(rollout(4), size("new", new), [size("old", old)]) == raised


def test_old_pods_go_as_far_as_enough_others_serve():
    wanted = old_replicas(rollout(4), size("new", 1, 0), [size("old", 4)])

    assert wanted == {"old": 3}


def test_old_pods_stay_while_the_new_ones_do_not_serve():
    assert old_replicas(rollout(4), size("new", 2, 0), [size("old", 3)]) == {}


def test_old_pods_that_do_not_serve_go_first_and_from_the_oldest():
    old = [size("older", 2, 0), size("old", 3, 3)]

    assert old_replicas(rollout(4), size("new", 0), old) == {"older": 0}


def test_pods_that_do_not_serve_make_no_room_for_new_ones_that_do_not_either():
    assert old_replicas(rollout(4), size("new", 1, 0), [size("old", 4, 2)]) == {"old": 3}


def test_a_pod_that_is_about_to_go_is_not_counted_as_serving():
    """The ReplicaSet reports 4 available, but is to keep 3 of them."""
    old = [size("old", 3, 4)]

    assert old_replicas(rollout(4), size("new", 1, 0), old) == {}


def test_recreate_takes_all_the_old_ones_at_once():
    recreate = rollout_of(deployment(replicas=3, strategy={"type": "Recreate"}))

    assert old_replicas(recreate, size("new", 0), [size("old", 3)]) == {"old": 0}


def annotated(name, replicas, *, desired, maximum, available=None, born="2026-01-01T00:00:00Z"):
    made = replica_set(name, replicas=replicas)
    made["metadata"]["creationTimestamp"] = born
    made["metadata"]["annotations"] = {
        "deployment.kubernetes.io/desired-replicas": str(desired),
        "deployment.kubernetes.io/max-replicas": str(maximum),
    }
    available = replicas if available is None else available
    made["status"] = {"replicas": replicas, "availableReplicas": available}
    return made


def test_a_change_of_replicas_shows_in_the_annotation():
    kept = [annotated("a", 3, desired=3, maximum=4)]

    assert not is_scaled(rollout(3), kept)
    assert is_scaled(rollout(5), kept)


def test_outside_a_rollout_the_only_active_one_takes_the_change():
    new = annotated("new", 3, desired=3, maximum=4)

    assert scaled(rollout(5), new, [annotated("old", 0, desired=3, maximum=4)]) == {"new": 5}


def test_within_a_rollout_everyone_takes_a_share():
    new = annotated("new", 5, desired=10, maximum=13, available=1, born="2026-01-02T00:00:00Z")
    old = annotated("old", 8, desired=10, maximum=13)

    sizes = scaled(rollout(15, surge=3, unavailable=2), new, [old])

    assert sizes == {"new": 7, "old": 11}


def test_shares_of_a_smaller_deployment_add_up():
    new = annotated("new", 5, desired=10, maximum=13, available=1)
    old = annotated("old", 8, desired=10, maximum=13)

    sizes = scaled(rollout(5, surge=2, unavailable=1), new, [old])

    assert sum(sizes.values()) == 7


def test_scaling_to_nothing_takes_all():
    new = annotated("new", 2, desired=4, maximum=5)
    old = annotated("old", 3, desired=4, maximum=5)

    assert scaled(rollout(0), new, [old]) == {"new": 0, "old": 0}
