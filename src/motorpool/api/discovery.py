"""The discovery.k8s.io group: where the pods behind a Service answer."""

from motorpool.api.kinds import Kind

ENDPOINT_SLICE = Kind(
    group="discovery.k8s.io", version="v1", kind="EndpointSlice", plural="endpointslices",
    singular="endpointslice", has_generation=True,
)  # fmt: skip

KINDS = (ENDPOINT_SLICE,)
