"""vLLM's flags that mean something here: how each is read, and what --help says of it. Pure."""

import argparse
import json
import re
from collections.abc import Callable
from typing import Any, Literal

from motorpool.modelserver.llm.api.reasoning import PARSERS as REASONING_PARSERS
from motorpool.modelserver.llm.api.tools.registry import PARSERS as TOOL_PARSERS
from motorpool.modelserver.llm.contract import PoolingWay, Precision

KvPrecision = Literal["auto", "u8", "f16", "bf16", "f32"]

POOLING_TYPES: dict[str, PoolingWay] = {"CLS": "cls", "MEAN": "mean", "LAST": "last"}
DEFAULT_PORT = 8000
DTYPES: dict[str, Precision] = {
    "auto": "auto",
    "half": "f16",
    "float16": "f16",
    "bfloat16": "bf16",
    "float": "f32",
    "float32": "f32",
}
KV_DTYPES: dict[str, KvPrecision] = {
    "auto": "auto",
    "float16": "f16",
    "bfloat16": "bf16",
    "float32": "f32",
    "int8": "u8",
}


def _length(text: str) -> int | None:
    """vLLM's: 4k is 4000, 4K is 4096; -1 and auto are what the checkpoint says."""
    if text in ("-1", "auto"):
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"invalid length: {text!r}")
    number, unit = match.groups()
    base = 1000 if unit.islower() else 1024
    length = float(number) * base ** " kmgt".index(unit.lower() or " ")
    if length != int(length) or not 1 <= length < 2**40:
        raise argparse.ArgumentTypeError(f"invalid length: {text!r}")
    return int(length)


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,19}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"should be a number from {low} to {high}: {text!r}")
        return int(text)

    return read


def _number(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text):
        raise argparse.ArgumentTypeError(f"should be a number: {text!r}")
    return float(text)


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError(f"should be a number of seconds: {text!r}")
    return float(text)


def _choice(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            named = ", ".join(map(repr, choices))
            raise argparse.ArgumentTypeError(f"invalid choice: {text!r} (choose from {named})")
        return text

    return read


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"should be a JSON object: {text!r}")
    return value


def _strings(text: str) -> tuple[str, ...]:
    """A JSON list."""
    try:
        value = json.loads(text)
    except ValueError:
        return (text,)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise argparse.ArgumentTypeError(f"should be a JSON list of strings: {text!r}")
    return tuple(value)


def _kv_dtype(text: str) -> KvPrecision:
    return KV_DTYPES.get(text, "u8" if text.startswith("fp8") else "auto")


_LEVELS = ("debug", "info", "warning", "error", "critical", "trace")
VALUES: tuple[tuple[str, Callable[[str], Any], str], ...] = (
    ("model", str, "directory of Hugging Face files, or a .gguf file"),
    ("tokenizer", str, "directory with tokenizer.json, where it is not the model's"),
    ("host", str, "address to listen on (all)"),
    ("port", _integer(0, 65_535), f"port to listen on ({DEFAULT_PORT})"),
    ("root-path", str, "what a proxy puts before every path"),
    ("uds", str, "not supported here"),
    ("ssl-keyfile", str, "key of the certificate, PEM"),
    ("ssl-certfile", str, "certificate to serve TLS with, PEM"),
    ("allowed-origins", _strings, 'CORS: origins as a JSON list (["*"])'),
    ("allowed-methods", _strings, 'CORS: methods as a JSON list (["*"])'),
    ("allowed-headers", _strings, 'CORS: headers as a JSON list (["*"])'),
    ("uvicorn-log-level", _choice(*_LEVELS), "least level of what is logged (info)"),
    ("vllm-generation", _choice("0.10", "0.32"), "whose shapes the answers have (0.10)"),
    ("shutdown-timeout", _seconds, "how long running requests may go on after SIGTERM, s (25)"),
    ("chat-template", str, "file with a chat template, or the template itself"),
    (
        "chat-template-content-format",
        _choice("auto", "string", "openai"),
        "what the template takes for content (auto)",
    ),
    ("default-chat-template-kwargs", _object, "JSON object passed to the template"),
    ("response-role", str, "role of the answers (assistant)"),
    ("tool-call-parser", str, f"how calls are written: {', '.join(TOOL_PARSERS)}"),
    ("reasoning-parser", str, f"how thinking is marked: {', '.join(REASONING_PARSERS)}"),
    ("generation-config", str, "auto: the checkpoint's defaults of sampling; vllm: none (auto)"),
    ("override-generation-config", _object, "JSON object of defaults of sampling"),
    ("dtype", _choice(*DTYPES), "type that the engine computes in (auto)"),
    ("quantization", str, "int8 or int4: of the weights of a plain checkpoint, while loading"),
    ("task", str, "embed: vectors of texts; others are what the checkpoint is for (auto)"),
    ("runner", str, "pooling: vectors of texts (auto)"),
    ("convert", str, "embed: vectors of texts (auto)"),
    ("pooler-config", _object, 'of vectors: {"pooling_type": "CLS", "normalize": false}'),
    ("override-pooler-config", _object, "the same"),
    ("rope-scaling", _object, "JSON object in place of config.json's rope_scaling"),
    ("rope-theta", _number, "number in place of config.json's rope_theta"),
    ("hf-overrides", _object, "JSON object of fields in place of config.json's"),
    ("max-model-len", _length, "most tokens of prompt and answer; 4k, 1M (of the checkpoint)"),
    ("max-num-seqs", _integer(1, 65_536), "most answers at a time (256)"),
    ("max-num-batched-tokens", _length, "tokens in one step of the engine"),
    ("kv-cache-memory-bytes", _length, "most memory for keys and values"),
    ("kv-cache-dtype", _kv_dtype, "type of keys and values (auto)"),
    ("threads", _integer(1, 1024), "threads of the engine (the CPU limit)"),
    ("seed", _integer(-(2**63), 2**63 - 1), "first seed of requests that name none (random)"),
)
SWITCHES: tuple[tuple[str, str], ...] = (
    ("allow-credentials", "CORS: browsers may send credentials"),
    ("trust-request-chat-template", "requests may bring a chat template of their own"),
    ("enable-auto-tool-choice", "the model may decide to call tools"),
    (
        "exclude-tools-when-tool-choice-none",
        "hide the tools from the model where none may be called",
    ),
    ("return-tokens-as-token-ids", "tokens of logprobs as token_id:N"),
    ("enable-force-include-usage", "usage in every stream"),
    ("enable-request-id-headers", "answers carry X-Request-Id"),
    ("enable-prefix-caching", "keep what was computed of prompts (on)"),
    ("disable-log-stats", "no metrics of requests"),
)
LISTS: tuple[tuple[str, str], ...] = (
    ("served-model-name", "names that requests may use; answers bear the first"),
    ("api-key", "keys, of which requests must bring one"),
    ("lora-modules", "not supported here"),
)
