"""Counters and histograms, written as OpenVINO Model Server writes them.

Dashboards match names, labels and HELP texts to the letter, and its counters lack the `_total` that
the usual client library insists on: hence our own writer. Every series exists from the moment its
model is loaded, at zero. Touched from the event loop only, so there are no locks.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple, TypeVar

Labels = tuple[tuple[str, str], ...]
"""In alphabetical order, as they are written."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = tuple(int(10 * 1.8**i) for i in range(33))


class Family(NamedTuple):
    name: str
    kind: str
    help: str
    default: bool = True


REQUESTS_SUCCESS = Family(
    "ovms_requests_success", "counter", "Number of successful requests to a model or a DAG."
)
REQUESTS_FAIL = Family(
    "ovms_requests_fail", "counter", "Number of failed requests to a model or a DAG."
)
REQUEST_TIME = Family(
    "ovms_request_time_us", "histogram", "Processing time of requests to a model or a DAG."
)
STREAMS = Family("ovms_streams", "gauge", "Number of OpenVINO execution streams.")
INFERENCE_TIME = Family(
    "ovms_inference_time_us", "histogram", "Inference execution time in the OpenVINO backend."
)
WAIT_TIME = Family(
    "ovms_wait_for_infer_req_time_us", "histogram", "Request waiting time in the scheduling queue."
)
CURRENT_REQUESTS = Family(
    "ovms_current_requests", "gauge", "Number of inference requests currently in process."
)
QUEUE_SIZE = Family(
    "ovms_infer_req_queue_size", "gauge", "Inference request queue size (nireq).", default=False
)
QUEUE_ACTIVE = Family(
    "ovms_infer_req_active",
    "gauge",
    "Number of currently consumed inference request from the processing queue.",
    default=False,
)
FAMILIES = (
    REQUESTS_SUCCESS,
    REQUESTS_FAIL,
    REQUEST_TIME,
    STREAMS,
    INFERENCE_TIME,
    WAIT_TIME,
    CURRENT_REQUESTS,
    QUEUE_SIZE,
    QUEUE_ACTIVE,
)
OF_GRAPHS = (
    "ovms_current_graphs", "ovms_requests_accepted", "ovms_requests_rejected", "ovms_responses",
    "ovms_graph_error", "ovms_graph_processing_time_us", "ovms_graph_request_latency_us",
)  # fmt: skip
"""Families that may be asked for and never have a series, because no graph is served."""


class Value:
    """A counter or a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        yield f"{name}{_braces(labels)} {self.value}\n"


class Histogram:
    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(BOUNDS, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        total = sum(self._counts)
        yield f"{name}_count{_braces(labels)} {total}\n"
        yield f"{name}_sum{_braces(labels)} {_number(self._sum)}\n"
        bounds = (*map(str, BOUNDS), "+Inf")
        for bound, count in zip(bounds, accumulate(self._counts), strict=True):
            yield f"{name}_bucket{_braces((*labels, ('le', bound)))} {count}\n"


S = TypeVar("S", Value, Histogram)


class Registry:
    """All series of a server, of the families that it was told to serve."""

    def __init__(self, served: Iterable[str] | None = None) -> None:
        names = None if served is None else set(served)
        self._series: dict[Family, dict[Labels, Value | Histogram]] = {
            family: {}
            for family in FAMILIES
            if (family.default if names is None else family.name in names)
        }

    def value(self, family: Family, **labels: str) -> Value:
        """The series of those labels; it is one that nobody reads where *family* is not served."""
        return self._add(family, labels, Value())

    def histogram(self, family: Family, **labels: str) -> Histogram:
        return self._add(family, labels, Histogram())

    def drop(self, **labels: str) -> None:
        """Forgets every series that has all of *labels*."""
        wanted = set(labels.items())
        for series in self._series.values():
            for key in [key for key in series if wanted <= set(key)]:
                del series[key]

    def exposition(self) -> str:
        return "".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for family, series in self._series.items():
            if not series:
                continue
            yield f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
            for labels, one in series.items():
                yield from one.lines(family.name, labels)

    def _add(self, family: Family, labels: dict[str, str], new: S) -> S:
        series = self._series.get(family)
        if series is None:
            return new
        known = series.setdefault(tuple(sorted(labels.items())), new)
        assert isinstance(known, type(new))
        return known


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


class Call:
    """Successes and failures of one method over one interface."""

    __slots__ = ("failures", "successes")

    def __init__(self, registry: Registry, **labels: str) -> None:
        self.successes = registry.value(REQUESTS_SUCCESS, **labels)
        self.failures = registry.value(REQUESTS_FAIL, **labels)


class InterfaceMetrics:
    """The series of one version of a model over one interface."""

    def __init__(self, registry: Registry, interface: str, name: str, version: int) -> None:
        def call(api: str, method: str, **more: str) -> Call:
            return Call(registry, api=api, interface=interface, method=method, name=name, **more)

        number = str(version)
        self.infer = call("KServe", "ModelInfer", version=number)
        self.metadata = call("KServe", "ModelMetadata", version=number)
        self.ready = call("KServe", "ModelReady")
        self.predict = call("TensorFlowServing", "Predict", version=number)
        self.model_metadata = call("TensorFlowServing", "GetModelMetadata", version=number)
        self.model_status = call("TensorFlowServing", "GetModelStatus")
        self.request_time = registry.histogram(
            REQUEST_TIME, interface=interface, name=name, version=number
        )


class VersionMetrics:
    """The series of one version of a model; made when it is loaded."""

    def __init__(self, registry: Registry, name: str, version: int) -> None:
        one = {"name": name, "version": str(version)}
        self.rest = InterfaceMetrics(registry, "REST", name, version)
        self.grpc = InterfaceMetrics(registry, "gRPC", name, version)
        self.inference_time = registry.histogram(INFERENCE_TIME, **one)
        self.wait_time = registry.histogram(WAIT_TIME, **one)
        self.streams = registry.value(STREAMS, **one)
        self.current_requests = registry.value(CURRENT_REQUESTS, **one)
        self.queue_size = registry.value(QUEUE_SIZE, **one)
        self.queue_active = registry.value(QUEUE_ACTIVE, **one)
