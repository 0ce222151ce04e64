"""The command line of a generative task, with OpenVINO Model Server's names. Pure.

The server's own flags are read by `modelserver.flags`; here are those of the task.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from motorpool.modelserver import flags as server
from motorpool.modelserver.flags import UsageError
from motorpool.modelserver.llm import flags as vllm
from motorpool.modelserver.llm.contract import PoolingWay
from motorpool.modelserver.llm.flagtable import POOLING_TYPES, KvPrecision
from motorpool.modelserver.llm.ovms.graphfile import with_graph

Task = Literal["text_generation", "embeddings", "rerank"]
TASKS: tuple[Task, ...] = ("text_generation", "embeddings", "rerank")
TOOL_PARSERS = {
    "": "",
    "none": "",
    "hermes3": "hermes",
    "llama3": "llama3_json",
    "mistral": "mistral",
    "phi4": "phi4_mini_json",
    "qwen3coder": "qwen3_coder",
    "granite": "granite",
}
REASONING_PARSERS = {"": "", "none": "", "qwen3": "qwen3"}
POOLINGS: dict[str, PoolingWay | None] = {"": None, **POOLING_TYPES}
SWITCH = {"": None, "true": True, "false": False}
CHUNKS_MAX = 10_000  # parts of documents in one ranking
KV_PRECISIONS = ("", "u8", "f16", "bf16", "f32")
VALUES = (
    "task", "max_num_seqs", "max_num_batched_tokens", "cache_size", "enable_prefix_caching",
    "kv_cache_precision", "tool_parser", "reasoning_parser", "max_allowed_chunks", "api_key_file",
    "pooling", "normalize",
)  # fmt: skip
WITHOUT_EFFECT = (
    "cache_interval_multiplier", "dynamic_split_fuse", "enable_tool_guided_generation",
    "max_prompt_len", "model_distribution_policy", "num_streams", "pipeline_type", "truncate",
)  # fmt: skip
"""Taken with a warning: what this engine, or the checkpoint, decides by itself."""


@dataclass(frozen=True, slots=True)
class Settings:
    task: Task
    server: server.Settings
    model: vllm.Settings
    chunks_max: int = CHUNKS_MAX

    @property
    def cors(self) -> list[tuple[str, str]]:
        """What browsers are told with every answer."""
        given = self.server
        lines = [
            ("access-control-allow-origin", given.allowed_origins),
            ("access-control-allow-methods", given.allowed_methods),
            ("access-control-allow-headers", given.allowed_headers),
        ]
        if given.allow_credentials:
            lines.append(("access-control-allow-credentials", "true"))
        return lines


def parse(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Settings:
    """Raises UsageError."""
    given, ignored, rest = _split(with_graph(argv))
    task = given["task"]
    if task not in TASKS:
        raise UsageError(f"--task={task}: this server has the tasks {', '.join(TASKS)}")
    settings = server.parse(rest)
    if settings.port:
        ignored.append("port")
    if settings.config_path:
        raise UsageError("--task is for one model, by model_name and model_path")
    if not settings.rest_port:
        raise UsageError(f"rest_port is required for --task {task}")
    model = _model(given, ignored, settings)
    if key := _key(given.get("api_key_file", ""), environment or {}):
        model = replace(model, api_keys=(key,))
    return Settings(task, settings, model, _number(given, "max_allowed_chunks", CHUNKS_MAX))


def _key(file: str, environment: Mapping[str, str]) -> str:
    if not file:
        return environment.get("API_KEY", "")
    try:
        lines = Path(file).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--api_key_file={file}: {error}") from None
    if not lines or not lines[0].strip():
        raise UsageError(f"--api_key_file={file}: its first line should be the key")
    return lines[0].strip()


def _split(argv: Sequence[str]) -> tuple[dict[str, str], list[str], list[str]]:
    given: dict[str, str] = {}
    ignored: list[str] = []
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        name, separator, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in (*VALUES, *WITHOUT_EFFECT):
            rest.append(word)
            continue
        if not separator:
            text = next(words, "")
        if name in WITHOUT_EFFECT:
            ignored.append(name)
        else:
            given[name] = text
    return given, ignored, rest


def _model(given: dict[str, str], ignored: list[str], settings: server.Settings) -> vllm.Settings:
    tool_parser = _chosen(given, "tool_parser", TOOL_PARSERS)
    kv_precision = given.get("kv_cache_precision", "").lower()
    if kv_precision not in KV_PRECISIONS:
        raise UsageError(f"--kv_cache_precision: should be one of {', '.join(KV_PRECISIONS[1:])}")
    cache_gb = _number(given, "cache_size", 0)
    return vllm.Settings(
        model=settings.model_path,
        served_model_names=(settings.model_name,),
        generation="ovms",
        tool_call_parser=tool_parser,
        enable_auto_tool_choice=bool(tool_parser),
        reasoning_parser=_chosen(given, "reasoning_parser", REASONING_PARSERS),
        max_num_seqs=_number(given, "max_num_seqs", 256) or 256,
        max_num_batched_tokens=_number(given, "max_num_batched_tokens", 0) or None,
        kv_cache_bytes=cache_gb * 2**30 or None,
        kv_cache_precision=cast(KvPrecision, kv_precision or "auto"),
        embeds=given["task"] == "embeddings",
        pooling=POOLINGS[_one_of(given, "pooling", POOLINGS)],
        normalize=SWITCH[_one_of(given, "normalize", SWITCH)],
        prefix_caching=given.get("enable_prefix_caching", "true").lower() != "false",
        without_effect=(*ignored, *settings.without_effect),
    )


def _one_of(given: dict[str, str], name: str, known: Collection[str]) -> str:
    value = given.get(name, "")
    if value not in known:
        names = ", ".join(filter(None, known))
        raise UsageError(f"--{name}={value}: should be one of {names}")
    return value


def _chosen(given: dict[str, str], name: str, known: dict[str, str]) -> str:
    value = given.get(name, "")
    if value not in known:
        names = ", ".join(filter(None, known))
        raise UsageError(f"--{name}={value}: should be one of {names}")
    return known[value]


def _number(given: dict[str, str], name: str, otherwise: int) -> int:
    text = given.get(name, str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise UsageError(f"error parsing options - --{name}={text}: should be a number")
    return int(text)
