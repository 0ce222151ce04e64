import pytest

from motorpool.workloads.deployment.spec import rollout_of
from tests.workloads.objects import deployment


def rolling(replicas, surge, unavailable):
    strategy = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    return rollout_of(deployment(replicas=replicas, strategy=strategy))


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "bounds"),
    [
        (4, "25%", "25%", (1, 1)),
        (1, "25%", "25%", (1, 0)),
        (10, "25%", "25%", (3, 2)),
        (3, 2, 1, (2, 1)),
        (3, 0, 0, (0, 1)),
        (3, "0%", "10%", (0, 1)),
        (2, 0, 5, (0, 2)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_bounds_are_rounded_in_the_users_favour(replicas, surge, unavailable, bounds):
    rollout = rolling(replicas, surge, unavailable)

    assert (rollout.max_surge, rollout.max_unavailable) == bounds


def test_recreate_allows_no_pod_beside_another():
    rollout = rollout_of(deployment(replicas=3, strategy={"type": "Recreate"}))

    assert (rollout.recreates, rollout.max_surge, rollout.max_unavailable) == (True, 0, 0)


def test_the_largest_integer_means_no_deadline():
    assert rollout_of(deployment(progressDeadlineSeconds=2**31 - 1)).deadline_s is None
