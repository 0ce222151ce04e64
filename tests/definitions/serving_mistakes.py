"""What KServe's webhooks refuse and a schema can see: the object, and what its user is told."""

MODEL = {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://a/b"}
CONTAINER = {"name": "c", "image": "x"}
PATH = {"name": "PYTHONPATH", "value": "/evil"}


def isvc(name="iris", /, *, spec=None, **predictor):
    metadata = {"name": name, "namespace": "default"}
    if "workerSpec" in predictor:
        metadata["annotations"] = {"serving.kserve.io/autoscalerClass": "none"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor, **(spec or {})},
    }


def of_alpha(kind, name="one", **spec):
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def runtime(**spec):
    return of_alpha("ServingRuntime", **{"containers": [CONTAINER], **spec})


def graph(name="one", /, **nodes):
    return of_alpha("InferenceGraph", name, nodes=nodes)


def sequence(*steps):
    return {"routerType": "Sequence", "steps": list(steps)}


def stored(*uris):
    entries = [{"uri": uri, **({"mountPath": path} if path else {})} for uri, path in uris]
    return isvc(model={"modelFormat": {"name": "sklearn"}}, storageUris=entries)


FORMATS = [
    {"name": "a", "autoSelect": True, "priority": 1},
    {"name": "a", "version": "2", "autoSelect": True, "priority": 2},
]
A_TRAINED_MODEL = {"storageUri": "gs://a", "framework": "sklearn", "memory": "1Gi"}

MISTAKES = {
    "a name that starts with a digit": (isvc("1iris", model=MODEL), "metadata.name in body should"),
    "a name with a dot": (isvc("a.b", model=MODEL), "metadata.name in body should match"),
    "a name that is too long": (isvc("a" * 49, model=MODEL), "must be no more than 63 characters"),
    "a name too long with the predictor's own": (
        isvc("a" * 30, name="b" * 18, model=MODEL), "must be no more than 63 characters",
    ),
    "a name too long for the transformer": (
        isvc("a" * 47, model=MODEL, spec={"transformer": {"containers": [CONTAINER]}}),
        "isvc.NAME-transformer, a label of its pods, must be no more than 63 characters",
    ),
    "a predictor that serves nothing": (isvc(minReplicas=1), "exactly one of [sklearn"),
    "a predictor of two models": (isvc(model=MODEL, xgboost={}), "exactly one of [sklearn"),
    "a transformer without a container": (
        isvc(model=MODEL, spec={"transformer": {"minReplicas": 1}}),
        "exactly one of [containers] must be specified in transformer",
    ),
    "an explainer of two kinds": (
        isvc(model=MODEL, spec={"explainer": {"minReplicas": 1}}),
        "exactly one of [art, containers] must be specified in explainer",
    ),
    "a model's container with a name": (isvc(model={**MODEL, "name": "x"}), "must be empty"),
    "PYTHONPATH for a model": (isvc(model={**MODEL, "env": [PATH]}), "PYTHONPATH may not be set"),
    "PYTHONPATH in a container": (
        isvc(containers=[{**CONTAINER, "env": [PATH]}]), "PYTHONPATH may not be set",
    ),
    "PYTHONPATH in an init container of a transformer": (
        isvc(model=MODEL, spec={"transformer": {
            "containers": [CONTAINER], "initContainers": [{**CONTAINER, "env": [PATH]}]}}),
        "PYTHONPATH may not be set",
    ),
    "a location for a transformer beside the predictor": (
        isvc(model=MODEL, containers=[{
            "name": "transformer-container", "env": [{"name": "STORAGE_URI", "value": "gs://a"}]}]),
        "STORAGE_URI may not be set",
    ),
    "an amount that is none": (
        isvc(model={**MODEL, "resources": {"limits": {"memory": "2Gib"}}}),
        "predictor.model.resources.limits.memory in body should match",
    ),
    "an amount that is none, in a container": (
        isvc(containers=[{**CONTAINER, "resources": {"requests": {"cpu": "two"}}}]),
        "resources.requests.cpu in body should match",
    ),
    "fewer than no replicas": (isvc(model=MODEL, minReplicas=-1), "greater than or equal to 0"),
    "fewer replicas at most than at least": (
        isvc(model=MODEL, minReplicas=3, maxReplicas=2), "greater than or equal to minReplicas",
    ),
    "less than no concurrency": (
        isvc(model=MODEL, containerConcurrency=-1), "greater than or equal to 0",
    ),
    "a logger without a mode": (
        isvc(model=MODEL, logger={"url": "http://x"}), "predictor.logger.mode: Required value",
    ),
    "a logger's store that says too little": (
        isvc(model=MODEL, logger={"mode": "all", "storage": {"path": "x"}}),
        "predictor.logger.storage.key: Required value",
    ),
    "one location and several": (
        isvc(model=MODEL, storageUris=[{"uri": "gs://a"}]), "may not be used together",
    ),
    "a location at the root": (stored(("gs://a", "/")), "must be an absolute path below /"),
    "a location that climbs": (stored(("gs://a", "/a/../b")), "must be an absolute path below /"),
    "two claims at one place": (stored(("pvc://a", ""), ("pvc://b", "")), "a mountPath of its own"),
    "downloads without a directory in common": (
        stored(("s3://a", "/a/b"), ("s3://b", "/c/d")), "must share a parent directory",
    ),
    "several nodes and a download": (
        isvc(model=MODEL, workerSpec={"tensorParallelSize": 1}), "of scheme pvc or oci",
    ),
    "several nodes that are none": (
        isvc(model={**MODEL, "storageUri": "pvc://a"}, workerSpec={"tensorParallelSize": 0}),
        "greater than or equal to 1",
    ),
    "several containers in a worker": (
        isvc(model={**MODEL, "storageUri": "pvc://a"},
             workerSpec={"containers": [CONTAINER, {**CONTAINER, "name": "d"}]}),
        "must have at most 1 item",
    ),
    "sizes of several nodes as variables": (
        isvc(model={**MODEL, "storageUri": "pvc://a",
                    "env": [{"name": "TENSOR_PARALLEL_SIZE", "value": "2"}]}, workerSpec={}),
        "TENSOR_PARALLEL_SIZE may not be set",
    ),
    "a confidential model of nowhere": (
        isvc(model={"modelFormat": {"name": "a"}, "confidential": {"enabled": True}}),
        "a confidential model needs a storageUri",
    ),
    "a confidential resource of another scheme": (
        isvc(model={**MODEL, "confidential": {"enabled": True, "resourceId": "kbs://a"}}),
        "resourceId in body should match",
    ),
    "a runtime with two priorities for a format": (
        runtime(supportedModelFormats=FORMATS), "must have the same priority everywhere",
    ),
    "PYTHONPATH in a runtime": (
        runtime(containers=[{**CONTAINER, "env": [PATH]}]), "PYTHONPATH may not be set",
    ),
    "sizes of several nodes as variables of a runtime's worker": (
        runtime(workerSpec={"containers": [{**CONTAINER, "env": [
            {"name": "PIPELINE_PARALLEL_SIZE", "value": "2"}]}]}),
        "TENSOR_PARALLEL_SIZE may not be set",
    ),
    "a graph whose name starts with a digit": (
        graph("1graph", root=sequence({"serviceName": "a"})), "metadata.name in body should match",
    ),
    "a graph without a root": (graph(other=sequence({"serviceName": "a"})), "root must exist"),
    "a step that leads nowhere": (graph(root=sequence({"name": "a"})), "names exactly one of"),
    "a step that leads to two places": (
        graph(root=sequence({"serviceName": "a", "nodeName": "b"})), "names exactly one of",
    ),
    "two steps of one name": (
        graph(root=sequence({"name": "a", "serviceName": "a"}, {"name": "a", "serviceName": "b"})),
        "must be unique",
    ),
    "weights that are not the whole": (
        graph(root={"routerType": "Splitter", "steps": [
            {"serviceName": "a", "weight": 50}, {"serviceName": "b", "weight": 49}]}),
        "must add up to 100",
    ),
    "a trained model with a dot in its name": (
        of_alpha("TrainedModel", "a.b", inferenceService="a", model=A_TRAINED_MODEL),
        "metadata.name in body should match",
    ),
    "a trained model from a hub": (
        of_alpha("TrainedModel", inferenceService="a",
                 model={**A_TRAINED_MODEL, "storageUri": "hf://a"}),
        "storageUri in body should match",
    ),
}  # fmt: skip

FINE = {
    "a plain model": isvc(model=MODEL),
    "a container's name that is empty": isvc(model={**MODEL, "name": ""}),
    "the longest name": isvc("a" * 48, model=MODEL),
    "a model and a sidecar": isvc(model=MODEL, containers=[CONTAINER]),
    "as many replicas as one likes": isvc(model=MODEL, minReplicas=3, maxReplicas=0),
    "two claims": stored(("pvc://a", "/mnt/a"), ("pvc://b", "/opt/b")),
    "several nodes": isvc(model={**MODEL, "storageUri": "oci://a/b:1"}, workerSpec={}),
    "a runtime that is out of use": runtime(supportedModelFormats=FORMATS, disabled=True),
    "a graph": graph(root=sequence({"serviceName": "a"}, {"name": "b", "nodeName": "c"})),
    "a trained model": of_alpha("TrainedModel", inferenceService="a", model=A_TRAINED_MODEL),
}

CHANGES = {
    "the predictor's name without its storage": (
        isvc(model=MODEL), isvc(model=MODEL, name="blue"), "only change together with",
    ),
    "a worker that is taken away": (
        runtime(workerSpec={"tensorParallelSize": 2}), runtime(), "cannot be removed",
    ),
    "the memory of a trained model": (
        of_alpha("TrainedModel", inferenceService="a", model=A_TRAINED_MODEL),
        of_alpha("TrainedModel", inferenceService="a", model={**A_TRAINED_MODEL, "memory": "2Gi"}),
        "memory cannot be changed",
    ),
}  # fmt: skip
