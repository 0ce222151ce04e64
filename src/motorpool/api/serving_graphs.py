"""The schemas and rules of serving.kserve.io's lesser kinds: graphs, trained models, and where
models come from. Pure.

They are stored and validated. Rules that a schema can hold stand in it, as CEL, so that they hold
on any cluster; the API server asks them of these kinds as of any other custom resource. Sizes are
bounded because a real API server refuses rules over what has no bounds.
"""

from motorpool.api.kinds import Schema, open_schema
from motorpool.api.kubernetestypes import type_named
from motorpool.api.serving_schema import (
    array,
    boolean,
    integer,
    map_of,
    named,
    quantity,
    record,
    requiring,
    string,
    strings,
)

_CORE = "io.k8s.api.core.v1."
_ROUTERS = ("Sequence", "Splitter", "Ensemble", "Switch")

NODES_MAX = 64
STEPS_MAX = 64


def inference_graph() -> Schema:
    pod = type_named(_CORE + "PodSpec")["properties"]
    seconds = {
        name: integer("Seconds.", format="int64", minimum=0)
        for name in ("serverRead", "serverWrite", "serverIdle", "serviceClient")
    }
    spec = requiring(
        record(
            "Which models a request passes through.",
            nodes={**map_of(_node()), "maxProperties": NODES_MAX},
            resources=type_named(_CORE + "ResourceRequirements"),
            affinity=pod["affinity"],
            tolerations=pod["tolerations"],
            nodeSelector=map_of(string()),
            **strings("nodeName", "serviceAccountName"),
            timeout=integer("Seconds a request may take.", format="int64", minimum=0),
            routerTimeouts=record("How long the router waits.", **seconds),
            minReplicas=integer("The fewest replicas of the router.", format="int32", minimum=0),
            maxReplicas=integer("The most replicas of the router.", format="int32", minimum=0),
            scaleTarget=integer("What the autoscaler keeps the metric at.", format="int32"),
            scaleMetric=string(enum=["cpu", "memory", "concurrency", "rps"]),
        ),
        "nodes",
    )
    spec["x-kubernetes-validations"] = [
        {"rule": "'root' in self.nodes", "message": "a node named root must exist"}
    ]
    schema = _object("Models that answer together.", spec)
    schema["properties"]["metadata"] = named()
    return schema


def _node() -> Schema:
    step = record(
        "One model, or another node.",
        name=string("The step's name, unique in its node.", maxLength=63),
        nodeName=string("The node that the request goes on to."),
        serviceName=string("The InferenceService that answers."),
        serviceUrl=string("The URL that answers."),
        data=string("What of the answers before is sent on."),
        mapPredictionsToInstances=boolean(
            "Whether the predictions before become this step's instances."
        ),
        weight=integer("Percent of the requests, in a Splitter.", minimum=0, maximum=100),
        condition=string("When the step is taken, in a Switch."),
        dependency=string("Whether the graph fails with the step.", enum=["Soft", "Hard"]),
    )
    step["x-kubernetes-validations"] = [
        {
            "rule": "[has(self.nodeName), has(self.serviceName), has(self.serviceUrl)]"
            ".exists_one(given, given)",
            "message": "a step names exactly one of nodeName, serviceName, serviceUrl",
        }
    ]
    node = requiring(
        record(
            "What is done with a request.",
            routerType=string("How the steps belong together.", enum=list(_ROUTERS)),
            steps={**array(step), "maxItems": STEPS_MAX},
        ),
        "routerType",
    )
    node["x-kubernetes-validations"] = [
        {
            "rule": "!has(self.steps) || self.steps.all(one, !has(one.name) || "
            "self.steps.exists_one(other, has(other.name) && other.name == one.name))",
            "message": "the names of a node's steps must be unique",
        },
        {
            "rule": "self.routerType != 'Splitter' || (has(self.steps) && "
            "self.steps.all(step, has(step.weight)) && "
            "self.steps.map(step, step.weight).sum() == 100)",
            "message": "the weights of a Splitter's steps must add up to 100",
        },
    ]
    return node


def trained_model() -> Schema:
    memory = quantity()
    memory["x-kubernetes-validations"] = [
        {"rule": "self == oldSelf", "message": "memory cannot be changed"}
    ]
    model = requiring(
        record(
            "The model.",
            storageUri=string("Where the model is.", pattern="^(gs|s3|https?)://"),
            framework=string("What the model was made with."),
            memory=memory,
        ),
        "storageUri",
        "framework",
        "memory",
    )
    spec = requiring(
        record(
            "A model for a server that holds several.",
            inferenceService=string("The InferenceService that is to serve it."),
            model=model,
        ),
        "inferenceService",
        "model",
    )
    schema = _object("A model among others in one InferenceService.", spec)
    name = string("Alphanumeric characters, '-' or '_'.", pattern="^[a-zA-Z0-9_-]+$")
    schema["properties"]["metadata"] = {"type": "object", "properties": {"name": name}}
    return schema


def cluster_storage_container() -> Schema:
    form = record("Which URIs.", prefix=string("How they begin."), regex=string("What they match."))
    form["x-kubernetes-validations"] = [
        {
            "rule": "has(self.prefix) != has(self.regex)",
            "message": "a format is a prefix or a regex",
        }
    ]
    jobs = string("Where it runs.", enum=["initContainer", "localModelDownloadJob"])
    spec = requiring(
        record(
            "How models are fetched.",
            container=type_named(_CORE + "Container"),
            supportedUriFormats={**array(form), "maxItems": 100},
            workloadType={**jobs, "default": "initContainer"},
            supportsMultiModelDownload={
                **boolean("Whether it takes several URIs at once."),
                "default": False,
            },
        ),
        "container",
        "supportedUriFormats",
    )
    schema = _object("A container that fetches models of some URIs.", spec, has_status=False)
    schema["properties"]["disabled"] = boolean("Whether it is out of use.")
    return schema


def _object(description: str, spec: Schema, *, has_status: bool = True) -> Schema:
    status = {"status": {**open_schema(), "description": "What the platform observed."}}
    return {
        "type": "object",
        "description": description,
        "properties": {
            "apiVersion": string(),
            "kind": string(),
            "metadata": {"type": "object"},
            "spec": spec,
            **(status if has_status else {}),
        },
    }
