"""The schemas of serving.kserve.io, put together from small parts. Pure.

Everything that a user of KServe may write is listed, so that a misspelt field is told. The fields
of containers and pod specs are Kubernetes' own, taken from the schemas of the built-in kinds.
"""

from typing import Any

from motorpool.api.kinds import Schema, open_schema
from motorpool.api.kubernetestypes import type_named
from motorpool.api.serving_fields import FRAMEWORKS

_CORE = "io.k8s.api.core.v1."

PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")


def inference_service() -> Schema:
    spec = requiring(record(
        "What to serve, and how.",
        predictor=_predictor(),
        transformer=record(
            "Prepares requests and responses.", **_component(), **_storage_uris(), **_pods()
        ),
        explainer=record(
            "Explains predictions.",
            art=_framework("An explainer of the Adversarial Robustness Toolbox.", type=string(),
                           config=map_of(string())),
            **_component(), **_storage_uris(), **_pods(),
        ),
        canary=array(
            requiring(record(
                predictor=open_schema(),
                trafficPercent=integer(minimum=0, maximum=100),
            ), "predictor")
        ),
    ), "predictor")  # fmt: skip
    return _object("A model and everything that serves it.", spec)


def serving_runtime() -> Schema:
    formats = array(
        requiring(
            record(
                name=string("The format, as a model names it."),
                version=string(),
                autoSelect=boolean("Whether the runtime may be chosen without being named."),
                priority=integer(
                    "Among runtimes for the same format, the highest wins.", minimum=1
                ),
            ),
            "name",
        )
    )
    adapter = record(
        **strings("serverType"),
        **integers("runtimeManagementPort", "memBufferBytes", "modelLoadingTimeoutMillis"),
        env=_env(),
    )
    kept = ("containers", "volumes", "nodeSelector", "affinity", "tolerations",
            "imagePullSecrets", "hostIPC", "schedulerName", "resourceClaims")  # fmt: skip
    pods = {name: schema for name, schema in _pods().items() if name in kept}
    metadata = {"labels": map_of(string()), "annotations": map_of(string())}
    spec = requiring(
        record(
            "How to serve models of some formats.",
            supportedModelFormats=formats,
            multiModel=boolean("Whether one server holds several models."),
            disabled=boolean("Whether the runtime is out of use."),
            protocolVersions=array(string()),
            workerSpec=record(
                **integers("pipelineParallelSize", "tensorParallelSize"), **pods, **metadata
            ),
            grpcEndpoint=string(),
            grpcDataEndpoint=string(),
            httpDataEndpoint=string(),
            replicas=integer(),
            storageHelper=record(disabled=boolean()),
            builtInAdapter=adapter,
            **pods,
            **metadata,
        ),
        "containers",
    )
    return _object("A recipe for a model server.", spec)


def _object(description: str, spec: Schema) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {
            "apiVersion": string(),
            "kind": string(),
            "metadata": {"type": "object"},
            "spec": spec,
            "status": {**open_schema(), "description": "What the platform observed."},
        },
    }


def _predictor() -> Schema:
    model = _framework(
        "The model, and its server's container.",
        modelFormat=requiring(
            record("What the model is stored as.", name=string(), version=string()), "name"
        ),
        runtime=string("The ServingRuntime or ClusterServingRuntime to use."),
    )
    frameworks = {name: _framework(f"A model of {name}; `model` says more.") for name in FRAMEWORKS}
    return record(
        "Serves the model.",
        model=model,
        name=string(
            "Part of the children's names.", pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$", maxLength=63
        ),
        workerSpec=record(**integers("pipelineParallelSize", "tensorParallelSize"), **_pods()),
        **_storage_uris(),
        **frameworks,
        **_component(),
        **_pods(),
    )


def _framework(description: str, **more: Schema) -> Schema:
    storage = record(
        "A place in a configured object store.",
        **strings("path", "key", "schemaPath"),
        parameters=map_of(string()),
    )
    container = dict(type_named(_CORE + "Container")["properties"])
    return record(
        description,
        storageUri=string("Where the model is: oci://, s3://, pvc:// ..."),
        runtimeVersion=string("The tag of the runtime's image."),
        protocolVersion=string("What clients speak.", enum=list(PROTOCOLS)),
        storage=storage,
        confidential=record(enabled=boolean(), resourceId=string()),
        **{**container, **more},
    )


def _storage_uris() -> dict[str, Schema]:
    entry = requiring(
        record(
            uri=string(),
            mountPath=string(pattern="^/.*", maxLength=255),
        ),
        "uri",
    )
    return {
        "storageUris": {**array(entry), "minItems": 1, "x-kubernetes-list-type": "atomic"},
        "storageContainerName": string(),
    }


def _component() -> dict[str, Schema]:
    return {
        "minReplicas": integer("The fewest replicas.", format="int32"),
        "maxReplicas": integer("The most replicas.", format="int32"),
        "scaleTarget": integer("What the autoscaler keeps the metric at.", format="int32"),
        "scaleMetric": string(enum=["cpu", "memory", "concurrency", "rps"]),
        "scaleMetricType": string(enum=["Utilization", "Value", "AverageValue"]),
        "autoScaling": _autoscaling(),
        "containerConcurrency": integer(format="int64"),
        "timeout": integer("Seconds a request may take.", format="int64"),
        "canaryTrafficPercent": integer(format="int64"),
        "logger": _logger(),
        "batcher": record(**integers("maxBatchSize", "maxLatency", "timeout")),
        "labels": map_of(string()),
        "annotations": map_of(string()),
        "deploymentStrategy": type_named("io.k8s.api.apps.v1.DeploymentStrategy"),
    }


def _autoscaling() -> Schema:
    target = record(
        type=string(enum=["Utilization", "Value", "AverageValue"]),
        value=quantity(),
        averageValue=quantity(),
        averageUtilization=integer(),
    )
    source = {"metric": open_schema(), "target": target}
    metric = record(
        type=string(enum=["Resource", "External", "PodMetric"]),
        resource=record(name=string(enum=["cpu", "memory"]), target=target),
        external=record(authenticationRef=open_schema(), **source),
        podmetric=record(**source),
    )
    return record(metrics=array(metric), behavior=open_schema())


def _logger() -> Schema:
    storage = record(**strings("path", "key", "serviceAccountName"), parameters=map_of(string()))
    return record(
        url=string(),
        mode=string(enum=["all", "request", "response"]),
        metadataHeaders=array(string()),
        metadataAnnotations=array(string()),
        storage=storage,
        marshallerUrl=string(),
        batchSize=integer(),
        batchInterval=string(),
    )


def _pods() -> dict[str, Schema]:
    """The fields of a pod spec."""
    return dict(type_named(_CORE + "PodSpec")["properties"])


def _env() -> Schema:
    return dict(type_named(_CORE + "Container")["properties"]["env"])


def string(description: str = "", **rules: Any) -> Schema:
    return _of("string", description, rules)


def integer(description: str = "", **rules: Any) -> Schema:
    return _of("integer", description, rules)


def boolean(description: str = "") -> Schema:
    return _of("boolean", description, {})


def strings(*names: str) -> dict[str, Schema]:
    return {name: string() for name in names}


def integers(*names: str) -> dict[str, Schema]:
    return {name: integer() for name in names}


def record(*description: str, **properties: Schema) -> Schema:
    """An object with these fields and no others."""
    return _of("object", " ".join(description), {"properties": properties})


def requiring(schema: Schema, *names: str) -> Schema:
    """*schema* with these of its fields required."""
    return {**schema, "required": list(names)}


def array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def map_of(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def quantity() -> Schema:
    return {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
    }


def _of(type_: str, description: str, rules: dict[str, Any]) -> Schema:
    return {"type": type_, **({"description": description} if description else {}), **rules}
