"""The local images table: what runs on this machine in place of a container image. Pure.

An entry has image patterns and says which program stands in:

    images:
    - match: ["ovms-image", "*/openvino/model_server*"]
      command: ["{python}", "-m", "motorpool.modelserver"]
      fork: motorpool.modelserver.main     # a warmed fork server may do it instead
      bindFlags: [--rest_bind_address]     # flags that carry the address to listen on
      env: {OMP_NUM_THREADS: "2"}          # below the container's own
      requires: vllm                       # a module; the entry counts only where it is importable
      args: [--help]                       # where the container has neither command nor args
      keepCommand: false                   # true: the container's own command goes before `command`
      keepArgs: true                       # false: the container's args are dropped
      engine: vllm                         # among those that match, llmengine.py chooses one

Patterns are globs, matched against the reference as it is written and as registries see it, with
and without its tag and digest. The first entry that matches decides; the user's come first.
"""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from motorpool.api.meta import Object


class TableError(ValueError):
    """A table that cannot be used, with the place and the reason."""


@dataclass(frozen=True, slots=True)
class LocalImage:
    match: tuple[str, ...]
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    fork: str = ""
    bind_flags: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    requires: str = ""
    keep_command: bool = False
    keep_args: bool = True
    engine: str = ""
    architectures: tuple[str, ...] = ()
    """Of models, as their config.json names them; for an engine that knows some only."""
    quantizations: tuple[str, ...] = ()


OVMS = LocalImage(
    match=(
        "ovms-image",
        "openvino/model_server*",
        "*/openvino/model_server*",
        "*/openvino_model_server*",
        "*/openvino-model-server*",
        "*/odh-openvino-model-server*",
        "*/ovms",
        "motorpool-server",
        "*/motorpool-server",
    ),
    command=("{python}", "-m", "motorpool.modelserver"),
    fork="motorpool.modelserver.main",
    bind_flags=("--rest_bind_address", "--grpc_bind_address"),
)
# KServe's own servers for estimators. Whoever asks for the one of scikit-learn trusts the pickle
# that it serves: that server reads nothing else.
SKLEARN = LocalImage(
    match=("*/sklearnserver",),
    command=("{python}", "-m", "motorpool.modelserver"),
    fork="motorpool.modelserver.main",
    bind_flags=("--rest_bind_address", "--grpc_bind_address"),
    env={"MOTORPOOL_ALLOW_PICKLE": "true"},
)
BOOSTERS = LocalImage(
    match=("*/xgbserver", "*/lgbserver", "*/pmmlserver"),
    command=("{python}", "-m", "motorpool.modelserver"),
    fork="motorpool.modelserver.main",
    bind_flags=("--rest_bind_address", "--grpc_bind_address"),
)
_VLLM_IMAGES = ("vllm-*-image", "vllm/vllm-openai*", "*/vllm*", "*/odh-vllm*")
MOTORPOOL_LLM = LocalImage(
    match=(*_VLLM_IMAGES, "motorpool-llm", "*/motorpool-llm"),
    command=("{python}", "-m", "motorpool.modelserver.llm"),
    bind_flags=("--host",),
    requires="openvino_genai",
    engine="motorpool-llm",
    # A test holds these against what the engine's graph builder knows.
    architectures=(
        "BertForMaskedLM", "BertModel", "LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model",
        "RobertaForMaskedLM", "RobertaModel", "XLMRobertaForMaskedLM", "XLMRobertaModel",
        "Gemma2ForCausalLM", "GraniteForCausalLM", "LlamaForCausalLM", "MistralForCausalLM",
        "MixtralForCausalLM", "Phi3ForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM",
        "BertForSequenceClassification", "RobertaForSequenceClassification",
        "XLMRobertaForSequenceClassification",
    ),
    quantizations=("compressed-tensors", "fp8"),
)  # fmt: skip
VLLM = LocalImage(
    match=_VLLM_IMAGES,
    command=("{python}", "-m", "vllm.entrypoints.openai.api_server"),
    bind_flags=("--host",),
    requires="vllm",
    keep_command=True,
    engine="vllm",
)
STORAGE_INITIALIZER = LocalImage(
    match=(
        "storage-initializer", "*/storage-initializer", "*/kserve-storage-initializer*",
        "*/odh-kserve-storage-initializer*",
    ),
    command=("{python}", "-m", "motorpool", "storage-initializer"),
)  # fmt: skip
AUTH_PROXY = LocalImage(
    match=("*kube-rbac-proxy*", "*kube-auth-proxy*"),
    command=("{python}", "-m", "motorpool.authproxy"),
    fork="motorpool.authproxy.main",
)
TOOLS = LocalImage(
    match=(
        "busybox", "alpine", "debian", "ubuntu", "curlimages/curl",
        "registry.access.redhat.com/ubi[89]/ubi*",
    ),
    args=("/bin/sh",),
    keep_command=True,
)  # fmt: skip
"""Images that hold tools and no program of their own: what they are asked to run, runs here."""
SHIPPED = (
    OVMS, SKLEARN, BOOSTERS, MOTORPOOL_LLM, VLLM, STORAGE_INITIALIZER, AUTH_PROXY, TOOLS,
)  # fmt: skip

_FIELDS: dict[str, tuple[str, type]] = {
    "match": ("match", list), "command": ("command", list), "args": ("args", list),
    "fork": ("fork", str), "bindFlags": ("bind_flags", list), "env": ("env", dict),
    "requires": ("requires", str),
    "keepCommand": ("keep_command", bool), "keepArgs": ("keep_args", bool),
    "engine": ("engine", str),
}  # fmt: skip


def find(
    image: str, table: Sequence[LocalImage], importable: Callable[[str], bool]
) -> LocalImage | None:
    """The entry that stands in for *image*, or None."""
    return next((hit.entry for hit in hits(image, table, importable) if not hit.lacks), None)


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that matches an image, and why it counts or does not."""

    entry: LocalImage
    pattern: str
    name: str
    """The way of writing the reference that the pattern matches."""
    lacks: str
    """The module that is not importable here; "": the entry stands in."""


def hits(
    image: str, table: Sequence[LocalImage], importable: Callable[[str], bool]
) -> Iterator[Hit]:
    """Every entry that matches *image*, the first first."""
    names = list(_names(image))
    for entry in table:
        found = ((p, name) for p in entry.match for name in names if fnmatch.fnmatchcase(name, p))
        pattern, name = next(found, ("", ""))
        if pattern:
            lacks = entry.requires and not importable(entry.requires)
            yield Hit(entry, pattern, name, entry.requires if lacks else "")


def table_of(document: Object | None) -> list[LocalImage]:
    """The entries of a table file. Raises TableError."""
    if document is None:
        return []
    entries = document.get("images") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise TableError("images: must be a list of entries")
    return [_entry(entry, f"images[{number}]") for number, entry in enumerate(entries)]


def _entry(entry: Any, path: str) -> LocalImage:
    if not isinstance(entry, dict):
        raise TableError(f"{path}: must be an object")
    values: dict[str, Any] = {}
    for name, value in entry.items():
        if name not in _FIELDS:
            known = ", ".join(_FIELDS)
            raise TableError(f"{path}.{name}: no such field; there are {known}")
        field_name, expected = _FIELDS[name]
        if not isinstance(value, expected):
            raise TableError(f"{path}.{name}: must be of type {expected.__name__}")
        values[field_name] = _plain(value, f"{path}.{name}")
    if not values.get("match"):
        raise TableError(f"{path}.match: at least one pattern is required")
    if not values.get("command") and not values.get("keep_command"):
        raise TableError(f"{path}.command: required, unless keepCommand is true")
    return LocalImage(**values)


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            raise TableError(f"{path}: must hold strings only")
        return tuple(value)
    if isinstance(value, dict):
        return {str(key): str(item) for key, item in value.items()}
    return value


def _names(image: str) -> Iterator[str]:
    """Every way to write the reference, the fullest first."""
    plain = image.partition("@")[0]
    directory, slash, last = plain.rpartition("/")
    repository = directory + slash + last.partition(":")[0]
    for name in dict.fromkeys((image, plain, repository)):
        yield name
        for prefix in ("docker.io/library/", "docker.io/"):
            if name.startswith(prefix):
                yield name.removeprefix(prefix)
        host, slash, _ = name.partition("/")
        if not slash:
            yield f"docker.io/library/{name}"
        elif "." not in host and ":" not in host and host != "localhost":
            yield f"docker.io/{name}"
