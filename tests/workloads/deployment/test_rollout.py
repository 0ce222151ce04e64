"""Deployment and ReplicaSet controllers together, with a kubelet that the test plays."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motorpool.api import apps, core
from motorpool.api.errors import Forbidden
from motorpool.api.meta import ObjectKey, at, is_deleting, key_of
from motorpool.api.podstatus import is_active, is_ready
from motorpool.workloads.deployment import reconcile as deployments
from motorpool.workloads.deployment.spec import rollout_of
from motorpool.workloads.replicaset import reconcile as replica_sets
from tests.workloads.cluster import Cluster, listening, quiet, running, until
from tests.workloads.objects import deployment, ready_condition

KEY = ObjectKey("n", "web")


class Bounded(Cluster):
    """Looks at the rollout's bounds after every write."""

    watched = False
    violations = ()

    def _store(self, kind, obj, event_type):
        stored = super()._store(kind, obj, event_type)
        if self.watched:
            self.look()
        return stored

    def look(self):
        rollout = rollout_of(self.kept(apps.DEPLOYMENT, *KEY))
        serving = sum(is_active(pod) and is_ready(pod) for pod in self.all(core.POD))
        wanted = sum(at(rs, "spec", "replicas") for rs in self.all(apps.REPLICA_SET))
        if serving < rollout.available_min:
            self.violations += (f"{serving} serve, at least {rollout.available_min} must",)
        if wanted > rollout.replicas_max:
            self.violations += (f"{wanted} wanted, at most {rollout.replicas_max} may be",)


def start_one(client):
    """Makes one more pod ready; False where there is none."""
    for pod in client.all(core.POD):
        if is_active(pod) and not is_ready(pod):
            client.set(
                core.POD, pod, status={"phase": "Running", "conditions": [ready_condition(True)]}
            )
            return True
    return False


async def roll(client):
    """Plays the kubelet, one pod after the other, until nothing moves any more."""
    await quiet(client)
    while start_one(client):
        await quiet(client)


def sizes(client):
    return {
        rs["metadata"]["name"]: at(rs, "spec", "replicas") for rs in client.all(apps.REPLICA_SET)
    }


def is_done(client):
    kept = client.kept(apps.DEPLOYMENT, *KEY)
    return (
        at(kept, "status", "availableReplicas")
        == kept["spec"]["replicas"]
        == at(kept, "status", "replicas")
        == at(kept, "status", "updatedReplicas")
    )


async def edit(client, **spec):
    await client.patch(apps.DEPLOYMENT, *KEY, {"spec": spec})


def image(name):
    return {"spec": {"containers": [{"name": "app", "image": name}]}}


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    replicas=st.integers(1, 6),
    surge=st.sampled_from([0, 1, 3, "25%", "100%"]),
    unavailable=st.sampled_from([0, 1, 2, "25%", "100%"]),
)
def test_a_rollout_ends_and_never_leaves_its_bounds(replicas, surge, unavailable):
    async def scenario():
        rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
        client = Bounded(deployment(replicas=replicas, strategy={"rollingUpdate": rolling}))
        async with running(client, deployments.controller, replica_sets.controller):
            await roll(client)
            assert is_done(client)
            client.watched = True
            await edit(client, template=image("app:2"))
            await roll(client)
        assert client.violations == ()
        assert is_done(client)
        assert sorted(sizes(client).values()) == [0, replicas]

    asyncio.run(scenario())


async def test_the_first_pass_creates_and_a_second_writes_nothing():
    client = Cluster(deployment(replicas=2))
    async with listening(client, deployments.controller) as controller:
        await controller.reconcile(KEY)
        assert [w.split()[:2] for w in client.writes] == [
            ["create", "ReplicaSet"],
            ["patch", "Deployment"],
            ["update", "status"],
        ]
        before = list(client.writes)

        await controller.reconcile(KEY)

    assert client.writes == before


async def test_four_replicas_roll_as_on_a_cluster():
    client = Cluster(deployment(replicas=4))
    async with running(client, deployments.controller, replica_sets.controller):
        await roll(client)
        await edit(client, template=image("app:2"))
        await roll(client)
    old, new = sizes(client)

    assert client.events("ScalingReplicaSet") == [
        f"Scaled up replica set {old} from 0 to 4",
        f"Scaled up replica set {new} from 0 to 1",
        f"Scaled down replica set {old} from 4 to 3",
        f"Scaled up replica set {new} from 1 to 2",
        f"Scaled down replica set {old} from 3 to 2",
        f"Scaled up replica set {new} from 2 to 3",
        f"Scaled down replica set {old} from 2 to 1",
        f"Scaled up replica set {new} from 3 to 4",
        f"Scaled down replica set {old} from 1 to 0",
    ]


async def test_the_old_template_brings_the_old_replica_set_back():
    client = Cluster(deployment(replicas=1))
    async with running(client, deployments.controller, replica_sets.controller):
        await roll(client)
        (first,) = sizes(client)
        await edit(client, template=image("app:2"))
        await roll(client)
        await edit(client, template=image("app:1"))
        await roll(client)

    assert sizes(client)[first] == 1
    assert len(sizes(client)) == 2
    prefix = "deployment.kubernetes.io/"
    annotations = client.kept(apps.REPLICA_SET, "n", first)["metadata"]["annotations"]
    assert annotations[f"{prefix}revision"] == "3"
    assert annotations[f"{prefix}revision-history"] == "1"
    kept = client.kept(apps.DEPLOYMENT, *KEY)
    assert kept["metadata"]["annotations"][f"{prefix}revision"] == "3"
    assert kept["status"]["conditions"][1]["reason"] == "NewReplicaSetAvailable"


async def test_recreate_waits_until_the_old_pods_are_gone():
    client = Cluster(deployment(replicas=2, strategy={"type": "Recreate"}))
    async with running(client, deployments.controller, replica_sets.controller):
        await roll(client)
        old = client.all(core.POD)
        for pod in old:
            client.set(core.POD, pod, metadata={**pod["metadata"], "finalizers": ["test/grace"]})
        await edit(client, template=image("app:2"))
        await until(lambda: all(is_deleting(pod) for pod in client.all(core.POD)))
        await quiet(client)
        assert len(client.all(core.POD)) == 2

        for pod in old:
            client.remove(core.POD, pod)
        await roll(client)

    assert is_done(client)
    assert not {key_of(pod) for pod in old} & {key_of(pod) for pod in client.all(core.POD)}


async def test_a_paused_deployment_scales_but_does_not_roll():
    client = Cluster(deployment(replicas=1))
    async with running(client, deployments.controller, replica_sets.controller):
        await roll(client)
        await edit(client, paused=True, template=image("app:2"))
        await quiet(client)
        await edit(client, replicas=3)
        await roll(client)
        assert list(sizes(client).values()) == [3]

        await edit(client, paused=False)
        await roll(client)

    assert sorted(sizes(client).values()) == [0, 3]


async def test_old_revisions_are_cleaned_up():
    client = Cluster(deployment(replicas=1, revisionHistoryLimit=1))
    async with running(client, deployments.controller, replica_sets.controller):
        for number in range(1, 5):
            await edit(client, template=image(f"app:{number}"))
            await roll(client)

    assert sorted(sizes(client).values()) == [0, 1]


async def test_scaling_in_the_middle_of_a_rollout_favours_neither_version():
    client = Cluster(deployment(replicas=10, strategy={"rollingUpdate": {"maxSurge": 3}}))
    async with running(client, deployments.controller, replica_sets.controller):
        await roll(client)
        await edit(client, template=image("app:2"))
        await quiet(client)
        assert list(sizes(client).values()) == [8, 5]

        await edit(client, replicas=15)
        await quiet(client)
        assert sum(sizes(client).values()) == 18
        assert min(sizes(client).values()) > 5
        await roll(client)

    assert sorted(sizes(client).values()) == [0, 15]


async def test_an_orphaned_replica_set_is_adopted_and_not_made_again():
    client = Cluster(deployment())
    async with listening(client, deployments.controller) as controller:
        await controller.reconcile(KEY)
    (name,) = sizes(client)
    orphan = client.kept(apps.REPLICA_SET, "n", name)
    del orphan["metadata"]["ownerReferences"]

    client = Cluster(deployment(), orphan)
    async with running(client, deployments.controller, replica_sets.controller):
        await roll(client)

    assert list(sizes(client)) == [name]
    owner = client.kept(apps.REPLICA_SET, "n", name)["metadata"]["ownerReferences"][0]
    assert owner["uid"] == client.kept(apps.DEPLOYMENT, *KEY)["metadata"]["uid"]


async def test_a_rollout_that_stalls_is_looked_at_again_when_its_deadline_is_over():
    client = Cluster(deployment(progressDeadlineSeconds=60))
    async with listening(client, deployments.controller) as controller:
        again_s = await controller.reconcile(KEY)
        assert 0 < again_s <= 60


async def test_a_name_that_another_owner_has_gets_a_salted_hash():
    client = Cluster(deployment())
    async with listening(client, deployments.controller) as controller:
        await controller.reconcile(KEY)
    (name,) = sizes(client)
    foreign = client.kept(apps.REPLICA_SET, "n", name)
    foreign["metadata"]["ownerReferences"][0]["uid"] = "another"

    client = Cluster(deployment(), foreign)
    async with running(client, deployments.controller):
        await until(lambda: len(sizes(client)) == 2)
        await quiet(client)

    assert client.kept(apps.DEPLOYMENT, *KEY)["status"]["collisionCount"] == 1


async def test_a_refused_replica_set_is_a_condition():
    client = Cluster(deployment())
    client.refusals["create", "ReplicaSet"] = Forbidden("exceeded quota: small")
    async with running(client, deployments.controller):
        await until(lambda: at(client.kept(apps.DEPLOYMENT, *KEY), "status", "conditions"))

    progressing = client.kept(apps.DEPLOYMENT, *KEY)["status"]["conditions"][1]
    assert progressing["reason"] == "ReplicaSetCreateError"
    assert progressing["message"] == "exceeded quota: small"
