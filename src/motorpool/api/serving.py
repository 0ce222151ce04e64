"""serving.kserve.io: the kinds a user of the platform writes."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from motorpool.api import jsonpath
from motorpool.api.kinds import STATUS, Column, Kind
from motorpool.api.meta import Object
from motorpool.api.serving_defaults import default_inference_service
from motorpool.api.serving_schema import inference_service, serving_runtime
from motorpool.api.serving_validation import inference_service_errors, runtime_errors


def _column(
    name: str, path: str, type_: Literal["string", "integer", "boolean", "date"] = "string"
) -> Column:
    return Column(name, _cell(path), type=type_)


def _cell(path: str) -> Callable[[Object, datetime], Any]:
    find = jsonpath.find(path)
    return lambda obj, _: find(obj)


_PREDICTOR_TRAFFIC = ".status.components.predictor.traffic"
_AGE = _column("Age", ".metadata.creationTimestamp", "date")
_RUNTIME_COLUMNS = (
    _column("Disabled", ".spec.disabled", "boolean"),
    _column("ModelType", ".spec.supportedModelFormats[*].name"),
    _column("Containers", ".spec.containers[*].name"),
    _AGE,
)

INFERENCE_SERVICE = Kind(
    group="serving.kserve.io", version="v1beta1", kind="InferenceService",
    plural="inferenceservices", singular="inferenceservice", short_names=("isvc",),
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
    schema=inference_service, default=default_inference_service, validate=inference_service_errors,
    columns=(
        _column("URL", ".status.url"),
        _column("Ready", ".status.conditions[?(@.type=='Ready')].status"),
        _column("Prev", f"{_PREDICTOR_TRAFFIC}[?(@.tag=='prev')].percent", "integer"),
        _column("Latest", f"{_PREDICTOR_TRAFFIC}[?(@.latestRevision==true)].percent", "integer"),
        _column("PrevRolledoutRevision", f"{_PREDICTOR_TRAFFIC}[?(@.tag=='prev')].revisionName"),
        _column("LatestReadyRevision",
                f"{_PREDICTOR_TRAFFIC}[?(@.latestRevision==true)].revisionName"),
        _AGE,
    ),
)  # fmt: skip
SERVING_RUNTIME = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="ServingRuntime",
    plural="servingruntimes", singular="servingruntime",
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
    schema=serving_runtime, validate=runtime_errors, columns=_RUNTIME_COLUMNS,
)  # fmt: skip
CLUSTER_SERVING_RUNTIME = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="ClusterServingRuntime",
    plural="clusterservingruntimes", singular="clusterservingruntime", namespaced=False,
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
    schema=serving_runtime, validate=runtime_errors, columns=_RUNTIME_COLUMNS,
)  # fmt: skip

KINDS = (INFERENCE_SERVICE, SERVING_RUNTIME, CLUSTER_SERVING_RUNTIME)
