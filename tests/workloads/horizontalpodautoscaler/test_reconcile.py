import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

from motorpool.api import apps, autoscaling, metrics
from motorpool.api.errors import ServiceUnavailable
from motorpool.api.meta import ObjectKey, at
from motorpool.client import ObjectList
from motorpool.workloads.horizontalpodautoscaler.reconcile import controller
from tests.workloads.cluster import Cluster, listening
from tests.workloads.objects import deployment, pod

KEY = ObjectKey("n", "web")
NOW = datetime(2026, 1, 1, 13, 0, tzinfo=UTC)


class World(Cluster):
    """A cluster whose pods use what the test says, in millicores."""

    def __init__(self, *objects):
        self.cpu = {}
        self.asked = 0
        self.down = False
        super().__init__(*objects)

    async def list(self, kind, namespace="", **selectors):
        if kind is not metrics.POD_METRICS:
            return await super().list(kind, namespace, **selectors)
        self.asked += 1
        if self.down:
            raise ServiceUnavailable("the server is currently unable to handle the request")
        items = [
            {
                "metadata": {"name": name, "namespace": namespace},
                "timestamp": "2026-01-01T13:00:00Z",
                "window": "15s",
                "containers": [{"name": "app", "usage": {"cpu": f"{used}m"}}],
            }
            for name, used in self.cpu.items()
        ]
        return ObjectList(items, "1")

    def condition(self, kind):
        found = at(self.scaler(), "status", "conditions", default=[])
        return next(((c["status"], c["reason"]) for c in found if c["type"] == kind), None)

    def scaler(self):
        return self.kept(autoscaling.HORIZONTAL_POD_AUTOSCALER, "n", "web")

    def replicas(self):
        return self.kept(apps.DEPLOYMENT, "n", "web")["spec"]["replicas"]


def scaler(least=1, most=10, name="web"):
    target = {"type": "Utilization", "averageUtilization": 80}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "n"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": least,
            "maxReplicas": most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def serving(name):
    made = pod(name)
    made["status"]["startTime"] = "2026-01-01T00:00:00Z"
    made["spec"]["containers"] = [{"name": "app", "resources": {"requests": {"cpu": "100m"}}}]
    return made


def sized(replicas):
    made = deployment(replicas=replicas)
    made["status"] = {"replicas": replicas}
    return made


@contextlib.asynccontextmanager
async def reconciling(client):
    """A reconcile that a period has passed before, with informers that follow."""
    async with listening(client, controller) as built:
        client.is_silent = False
        moment = NOW
        actor = built.reconcile.__self__

        async def step(*, seconds=15):
            nonlocal moment
            moment += timedelta(seconds=seconds)
            actor._clock = lambda: moment
            for _ in range(5):
                await asyncio.sleep(0)
            return await built.reconcile(KEY)

        yield step


async def test_load_makes_more_pods():
    client = World(sized(1), scaler(), serving("a"))
    client.cpu = {"a": 240}
    async with reconciling(client) as step:
        assert await step() == 15
    assert client.replicas() == 3
    assert client.condition("AbleToScale") == ("True", "SucceededRescale")
    assert client.condition("ScalingActive") == ("True", "ValidMetricFound")
    assert client.condition("ScalingLimited") == ("False", "DesiredWithinRange")
    status = client.scaler()["status"]
    assert (status["currentReplicas"], status["desiredReplicas"]) == (1, 3)
    assert status["currentMetrics"][0]["resource"]["current"]["averageUtilization"] == 240
    assert status["lastScaleTime"]


async def test_a_second_pass_writes_nothing_and_measures_nothing():
    client = World(sized(1), scaler(), serving("a"))
    client.cpu = {"a": 80}
    async with reconciling(client) as step:
        await step()
        client.writes.clear()
        assert 0 < await step(seconds=3) < 15
        assert (client.writes, client.asked) == ([], 1)
        await step(seconds=15)
        assert (client.writes, client.asked) == ([], 2)


async def test_equal_bounds_are_kept_without_measuring():
    client = World(sized(1), scaler(2, 2), serving("a"))
    async with reconciling(client) as step:
        assert await step() is None
        assert client.replicas() == 2
        assert await step() is None
        client.writes.clear()
        assert await step() is None
    assert (client.asked, client.writes) == (0, [])
    assert client.condition("ScalingActive") == ("False", "FixedSize")


async def test_a_target_at_zero_is_left_there():
    client = World(sized(0), scaler())
    async with reconciling(client) as step:
        assert await step() is None
    assert (client.replicas(), client.asked) == (0, 0)
    assert client.condition("ScalingActive") == ("False", "ScalingDisabled")


async def test_a_size_beyond_the_bounds_is_brought_back_at_once():
    client = World(sized(20), scaler(most=5))
    async with reconciling(client) as step:
        await step()
    assert (client.replicas(), client.asked) == (5, 0)


async def test_without_measurements_nothing_changes_and_the_condition_says_why():
    client = World(sized(3), scaler(), serving("a"))
    client.down = True
    async with reconciling(client) as step:
        assert await step() == 15
        await asyncio.sleep(0)
    assert client.replicas() == 3
    assert client.condition("ScalingActive") == ("False", "FailedGetResourceMetric")
    assert client.scaler()["status"]["currentMetrics"] == [{"type": ""}]


async def test_a_target_that_is_missing_is_told():
    client = World(scaler(name="absent"))
    async with reconciling(client) as step:
        assert await step() == 15
    assert client.condition("AbleToScale") == ("False", "FailedGetScale")
