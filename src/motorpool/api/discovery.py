"""The discovery.k8s.io group: where the pods behind a Service answer."""

from motorpool.api import columns, services
from motorpool.api.kinds import Kind
from motorpool.api.kubernetestypes import built_in

ENDPOINT_SLICE = Kind(
    group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices",
    singular="endpointslice", has_generation=True,
    schema=built_in("discovery.k8s.io", "v1", "EndpointSlice"), columns=columns.ENDPOINT_SLICE,
    default=services.default_endpoint_slice, validate=services.validate_endpoint_slice,
)  # fmt: skip

KINDS = (ENDPOINT_SLICE,)
