"""The status that children give, in values."""

from dataclasses import replace

import pytest

from motorpool.api.conditions import condition_of
from motorpool.controllers.inferenceservice.config import Config, config_of
from motorpool.controllers.inferenceservice.refusal import Refusal
from motorpool.controllers.inferenceservice.runtime import Runtime
from motorpool.controllers.inferenceservice.status import (
    Observed,
    component_condition,
    observed_status,
    refused,
    stopped,
)
from motorpool.loop.cluster import Cluster
from tests.controllers.inferenceservice.objects import NOW, configuration, isvc, runtime

CONFIG = config_of(configuration())
LATER = "2026-01-01T00:01:00Z"
READY = (("Available", "True", "MinimumReplicasAvailable"),
         ("Progressing", "True", "NewReplicaSetAvailable"))  # fmt: skip
STARTING = (("Available", "False", "MinimumReplicasUnavailable"),
            ("Progressing", "True", "ReplicaSetUpdated"))  # fmt: skip


def deployment(*conditions, generation=3):
    listed = [{"type": t, "status": s, "reason": r, "message": f"about {r}"}
              for t, s, r in conditions]  # fmt: skip
    return {"status": {"observedGeneration": generation, "conditions": listed}}


def service(*, headless=True, port=8888):
    return {"spec": {"clusterIP": "None" if headless else "10.0.0.1",
                     "ports": [{"port": 80, "targetPort": port}]}}  # fmt: skip


def pod(name="p", *, ready=False, created=NOW, **status):
    phase = "Running" if ready else status.pop("phase", "Pending")
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    metadata = {"name": name, "namespace": "ai-demo", "creationTimestamp": created}
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions, **status}}


def waiting(reason, message="", *, name="kserve-container", **last):
    state = {"waiting": {"reason": reason, "message": message}}
    return [{"name": name, "state": state, **({"lastState": last} if last else {})}]


def ended(code, message, *, name="kserve-container"):
    state = {"terminated": {"exitCode": code, "reason": "Error", "message": message,
                            "finishedAt": NOW}}  # fmt: skip
    return [{"name": name, "state": state}]


def status_of(conditions, pods=(), wanted=None, config=CONFIG, **observed):
    seen = Observed(
        deployments={"predictor": deployment(*conditions)},
        services={"predictor": service()},
        pods=pods,
        **observed,
    )
    return observed_status(wanted or isvc(), seen, config, NOW)


def condition(status, kind):
    found = condition_of({"status": status}, kind) or {}
    return found.get("status"), found.get("reason", "")


def test_all_is_ready():
    chosen = Runtime(runtime(), is_cluster=False)
    status = status_of(READY, [pod(ready=True)], runtime=chosen)
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [
        ("IngressReady", "True"),
        ("PredictorReady", "True"),
        ("Ready", "True"),
        ("Stopped", "False"),
    ]
    assert status["modelStatus"] == {
        "transitionStatus": "UpToDate",
        "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        "copies": {"failedCopies": 0, "totalCopies": 1},
    }
    host = "resnet-predictor.ai-demo.svc.cluster.local"
    assert status["url"] == f"http://{host}"
    assert status["address"] == {"url": f"http://{host}:8888"}
    assert status["components"] == {"predictor": {"url": f"http://{host}"}}
    assert status["observedGeneration"] == 3
    assert status["deploymentMode"] == "Standard"
    assert status["servingRuntimeName"] == "server"


def test_while_pods_start_ready_is_false_for_the_deployments_reason():
    status = status_of(STARTING, [pod()])
    assert condition(status, "PredictorReady") == ("False", "MinimumReplicasUnavailable")
    assert condition(status, "Ready") == ("False", "MinimumReplicasUnavailable")
    assert status["modelStatus"]["transitionStatus"] == "InProgress"
    assert status["modelStatus"]["states"]["targetModelState"] == "Pending"
    assert "url" in status
    assert status["components"] == {}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ((), ("False", "DeploymentNotObserved")),
        ((("Available", "True", "a"),), ("True", "a")),
        ((("Progressing", "True", "ReplicaSetUpdated"),), ("Unknown", "ReplicaSetUpdated")),
        ((("Progressing", "True", "NewReplicaSetAvailable"),), ("True", "NewReplicaSetAvailable")),
        ((("Available", "True", "a"), ("Progressing", "True", "ReplicaSetUpdated")), ("True", "a")),
        ((("Progressing", "False", "ProgressDeadlineExceeded"),),
         ("False", "ProgressDeadlineExceeded")),
        (STARTING, ("False", "MinimumReplicasUnavailable")),
        ((*READY, ("ReplicaFailure", "True", "FailedCreate")), ("False", "FailedCreate")),
    ],
)  # fmt: skip
def test_later_rules_about_the_deployment_override_earlier_ones(conditions, expected):
    found = component_condition("predictor", deployment(*conditions))
    assert (found["status"], found["reason"]) == expected


def test_a_missing_service_account_is_told_with_the_next_step():
    words = (
        'pods "iris-5d4f-" is forbidden: error looking up service account ns/robot: '
        'serviceaccount "robot" not found'
    )
    have = deployment(*STARTING)
    have["status"]["conditions"].append(
        {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": words}
    )
    found = component_condition("predictor", have)
    assert (found["status"], found["reason"]) == ("False", "FailedCreate")
    assert found["message"] == (
        f"{words}: create it with `kubectl create serviceaccount robot -n ns`, or correct "
        "serviceAccountName"
    )


def test_a_service_with_an_address_translates_ports():
    seen = Observed(services={"predictor": service(headless=False)})
    status = observed_status(isvc(), seen, CONFIG, NOW)
    assert status["address"]["url"] == "http://resnet-predictor.ai-demo.svc.cluster.local"


def test_with_an_ingress_the_url_comes_from_the_domain_template():
    config = Config(ingress_domain="models.example.org", url_scheme="https")
    status = status_of(READY, [pod(ready=True)], config=config)
    assert status["url"] == "https://resnet-ai-demo.models.example.org"
    assert condition(status, "IngressReady") == ("False", "IngressNotServed")
    assert condition(status_of(STARTING, config=config), "IngressReady") == (
        "False", "Predictor ingress not created",
    )  # fmt: skip


def test_a_transformer_in_front_must_be_ready_too():
    wanted = isvc()
    wanted["spec"]["transformer"] = {"containers": [{"image": "t:1"}]}
    status = status_of(READY, [pod(ready=True)], wanted=wanted)
    assert condition(status, "PredictorReady")[0] == "True"
    assert condition(status, "Ready") == ("False", "Transformer ingress not created")


def test_a_cluster_local_service_needs_no_ingress():
    wanted = isvc()
    wanted["metadata"]["labels"] = {"networking.kserve.io/visibility": "cluster-local"}
    status = status_of(READY, [pod(ready=True)], wanted=wanted, config=Config())
    assert condition(status, "Ready") == ("True", "")


def test_a_model_image_that_cannot_be_pulled_names_the_image_and_the_next_step():
    message = 'image "localhost/ovms-resnet50:test" not found'
    status = status_of(STARTING, [pod(containerStatuses=waiting("ErrImagePull", message))])
    assert condition(status, "PredictorReady") == ("False", "ModelLoadFailed")
    text = condition_of({"status": status}, "Ready")["message"]
    assert "ErrImagePull" in text
    assert "localhost/ovms-resnet50:test" in text
    assert "check spec.predictor.model.storageUri" in text
    assert status["modelStatus"] == {
        "transitionStatus": "BlockedByFailedLoad",
        "states": {"activeModelState": "Pending", "targetModelState": "FailedToLoad"},
        "copies": {"failedCopies": 1, "totalCopies": 0},
        "lastFailureInfo": {
            "location": "p",
            "reason": "ModelLoadFailed",
            "message": f"ErrImagePull: {message}",
            "time": NOW,
        },
    }


def test_a_pull_that_fails_without_naming_an_image_is_that_of_the_model():
    statuses = waiting("ErrImagePull", "the layer is not valid gzip")
    statuses[0]["image"] = "ovms-image"
    status = status_of(STARTING, [pod(containerStatuses=statuses)])
    info = status["modelStatus"]["lastFailureInfo"]
    words = "ErrImagePull: localhost/ovms-resnet50:test: the layer is not valid gzip"
    assert (info["reason"], info["message"]) == ("ModelLoadFailed", words)


def test_a_server_image_that_cannot_be_pulled_points_at_the_runtime():
    statuses = waiting("ImagePullBackOff", 'Back-off pulling image "nosuch:1"')
    statuses[0]["image"] = "nosuch:1"
    status = status_of(STARTING, [pod(containerStatuses=statuses)])
    assert condition(status, "PredictorReady") == ("False", "RuntimeUnhealthy")
    assert "image of the ServingRuntime" in condition_of({"status": status}, "Ready")["message"]


def test_a_volume_that_cannot_be_mounted_is_told_in_the_nodes_words():
    message = 'MountVolume.SetUp failed for volume "models" : claim "models" not found'
    pods = [pod(containerStatuses=waiting("ContainerCreating", message))]
    text = condition_of({"status": status_of(STARTING, pods)}, "Ready")["message"]
    assert message in text
    assert "check the volumes" in text
    pods = [pod(containerStatuses=waiting("ContainerCreating"))]
    assert condition(status_of(STARTING, pods), "Ready")[1] == "MinimumReplicasUnavailable"


@pytest.mark.parametrize(
    "statuses",
    [
        ended(64, "unknown flag: --nosuch"),
        waiting("CrashLoopBackOff", "back-off", terminated={
            "exitCode": 64, "message": "unknown flag: --nosuch", "finishedAt": NOW}),
    ],
)  # fmt: skip
def test_a_server_that_crashes_shows_its_exit_code_and_the_end_of_its_log(statuses):
    status = status_of(STARTING, [pod(phase="Running", containerStatuses=statuses)])
    info = status["modelStatus"]["lastFailureInfo"]
    assert (info["exitCode"], info["message"]) == (64, "unknown flag: --nosuch")
    text = condition_of({"status": status}, "PredictorReady")["message"]
    assert "exited with code 64: unknown flag: --nosuch; see kubectl logs -n ai-demo p" in text


def test_a_server_that_is_started_again_keeps_its_failure_until_it_is_ready():
    (status,) = ended(1, "boom")
    again = {"name": status["name"], "state": {"running": {}}, "lastState": status["state"]}
    found = status_of(STARTING, [pod(phase="Running", containerStatuses=[again])])
    assert found["modelStatus"]["lastFailureInfo"]["message"] == "boom"
    again["ready"] = True
    found = status_of(STARTING, [pod(phase="Running", containerStatuses=[again])])
    assert "lastFailureInfo" not in found["modelStatus"]


def test_a_server_that_runs_while_its_model_does_not_answer_points_at_the_log():
    silent = {"name": "kserve-container", "state": {"running": {}}, "ready": False}
    status = status_of(STARTING, [pod(phase="Running", containerStatuses=[silent])])
    assert condition(status, "Ready") == ("False", "MinimumReplicasUnavailable")
    text = condition_of({"status": status}, "Ready")["message"]
    assert text.endswith("see kubectl logs -n ai-demo p -c kserve-container")


def test_a_download_that_fails_is_told_with_its_text():
    statuses = ended(1, "no bucket models", name="storage-initializer")
    status = status_of(STARTING, [pod(initContainerStatuses=statuses)])
    assert status["modelStatus"]["lastFailureInfo"]["message"] == "no bucket models"
    assert status["modelStatus"]["states"]["targetModelState"] == "FailedToLoad"


def test_a_download_under_way_is_loading():
    statuses = [{"name": "storage-initializer", "state": {"running": {"startedAt": NOW}}}]
    status = status_of(STARTING, [pod(initContainerStatuses=statuses)])
    assert status["modelStatus"]["states"]["targetModelState"] == "Loading"


def of_revision(pod, revision):
    pod["metadata"]["labels"] = {"pod-template-hash": revision}
    return pod


def test_a_failure_stays_while_its_download_is_tried_again():
    failure = ended(1, "no such bucket", name="storage-initializer")
    failed = of_revision(pod(initContainerStatuses=failure), "abc")
    before = status_of(STARTING, [failed])
    info = before["modelStatus"]["lastFailureInfo"]
    assert (info["message"], info["modelRevisionName"]) == ("no such bucket", "abc")
    wanted = {**isvc(), "status": before}
    running = [{"name": "storage-initializer", "state": {"running": {}}}]
    again = of_revision(pod("q", created=LATER, initContainerStatuses=running), "abc")
    for pods, target in (([again], "Loading"), ([], "Pending")):
        status = status_of(STARTING, pods, wanted)["modelStatus"]
        assert status["lastFailureInfo"] == info
        assert status["states"]["targetModelState"] == target
        assert status["transitionStatus"] == "InProgress"


def test_a_failure_goes_once_the_model_is_loaded_or_another_revision_is_tried():
    failed = of_revision(pod(initContainerStatuses=ended(1, "x", name="storage-initializer")), "a")
    wanted = {**isvc(), "status": status_of(STARTING, [failed])}
    loaded = status_of(READY, [of_revision(pod(ready=True), "a")], wanted)
    other = status_of(STARTING, [of_revision(pod("q", created=LATER), "b")], wanted)
    assert "lastFailureInfo" not in loaded["modelStatus"]
    assert "lastFailureInfo" not in other["modelStatus"]


def test_an_image_without_a_model_is_told_by_its_init_container():
    checked = pod(initContainerStatuses=ended(1, "a/b:1 holds nothing", name="modelcar-init"))
    status = status_of(STARTING, [checked])
    found = condition_of({"status": status}, "PredictorReady")
    assert found["reason"] == "ModelLoadFailed"
    assert "a/b:1 holds nothing; check spec.predictor.model.storageUri" in found["message"]
    loading = [{"name": "modelcar-init", "state": {"running": {}}}]
    states = status_of(STARTING, [pod(initContainerStatuses=loading)])["modelStatus"]["states"]
    assert states["targetModelState"] == "Loading"


def test_a_cluster_that_may_not_mount_images_is_told_where_one_is_mounted():
    old = Cluster.of_version({"gitVersion": "v1.33.1"})
    mounting = deployment(*READY)
    volumes = [{"name": "mnt-models", "image": {"reference": "a/b:1"}}]
    mounting["spec"] = {"template": {"spec": {"containers": [], "volumes": volumes}}}
    seen = Observed(deployments={"predictor": mounting}, cluster=old)
    status = observed_status(isvc(), seen, CONFIG, NOW)
    found = condition_of({"status": status}, "OciImageVolumeCompatible")
    assert (found["status"], found["reason"]) == ("False", "ImageVolumeAlpha")
    assert found["severity"] == "Info", "it does not keep the service from being Ready"
    assert condition(status_of(READY, cluster=old), "OciImageVolumeCompatible") == (None, "")


def test_the_newest_pod_speaks_and_one_that_goes_is_not_asked():
    crashed = pod("old", containerStatuses=ended(1, "boom"))
    newer = pod("new", created=LATER)
    status = status_of(STARTING, [crashed, newer])
    assert "lastFailureInfo" not in status["modelStatus"]
    newer["metadata"]["deletionTimestamp"] = LATER
    status = status_of(STARTING, [crashed, newer])
    assert status["modelStatus"]["lastFailureInfo"]["location"] == "old"


def test_a_failed_update_leaves_the_served_model_active():
    before = isvc()
    before["status"] = status_of(READY, [pod(ready=True)])
    pods = [pod("old", ready=True), pod("new", created=LATER, containerStatuses=ended(1, "boom"))]
    progressing = (("Available", "False", "MinimumReplicasUnavailable"),)
    status = status_of(progressing, pods, wanted=before)
    assert status["modelStatus"]["states"] == {
        "activeModelState": "Loaded", "targetModelState": "FailedToLoad",
    }  # fmt: skip
    assert status["modelStatus"]["copies"] == {"failedCopies": 1, "totalCopies": 1}


def test_the_time_of_a_failure_and_of_a_condition_stay_while_nothing_changes():
    wanted = isvc()
    refusal = Refusal("NoSupportingRuntime", "no runtime found")
    wanted["status"] = refused(wanted, refusal, NOW)
    assert refused(wanted, refusal, LATER) == wanted["status"]


def test_a_refusal_is_in_condition_and_model_status():
    status = refused(isvc(), Refusal("NoSupportingRuntime", "no runtime found"), NOW)
    assert condition(status, "Ready") == ("False", "NoSupportingRuntime")
    assert condition(status, "PredictorReady") == ("False", "NoSupportingRuntime")
    assert status["modelStatus"] == {
        "transitionStatus": "InvalidSpec",
        "states": {"activeModelState": "Pending", "targetModelState": "FailedToLoad"},
        "lastFailureInfo": {
            "reason": "NoSupportingRuntime", "message": "no runtime found", "time": NOW,
        },
    }  # fmt: skip


def test_a_refusal_of_what_already_runs_keeps_where_it_answers():
    before = isvc()
    before["status"] = status_of(READY, [pod(ready=True)])
    status = refused(before, Refusal("RuntimeNotRecognized", "gone"), LATER)
    for kept in ("url", "address", "components", "observedGeneration", "deploymentMode"):
        assert status[kept] == before["status"][kept]
    assert status["modelStatus"]["states"]["activeModelState"] == "Loaded"
    assert condition(status, "Ready") == ("False", "RuntimeNotRecognized")


def test_a_stopped_service_says_so():
    status = stopped(isvc(), NOW)
    assert condition(status, "Stopped") == ("True", "")
    assert condition(status, "PredictorReady") == ("False", "Stopped")
    assert condition(status, "Ready") == ("False", "Stopped")


def test_what_has_no_effect_is_listed():
    wanted = isvc(scaleMetric="cpu", maxReplicas=3, logger={"mode": "all"})
    status = status_of(READY, [pod(ready=True)], wanted=wanted)
    found = condition_of({"status": status}, "FieldsIgnored")
    assert found["severity"] == "Info"
    for text in ("spec.predictor.logger", "scaleMetric, maxReplicas"):
        assert text in found["message"]
    assert condition(status, "Ready") == ("True", "")


def test_a_service_that_is_scaled_to_zero_is_not_ready_though_its_deployment_is_available():
    idle = deployment(*READY)
    idle["spec"] = {"replicas": 0}
    idle["metadata"] = {"name": "resnet-predictor"}
    found = component_condition("predictor", idle)
    assert (found["status"], found["reason"]) == ("False", "ScaledToZero")
    assert "scale Deployment resnet-predictor up" in found["message"]


def test_a_logger_and_a_batcher_are_listed_only_where_no_agent_can_run():
    logged = isvc(logger={"mode": "all"}, batcher={})
    stored = isvc(logger={"mode": "all", "storage": {"path": "x"}})
    on_a_cluster = replace(CONFIG, agent=replace(CONFIG.agent, is_possible=True))
    for wanted, config, text in (
        (logged, CONFIG, "spec.predictor.logger: requests are not logged"),
        (logged, on_a_cluster, None),
        (stored, on_a_cluster, "spec.predictor.logger.storage: requests are not logged"),
    ):
        status = status_of(READY, wanted=wanted, config=config)
        found = condition_of({"status": status}, "FieldsIgnored")
        assert (found is None) if text is None else (text in found["message"])
