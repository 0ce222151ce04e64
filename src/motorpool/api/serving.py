"""serving.kserve.io: the kinds a user of the platform writes."""

from motorpool.api.definitions import both, rules_of
from motorpool.api.kinds import STATUS, Kind
from motorpool.api.serving_defaults import default_inference_service
from motorpool.api.serving_graphs import (
    cluster_storage_container,
    inference_graph,
    trained_model,
)
from motorpool.api.serving_schema import inference_service, serving_runtime
from motorpool.api.serving_validation import inference_service_errors
from motorpool.api.tables import CUSTOM_AGE
from motorpool.api.tables import json_path_column as column

_TRAFFIC = ".status.components.predictor.traffic"
_PREVIOUS = f"{_TRAFFIC}[?(@.tag=='prev')]"
_LATEST = f"{_TRAFFIC}[?(@.latestRevision==true)]"
_RUNTIME_COLUMNS = (
    column("Disabled", ".spec.disabled", "boolean"),
    column("ModelType", ".spec.supportedModelFormats[*].name", "string"),
    column("Containers", ".spec.containers[*].name", "string"),
    CUSTOM_AGE,
)

INFERENCE_SERVICE = Kind(
    group="serving.kserve.io", version="v1beta1", kind="InferenceService",
    plural="inferenceservices", singular="inferenceservice", short_names=("isvc",),
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
    schema=inference_service, default=default_inference_service,
    validate=both(rules_of(inference_service), inference_service_errors),
    columns=(
        column("URL", ".status.url", "string"),
        column("Ready", ".status.conditions[?(@.type=='Ready')].status", "string"),
        column("Prev", f"{_PREVIOUS}.percent", "integer"),
        column("Latest", f"{_LATEST}.percent", "integer"),
        column("PrevRolledoutRevision", f"{_PREVIOUS}.revisionName", "string"),
        column("LatestReadyRevision", f"{_LATEST}.revisionName", "string"),
        CUSTOM_AGE,
    ),
)  # fmt: skip
SERVING_RUNTIME = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="ServingRuntime",
    plural="servingruntimes", singular="servingruntime",
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
    schema=serving_runtime, validate=rules_of(serving_runtime), columns=_RUNTIME_COLUMNS,
)  # fmt: skip
CLUSTER_SERVING_RUNTIME = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="ClusterServingRuntime",
    plural="clusterservingruntimes", singular="clusterservingruntime", namespaced=False,
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
    schema=serving_runtime, validate=rules_of(serving_runtime), columns=_RUNTIME_COLUMNS,
)  # fmt: skip
_READY_COLUMNS = (
    column("URL", ".status.url", "string"),
    column("Ready", ".status.conditions[?(@.type=='Ready')].status", "string"),
    CUSTOM_AGE,
)
TRAINED_MODEL = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="TrainedModel",
    plural="trainedmodels", singular="trainedmodel", short_names=("tm",),
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,), schema=trained_model, validate=rules_of(trained_model),
    columns=_READY_COLUMNS,
)  # fmt: skip
INFERENCE_GRAPH = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="InferenceGraph",
    plural="inferencegraphs", singular="inferencegraph", short_names=("ig",),
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,), schema=inference_graph, validate=rules_of(inference_graph),
    columns=_READY_COLUMNS,
)  # fmt: skip
CLUSTER_STORAGE_CONTAINER = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="ClusterStorageContainer",
    plural="clusterstoragecontainers", singular="clusterstoragecontainer", namespaced=False,
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    schema=cluster_storage_container, validate=rules_of(cluster_storage_container),
)  # fmt: skip

KINDS = (
    INFERENCE_SERVICE, SERVING_RUNTIME, CLUSTER_SERVING_RUNTIME, TRAINED_MODEL, INFERENCE_GRAPH,
    CLUSTER_STORAGE_CONTAINER,
)  # fmt: skip
