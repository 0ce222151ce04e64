"""The schemas of serving.kserve.io, put together from small parts. Pure.

Everything that a user of KServe may write is listed, so that a misspelt field is told. The fields
of containers and pod specs are Kubernetes' own, taken from the schemas of the built-in kinds.
"""

from typing import Any

from motorpool.api import serving_rules
from motorpool.api.kinds import Schema, open_schema
from motorpool.api.kubernetestypes import type_named
from motorpool.api.serving_fields import FRAMEWORKS
from motorpool.api.serving_rules import with_rules

_CORE = "io.k8s.api.core.v1."

MODEL_PATH = "/mnt/models"
PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")


def inference_service() -> Schema:
    spec = requiring(record(
        "What to serve, and how.",
        predictor=_predictor(),
        transformer=with_rules(
            record("Prepares requests and responses.", **_component(), **_storage_uris(),
                   **_containers()),
            serving_rules.one_of("transformer", ()), serving_rules.REPLICAS,
        ),
        explainer=with_rules(
            record(
                "Explains predictions.",
                art=_framework("An explainer of the Adversarial Robustness Toolbox.", type=string(),
                               config=map_of(string())),
                **_component(), **_storage_uris(), **_containers(),
            ),
            serving_rules.one_of("explainer", ("art",)), serving_rules.REPLICAS,
        ),
        canary=array(
            requiring(record(
                predictor=open_schema(),
                trafficPercent=integer(minimum=0, maximum=100),
            ), "predictor")
        ),
    ), "predictor")  # fmt: skip
    schema = _object("A model and everything that serves it.", spec)
    schema["properties"]["metadata"] = named()
    return with_rules(schema, *serving_rules.name_rules())


def serving_runtime() -> Schema:
    formats = bounded(
        requiring(
            record(
                name=string("The format, as a model names it.", maxLength=128),
                version=string(),
                autoSelect=boolean("Whether the runtime may be chosen without being named."),
                priority=integer(
                    "Among runtimes for the same format, the highest wins.", minimum=1
                ),
            ),
            "name",
        ),
        serving_rules.FORMATS_MAX,
    )
    adapter = record(
        **strings("serverType"),
        **integers("runtimeManagementPort", "memBufferBytes", "modelLoadingTimeoutMillis"),
        env=_env(),
    )
    kept = ("containers", "volumes", "nodeSelector", "affinity", "tolerations",
            "imagePullSecrets", "hostIPC", "schedulerName", "resourceClaims")  # fmt: skip
    pods = {name: schema for name, schema in _containers().items() if name in kept}
    metadata = {"labels": map_of(string()), "annotations": map_of(string())}
    spec = requiring(
        record(
            "How to serve models of some formats.",
            supportedModelFormats=formats,
            multiModel=boolean("Whether one server holds several models."),
            disabled=boolean("Whether the runtime is out of use."),
            protocolVersions=array(string()),
            workerSpec=record(
                **_sizes(), **{**pods, "containers": _worker_pods()["containers"]}, **metadata
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
    rules = (serving_rules.PRIORITIES, serving_rules.WORKERS_STAY)
    return _object("A recipe for a model server.", with_rules(spec, *rules))


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
    predictor = record(
        "Serves the model.",
        model=model,
        name=string(
            "Part of the children's names.", pattern=serving_rules.NAME_PATTERN, maxLength=63
        ),
        workerSpec=record(**_sizes(), **_worker_pods()),
        **_storage_uris(),
        **frameworks,
        **_component(),
        **_containers(serving_rules.COLLOCATED),
    )
    return with_rules(
        predictor,
        serving_rules.one_of("predictor", serving_rules.MODELS),
        serving_rules.REPLICAS,
        serving_rules.ONE_SOURCE,
        serving_rules.RENAMED,
        *serving_rules.SEVERAL_NODES,
    )


def _framework(description: str, **more: Schema) -> Schema:
    storage = record(
        "A place in a configured object store.",
        **strings("path", "key", "schemaPath"),
        parameters=map_of(string()),
    )
    container = serving_rules.bounded_container(type_named(_CORE + "Container"))["properties"]
    framework = record(
        description,
        storageUri=string("Where the model is: oci://, s3://, pvc:// ...", maxLength=4096),
        runtimeVersion=string("The tag of the runtime's image."),
        protocolVersion=string("What clients speak.", enum=list(PROTOCOLS)),
        storage=storage,
        confidential=record(
            enabled=boolean(), resourceId=string(pattern=serving_rules.KBS_PATTERN)
        ),
        **{**container, **more},
    )
    return with_rules(
        framework,
        serving_rules.variable_rule(serving_rules.OWN_VARIABLES),
        serving_rules.UNNAMED,
        serving_rules.CONFIDENTIAL,
    )


def _storage_uris() -> dict[str, Schema]:
    entry = requiring(
        record(
            uri=string(maxLength=4096),
            mountPath=string(pattern="^/.*", maxLength=255, default=MODEL_PATH),
        ),
        "uri",
    )
    entries = bounded(with_rules(entry, serving_rules.MOUNT_PATH), serving_rules.STORAGE_URIS_MAX)
    atomic = {**entries, "minItems": 1, "x-kubernetes-list-type": "atomic"}
    return {
        "storageUris": with_rules(atomic, serving_rules.COMMON_ROOT, serving_rules.CLAIMS_APART),
        "storageContainerName": string(),
    }


def _component() -> dict[str, Schema]:
    return {
        "minReplicas": integer("The fewest replicas.", format="int32", minimum=0),
        "maxReplicas": integer("The most replicas.", format="int32", minimum=0),
        "scaleTarget": integer("What the autoscaler keeps the metric at.", format="int32"),
        "scaleMetric": string(enum=["cpu", "memory", "concurrency", "rps"]),
        "scaleMetricType": string(enum=["Utilization", "Value", "AverageValue"]),
        "autoScaling": _autoscaling(),
        "containerConcurrency": integer(format="int64", minimum=0),
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
    texts = {name: serving_rules.required_text(string()) for name in ("path", "key")}
    storage = requiring(
        record(**texts, serviceAccountName=string(), parameters=map_of(string())),
        "path", "key", "parameters",
    )  # fmt: skip
    logger = record(
        url=string(),
        mode=string(enum=["all", "request", "response"]),
        metadataHeaders=array(string()),
        metadataAnnotations=array(string()),
        storage=storage,
        marshallerUrl=string(),
        batchSize=integer(),
        batchInterval=string(),
    )
    return requiring(logger, "mode")


def _containers(*rules: Schema) -> dict[str, Schema]:
    """The fields of a pod spec, and the rules of its containers."""
    fields = type_named(_CORE + "PodSpec")["properties"]
    own = serving_rules.variable_rule(serving_rules.OWN_VARIABLES)
    return serving_rules.pod_lists(fields, own, *rules)


def _worker_pods() -> dict[str, Schema]:
    """The fields of a pod spec of one container, whose sizes the platform tells."""
    fields = _containers(serving_rules.variable_rule(serving_rules.NODE_VARIABLES))
    return {**fields, "containers": {**fields["containers"], "maxItems": 1}}


def _sizes() -> dict[str, Schema]:
    return {name: integer(minimum=1) for name in ("pipelineParallelSize", "tensorParallelSize")}


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


def bounded(items: Schema, size_max: int) -> Schema:
    """A list that rules can be asked of."""
    return {**array(items), "maxItems": size_max}


def named() -> Schema:
    """The metadata of an object whose name becomes part of other names."""
    name = string(
        "Lower case alphanumeric characters or '-', starting with a letter.",
        pattern=serving_rules.NAME_PATTERN,
    )
    return {"type": "object", "properties": {"name": name}}


def map_of(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def quantity() -> Schema:
    return {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
    }


def _of(type_: str, description: str, rules: dict[str, Any]) -> Schema:
    return {"type": type_, **({"description": description} if description else {}), **rules}
