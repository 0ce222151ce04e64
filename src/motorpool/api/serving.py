"""serving.kserve.io: the kinds a user of the platform writes."""

from motorpool.api.kinds import STATUS, Kind

INFERENCE_SERVICE = Kind(
    group="serving.kserve.io", version="v1beta1", kind="InferenceService",
    plural="inferenceservices", singular="inferenceservice", short_names=("isvc",),
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
)  # fmt: skip
SERVING_RUNTIME = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="ServingRuntime",
    plural="servingruntimes", singular="servingruntime",
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
)  # fmt: skip
CLUSTER_SERVING_RUNTIME = Kind(
    group="serving.kserve.io", version="v1alpha1", kind="ClusterServingRuntime",
    plural="clusterservingruntimes", singular="clusterservingruntime", namespaced=False,
    has_generation=True, is_custom=True, update_needs_resource_version=True,
    subresources=(STATUS,),
)  # fmt: skip

KINDS = (INFERENCE_SERVICE, SERVING_RUNTIME, CLUSTER_SERVING_RUNTIME)
