"""The controller turning on an API of a few lines: what it writes, and when it writes nothing."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from motorpool.api import core, serving
from motorpool.api.apps import DEPLOYMENT
from motorpool.api.conditions import condition_of
from motorpool.api.errors import Invalid
from motorpool.api.meta import ObjectKey, copy_of, key_of
from motorpool.api.scheme import by_kind
from motorpool.controllers.inferenceservice.childkinds import SCALED_OBJECT
from motorpool.controllers.inferenceservice.reconcile import controller
from motorpool.loop.cluster import Cluster
from motorpool.loop.events import EventRecorder
from motorpool.loop.informer import Informers
from motorpool.loop.kinds import LiveKinds
from motorpool.loop.runner import Context, Settings, run
from tests.controllers.inferenceservice.objects import (
    APPLICATIONS,
    NAMESPACE,
    configuration,
    isvc,
    runtime,
    shipped,
)
from tests.memory_client import MemoryClient

READY = {
    "observedGeneration": 1,
    "conditions": [
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
    ],
}


class World:
    """A running controller, and the deeds of everyone else."""

    def __init__(self, *objects, settings=None, kinds=(), config=None):
        self.client = MemoryClient(config or configuration(), *objects)
        self._moment = datetime(2026, 1, 1, tzinfo=UTC)
        informers = Informers(self.client)
        events = EventRecorder(self.client)
        context = Context(
            self.client,
            informers,
            events,
            settings or Settings(),
            self._clock,
            LiveKinds(kinds),
        )
        self.controller = controller(context)
        self._running = [informers.run(), run(self.controller), events.run()]

    def _clock(self):
        self._moment += timedelta(seconds=1)
        return self._moment

    @contextlib.asynccontextmanager
    async def turning(self):
        tasks = [asyncio.ensure_future(one) for one in self._running]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def isvc(self, name="resnet"):
        return self.client.kept(serving.INFERENCE_SERVICE, NAMESPACE, name)

    def child(self, kind, name="resnet-predictor"):
        return self.client.objects.get((kind, ObjectKey(NAMESPACE, name)))

    def condition(self, kind="Ready"):
        found = condition_of(self.isvc(), kind) or {}
        return found.get("status"), found.get("reason", "")

    def events(self):
        return [
            (obj["type"], obj["reason"])
            for (kind, _), obj in self.client.objects.items()
            if kind == core.EVENT
        ]

    async def until(self, condition):
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.002)

    async def reconciled_again(self):
        """One more pass over the object by hand, once all is quiet; gives what it wrote."""
        await self.settled()
        before = len(self.client.writes)
        await self.controller.reconcile(ObjectKey(NAMESPACE, "resnet"))
        return self.client.writes[before:]

    async def settled(self):
        """Returns when the informers have caught up and nothing more is written."""
        count = -1
        async with asyncio.timeout(30):
            while count != len(self.client.writes):
                count = len(self.client.writes)
                await asyncio.sleep(0.02)
                for _ in range(50):  # of a loop that stood still, too
                    await asyncio.sleep(0)

    async def edit(self, kind, name, change):
        obj = copy_of(self.client.kept(kind, NAMESPACE, name))
        change(obj)
        await self.client.update(kind, obj)

    async def serve(self):
        """What Deployment controller and node do: a pod runs, the Deployment is available."""
        await self.until(lambda: self.child(DEPLOYMENT))
        deployment = self.child(DEPLOYMENT)
        await self.client.create(core.POD, pod_of(deployment, ready=True))
        await self.client.replace_status(DEPLOYMENT, deployment, READY)
        await self.until(lambda: self.condition() == ("True", ""))


def pod_of(deployment, *, ready, **status):
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "pod-1", "namespace": NAMESPACE}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    body = {"phase": "Running", "conditions": conditions, **status}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"],
            "status": body}  # fmt: skip


async def test_children_are_made_and_a_second_pass_writes_nothing():
    async with World(isvc(), shipped("kserve-ovms")).turning() as world:
        await world.until(lambda: world.condition()[0] == "False")
        assert world.client.writes[:4] == [
            "apply Service resnet-predictor",
            "apply Deployment resnet-predictor",
            "apply HorizontalPodAutoscaler resnet-predictor",
            "update status InferenceService resnet",
        ]
        assert await world.reconciled_again() == []


async def test_ready_and_loaded_come_together_and_are_told_once():
    async with World(isvc(), shipped("kserve-ovms")).turning() as world:
        await world.serve()
        status = world.isvc()["status"]
        assert status["modelStatus"]["states"]["activeModelState"] == "Loaded"
        assert status["address"]["url"].endswith(".svc.cluster.local:8888")
        assert await world.reconciled_again() == []
        assert world.events() == [("Normal", "InferenceServiceReady")]


async def test_a_change_of_the_spec_rolls_the_deployment():
    async with World(isvc(), shipped("kserve-ovms")).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))

        def change(obj):
            obj["spec"]["predictor"]["model"]["args"] = ["--layout=NHWC:NCHW"]

        await world.edit(serving.INFERENCE_SERVICE, "resnet", change)
        await world.until(lambda: "--layout=NHWC:NCHW" in args_of(world.child(DEPLOYMENT)))


async def test_a_change_of_the_runtime_rolls_the_deployment():
    async with World(isvc(), shipped("kserve-ovms")).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))

        def change(obj):
            obj["spec"]["containers"][0]["args"].append("--log_level=DEBUG")

        await world.edit(serving.SERVING_RUNTIME, "kserve-ovms", change)
        await world.until(lambda: "--log_level=DEBUG" in args_of(world.child(DEPLOYMENT)))


async def test_a_change_of_the_configuration_is_seen_without_a_restart():
    async with World(isvc(model={"storageUri": "s3://a/b"}), runtime()).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))
        config = configuration()
        config["data"]["storageInitializer"] = '{"image": "mirror/initializer:2"}'
        await world.client.update(core.CONFIG_MAP, config)

        def image():
            pod = world.child(DEPLOYMENT)["spec"]["template"]["spec"]
            return pod["initContainers"][0]["image"]

        await world.until(lambda: image() == "mirror/initializer:2")


@pytest.mark.parametrize("headless", [True, False])
async def test_a_service_stays_headless_or_not_whatever_the_configuration_says_later(headless):
    def said(value):
        config = configuration()
        config["data"]["service"] = json.dumps({"serviceClusterIPNone": value})
        return config

    async with World(isvc(), runtime(), config=said(headless)).turning() as world:
        await world.until(lambda: world.child(core.SERVICE))

        def change(obj):
            obj["spec"]["clusterIP"] = "None" if headless else "127.128.9.9"
            obj["metadata"]["labels"].pop("app")

        await world.client.update(core.CONFIG_MAP, said(not headless))
        await world.edit(core.SERVICE, "resnet-predictor", change)
        await world.until(lambda: "app" in world.child(core.SERVICE)["metadata"]["labels"])
        kept = world.child(core.SERVICE)["spec"]["clusterIP"]
        assert kept == ("None" if headless else "127.128.9.9")


async def test_what_a_user_changes_on_a_child_is_put_right():
    async with World(isvc(), runtime()).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))

        def change(obj):
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = "other:1"

        await world.edit(DEPLOYMENT, "resnet-predictor", change)
        await world.until(lambda: image_of(world.child(DEPLOYMENT)) == "server:1")


async def test_a_child_that_is_deleted_comes_back():
    async with World(isvc(), runtime()).turning() as world:
        await world.until(lambda: world.child(core.SERVICE))
        await world.client.delete(core.SERVICE, NAMESPACE, "resnet-predictor")
        await world.until(lambda: world.child(core.SERVICE))


async def test_children_that_are_no_longer_wanted_go():
    wanted = isvc(name="resnet")
    wanted["spec"]["transformer"] = {"containers": [{"image": "t:1"}]}
    async with World(wanted, runtime()).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT, "resnet-transformer"))
        await world.edit(
            serving.INFERENCE_SERVICE, "resnet", lambda obj: obj["spec"].pop("transformer")
        )
        await world.until(lambda: not world.child(DEPLOYMENT, "resnet-transformer"))
        await world.until(lambda: not world.child(core.SERVICE, "resnet-transformer"))
        assert world.child(DEPLOYMENT)


async def test_a_stopped_service_loses_its_children_and_resumes():
    async with World(isvc(), runtime()).turning() as world:
        await world.serve()
        stop = {"serving.kserve.io/stop": "true"}
        await world.edit(serving.INFERENCE_SERVICE, "resnet",
                         lambda obj: obj["metadata"].update(annotations=stop))  # fmt: skip
        await world.until(lambda: world.condition("Stopped") == ("True", ""))
        await world.until(lambda: not world.child(DEPLOYMENT) and not world.child(core.SERVICE))
        assert world.condition() == ("False", "Stopped")
        assert await world.reconciled_again() == []
        await world.edit(serving.INFERENCE_SERVICE, "resnet",
                         lambda obj: obj["metadata"].update(annotations={}))  # fmt: skip
        await world.until(lambda: world.child(DEPLOYMENT))


async def test_no_runtime_is_a_condition_and_an_event_until_one_comes():
    async with World(isvc()).turning() as world:
        await world.until(lambda: world.condition() == ("False", "NoSupportingRuntime"))
        status = world.isvc()["status"]
        assert status["modelStatus"]["transitionStatus"] == "InvalidSpec"
        assert "create a ServingRuntime" in status["modelStatus"]["lastFailureInfo"]["message"]
        assert await world.reconciled_again() == []
        await world.until(lambda: world.events() == [("Warning", "NoSupportingRuntime")])
        await world.client.create(serving.CLUSTER_SERVING_RUNTIME, runtime(cluster=True))
        await world.until(lambda: world.child(DEPLOYMENT))
        await world.until(lambda: world.isvc()["status"].get("clusterServingRuntimeName"))


async def test_which_runtime_is_chosen_does_not_depend_on_which_came_first():
    async with World(isvc(), runtime("far", cluster=True)).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))
        await world.client.create(serving.SERVING_RUNTIME, runtime("near"))
        await world.until(lambda: image_of(world.child(DEPLOYMENT)) == "near:1")
        await world.until(lambda: world.isvc()["status"].get("servingRuntimeName") == "near")
        assert "clusterServingRuntimeName" not in world.isvc()["status"]


async def test_a_data_connection_is_waited_for():
    wanted = isvc(model={"storage": {"key": "minio", "path": "a"}})
    del wanted["spec"]["predictor"]["model"]["storageUri"]
    secret = {"apiVersion": "v1", "kind": "Secret",
              "metadata": {"name": "storage-config", "namespace": NAMESPACE},
              "stringData": {"minio": '{"type": "s3", "bucket": "b"}'}}  # fmt: skip
    async with World(wanted, runtime()).turning() as world:
        await world.until(lambda: world.condition() == ("False", "InvalidPredictorSpec"))
        await world.client.create(core.SECRET, secret)
        await world.until(lambda: world.child(DEPLOYMENT))


async def test_a_model_that_cannot_be_pulled_is_told_and_recovers():
    async with World(isvc(), runtime()).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))
        message = "localhost/ovms-resnet50:test: not found"
        state = {"waiting": {"reason": "ErrImagePull", "message": message}}
        statuses = [{"name": "kserve-container", "state": state}]
        failing = pod_of(world.child(DEPLOYMENT), ready=False, containerStatuses=statuses)
        await world.client.create(core.POD, failing)
        await world.until(lambda: world.condition() == ("False", "ModelLoadFailed"))
        assert await world.reconciled_again() == []
        await world.until(lambda: world.events() == [("Warning", "ModelLoadFailed")])
        await world.client.delete(core.POD, NAMESPACE, "pod-1")
        await world.serve()
        assert "lastFailureInfo" not in world.isvc()["status"]["modelStatus"]


async def test_losing_readiness_is_told():
    async with World(isvc(), runtime()).turning() as world:
        await world.serve()
        lost = {"conditions": [{"type": "Available", "status": "False", "reason": "Lost"}]}
        await world.client.replace_status(DEPLOYMENT, world.child(DEPLOYMENT), lost)
        await world.until(lambda: ("Warning", "InferenceServiceNotReady") in world.events())


async def test_a_ready_service_that_is_held_is_left_as_it_is():
    held = isvc()
    held["metadata"]["annotations"] = {"serving.kserve.io/disable-auto-update": "true"}
    async with World(held, runtime()).turning() as world:
        await world.serve()

        def change(obj):
            obj["spec"]["containers"][0]["image"] = "server:2"

        await world.edit(serving.SERVING_RUNTIME, "server", change)
        assert await world.reconciled_again() == []
        assert image_of(world.child(DEPLOYMENT)) == "server:1"


@pytest.mark.parametrize("mode", ["Serverless", "ModelMesh"])
async def test_a_mode_that_is_not_served_is_refused(mode):
    wanted = isvc()
    wanted["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": mode}
    async with World(wanted, runtime()).turning() as world:
        await world.until(lambda: world.condition() == ("False", "DeploymentModeNotSupported"))
        assert not world.child(DEPLOYMENT)
        assert await world.reconciled_again() == []


async def test_somebody_elses_object_is_not_taken_over():
    foreign = {"apiVersion": "v1", "kind": "Service",
               "metadata": {"name": "resnet-predictor", "namespace": NAMESPACE},
               "spec": {"selector": {"app": "mine"}}}  # fmt: skip
    async with World(isvc(), runtime(), foreign).turning() as world:
        await world.until(lambda: world.condition() == ("False", "NameTaken"))
        assert world.child(core.SERVICE)["spec"] == {"selector": {"app": "mine"}}
        assert not world.child(DEPLOYMENT)


async def test_a_child_that_the_api_does_not_take_is_told(monkeypatch):
    world = World(isvc(), runtime())
    taken = world.client.apply

    async def refusing(kind, obj, *, manager):
        if kind == DEPLOYMENT:
            raise Invalid('Deployment.apps "resnet-predictor" is invalid: requests above limits')
        return await taken(kind, obj, manager=manager)

    monkeypatch.setattr(world.client, "apply", refusing)
    async with world.turning():
        await world.until(lambda: world.condition() == ("False", "ReconcileFailed"))
        info = world.isvc()["status"]["modelStatus"]["lastFailureInfo"]
        assert "requests above limits: correct the InferenceService" in info["message"]
        await world.until(lambda: world.events() == [("Warning", "ReconcileFailed")])


async def test_what_has_no_effect_is_an_event_too():
    wanted = isvc(logger={"mode": "all"})
    async with World(wanted, runtime()).turning() as world:
        await world.until(lambda: world.events() == [("Warning", "NotSupported")])
        assert await world.reconciled_again() == []


async def test_a_broken_configuration_is_told_on_every_service():
    broken = configuration()
    broken["data"]["ingress"] = "{"
    async with World(isvc(), runtime()).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))
        await world.client.update(core.CONFIG_MAP, broken)
        await world.until(lambda: world.condition() == ("False", "InvalidConfiguration"))
        assert world.child(DEPLOYMENT), "what runs goes on running"
        assert key_of(broken) == ObjectKey(APPLICATIONS, "inferenceservice-config")


def args_of(deployment):
    return deployment["spec"]["template"]["spec"]["containers"][0].get("args") or []


def image_of(deployment):
    return deployment["spec"]["template"]["spec"]["containers"][0]["image"]


def storage_container(image):
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": "acme"},
        "spec": {
            "container": {"name": "fetch", "image": image},
            "supportedUriFormats": [{"prefix": "s3://"}],
        },
    }


async def test_a_storage_container_that_comes_or_goes_is_followed_at_once():
    downloading = isvc(model={"storageUri": "s3://models/resnet"})
    async with World(downloading, shipped("kserve-ovms")).turning() as world:

        def image():
            pod = (world.child(DEPLOYMENT) or {"spec": {"template": {"spec": {}}}})["spec"]
            (container,) = pod["template"]["spec"].get("initContainers") or [{"image": ""}]
            return container["image"]

        await world.until(lambda: image() == "kserve/storage-initializer:latest")
        await world.client.create(serving.CLUSTER_STORAGE_CONTAINER, storage_container("acme:1"))
        await world.until(lambda: image() == "acme:1")
        assert await world.reconciled_again() == []
        await world.client.delete(serving.CLUSTER_STORAGE_CONTAINER, "", "acme")
        await world.until(lambda: image() == "kserve/storage-initializer:latest")


def containers_of(deployment):
    return [container["name"] for container in deployment["spec"]["template"]["spec"]["containers"]]


async def test_an_upgrade_of_the_cluster_rolls_no_modelcar():
    old = Settings(cluster=Cluster.of_version({"gitVersion": "v1.30.1"}))
    async with World(isvc(), shipped("kserve-ovms"), settings=old).turning() as world:
        await world.until(lambda: world.child(DEPLOYMENT))
        await world.settled()
        there = world.child(DEPLOYMENT)
        assert containers_of(there) == ["kserve-container", "modelcar"]
    new = Settings(cluster=Cluster.of_version({"gitVersion": "v1.36.0"}))
    async with World(world.isvc(), shipped("kserve-ovms"), there, settings=new).turning() as world:
        await world.until(lambda: world.condition()[0] == "False")
        await world.settled()
        assert containers_of(world.child(DEPLOYMENT)) == ["kserve-container", "modelcar"]


def failing_pod(field, name, state):
    def add(deployment):
        statuses = {field: [{"name": name, "image": "server:1", "state": state}]}
        return pod_of(deployment, ready=False, **statuses)

    return add


FAILURES = {
    "RuntimeNotRecognized": ([isvc(model={"runtime": "gone"})], None, "waiting for runtime gone"),
    "RuntimeDisabled": (
        [isvc(model={"runtime": "server"}), runtime(disabled=True)], None, "set its spec.disabled",
    ),
    "NoSupportingRuntime": ([isvc(model={"modelFormat": {"name": "x"}}), runtime()], None,
                            "create a ServingRuntime for it"),
    "InvalidPredictorSpec": (
        [isvc(model={"storageUri": "ftp://a"}), runtime()], None, "is not supported: use one of",
    ),
    "ModelLoadFailed": (
        [isvc(model={"storageUri": "s3://a/b"}), runtime()],
        failing_pod("initContainerStatuses", "storage-initializer",
                    {"terminated": {"exitCode": 1, "message": "no such bucket a"}}),
        "no such bucket a; check storageUri and its credentials",
    ),
    "RuntimeUnhealthy": (
        [isvc(), runtime()],
        failing_pod("containerStatuses", "kserve-container",
                    {"waiting": {"reason": "ErrImagePull", "message": "server:1: not found"}}),
        "check the image of the ServingRuntime",
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", FAILURES)
async def test_each_failure_is_in_condition_model_status_and_event(reason):
    objects, fails, text = FAILURES[reason]
    async with World(*objects).turning() as world:
        if fails is not None:
            await world.until(lambda: world.child(DEPLOYMENT))
            await world.client.create(core.POD, fails(world.child(DEPLOYMENT)))
        await world.until(lambda: world.condition() == ("False", reason))
        await world.until(lambda: world.events() == [("Warning", reason)])
        status = world.isvc()["status"]
        for kind in ("Ready", "PredictorReady"):
            assert text in condition_of({"status": status}, kind)["message"]
        model = status["modelStatus"]
        blocked = fails is not None
        assert model["transitionStatus"] == ("BlockedByFailedLoad" if blocked else "InvalidSpec")
        assert model["states"]["targetModelState"] == "FailedToLoad"
        assert model["lastFailureInfo"]["reason"] == reason
        assert await world.reconciled_again() == []


async def test_a_change_to_keda_takes_the_other_autoscaler_away_first_and_back():
    keda = {"serving.kserve.io/autoscalerClass": "keda"}
    async with World(isvc(), runtime(), kinds=[SCALED_OBJECT]).turning() as world:
        autoscaler = by_kind("autoscaling/v2", "HorizontalPodAutoscaler")
        await world.until(lambda: world.child(autoscaler))
        before = len(world.client.writes)
        await world.edit(serving.INFERENCE_SERVICE, "resnet",
                         lambda obj: obj["metadata"].update(annotations=keda))  # fmt: skip
        await world.until(lambda: world.child(SCALED_OBJECT))
        writes = [
            line for line in world.client.writes[before:] if "Autosc" in line or "Sca" in line
        ]
        assert writes == [
            "delete HorizontalPodAutoscaler resnet-predictor",
            "apply ScaledObject resnet-predictor",
        ]
        assert await world.reconciled_again() == []


async def test_keda_that_is_not_installed_is_told():
    wanted = isvc()
    wanted["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "keda"}
    async with World(wanted, runtime()).turning() as world:
        await world.until(lambda: world.condition() == ("False", "AutoscalerNotSupported"))
        await world.until(lambda: world.events() == [("Warning", "AutoscalerNotSupported")])
