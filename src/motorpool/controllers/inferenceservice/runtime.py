"""Which ServingRuntime serves a model. Pure.

A runtime named by the user must exist, be enabled and support format and protocol. Otherwise the
runtimes of the namespace are asked first, then those of the cluster, each group in KServe's order;
priorities only order runtimes within a group.

Every refusal says which runtimes came close and what would make them fit.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from motorpool.api.meta import Object, annotations_of, at, name_of
from motorpool.controllers.inferenceservice.refusal import (
    NO_SUPPORTING_RUNTIME,
    RUNTIME_DISABLED,
    RUNTIME_NOT_RECOGNIZED,
    Refusal,
)

PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")
DEFAULT_PROTOCOL = "v1"
CLOSE_RUNTIMES_MAX = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the predictor asks of a runtime."""

    namespace: str
    format: str
    version: str
    protocol: str  # "" where the user named none
    multi_node: bool

    @classmethod
    def by(cls, isvc: Object) -> "Wanted":
        model = at(isvc, "spec", "predictor", "model", default={})
        return cls(
            namespace=isvc["metadata"].get("namespace", ""),
            format=str(at(model, "modelFormat", "name", default="")),
            version=str(at(model, "modelFormat", "version", default="")),
            protocol=str(model.get("protocolVersion") or ""),
            multi_node=at(isvc, "spec", "predictor", "workerSpec") is not None,
        )

    def __str__(self) -> str:
        return f"{self.format} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class Runtime:
    """A ServingRuntime or ClusterServingRuntime that was chosen."""

    obj: Object
    is_cluster: bool

    @property
    def name(self) -> str:
        return name_of(self.obj)

    @property
    def spec(self) -> Object:
        return dict(self.obj.get("spec") or {})

    @property
    def server_type(self) -> str:
        known = {
            "kserve-mlserver": "mlserver",
            "kserve-torchserve": "torchserve",
            "kserve-tritonserver": "triton",
            "kserve-tensorflow-serving": "tensorflow-serving",
            "kserve-huggingfaceserver": "huggingfaceserver",
            "kserve-vllmserver": "vllmserver",
        }
        annotated = annotations_of(self.obj).get("serving.kserve.io/server-type", "")
        return annotated or known.get(self.name, "")


def selected(isvc: Object, namespaced: Sequence[Object], cluster: Sequence[Object]) -> Runtime:
    """The runtime for the model of *isvc*. Raises Refusal.

    *namespaced* are the ServingRuntimes of its namespace, *cluster* the ClusterServingRuntimes.
    """
    wanted = Wanted.by(isvc)
    explicit = str(at(isvc, "spec", "predictor", "model", "runtime", default=""))
    if explicit:
        return _explicit(explicit, wanted, namespaced, cluster)
    for is_cluster, runtimes in ((False, namespaced), (True, cluster)):
        for runtime in _ordered(runtimes, wanted):
            if not _obstacle(runtime, wanted):
                return Runtime(runtime, is_cluster)
    raise Refusal(NO_SUPPORTING_RUNTIME, _nothing_fits(wanted, [*namespaced, *cluster]))


def lowest_protocol(runtime_spec: Object) -> str:
    """The protocol a model gets that names none: the first that the runtime speaks."""
    spoken = runtime_spec.get("protocolVersions") or ()
    return min((p for p in spoken if p in PROTOCOLS), key=PROTOCOLS.index, default="")


def _explicit(
    name: str, wanted: Wanted, namespaced: Sequence[Object], cluster: Sequence[Object]
) -> Runtime:
    candidates = [Runtime(obj, False) for obj in namespaced if name_of(obj) == name]
    candidates += [Runtime(obj, True) for obj in cluster if name_of(obj) == name]
    if not candidates:
        raise Refusal(
            RUNTIME_NOT_RECOGNIZED,
            f"waiting for runtime {name} to become available: create ServingRuntime {name} in "
            f"namespace {wanted.namespace}, or correct spec.predictor.model.runtime",
        )
    runtime = candidates[0]
    spec = runtime.spec
    if spec.get("disabled"):
        raise Refusal(
            RUNTIME_DISABLED, f"runtime {name} is disabled: set its spec.disabled to false"
        )
    if wanted.protocol and not _speaks(spec, wanted.protocol):
        raise Refusal(
            NO_SUPPORTING_RUNTIME,
            f"runtime {name} does not speak protocol {wanted.protocol}: set "
            f"spec.predictor.model.protocolVersion to one of {_protocols(spec)}",
        )
    if not any(_matches(entry, wanted) for entry in _formats(spec)):
        raise Refusal(
            NO_SUPPORTING_RUNTIME,
            f"runtime {name} does not support model format {wanted or '(none given)'}: it supports "
            f"{_listed_formats(spec)}",
        )
    return runtime


def _ordered(runtimes: Iterable[Object], wanted: Wanted) -> list[Object]:
    # Three stable sorts, the least important first.
    result = sorted(runtimes, key=name_of)
    result.sort(key=lambda r: r["metadata"].get("creationTimestamp") or "", reverse=True)
    result.sort(key=lambda r: _protocol_rank(r.get("spec") or {}))
    result.sort(key=lambda r: _priority(r.get("spec") or {}, wanted.format), reverse=True)
    return result


def _protocol_rank(spec: Object) -> int:
    lowest = lowest_protocol(spec)
    return PROTOCOLS.index(lowest) if lowest else len(PROTOCOLS)


def _priority(spec: Object, format_name: str) -> int:
    for entry in _formats(spec):
        if entry.get("name") == format_name:
            return int(entry.get("priority") or 0)
    return 0


def _obstacle(runtime: Object, wanted: Wanted) -> str:
    """Why automatic selection passes over *runtime*, as what to change; "" where it fits."""
    spec = runtime.get("spec") or {}
    entries = [entry for entry in _formats(spec) if _matches(entry, wanted)]
    protocol = wanted.protocol or DEFAULT_PROTOCOL
    if not entries:
        return "supports " + _listed_formats(spec)
    if spec.get("disabled"):
        return "is disabled"
    if spec.get("multiModel"):
        return "serves several models per server, which is not supported"
    if (spec.get("workerSpec") is not None) != wanted.multi_node:
        return "is for several nodes" if not wanted.multi_node else "is for a single node"
    if not _speaks(spec, protocol):
        return f"speaks {_protocols(spec)}, not {protocol}: set protocolVersion to one of these"
    if not any(entry.get("autoSelect") for entry in entries):
        return "is not selected automatically: name it in spec.predictor.model.runtime"
    return ""


def _nothing_fits(wanted: Wanted, runtimes: Sequence[Object]) -> str:
    if not wanted.format:
        return "spec.predictor.model.modelFormat.name is not set: set it, or name a runtime"
    message = (
        f"no runtime found to support model format {wanted} with protocol "
        f"{wanted.protocol or DEFAULT_PROTOCOL}"
    )
    same_format = [
        runtime
        for runtime in runtimes
        if any(entry.get("name") == wanted.format for entry in _formats(runtime.get("spec") or {}))
    ]
    if not same_format:
        return (
            f"{message}: create a ServingRuntime for it in namespace {wanted.namespace}, "
            "or name a runtime in spec.predictor.model.runtime"
        )
    close = dict.fromkeys(f"{name_of(r)} {_obstacle(r, wanted)}" for r in same_format)
    return f"{message}; " + "; ".join(list(close)[:CLOSE_RUNTIMES_MAX])


def _formats(spec: Object) -> Sequence[dict[str, Any]]:
    return spec.get("supportedModelFormats") or ()


def _matches(entry: Object, wanted: Wanted) -> bool:
    if entry.get("name") != wanted.format:
        return False
    return not wanted.version or str(entry.get("version") or "") == wanted.version


def _speaks(spec: Object, protocol: str) -> bool:
    spoken = spec.get("protocolVersions")
    return not spoken or protocol in spoken


def _protocols(spec: Object) -> str:
    return ", ".join(spec.get("protocolVersions") or ()) or "any protocol"


def _listed_formats(spec: Object) -> str:
    names = [f"{e.get('name')} {e.get('version') or ''}".strip() for e in _formats(spec)]
    return ", ".join(names) or "no format"
